/* libpq's errors as ours: class and remedy by SQLSTATE, the primary message only (a detail may
 * quote a row). */
#ifndef OUTBOX_POSTGRES_PG_ERROR_H
#define OUTBOX_POSTGRES_PG_ERROR_H

#include "base/err.h"

#include <libpq-fe.h>
#include <stdbool.h>

/* Of a failed result; returns -class. */
int pg_error_of_result(struct err *err, const PGresult *res);
/* Of a connection that broke or never stood, lines joined; certificate: why the server's was
 * refused, "" where that is not known. ERR_UNAVAILABLE; ERR_LOGIN where the server does not let us
 * in; ERR_CONFIG where a setting or a file of ours is at fault. With PQERRORS_VERBOSE, else it has
 * no SQLSTATE. */
int pg_error_of_conn(struct err *err, PGconn *conn, const char *certificate);
/* The same of libpq's text; sslcert: the client's certificate file, NULL for none. */
int pg_error_of_text(struct err *err, const char *said, const char *certificate,
                     const char *sslcert);
/* True for a result with this SQLSTATE. */
bool pg_error_is(const PGresult *res, const char *sqlstate);

#define PG_CHECK_VIOLATION "23514"
#define PG_LOCK_NOT_AVAILABLE "55P03"
#define PG_QUERY_CANCELED "57014"
#define PG_READ_ONLY "25006"

#endif
