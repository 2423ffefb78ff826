#include "postgres/inspect_columns.h"

#include <stdio.h>
#include <string.h>

#define TEXTS "text", "character varying", "uuid", "bigint", "integer", "smallint"
#define TIMES "timestamp with time zone", "timestamp without time zone"

static const char *const seqs[] = {"bigint", "integer", NULL};
static const char *const uuids[] = {"uuid", NULL};
static const char *const xids[] = {"xid8", NULL};
static const char *const texts[] = {TEXTS, NULL};
static const char *const payloads[] = {"json", "jsonb", "text", "character varying", "bytea", NULL};
static const char *const byteas[] = {"bytea", NULL};
static const char *const jsons[] = {"json", "jsonb", NULL};
static const char *const partitions[] = {"integer", "smallint", NULL};
static const char *const times[] = {TIMES, NULL};
/* As Debezium's header converter makes a text of them: of others it does so in ways that nobody
 * means, of a numeric in base64, say. */
static const char *const additionals[] = {TEXTS, "json", "jsonb", "boolean", NULL};

/* The types that the relay reads, the schema's own first, and for the remedy what else their
 * definitions say: writers rely on the defaults. */
static const struct {
    const char *const *types;
    const char *extra;
    const char *fallback; /* the default, or NULL */
    bool required;        /* a row without it cannot be published */
} wanted[COLUMN_KINDS] = {
    [COLUMN_SEQ] = {seqs, " GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY", NULL, false},
    [COLUMN_ID] = {uuids, " NOT NULL", "gen_random_uuid()", true},
    [COLUMN_XID] = {xids, " NOT NULL", "pg_current_xact_id()", true},
    [COLUMN_AGGREGATETYPE] = {texts, " NOT NULL", NULL, true},
    [COLUMN_AGGREGATEID] = {texts, " NOT NULL", NULL, true},
    [COLUMN_TYPE] = {texts, " NOT NULL", NULL, true},
    [COLUMN_PAYLOAD] = {payloads, "", NULL, false},
    [COLUMN_PAYLOAD_BYTES] = {byteas, "", NULL, false},
    [COLUMN_HEADERS] = {jsons, "", NULL, false},
    [COLUMN_TOPIC] = {texts, "", NULL, false},
    [COLUMN_PARTITION] = {partitions, "", NULL, false},
    [COLUMN_CREATED_AT] = {times, " NOT NULL", "clock_timestamp()", true},
    [COLUMN_PUBLISHED_AT] = {times, "", NULL, false},
};

#define ADOPT "`outbox-relay adopt` prints what a table of another shape needs"

struct found {
    struct slice name; /* data == NULL: there is no such column */
    struct slice type;
    bool not_null;
    bool needed; /* by an insert */
};

static struct slice take(const char **at)
{
    size_t len = strcspn(*at, "\037");
    struct slice s = {(const unsigned char *)*at, len};

    *at += len + ((*at)[len] != '\0');
    return s;
}

/* The next one of the list; false at its end. */
static bool next(const char **at, struct found *ret)
{
    if (*at == NULL || **at == '\0')
        return false;
    ret->name = take(at);
    ret->type = take(at);
    ret->not_null = *take(at).data == 't';
    ret->needed = *take(at).data == 't';
    return true;
}

static bool equals(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static struct found find(const char *list, const char *name)
{
    struct found f;

    while (next(&list, &f))
        if (equals(f.name, name))
            return f;
    return (struct found){0};
}

/* The one of them that the type is, or NULL. */
static const char *one_of(const struct found *f, const char *const *types)
{
    for (; *types != NULL; types++)
        if (equals(f->type, *types))
            return *types;
    return NULL;
}

/* "json, jsonb or text" */
static void list_types(const char *const *types, char *ret, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; types[i] != NULL && len < size; i++)
        len += (size_t)snprintf(ret + len, size - len, "%s%s",
                                i == 0                 ? ""
                                : types[i + 1] == NULL ? " or "
                                                       : ", ",
                                types[i]);
}

static int missing(const char *table, const struct columns *c, enum column_kind k, struct err *err)
{
    const char *fallback = wanted[k].fallback;
    const struct column_name *name = &c->names[k];

    return err_set(err, ERR_CONFIG,
                   "table %s has no column \"%s\": ALTER TABLE %s ADD COLUMN %s %s%s%s%s, as in "
                   "schema/migrations/0001_outbox.up.sql; or set columns.%s%s; " ADOPT,
                   table, name->text, table, name->quoted, wanted[k].types[0], wanted[k].extra,
                   fallback != NULL ? " DEFAULT " : "", fallback != NULL ? fallback : "",
                   column_own_name(k), column_optional(k) ? ", to nothing if there is none" : "");
}

static int differs(const char *table, const struct columns *c, enum column_kind k,
                   const struct found *f, struct err *err)
{
    const char *name = c->names[k].quoted;
    const char *type = wanted[k].types[0];
    char allowed[128];
    char drop[192] = "";
    char set[256] = "";

    /* A default of the old type would not follow the column to the new one. */
    if (wanted[k].fallback != NULL) {
        (void)snprintf(drop, sizeof drop, "ALTER COLUMN %s DROP DEFAULT, ", name);
        (void)snprintf(set, sizeof set, ", ALTER COLUMN %s SET DEFAULT %s", name,
                       wanted[k].fallback);
    }
    list_types(wanted[k].types, allowed, sizeof allowed);
    return err_set(err, ERR_CONFIG,
                   "column \"%s\" of table %s is %.*s, but has to be %s: ALTER TABLE %s %sALTER "
                   "COLUMN %s TYPE %s USING %s::text::%s%s, as in "
                   "schema/migrations/0001_outbox.up.sql; " ADOPT,
                   c->names[k].text, table, (int)f->type.len, (const char *)f->type.data, allowed,
                   table, drop, name, type, name, type, set);
}

static int nullable(const char *table, const struct columns *c, enum column_kind k, struct err *err)
{
    return err_set(err, ERR_CONFIG,
                   "column \"%s\" of table %s may be null, and a row without it cannot be "
                   "published: ALTER TABLE %s ALTER COLUMN %s SET NOT NULL, as in "
                   "schema/migrations/0001_outbox.up.sql; " ADOPT,
                   c->names[k].text, table, table, c->names[k].quoted);
}

static int check_additional(struct pg_facts *ret, const struct columns *c, uint32_t i,
                            const char *list, const char *table, struct err *err)
{
    const struct additional_column *a = &c->additional[i];
    struct found f = find(list, a->name.text);
    char allowed[128];

    if (f.name.data == NULL)
        return err_set(err, ERR_CONFIG,
                       "table %s has no column \"%s\", which columns.additional names", table,
                       a->name.text);
    ret->additional_types[i] = one_of(&f, additionals);
    if (ret->additional_types[i] != NULL)
        return 0;
    list_types(additionals, allowed, sizeof allowed);
    return err_set(err, ERR_CONFIG,
                   "column \"%s\" of table %s is %.*s, and a column that columns.additional makes "
                   "a header has to be %s: take it out of columns.additional, or add a column that "
                   "holds it as text",
                   a->name.text, table, (int)f.type.len, (const char *)f.type.data, allowed);
}

int inspect_columns(struct pg_facts *ret, const struct columns *columns, const char *list,
                    const char *table, struct err *err)
{
    int rc = 0;

    ret->columns = columns;
    ret->plain = !columns->renamed;
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++) {
        struct found f;

        if (!columns_has(columns, k))
            continue;
        f = find(list, columns->names[k].text);
        if (f.name.data == NULL)
            return missing(table, columns, k, err);
        ret->types[k] = one_of(&f, wanted[k].types);
        if (ret->types[k] == NULL)
            return differs(table, columns, k, &f, err);
        if (!f.not_null && wanted[k].required)
            return nullable(table, columns, k, err);
        ret->plain = ret->plain && ret->types[k] == wanted[k].types[0];
    }
    for (uint32_t i = 0; rc == 0 && i < columns->nadditional; i++)
        rc = check_additional(ret, columns, i, list, table, err);
    return rc;
}

static bool is_copied(const struct columns *c, struct slice name)
{
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        if (k != COLUMN_SEQ && k != COLUMN_XID && equals(name, c->names[k].text))
            return true;
    for (uint32_t i = 0; i < c->nadditional; i++)
        if (equals(name, c->additional[i].name.text))
            return true;
    return false;
}

int inspect_copies(const struct columns *columns, const char *list, const char *table,
                   struct err *err)
{
    struct found f;

    while (next(&list, &f))
        if (f.needed && !is_copied(columns, f.name))
            return err_set(err, ERR_CONFIG,
                           "column \"%.*s\" of table %s has no default and may not be null, so a "
                           "copy of a dead event cannot be written there: ALTER TABLE %s ALTER "
                           "COLUMN \"%.*s\" SET DEFAULT ..., or set failure.dead_letter_topic to "
                           "nothing",
                           (int)f.name.len, (const char *)f.name.data, table, table,
                           (int)f.name.len, (const char *)f.name.data);
    return 0;
}
