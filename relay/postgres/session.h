/*
 * The settings of our sessions. A session that is ours alone has them from its start. Behind a
 * pooler another one may answer each transaction, and is somebody else's in between: there nothing
 * is set that would stay, and each transaction brings them along.
 */
#ifndef OUTBOX_POSTGRES_SESSION_H
#define OUTBOX_POSTGRES_SESSION_H

#include "base/buf.h"
#include "base/err.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* One SELECT that sets the session up if it is ours: if the process that answers is the one that
 * was connected to, backend_pid. lock_timeout in ms. */
void session_sql(struct buf *sql, int backend_pid, int64_t lock_timeout_ms);
/* Whether it is pooled, as the answer tells: nothing was set then. */
bool session_pooled(const PGresult *res, int backend_pid);
/* Of a pooled one, from the same answer. Errors: ERR_CONFIG, its transactions are of a kind that
 * cannot be changed from within. */
int session_check(const PGresult *res, struct err *err);
/* One SELECT that goes before a statement in the same transaction. */
void session_transaction_sql(struct buf *sql, int64_t lock_timeout_ms);

#endif
