#include "postgres/control.h"

#include "postgres/columns_sql.h"
#include "postgres/session.h"

#include <stdlib.h>

struct control {
    struct pg_conn *conn;
    bool up;
    bool asking; /* for gauges */
    int64_t lock_timeout_ms;
    bool pooled;
    struct buf before; /* goes before each statement then */
    struct pg_identity identity;
    struct control_callbacks callbacks;
    void *arg;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* What settings there are has to come with each statement. */
static int precede(struct control *c, struct err *err)
{
    buf_reset(&c->before);
    session_transaction_sql(&c->before, c->lock_timeout_ms);
    if (buf_cstr(&c->before) == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for a statement");
    pg_conn_precede(c->conn, buf_cstr(&c->before));
    return 0;
}

static void identified(void *arg, const PGresult *res, const struct err *why)
{
    struct control *c = arg;
    struct err err;

    if (why == NULL && c->pooled && precede(c, &err) != 0)
        why = &err;
    if (why != NULL) {
        pg_conn_lose(c->conn, why);
        return;
    }
    pg_identity_read(&c->identity, res, 0);
    c->up = true;
    c->callbacks.on_up(c->arg);
}

static void session_set(void *arg, const PGresult *res, const struct err *why)
{
    struct control *c = arg;

    if (why != NULL) {
        pg_conn_lose(c->conn, why);
        return;
    }
    c->pooled = session_pooled(res, pg_conn_backend_pid(c->conn));
    pg_conn_query(c->conn, pg_identity_sql(), NULL, 0, identified, c);
}

static void conn_up(void *arg)
{
    struct control *c = arg;
    struct buf sql = {0};

    session_sql(&sql, pg_conn_backend_pid(c->conn), c->lock_timeout_ms);
    pg_conn_query(c->conn, buf_cstr(&sql), NULL, 0, session_set, c);
    buf_free(&sql);
}

static void conn_lost(void *arg, bool was_up, const struct err *why)
{
    struct control *c = arg;
    bool up = c->up;

    (void)was_up;
    c->up = false;
    c->asking = false;
    c->callbacks.on_lost(c->arg, up, why);
}

static void gauges_answered(void *arg, const PGresult *res, const struct err *why)
{
    struct control *c = arg;
    struct control_gauges gauges;

    c->asking = false;
    if (why != NULL || PQntuples(res) != 1)
        return; /* the reads and acknowledgements meet the same trouble, and tell */
    gauges.backlog = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    gauges.dead = strtoll(PQgetvalue(res, 0, 2), NULL, 10);
    gauges.oldest_seconds = PQgetisnull(res, 0, 1) ? 0 : strtod(PQgetvalue(res, 0, 1), NULL);
    if (gauges.oldest_seconds < 0)
        gauges.oldest_seconds = 0;
    c->callbacks.on_gauges(c->arg, &gauges);
}

void control_ask_gauges(struct control *c, const struct pg_facts *facts)
{
    static const char where[] = " AS o WHERE published_at IS NULL";
    struct buf rows = {0};
    struct buf sql = {0};
    const char *from;

    if (!c->up || c->asking)
        return;
    columns_rows(&rows, facts);
    from = buf_cstr(&rows);
    if (from != NULL)
        buf_printf(
            &sql,
            "SELECT CASE WHEN n <= 1000000 THEN n ELSE (SELECT max(seq)::bigint - min(seq) + 1 FROM"
            " %s%s) END, (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - created_at)"
            " FROM %s%s ORDER BY seq LIMIT 1), (SELECT pg_catalog.count(*) FROM (SELECT 1 FROM %s"
            " LIMIT 100000) AS d)"
            " FROM (SELECT pg_catalog.count(*) AS n FROM (SELECT 1 FROM %s%s LIMIT 1000001) AS r)"
            " AS c",
            from, where, from, where,
            facts->dead[0] != '\0' && facts->buries ? facts->dead : "(VALUES (1) OFFSET 1) AS none",
            from, where);
    buf_free(&rows);
    if (sql.len > 0 && buf_cstr(&sql) != NULL) {
        c->asking = true;
        pg_conn_query(c->conn, buf_cstr(&sql), NULL, 0, gauges_answered, c);
    }
    buf_free(&sql);
}

static void notified(void *arg, const PGresult *res, const struct err *why)
{
    (void)arg;
    (void)res;
    (void)why; /* what does not arrive is missed on the other end */
}

void control_notify(struct control *c, const char *channel, const char *payload)
{
    const char *values[] = {channel, payload};
    struct pg_params params = {.n = 2, .values = values};

    if (c->up)
        pg_conn_query(c->conn, "SELECT pg_catalog.pg_notify($1, $2)", &params, 0, notified, c);
}

const struct pg_identity *control_identity(const struct control *c)
{
    return &c->identity;
}

void control_lose(struct control *c, const struct err *why)
{
    pg_conn_lose(c->conn, why);
}

struct pg_conn *control_conn(const struct control *c)
{
    return c->conn;
}

int control_open(struct control **ret, uv_loop_t *loop, const char *uri, int64_t timeout_ms,
                 int64_t lock_timeout_ms, uint64_t seed, const struct control_callbacks *callbacks,
                 void *arg, struct err *err)
{
    static const struct pg_conn_callbacks on = {conn_up, conn_lost, NULL};
    struct pg_conn_options conn = {
        .uri = uri,
        .name = "control",
        .pipeline = true,
        .ping_interval_ms = 5000,
        .timeout_ms = timeout_ms,
        .seed = seed,
    };
    struct control *c = calloc(1, sizeof *c);
    int rc;

    if (c == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for the control connection");
    c->lock_timeout_ms = lock_timeout_ms;
    c->callbacks = *callbacks;
    c->arg = arg;
    rc = pg_conn_open(&c->conn, loop, &conn, &on, c, err);
    if (rc != 0) {
        free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

static void conn_closed(void *arg)
{
    struct control *c = arg;

    c->on_closed(c->closed_arg);
    buf_free(&c->before);
    free(c);
}

void control_close(struct control *c, void (*on_closed)(void *arg), void *arg)
{
    if (c == NULL) {
        on_closed(arg);
        return;
    }
    c->on_closed = on_closed;
    c->closed_arg = arg;
    pg_conn_close(c->conn, conn_closed, c);
}
