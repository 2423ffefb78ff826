/*
 * One PostgreSQL connection on the loop, non-blocking throughout: connects, keeps a queue of
 * requests (pipelined, or one at a time), notices a silent server by a deadline on each answer and
 * a ping when idle, and connects again with decorrelated jitter. Only conn_lose closes it, with the
 * reason.
 */
#ifndef OUTBOX_POSTGRES_CONN_H
#define OUTBOX_POSTGRES_CONN_H

#include "base/buf.h"
#include "base/err.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pg_conn;

struct pg_conn_options {
    const char *uri;     /* URI or key=value, "" for libpq's PG* variables; copied */
    const char *name;    /* "read", "control", "wakeup": shown in application_name; static */
    const char *session; /* or the whole of it, to be found again by; borrowed */
    bool pipeline;
    bool replication;         /* a walsender: simple commands only, no pings */
    int64_t ping_interval_ms; /* idle for so long: ping; 0 for never */
    int64_t timeout_ms;       /* to connect, and for each answer */
    uint64_t seed;
};

struct pg_conn_callbacks {
    /* Connected; requests may be sent. */
    void (*on_up)(void *arg);
    /* Was up, or could not connect. What was requested gets no callback any more; it tries again by
     * itself. */
    void (*on_lost)(void *arg, bool was_up, const struct err *why);
    void (*on_notify)(void *arg, const char *channel, const char *payload); /* may be NULL */
};

/* What a request is answered with: the last result (borrowed), or a failed one and why it failed.
 * An answer that says the server is read-only loses the connection. */
typedef void (*pg_result_fn)(void *arg, const PGresult *res, const struct err *why);
/* One COPY row, borrowed. */
typedef void (*pg_copy_fn)(void *arg, const char *data, size_t len);

/* Begins to connect. The caller owns *ret and ends it by pg_conn_close. Errors: ERR_CONFIG for a
 * uri that does not parse (without quoting it), ERR_NOMEM. */
int pg_conn_open(struct pg_conn **ret, uv_loop_t *loop, const struct pg_conn_options *options,
                 const struct pg_conn_callbacks *callbacks, void *arg, struct err *err);
/* Closes; on_closed comes when its handles are closed, and nothing after it. NULL is allowed. */
void pg_conn_close(struct pg_conn *c, void (*on_closed)(void *arg), void *arg);

/* Why a connection was lost that stands beside the reading one, which judges the settings: files of
 * ours that do not do just now (ERR_CONFIG of one that never was up) are being replaced, and it is
 * tried again (ERR_UNAVAILABLE). */
struct err pg_conn_excuse(bool was_up, const struct err *why);

/* A connection parameter's check without connecting. */
int pg_conn_check_uri(const char *uri, const char *setting, struct err *err);

bool pg_conn_is_up(const struct pg_conn *c);
/* Requests without an answer yet, pings included. */
uint32_t pg_conn_pending(const struct pg_conn *c);
/* "host:port/database", without user or password; borrowed until it is lost. */
const char *pg_conn_where(const struct pg_conn *c);
int pg_conn_server_version(const struct pg_conn *c);

/* Calls free when a connection without pipeline takes a request: at once, or once the answer to a
 * ping that is on its way has come; not if the connection is lost before. The last call counts. */
void pg_conn_when_free(struct pg_conn *c, void (*free)(void *arg), void *arg);

/* Parameters of a request: text or binary as formats say; all borrowed for the call. */
struct pg_params {
    int n;
    const Oid *types;
    const char *const *values;
    const int *lengths;
    const int *formats;
};

/* Sends one statement; answered by done, unless the connection is lost before. timeout_ms 0: the
 * connection's own. A connection without pipeline takes one request at a time. A failed send, or
 * sql NULL (there was no memory to build it), loses the connection (and calls on_lost later). The
 * same goes for the others below. */
void pg_conn_query(struct pg_conn *c, const char *sql, const struct pg_params *params,
                   int64_t timeout_ms, pg_result_fn done, void *arg);
/* Pipelined: sends this before each statement to come, in one transaction with it, until the
 * connection is lost. Where it fails the statement fails with its error. Borrowed for as long. */
void pg_conn_precede(struct pg_conn *c, const char *sql);
/* COPY ... TO STDOUT, also as the last of several statements; row for each message, then done. The
 * deadline counts from the last message. */
void pg_conn_copy(struct pg_conn *c, const char *sql, pg_copy_fn row, pg_result_fn done, void *arg);
/* Runs a statement that this session has prepared, parameters as text, results in binary; row for
 * each row as it arrives, then done. The deadline counts from the last row. */
typedef void (*pg_row_fn)(void *arg, const PGresult *row);
void pg_conn_execute(struct pg_conn *c, const char *name, int n, const char *const *values,
                     pg_row_fn row, pg_result_fn done, void *arg);
/* Sends text that may be several statements, or a replication command; answered by the last one's
 * result. timeout_ms as pg_conn_query. */
void pg_conn_command(struct pg_conn *c, const char *text, int64_t timeout_ms, pg_result_fn done,
                     void *arg);
/* To the server, while START_REPLICATION streams, which pg_conn_copy sends as well. Dropped as long
 * as the server has not begun to. */
void pg_conn_stream_send(struct pg_conn *c, const void *data, size_t len);
/* Reads no further for now: the server's own buffers fill, and its deadline is not ours to judge.
 */
void pg_conn_pause(struct pg_conn *c, bool pause);
/* The server's process, 0 when not connected. */
int pg_conn_backend_pid(const struct pg_conn *c);
/* Asks the server to end the running statement, off the loop; the answer then says so. */
void pg_conn_cancel(struct pg_conn *c);

/* Closes the connection for this reason and begins to connect again. */
void pg_conn_lose(struct pg_conn *c, const struct err *why);

const char *pg_library_version(void);

#endif
