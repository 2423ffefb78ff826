#include "postgres/wal_slot.h"

#include "postgres/session.h"
#include "postgres/wal_look.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t lock_timeout_ms = 5000;
/* With every fifth asking for the gauges it is looked whether the publication is still fit: what it
 * leaves out is not streamed, and nothing else tells. */
static const uint32_t gauges_a_look = 5;

struct wal_slot {
    uv_loop_t *loop;
    struct pg_conn *conn;
    struct wal_slot_options options;
    const struct pg_facts *facts;
    uint64_t epoch;
    uint64_t blocked;
    uint64_t oldest;
    struct named_slot *named; /* NULL for a temporary one */
    uint64_t lsn;             /* where it began */
    char session[48];
    char name[64];
    bool up;
    bool ready;
    uint32_t gauges; /* since then */
    bool asking;
    bool failed;
    struct wal_slot_callbacks callbacks;
    void *arg;
    bool closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void fail(struct wal_slot *s, const struct err *why)
{
    if (s->failed || s->closing)
        return;
    s->failed = true;
    s->callbacks.on_failed(s->arg, why);
}

/* Sends what was printed to sql, and frees it. */
static void query(struct wal_slot *s, struct buf *sql, const struct pg_params *params,
                  pg_result_fn done)
{
    pg_conn_query(s->conn, buf_cstr(sql), params, 0, done, s);
    buf_free(sql);
}

/* ---- whether, and the publication ---- */

static void named_ready(void *arg, enum named_step step)
{
    struct wal_slot *s = arg;

    if (s->closing || s->failed)
        return;
    s->ready = true;
    s->callbacks.on_ready(s->arg, step);
}

static void named_start(void *arg, const struct wal_start *start)
{
    struct wal_slot *s = arg;

    if (!s->closing && !s->failed)
        s->callbacks.on_start(s->arg, start);
}

static void named_failed(void *arg, const struct err *why)
{
    fail(arg, why);
}

/* All but a named slot's own matters is in order. */
static void go_on(struct wal_slot *s)
{
    static const struct named_slot_callbacks on = {named_ready, named_start, named_failed};
    struct named_slot_options options = {
        .name = s->options.name,
        .epoch = s->epoch,
        .look_only = s->options.look_only,
        .timeout_ms = s->options.timeout_ms,
    };
    struct err err;

    if (s->options.name[0] == '\0')
        named_ready(s, NAMED_MAKE);
    else if (named_slot_open(&s->named, s->loop, s->conn, &options, s->facts, &on, s, &err) != 0)
        fail(s, &err);
}

/* Of a killed relay's, on this outbox: one that was making its slot would stay, and hold WAL. */
static void cleared(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;

    (void)res;
    if (why != NULL)
        fail(s, why);
    else if (!s->closing)
        go_on(s);
}

static void clear(struct wal_slot *s)
{
    const char *values[] = {s->session};
    struct pg_params params = {.n = 1, .values = values};
    struct buf sql = {0};

    buf_printf(&sql, "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
                     " WHERE backend_type = 'walsender' AND application_name = $1"
                     " AND datname = pg_catalog.current_database() AND usename = CURRENT_USER");
    query(s, &sql, &params, cleared);
}

static void published(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;

    (void)res;
    if (why != NULL)
        fail(s, why);
    else
        clear(s);
}

static void publish(struct wal_slot *s)
{
    struct buf sql = {0};

    buf_printf(&sql, "CREATE PUBLICATION \"");
    for (const char *c = s->options.publication; *c != '\0'; c++)
        buf_printf(&sql, *c == '"' ? "\"\"" : "%c", *c);
    buf_printf(&sql,
               "\" FOR TABLE %s WITH (publish = 'insert, truncate', publish_via_partition_root = "
               "true)",
               s->facts->table);
    query(s, &sql, NULL, published);
}

/* What a named slot's publication leaves out is streamed by nothing later. */
static void add_left_out(const struct wal_slot *s, struct err *err)
{
    struct err copy = *err;

    if (s->options.name[0] == '\0' || err->class != ERR_CONFIG)
        return;
    (void)err_set(err, copy.class,
                  "%.*s. What was inserted before that stays in the table: once the rest has come, "
                  "stop the relay, UPDATE %s SET slot_snapshot = pg_current_snapshot()::text, and "
                  "start it again, which reads the table first",
                  (int)sizeof copy.message / 2, copy.message, s->facts->lease);
}

static int check_publication(const struct wal_slot *s, const PGresult *res, struct err *err)
{
    int rc = wal_look_publication(res, s->facts, s->options.publication, err);

    if (rc != 0)
        add_left_out(s, err);
    return rc;
}

static void looked_at(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;
    struct err err;
    int rc;

    if (s->closing)
        return;
    if (s->ready) { /* that it could not look is no reason to give up what flows */
        if (why == NULL && check_publication(s, res, &err) != 0)
            fail(s, &err);
        return;
    }
    if (why != NULL) {
        fail(s, why);
        return;
    }
    s->oldest = wal_look_oldest(res);
    rc = wal_look_server(res, s->facts, &err);
    if (rc == 0)
        rc = check_publication(s, res, &err);
    if (rc == 0 && s->blocked != 0 && s->oldest <= s->blocked)
        rc = err_set(&err, ERR_UNAVAILABLE,
                     "transaction %" PRIu64 " is still open, which the last slot waited for until "
                     "it held back too much WAL",
                     s->oldest);
    if (rc != 0)
        fail(s, &err);
    else if (s->options.look_only)
        go_on(s);
    else if (!wal_look_published(res))
        publish(s);
    else
        clear(s);
}

static void look(struct wal_slot *s)
{
    const char *values[] = {s->options.publication, s->facts->table};
    struct pg_params params = {.n = 2, .values = values};
    struct buf sql = {0};

    wal_look_sql(&sql, s->facts);
    query(s, &sql, &params, looked_at);
}

static void session_set(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;

    (void)res;
    if (why != NULL)
        fail(s, why);
    else
        look(s);
}

/* ---- the snapshot ---- */

static void begun(void *arg, const PGresult *res, const struct err *why)
{
    (void)arg;
    (void)res;
    (void)why; /* then the snapshot itself cannot be read, and says so */
}

static void set_snapshot(void *arg, const PGresult *res, const struct err *why)
{
    (void)res;
    if (why != NULL)
        fail(arg, why);
}

static void imported(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;
    struct wal_start start = {.table = true};
    struct err err;

    if (s->closing || s->failed)
        return;
    if (why == NULL && (PQntuples(res) != 1 || PQnfields(res) != 1)) {
        (void)err_set(&err, ERR_PROTOCOL, "the slot's snapshot could not be read");
        why = &err;
    }
    start.lsn = s->lsn;
    if (why != NULL) {
        fail(s, why);
    } else if (s->named != NULL) {
        named_slot_record(s->named, PQgetvalue(res, 0, 0), s->lsn);
    } else {
        start.snapshot = (struct slice){(const unsigned char *)PQgetvalue(res, 0, 0),
                                        (size_t)PQgetlength(res, 0, 0)};
        s->callbacks.on_start(s->arg, &start);
    }
}

void wal_slot_resume(struct wal_slot *s)
{
    if (s->up && !s->closing)
        named_slot_resume(s->named);
}

void wal_slot_import(struct wal_slot *s, const char *exported, uint64_t lsn)
{
    struct buf sql = {0};

    if (!s->up || s->closing)
        return;
    s->lsn = lsn;
    pg_conn_query(s->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, 0, begun, s);
    /* The name is the server's: hex digits and dashes. */
    buf_printf(&sql, "SET TRANSACTION SNAPSHOT '%s'", exported);
    query(s, &sql, NULL, set_snapshot);
    pg_conn_query(s->conn, "SELECT pg_catalog.pg_current_snapshot()", NULL, 0, imported, s);
    pg_conn_query(s->conn, "ROLLBACK", NULL, 0, begun, s);
}

/* ---- gauges ---- */

static void gauged(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;
    struct wal_gauges gauges = {0};

    s->asking = false;
    if (why != NULL || s->closing || PQntuples(res) != 1)
        return;
    gauges.retained = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    gauges.behind = strtoll(PQgetvalue(res, 0, 1), NULL, 10);
    s->oldest = strtoull(PQgetvalue(res, 0, 2), NULL, 10);
    (void)snprintf(gauges.blocker, sizeof gauges.blocker, "%s", PQgetvalue(res, 0, 3));
    if (s->ready && ++s->gauges % gauges_a_look == 0)
        look(s);
    s->callbacks.on_gauges(s->arg, &gauges);
}

void wal_slot_ask_gauges(struct wal_slot *s)
{
    const char *values[] = {s->name};
    struct pg_params params = {.n = 1, .values = values};
    struct buf sql = {0};

    if (!s->up || s->asking || s->closing)
        return;
    s->asking = true;
    /* A prepared transaction has no process; of others' sessions a plain role sees no xid. */
    buf_printf(
        &sql,
        "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.restart_lsn)::bigint,"
        " pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(),"
        "  r.confirmed_flush_lsn)::bigint,"
        " x.xmin, coalesce((SELECT pg_catalog.format('prepared transaction %%L of %%s', gid, "
        "prepared)"
        "  FROM pg_catalog.pg_prepared_xacts WHERE transaction = x.xmin::xid"
        "  LIMIT 1), (SELECT pg_catalog.format('process %%s (%%s), in a transaction since %%s', "
        "pid,"
        "   application_name, xact_start) FROM pg_catalog.pg_stat_activity"
        "  WHERE backend_xid = x.xmin::xid LIMIT 1),"
        "  pg_catalog.format('transaction %%s', x.xmin))"
        " FROM (SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) AS xmin) AS x"
        " LEFT JOIN pg_catalog.pg_replication_slots r ON r.slot_name = $1");
    query(s, &sql, &params, gauged);
}

uint64_t wal_slot_oldest(const struct wal_slot *s)
{
    return s->oldest;
}

/* ---- life ---- */

static void conn_up(void *arg)
{
    struct wal_slot *s = arg;
    struct buf sql = {0};

    s->up = true;
    session_sql(&sql, pg_conn_backend_pid(s->conn), lock_timeout_ms);
    query(s, &sql, NULL, session_set);
}

static void named_closed(void *arg)
{
    struct wal_slot *s = arg;

    s->on_closed(s->closed_arg);
    free(s);
}

static void conn_closed(void *arg)
{
    struct wal_slot *s = arg;

    named_slot_close(s->named, named_closed, s);
}

static void close_conn(struct wal_slot *s)
{
    struct pg_conn *conn = s->conn;

    s->conn = NULL;
    if (conn != NULL)
        pg_conn_close(conn, conn_closed, s);
}

static void conn_lost(void *arg, bool was_up, const struct err *why)
{
    struct wal_slot *s = arg;
    struct err excused = pg_conn_excuse(was_up, why);

    s->up = false;
    s->asking = false;
    if (s->closing)
        close_conn(s);
    else
        fail(s, &excused);
}

static void terminated(void *arg, const PGresult *res, const struct err *why)
{
    (void)res;
    (void)why;
    close_conn(arg);
}

const char *wal_slot_session(const struct wal_slot *s)
{
    return s->session;
}

const char *wal_slot_name(const struct wal_slot *s)
{
    return s->name;
}

int wal_slot_open(struct wal_slot **ret, uv_loop_t *loop, const struct wal_slot_options *options,
                  const struct pg_facts *facts, uint64_t epoch, uint64_t blocked,
                  const struct wal_slot_callbacks *callbacks, void *arg, struct err *err)
{
    static const struct pg_conn_callbacks on = {conn_up, conn_lost, NULL};
    struct pg_conn_options conn = {
        .uri = options->uri,
        .name = "slot",
        .pipeline = true,
        .ping_interval_ms = 5000,
        .timeout_ms = options->timeout_ms,
        .seed = options->seed,
    };
    struct wal_slot *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for a slot");
    s->loop = loop;
    s->options = *options;
    s->facts = facts;
    s->epoch = epoch;
    s->blocked = blocked;
    s->callbacks = *callbacks;
    s->arg = arg;
    (void)snprintf(s->session, sizeof s->session, "outbox-relay wal %" PRIu32, facts->oid);
    if (options->name[0] != '\0')
        (void)snprintf(s->name, sizeof s->name, "%s", options->name);
    else
        (void)snprintf(s->name, sizeof s->name, "outbox_relay_%" PRIu32 "_%08" PRIx32, facts->oid,
                       (uint32_t)(options->seed ^ options->seed >> 32));
    rc = pg_conn_open(&s->conn, loop, &conn, &on, s, err);
    if (rc != 0) {
        free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void wal_slot_close(struct wal_slot *s, int walsender, void (*on_closed)(void *arg), void *arg)
{
    char pid[16];
    const char *values[] = {pid};
    struct pg_params params = {.n = 1, .values = values};

    if (s == NULL) {
        on_closed(arg);
        return;
    }
    s->closing = true;
    named_slot_stop(s->named);
    s->on_closed = on_closed;
    s->closed_arg = arg;
    if (walsender == 0 || !s->up) {
        close_conn(s);
        return;
    }
    (void)snprintf(pid, sizeof pid, "%d", walsender);
    pg_conn_query(s->conn, "SELECT pg_catalog.pg_terminate_backend($1::integer)", &params, 2000,
                  terminated, s);
}
