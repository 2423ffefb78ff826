#include "postgres/columns_sql.h"
#include "postgres/failures_impl.h"
#include "postgres/pg_value.h"
#include "postgres/read_sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- content ---- */

static const struct {
    const char *name; /* in the outbox */
    const char *type;
    bool binary;
} columns[FAILURE_COLUMNS] = {
    [FAILURE_ROUTED] = {"routed", "text", false},
    [FAILURE_AGGREGATETYPE] = {"aggregatetype", "text", false},
    [FAILURE_AGGREGATEID] = {"aggregateid", "text", false},
    [FAILURE_TYPE] = {"type", "text", false},
    [FAILURE_PAYLOAD] = {"payload", "json", false},
    [FAILURE_PAYLOAD_BYTES] = {"payload_bytes", "bytea", true},
    [FAILURE_HEADERS] = {"headers", "json", false},
    [FAILURE_TOPIC] = {"topic", "text", false},
    [FAILURE_PARTITION] = {"partition", "int4", false},
    [FAILURE_CREATED_AT] = {"created_at", "timestamptz", true},
    [FAILURE_LSN] = {"lsn", "pg_lsn", false},
};

static void set(struct failure *one, enum failure_column c, struct slice value)
{
    one->at[c] = one->content.len;
    one->len[c] = value.len;
    one->null[c] = value.data == NULL;
    buf_append(&one->content, value.data, value.len);
    buf_append(&one->content, "", 1); /* libpq takes text as C strings */
}

static struct slice text_if(bool some, const char *text)
{
    return some ? (struct slice){(const unsigned char *)text, strlen(text)}
                : (struct slice){NULL, 0};
}

/* Columns that the outbox has not are not null there. */
static struct slice or_empty(struct slice value)
{
    return value.data != NULL ? value : (struct slice){(const unsigned char *)"", 0};
}

void failure_set_content(struct failure *one, const struct columns *names, const struct event *e,
                         struct slice routed, uint64_t lsn)
{
    struct buf created = {0};
    struct buf headers = {0};
    char partition[16];
    char at[24];

    buf_reset(&one->content);
    set(one, FAILURE_ROUTED, routed);
    set(one, FAILURE_AGGREGATETYPE, or_empty(e->aggregatetype));
    set(one, FAILURE_AGGREGATEID, e->aggregateid);
    set(one, FAILURE_TYPE, or_empty(e->type));
    set(one, FAILURE_PAYLOAD, e->payload);
    set(one, FAILURE_PAYLOAD_BYTES, e->payload_bytes);
    set(one, FAILURE_HEADERS, columns_folded_headers(names, e, &headers));
    set(one, FAILURE_TOPIC, e->topic);
    (void)snprintf(partition, sizeof partition, "%" PRId32, e->partition);
    set(one, FAILURE_PARTITION, text_if(e->has_partition, partition));
    buf_u64(&created, (uint64_t)pg_time_of_unix(e->created_us));
    set(one, FAILURE_CREATED_AT, (struct slice){created.data, created.len});
    (void)snprintf(at, sizeof at, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
    set(one, FAILURE_LSN, text_if(lsn != 0, at));
    one->content.failed = one->content.failed || created.failed || headers.failed;
    buf_free(&headers);
    buf_free(&created);
}

/* ---- parameters: shard, epoch, then of each its seq, id, class, error and content ---- */

static void add(struct failure_statement *s, const char *value, size_t len, bool binary)
{
    s->values[s->params.n] = value;
    s->lengths[s->params.n] = (int)len;
    s->formats[s->params.n++] = binary;
}

static void add_text(struct failure_statement *s, const char *value)
{
    add(s, value, strlen(value), false);
}

static void add_params(struct failure_statement *s, struct failure *one)
{
    (void)snprintf(one->seq_text, sizeof one->seq_text, "%" PRId64, one->seq);
    add_text(s, one->seq_text);
    add_text(s, one->id);
    add_text(s, one->class);
    add_text(s, one->error);
    for (int c = 0; one->content.len > 0 && c < FAILURE_COLUMNS; c++)
        add(s, one->null[c] ? NULL : (const char *)one->content.data + one->at[c], one->len[c],
            columns[c].binary);
}

/* ---- statements ---- */

/*
 * A copy is a row like any other, so it is published in its turn, and dies in its turn, of which
 * there is no second copy. What may be at fault is left out of it: partition, time, one of two
 * payloads, headers that are no object or hold what is no text in UTF-8. The rest of them is taken
 * over to the byte.
 */
static void build_copy(const struct failures *f, int copy_topic, struct buf *sql)
{
    buf_printf(sql, ", c AS (INSERT INTO %s ", f->facts->table);
    columns_insert(sql, f->facts);
    buf_printf(
        sql,
        " FROM (SELECT pg_catalog.gen_random_uuid() AS id, aggregatetype, aggregateid, type,"
        " payload, CASE WHEN payload IS NULL THEN payload_bytes END AS payload_bytes,"
        " ('" COLUMN_COPY_BEGIN "' || pg_catalog.to_json($6::text)::text ||"
        " ',\"outbox.error_class\":' || pg_catalog.to_json($5::text)::text ||"
        " ',\"outbox.topic\":' || pg_catalog.to_json(routed)::text ||"
        " ',\"outbox.id\":\"' || id::text || '\"' || CASE WHEN pg_catalog.json_typeof(headers) ="
        " 'object' AND headers::text !~ '^\\s*[{]\\s*}\\s*$' AND headers::text !~*"
        " '\\\\u(0000|d[89a-f])' THEN ',' || pg_catalog.regexp_replace(headers::text, '^\\s*[{]',"
        " '') ELSE '}' END)::json AS headers,"
        " pg_catalog.replace($%d::text, '${topic}', routed) AS topic, NULL::integer AS partition,"
        " pg_catalog.clock_timestamp() AS created_at"
        " FROM (SELECT o.*, %s AS routed FROM d AS o) AS o WHERE headers IS NULL OR NOT"
        " pg_catalog.starts_with(headers::text, '" COLUMN_COPY_BEGIN "')) AS d)",
        copy_topic, f->topic_sql);
}

static bool is_dead(const struct failure *one)
{
    return one->kind == FAILURE_ROW_DEAD || one->kind == FAILURE_WHOLE_DEAD;
}

static void names(struct buf *sql)
{
    for (int c = FAILURE_AGGREGATETYPE; c < FAILURE_LSN; c++)
        buf_printf(sql, ", %s", columns[c].name);
}

/* CTE "o": the events themselves, as rows of the outbox, with what is to be said of them. */
static void build_events(struct failure_statement *s, const struct failures *f,
                         const struct failure *first, uint32_t n)
{
    struct buf *sql = &s->sql;
    int at = 3;

    if (first->content.len == 0) {
        buf_printf(sql,
                   "o AS (SELECT 1 AS n, NULL::pg_lsn AS lsn, o.seq, o.id, $5::text AS class,"
                   " $6::text AS error, %s AS routed",
                   f->topic_sql);
        for (int c = FAILURE_AGGREGATETYPE; c < FAILURE_LSN; c++) {
            buf_printf(sql, ", ");
            if (c == FAILURE_HEADERS)
                columns_folded(sql, f->facts);
            else
                buf_printf(sql, "o.%s", columns[c].name);
            buf_printf(sql, " AS %s", columns[c].name);
        }
        buf_printf(sql, " FROM ");
        columns_rows(sql, f->facts);
        buf_printf(sql, " AS o WHERE o.seq = $3::bigint AND o.id = $4::uuid AND"
                        " o.published_at IS NULL)");
        return;
    }
    buf_printf(sql, "o (n, seq, id, class, error, routed");
    names(sql);
    buf_printf(sql, ", lsn) AS (VALUES");
    for (uint32_t i = 0; i < n; i++) {
        buf_printf(sql, "%s (%" PRIu32 ", $%d::bigint, $%d::uuid, $%d::text, $%d::text",
                   i > 0 ? "," : "", i, at, at + 1, at + 2, at + 3);
        at += 4;
        for (int c = 0; c < FAILURE_COLUMNS; c++)
            buf_printf(sql, ", $%d::pg_catalog.%s", at++, columns[c].type);
        buf_printf(sql, ")");
    }
    buf_printf(sql, ")");
}

/* What has come before is there already; a row that was parked before there was a slot has its
 * content in the outbox, from where it goes now. */
static void build_kept(struct failure_statement *s, const struct failures *f)
{
    static const char same[] = "aggregatetype = EXCLUDED.aggregatetype, type = EXCLUDED.type,"
                               " payload = EXCLUDED.payload, payload_bytes ="
                               " EXCLUDED.payload_bytes, headers = EXCLUDED.headers, event_topic ="
                               " EXCLUDED.event_topic, partition = EXCLUDED.partition, created_at ="
                               " EXCLUDED.created_at";

    buf_printf(&s->sql,
               ", i AS (INSERT INTO %s AS k (seq, id, class, error, topic, aggregatetype,"
               " aggregateid, type, payload, payload_bytes, headers, event_topic, partition,"
               " created_at, lsn, epoch) SELECT seq, id, class, error, routed",
               f->facts->parked);
    names(&s->sql);
    buf_printf(&s->sql,
               ", lsn, $2::bigint FROM o, l ORDER BY n ON CONFLICT (seq, id) DO UPDATE SET %s"
               " WHERE k.aggregatetype IS NULL)",
               same);
}

static void build_buried(struct failure_statement *s, const struct failures *f)
{
    buf_printf(&s->sql, ", d AS (INSERT INTO %s (seq, id, class, error, routed_topic",
               f->facts->dead);
    names(&s->sql);
    buf_printf(&s->sql, ") SELECT seq, id, class, error, routed");
    names(&s->sql);
    buf_printf(&s->sql, " FROM o, l ON CONFLICT DO NOTHING RETURNING *)");
}

/* Rows: the outbox has them, and its order is theirs. */
static void build_dead_row(struct buf *sql, const struct failures *f)
{
    const struct column_name *n = f->facts->columns->names;

    buf_printf(sql,
               "o AS (DELETE FROM %s AS t USING l WHERE t.%s = $3::bigint AND t.%s = $4::uuid"
               " AND t.%s IS NULL RETURNING ",
               f->facts->table, n[COLUMN_SEQ].quoted, n[COLUMN_ID].quoted,
               n[COLUMN_PUBLISHED_AT].quoted);
    columns_list(sql, f->facts, "t");
    buf_printf(sql,
               "), d AS (INSERT INTO %s (seq, id, aggregatetype, aggregateid, type, payload,"
               " payload_bytes, headers, topic, partition, created_at, routed_topic, class, error)"
               " SELECT seq, id, aggregatetype, aggregateid, type, payload, payload_bytes, ",
               f->facts->dead);
    columns_folded(sql, f->facts);
    buf_printf(sql, ", topic, partition, created_at, %s, $5, $6 FROM o RETURNING *)", f->topic_sql);
}

static void build_parked_row(struct buf *sql, const struct failures *f)
{
    buf_printf(sql, "o AS (SELECT o.* FROM ");
    columns_rows(sql, f->facts);
    buf_printf(
        sql,
        " AS o, l WHERE o.seq = $3::bigint AND o.id = $4::uuid"
        " AND o.published_at IS NULL), i AS (INSERT INTO %s (seq, id, topic, aggregateid,"
        " class, error) SELECT seq, id, %s, aggregateid, $5, $6 FROM o ON CONFLICT DO NOTHING)",
        f->facts->parked, f->topic_sql);
}

void failure_statement(struct failure_statement *ret, const struct failures *f,
                       struct failure *first, uint32_t n)
{
    struct failure *one = first;

    ret->params =
        (struct pg_params){.values = ret->values, .lengths = ret->lengths, .formats = ret->formats};
    (void)snprintf(ret->shard, sizeof ret->shard, "%d", f->shard);
    (void)snprintf(ret->epoch, sizeof ret->epoch, "%" PRIu64, f->epoch);
    add_text(ret, ret->shard);
    add_text(ret, ret->epoch);
    for (uint32_t i = 0; i < n; i++, one = one->next)
        add_params(ret, one);
    /* The lease first, and locked: what another owner begins with has to hold all that was added
     * before. */
    buf_printf(&ret->sql,
               "WITH l AS MATERIALIZED (SELECT 1 FROM %s WHERE shard = $1::integer AND epoch ="
               " $2::bigint FOR SHARE), ",
               f->facts->lease);
    if (first->kind == FAILURE_ROW_DEAD)
        build_dead_row(&ret->sql, f);
    else if (first->kind == FAILURE_ROW_PARKED)
        build_parked_row(&ret->sql, f);
    else if (first->kind == FAILURE_AGAIN)
        buf_printf(&ret->sql,
                   "o AS (UPDATE %s AS k SET class = $5, error = $6, parked_at ="
                   " pg_catalog.clock_timestamp(), retried_at = NULL FROM l WHERE k.seq ="
                   " $3::bigint AND k.id = $4::uuid RETURNING 1)",
                   f->facts->parked);
    else
        build_events(ret, f, first, n);
    if (first->kind == FAILURE_WHOLE_PARKED)
        build_kept(ret, f);
    if (first->kind == FAILURE_WHOLE_DEAD)
        build_buried(ret, f);
    if (is_dead(first) && f->copy_topic[0] != '\0') {
        add_text(ret, f->copy_topic);
        build_copy(f, ret->params.n, &ret->sql);
    }
    buf_printf(&ret->sql, " SELECT (SELECT pg_catalog.count(*) FROM l), (SELECT pg_catalog.count(*)"
                          " FROM o)");
}

/* ---- the list ---- */

/* A row that somebody took away holds nothing up. */
static void list_rows(struct buf *sql, const struct pg_facts *facts, const char *rows)
{
    buf_printf(sql,
               "WITH held AS (SELECT seq, id FROM %s AS k WHERE EXISTS (SELECT FROM %s AS o WHERE"
               " o.seq = k.seq AND o.id = k.id AND o.published_at IS NULL)), gone AS (DELETE FROM"
               " %s AS k WHERE (k.seq, k.id) NOT IN (SELECT seq, id FROM held))"
               " SELECT topic, aggregateid, false FROM %s AS k JOIN held USING (seq, id)",
               facts->parked, rows, facts->parked, facts->parked);
}

#define IS_HELD                                                                                    \
    "EXISTS (SELECT FROM %s AS o WHERE o.seq = h.seq AND o.id = h.id AND o.published_at IS NULL)"

/* The same where there are queues; of each key one probe by index, however long its queue is. */
static void list_queues(struct buf *sql, const struct pg_facts *facts, const char *rows)
{
    buf_printf(sql,
               "WITH RECURSIVE gone AS (DELETE FROM %s AS h WHERE h.aggregatetype IS NULL AND NOT"
               " " IS_HELD "), keys AS ((SELECT aggregateid, topic FROM %s ORDER BY aggregateid,"
               " topic LIMIT 1) UNION ALL SELECT n.* FROM keys AS k CROSS JOIN LATERAL (SELECT"
               " aggregateid, topic FROM %s AS n WHERE (n.aggregateid, n.topic) > (k.aggregateid,"
               " k.topic) ORDER BY aggregateid, topic LIMIT 1) AS n)",
               facts->parked, rows, facts->parked, facts->parked);
    buf_printf(sql,
               " SELECT k.topic, k.aggregateid, " QUEUE_GOES " FROM keys AS k CROSS JOIN LATERAL"
               " (SELECT * FROM %s AS h WHERE h.aggregateid = k.aggregateid AND h.topic = k.topic"
               " AND (h.aggregatetype IS NOT NULL OR " IS_HELD ") ORDER BY place LIMIT 1) AS h",
               facts->parked, rows);
}

void failure_list_sql(struct buf *sql, const struct pg_facts *facts)
{
    struct buf rows = {0};

    columns_rows(&rows, facts);
    if (buf_cstr(&rows) == NULL)
        sql->failed = true;
    else if (facts->queues)
        list_queues(sql, facts, buf_cstr(&rows));
    else
        list_rows(sql, facts, buf_cstr(&rows));
    buf_free(&rows);
}
