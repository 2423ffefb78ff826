/* What an outbox in a live database is made of, as the server's catalogue has it. */
#ifndef OUTBOX_POSTGRES_CATALOG_H
#define OUTBOX_POSTGRES_CATALOG_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

struct catalog_facts {
    bool found;      /* the table is there; else there is nothing more to say */
    char name[200];  /* of the table, qualified and quoted */
    char schema[64]; /* not quoted */
    char table[64];
    char versions[200]; /* its version table, qualified and quoted; "" : there is none */
    int version;        /* the highest that its version table names; 0: no such table, or no row */
    bool unseen;        /* the version table is there, but the role may not read it */
};

/* Reads the facts of `table`, the setting source.table, and appends to `lines` what `query` gives
 * for it: a line a row, tabs between its columns. Waits for the server, in one transaction that
 * changes nothing. uri: "" is libpq's PG* variables. ERR_UNAVAILABLE, ERR_PERMISSION, ERR_NOMEM. */
int catalog_read(const char *uri, const char *table, const char *query, struct catalog_facts *ret,
                 struct buf *lines, struct err *err);

#endif
