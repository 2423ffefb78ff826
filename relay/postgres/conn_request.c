/* Requests and their answers: a queue in the order of sending, which is the order of answering. */
#include "base/clock.h"
#include "postgres/conn_impl.h"
#include "postgres/pg_error.h"

#include <assert.h>
#include <stdlib.h>

static void free_request(struct request *r)
{
    PQclear(r->last);
    free(r);
}

void conn_drop_requests(struct pg_conn *c)
{
    while (c->head != NULL) {
        struct request *r = c->head;

        c->head = r->next;
        free_request(r);
    }
    c->tail = &c->head;
    c->pending = 0;
    if (c->held != NULL)
        free_request(c->held);
    c->held = NULL;
    c->when_free = NULL;
}

/* ---- answers ---- */

static void finish(struct pg_conn *c, struct request *r)
{
    struct err err;
    ExecStatusType status = PQresultStatus(r->last);
    bool ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;

    if (!ok)
        (void)pg_error_of_result(&err, r->last);
    /* It took writes when it was connected to: where that is now is for libpq to find out. */
    if (!ok && pg_error_is(r->last, PG_READ_ONLY))
        pg_conn_lose(c, &err);
    r->done(r->arg, r->last, ok ? NULL : &err);
    free_request(r);
}

/* The head has been answered in full. */
static void pop(struct pg_conn *c)
{
    struct request *r = c->head;

    c->head = r->next;
    if (c->head == NULL)
        c->tail = &c->head;
    c->pending--;
    c->idle_since = c->waiting_since = clock_boot_ms();
    conn_arm_timer(c);
    if (c->cancelling)
        c->held = r; /* a late cancel must not hit the next statement */
    else
        finish(c, r);
}

/* Rows of a COPY; true when more may follow later, false when it is over. */
static bool copy_rows(struct pg_conn *c, struct request *r)
{
    char *data = NULL;
    int n = 0;

    while (!c->lost && !c->paused && (n = PQgetCopyData(c->pq, &data, 1)) > 0) {
        c->pace.messages++;
        if (r->copied != NULL)
            r->copied(r->arg, data, (size_t)n);
        PQfreemem(data);
    }
    if (c->lost || c->paused || n == 0) {
        c->waiting_since = clock_boot_ms();
        return true;
    }
    return false;
}

static void handle_result(struct pg_conn *c, PGresult *res)
{
    struct request *r = c->head;

    if (r == NULL) {
        PQclear(res);
        return;
    }
    if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
        PQclear(res);
        if (r->last != NULL)
            pop(c);
        return;
    }
    if (PQresultStatus(res) == PGRES_PIPELINE_ABORTED && r->last != NULL) {
        PQclear(res); /* the error is that of what went before */
        return;
    }
    if (PQresultStatus(res) == PGRES_SINGLE_TUPLE) {
        c->waiting_since = clock_boot_ms();
        r->row(r->arg, res);
        PQclear(res);
        return;
    }
    PQclear(r->last);
    r->last = res;
}

static void handle_notifies(struct pg_conn *c)
{
    PGnotify *n;

    while (!c->lost && (n = PQnotifies(c->pq)) != NULL) {
        if (c->callbacks.on_notify != NULL)
            c->callbacks.on_notify(c->arg, n->relname, n->extra);
        PQfreemem(n);
    }
}

void conn_handle_input(struct pg_conn *c)
{
    while (!c->lost && c->head != NULL && !PQisBusy(c->pq)) {
        struct request *r = c->head;
        PGresult *res;

        if (r->last != NULL && (PQresultStatus(r->last) == PGRES_COPY_OUT ||
                                PQresultStatus(r->last) == PGRES_COPY_BOTH)) {
            if (copy_rows(c, r))
                break;
            PQclear(r->last);
            r->last = NULL;
        }
        res = PQgetResult(c->pq);
        if (res != NULL)
            handle_result(c, res);
        else if (!c->options.pipeline)
            pop(c);
    }
    if (!c->lost && PQstatus(c->pq) == CONNECTION_BAD)
        conn_lose_by_libpq(c);
    if (!c->lost)
        handle_notifies(c);
}

/* ---- requests ---- */

void pg_conn_when_free(struct pg_conn *c, void (*free)(void *arg), void *arg)
{
    if (c->state != CONN_UP || c->lost)
        return;
    if (c->head == NULL) {
        free(arg);
        return;
    }
    c->when_free = free;
    c->when_free_arg = arg;
}

static void flush(struct pg_conn *c)
{
    int rc = PQflush(c->pq);

    if (rc < 0)
        conn_lose_by_libpq(c);
    else if (rc > 0)
        conn_want_events(c, UV_READABLE | UV_WRITABLE);
}

/* What was sent just now is answered so. */
static void push(struct pg_conn *c, const struct request *wanted, int64_t timeout_ms)
{
    struct request *r = malloc(sizeof *r);
    struct err err;

    if (r == NULL) {
        (void)err_set(&err, ERR_NOMEM, "out of memory for a request");
        pg_conn_lose(c, &err);
        return;
    }
    *r = *wanted;
    r->timeout_ms = timeout_ms > 0 ? timeout_ms : c->options.timeout_ms;
    if (c->head == NULL)
        c->waiting_since = clock_boot_ms();
    *c->tail = r;
    c->tail = &r->next;
    c->pending++;
    flush(c);
    conn_arm_timer(c);
}

/* A request that there was no memory to build cannot be left out: its answer is waited for. */
static bool is_built(struct pg_conn *c, const char *sql)
{
    struct err err;

    if (sql != NULL)
        return true;
    (void)err_set(&err, ERR_NOMEM, "out of memory for a statement");
    pg_conn_lose(c, &err);
    return false;
}

void pg_conn_precede(struct pg_conn *c, const char *sql)
{
    assert(c->options.pipeline);
    c->before = sql;
}

/* Up to the sync, all is one transaction. */
static bool send_query(struct pg_conn *c, const char *sql, const struct pg_params *params)
{
    if (c->before != NULL && !PQsendQueryParams(c->pq, c->before, 0, NULL, NULL, NULL, NULL, 0))
        return false;
    return PQsendQueryParams(c->pq, sql, params->n, params->types, params->values, params->lengths,
                             params->formats, 0) &&
           (!c->options.pipeline || PQpipelineSync(c->pq));
}

void pg_conn_query(struct pg_conn *c, const char *sql, const struct pg_params *params,
                   int64_t timeout_ms, pg_result_fn done, void *arg)
{
    static const struct pg_params none = {0};

    if (c->state != CONN_UP || c->lost)
        return; /* on_lost has told, or will */
    assert(c->options.pipeline || c->head == NULL);
    if (!is_built(c, sql))
        return;
    if (params == NULL)
        params = &none;
    if (send_query(c, sql, params))
        push(c, &(struct request){.done = done, .arg = arg}, timeout_ms);
    else
        conn_lose_by_libpq(c);
}

static void send_text(struct pg_conn *c, const char *text, const struct request *wanted,
                      int64_t timeout_ms)
{
    if (c->state != CONN_UP || c->lost)
        return;
    assert(!c->options.pipeline && c->head == NULL);
    if (!is_built(c, text))
        return;
    if (PQsendQuery(c->pq, text))
        push(c, wanted, timeout_ms);
    else
        conn_lose_by_libpq(c);
}

void pg_conn_copy(struct pg_conn *c, const char *sql, pg_copy_fn row, pg_result_fn done, void *arg)
{
    send_text(c, sql, &(struct request){.copied = row, .done = done, .arg = arg}, 0);
}

void pg_conn_command(struct pg_conn *c, const char *text, int64_t timeout_ms, pg_result_fn done,
                     void *arg)
{
    send_text(c, text, &(struct request){.done = done, .arg = arg}, timeout_ms);
}

void pg_conn_execute(struct pg_conn *c, const char *name, int n, const char *const *values,
                     pg_row_fn row, pg_result_fn done, void *arg)
{
    if (c->state != CONN_UP || c->lost)
        return;
    assert(!c->options.pipeline && c->head == NULL);
    if (!PQsendQueryPrepared(c->pq, name, n, values, NULL, NULL, 1) || !PQsetSingleRowMode(c->pq)) {
        conn_lose_by_libpq(c);
        return;
    }
    push(c, &(struct request){.row = row, .done = done, .arg = arg}, 0);
}

bool conn_streams(const struct pg_conn *c)
{
    return c->state == CONN_UP && !c->lost && c->head != NULL && c->head->last != NULL &&
           PQresultStatus(c->head->last) == PGRES_COPY_BOTH;
}

void pg_conn_stream_send(struct pg_conn *c, const void *data, size_t len)
{
    int rc;

    if (!conn_streams(c))
        return;
    rc = PQputCopyData(c->pq, data, (int)len);
    if (rc < 0)
        conn_lose_by_libpq(c);
    else if (rc > 0) /* 0, no room: the next one says more */
        flush(c);
}

void pg_conn_pause(struct pg_conn *c, bool pause)
{
    if (c->state != CONN_UP || c->paused == pause)
        return;
    c->paused = pause;
    c->resumed = !pause;
    c->waiting_since = clock_boot_ms();
    /* A socket can always be written to, soon: then what lies in the buffer is taken. */
    conn_want_events(c, pause ? 0 : UV_READABLE | UV_WRITABLE);
    conn_arm_timer(c);
}

static void ping_done(void *arg, const PGresult *res, const struct err *why)
{
    struct pg_conn *c = arg;
    void (*when_free)(void *arg) = c->when_free;

    (void)res;
    (void)why; /* any answer is an answer */
    c->when_free = NULL;
    if (when_free != NULL && !c->lost)
        when_free(c->when_free_arg);
}

void conn_send_ping(struct pg_conn *c)
{
    pg_conn_query(c, "SELECT 1", NULL, 0, ping_done, c);
}

/* ---- cancelling ---- */

struct cancel {
    uv_work_t work;
    struct pg_conn *conn;
    PGcancel *pq;
};

/* PQcancel connects and blocks, so it has a thread of the pool. */
static void cancel_work(uv_work_t *work)
{
    struct cancel *cancel = work->data;
    char text[256];

    (void)PQcancel(cancel->pq, text, sizeof text);
}

static void cancel_after(uv_work_t *work, int status)
{
    struct cancel *cancel = work->data;
    struct pg_conn *c = cancel->conn;
    struct request *held = c->held;

    (void)status;
    PQfreeCancel(cancel->pq);
    free(cancel);
    c->works--;
    c->cancelling = false;
    c->held = NULL;
    if (held != NULL)
        finish(c, held);
    conn_maybe_free(c);
}

void pg_conn_cancel(struct pg_conn *c)
{
    struct cancel *cancel;

    if (c->state != CONN_UP || c->cancelling || c->head == NULL)
        return;
    cancel = calloc(1, sizeof *cancel);
    if (cancel == NULL)
        return; /* then the statement just runs to its end */
    cancel->conn = c;
    cancel->pq = PQgetCancel(c->pq);
    cancel->work.data = cancel;
    if (cancel->pq == NULL ||
        uv_queue_work(c->loop, &cancel->work, cancel_work, cancel_after) != 0) {
        PQfreeCancel(cancel->pq);
        free(cancel);
        return;
    }
    c->cancelling = true;
    c->works++;
}
