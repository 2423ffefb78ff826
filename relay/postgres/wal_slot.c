#include "postgres/wal_slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t lock_timeout_ms = 5000;
/* With every fifth asking for the gauges it is looked whether the publication is still fit: what it
 * leaves out is not streamed, and nothing else tells. */
static const uint32_t gauges_a_look = 5;

struct wal_slot {
    struct pg_conn *conn;
    struct wal_slot_options options;
    const struct pg_facts *facts;
    uint64_t blocked;
    uint64_t oldest;
    char session[48];
    char name[64];
    bool up;
    bool ready;
    uint32_t gauges; /* since then */
    bool asking;
    bool failed;
    struct wal_slot_callbacks callbacks;
    void *arg;
    bool closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void fail(struct wal_slot *s, const struct err *why)
{
    if (s->failed || s->closing)
        return;
    s->failed = true;
    s->callbacks.on_failed(s->arg, why);
}

/* Sends what was printed to sql, and frees it. */
static void query(struct wal_slot *s, struct buf *sql, const struct pg_params *params,
                  pg_result_fn done)
{
    struct err err;

    if (buf_cstr(sql) != NULL) {
        pg_conn_query(s->conn, buf_cstr(sql), params, 0, done, s);
    } else {
        (void)err_set(&err, ERR_NOMEM, "out of memory for a statement");
        fail(s, &err);
    }
    buf_free(sql);
}

/* ---- whether, and the publication ---- */

enum look {
    LOOK_WAL_LEVEL,
    LOOK_SENDERS,
    LOOK_SLOTS,
    LOOK_REPLICATION,
    LOOK_PUBLICATION,
    LOOK_INSERTS,
    LOOK_TABLE,
    LOOK_FILTER,
    LOOK_MAY_PUBLISH,
    LOOK_OLDEST,
    LOOK_SYSTEM,
    LOOK_TIMELINE,
    LOOK_COUNT,
};

static const char *looked(const PGresult *res, enum look column)
{
    return PQgetvalue(res, 0, (int)column);
}

static bool is_true(const PGresult *res, enum look column)
{
    return looked(res, column)[0] == 't';
}

static int check_server(struct wal_slot *s, const PGresult *res, struct err *err)
{
    if (strcmp(looked(res, LOOK_WAL_LEVEL), "logical") != 0)
        return err_set(err, ERR_CONFIG,
                       "wal_level is %s: ALTER SYSTEM SET wal_level = 'logical', and restart the "
                       "server",
                       looked(res, LOOK_WAL_LEVEL));
    if (strcmp(looked(res, LOOK_SENDERS), "0") == 0 || strcmp(looked(res, LOOK_SLOTS), "0") == 0)
        return err_set(err, ERR_CONFIG,
                       "max_wal_senders or max_replication_slots is 0: ALTER SYSTEM SET "
                       "max_wal_senders = 10; ALTER SYSTEM SET max_replication_slots = 10, and "
                       "restart the server");
    if (!is_true(res, LOOK_REPLICATION))
        return err_set(err, ERR_PERMISSION,
                       "role \"%s\" may not replicate: ALTER ROLE \"%s\" REPLICATION",
                       s->facts->user, s->facts->user);
    return 0;
}

static int check_identity(struct wal_slot *s, const PGresult *res, struct err *err)
{
    struct pg_identity identity;

    pg_identity_read(&identity, res, LOOK_SYSTEM);
    if (pg_identity_equal(&identity, &s->facts->identity))
        return 0;
    return err_set(err, ERR_UNAVAILABLE,
                   "it leads to another server than the table is read from, or to another timeline "
                   "of it (a fail-over?)");
}

static int check_publication(struct wal_slot *s, const PGresult *res, struct err *err)
{
    const char *name = s->options.publication;
    const char *table = s->facts->table;

    if (PQgetisnull(res, 0, LOOK_PUBLICATION)) {
        if (is_true(res, LOOK_MAY_PUBLISH))
            return 0; /* it is made */
        return err_set(err, ERR_PERMISSION,
                       "there is no publication \"%s\", and role \"%s\" may not make it: as the "
                       "owner of the table, CREATE PUBLICATION \"%s\" FOR TABLE %s WITH (publish = "
                       "'insert, truncate')",
                       name, s->facts->user, name, table);
    }
    if (!is_true(res, LOOK_INSERTS))
        return err_set(err, ERR_CONFIG,
                       "publication \"%s\" leaves inserts out: ALTER PUBLICATION \"%s\" SET "
                       "(publish = 'insert, truncate')",
                       name, name);
    if (!is_true(res, LOOK_TABLE))
        return err_set(err, ERR_CONFIG,
                       "publication \"%s\" does not have %s: ALTER PUBLICATION \"%s\" ADD TABLE %s",
                       name, table, name, table);
    if (is_true(res, LOOK_FILTER))
        return err_set(err, ERR_CONFIG,
                       "publication \"%s\" filters rows or columns of %s, and would lose events: "
                       "ALTER PUBLICATION \"%s\" DROP TABLE %s; ALTER PUBLICATION \"%s\" ADD TABLE "
                       "%s",
                       name, table, name, table, name, table);
    return 0;
}

/* Of a killed relay's, on this outbox: one that was making its slot would stay, and hold WAL. */
static void cleared(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;

    (void)res;
    if (why != NULL) {
        fail(s, why);
    } else if (!s->closing) {
        s->ready = true;
        s->callbacks.on_ready(s->arg);
    }
}

static void clear(struct wal_slot *s)
{
    const char *values[] = {s->session};
    struct pg_params params = {.n = 1, .values = values};
    struct buf sql = {0};

    buf_printf(&sql, "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
                     " WHERE backend_type = 'walsender' AND application_name = $1"
                     " AND datname = pg_catalog.current_database() AND usename = CURRENT_USER");
    query(s, &sql, &params, cleared);
}

static void published(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;

    (void)res;
    if (why != NULL)
        fail(s, why);
    else
        clear(s);
}

static void publish(struct wal_slot *s)
{
    struct buf sql = {0};

    buf_printf(&sql, "CREATE PUBLICATION \"");
    for (const char *c = s->options.publication; *c != '\0'; c++)
        buf_printf(&sql, *c == '"' ? "\"\"" : "%c", *c);
    buf_printf(&sql, "\" FOR TABLE %s WITH (publish = 'insert, truncate')", s->facts->table);
    query(s, &sql, NULL, published);
}

static void looked_at(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;
    struct err err;
    int rc;

    if (s->closing)
        return;
    if (s->ready) { /* that it could not look is no reason to give up what flows */
        if (why == NULL && check_publication(s, res, &err) != 0)
            fail(s, &err);
        return;
    }
    if (why != NULL) {
        fail(s, why);
        return;
    }
    s->oldest = strtoull(looked(res, LOOK_OLDEST), NULL, 10);
    rc = check_server(s, res, &err);
    if (rc == 0)
        rc = check_identity(s, res, &err);
    if (rc == 0 && s->blocked != 0 && s->oldest <= s->blocked)
        rc = err_set(&err, ERR_UNAVAILABLE,
                     "transaction %" PRIu64 " is still open, which the last slot waited for until "
                     "it held back too much WAL",
                     s->oldest);
    if (rc == 0)
        rc = check_publication(s, res, &err);
    if (rc != 0)
        fail(s, &err);
    else if (s->options.look_only)
        s->callbacks.on_ready(s->arg);
    else if (PQgetisnull(res, 0, LOOK_PUBLICATION))
        publish(s);
    else
        clear(s);
}

static void look(struct wal_slot *s)
{
    const char *values[] = {s->options.publication, s->facts->table};
    struct pg_params params = {.n = 2, .values = values};
    struct buf sql = {0};
    bool filters = s->facts->server_version >= 150000;

    buf_printf(
        &sql,
        "SELECT pg_catalog.current_setting('wal_level'),"
        " pg_catalog.current_setting('max_wal_senders'),"
        " pg_catalog.current_setting('max_replication_slots'),"
        " (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = "
        "CURRENT_USER),"
        " p.pubname, p.pubinsert,"
        " p.puballtables OR EXISTS (SELECT FROM pg_catalog.pg_publication_tables t"
        "  WHERE t.pubname = p.pubname"
        "  AND pg_catalog.format('%%I.%%I', t.schemaname, t.tablename) = $2),"
        " %s, pg_catalog.pg_has_role(c.relowner, 'USAGE') AND pg_catalog.has_database_privilege("
        "  pg_catalog.current_database(), 'CREATE'),"
        " pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), s.*"
        " FROM (%s) AS s CROSS JOIN pg_catalog.pg_class c"
        " LEFT JOIN pg_catalog.pg_publication p ON p.pubname = $1 WHERE c.oid = $2::regclass",
        filters ? "EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid"
                  "  AND r.prrelid = c.oid AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL))"
                : "false",
        pg_identity_sql());
    query(s, &sql, &params, looked_at);
}

static void session_set(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;

    (void)res;
    if (why != NULL)
        fail(s, why);
    else
        look(s);
}

/* ---- the snapshot ---- */

static void begun(void *arg, const PGresult *res, const struct err *why)
{
    (void)arg;
    (void)res;
    (void)why; /* then the snapshot itself cannot be read, and says so */
}

static void set_snapshot(void *arg, const PGresult *res, const struct err *why)
{
    (void)res;
    if (why != NULL)
        fail(arg, why);
}

static void imported(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;
    struct err err;

    if (s->closing || s->failed)
        return;
    if (why == NULL && (PQntuples(res) != 1 || PQnfields(res) != 1)) {
        (void)err_set(&err, ERR_PROTOCOL, "the slot's snapshot could not be read");
        why = &err;
    }
    if (why != NULL)
        fail(s, why);
    else
        s->callbacks.on_snapshot(s->arg, PQgetvalue(res, 0, 0), (size_t)PQgetlength(res, 0, 0));
}

void wal_slot_import(struct wal_slot *s, const char *exported)
{
    struct buf sql = {0};

    if (!s->up || s->closing)
        return;
    pg_conn_query(s->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, 0, begun, s);
    /* The name is the server's: hex digits and dashes. */
    buf_printf(&sql, "SET TRANSACTION SNAPSHOT '%s'", exported);
    query(s, &sql, NULL, set_snapshot);
    pg_conn_query(s->conn, "SELECT pg_catalog.pg_current_snapshot()", NULL, 0, imported, s);
    pg_conn_query(s->conn, "ROLLBACK", NULL, 0, begun, s);
}

/* ---- gauges ---- */

static void gauged(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_slot *s = arg;
    struct wal_gauges gauges = {0};

    s->asking = false;
    if (why != NULL || s->closing || PQntuples(res) != 1)
        return;
    gauges.retained = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    gauges.behind = strtoll(PQgetvalue(res, 0, 1), NULL, 10);
    s->oldest = strtoull(PQgetvalue(res, 0, 2), NULL, 10);
    (void)snprintf(gauges.blocker, sizeof gauges.blocker, "%s", PQgetvalue(res, 0, 3));
    if (s->ready && ++s->gauges % gauges_a_look == 0)
        look(s);
    s->callbacks.on_gauges(s->arg, &gauges);
}

void wal_slot_ask_gauges(struct wal_slot *s)
{
    const char *values[] = {s->name};
    struct pg_params params = {.n = 1, .values = values};
    struct buf sql = {0};

    if (!s->up || s->asking || s->closing)
        return;
    s->asking = true;
    /* A prepared transaction has no process; of others' sessions a plain role sees no xid. */
    buf_printf(
        &sql,
        "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.restart_lsn)::bigint,"
        " pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(),"
        "  r.confirmed_flush_lsn)::bigint,"
        " x.xmin, coalesce((SELECT pg_catalog.format('prepared transaction %%L of %%s', gid, "
        "prepared)"
        "  FROM pg_catalog.pg_prepared_xacts WHERE transaction = x.xmin::xid"
        "  LIMIT 1), (SELECT pg_catalog.format('process %%s (%%s), in a transaction since %%s', "
        "pid,"
        "   application_name, xact_start) FROM pg_catalog.pg_stat_activity"
        "  WHERE backend_xid = x.xmin::xid LIMIT 1),"
        "  pg_catalog.format('transaction %%s', x.xmin))"
        " FROM (SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) AS xmin) AS x"
        " LEFT JOIN pg_catalog.pg_replication_slots r ON r.slot_name = $1");
    query(s, &sql, &params, gauged);
}

uint64_t wal_slot_oldest(const struct wal_slot *s)
{
    return s->oldest;
}

/* ---- life ---- */

static void conn_up(void *arg)
{
    struct wal_slot *s = arg;
    struct buf sql = {0};

    s->up = true;
    pg_session_sql(&sql, lock_timeout_ms);
    query(s, &sql, NULL, session_set);
}

static void conn_closed(void *arg)
{
    struct wal_slot *s = arg;

    s->on_closed(s->closed_arg);
    free(s);
}

static void close_conn(struct wal_slot *s)
{
    struct pg_conn *conn = s->conn;

    s->conn = NULL;
    if (conn != NULL)
        pg_conn_close(conn, conn_closed, s);
}

static void conn_lost(void *arg, bool was_up, const struct err *why)
{
    struct wal_slot *s = arg;

    (void)was_up;
    s->up = false;
    s->asking = false;
    if (s->closing)
        close_conn(s);
    else
        fail(s, why);
}

static void terminated(void *arg, const PGresult *res, const struct err *why)
{
    (void)res;
    (void)why;
    close_conn(arg);
}

const char *wal_slot_session(const struct wal_slot *s)
{
    return s->session;
}

const char *wal_slot_name(const struct wal_slot *s)
{
    return s->name;
}

int wal_slot_open(struct wal_slot **ret, uv_loop_t *loop, const struct wal_slot_options *options,
                  const struct pg_facts *facts, uint64_t blocked,
                  const struct wal_slot_callbacks *callbacks, void *arg, struct err *err)
{
    static const struct pg_conn_callbacks on = {conn_up, conn_lost, NULL};
    struct pg_conn_options conn = {
        .uri = options->uri,
        .name = "slot",
        .pipeline = true,
        .ping_interval_ms = 5000,
        .timeout_ms = options->timeout_ms,
        .seed = options->seed,
    };
    struct wal_slot *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for a slot");
    s->options = *options;
    s->facts = facts;
    s->blocked = blocked;
    s->callbacks = *callbacks;
    s->arg = arg;
    (void)snprintf(s->session, sizeof s->session, "outbox-relay wal %" PRIu32, facts->oid);
    (void)snprintf(s->name, sizeof s->name, "outbox_relay_%" PRIu32 "_%08" PRIx32, facts->oid,
                   (uint32_t)(options->seed ^ options->seed >> 32));
    rc = pg_conn_open(&s->conn, loop, &conn, &on, s, err);
    if (rc != 0) {
        free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void wal_slot_close(struct wal_slot *s, int walsender, void (*on_closed)(void *arg), void *arg)
{
    char pid[16];
    const char *values[] = {pid};
    struct pg_params params = {.n = 1, .values = values};

    if (s == NULL) {
        on_closed(arg);
        return;
    }
    s->closing = true;
    s->on_closed = on_closed;
    s->closed_arg = arg;
    if (walsender == 0 || !s->up) {
        close_conn(s);
        return;
    }
    (void)snprintf(pid, sizeof pid, "%d", walsender);
    pg_conn_query(s->conn, "SELECT pg_catalog.pg_terminate_backend($1::integer)", &params, 2000,
                  terminated, s);
}
