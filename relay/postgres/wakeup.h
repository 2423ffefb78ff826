/*
 * The wake-up lock: asks for the exclusive advisory lock that makes writers notify, on a connection
 * of its own (a session inside a statement is sent no notifications). Each wait ends by
 * lock_timeout after a moment and is asked again, since a waiting statement holds an xmin.
 */
#ifndef OUTBOX_POSTGRES_WAKEUP_H
#define OUTBOX_POSTGRES_WAKEUP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct wakeup;

struct wakeup_callbacks {
    void (*on_granted)(void *arg);
    /* The lock, or the chance of it, is lost with the connection. was_up false: could not connect.
     */
    void (*on_lost)(void *arg, bool was_up, const struct err *why);
};

int wakeup_open(struct wakeup **ret, uv_loop_t *loop, const char *uri, int64_t timeout_ms,
                uint64_t seed, const struct wakeup_callbacks *callbacks, void *arg,
                struct err *err);
/* key: of the lock; from pg_facts. want: ask for it and keep it, or give it back. May be called at
 * any time. */
void wakeup_want(struct wakeup *w, int64_t key, bool want);
void wakeup_close(struct wakeup *w, void (*on_closed)(void *arg), void *arg);

#endif
