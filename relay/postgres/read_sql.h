/*
 * The statement of one page: COPY (...) TO STDOUT in binary. COPY streams row by row, so memory is
 * bounded by one row whatever the page holds, and literals give the planner real values.
 *
 * The page that opens a difference is asked for hundreds of times a second and mostly small, so
 * that planning it costs several times what running it does: where the session is ours it is
 * prepared once.
 */
#ifndef OUTBOX_POSTGRES_READ_SQL_H
#define OUTBOX_POSTGRES_READ_SQL_H

#include "base/buf.h"
#include "core/cursor.h"
#include "postgres/inspect.h"

/* Appends to sql; its failed flag tells of memory. */
/* topic_sql: with request->parked, the routed topic of row "o" as an expression. */
void read_sql(struct buf *sql, const struct read_request *request, const struct pg_facts *facts,
              const char *topic_sql);

/* Whether row "h" of what is parked has its content, and is not what holds the others up. */
#define QUEUE_GOES                                                                                 \
    "h.aggregatetype IS NOT NULL AND (h.class = 'behind' OR h.retried_at IS NOT NULL)"

/* PREPARE name for every request that read_sql_prepared is true of. */
void read_sql_prepare(struct buf *sql, const char *name, const struct pg_facts *facts);
bool read_sql_prepared(const struct read_request *request);
/* Appends its READ_SQL_PARAMETERS values, as text, each but the last ended by a NUL. */
#define READ_SQL_PARAMETERS 4
void read_sql_parameters(struct buf *text, const struct read_request *request);

#endif
