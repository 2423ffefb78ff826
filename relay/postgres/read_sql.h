/* The statement of one page: COPY (...) TO STDOUT in binary. COPY streams row by row, so memory is
 * bounded by one row whatever the page holds, and literals give the planner real values. */
#ifndef OUTBOX_POSTGRES_READ_SQL_H
#define OUTBOX_POSTGRES_READ_SQL_H

#include "base/buf.h"
#include "core/cursor.h"
#include "postgres/inspect.h"

/* Appends to sql; its failed flag tells of memory. */
void read_sql(struct buf *sql, const struct read_request *request, const char *table);

#endif
