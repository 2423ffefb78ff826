/* What `adopt` prints: the migration of an outbox that is there already, out of the schema's own.
 */
#ifndef OUTBOX_CLI_ADOPT_SQL_H
#define OUTBOX_CLI_ADOPT_SQL_H

#include "postgres/adopt.h"

/* The migration, for psql, only comments where nothing is missing; with request->slot the statement
 * after which the relay reads on where that stands. ERR_CONFIG: a name that does not fit;
 * ERR_INTERNAL: the schema's own text is not what is expected here. */
int adopt_sql(struct buf *sql, const struct adopt_table *table, const struct adopt_plan *plan,
              const struct adopt_request *request, struct err *err);

#endif
