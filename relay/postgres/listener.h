/*
 * A connection that only listens: past a pooler, which rows are read through. It checks that it has
 * reached the server that they are read from; what arrives elsewhere tells nothing of them.
 */
#ifndef OUTBOX_POSTGRES_LISTENER_H
#define OUTBOX_POSTGRES_LISTENER_H

#include "postgres/inspect.h"

#include <uv.h>

struct listener;

struct listener_callbacks {
    /* Listening, to the server that was named last. pooled: its session is not its own. */
    void (*on_up)(void *arg, bool pooled);
    /* Lost, or could not connect, or another server; it tries again by itself. */
    void (*on_lost)(void *arg, bool was_up, const struct err *why);
    void (*on_notify)(void *arg, const char *payload);
};

/* Begins to connect. Errors as pg_conn_open. */
int listener_open(struct listener **ret, uv_loop_t *loop, const char *uri, int64_t timeout_ms,
                  uint64_t seed, const struct listener_callbacks *callbacks, void *arg,
                  struct err *err);
/* Whom and what to listen to, copied: with the first call it begins to listen, and with others than
 * before it connects again. */
void listener_follow(struct listener *l, const struct pg_facts *facts);
/* "host:port/database"; borrowed. */
const char *listener_where(const struct listener *l);
void listener_close(struct listener *l, void (*on_closed)(void *arg), void *arg);

#endif
