#include "postgres/failures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Statements on their way at a time. */
#define SENT_MAX 8

struct failure {
    struct failure *next;
    uint64_t tag;
    int64_t seq;
    bool dead;
    bool sent;
    char id[EVENT_ID_TEXT];
    const char *class;
    char error[];
};

struct failures {
    char *topic_sql;
    char *copy_topic;
    struct failures_callbacks callbacks;
    void *arg;
    struct pg_conn *conn;
    const struct pg_facts *facts;
    int shard;
    uint64_t epoch;
    struct failure *first, **last;
    uint32_t n;
    uint64_t tags[SENT_MAX]; /* of those on their way, a ring in the order of sending */
    uint32_t oldest, sent;
    bool listing;
    bool list_again;
};

int failures_new(struct failures **ret, const char *topic_sql, const char *copy_topic,
                 const struct failures_callbacks *callbacks, void *arg, struct err *err)
{
    struct failures *f = calloc(1, sizeof *f);

    if (f == NULL || (f->topic_sql = strdup(topic_sql)) == NULL ||
        (f->copy_topic = strdup(copy_topic)) == NULL) {
        failures_free(f);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    f->callbacks = *callbacks;
    f->arg = arg;
    f->last = &f->first;
    *ret = f;
    return 0;
}

void failures_clear(struct failures *f)
{
    while (f->first != NULL) {
        struct failure *next = f->first->next;

        free(f->first);
        f->first = next;
    }
    f->last = &f->first;
    f->n = 0;
}

void failures_free(struct failures *f)
{
    if (f == NULL)
        return;
    failures_clear(f);
    free(f->topic_sql);
    free(f->copy_topic);
    free(f);
}

uint32_t failures_pending(const struct failures *f)
{
    return f->n;
}

int failures_add(struct failures *f, uint64_t tag, bool dead, int64_t seq,
                 const unsigned char id[EVENT_ID_LEN], const struct err *why, struct err *err)
{
    size_t len = strlen(why->message);
    struct failure *one = malloc(sizeof *one + len + 1);

    if (one == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for an event that cannot be published");
    *one =
        (struct failure){.tag = tag, .dead = dead, .seq = seq, .class = err_class_name(why->class)};
    event_id_text(id, one->id);
    memcpy(one->error, why->message, len + 1);
    *f->last = one;
    f->last = &one->next;
    f->n++;
    failures_send(f);
    return 0;
}

static void take_out(struct failures *f, struct failure *one)
{
    struct failure **at = &f->first;

    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    if (f->last == &one->next)
        f->last = at;
    f->n--;
    free(one);
}

/* Whose answer has come; NULL for one that was cleared meanwhile. */
static struct failure *take_answered(struct failures *f)
{
    uint64_t tag = f->tags[f->oldest];
    struct failure *one = f->first;

    f->oldest = (f->oldest + 1) % SENT_MAX;
    f->sent--;
    while (one != NULL && one->tag != tag)
        one = one->next;
    return one;
}

static void answered(void *arg, const PGresult *res, const struct err *why)
{
    struct failures *f = arg;
    struct failure *one = take_answered(f);
    struct err fenced;
    uint64_t tag;
    bool gone;

    if (one == NULL)
        return;
    if (why == NULL && strcmp(PQgetvalue(res, 0, 0), "1") != 0) {
        (void)err_set(&fenced, ERR_FENCED, "the outbox has another owner");
        why = &fenced;
    }
    if (why != NULL) {
        one->sent = false;
        f->callbacks.on_error(f->arg, why);
        return;
    }
    tag = one->tag;
    gone = strcmp(PQgetvalue(res, 0, 1), "0") == 0;
    take_out(f, one);
    f->callbacks.on_recorded(f->arg, tag, gone);
    failures_send(f);
}

/* Begins the headers of a copy, and tells by that what is one. */
#define COPY_BEGIN "{\"outbox.error\":"

/*
 * A copy is a row like any other, so it is published in its turn, and dies in its turn, of which
 * there is no second copy. What may be at fault is left out of it: partition, time, one of two
 * payloads, headers that are no object or hold what is no text in UTF-8. The rest of them is taken
 * over to the byte.
 */
static void build_copy(const struct failures *f, struct buf *sql)
{
    buf_printf(
        sql,
        ", c AS (INSERT INTO %s (aggregatetype, aggregateid, type, payload, payload_bytes, headers,"
        " topic) SELECT aggregatetype, aggregateid, type, payload, CASE WHEN payload IS NULL THEN"
        " payload_bytes END, ('" COPY_BEGIN "' || pg_catalog.to_json($6::text)::text ||"
        " ',\"outbox.error_class\":' || pg_catalog.to_json($5::text)::text ||"
        " ',\"outbox.topic\":' || pg_catalog.to_json(routed)::text ||"
        " ',\"outbox.id\":\"' || id::text || '\"' || CASE WHEN pg_catalog.json_typeof(headers) ="
        " 'object' AND headers::text !~ '^\\s*[{]\\s*}\\s*$' AND headers::text !~*"
        " '\\\\u(0000|d[89a-f])' THEN ',' || pg_catalog.regexp_replace(headers::text, '^\\s*[{]',"
        " '') ELSE '}' END)::json, pg_catalog.replace($7::text, '${topic}', routed)"
        " FROM (SELECT o.*, %s AS routed FROM o) AS o"
        " WHERE headers IS NULL OR NOT pg_catalog.starts_with(headers::text, '" COPY_BEGIN "'))",
        f->facts->table, f->topic_sql);
}

/* The lease first: the first column tells whether it was ours, the second whether the row was
 * there. */
static void build_sql(const struct failures *f, bool dead, struct buf *sql)
{
    buf_printf(sql,
               "WITH l AS MATERIALIZED (SELECT 1 FROM %s WHERE shard = $1::integer AND epoch ="
               " $2::bigint), ",
               f->facts->lease);
    if (dead)
        buf_printf(
            sql,
            "o AS (DELETE FROM %s AS t USING l WHERE t.seq = $3::bigint AND t.id = $4::uuid"
            " AND t.published_at IS NULL RETURNING t.*), i AS (INSERT INTO %s (seq, id,"
            " aggregatetype, aggregateid, type, payload, payload_bytes, headers, topic, partition,"
            " created_at, routed_topic, class, error) SELECT seq, id, aggregatetype, aggregateid,"
            " type, payload, payload_bytes, headers, topic, partition, created_at, %s, $5, $6"
            " FROM o)",
            f->facts->table, f->facts->dead, f->topic_sql);
    else
        buf_printf(
            sql,
            "o AS (SELECT o.* FROM %s AS o, l WHERE o.seq = $3::bigint AND o.id = $4::uuid"
            " AND o.published_at IS NULL), i AS (INSERT INTO %s (seq, id, topic, aggregateid,"
            " class, error) SELECT seq, id, %s, aggregateid, $5, $6 FROM o ON CONFLICT DO NOTHING)",
            f->facts->table, f->facts->parked, f->topic_sql);
    if (dead && f->copy_topic[0] != '\0')
        build_copy(f, sql);
    buf_printf(sql, " SELECT (SELECT pg_catalog.count(*) FROM l), (SELECT pg_catalog.count(*)"
                    " FROM o)");
}

static void send_one(struct failures *f, struct failure *one)
{
    char shard[16];
    char epoch[24];
    char seq[24];
    const char *values[] = {shard, epoch, seq, one->id, one->class, one->error, f->copy_topic};
    struct pg_params params = {.n = one->dead && f->copy_topic[0] != '\0' ? 7 : 6,
                               .values = values};
    struct buf sql = {0};

    (void)snprintf(shard, sizeof shard, "%d", f->shard);
    (void)snprintf(epoch, sizeof epoch, "%" PRIu64, f->epoch);
    (void)snprintf(seq, sizeof seq, "%" PRId64, one->seq);
    build_sql(f, one->dead, &sql);
    if (buf_cstr(&sql) != NULL) { /* else with the next sending */
        one->sent = true;
        f->tags[(f->oldest + f->sent++) % SENT_MAX] = one->tag;
        pg_conn_query(f->conn, buf_cstr(&sql), &params, 0, answered, f);
    }
    buf_free(&sql);
}

void failures_send(struct failures *f)
{
    if (f->conn == NULL)
        return;
    for (struct failure *one = f->first; one != NULL && f->sent < SENT_MAX; one = one->next)
        if (!one->sent)
            send_one(f, one);
}

void failures_pause(struct failures *f)
{
    f->conn = NULL;
}

void failures_connect(struct failures *f, struct pg_conn *conn, const struct pg_facts *facts,
                      int shard, uint64_t epoch)
{
    f->conn = conn;
    f->facts = facts;
    f->shard = shard;
    f->epoch = epoch;
    if (conn == NULL) { /* nothing of it is answered any more */
        f->sent = 0;
        f->listing = f->list_again = false;
        for (struct failure *one = f->first; one != NULL; one = one->next)
            one->sent = false;
    } else {
        failures_send(f);
    }
}

/* ---- the list ---- */

static void listed(void *arg, const PGresult *res, const struct err *why)
{
    struct failures *f = arg;

    f->listing = false;
    if (why != NULL) {
        f->callbacks.on_error(f->arg, why);
    } else {
        f->callbacks.on_list_begin(f->arg);
        for (int i = 0; i < PQntuples(res); i++)
            f->callbacks.on_list_key(f->arg,
                                     (struct slice){(const unsigned char *)PQgetvalue(res, i, 0),
                                                    (size_t)PQgetlength(res, i, 0)},
                                     (struct slice){(const unsigned char *)PQgetvalue(res, i, 1),
                                                    (size_t)PQgetlength(res, i, 1)});
        f->callbacks.on_list_end(f->arg);
    }
    if (f->list_again) {
        f->list_again = false;
        failures_list(f);
    }
}

void failures_list(struct failures *f)
{
    struct buf sql = {0};

    if (f->conn == NULL)
        return;
    if (f->listing) {
        f->list_again = true;
        return;
    }
    /* A row that somebody took away holds nothing up. */
    buf_printf(&sql,
               "WITH held AS (SELECT seq, id FROM %s AS k WHERE EXISTS (SELECT FROM %s AS o WHERE"
               " o.seq = k.seq AND o.id = k.id AND o.published_at IS NULL)), gone AS (DELETE FROM"
               " %s AS k WHERE (k.seq, k.id) NOT IN (SELECT seq, id FROM held))"
               " SELECT topic, aggregateid FROM %s AS k JOIN held USING (seq, id)",
               f->facts->parked, f->facts->table, f->facts->parked, f->facts->parked);
    if (buf_cstr(&sql) != NULL) {
        f->listing = true;
        pg_conn_query(f->conn, buf_cstr(&sql), NULL, 0, listed, f);
    }
    buf_free(&sql);
}
