#include "postgres/wal_look.h"

#include <stdlib.h>
#include <string.h>

enum look {
    LOOK_WAL_LEVEL,
    LOOK_SENDERS,
    LOOK_SLOTS,
    LOOK_REPLICATION,
    LOOK_PUBLICATION,
    LOOK_INSERTS,
    LOOK_TABLE,
    LOOK_FILTER,
    LOOK_ROOT, /* not partitioned, or published under its own name */
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

static int check_server(const PGresult *res, const struct pg_facts *facts, struct err *err)
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
                       "role \"%s\" may not replicate: ALTER ROLE \"%s\" REPLICATION", facts->user,
                       facts->user);
    return 0;
}

static int check_identity(const PGresult *res, const struct pg_facts *facts, struct err *err)
{
    struct pg_identity identity;

    pg_identity_read(&identity, res, LOOK_SYSTEM);
    if (pg_identity_equal(&identity, &facts->identity))
        return 0;
    return err_set(err, ERR_UNAVAILABLE,
                   "it leads to another server than the table is read from, or to another timeline "
                   "of it (a fail-over?)");
}

int wal_look_publication(const PGresult *res, const struct pg_facts *facts, const char *name,
                         struct err *err)
{
    const char *table = facts->table;

    if (PQgetisnull(res, 0, LOOK_PUBLICATION)) {
        if (is_true(res, LOOK_MAY_PUBLISH))
            return 0; /* it is made */
        return err_set(err, ERR_PERMISSION,
                       "there is no publication \"%s\", and role \"%s\" may not make it: as the "
                       "owner of the table, CREATE PUBLICATION \"%s\" FOR TABLE %s WITH (publish = "
                       "'insert, truncate', publish_via_partition_root = true)",
                       name, facts->user, name, table);
    }
    if (!is_true(res, LOOK_INSERTS))
        return err_set(err, ERR_CONFIG,
                       "publication \"%s\" leaves inserts out: ALTER PUBLICATION \"%s\" SET "
                       "(publish = 'insert, truncate')",
                       name, name);
    if (!is_true(res, LOOK_ROOT))
        return err_set(err, ERR_CONFIG,
                       "publication \"%s\" has the partitions of %s in place of it: ALTER "
                       "PUBLICATION \"%s\" SET (publish_via_partition_root = true)",
                       name, table, name);
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

int wal_look_server(const PGresult *res, const struct pg_facts *facts, struct err *err)
{
    int rc = check_server(res, facts, err);

    return rc == 0 ? check_identity(res, facts, err) : rc;
}

bool wal_look_published(const PGresult *res)
{
    return !PQgetisnull(res, 0, LOOK_PUBLICATION);
}

uint64_t wal_look_oldest(const PGresult *res)
{
    return strtoull(looked(res, LOOK_OLDEST), NULL, 10);
}

void wal_look_sql(struct buf *sql, const struct pg_facts *facts)
{
    bool filters = facts->server_version >= 150000;

    buf_printf(
        sql,
        "SELECT pg_catalog.current_setting('wal_level'),"
        " pg_catalog.current_setting('max_wal_senders'),"
        " pg_catalog.current_setting('max_replication_slots'),"
        " (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = "
        "CURRENT_USER),"
        " p.pubname, p.pubinsert,"
        " p.puballtables OR EXISTS (SELECT FROM pg_catalog.pg_publication_tables t"
        "  WHERE t.pubname = p.pubname"
        "  AND pg_catalog.format('%%I.%%I', t.schemaname, t.tablename) = $2),"
        " %s, c.relkind <> 'p' OR p.pubviaroot, pg_catalog.pg_has_role(c.relowner, 'USAGE') AND "
        "pg_catalog.has_database_privilege("
        "  pg_catalog.current_database(), 'CREATE'),"
        " pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), s.*"
        " FROM (%s) AS s CROSS JOIN pg_catalog.pg_class c"
        " LEFT JOIN pg_catalog.pg_publication p ON p.pubname = $1 WHERE c.oid = $2::regclass",
        filters ? "EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid"
                  "  AND r.prrelid = c.oid AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL))"
                : "false",
        pg_identity_sql());
}
