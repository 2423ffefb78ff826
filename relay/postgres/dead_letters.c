#include "postgres/dead_letters.h"

#include "base/buf.h"
#include "postgres/pg_error.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 24

/* The tables, quoted, and the channel of a relay that may run. */
struct names {
    char *table;
    char *parked;
    char *dead;
    char *discarded;
    char *channel;
    bool queues; /* parked may hold the events themselves */
};

static void free_names(struct names *n)
{
    free(n->table);
    free(n->parked);
    free(n->dead);
    free(n->discarded);
    free(n->channel);
}

/* By the guard of the outbox, of an event that is no better than it was. The guard names a column,
 * which a CHECK does not, whose detail would be the row. */
static bool is_refused(const PGresult *res)
{
    return pg_error_is(res, PG_CHECK_VIOLATION) &&
           PQresultErrorField(res, PG_DIAG_COLUMN_NAME) != NULL &&
           PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL) != NULL;
}

static int run(PGconn *conn, const char *sql, int n, const char *const *values, PGresult **ret,
               struct err *err)
{
    PGresult *res = PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(res);
    int rc = 0;

    *ret = NULL;
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        *ret = res;
        return 0;
    }
    if (PQstatus(conn) == CONNECTION_BAD)
        rc = pg_error_of_conn(err, conn);
    else if (is_refused(res))
        rc = err_set(err, ERR_ROW, "%s. %s Nothing is retried: correct it, or retry the others",
                     PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY),
                     PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL));
    else
        rc = pg_error_of_result(err, res);
    PQclear(res);
    return rc;
}

static char *copy(const PGresult *res, int column)
{
    return PQgetisnull(res, 0, column) ? NULL : strdup(PQgetvalue(res, 0, column));
}

static int find_names(PGconn *conn, const char *table, struct names *ret, struct err *err)
{
    static const char sql[] =
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),"
        " pg_catalog.format('%I.%I', n.nspname, c.relname || '_parked'),"
        " pg_catalog.format('%I.%I', n.nspname, c.relname || '_dead'),"
        " pg_catalog.format('%I.%I', n.nspname, c.relname || '_discarded'),"
        " 'outbox_relay_' || c.oid, (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class k"
        "  WHERE k.relnamespace = c.relnamespace AND k.relname IN (c.relname || '_parked',"
        "   c.relname || '_dead', c.relname || '_discarded')),"
        " EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class k ON k.oid ="
        "  a.attrelid WHERE k.relnamespace = c.relnamespace AND k.relname = c.relname || '_parked'"
        "  AND a.attname = 'place')"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = pg_catalog.to_regclass($1)";
    PGresult *res;
    int rc = run(conn, sql, 1, &table, &res, err);

    if (rc != 0)
        return rc;
    if (PQntuples(res) != 1) {
        rc = err_set(err, ERR_CONFIG, "there is no table \"%s\": set source.table", table);
    } else if (PQgetvalue(res, 0, 5)[0] != '3') {
        rc = err_set(err, ERR_CONFIG,
                     "table %s has no tables for parked and dead events beside it: install them "
                     "with psql -f schema/migrations/0002_failures.up.sql",
                     PQgetvalue(res, 0, 0));
    } else {
        *ret = (struct names){copy(res, 0), copy(res, 1), copy(res, 2),
                              copy(res, 3), copy(res, 4), PQgetvalue(res, 0, 6)[0] == 't'};
        if (ret->table == NULL || ret->parked == NULL || ret->dead == NULL ||
            ret->discarded == NULL || ret->channel == NULL)
            rc = err_set(err, ERR_NOMEM, "out of memory");
    }
    PQclear(res);
    return rc;
}

/* ---- statements ---- */

static void where(struct buf *sql, const char *topic)
{
    buf_printf(sql,
               " WHERE ($1::uuid IS NULL OR f.id = $1::uuid)"
               " AND ($2::text IS NULL OR f.aggregateid = $2)"
               " AND ($3::text IS NULL OR f.%s = $3)"
               " AND ($4::text IS NULL OR pg_catalog.strpos(f.error, $4) > 0)",
               topic);
}

/* What only waits behind another one goes on with that: it is meant by its id alone. */
static const char heads[] = " AND (f.class <> 'behind' OR f.id = $1::uuid)";

/* Each parked event, from where it is. */
static void with_events(struct buf *sql, const struct names *n)
{
    static const char columns[] = "seq, id, aggregatetype, type, partition, created_at, headers,"
                                  " payload, payload_bytes";

    buf_printf(sql,
               "WITH events AS (SELECT %s FROM %s WHERE aggregatetype IS NOT NULL UNION ALL"
               " SELECT %s FROM %s WHERE (seq, id) IN (SELECT seq, id FROM %s WHERE"
               " aggregatetype IS NULL)) ",
               columns, n->parked, columns, n->table, n->parked);
}

static void select_sql(struct buf *sql, const struct dead_request *r, const struct names *n)
{
    static const char event[] = ", e.aggregatetype, e.type, e.partition, e.created_at";
    static const char content[] = ", e.headers, e.payload, e.payload_bytes";
    const char *more = r->verb != DEAD_SHOW ? "" : event;
    const char *most = r->verb == DEAD_SHOW && r->payload ? content : "";

    if (n->queues)
        with_events(sql, n);
    buf_printf(sql,
               "SELECT 'parked' AS state, f.parked_at AS since, f.id, f.topic, f.aggregateid AS"
               " key, f.class, f.error, f.seq%s%s FROM %s f LEFT JOIN %s e ON e.seq = f.seq AND"
               " e.id = f.id",
               more, most, n->parked, n->queues ? "events" : n->table);
    where(sql, "topic");
    buf_printf(sql, heads);
    buf_printf(sql,
               " UNION ALL SELECT 'dead', e.died_at, e.id, e.routed_topic, e.aggregateid, e.class,"
               " e.error, e.seq%s%s FROM (SELECT * FROM %s f",
               more, most, n->dead);
    where(sql, "routed_topic");
    buf_printf(sql, ") AS e ORDER BY 1 DESC, seq");
}

/* What is in no other table stays where it is: the relay that owns the outbox publishes it, and
 * what waits behind it, in order. */
static void retry_queues(struct buf *sql, const struct names *n)
{
    buf_printf(sql, "q AS (UPDATE %s f SET retried_at = pg_catalog.clock_timestamp()", n->parked);
    where(sql, "topic");
    buf_printf(sql, " AND f.aggregatetype IS NOT NULL AND f.class <> 'behind' RETURNING f.*), ");
}

/* A union cannot carry json, which has no equality; nothing here asks for one but its text. */
static void retry_sql(struct buf *sql, const struct names *n)
{
    buf_printf(sql, "WITH k AS (DELETE FROM %s f", n->parked);
    where(sql, "topic");
    buf_printf(sql, "%s RETURNING f.*), ", n->queues ? " AND f.aggregatetype IS NULL" : "");
    if (n->queues)
        retry_queues(sql, n);
    buf_printf(sql, "d AS (DELETE FROM %s f", n->dead);
    where(sql, "routed_topic");
    buf_printf(sql,
               " RETURNING f.*), i AS (INSERT INTO %s (id, aggregatetype, aggregateid, type,"
               " payload, payload_bytes, headers, topic, partition, created_at) SELECT id,"
               " aggregatetype, aggregateid, type, payload, payload_bytes, headers, topic,"
               " partition, created_at FROM d ORDER BY seq)"
               " SELECT 'parked' AS state, parked_at AS since, id, topic, aggregateid AS key,"
               " class, error, seq FROM %s UNION ALL SELECT 'dead', died_at, id, routed_topic,"
               " aggregateid, class, error, seq FROM d ORDER BY 1 DESC, seq",
               n->table, n->queues ? "(SELECT * FROM k UNION ALL SELECT * FROM q) AS k" : "k");
}

static void discard_sql(struct buf *sql, const struct names *n)
{
    buf_printf(sql, "WITH k AS (DELETE FROM %s f", n->parked);
    where(sql, "topic");
    buf_printf(sql, heads);
    buf_printf(sql,
               " RETURNING f.*), o AS (DELETE FROM %s e USING k WHERE e.seq = k.seq AND e.id ="
               " k.id RETURNING e.seq, e.id, e.type), d AS (DELETE FROM %s f",
               n->table, n->dead);
    where(sql, "routed_topic");
    buf_printf(sql,
               " RETURNING f.*), a AS (SELECT 'parked' AS state, k.parked_at AS since, k.id,"
               " k.topic, k.aggregateid AS key, k.class, k.error, k.seq, %s FROM k LEFT JOIN o"
               " USING (seq, id) UNION ALL SELECT 'dead', died_at, id, routed_topic, aggregateid,"
               " class, error, seq, type FROM d), w AS (INSERT INTO %s (seq, id, topic,"
               " aggregateid, type, error, reason) SELECT seq, id, topic, key, type, error, $5"
               " FROM a ORDER BY seq)"
               " SELECT state, since, id, topic, key, class, error, seq FROM a"
               " ORDER BY state DESC, seq",
               n->queues ? "coalesce(k.type, o.type) AS type" : "o.type", n->discarded);
}

static void give(const PGresult *res, dead_row_fn row, void *arg)
{
    const char *names[COLUMNS_MAX];
    const char *values[COLUMNS_MAX];
    int n = PQnfields(res) < COLUMNS_MAX ? PQnfields(res) : COLUMNS_MAX;

    for (int i = 0; i < PQntuples(res); i++) {
        for (int c = 0; c < n; c++) {
            names[c] = PQfname(res, c);
            values[c] = PQgetisnull(res, i, c) ? NULL : PQgetvalue(res, i, c);
        }
        row(arg, n, names, values);
    }
}

/* What changes is told to a relay within the same transaction. */
static int carry_out(PGconn *conn, const struct dead_request *r, const struct names *n,
                     PGresult **ret, struct err *err)
{
    const char *values[] = {r->filter.id, r->filter.key, r->filter.topic, r->filter.error,
                            r->reason};
    const char *told[] = {n->channel};
    bool changes = !r->dry_run && (r->verb == DEAD_RETRY || r->verb == DEAD_DISCARD);
    struct buf sql = {0};
    PGresult *res = NULL;
    int rc;

    if (!changes)
        select_sql(&sql, r, n);
    else if (r->verb == DEAD_RETRY)
        retry_sql(&sql, n);
    else
        discard_sql(&sql, n);
    if (buf_cstr(&sql) == NULL)
        rc = err_set(err, ERR_NOMEM, "out of memory for a statement");
    else
        rc = run(conn, "BEGIN", 0, NULL, &res, err);
    PQclear(res);
    if (rc == 0)
        rc =
            run(conn, buf_cstr(&sql), changes && r->verb == DEAD_DISCARD ? 5 : 4, values, ret, err);
    buf_free(&sql);
    res = NULL;
    if (rc == 0 && changes)
        rc = run(conn, "SELECT pg_catalog.pg_notify($1, 'parked')", 1, told, &res, err);
    PQclear(res);
    res = NULL;
    if (rc == 0)
        rc = run(conn, "COMMIT", 0, NULL, &res, err);
    PQclear(res);
    return rc;
}

int dead_letters(const struct dead_request *r, dead_row_fn row, void *arg, struct err *err)
{
    const char *const keys[] = {"dbname", "fallback_application_name", "connect_timeout", NULL};
    const char *const values[] = {r->uri, "outbox-relay dead", "10", NULL};
    PGconn *conn = PQconnectdbParams(keys, values, 1);
    struct names names = {0};
    PGresult *res = NULL;
    int rc;

    if (conn == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (PQstatus(conn) != CONNECTION_OK)
        rc = pg_error_of_conn(err, conn);
    else
        rc = find_names(conn, r->table, &names, err);
    if (rc == 0)
        rc = carry_out(conn, r, &names, &res, err);
    if (rc == 0)
        give(res, row, arg);
    PQclear(res);
    free_names(&names);
    PQfinish(conn);
    return rc;
}
