#include "postgres/wakeup.h"

#include "postgres/conn.h"
#include "postgres/pg_error.h"
#include "postgres/session.h"

#include <inttypes.h>
#include <stdlib.h>

/* A wait holds back vacuum and CREATE INDEX CONCURRENTLY elsewhere for at most so long. */
static const int64_t wait_ms = 2000;
/* And lets them through for so long. */
static const uint64_t pause_ms = 100;

enum lock_state {
    LOCK_DOWN, /* not connected, or setting up */
    LOCK_FREE,
    LOCK_WAITING,
    LOCK_PAUSING, /* between two waits */
    LOCK_HELD,
    LOCK_RETURNING,
};

struct wakeup {
    struct pg_conn *conn;
    uv_timer_t timer;
    enum lock_state state;
    bool want;
    bool pooled;
    int64_t key;
    struct wakeup_callbacks callbacks;
    void *arg;
    int open; /* handles to close */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void step(struct wakeup *w);
static void step_now(void *arg);

static void ask_again(uv_timer_t *timer)
{
    struct wakeup *w = timer->data;

    if (w->state == LOCK_PAUSING) {
        w->state = LOCK_FREE;
        step(w);
    }
}

static void answered(void *arg, const PGresult *res, const struct err *why)
{
    struct wakeup *w = arg;

    if (why == NULL) {
        w->state = LOCK_HELD;
        if (w->want)
            w->callbacks.on_granted(w->arg);
        step(w);
    } else if (pg_error_is(res, PG_LOCK_NOT_AVAILABLE)) {
        w->state = LOCK_PAUSING;
        uv_timer_start(&w->timer, ask_again, pause_ms, 0);
    } else {
        pg_conn_lose(w->conn, why);
    }
}

static void returned(void *arg, const PGresult *res, const struct err *why)
{
    struct wakeup *w = arg;

    (void)res;
    if (why != NULL) {
        pg_conn_lose(w->conn, why);
        return;
    }
    w->state = LOCK_FREE;
    step(w);
}

/* function: pg_advisory_lock or pg_advisory_unlock. */
static void send_lock(struct wakeup *w, const char *function, pg_result_fn done)
{
    struct buf sql = {0};

    if (w->pooled) {
        session_transaction_sql(&sql, wait_ms);
        buf_printf(&sql, "; ");
    }
    buf_printf(&sql, "SELECT pg_catalog.%s(%" PRId64 ")", function, w->key);
    pg_conn_command(w->conn, buf_cstr(&sql), wait_ms * 4, done, w);
    buf_free(&sql);
}

static void step(struct wakeup *w)
{
    if ((w->state == LOCK_FREE && w->want) || (w->state == LOCK_HELD && !w->want))
        pg_conn_when_free(w->conn, step_now, w);
}

static void step_now(void *arg)
{
    struct wakeup *w = arg;

    if (w->state == LOCK_FREE && w->want) {
        w->state = LOCK_WAITING;
        send_lock(w, "pg_advisory_lock", answered);
    } else if (w->state == LOCK_HELD && !w->want) {
        w->state = LOCK_RETURNING;
        send_lock(w, "pg_advisory_unlock", returned);
    }
}

static void session_set(void *arg, const PGresult *res, const struct err *why)
{
    struct wakeup *w = arg;

    w->pooled = why == NULL && session_pooled(res, pg_conn_backend_pid(w->conn));
    returned(arg, res, why);
}

static void conn_up(void *arg)
{
    struct wakeup *w = arg;
    struct buf sql = {0};

    session_sql(&sql, pg_conn_backend_pid(w->conn), wait_ms);
    pg_conn_query(w->conn, buf_cstr(&sql), NULL, 0, session_set, w);
    buf_free(&sql);
}

static void conn_lost(void *arg, bool was_up, const struct err *why)
{
    struct wakeup *w = arg;

    w->state = LOCK_DOWN;
    uv_timer_stop(&w->timer);
    w->callbacks.on_lost(w->arg, was_up, why);
}

void wakeup_want(struct wakeup *w, int64_t key, bool want)
{
    if (w->want == want && w->key == key)
        return;
    w->key = key;
    w->want = want;
    if (want && w->state == LOCK_HELD)
        w->callbacks.on_granted(w->arg); /* not given back yet */
    step(w);
}

int wakeup_open(struct wakeup **ret, uv_loop_t *loop, const char *uri, int64_t timeout_ms,
                uint64_t seed, const struct wakeup_callbacks *callbacks, void *arg, struct err *err)
{
    static const struct pg_conn_callbacks on = {conn_up, conn_lost, NULL};
    struct pg_conn_options conn = {
        .uri = uri,
        .name = "wakeup",
        .ping_interval_ms = 10000,
        .timeout_ms = timeout_ms,
        .seed = seed,
    };
    struct wakeup *w = calloc(1, sizeof *w);
    int rc;

    if (w == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for the wake-up lock");
    w->callbacks = *callbacks;
    w->arg = arg;
    rc = pg_conn_open(&w->conn, loop, &conn, &on, w, err);
    if (rc != 0) {
        free(w);
        return rc;
    }
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    *ret = w;
    return 0;
}

static void one_closed(struct wakeup *w)
{
    if (--w->open > 0)
        return;
    w->on_closed(w->closed_arg);
    free(w);
}

static void conn_closed(void *arg)
{
    one_closed(arg);
}

static void timer_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

void wakeup_close(struct wakeup *w, void (*on_closed)(void *arg), void *arg)
{
    if (w == NULL) {
        on_closed(arg);
        return;
    }
    w->on_closed = on_closed;
    w->closed_arg = arg;
    w->open = 2;
    uv_close((uv_handle_t *)&w->timer, timer_closed);
    pg_conn_close(w->conn, conn_closed, w);
}
