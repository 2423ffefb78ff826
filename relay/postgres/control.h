/*
 * The control connection: pipelined, carries acknowledgements, the lease, the table's gauges and
 * the probe of NOTIFY, so that none of them waits for a page that is being read. Through a pooler
 * each of them is a transaction that brings its settings along.
 */
#ifndef OUTBOX_POSTGRES_CONTROL_H
#define OUTBOX_POSTGRES_CONTROL_H

#include "postgres/conn.h"
#include "postgres/inspect.h"

struct control;

struct control_gauges {
    int64_t backlog;       /* unpublished rows, in flight included; an estimate above a million */
    int64_t dead;          /* events there, up to a hundred thousand; 0 where it may not look */
    double oldest_seconds; /* age of the oldest of them, 0 for none */
};

struct control_callbacks {
    void (*on_up)(void *arg);
    void (*on_lost)(void *arg, bool was_up, const struct err *why);
    void (*on_gauges)(void *arg, const struct control_gauges *gauges);
};

/* lock_timeout_ms: how long a statement of ours may wait for a lock (a table that is being
 * altered). */
int control_open(struct control **ret, uv_loop_t *loop, const char *uri, int64_t timeout_ms,
                 int64_t lock_timeout_ms, uint64_t seed, const struct control_callbacks *callbacks,
                 void *arg, struct err *err);
/* Asks for the gauges; no more than one request at a time. */
void control_ask_gauges(struct control *c, const struct pg_facts *facts);
/* Sends a notification through this connection, to see whether it arrives on the listening one. */
void control_notify(struct control *c, const char *channel, const char *payload);
/* The server at its other end, known while it is up. */
const struct pg_identity *control_identity(const struct control *c);
/* Closes the connection for this reason and connects again. */
void control_lose(struct control *c, const struct err *why);
struct pg_conn *control_conn(const struct control *c);
void control_close(struct control *c, void (*on_closed)(void *arg), void *arg);

#endif
