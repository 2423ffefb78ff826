#include "postgres/conn.h"

#include "base/clock.h"
#include "postgres/conn_impl.h"
#include "postgres/conn_params.h"
#include "postgres/pg_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void conn_connect(struct pg_conn *c);

/* ---- handles ---- */

/* Messages in so many ms that are fast (10,000 a second), and in one wake-up that are few. */
static const uint64_t pace_count_ms = 10;
static const uint32_t pace_fast = 100;
static const uint32_t pace_few = 50;
/* Up for so long it was a sound one: it is tried again soon. */
static const int64_t settled_ms = 10000;

void conn_maybe_free(struct pg_conn *c)
{
    if (c->state != CONN_CLOSED || c->works > 0)
        return;
    if (c->on_closed != NULL)
        c->on_closed(c->closed_arg);
    free(c->uri);
    free(c);
}

static void free_watch(uv_handle_t *handle)
{
    free(handle->data);
}

static void drop_watch(struct pg_conn *c)
{
    if (c->resolve != NULL)
        resolve_abandon(c->resolve);
    c->resolve = NULL;
    if (c->watch == NULL)
        return;
    uv_poll_stop(&c->watch->poll);
    c->watch->conn = NULL;
    uv_close((uv_handle_t *)&c->watch->poll, free_watch);
    c->watch = NULL;
    c->events = 0;
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Watches the connection's socket, which may have changed since the last time: always a new handle.
 */
static int make_watch(struct pg_conn *c, int events)
{
    struct err err;

    drop_watch(c);
    c->watch = calloc(1, sizeof *c->watch);
    if (c->watch == NULL) {
        (void)err_set(&err, ERR_NOMEM, "out of memory for a connection");
        pg_conn_lose(c, &err); /* before anything else is said of it */
        return -1;
    }
    c->watch->conn = c;
    if (uv_poll_init(c->loop, &c->watch->poll, PQsocket(c->pq)) != 0) {
        free(c->watch);
        c->watch = NULL;
        return -1;
    }
    c->watch->poll.data = c->watch;
    c->events = events;
    return uv_poll_start(&c->watch->poll, events, on_poll);
}

void conn_want_events(struct pg_conn *c, int events)
{
    if (c->paused || c->pace.resting)
        events &= ~UV_READABLE;
    if (c->watch != NULL && c->events != events) {
        c->events = events;
        uv_poll_start(&c->watch->poll, events, on_poll);
    }
}

/* ---- pacing ---- */

static void on_rested(uv_timer_t *timer)
{
    struct pg_conn *c = timer->data;

    c->pace.resting = false;
    conn_want_events(c, c->events | UV_READABLE);
}

/* A walsender sends each message by itself, and to be woken by each costs more than to handle it.
 * When they come fast, the few that one wake-up brought are followed by a rest, in which others
 * gather. */
static void rest(struct pg_conn *c, uint32_t brought)
{
    struct pace *pace = &c->pace;
    uint64_t now = uv_now(c->loop);

    if (now - pace->since >= pace_count_ms) {
        pace->busy = now - pace->since < 2 * pace_count_ms && pace->messages >= pace_fast;
        pace->since = now;
        pace->messages = 0;
    }
    if (!pace->busy || brought >= pace_few || !conn_streams(c))
        return;
    pace->resting = true;
    conn_want_events(c, c->events);
    (void)uv_timer_start(&pace->timer, on_rested, 1, 0);
}

/* ---- losing ---- */

/* The one door out of a connection: from any state but CLOSED to WAITING. */
static void conn_lost_now(struct pg_conn *c)
{
    bool was_up = c->state == CONN_UP;

    /* What we do not like about a server it is not asked about ten times a second. */
    if (was_up && (c->broke || clock_boot_ms() - c->up_at >= settled_ms))
        backoff_reset(&c->backoff);
    c->lost = c->broke = false;
    c->last_words.class = ERR_NONE;
    c->paused = false;
    c->resumed = false;
    c->before = NULL;
    c->pace.resting = c->pace.busy = false;
    (void)uv_timer_stop(&c->pace.timer);
    drop_watch(c);
    conn_drop_requests(c);
    PQfinish(c->pq);
    c->pq = NULL;
    c->state = CONN_WAITING;
    uv_timer_stop(&c->timer);
    c->callbacks.on_lost(c->arg, was_up, &c->why);
    if (c->state == CONN_WAITING)
        conn_arm_timer(c);
}

void pg_conn_lose(struct pg_conn *c, const struct err *why)
{
    if (c->state == CONN_CLOSED || c->state == CONN_WAITING || c->lost)
        return;
    c->lost = true;
    c->why = *why;
    if (c->handling)
        return; /* at the end of conn_handle_input */
    /* Never from inside the caller's own call: at the next turn of the loop. */
    uv_update_time(c->loop);
    conn_arm_timer(c);
}

void conn_lose_by_libpq(struct pg_conn *c)
{
    struct err err;

    c->broke = true;
    (void)pg_error_of_conn(&err, c->pq, c->tls.text);
    pg_conn_lose(c, c->last_words.class != ERR_NONE ? &c->last_words : &err);
}

/* ---- closing ---- */

static void timer_closed(uv_handle_t *handle)
{
    struct pg_conn *c = handle->data;

    c->works--;
    conn_maybe_free(c);
}

static void close_now(struct pg_conn *c)
{
    drop_watch(c);
    conn_drop_requests(c);
    PQfinish(c->pq);
    c->pq = NULL;
    c->state = CONN_CLOSED;
    c->works += 2;
    uv_close((uv_handle_t *)&c->timer, timer_closed);
    uv_close((uv_handle_t *)&c->pace.timer, timer_closed);
}

void pg_conn_close(struct pg_conn *c, void (*on_closed)(void *arg), void *arg)
{
    if (c == NULL) {
        on_closed(arg);
        return;
    }
    c->on_closed = on_closed;
    c->closed_arg = arg;
    c->lost = true; /* nothing more is sent or handed out */
    c->close_wanted = c->handling;
    if (!c->handling)
        close_now(c);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer)
{
    struct pg_conn *c = timer->data;
    int64_t now = clock_boot_ms();
    struct err err;

    if (c->lost) {
        conn_lost_now(c);
        return;
    }
    switch (c->state) {
    case CONN_WAITING:
        conn_connect(c);
        return;
    case CONN_CONNECTING:
        (void)err_set(&err, ERR_UNAVAILABLE, "no connection to the server within %lld ms",
                      (long long)c->options.timeout_ms);
        pg_conn_lose(c, &err);
        conn_lost_now(c);
        return;
    case CONN_UP:
        break;
    case CONN_CLOSED:
        return;
    }
    if (c->head != NULL && !c->paused && now - c->waiting_since >= c->head->timeout_ms) {
        (void)err_set(&err, ERR_UNAVAILABLE, "no answer from the server for %lld ms",
                      (long long)(now - c->waiting_since));
        pg_conn_lose(c, &err);
        conn_lost_now(c);
        return;
    }
    if (c->head == NULL && c->held == NULL && c->options.ping_interval_ms > 0 &&
        now - c->idle_since >= c->options.ping_interval_ms)
        conn_send_ping(c);
    conn_arm_timer(c);
}

void conn_arm_timer(struct pg_conn *c)
{
    int64_t now = clock_boot_ms();
    int64_t ms;

    if (c->state == CONN_CLOSED)
        return;
    if (c->lost)
        ms = 0;
    else if (c->state == CONN_WAITING)
        ms = backoff_next(&c->backoff);
    else if (c->state == CONN_CONNECTING)
        ms = c->options.timeout_ms;
    else if (c->head != NULL)
        ms = c->paused ? c->head->timeout_ms : c->waiting_since + c->head->timeout_ms - now;
    else if (c->options.ping_interval_ms > 0)
        ms = c->idle_since + c->options.ping_interval_ms - now;
    else
        return;
    uv_timer_start(&c->timer, on_timer, ms > 0 ? (uint64_t)ms : 0, 0);
}

/* ---- connecting ---- */

static void came_up(struct pg_conn *c)
{
    const char *host = PQhost(c->pq);

    c->state = CONN_UP;
    c->idle_since = clock_boot_ms();
    (void)snprintf(c->where, sizeof c->where, "%s:%s/%s", host != NULL ? host : "",
                   PQport(c->pq) != NULL ? PQport(c->pq) : "", PQdb(c->pq));
    if (PQsetnonblocking(c->pq, 1) != 0 || (c->options.pipeline && !PQenterPipelineMode(c->pq)) ||
        make_watch(c, UV_READABLE) != 0) {
        conn_lose_by_libpq(c);
        return;
    }
    c->up_at = c->idle_since;
    conn_arm_timer(c);
    c->callbacks.on_up(c->arg);
}

static void poll_connect(struct pg_conn *c)
{
    switch (tls_connect_poll(c->pq, &c->tls)) {
    case PGRES_POLLING_READING:
        if (make_watch(c, UV_READABLE) == 0)
            return;
        break;
    case PGRES_POLLING_WRITING:
        if (make_watch(c, UV_WRITABLE) == 0)
            return;
        break;
    case PGRES_POLLING_OK:
        came_up(c);
        return;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        break;
    }
    conn_lose_by_libpq(c);
}

/* Notices are for people at a prompt, but for the last words of a server that ends an idle session.
 */
static void on_notice(void *arg, const PGresult *res)
{
    struct pg_conn *c = arg;
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

    if (severity != NULL && strcmp(severity, "FATAL") == 0)
        (void)pg_error_of_result(&c->last_words, res);
}

static void resolve_ended(void *arg)
{
    struct pg_conn *c = arg;

    c->works--;
    conn_maybe_free(c);
}

static void resolved(void *arg, const struct resolved *r, const struct err *why)
{
    struct pg_conn *c = arg;
    struct conn_params params;

    c->resolve = NULL;
    if (why != NULL) {
        pg_conn_lose(c, why);
        return;
    }
    conn_params_fill(&params, c->uri, &c->options, r);
    c->tls.text[0] = '\0';
    c->pq = PQconnectStartParams(params.keys, params.values, 1);
    if (c->pq == NULL) {
        struct err err;

        (void)err_set(&err, ERR_NOMEM, "out of memory for a connection");
        pg_conn_lose(c, &err);
        return;
    }
    PQsetNoticeReceiver(c->pq, on_notice, c);
    (void)PQsetErrorVerbosity(c->pq, PQERRORS_VERBOSE); /* a refused login's SQLSTATE */
    if (PQstatus(c->pq) == CONNECTION_BAD || make_watch(c, UV_WRITABLE) != 0)
        conn_lose_by_libpq(c);
}

static void conn_connect(struct pg_conn *c)
{
    struct err err;

    c->state = CONN_CONNECTING;
    conn_arm_timer(c);
    c->works++;
    if (resolve_start(&c->resolve, c->loop, c->uri, resolved, resolve_ended, c, &err) != 0) {
        c->works--;
        pg_conn_lose(c, &err);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct pg_conn *c = ((struct watch *)poll->data)->conn;

    if (c == NULL)
        return;
    c->handling = true;
    if (c->state == CONN_CONNECTING) {
        poll_connect(c);
    } else if (c->state == CONN_UP) {
        uint32_t before = c->pace.messages;

        if (status != 0 || (events & UV_READABLE) || c->resumed) {
            c->resumed = false;
            if (!PQconsumeInput(c->pq))
                conn_lose_by_libpq(c);
            else
                conn_handle_input(c);
            rest(c, c->pace.messages - before);
        }
        if (c->state == CONN_UP && !c->lost && (c->events & UV_WRITABLE)) {
            int rc = PQflush(c->pq);

            if (rc < 0)
                conn_lose_by_libpq(c);
            else if (rc == 0)
                conn_want_events(c, UV_READABLE);
        }
    }
    c->handling = false;
    if (c->close_wanted)
        close_now(c);
    else if (c->lost)
        conn_lost_now(c);
}

/* ---- life ---- */

int pg_conn_open(struct pg_conn **ret, uv_loop_t *loop, const struct pg_conn_options *options,
                 const struct pg_conn_callbacks *callbacks, void *arg, struct err *err)
{
    struct pg_conn *c;
    int rc = pg_conn_check_uri(options->uri, "the connection string", err);

    if (rc != 0)
        return rc;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for a connection");
    c->uri = strdup(options->uri);
    if (c->uri == NULL) {
        free(c);
        return err_set(err, ERR_NOMEM, "out of memory for a connection");
    }
    c->loop = loop;
    c->options = *options;
    c->callbacks = *callbacks;
    c->arg = arg;
    c->tail = &c->head;
    c->backoff = backoff_of(100, 5000, options->seed);
    uv_timer_init(loop, &c->pace.timer);
    c->pace.timer.data = c;
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    tls_never_ask();
    conn_connect(c);
    *ret = c;
    return 0;
}

struct err pg_conn_excuse(bool was_up, const struct err *why)
{
    struct err excused = *why;

    if (!was_up && excused.class == ERR_CONFIG)
        excused.class = ERR_UNAVAILABLE;
    return excused;
}

bool pg_conn_is_up(const struct pg_conn *c)
{
    return c->state == CONN_UP && !c->lost;
}

uint32_t pg_conn_pending(const struct pg_conn *c)
{
    return c->pending;
}

int pg_conn_backend_pid(const struct pg_conn *c)
{
    return c->pq == NULL ? 0 : PQbackendPID(c->pq);
}

const char *pg_conn_where(const struct pg_conn *c)
{
    return c->where;
}

int pg_conn_server_version(const struct pg_conn *c)
{
    return c->pq == NULL ? 0 : PQserverVersion(c->pq);
}

const char *pg_library_version(void)
{
    static _Thread_local char text[32];
    int v = PQlibVersion();

    (void)snprintf(text, sizeof text, "%d.%d", v / 10000, v % 10000);
    return text;
}
