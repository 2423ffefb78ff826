#include "postgres/inspect.h"

#include "postgres/inspect_columns.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum column {
    COL_OID,
    COL_TABLE,
    COL_SCHEMA,
    COL_NAME,
    COL_KIND,
    COL_ROW_SECURITY,
    COL_SELECT,
    COL_DELETE,
    COL_INSERT,
    COL_UPDATE,
    COL_COLUMNS,
    COL_CACHE,
    COL_SEQUENCE,
    COL_LEASE_OID,
    COL_LEASE,
    COL_LEASE_SELECT,
    COL_LEASE_UPDATE,
    COL_PARKED, /* null: there is none */
    COL_PARKED_RIGHTS,
    COL_PARKED_UPDATE,
    COL_PARKED_PLACE, /* it has the columns of version 3 */
    COL_DEAD,
    COL_DEAD_RIGHTS,
    COL_VERSION,
    COL_STANDBY,
    COL_USER,
    COL_DATABASE,
    COL_SYSTEM,
    COL_TIMELINE,
    COL_PREPARED,
    COL_NOTIFY,
    COL_SEARCH_PATH,
    COL_HIDDEN, /* the schema, quoted, that has the table and may not be used */
    COL_FORMER, /* the partition that was the table itself */
    COL_COUNT,
};

/* The timeline out of the name of the WAL file that is being written: pg_control_checkpoint() would
 * tell of the last checkpoint, which a promotion does not wait for. */
#define IDENTITY                                                                                   \
    "(SELECT system_identifier FROM pg_catalog.pg_control_system()),"                              \
    " CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE pg_catalog.substr("                  \
    "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END"

const char *pg_identity_sql(void)
{
    return "SELECT " IDENTITY;
}

void pg_identity_read(struct pg_identity *ret, const PGresult *res, int column)
{
    ret->system_identifier = strtoull(PQgetvalue(res, 0, column), NULL, 10);
    ret->timeline = (uint32_t)strtoul(PQgetvalue(res, 0, column + 1), NULL, 16);
}

bool pg_identity_equal(const struct pg_identity *a, const struct pg_identity *b)
{
    return a->system_identifier == b->system_identifier && a->timeline == b->timeline;
}

const char *pg_inspect_sql(void)
{
    /* format() refuses a null identifier, and to_regclass() a schema that may not be used: OFFSET 0
     * keeps the planner from trying it beforehand. */
    return "SELECT c.oid, CASE WHEN c.oid IS NOT NULL THEN"
           " pg_catalog.format('%I.%I', n.nspname, c.relname) END, n.nspname, c.relname,"
           " c.relkind, pg_catalog.row_security_active(c.oid),"
           " pg_catalog.has_table_privilege(c.oid, 'SELECT'),"
           " pg_catalog.has_table_privilege(c.oid, 'DELETE'),"
           " pg_catalog.has_table_privilege(c.oid, 'INSERT'),"
           " (SELECT pg_catalog.has_column_privilege(c.oid, a.attnum, 'UPDATE')"
           "  FROM pg_catalog.pg_attribute a"
           "  WHERE a.attrelid = c.oid AND a.attname = $2::text AND NOT a.attisdropped),"
           " " INSPECT_COLUMNS_SQL ","
           " q.seqcache, q.name,"
           " l.oid, CASE WHEN c.oid IS NOT NULL THEN"
           " pg_catalog.format('%I.%I', n.nspname, c.relname || '_lease') END,"
           " pg_catalog.has_table_privilege(l.oid, 'SELECT'),"
           " pg_catalog.has_table_privilege(l.oid, 'UPDATE'),"
           " CASE WHEN k.oid IS NOT NULL THEN"
           "  pg_catalog.format('%I.%I', n.nspname, c.relname || '_parked') END,"
           " pg_catalog.has_table_privilege(k.oid, 'SELECT') AND"
           "  pg_catalog.has_table_privilege(k.oid, 'INSERT') AND"
           "  pg_catalog.has_table_privilege(k.oid, 'DELETE'),"
           " pg_catalog.has_table_privilege(k.oid, 'UPDATE'), EXISTS (SELECT FROM"
           "  pg_catalog.pg_attribute p WHERE p.attrelid = k.oid AND p.attname = 'place'),"
           " CASE WHEN d.oid IS NOT NULL THEN"
           "  pg_catalog.format('%I.%I', n.nspname, c.relname || '_dead') END,"
           " pg_catalog.has_table_privilege(d.oid, 'SELECT') AND"
           "  pg_catalog.has_table_privilege(d.oid, 'INSERT'),"
           " pg_catalog.current_setting('server_version_num'), pg_catalog.pg_is_in_recovery(),"
           " CURRENT_USER, pg_catalog.current_database(),"
           " " IDENTITY ","
           " pg_catalog.current_setting('max_prepared_transactions'),"
           " pg_catalog.current_setting('outbox_relay.notify', true),"
           " pg_catalog.current_setting('search_path'),"
           " (SELECT pg_catalog.quote_ident(h.nspname) FROM pg_catalog.pg_namespace h"
           "  JOIN pg_catalog.pg_class t ON t.relnamespace = h.oid"
           "  WHERE NOT pg_catalog.has_schema_privilege(h.oid, 'USAGE')"
           "   AND t.relname = i.name[pg_catalog.cardinality(i.name)]"
           "   AND CASE WHEN pg_catalog.cardinality(i.name) > 1 THEN h.nspname = i.name[1]"
           "    ELSE h.nspname = CURRENT_USER OR pg_catalog.quote_ident(h.nspname) = ANY("
           "     pg_catalog.regexp_split_to_array("
           "      pg_catalog.current_setting('search_path'), ' *, *')) END"
           "  LIMIT 1),"
           " (SELECT b.oid FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class b"
           "  ON b.oid = h.inhrelid"
           "  WHERE h.inhparent = c.oid AND b.relname = c.relname || '_before')"
           " FROM (SELECT $1::text AS raw, pg_catalog.parse_ident($1) AS name OFFSET 0) i"
           " CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.cardinality(i.name) = 1 OR"
           "  (SELECT pg_catalog.has_schema_privilege(u.oid, 'USAGE')"
           "   FROM pg_catalog.pg_namespace u WHERE u.nspname = i.name[1])"
           "  THEN pg_catalog.to_regclass(i.raw) END AS oid) r"
           " LEFT JOIN pg_catalog.pg_class c ON c.oid = r.oid"
           " LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
           " LEFT JOIN pg_catalog.pg_class l ON l.relnamespace = c.relnamespace"
           "  AND l.relname = c.relname || '_lease'"
           " LEFT JOIN pg_catalog.pg_class k ON k.relnamespace = c.relnamespace"
           "  AND k.relname = c.relname || '_parked'"
           " LEFT JOIN pg_catalog.pg_class d ON d.relnamespace = c.relnamespace"
           "  AND d.relname = c.relname || '_dead'"
           " LEFT JOIN LATERAL (SELECT s.seqcache,"
           "   pg_catalog.format('%I.%I', sn.nspname, sc.relname) AS name"
           "  FROM pg_catalog.pg_sequence s"
           "  JOIN pg_catalog.pg_class sc ON sc.oid = s.seqrelid"
           "  JOIN pg_catalog.pg_namespace sn ON sn.oid = sc.relnamespace"
           "  JOIN pg_catalog.pg_depend d ON d.objid = s.seqrelid AND d.refobjid = c.oid"
           "  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid"
           "   AND a.attname = $3::text"
           "  ORDER BY s.seqcache DESC LIMIT 1) q ON true";
}

void pg_inspect_parameters(const struct pg_inspect_options *options,
                           const char *ret[PG_INSPECT_PARAMETERS])
{
    ret[0] = options->table;
    ret[1] = options->columns->names[COLUMN_PUBLISHED_AT].text;
    ret[2] = options->columns->names[COLUMN_SEQ].text;
}

static const char *value(const PGresult *res, enum column column)
{
    return PQgetisnull(res, 0, (int)column) ? NULL : PQgetvalue(res, 0, (int)column);
}

static bool yes(const PGresult *res, enum column column)
{
    const char *v = value(res, column);

    return v != NULL && v[0] == 't';
}

/* There is no table that the role can see. */
static int table_missing(const PGresult *res, const struct pg_inspect_options *options,
                         struct err *err)
{
    const char *schema = value(res, COL_HIDDEN);
    const char *user = value(res, COL_USER);

    if (schema != NULL)
        return err_set(
            err, ERR_PERMISSION,
            "role \"%s\" may not use schema %s, which table \"%s\" is in: GRANT USAGE ON "
            "SCHEMA %s TO \"%s\"",
            user, schema, options->table, schema, user);
    return err_set(err, ERR_CONFIG,
                   "there is no table \"%s\" in database \"%s\" (search_path %s): install it "
                   "with psql -f schema/migrations/0001_outbox.up.sql -f "
                   "schema/migrations/0002_failures.up.sql -f "
                   "schema/migrations/0003_parked_events.up.sql, or set source.table",
                   options->table, value(res, COL_DATABASE), value(res, COL_SEARCH_PATH));
}

static int check_table(struct pg_facts *ret, const PGresult *res,
                       const struct pg_inspect_options *options, struct err *err)
{
    const char *kind = value(res, COL_KIND);
    const char *cache = value(res, COL_CACHE);
    int rc;

    if (value(res, COL_OID) == NULL)
        return table_missing(res, options, err);
    if (kind[0] != 'r' && kind[0] != 'p')
        return err_set(
            err, ERR_CONFIG,
            "%s is no table: set source.table to the table that the services insert into",
            value(res, COL_TABLE));
    rc =
        inspect_columns(ret, options->columns, value(res, COL_COLUMNS), value(res, COL_TABLE), err);
    if (rc == 0 && options->buries && options->copies)
        rc = inspect_copies(options->columns, value(res, COL_COLUMNS), value(res, COL_TABLE), err);
    if (rc != 0)
        return rc;
    if (yes(res, COL_ROW_SECURITY))
        return err_set(err, ERR_CONFIG,
                       "row-level security of table %s applies to role \"%s\" and would hide "
                       "events: ALTER ROLE \"%s\" BYPASSRLS, or ALTER TABLE %s DISABLE ROW LEVEL "
                       "SECURITY",
                       value(res, COL_TABLE), value(res, COL_USER), value(res, COL_USER),
                       value(res, COL_TABLE));
    if (cache != NULL && strcmp(cache, "1") != 0)
        return err_set(err, ERR_CONFIG,
                       "the sequence of %s.%s has CACHE %s, which hands out numbers out of order: "
                       "ALTER SEQUENCE %s CACHE 1",
                       value(res, COL_TABLE), options->columns->names[COLUMN_SEQ].quoted, cache,
                       value(res, COL_SEQUENCE));
    return 0;
}

static int lease_missing(const PGresult *res, struct err *err)
{
    const char *lease = value(res, COL_LEASE);

    return err_set(err, ERR_CONFIG,
                   "there is no lease table %s: CREATE TABLE %s (shard integer NOT NULL DEFAULT 0 "
                   "PRIMARY KEY, epoch bigint NOT NULL DEFAULT 0, owner uuid, owner_name text, "
                   "renewed_at timestamptz, ttl_ms integer, slot text, slot_server text, "
                   "slot_snapshot text, confirmed_lsn pg_lsn); INSERT INTO %s (shard) VALUES (0); "
                   "GRANT SELECT, UPDATE ON %s TO \"%s\"",
                   lease, lease, lease, lease, value(res, COL_USER));
}

static int failures_missing(const PGresult *res, const char *suffix, struct err *err)
{
    return err_set(err, ERR_CONFIG,
                   "there is no table %s.%s_%s, which failure.policy needs: install it with psql "
                   "-f schema/migrations/0002_failures.up.sql, or set failure.policy to halt",
                   value(res, COL_SCHEMA), value(res, COL_NAME), suffix);
}

/* Where an event that cannot be published would go. */
static int check_failures(const PGresult *res, const struct pg_inspect_options *options,
                          struct err *err)
{
    const char *user = value(res, COL_USER);
    const char *dead = value(res, COL_DEAD);
    const char *parked = value(res, COL_PARKED);

    if (options->buries && dead == NULL)
        return failures_missing(res, "dead", err);
    if (options->parks && parked == NULL)
        return failures_missing(res, "parked", err);
    if (options->buries && !yes(res, COL_DEAD_RIGHTS))
        return err_set(
            err, ERR_PERMISSION,
            "role \"%s\" may not record dead events: GRANT SELECT, INSERT ON %s TO \"%s\"", user,
            dead, user);
    if (options->buries && options->copies && !yes(res, COL_INSERT))
        return err_set(
            err, ERR_PERMISSION,
            "role \"%s\" may not insert the copies of dead events: GRANT INSERT ON %s TO "
            "\"%s\", or leave failure.dead_letter_topic empty",
            user, value(res, COL_TABLE), user);
    if (options->parks && !yes(res, COL_PARKED_RIGHTS))
        return err_set(
            err, ERR_PERMISSION,
            "role \"%s\" may not park events: GRANT SELECT, INSERT, DELETE ON %s TO \"%s\"", user,
            parked, user);
    if (options->parks && options->named && !yes(res, COL_PARKED_PLACE))
        return err_set(err, ERR_CONFIG,
                       "table %s has no room for the events themselves, which with source.slot may "
                       "be in no other table: install it with psql -f "
                       "schema/migrations/0003_parked_events.up.sql, or set failure.policy to "
                       "dead-letter or halt",
                       parked);
    if (options->parks && options->named && !yes(res, COL_PARKED_UPDATE))
        return err_set(err, ERR_PERMISSION,
                       "role \"%s\" may not park events again: GRANT UPDATE ON %s TO \"%s\"", user,
                       parked, user);
    return 0;
}

static int check_rights(const PGresult *res, const struct pg_inspect_options *options,
                        struct err *err)
{
    const char *table = value(res, COL_TABLE);
    const char *user = value(res, COL_USER);

    if (!yes(res, COL_SELECT))
        return err_set(err, ERR_PERMISSION,
                       "role \"%s\" may not read: GRANT SELECT ON %s TO \"%s\"", user, table, user);
    if (!options->mark && !yes(res, COL_DELETE))
        return err_set(
            err, ERR_PERMISSION,
            "role \"%s\" may not delete published rows: GRANT DELETE ON %s TO \"%s\", or "
            "set ack.mode to mark",
            user, table, user);
    if (options->mark && !yes(res, COL_UPDATE))
        return err_set(err, ERR_PERMISSION,
                       "role \"%s\" may not mark published rows: GRANT UPDATE (%s) ON %s "
                       "TO \"%s\"",
                       user, options->columns->names[COLUMN_PUBLISHED_AT].quoted, table, user);
    if (options->buries && !yes(res, COL_DELETE))
        return err_set(err, ERR_PERMISSION,
                       "role \"%s\" may not take dead events out: GRANT DELETE ON %s TO \"%s\", or "
                       "set failure.policy to park",
                       user, table, user);
    if (value(res, COL_LEASE_OID) == NULL)
        return lease_missing(res, err);
    if (!yes(res, COL_LEASE_SELECT) || !yes(res, COL_LEASE_UPDATE))
        return err_set(err, ERR_PERMISSION,
                       "role \"%s\" may not hold the lease: GRANT SELECT, UPDATE ON %s TO \"%s\"",
                       user, value(res, COL_LEASE), user);
    return check_failures(res, options, err);
}

static void fill(struct pg_facts *f, const PGresult *res)
{
    const char *notify = value(res, COL_NOTIFY);

    (void)snprintf(f->table, sizeof f->table, "%s", value(res, COL_TABLE));
    (void)snprintf(f->lease, sizeof f->lease, "%s", value(res, COL_LEASE));
    if (value(res, COL_PARKED) != NULL)
        (void)snprintf(f->parked, sizeof f->parked, "%s", value(res, COL_PARKED));
    f->queues = yes(res, COL_PARKED_PLACE);
    if (value(res, COL_DEAD) != NULL)
        (void)snprintf(f->dead, sizeof f->dead, "%s", value(res, COL_DEAD));
    f->buries = yes(res, COL_DEAD_RIGHTS);
    (void)snprintf(f->database, sizeof f->database, "%s", value(res, COL_DATABASE));
    (void)snprintf(f->user, sizeof f->user, "%s", value(res, COL_USER));
    (void)snprintf(f->schema, sizeof f->schema, "%s", value(res, COL_SCHEMA));
    (void)snprintf(f->name, sizeof f->name, "%s", value(res, COL_NAME));
    f->oid = (uint32_t)strtoul(value(res, COL_OID), NULL, 10);
    f->former =
        value(res, COL_FORMER) == NULL ? 0 : (uint32_t)strtoul(value(res, COL_FORMER), NULL, 10);
    (void)snprintf(f->channel, sizeof f->channel, "outbox_relay_%" PRIu32, f->oid);
    f->lock_key = (int64_t)PG_WAKEUP_CLASS << 32 | f->oid;
    f->server_version = (int)strtol(value(res, COL_VERSION), NULL, 10);
    pg_identity_read(&f->identity, res, COL_SYSTEM);
    f->notify_off =
        strcmp(value(res, COL_PREPARED), "0") != 0 && (notify == NULL || strcmp(notify, "on") != 0);
}

int pg_inspect_columns(struct pg_facts *ret, const PGresult *res,
                       const struct pg_inspect_options *options, struct err *err)
{
    if (PQntuples(res) != 1 || PQnfields(res) != COL_COUNT)
        return err_set(err, ERR_PROTOCOL, "the server's answer about the table has another shape");
    if (value(res, COL_OID) == NULL)
        return table_missing(res, options, err);
    (void)snprintf(ret->table, sizeof ret->table, "%s", value(res, COL_TABLE));
    return inspect_columns(ret, options->columns, value(res, COL_COLUMNS), ret->table, err);
}

int pg_inspect_read(struct pg_facts *ret, const PGresult *res,
                    const struct pg_inspect_options *options, struct err *err)
{
    int rc;

    if (PQntuples(res) != 1 || PQnfields(res) != COL_COUNT)
        return err_set(err, ERR_PROTOCOL, "the server's answer about the table has another shape");
    if (strtol(value(res, COL_VERSION), NULL, 10) < 130000)
        return err_set(err, ERR_CONFIG, "the server is older than PostgreSQL 13");
    rc = check_table(ret, res, options, err);
    if (rc == 0)
        rc = check_rights(res, options, err);
    if (rc != 0)
        return rc;
    if (yes(res, COL_STANDBY) || value(res, COL_TIMELINE) == NULL)
        return err_set(err, ERR_UNAVAILABLE,
                       "the server is a standby: rows cannot be acknowledged there; name the "
                       "primary, or all hosts, in postgres.uri");
    fill(ret, res);
    return 0;
}
