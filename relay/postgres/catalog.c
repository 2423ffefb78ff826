#include "postgres/catalog.h"

#include "postgres/once.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

static int change(PGconn *conn, const char *sql, struct err *err)
{
    PGresult *res;
    int rc = once_run(conn, sql, 0, NULL, &res, err);

    PQclear(res);
    return rc;
}

static int find_table(PGconn *conn, const char *table, struct catalog_facts *ret, struct err *err)
{
    static const char sql[] =
        "SELECT n.nspname, c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname),"
        " CASE WHEN v.oid IS NOT NULL THEN pg_catalog.format('%I.%I', n.nspname, v.relname) END,"
        " pg_catalog.has_table_privilege(v.oid, 'SELECT')"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_catalog.pg_class v ON v.relnamespace = c.relnamespace"
        "  AND v.relname = c.relname || '_schema_version' AND v.relkind = 'r'"
        " WHERE c.oid = pg_catalog.to_regclass($1)";
    PGresult *res;
    int rc = once_run(conn, sql, 1, &table, &res, err);

    if (rc == 0 && PQntuples(res) == 1) {
        ret->found = true;
        (void)snprintf(ret->schema, sizeof ret->schema, "%s", PQgetvalue(res, 0, 0));
        (void)snprintf(ret->table, sizeof ret->table, "%s", PQgetvalue(res, 0, 1));
        (void)snprintf(ret->name, sizeof ret->name, "%s", PQgetvalue(res, 0, 2));
        (void)snprintf(ret->versions, sizeof ret->versions, "%s", PQgetvalue(res, 0, 3));
        ret->unseen = ret->versions[0] != '\0' && PQgetvalue(res, 0, 4)[0] != 't';
    }
    PQclear(res);
    return rc;
}

static int read_version(PGconn *conn, struct catalog_facts *ret, struct err *err)
{
    char sql[300];
    PGresult *res;
    int rc;

    (void)snprintf(sql, sizeof sql, "SELECT COALESCE(pg_catalog.max(version), 0) FROM %s",
                   ret->versions);
    rc = once_run(conn, sql, 0, NULL, &res, err);
    if (rc == 0)
        ret->version = (int)strtol(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    return rc;
}

static int read_lines(PGconn *conn, const char *name, const char *query, struct buf *lines,
                      struct err *err)
{
    PGresult *res;
    int rc = change(conn, "SET LOCAL search_path = pg_catalog", err);

    if (rc == 0)
        rc = once_run(conn, query, 1, &name, &res, err);
    if (rc != 0)
        return rc;
    for (int i = 0; i < PQntuples(res); i++)
        for (int c = 0; c < PQnfields(res); c++)
            buf_printf(lines, "%s%c", PQgetvalue(res, i, c), c + 1 < PQnfields(res) ? '\t' : '\n');
    PQclear(res);
    return lines->failed ? err_set(err, ERR_NOMEM, "out of memory") : 0;
}

int catalog_read(const char *uri, const char *table, const char *query, struct catalog_facts *ret,
                 struct buf *lines, struct err *err)
{
    PGconn *conn;
    int rc = once_open(&conn, uri, "outbox-relay schema check", err);

    *ret = (struct catalog_facts){0};
    if (rc == 0)
        rc = change(conn, "BEGIN READ ONLY", err);
    if (rc == 0)
        rc = find_table(conn, table, ret, err);
    if (rc == 0 && ret->versions[0] != '\0' && !ret->unseen)
        rc = read_version(conn, ret, err);
    if (rc == 0 && ret->found)
        rc = read_lines(conn, ret->name, query, lines, err);
    PQfinish(conn);
    return rc;
}
