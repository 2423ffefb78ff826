/*
 * Host names to addresses, off the loop: PQconnectStart would look them up itself, and block. Names
 * that are addresses or sockets already, or come from a service file, are left to libpq.
 */
#ifndef OUTBOX_POSTGRES_RESOLVE_H
#define OUTBOX_POSTGRES_RESOLVE_H

#include "base/err.h"

#include <uv.h>

struct resolve;

/* Lists as libpq takes them, one entry an address; NULL where libpq is to find out by itself. */
struct resolved {
    const char *host;
    const char *hostaddr;
    const char *port;
};

/* Called once, unless abandoned; r borrowed, why non-NULL when no host has an address (then r is
 * NULL). */
typedef void (*resolve_fn)(void *arg, const struct resolved *r, const struct err *why);

/* Begins; *ret stands until done is called. ended is called when the last of it is gone, abandoned
 * or not. ERR_NOMEM. */
int resolve_start(struct resolve **ret, uv_loop_t *loop, const char *uri, resolve_fn done,
                  void (*ended)(void *arg), void *arg, struct err *err);
/* No done any more; ended still comes. */
void resolve_abandon(struct resolve *r);

#endif
