#include "cli/schema_catalog.h"

#include "cli/schema_format.h"
#include "postgres/inspect.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* In place: no quotes, and no name of the schema before others. */
static void plain(char *text, const char *schema)
{
    const size_t len = strlen(schema);
    char before = '\0';
    char *to = text;

    for (const char *p = text; *p != '\0';) {
        if (*p == '"') {
            p++;
        } else if (len > 0 && !in_name(before) && strncmp(p, schema, len) == 0 && p[len] == '.') {
            p += len + 1;
        } else {
            before = *p;
            *to++ = *p++;
        }
    }
    *to = '\0';
}

static size_t count_lines(const char *text)
{
    size_t n = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++)
        n++;
    return n;
}

int schema_objects_read(struct schema_objects *ret, const char *lines, const char *schema,
                        struct err *err)
{
    char *save = NULL;

    *ret = (struct schema_objects){.list = calloc(count_lines(lines) + 1, sizeof *ret->list),
                                   .text = strdup(lines)};
    if (ret->list == NULL || ret->text == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    plain(ret->text, schema);
    for (char *line = strtok_r(ret->text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char *name = strchr(line, '\t');
        char *definition = name == NULL ? NULL : strchr(name + 1, '\t');

        if (definition == NULL)
            return err_set(err, ERR_INTERNAL, "schema check: a line of the catalogue is no object");
        *name = '\0';
        *definition = '\0';
        ret->list[ret->n++] = (struct schema_object){line, name + 1, definition + 1};
    }
    return 0;
}

/* The column of the schema that is called so. */
static enum column_kind kind_of(const char *name, size_t len)
{
    enum column_kind k = 0;

    while (k < COLUMN_KINDS &&
           (strlen(column_own_name(k)) != len || memcmp(column_own_name(k), name, len) != 0))
        k++;
    return k;
}

/* Of an index: names of columns stand behind USING; false where it has one that the table has not.
 */
static bool rename_index(struct buf *out, const char *line, const char *end,
                         const struct columns *columns)
{
    const char *p = memmem(line, (size_t)(end - line), " USING ", sizeof " USING " - 1);

    if (p == NULL)
        p = end;
    buf_append(out, line, (size_t)(p - line));
    while (p < end) {
        const char *word = p;
        enum column_kind k;

        while (p < end && in_name(*p))
            p++;
        k = kind_of(word, (size_t)(p - word));
        if (k < COLUMN_KINDS && !columns_has(columns, k))
            return false;
        if (k < COLUMN_KINDS)
            buf_printf(out, "%s", columns->names[k].text);
        else
            buf_append(out, word, (size_t)(p - word));
        if (p < end)
            buf_append(out, p++, 1);
    }
    return true;
}

/* Of a column; line stands behind the table's name and a dot. */
static bool rename_column(struct buf *out, const char *begin, const char *name, const char *end,
                          const struct columns *columns)
{
    const char *rest = memchr(name, '\t', (size_t)(end - name));
    enum column_kind k = rest == NULL ? COLUMN_KINDS : kind_of(name, (size_t)(rest - name));

    if (k == COLUMN_KINDS) {
        buf_append(out, begin, (size_t)(end - begin));
        return true;
    }
    if (!columns_has(columns, k))
        return false;
    buf_append(out, begin, (size_t)(name - begin));
    buf_printf(out, "%s", columns->names[k].text);
    buf_append(out, rest, (size_t)(end - rest));
    return true;
}

/* The lines, with the outbox's columns as they are called; without what has to do with one that it
 * has not. */
static void rename_columns(struct buf *out, const char *lines, const struct schema_shape *shape)
{
    char column[80];
    char index[80];
    const int ncolumn = snprintf(column, sizeof column, "column\t%s.", shape->table);
    const int nindex = snprintf(index, sizeof index, "index\t%s.", shape->table);

    for (const char *end; (end = strchr(lines, '\n')) != NULL; lines = end + 1) {
        size_t before = out->len;
        bool kept = true;

        if (strncmp(lines, column, (size_t)ncolumn) == 0)
            kept = rename_column(out, lines, lines + ncolumn, end, shape->columns);
        else if (strncmp(lines, index, (size_t)nindex) == 0)
            kept = rename_index(out, lines, end, shape->columns);
        else
            buf_append(out, lines, (size_t)(end - lines));
        if (kept)
            buf_append(out, "\n", 1);
        else
            out->len = before;
    }
}

int schema_objects_of(struct schema_objects *ret, int version, const struct schema_shape *shape,
                      struct err *err)
{
    struct schema_place place = {0};
    struct buf named = {0};
    struct buf lines = {0};
    int rc;

    *ret = (struct schema_objects){0};
    (void)snprintf(place.table, sizeof place.table, "%s", shape->table);
    schema_named(&named, &place, schema_catalogs[version - 1]);
    if (buf_cstr(&named) != NULL) {
        plain((char *)named.data, shape->schema);
        rename_columns(&lines, (const char *)named.data, shape);
    }
    if (named.failed || buf_cstr(&lines) == NULL)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    else
        rc = schema_objects_read(ret, buf_cstr(&lines), shape->schema, err);
    buf_free(&named);
    buf_free(&lines);
    return rc;
}

void schema_objects_free(struct schema_objects *o)
{
    free(o->list);
    free(o->text);
    *o = (struct schema_objects){0};
}

const struct schema_object *schema_object_find(const struct schema_objects *in,
                                               const struct schema_object *like)
{
    for (size_t i = 0; i < in->n; i++)
        if (strcmp(in->list[i].kind, like->kind) == 0 && strcmp(in->list[i].name, like->name) == 0)
            return &in->list[i];
    return NULL;
}

/* The length of a column's definition without its default, and whether it is NOT NULL. */
static size_t type_length(const char *definition, bool *not_null)
{
    const char *value = strstr(definition, " DEFAULT ");
    const char *end = value != NULL ? value : strstr(definition, " GENERATED ");
    size_t len = end == NULL ? strlen(definition) : (size_t)(end - definition);
    static const char words[] = " NOT NULL";
    const size_t n = sizeof words - 1;

    *not_null = len >= n && memcmp(definition + len - n, words, n) == 0;
    return *not_null ? len - n : len;
}

/* A column that services fill may have another type that the relay reads, another default, and may
 * refuse null: an outbox that was there before the relay. Not what its order and marks rest on. */
static bool is_tolerable(const struct schema_object *expected, const struct schema_object *found,
                         const struct schema_shape *shape)
{
    const size_t len = strlen(shape->table);
    enum column_kind k = 0;
    bool wanted;
    bool given;
    size_t n;

    if (strcmp(expected->kind, "column") != 0 || strncmp(expected->name, shape->table, len) != 0 ||
        expected->name[len] != '.')
        return false;
    while (k < COLUMN_KINDS && strcmp(shape->columns->names[k].text, expected->name + len + 1) != 0)
        k++;
    if (k == COLUMN_KINDS || k == COLUMN_SEQ || k == COLUMN_XID || k == COLUMN_PUBLISHED_AT)
        return false;
    (void)type_length(expected->definition, &wanted);
    n = type_length(found->definition, &given);
    return pg_column_type_ok(k, found->definition, n) && (given || !wanted);
}

enum schema_difference schema_object_differs(const struct schema_object *expected,
                                             const struct schema_objects *found,
                                             const struct schema_shape *shape)
{
    const struct schema_object *other = schema_object_find(found, expected);

    if (other == NULL)
        return SCHEMA_MISSING;
    if (strcmp(expected->definition, other->definition) == 0)
        return SCHEMA_SAME;
    return is_tolerable(expected, other, shape) ? SCHEMA_OTHERWISE : SCHEMA_DIFFERENT;
}

int schema_objects_score(const struct schema_objects *expected, const struct schema_objects *found,
                         const struct schema_shape *shape)
{
    int score = 0;

    for (size_t i = 0; i < expected->n; i++) {
        enum schema_difference d = schema_object_differs(&expected->list[i], found, shape);

        score += d == SCHEMA_SAME || d == SCHEMA_OTHERWISE ? 1 : -1;
    }
    return score;
}
