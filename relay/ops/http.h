/* The HTTP end points on the loop (libmicrohttpd, no thread of its own). Small bounded answers
 * only. */
#ifndef OUTBOX_OPS_HTTP_H
#define OUTBOX_OPS_HTTP_H

#include "base/buf.h"
#include "base/err.h"

#include <uv.h>

struct http;

/* Fills body (owned by the caller, empty at the call) and *ret_type (static text), returns the HTTP
 * status. path has no query; verbose is true for ?verbose. Unknown paths are answered by http
 * itself (404). */
struct http_routes {
    int (*livez)(void *arg, struct buf *body);
    int (*readyz)(void *arg, bool verbose, struct buf *body);
    int (*metrics)(void *arg, struct buf *body); /* text/plain; version=0.0.4 */
    int (*statusz)(void *arg, struct buf *body); /* application/json */
};

/* Listens on "host:port", "[::1]:port" or ":port" (all addresses); port 0 takes a free one.
 * /healthz is /livez. GET and HEAD only (405 otherwise). A hostile or slow client costs a bounded
 * connection (limit, timeout), never the loop. Errors: ERR_CONFIG for an address that does not
 * parse, ERR_UNAVAILABLE when it cannot be bound (names the address). The caller owns *ret. */
int http_open(struct http **ret, uv_loop_t *loop, const char *listen,
              const struct http_routes *routes, void *arg, struct err *err);
/* The port that is bound. */
int http_port(const struct http *h);
/* Stops and closes the handles on the loop; on_closed is called when all are closed. NULL h is
 * allowed (calls on_closed at once). */
void http_close(struct http *h, void (*on_closed)(void *arg), void *arg);

#endif
