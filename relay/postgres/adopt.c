#include "postgres/adopt.h"

#include "postgres/once.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

/* What is borrowed from the server's answers lives as long as these. */
struct looks {
    PGconn *conn;
    PGresult *table;
    PGresult *columns;
};

static bool yes(const PGresult *res, int row, int column)
{
    return PQgetvalue(res, row, column)[0] == 't';
}

/* ---- the table ---- */

enum table_field {
    TABLE_SCHEMA,
    TABLE_NAME,
    TABLE_QUOTED,
    TABLE_KIND,
    TABLE_VERSIONS, /* of its own, quoted; null: there is none */
    TABLE_LEASE,
    TABLE_DECODES,
    TABLE_PUBLICATION,
    TABLE_PUBLISHES,
    TABLE_SERVER,
};

static int look_at_table(struct looks *l, const struct adopt_request *r, struct adopt_table *ret,
                         struct err *err)
{
    static const char sql[] =
        "SELECT n.nspname, c.relname,"
        " pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind,"
        " (SELECT v.oid::pg_catalog.regclass FROM pg_catalog.pg_class v WHERE v.relnamespace = "
        "n.oid"
        "  AND v.relname = c.relname || '_schema_version'),"
        " (SELECT v.oid::pg_catalog.regclass FROM pg_catalog.pg_class v WHERE v.relnamespace = "
        "n.oid"
        "  AND v.relname = c.relname || '_lease'),"
        " pg_catalog.current_setting('wal_level') = 'logical',"
        " p.oid IS NOT NULL, coalesce(p.puballtables OR EXISTS (SELECT FROM"
        "  pg_catalog.pg_publication_tables t WHERE t.pubname = p.pubname AND t.schemaname ="
        "  n.nspname AND t.tablename = c.relname), false),"
        " pg_catalog.current_setting('server_version_num')"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_catalog.pg_publication p ON p.pubname = $2"
        " WHERE c.oid = pg_catalog.to_regclass($1)";
    const char *values[] = {r->table, r->publication};
    int rc = once_run(l->conn, sql, 2, values, &l->table, err);

    if (rc != 0)
        return rc;
    if (PQntuples(l->table) != 1)
        return err_set(err, ERR_CONFIG, "there is no table \"%s\": set source.table", r->table);
    ret->schema = PQgetvalue(l->table, 0, TABLE_SCHEMA);
    ret->name = PQgetvalue(l->table, 0, TABLE_NAME);
    ret->quoted = PQgetvalue(l->table, 0, TABLE_QUOTED);
    ret->decodes = yes(l->table, 0, TABLE_DECODES);
    ret->publication = yes(l->table, 0, TABLE_PUBLICATION);
    ret->publishes = yes(l->table, 0, TABLE_PUBLISHES);
    if (strtol(PQgetvalue(l->table, 0, TABLE_SERVER), NULL, 10) < 130000)
        return err_set(err, ERR_CONFIG, "the server is older than PostgreSQL 13");
    if (PQgetvalue(l->table, 0, TABLE_KIND)[0] != 'r')
        return err_set(err, ERR_CONFIG,
                       "%s is no plain table: adopt takes none that is partitioned, and no view",
                       ret->quoted);
    return 0;
}

static int look_at_columns(struct looks *l, struct adopt_table *ret, struct err *err)
{
    static const char sql[] =
        "SELECT attname, pg_catalog.format_type(atttypid, NULL) FROM pg_catalog.pg_attribute"
        " WHERE attrelid = $1::pg_catalog.regclass AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum";
    const char *values[] = {ret->quoted};
    int rc = once_run(l->conn, sql, 1, values, &l->columns, err);

    if (rc != 0)
        return rc;
    ret->ncolumns = (size_t)PQntuples(l->columns);
    ret->columns = calloc(ret->ncolumns + 1, sizeof *ret->columns);
    if (ret->columns == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (int i = 0; i < (int)ret->ncolumns; i++)
        ret->columns[i] =
            (struct adopt_column){PQgetvalue(l->columns, i, 0), PQgetvalue(l->columns, i, 1)};
    return 0;
}

static int look_at_version(struct looks *l, struct adopt_table *ret, struct err *err)
{
    struct buf sql = {0};
    PGresult *res = NULL;
    int rc;

    if (PQgetisnull(l->table, 0, TABLE_VERSIONS) || PQgetisnull(l->table, 0, TABLE_LEASE))
        return 0;
    buf_printf(&sql,
               "SELECT (SELECT pg_catalog.max(version) FROM %s), EXISTS (SELECT FROM %s WHERE slot"
               " IS NOT NULL OR confirmed_lsn IS NOT NULL)",
               PQgetvalue(l->table, 0, TABLE_VERSIONS), PQgetvalue(l->table, 0, TABLE_LEASE));
    if (buf_cstr(&sql) == NULL)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    else
        rc = once_run(l->conn, buf_cstr(&sql), 0, NULL, &res, err);
    buf_free(&sql);
    if (rc != 0)
        return rc;
    ret->version = (int)strtol(PQgetvalue(res, 0, 0), NULL, 10);
    ret->marked = yes(res, 0, 1);
    PQclear(res);
    return 0;
}

static int look_at_indexes(struct looks *l, struct adopt_table *ret, struct adopt_plan *plan,
                           struct err *err)
{
    static const char sql[] =
        "SELECT i.indisvalid, i.indpred IS NULL AND i.indkey[0] = (SELECT attnum FROM"
        "  pg_catalog.pg_attribute WHERE attrelid = i.indrelid AND attname = $2),"
        " i.indisprimary, c.relname = $3 || '_seq', c.relname = $3 || '_unpublished_seq',"
        " c.relname = $3 || '_unpublished_xid'"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indrelid = $1::pg_catalog.regclass";
    const char *values[] = {ret->quoted, plan->names[COLUMN_SEQ], ret->name};
    PGresult *res = NULL;
    int rc = once_run(l->conn, sql, 3, values, &res, err);

    if (rc != 0)
        return rc;
    for (int i = 0; i < PQntuples(res); i++) {
        bool valid = yes(res, i, 0);

        ret->indexed[ADOPT_SEQ] = ret->indexed[ADOPT_SEQ] || (valid && yes(res, i, 1));
        if (ret->version > 0 && plan->shape == ADOPT_DEBEZIUM && yes(res, i, 1) && yes(res, i, 2))
            plan->shape = ADOPT_OWN;
        for (enum adopt_index k = 0; k < ADOPT_INDEXES; k++)
            if (yes(res, i, 3 + (int)k)) {
                ret->indexed[k] = ret->indexed[k] || valid;
                ret->broken[k] = !valid;
            }
    }
    PQclear(res);
    return 0;
}

/* ---- the slot ---- */

enum slot_field {
    SLOT_NAME,
    SLOT_OURS, /* a logical one, of this database and plugin */
    SLOT_PID,
    SLOT_LSN,
    SLOT_STATUS,
    SLOT_MARK, /* the migration's end */
    SLOT_PASSED,
    SLOT_READ, /* the one that a relay reads already */
};

static int judge_slot(const PGresult *res, const struct adopt_table *table, const char *slot,
                      struct err *err)
{
    if (!PQgetisnull(res, 0, SLOT_READ))
        return err_set(err, ERR_CONFIG,
                       "the relay of table %s reads slot \"%s\" already: set source.slot to that",
                       table->quoted, PQgetvalue(res, 0, SLOT_READ));
    if (PQgetisnull(res, 0, SLOT_NAME))
        return err_set(err, ERR_CONFIG,
                       "there is no slot \"%s\": take slot.name of the connector's settings", slot);
    if (!yes(res, 0, SLOT_OURS))
        return err_set(err, ERR_CONFIG,
                       "slot \"%s\" is not of this database and of plugin pgoutput: events cannot "
                       "be read on from there. Set the connector's plugin.name to pgoutput first",
                       slot);
    if (strcmp(PQgetvalue(res, 0, SLOT_STATUS), "lost") == 0)
        return err_set(err, ERR_CONFIG, "slot \"%s\" has lost WAL: nobody can read on from there",
                       slot);
    if (PQgetisnull(res, 0, SLOT_MARK))
        return err_set(err, ERR_CONFIG,
                       "the migration has not been run to its end: outbox-relay adopt prints what "
                       "is missing");
    if (!PQgetisnull(res, 0, SLOT_PID))
        return err_set(err, ERR_UNAVAILABLE,
                       "slot \"%s\" is being read by process %s: stop Debezium first", slot,
                       PQgetvalue(res, 0, SLOT_PID));
    if (!yes(res, 0, SLOT_PASSED))
        return err_set(err, ERR_UNAVAILABLE,
                       "slot \"%s\" stands at %s, and the migration ended at %s: start Debezium "
                       "once more, and stop it when it has published an event from after that",
                       slot, PQgetvalue(res, 0, SLOT_LSN), PQgetvalue(res, 0, SLOT_MARK));
    return 0;
}

static int look_at_slot(struct looks *l, const struct adopt_table *table, const char *slot,
                        struct err *err)
{
    const char *values[] = {slot};
    struct buf sql = {0};
    PGresult *res = NULL;
    int rc;

    if (table->version == 0)
        return err_set(err, ERR_CONFIG,
                       "table %s is not adopted yet: run what outbox-relay adopt prints first",
                       table->quoted);
    buf_printf(&sql,
               "SELECT s.slot_name, coalesce(s.plugin = 'pgoutput' AND s.database ="
               " pg_catalog.current_database(), false), s.active_pid, s.confirmed_flush_lsn,"
               " s.wal_status, l.confirmed_lsn, s.confirmed_flush_lsn >= l.confirmed_lsn, l.slot"
               " FROM %s l LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $1"
               " WHERE l.shard = 0",
               PQgetvalue(l->table, 0, TABLE_LEASE));
    if (buf_cstr(&sql) == NULL)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    else
        rc = once_run(l->conn, buf_cstr(&sql), 1, values, &res, err);
    if (rc == 0 && PQntuples(res) != 1)
        rc = err_set(err, ERR_CONFIG, "the lease of table %s has no row", table->quoted);
    else if (rc == 0)
        rc = judge_slot(res, table, slot, err);
    buf_free(&sql);
    PQclear(res);
    return rc;
}

/* ---- the command ---- */

int adopt(const struct adopt_request *r, adopt_text_fn text, struct buf *sql,
          struct adopt_plan *ret_plan, struct err *err)
{
    struct looks looks = {0};
    struct adopt_table table = {0};
    int rc = once_open(&looks.conn, r->uri, "outbox-relay adopt", err);

    if (rc == 0)
        rc = look_at_table(&looks, r, &table, err);
    if (rc == 0)
        rc = look_at_columns(&looks, &table, err);
    if (rc == 0)
        rc = look_at_version(&looks, &table, err);
    if (rc == 0)
        rc = adopt_plan(ret_plan, &table, r, err);
    if (rc == 0)
        rc = look_at_indexes(&looks, &table, ret_plan, err);
    if (rc == 0 && r->slot != NULL)
        rc = look_at_slot(&looks, &table, r->slot, err);
    if (rc == 0)
        rc = text(sql, &table, ret_plan, r, err);
    free(table.columns);
    PQclear(looks.columns);
    PQclear(looks.table);
    PQfinish(looks.conn);
    return rc;
}
