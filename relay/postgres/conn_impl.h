/* A connection's inside, shared by its two sources: conn.c (its life: connecting, time, losing) and
 * conn_request.c (requests and their answers). */
#ifndef OUTBOX_POSTGRES_CONN_IMPL_H
#define OUTBOX_POSTGRES_CONN_IMPL_H

#include "core/backoff.h"
#include "postgres/conn.h"
#include "postgres/resolve.h"
#include "postgres/tls.h"

enum conn_state {
    CONN_WAITING, /* to connect again */
    CONN_CONNECTING,
    CONN_UP,
    CONN_CLOSED,
};

struct request {
    struct request *next;
    pg_result_fn done;
    pg_copy_fn copied; /* COPY */
    pg_row_fn row;     /* row by row */
    void *arg;
    int64_t timeout_ms;
    PGresult *last; /* the result to answer with, once all have come */
};

/* A poll handle outlives its connection until libuv has closed it. */
struct watch {
    uv_poll_t poll;
    struct pg_conn *conn; /* NULL once let go */
};

/* How fast a stream comes, so that many messages share a wake-up. */
struct pace {
    uv_timer_t timer;
    uint64_t since; /* when this count began, in the loop's ms */
    uint32_t messages;
    bool busy;    /* the last count was high */
    bool resting; /* the socket is left alone */
};

struct pg_conn {
    uv_loop_t *loop;
    struct pg_conn_options options;
    char *uri;
    struct pg_conn_callbacks callbacks;
    void *arg;

    enum conn_state state;
    PGconn *pq;
    struct resolve *resolve; /* while CONN_CONNECTING has no socket yet */
    struct watch *watch;
    int events;
    uv_timer_t timer;
    struct backoff backoff;
    char where[256];
    struct tls_why tls;

    const char *before; /* goes before each statement, NULL for nothing */
    struct request *head, **tail;
    uint32_t pending;
    int64_t waiting_since; /* for the head's answer: sent, or the last sign of life */
    int64_t idle_since;
    int64_t up_at;
    bool handling; /* inside conn_handle_input: a lost connection is dealt with at its end */
    bool lost;
    bool broke;        /* lost by the network or the server, not by what we think of it */
    bool close_wanted; /* likewise */
    bool paused;
    struct pace pace;
    bool resumed; /* input may lie in libpq's buffer, of which the socket does not tell */
    struct err why;
    struct err last_words; /* the server's; ERR_NONE: it has said none */

    uint32_t works; /* cancels on the thread pool, and handles that are closing */
    bool cancelling;
    struct request *held; /* a finished request that waits for its cancel to be over */
    void (*when_free)(void *arg);
    void *when_free_arg;

    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* conn.c */
void conn_arm_timer(struct pg_conn *c);
void conn_want_events(struct pg_conn *c, int events);
void conn_lose_by_libpq(struct pg_conn *c);
/* Frees c once it is closed and nothing of it is on its way. */
void conn_maybe_free(struct pg_conn *c);

/* conn_request.c */
bool conn_streams(const struct pg_conn *c);
void conn_handle_input(struct pg_conn *c);
void conn_drop_requests(struct pg_conn *c);
void conn_send_ping(struct pg_conn *c);

#endif
