#include "postgres/listener.h"

#include "postgres/conn.h"
#include "postgres/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t lock_timeout_ms = 10000;

struct listener {
    struct pg_conn *conn;
    bool ready; /* the session is set up */
    bool up;
    bool pooled;
    char channel[sizeof((struct pg_facts *)0)->channel]; /* "" : not known yet */
    struct pg_identity identity;                         /* of the server that rows are read from */
    struct listener_callbacks callbacks;
    void *arg;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void listened(void *arg, const PGresult *res, const struct err *why)
{
    struct listener *l = arg;

    (void)res;
    if (why != NULL) {
        pg_conn_lose(l->conn, why);
        return;
    }
    l->up = true;
    l->callbacks.on_up(l->arg, l->pooled);
}

static void identified(void *arg, const PGresult *res, const struct err *why)
{
    struct listener *l = arg;
    struct pg_identity identity;
    char sql[sizeof l->channel + sizeof "LISTEN "];
    struct err err;

    if (why != NULL) {
        pg_conn_lose(l->conn, why);
        return;
    }
    pg_identity_read(&identity, res, 0);
    if (!pg_identity_equal(&identity, &l->identity)) {
        (void)err_set(&err, ERR_UNAVAILABLE,
                      "%s is another server than the table is read from, or another timeline of it",
                      pg_conn_where(l->conn));
        pg_conn_lose(l->conn, &err);
        return;
    }
    (void)snprintf(sql, sizeof sql, "LISTEN %s", l->channel);
    pg_conn_query(l->conn, sql, NULL, 0, listened, l);
}

static void identify(void *arg)
{
    struct listener *l = arg;

    pg_conn_query(l->conn, pg_identity_sql(), NULL, 0, identified, l);
}

static void session_set(void *arg, const PGresult *res, const struct err *why)
{
    struct listener *l = arg;

    if (why != NULL) {
        pg_conn_lose(l->conn, why);
        return;
    }
    l->pooled = session_pooled(res, pg_conn_backend_pid(l->conn));
    l->ready = true;
    if (l->channel[0] != '\0')
        identify(l);
}

static void conn_up(void *arg)
{
    struct listener *l = arg;
    struct buf sql = {0};

    session_sql(&sql, pg_conn_backend_pid(l->conn), lock_timeout_ms);
    pg_conn_query(l->conn, buf_cstr(&sql), NULL, 0, session_set, l);
    buf_free(&sql);
}

static void conn_lost(void *arg, bool was_up, const struct err *why)
{
    struct listener *l = arg;
    bool up = l->up;

    (void)was_up;
    l->ready = false;
    l->up = false;
    l->callbacks.on_lost(l->arg, up, why);
}

static void conn_notify(void *arg, const char *channel, const char *payload)
{
    struct listener *l = arg;

    if (l->up && strcmp(channel, l->channel) == 0)
        l->callbacks.on_notify(l->arg, payload);
}

void listener_follow(struct listener *l, const struct pg_facts *facts)
{
    bool known = l->channel[0] != '\0';
    struct err err;

    if (strcmp(l->channel, facts->channel) == 0 &&
        pg_identity_equal(&l->identity, &facts->identity))
        return;
    (void)snprintf(l->channel, sizeof l->channel, "%s", facts->channel);
    l->identity = facts->identity;
    if (!l->ready)
        return;
    if (known) {
        (void)err_set(&err, ERR_UNAVAILABLE,
                      "the table is another one than before, or on another server");
        pg_conn_lose(l->conn, &err);
    } else {
        pg_conn_when_free(l->conn, identify, l);
    }
}

int listener_open(struct listener **ret, uv_loop_t *loop, const char *uri, int64_t timeout_ms,
                  uint64_t seed, const struct listener_callbacks *callbacks, void *arg,
                  struct err *err)
{
    static const struct pg_conn_callbacks on = {conn_up, conn_lost, conn_notify};
    struct pg_conn_options conn = {
        .uri = uri,
        .name = "listen",
        .ping_interval_ms = 5000,
        .timeout_ms = timeout_ms,
        .seed = seed,
    };
    struct listener *l = calloc(1, sizeof *l);
    int rc;

    if (l == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for the listening connection");
    l->callbacks = *callbacks;
    l->arg = arg;
    rc = pg_conn_open(&l->conn, loop, &conn, &on, l, err);
    if (rc != 0) {
        free(l);
        return rc;
    }
    *ret = l;
    return 0;
}

const char *listener_where(const struct listener *l)
{
    return pg_conn_where(l->conn);
}

static void conn_closed(void *arg)
{
    struct listener *l = arg;

    l->on_closed(l->closed_arg);
    free(l);
}

void listener_close(struct listener *l, void (*on_closed)(void *arg), void *arg)
{
    if (l == NULL) {
        on_closed(arg);
        return;
    }
    l->on_closed = on_closed;
    l->closed_arg = arg;
    pg_conn_close(l->conn, conn_closed, l);
}
