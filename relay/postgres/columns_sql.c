#include "postgres/columns_sql.h"

#include <string.h>

static bool has(const struct pg_facts *f, enum column_kind k)
{
    return columns_has(f->columns, k);
}

static const char *quoted(const struct pg_facts *f, enum column_kind k)
{
    return f->columns->names[k].quoted;
}

static bool is_json(const struct pg_facts *f)
{
    const char *type = f->types[COLUMN_PAYLOAD];

    return type != NULL && strncmp(type, "json", 4) == 0;
}

static bool is_bytea(const struct pg_facts *f)
{
    const char *type = f->types[COLUMN_PAYLOAD];

    return type != NULL && strcmp(type, "bytea") == 0;
}

bool columns_payload_is_bytes(const struct pg_facts *f)
{
    return has(f, COLUMN_PAYLOAD) && !is_json(f);
}

/* ---- reading ---- */

/* One column of table t under its own name, or what stands for it. */
static void renamed(struct buf *sql, const struct pg_facts *f, const char *t, enum column_kind k,
                    const char *cast, const char *missing)
{
    if (has(f, k))
        buf_printf(sql, ", %s.%s%s AS %s", t, quoted(f, k), cast, column_own_name(k));
    else
        buf_printf(sql, ", %s AS %s", missing, column_own_name(k));
}

/* What is no JSON is read as bytes; a row that has a value in both columns keeps both, and is
 * refused for it. */
static void payloads(struct buf *sql, const struct pg_facts *f, const char *t)
{
    const char *payload = quoted(f, COLUMN_PAYLOAD);
    const char *bytes = quoted(f, COLUMN_PAYLOAD_BYTES);
    bool both = has(f, COLUMN_PAYLOAD_BYTES);

    if (!columns_payload_is_bytes(f)) {
        renamed(sql, f, t, COLUMN_PAYLOAD, "::pg_catalog.json", "NULL::pg_catalog.json");
        renamed(sql, f, t, COLUMN_PAYLOAD_BYTES, "", "NULL::pg_catalog.bytea");
        return;
    }
    if (both)
        buf_printf(sql, ", CASE WHEN %s.%s IS NOT NULL THEN pg_catalog.to_json(%s.%s::text) END", t,
                   bytes, t, payload);
    else
        buf_printf(sql, ", NULL::pg_catalog.json");
    buf_printf(sql, " AS payload, ");
    if (both)
        buf_printf(sql, "coalesce(%s.%s, ", t, bytes);
    if (is_bytea(f))
        buf_printf(sql, "%s.%s", t, payload);
    else
        buf_printf(sql, "pg_catalog.convert_to(%s.%s::pg_catalog.text, 'UTF8')", t, payload);
    buf_printf(sql, "%s AS payload_bytes", both ? ")" : "");
}

void columns_list(struct buf *sql, const struct pg_facts *f, const char *t)
{
    static const char text[] = "::pg_catalog.text";
    static const char none[] = "''::pg_catalog.text";
    const char *created = f->types[COLUMN_CREATED_AT];

    if (f->plain) {
        buf_printf(sql, "%s.*", t);
        return;
    }
    buf_printf(sql, "%s.%s AS seq", t, quoted(f, COLUMN_SEQ));
    renamed(sql, f, t, COLUMN_ID, "", "");
    renamed(sql, f, t, COLUMN_XID, "", "");
    renamed(sql, f, t, COLUMN_AGGREGATETYPE, text, none);
    renamed(sql, f, t, COLUMN_AGGREGATEID, text, "");
    renamed(sql, f, t, COLUMN_TYPE, text, none);
    payloads(sql, f, t);
    renamed(sql, f, t, COLUMN_HEADERS, "::pg_catalog.json", "NULL::pg_catalog.json");
    renamed(sql, f, t, COLUMN_TOPIC, text, "NULL::pg_catalog.text");
    renamed(sql, f, t, COLUMN_PARTITION, "::pg_catalog.int4", "NULL::pg_catalog.int4");
    /* Without a zone it is meant in UTC, as a decoder of the log takes it. */
    renamed(sql, f, t, COLUMN_CREATED_AT,
            strstr(created, "without") != NULL ? " AT TIME ZONE 'UTC'" : "", "");
    renamed(sql, f, t, COLUMN_PUBLISHED_AT, "", "");
    for (uint32_t i = 0; i < f->columns->nadditional; i++)
        buf_printf(sql, ", %s.%s::pg_catalog.text AS additional_%u", t,
                   f->columns->additional[i].name.quoted, (unsigned)i);
}

void columns_rows(struct buf *sql, const struct pg_facts *f)
{
    if (f->plain) {
        buf_printf(sql, "%s", f->table);
        return;
    }
    buf_printf(sql, "(SELECT ");
    columns_list(sql, f, "t");
    buf_printf(sql, " FROM %s AS t)", f->table);
}

void columns_fields(struct buf *sql, const struct pg_facts *f)
{
    static const char null[] = "NULL::pg_catalog.text AS ";

    buf_printf(sql,
               "seq, id, xid, %saggregatetype, aggregateid, %stype, payload, payload_bytes,"
               " headers, topic, partition, created_at",
               has(f, COLUMN_AGGREGATETYPE) ? "" : null, has(f, COLUMN_TYPE) ? "" : null);
    for (uint32_t i = 0; i < f->columns->nadditional; i++)
        buf_printf(sql, ", additional_%u", (unsigned)i);
}

void columns_more_nulls(struct buf *sql, const struct pg_facts *f)
{
    for (uint32_t i = 0; i < f->columns->nadditional; i++)
        buf_printf(sql, ", NULL::pg_catalog.text");
}

/* ---- headers, with the additional ones among them ---- */

static void members(struct buf *sql, const struct pg_facts *f)
{
    for (uint32_t i = 0; i < f->columns->nadditional; i++)
        buf_printf(
            sql, "%s'%s\"%s\":' || coalesce(pg_catalog.to_json(o.additional_%u)::text, 'null')",
            i > 0 ? " || " : "", i > 0 ? "," : "", f->columns->additional[i].header, (unsigned)i);
}

void columns_folded(struct buf *sql, const struct pg_facts *f)
{
    if (f->columns->nadditional == 0) {
        buf_printf(sql, "o.headers");
        return;
    }
    buf_printf(sql, "(SELECT CASE WHEN o.headers IS NULL OR pg_catalog.json_typeof(o.headers) ="
                    " 'null' OR o.headers::text ~ '^\\s*[{]\\s*[}]\\s*$' THEN '{' || m || '}'"
                    /* Refused for that: kept for who corrects it. */
                    " WHEN pg_catalog.json_typeof(o.headers) <> 'object' THEN '[{' || m || '},' ||"
                    " o.headers::text || ']'"
                    " WHEN pg_catalog.starts_with(o.headers::text, '" COLUMN_COPY_BEGIN "') THEN"
                    " pg_catalog.regexp_replace(o.headers::text, '[}]\\s*$', '') || ',' || m || '}'"
                    " ELSE '{' || m || ',' || pg_catalog.regexp_replace(o.headers::text,"
                    " '^\\s*[{]', '') END::json FROM (SELECT ");
    members(sql, f);
    buf_printf(sql, " AS m) AS m)");
}

/* Of row "d": can its headers be taken apart? */
#define APART                                                                                      \
    "pg_catalog.json_typeof(d.headers) = 'object' AND d.headers::text !~* '\\\\u(0000|d[89a-f])'"

/* Where two of that name are there, the first is the additional one. */
static void unfolded(struct buf *sql, const struct pg_facts *f, uint32_t i)
{
    buf_printf(sql,
               "(SELECT j.value FROM pg_catalog.json_each_text(CASE WHEN " APART " THEN d.headers"
               " ELSE '{}' END) WITH ORDINALITY AS j(key, value, n) WHERE j.key = '%s'"
               " ORDER BY j.n LIMIT 1)::pg_catalog.%s",
               f->columns->additional[i].header,
               strcmp(f->additional_types[i], "character varying") == 0 ? "varchar"
               : strcmp(f->additional_types[i], "boolean") == 0         ? "bool"
               : strcmp(f->additional_types[i], "bigint") == 0          ? "int8"
               : strcmp(f->additional_types[i], "integer") == 0         ? "int4"
               : strcmp(f->additional_types[i], "smallint") == 0        ? "int2"
                                                                        : f->additional_types[i]);
}

static void rest(struct buf *sql, const struct pg_facts *f)
{
    if (f->columns->nadditional == 0) {
        buf_printf(sql, "d.headers");
        return;
    }
    buf_printf(sql, "CASE WHEN " APART
                    " THEN (SELECT ('{' || pg_catalog.string_agg(pg_catalog.to_json(j.key)::text ||"
                    " ':' || j.value::text, ',' ORDER BY j.n) || '}')::json FROM (SELECT e.key,"
                    " e.value, e.n, pg_catalog.row_number() OVER (PARTITION BY e.key ORDER BY e.n)"
                    " AS nth FROM pg_catalog.json_each(CASE WHEN " APART
                    " THEN d.headers ELSE '{}' END) WITH ORDINALITY AS e(key, value, n)) AS j"
                    " WHERE j.nth > 1 OR j.key NOT IN (");
    for (uint32_t i = 0; i < f->columns->nadditional; i++)
        buf_printf(sql, "%s'%s'", i > 0 ? ", " : "", f->columns->additional[i].header);
    buf_printf(sql, ")) ELSE d.headers END");
}

/* ---- writing ---- */

/* A column of the insert, whose value is to follow. */
static void target(struct buf *names, struct buf *values, const char *name)
{
    const char *comma = names->len > 0 ? ", " : "";

    buf_printf(names, "%s%s", comma, name);
    buf_printf(values, "%s", comma);
}

static void copied(struct buf *names, struct buf *values, const struct pg_facts *f,
                   enum column_kind k)
{
    if (!has(f, k))
        return;
    target(names, values, quoted(f, k));
    buf_printf(values, "CAST(d.%s AS %s)", column_own_name(k), f->types[k]);
}

static void written_payload(struct buf *names, struct buf *values, const struct pg_facts *f)
{
    static const char as_bytes[] =
        "coalesce(d.payload_bytes, pg_catalog.convert_to(d.payload::text, 'UTF8'))";
    bool bytes = has(f, COLUMN_PAYLOAD_BYTES);

    if (is_json(f) || (bytes && has(f, COLUMN_PAYLOAD) && !is_bytea(f))) {
        copied(names, values, f, COLUMN_PAYLOAD);
        copied(names, values, f, COLUMN_PAYLOAD_BYTES);
        return;
    }
    target(names, values, quoted(f, bytes ? COLUMN_PAYLOAD_BYTES : COLUMN_PAYLOAD));
    if (bytes || is_bytea(f))
        buf_printf(values, "%s", as_bytes);
    else
        buf_printf(values, "coalesce(d.payload::text, pg_catalog.convert_from(d.payload_bytes,"
                           " 'UTF8'))");
}

static void written_created(struct buf *names, struct buf *values, const struct pg_facts *f)
{
    target(names, values, quoted(f, COLUMN_CREATED_AT));
    buf_printf(values, "d.created_at%s",
               strstr(f->types[COLUMN_CREATED_AT], "without") != NULL ? " AT TIME ZONE 'UTC'" : "");
}

void columns_insert(struct buf *sql, const struct pg_facts *f)
{
    static const enum column_kind before[] = {COLUMN_ID, COLUMN_AGGREGATETYPE, COLUMN_AGGREGATEID,
                                              COLUMN_TYPE};
    struct buf names = {0};
    struct buf values = {0};

    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        copied(&names, &values, f, before[i]);
    written_payload(&names, &values, f);
    if (has(f, COLUMN_HEADERS)) {
        target(&names, &values, quoted(f, COLUMN_HEADERS));
        buf_printf(&values, "CAST(");
        rest(&values, f);
        buf_printf(&values, " AS %s)", f->types[COLUMN_HEADERS]);
    }
    copied(&names, &values, f, COLUMN_TOPIC);
    copied(&names, &values, f, COLUMN_PARTITION);
    written_created(&names, &values, f);
    for (uint32_t i = 0; i < f->columns->nadditional; i++) {
        if (f->columns->additional[i].slot != COLUMN_KINDS + i)
            continue; /* it is there already */
        target(&names, &values, f->columns->additional[i].name.quoted);
        unfolded(&values, f, i);
    }
    if (buf_cstr(&names) == NULL || buf_cstr(&values) == NULL)
        sql->failed = true;
    else
        buf_printf(sql, "(%s) SELECT %s", buf_cstr(&names), buf_cstr(&values));
    buf_free(&names);
    buf_free(&values);
}

void columns_lost(struct buf *sql, const struct pg_facts *f)
{
    bool both = is_json(f) && has(f, COLUMN_PAYLOAD_BYTES);

    buf_printf(sql, "CASE");
    if (!both)
        buf_printf(sql, " WHEN d.payload IS NOT NULL AND d.payload_bytes IS NOT NULL THEN"
                        " 'payload_bytes'");
    if (is_json(f) && !both)
        buf_printf(sql, " WHEN d.payload_bytes IS NOT NULL THEN 'payload_bytes'");
    if (!has(f, COLUMN_HEADERS)) {
        buf_printf(sql, " WHEN (");
        rest(sql, f);
        buf_printf(sql, ") IS NOT NULL THEN 'headers'");
    }
    if (!has(f, COLUMN_TOPIC))
        buf_printf(sql, " WHEN d.topic IS NOT NULL THEN 'topic'");
    if (!has(f, COLUMN_PARTITION))
        buf_printf(sql, " WHEN d.partition IS NOT NULL THEN 'partition'");
    if (!has(f, COLUMN_AGGREGATETYPE))
        buf_printf(sql, " WHEN d.aggregatetype <> '' THEN 'aggregatetype'");
    if (!has(f, COLUMN_TYPE))
        buf_printf(sql, " WHEN d.type <> '' THEN 'type'");
    buf_printf(sql, " WHEN false THEN '' END");
}
