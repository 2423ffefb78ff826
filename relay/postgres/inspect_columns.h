/* Whether the table has the columns that the settings name, with types that the relay reads, and
 * every reason to refuse. Private to inspect.c. */
#ifndef OUTBOX_POSTGRES_INSPECT_COLUMNS_H
#define OUTBOX_POSTGRES_INSPECT_COLUMNS_H

#include "postgres/inspect.h"

/* Of one table: for each column its name, its type's and "t" where it may not be null, each ended
 * by a unit separator (chr(31)). An expression over pg_class "c". */
#define INSPECT_COLUMNS_SQL                                                                        \
    "(SELECT pg_catalog.string_agg(pg_catalog.concat(a.attname, pg_catalog.chr(31),"               \
    " pg_catalog.format_type(a.atttypid, NULL), pg_catalog.chr(31), a.attnotnull,"                 \
    " pg_catalog.chr(31), a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',"                \
    " pg_catalog.chr(31)), '') FROM pg_catalog.pg_attribute a"                                     \
    " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)"

/* Fills in ret what it has of columns. list: the expression's value; table: quoted, for errors.
 * ERR_CONFIG. */
int inspect_columns(struct pg_facts *ret, const struct columns *columns, const char *list,
                    const char *table, struct err *err);
/* Whether a copy of a dead event would have all that an insert has to name. ERR_CONFIG. */
int inspect_copies(const struct columns *columns, const char *list, const char *table,
                   struct err *err);

#endif
