#include "postgres/dead_letters.h"

#include "base/buf.h"
#include "postgres/columns_sql.h"
#include "postgres/once.h"
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
    bool queues;           /* parked may hold the events themselves */
    char *rows;            /* of the table, under the schema's own names */
    struct pg_facts facts; /* of it, but for rights */
};

static void free_names(struct names *n)
{
    free(n->table);
    free(n->parked);
    free(n->dead);
    free(n->discarded);
    free(n->channel);
    free(n->rows);
}

/* By the guard of the outbox, of an event that is no better than it was. The guard names a column,
 * which a CHECK does not, whose detail would be the row. */
static bool is_refused(const PGresult *res)
{
    return pg_error_is(res, PG_CHECK_VIOLATION) &&
           PQresultErrorField(res, PG_DIAG_COLUMN_NAME) != NULL &&
           PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL) != NULL;
}

/* What may write an event once more. */
static int run_verb(PGconn *conn, const char *sql, int n, const char *const *values, PGresult **ret,
                    struct err *err)
{
    PGresult *res = PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0);
    int rc;

    if (!is_refused(res))
        return once_result(conn, res, ret, err);
    *ret = NULL;
    rc = err_set(err, ERR_ROW, "%s. %s Nothing is retried: correct it, or retry the others",
                 PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY),
                 PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL));
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
    int rc = once_run(conn, sql, 1, &table, &res, err);

    if (rc != 0)
        return rc;
    if (PQntuples(res) != 1) {
        rc = err_set(err, ERR_CONFIG, "there is no table \"%s\": set source.table", table);
    } else if (PQgetvalue(res, 0, 5)[0] != '3') {
        rc = err_set(err, ERR_CONFIG,
                     "table %s has no tables for parked and dead events beside it: install them "
                     "with outbox-relay schema print --from 1 --source-table %s | psql -X -v "
                     "ON_ERROR_STOP=1",
                     PQgetvalue(res, 0, 0), table);
    } else {
        *ret = (struct names){.table = copy(res, 0),
                              .parked = copy(res, 1),
                              .dead = copy(res, 2),
                              .discarded = copy(res, 3),
                              .channel = copy(res, 4),
                              .queues = PQgetvalue(res, 0, 6)[0] == 't'};
        if (ret->table == NULL || ret->parked == NULL || ret->dead == NULL ||
            ret->discarded == NULL || ret->channel == NULL)
            rc = err_set(err, ERR_NOMEM, "out of memory");
    }
    PQclear(res);
    return rc;
}

static int find_columns(PGconn *conn, const struct dead_request *r, struct names *n,
                        struct err *err)
{
    struct pg_inspect_options options = {.table = r->table, .columns = r->columns};
    const char *values[PG_INSPECT_PARAMETERS];
    struct buf rows = {0};
    PGresult *res;
    int rc;

    pg_inspect_parameters(&options, values);
    rc = once_run(conn, pg_inspect_sql(), PG_INSPECT_PARAMETERS, values, &res, err);
    if (rc == 0)
        rc = pg_inspect_columns(&n->facts, res, &options, err);
    PQclear(res);
    if (rc != 0)
        return rc;
    columns_rows(&rows, &n->facts);
    n->rows = buf_cstr(&rows) == NULL ? NULL : strdup(buf_cstr(&rows));
    buf_free(&rows);
    return n->rows == NULL ? err_set(err, ERR_NOMEM, "out of memory") : 0;
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
               " SELECT %s FROM %s AS o WHERE (seq, id) IN (SELECT seq, id FROM %s WHERE"
               " aggregatetype IS NULL)) ",
               columns, n->parked, columns, n->rows, n->parked);
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
               more, most, n->parked, n->queues ? "events" : n->rows);
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

/* A table of another shape may have each id once, and where rows are marked it still has that of an
 * event that died in a stream: it goes before the event comes again. */
static void replaced(struct buf *sql, const struct names *n)
{
    const struct column_name *names = n->facts.columns->names;

    buf_printf(sql,
               "x AS (DELETE FROM %s e USING d WHERE e.%s = d.seq AND e.%s = d.id AND e.%s IS NOT"
               " NULL RETURNING 1), ",
               n->table, names[COLUMN_SEQ].quoted, names[COLUMN_ID].quoted,
               names[COLUMN_PUBLISHED_AT].quoted);
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
    buf_printf(sql, " AND (SELECT ");
    columns_lost(sql, &n->facts);
    buf_printf(sql, " FROM (SELECT f.*) AS d) IS NULL RETURNING f.*), ");
    if (!n->facts.plain)
        replaced(sql, n);
    buf_printf(sql, "i AS (INSERT INTO %s ", n->table);
    columns_insert(sql, &n->facts);
    buf_printf(sql,
               " FROM d%s ORDER BY seq)"
               " SELECT 'parked' AS state, parked_at AS since, id, topic, aggregateid AS key,"
               " class, error, seq FROM %s UNION ALL SELECT 'dead', died_at, id, routed_topic,"
               " aggregateid, class, error, seq FROM d ORDER BY 1 DESC, seq",
               n->facts.plain ? "" : ", (SELECT pg_catalog.count(*) FROM x) AS x",
               n->queues ? "(SELECT * FROM k UNION ALL SELECT * FROM q) AS k" : "k");
}

/* Those that the table cannot hold, of which there must not be any. */
static void lost_sql(struct buf *sql, const struct names *n)
{
    buf_printf(sql, "SELECT id, lost FROM (SELECT d.seq, d.id, ");
    columns_lost(sql, &n->facts);
    buf_printf(sql, " AS lost FROM (SELECT * FROM %s f", n->dead);
    where(sql, "routed_topic");
    buf_printf(sql, ") AS d) AS d WHERE lost IS NOT NULL ORDER BY seq LIMIT 1");
}

static void discard_sql(struct buf *sql, const struct names *n)
{
    const char *seq = n->facts.columns->names[COLUMN_SEQ].quoted;
    const char *id = n->facts.columns->names[COLUMN_ID].quoted;
    const char *type = n->facts.columns->names[COLUMN_TYPE].quoted;

    buf_printf(sql, "WITH k AS (DELETE FROM %s f", n->parked);
    where(sql, "topic");
    buf_printf(sql, heads);
    buf_printf(sql,
               " RETURNING f.*), o AS (DELETE FROM %s e USING k WHERE e.%s = k.seq AND e.%s ="
               " k.id RETURNING e.%s AS seq, e.%s AS id, %s%s AS type), d AS (DELETE FROM %s f",
               n->table, seq, id, seq, id, *type != '\0' ? "e." : "NULL::text", type, n->dead);
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

static int refuse_lost(PGconn *conn, const struct names *n, const char *const *values,
                       struct err *err)
{
    struct buf sql = {0};
    PGresult *res = NULL;
    int rc;

    lost_sql(&sql, n);
    if (buf_cstr(&sql) == NULL)
        rc = err_set(err, ERR_NOMEM, "out of memory for a statement");
    else
        rc = once_run(conn, buf_cstr(&sql), 4, values, &res, err);
    buf_free(&sql);
    if (rc == 0 && PQntuples(res) > 0)
        rc = err_set(err, ERR_CONFIG,
                     "event %s has a value of \"%s\" that table %s has no column for, so it cannot "
                     "be written there again, and none was: add the column and set columns.%s, or "
                     "take the value out of %s",
                     PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1), n->table, PQgetvalue(res, 0, 1),
                     n->dead);
    PQclear(res);
    return rc;
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
        rc = once_run(conn, "BEGIN", 0, NULL, &res, err);
    PQclear(res);
    if (rc == 0 && changes && r->verb == DEAD_RETRY)
        rc = refuse_lost(conn, n, values, err);
    if (rc == 0)
        rc = run_verb(conn, buf_cstr(&sql), changes && r->verb == DEAD_DISCARD ? 5 : 4, values, ret,
                      err);
    buf_free(&sql);
    res = NULL;
    if (rc == 0 && changes)
        rc = once_run(conn, "SELECT pg_catalog.pg_notify($1, 'parked')", 1, told, &res, err);
    PQclear(res);
    res = NULL;
    if (rc == 0)
        rc = once_run(conn, "COMMIT", 0, NULL, &res, err);
    PQclear(res);
    return rc;
}

int dead_letters(const struct dead_request *r, dead_row_fn row, void *arg, struct err *err)
{
    struct names names = {0};
    PGresult *res = NULL;
    PGconn *conn;
    int rc = once_open(&conn, r->uri, "outbox-relay dead", err);

    if (rc == 0)
        rc = find_names(conn, r->table, &names, err);
    if (rc == 0)
        rc = find_columns(conn, r, &names, err);
    if (rc == 0)
        rc = carry_out(conn, r, &names, &res, err);
    if (rc == 0)
        give(res, row, arg);
    PQclear(res);
    free_names(&names);
    PQfinish(conn);
    return rc;
}
