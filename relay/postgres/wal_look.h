/* What decoding needs of a server and of the outbox's publication, and every reason why it is not
 * possible, with its remedy. */
#ifndef OUTBOX_POSTGRES_WAL_LOOK_H
#define OUTBOX_POSTGRES_WAL_LOOK_H

#include "postgres/inspect.h"

/* One statement: $1 the publication's name, $2 the table as in pg_facts. */
void wal_look_sql(struct buf *sql, const struct pg_facts *facts);
/* Reads its answer, but for the publication. ERR_CONFIG, ERR_PERMISSION; ERR_UNAVAILABLE for
 * another server than facts says. */
int wal_look_server(const PGresult *res, const struct pg_facts *facts, struct err *err);
/* The publication; one that is missing is no error where the role may make it. */
int wal_look_publication(const PGresult *res, const struct pg_facts *facts, const char *publication,
                         struct err *err);
bool wal_look_published(const PGresult *res);
/* The oldest transaction that is running. */
uint64_t wal_look_oldest(const PGresult *res);

#endif
