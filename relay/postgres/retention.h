/*
 * Retention: the schema's function outbox_retain() drops partitions that are old and wholly
 * published, and makes new ones. It decides what; here it is called, where the outbox is
 * partitioned and the role may.
 */
#ifndef OUTBOX_POSTGRES_RETENTION_H
#define OUTBOX_POSTGRES_RETENTION_H

#include "postgres/conn.h"
#include "postgres/inspect.h"

struct retention;

/* ours: there is such a function, and it was called. res: a line of text in each row, borrowed;
 * NULL where it was not, or failed, and why then says why. */
typedef void (*retention_fn)(void *arg, bool ours, const PGresult *res, const struct err *why);

/* The caller owns *ret. ERR_NOMEM. */
int retention_new(struct retention **ret, retention_fn on_answer, void *arg, struct err *err);
void retention_free(struct retention *t);
/* Calls it, unless the last call has not been answered yet; facts are borrowed for the call. */
void retention_call(struct retention *t, struct pg_conn *conn, const struct pg_facts *facts);
/* The connection was lost: nothing is answered any more. */
void retention_lost(struct retention *t);

#endif
