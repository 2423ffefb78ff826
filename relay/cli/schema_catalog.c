#include "cli/schema_catalog.h"

#include "cli/schema_format.h"

#include <ctype.h>
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

int schema_objects_of(struct schema_objects *ret, int version, const struct schema_place *place,
                      struct err *err)
{
    struct buf lines = {0};
    int rc;

    *ret = (struct schema_objects){0};
    schema_named(&lines, place, schema_catalogs[version - 1]);
    if (buf_cstr(&lines) == NULL)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    else
        rc = schema_objects_read(ret, buf_cstr(&lines), place->schema, err);
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
    const char *end = strstr(definition, " DEFAULT ");
    size_t len = end == NULL ? strlen(definition) : (size_t)(end - definition);
    static const char words[] = " NOT NULL";
    const size_t n = sizeof words - 1;

    *not_null = len >= n && memcmp(definition + len - n, words, n) == 0;
    return *not_null ? len - n : len;
}

/* A column that services fill may have another default, and may refuse null: an outbox that was
 * there before the relay. Not what the relay's order and its marks rest on. */
static bool is_tolerable(const struct schema_object *expected, const struct schema_object *found,
                         const char *table)
{
    static const char *const strict[] = {"seq", "xid", "published_at"};
    const size_t len = strlen(table);
    bool wanted;
    bool given;
    size_t n;

    if (strcmp(expected->kind, "column") != 0 || strncmp(expected->name, table, len) != 0 ||
        expected->name[len] != '.')
        return false;
    for (size_t i = 0; i < sizeof strict / sizeof *strict; i++)
        if (strcmp(expected->name + len + 1, strict[i]) == 0)
            return false;
    n = type_length(expected->definition, &wanted);
    return n == type_length(found->definition, &given) &&
           memcmp(expected->definition, found->definition, n) == 0 && (given || !wanted);
}

enum schema_difference schema_object_differs(const struct schema_object *expected,
                                             const struct schema_objects *found, const char *table)
{
    const struct schema_object *other = schema_object_find(found, expected);

    if (other == NULL)
        return SCHEMA_MISSING;
    if (strcmp(expected->definition, other->definition) == 0)
        return SCHEMA_SAME;
    return is_tolerable(expected, other, table) ? SCHEMA_OTHERWISE : SCHEMA_DIFFERENT;
}

int schema_objects_score(const struct schema_objects *expected, const struct schema_objects *found,
                         const char *table)
{
    int score = 0;

    for (size_t i = 0; i < expected->n; i++) {
        enum schema_difference d = schema_object_differs(&expected->list[i], found, table);

        score += d == SCHEMA_SAME || d == SCHEMA_OTHERWISE ? 1 : -1;
    }
    return score;
}
