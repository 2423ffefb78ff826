/* A command's own session: opened, asked one blocking statement after the other, and closed. */
#ifndef OUTBOX_POSTGRES_ONCE_H
#define OUTBOX_POSTGRES_ONCE_H

#include "base/err.h"

#include <libpq-fe.h>

/* uri: as postgres.uri; name: what the server shows it as. Waits 10 s at the most. The caller ends
 * *ret by PQfinish, also after an error. ERR_UNAVAILABLE, ERR_LOGIN, ERR_CONFIG, ERR_NOMEM. */
int once_open(PGconn **ret, const char *uri, const char *name, struct err *err);
/* The same with libpq's own parameters, as PQconnectdbParams with expand_dbname. */
int once_connect(PGconn **ret, const char *const *keys, const char *const *values, struct err *err);
/* One statement with n parameters as text. The caller frees *ret by PQclear; it is NULL after an
 * error, whose class is that of its SQLSTATE. */
int once_run(PGconn *conn, const char *sql, int n, const char *const *values, PGresult **ret,
             struct err *err);
/* The same for an answer that the caller has looked at; takes res over. */
int once_result(PGconn *conn, PGresult *res, PGresult **ret, struct err *err);

#endif
