#include "postgres/retention.h"

#include "base/buf.h"

#include <stdlib.h>

struct retention {
    struct pg_conn *conn;
    bool asking;
    retention_fn on_answer;
    void *arg;
};

static void done(void *arg, const PGresult *res, const struct err *why)
{
    struct retention *t = arg;

    t->asking = false;
    t->on_answer(t->arg, true, why == NULL ? res : NULL, why);
}

static void found(void *arg, const PGresult *res, const struct err *why)
{
    struct retention *t = arg;
    struct buf sql = {0};

    if (why != NULL || PQntuples(res) == 0) {
        t->asking = false;
        t->on_answer(t->arg, false, NULL, why);
        return;
    }
    buf_printf(&sql, "SELECT * FROM %s()", PQgetvalue(res, 0, 0));
    pg_conn_query(t->conn, buf_cstr(&sql), NULL, 0, done, t);
    buf_free(&sql);
}

void retention_call(struct retention *t, struct pg_conn *conn, const struct pg_facts *facts)
{
    static const char sql[] =
        "SELECT pg_catalog.format('%I.%I', n.nspname, p.proname) FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname = c.relname ||"
        " '_retain' WHERE c.oid = pg_catalog.to_regclass($1) AND c.relkind = 'p'"
        " AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')";
    const char *values[] = {facts->table};
    struct pg_params params = {.n = 1, .values = values};

    if (t->asking)
        return;
    t->asking = true;
    t->conn = conn;
    pg_conn_query(conn, sql, &params, 0, found, t);
}

void retention_lost(struct retention *t)
{
    t->asking = false;
}

int retention_new(struct retention **ret, retention_fn on_answer, void *arg, struct err *err)
{
    struct retention *t = calloc(1, sizeof *t);

    if (t == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    t->on_answer = on_answer;
    t->arg = arg;
    *ret = t;
    return 0;
}

void retention_free(struct retention *t)
{
    free(t);
}
