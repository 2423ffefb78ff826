#include "postgres/once.h"

#include "postgres/pg_error.h"
#include "postgres/tls.h"

#include <string.h>

int once_open(PGconn **ret, const char *uri, const char *name, struct err *err)
{
    const char *const keys[] = {"dbname", "fallback_application_name", "connect_timeout", NULL};
    const char *const values[] = {uri, name, "10", NULL};

    return once_connect(ret, keys, values, err);
}

int once_connect(PGconn **ret, const char *const *keys, const char *const *values, struct err *err)
{
    struct tls_why why = {.text = ""};

    tls_never_ask();
    *ret = PQconnectdbParams(keys, values, 1);
    if (*ret == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (PQstatus(*ret) == CONNECTION_OK)
        return 0;
    if (strstr(PQerrorMessage(*ret), "certificate verify failed") != NULL)
        tls_find_out(keys, values, &why);
    return pg_error_of_conn(err, *ret, why.text);
}

int once_run(PGconn *conn, const char *sql, int n, const char *const *values, PGresult **ret,
             struct err *err)
{
    return once_result(conn, PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0), ret, err);
}

int once_result(PGconn *conn, PGresult *res, PGresult **ret, struct err *err)
{
    ExecStatusType status = PQresultStatus(res);
    int rc;

    *ret = NULL;
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        *ret = res;
        return 0;
    }
    rc = PQstatus(conn) == CONNECTION_BAD ? pg_error_of_conn(err, conn, "")
                                          : pg_error_of_result(err, res);
    PQclear(res);
    return rc;
}
