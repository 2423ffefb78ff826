/* How a connection's parameters come about: ours as defaults, the user's on top, PG* where neither
 * says. */
#ifndef OUTBOX_POSTGRES_CONN_PARAMS_H
#define OUTBOX_POSTGRES_CONN_PARAMS_H

#include "postgres/conn.h"
#include "postgres/resolve.h"

#define CONN_PARAMS_MAX 24

struct conn_params {
    const char *keys[CONN_PARAMS_MAX];
    const char *values[CONN_PARAMS_MAX];
    int n;
    char application_name[64];
};

/* Fills p for PQconnectStartParams with expand_dbname; it borrows uri and what was resolved. */
void conn_params_fill(struct conn_params *p, const char *uri, const struct pg_conn_options *options,
                      const struct resolved *resolved);

#endif
