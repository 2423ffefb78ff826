/* One small blocking HTTP GET, bounded in time and size. Private to cli/status*.c. */
#ifndef OUTBOX_CLI_STATUS_GET_H
#define OUTBOX_CLI_STATUS_GET_H

#include "base/buf.h"
#include "base/err.h"

/* Fetches path from the relay that listens at `listen` (http.listen's form; all addresses means
 * this machine) and appends the body of its 200 answer. Errors: ERR_UNAVAILABLE (nothing answers
 * within timeout_ms in all, or not an outbox-relay), ERR_CONFIG for listen. */
int status_get(const char *listen, const char *path, int timeout_ms, struct buf *body,
               struct err *err);

#endif
