/* Sessions run these with search_path = pg_catalog, so that nothing here has to be qualified. */
#include "postgres/diagnose_sql.h"

#include "postgres/columns_sql.h"

#include <stdio.h>

/* A transaction of a service takes milliseconds: what is open for so long is somebody's mistake, or
 * a bulk load, whose events do wait for it. */
#define LONG "interval '2 s'"
/* Locks are taken for moments all day. */
#define BRIEFLY "interval '1 s'"
/* As the relay's own word of a stall. */
#define WAITED "interval '10 s'"

#define AGE(from) "date_trunc('second', clock_timestamp() - " from ")"
#define HERE "(SELECT oid FROM pg_database WHERE datname = current_database())"
#define OURS                                                                                       \
    "ours AS MATERIALIZED (SELECT to_regclass(name)::oid AS oid"                                   \
    " FROM unnest(ARRAY[$2, $3, $4, $5]) AS n(name) WHERE name <> '')"
#define OF_OURS "l.database = " HERE " AND l.relation IN (SELECT oid FROM ours)"

/* A session "a", never its query: that may hold a payload. */
#define SESSION                                                                                    \
    "format('pid %s (application \"%s\", user \"%s\", %s)', a.pid, a.application_name, a.usename," \
    " CASE WHEN a.xact_start IS NULL THEN 'since when is hidden' ELSE"                             \
    " format('%s, its transaction open for %s, last query begun %s', a.state, " AGE(               \
        "a.xact_start") ","                                                                        \
                        " date_trunc('second', a.query_start)) END)"
#define PREPARED                                                                                   \
    "format('prepared transaction %L (user \"%s\", prepared for %s)', p.gid, p.owner, " AGE(       \
        "p.prepared") ")"
#define TERMINATE "format('SELECT pg_terminate_backend(%s);', a.pid)"
#define ROLLBACK "format('ROLLBACK PREPARED %L;', p.gid)"
#define GIVES_UP ": if it is not to be rolled back, COMMIT PREPARED instead"

/* What wrote to our tables, or locked rows of them, and goes on. */
static const char open_writers[] =
    "WITH " OURS ", held AS MATERIALIZED (SELECT l.pid, l.virtualtransaction,"
    " string_agg(DISTINCT l.relation::regclass::text, ', ') AS tables FROM pg_locks l"
    " WHERE l.granted AND l.mode IN ('RowShareLock', 'RowExclusiveLock') AND " OF_OURS
    " GROUP BY 1, 2)"
    " SELECT 'holds', format('%s has not ended: what it wrote is not visible, and what it locked"
    " cannot be acknowledged', " SESSION "), h.tables, " TERMINATE " FROM held h"
    " JOIN pg_stat_activity a ON a.pid = h.pid WHERE a.backend_xid IS NOT NULL"
    " AND a.application_name NOT LIKE 'outbox-relay%' AND a.xact_start < clock_timestamp() - " LONG
    " UNION ALL SELECT 'holds', format('%s has not ended: what it wrote is not visible, and what it"
    " locked cannot be acknowledged" GIVES_UP "', " PREPARED "), h.tables, " ROLLBACK
    " FROM pg_prepared_xacts p JOIN pg_locks x ON x.locktype = 'transactionid' AND x.granted"
    " AND x.pid IS NULL AND x.transactionid = p.transaction"
    " JOIN held h ON h.pid IS NULL AND h.virtualtransaction = x.virtualtransaction"
    " WHERE p.database = current_database() AND p.prepared < clock_timestamp() - " LONG;

static const char hidden[] =
    "SELECT 'unseen', format('since when the transactions of these sessions are open: pids %s',"
    " string_agg(a.pid::text, ', ')), 'pg_stat_activity',"
    " format('GRANT pg_read_all_stats TO %I;', current_user) FROM pg_stat_activity a"
    " WHERE a.datname = current_database() AND a.backend_type IS NULL"
    " AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL) HAVING count(*) > 0";

/*
 * Who has a lock that readers or writers of our tables do not go along with, and who is waited for
 * by a session that uses them or by the relay: also the transaction for whose end a slot that is
 * being made waits. Not the wake-up lock: the relay waits for that while writers write.
 */
static const char blockers[] =
    "WITH " OURS ", strong AS MATERIALIZED (SELECT l.pid, l.virtualtransaction,"
    " format('has %s on %s', l.mode, l.relation::regclass) AS does FROM pg_locks l WHERE l.granted"
    " AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
    " AND " OF_OURS "),"
    " waits AS MATERIALIZED (SELECT w.pid, w.transactionid::text AS xid,"
    " format('is waited for by pid %s (application \"%s\")', w.pid, a.application_name) AS does"
    " FROM pg_locks w JOIN pg_stat_activity a ON a.pid = w.pid WHERE NOT w.granted"
    " AND w.locktype <> 'advisory'"
    " AND coalesce(a.query_start < clock_timestamp() - " BRIEFLY ", true)"
    " AND (a.application_name LIKE 'outbox-relay%' AND a.datname = current_database()"
    "  OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = w.pid AND " OF_OURS "))),"
    " by_pid AS (SELECT pid, does FROM strong UNION SELECT b.pid, w.does FROM waits w"
    "  CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b(pid)),"
    " by_xid AS (SELECT x.transactionid::text AS xid, s.does FROM strong s JOIN pg_locks x"
    "   ON x.pid IS NULL AND x.locktype = 'transactionid' AND x.granted"
    "   AND x.virtualtransaction = s.virtualtransaction WHERE s.pid IS NULL"
    "  UNION SELECT xid, does FROM waits)"
    " SELECT 'holds', format('%s %s', " SESSION ", g.does), $2, " TERMINATE
    " FROM (SELECT pid, string_agg(does, ', ' ORDER BY does) AS does FROM by_pid GROUP BY 1) g"
    " JOIN pg_stat_activity a ON a.pid = g.pid"
    " WHERE coalesce(a.xact_start < clock_timestamp() - " BRIEFLY ", true)"
    " UNION ALL SELECT 'holds', format('%s %s" GIVES_UP "', " PREPARED ", g.does), $2, " ROLLBACK
    " FROM (SELECT xid, string_agg(does, ', ' ORDER BY does) AS does FROM by_xid GROUP BY 1) g"
    " JOIN pg_prepared_xacts p ON p.transaction::text = g.xid"
    " WHERE p.prepared < clock_timestamp() - " BRIEFLY;

static const char triggers[] =
    "SELECT 'warns', format('trigger %s is %s: %s', w.name, CASE WHEN t.tgname IS NULL THEN"
    " 'missing' ELSE 'disabled' END, w.effect), $2, CASE WHEN t.tgname IS NULL THEN"
    " format('CREATE TRIGGER %I %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION %I.%I();', w.name,"
    "  w.event, $2, (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  WHERE c.oid = $1::oid), w.name)"
    " ELSE format('ALTER TABLE %s ENABLE TRIGGER %I;', $2, t.tgname) END"
    " FROM (VALUES ('outbox_wake', 'AFTER INSERT',"
    "  'the relay finds new events when it polls (source.poll_interval_ms)'),"
    "  ('outbox_truncated', 'BEFORE TRUNCATE', 'after TRUNCATE ... RESTART IDENTITY an"
    " acknowledgement on its way may delete another event')) AS w(name, event, effect)"
    " LEFT JOIN (SELECT t.tgname, t.tgenabled, p.proname FROM pg_trigger t"
    "  JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = $1::oid) t ON t.proname = w.name"
    " WHERE t.tgname IS NULL OR t.tgenabled NOT IN ('O', 'A')";

/* Of version 4 of the schema; taken off to restore rows, and forgotten. */
static const char guard[] =
    "SELECT 'warns', format('trigger %s is disabled: writers may insert what cannot be published',"
    " t.tgname), $2, format('ALTER TABLE %s ENABLE TRIGGER %I;', $2, t.tgname)"
    " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " WHERE c.oid = $1::oid AND t.tgname = c.relname || '_guard' AND t.tgenabled NOT IN ('O', 'A')";

/* One that failed while it was built is there, and serves nobody. */
static const char indexes[] =
    "SELECT 'warns', 'no index on xid serves: each look for what has committed reads every row',"
    " $2, coalesce((SELECT format('REINDEX INDEX CONCURRENTLY %s;', i.indexrelid::regclass)"
    "  FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum LIMIT 1),"
    " format('CREATE INDEX %sON %s (%I) WHERE %I IS NULL;',"
    "  CASE WHEN c.relkind = 'p' THEN '' ELSE 'CONCURRENTLY ' END, $2, $8, $9))"
    " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $8"
    " WHERE c.oid = $1::oid AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid"
    "  AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indisready)";

/* Of a partitioned outbox, that partition which needs it most. starts_at: how many dead rows
 * autovacuum begins at. */
#define VACUUMED                                                                                   \
    "t AS MATERIALIZED (SELECT c.oid::regclass::text AS name, s.n_live_tup AS live, s.n_dead_tup " \
    "AS dead,"                                                                                     \
    " greatest(s.last_vacuum, s.last_autovacuum) AS cleaned,"                                      \
    " coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions)"                        \
    "  WHERE option_name = 'autovacuum_enabled'), 'on')::boolean AS enabled,"                      \
    " coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions)"                        \
    "  WHERE option_name = 'autovacuum_vacuum_threshold'),"                                        \
    "  current_setting('autovacuum_vacuum_threshold'))::float8"                                    \
    " + coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions)"                      \
    "  WHERE option_name = 'autovacuum_vacuum_scale_factor'),"                                     \
    "  current_setting('autovacuum_vacuum_scale_factor'))::float8 * greatest(c.reltuples, 0)"      \
    " AS starts_at FROM pg_class c JOIN pg_stat_all_tables s ON s.relid = c.oid"                   \
    " WHERE c.oid = $1::oid OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent ="       \
    " $1::oid) ORDER BY enabled, dead DESC LIMIT 1)"

/*
 * Who keeps vacuum from cleaning, as soon as there is a vacuum's worth to clean. Standbys and slots
 * always hold a little back: theirs counts from as many transactions on.
 */
static const char horizon[] =
    "WITH " VACUUMED " SELECT 'warns', format('%s keeps vacuum from removing dead rows: %s are"
    " there', h.who, t.dead), t.name, h.remedy FROM t, LATERAL ("
    " SELECT " SESSION " AS who, " TERMINATE " AS remedy, age(a.backend_xmin) AS age"
    " FROM pg_stat_activity a WHERE a.datname = current_database() AND a.backend_xmin IS NOT NULL"
    " AND a.application_name NOT LIKE 'outbox-relay%' AND a.xact_start < clock_timestamp() - " LONG
    " UNION ALL SELECT " PREPARED ", " ROLLBACK ", age(p.transaction) FROM pg_prepared_xacts p"
    " WHERE p.database = current_database() AND p.prepared < clock_timestamp() - " LONG
    " UNION ALL SELECT format('slot \"%s\" (%s%s)', s.slot_name, s.slot_type, CASE WHEN s.active"
    "  THEN ', in use: a standby with hot_standby_feedback, where the remedy is for'"
    "  ELSE ', which nobody reads' END), CASE WHEN s.active"
    "  THEN 'ALTER SYSTEM SET hot_standby_feedback = off; SELECT pg_reload_conf();'"
    "  ELSE format('SELECT pg_drop_replication_slot(%L);', s.slot_name) END, age(s.xmin)"
    " FROM pg_replication_slots s WHERE age(s.xmin) > t.starts_at"
    " UNION ALL SELECT format('the standby \"%s\" (pid %s here), with hot_standby_feedback, where"
    "  the remedy is for,', r.application_name, r.pid),"
    "  'ALTER SYSTEM SET hot_standby_feedback = off; SELECT pg_reload_conf();', age(r.backend_xmin)"
    " FROM pg_stat_replication r WHERE age(r.backend_xmin) > t.starts_at) AS h"
    " WHERE t.dead > t.starts_at ORDER BY h.age DESC LIMIT 3";

/*
 * Ten times what autovacuum begins at: between two of its rounds (autovacuum_naptime) a busy outbox
 * gathers a few times that, and three rounds without any vacuum are too many.
 */
static const char vacuum[] =
    "WITH " VACUUMED
    " SELECT 'warns', 'autovacuum is disabled for this table, a queue, which swells"
    " without it', name, format('ALTER TABLE %s RESET (autovacuum_enabled);', name)"
    " FROM t WHERE NOT t.enabled"
    " UNION ALL SELECT 'warns', format('%s is off: no table is vacuumed by itself', s.name),"
    " 'the server', format('ALTER SYSTEM RESET %s; SELECT pg_reload_conf();', s.name)"
    " FROM pg_settings s WHERE s.name IN ('autovacuum', 'track_counts') AND s.setting = 'off'"
    " UNION ALL SELECT 'warns', format('%s of %s rows are dead (%s %%), autovacuum begins at %s,"
    " and the last vacuum was %s', t.dead, t.live + t.dead, 100 * t.dead / (t.live + t.dead),"
    " t.starts_at::bigint, coalesce(" AGE(
        "t.cleaned") "::text || ' ago', 'never')),"
                     " t.name, format('VACUUM %s;', t.name) FROM t WHERE t.dead > 10 * t.starts_at "
                     "AND "
                     "(t.cleaned IS NULL"
                     " OR t.cleaned < clock_timestamp()"
                     "  - 3 * current_setting('autovacuum_naptime')::interval)";

/* Of source.slot: whether it fits the lease is judged as `run` does, elsewhere. At 80 % there is
 * still time: as much again as it took for a quarter of that. */
static const char slot[] =
    "WITH s AS MATERIALIZED (SELECT slot_name, active, wal_status, safe_wal_size,"
    " pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) AS held,"
    " (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_mb"
    " FROM pg_replication_slots WHERE slot_name = $6 AND wal_status <> 'lost')"
    " SELECT 'holds', format('nobody reads it, and it holds back %s of WAL', pg_size_pretty(held)),"
    " format('slot \"%s\"', slot_name), 'outbox-relay run' FROM s WHERE NOT active"
    " UNION ALL SELECT 'warns', format('it holds back %s of WAL, and source.wal_budget is %s',"
    " pg_size_pretty(held), pg_size_pretty($7::numeric)), format('slot \"%s\"', slot_name),"
    " CASE WHEN active THEN 'outbox-relay status' ELSE 'outbox-relay run' END"
    " FROM s WHERE held > 0.8 * $7::numeric"
    " UNION ALL SELECT 'warns', format('it holds back %s of WAL, and is lost with all its events at"
    " max_slot_wal_keep_size, %s MB', pg_size_pretty(held), keep_mb), format('slot \"%s\"',"
    " slot_name), format('ALTER SYSTEM SET max_slot_wal_keep_size = ''%sMB'';"
    " SELECT pg_reload_conf();', 2 * keep_mb)"
    " FROM s WHERE keep_mb >= 0 AND held > 0.8 * keep_mb * 1024 * 1024";

const struct diagnose_probe diagnose_probes[] = {
    {"transactions", NULL, open_writers},
    {"transactions", "none that wrote to the outbox stays open", hidden},
    {"locks", "nobody has to wait", blockers},
    {"table", NULL, triggers},
    {"table", NULL, guard},
    {"table", "its triggers are enabled, and an index on xid serves", indexes},
    {"vacuum", NULL, horizon},
    {"vacuum", "dead rows are removed", vacuum},
    {"slot", NULL, slot},
};
const size_t diagnose_nprobes = sizeof diagnose_probes / sizeof *diagnose_probes;

void diagnose_lease_sql(struct buf *sql, const struct pg_facts *facts)
{
    buf_printf(
        sql,
        "SELECT CASE WHEN l.owner IS NOT NULL AND l.renewed_at + l.ttl_ms * interval '1 ms' >"
        "  clock_timestamp() THEN 'ok' ELSE 'holds' END, CASE WHEN l.shard IS NULL THEN"
        "  'it has no row, so no relay can own the outbox' WHEN l.owner IS NULL THEN"
        "  'no relay owns the outbox' WHEN l.renewed_at + l.ttl_ms * interval '1 ms' >"
        "  clock_timestamp() THEN format('relay \"%%s\" owns the outbox, and said so %%s ms ago',"
        "   l.owner_name, (extract(epoch FROM clock_timestamp() - l.renewed_at) * 1000)::bigint)"
        "  ELSE format('relay \"%%s\" owned the outbox until %%s ago, and no other took it over',"
        "   l.owner_name, " AGE(
            "l.renewed_at - l.ttl_ms * interval '1 ms'") ") END, $3,"
                                                         " CASE WHEN l.shard IS NULL THEN "
                                                         "format('INSERT INTO %%s (shard) VALUES "
                                                         "(0);', $3)"
                                                         "  ELSE 'outbox-relay run' END"
                                                         " FROM (VALUES (0)) AS s(shard) LEFT JOIN "
                                                         "%s l ON l.shard = s.shard",
        facts->lease);
}

/* What waits behind a parked event is that one's. */
static void flows_sql(struct buf *sql, const struct pg_facts *facts, const char *topic_sql)
{
    buf_printf(sql, " FROM ");
    columns_rows(sql, facts);
    buf_printf(sql, " AS o WHERE o.published_at IS NULL");
    if (facts->parked[0] != '\0')
        buf_printf(sql,
                   " AND NOT EXISTS (SELECT FROM %s AS k WHERE k.aggregateid = o.aggregateid AND"
                   " k.topic = %s)",
                   facts->parked, topic_sql);
}

void diagnose_backlog_sql(struct buf *sql, const struct pg_facts *facts, const char *topic_sql)
{
    buf_printf(sql,
               "WITH n AS (SELECT count(*) AS n FROM (SELECT FROM %s WHERE %s IS NULL"
               " LIMIT 100001) AS r), e AS (SELECT o.id, o.created_at",
               facts->table, facts->columns->names[COLUMN_PUBLISHED_AT].quoted);
    flows_sql(sql, facts, topic_sql);
    buf_printf(
        sql,
        " ORDER BY o.seq LIMIT 1)"
        " SELECT CASE WHEN e.created_at < clock_timestamp() - " WAITED
        " THEN 'holds' ELSE 'ok' END, format('events that wait: %%s%%s', CASE WHEN n.n > 100000"
        " THEN 'more than 100000' ELSE n.n::text END, CASE WHEN e.id IS NOT NULL THEN"
        " format('; the oldest that nothing parked holds up, %%s, for %%s', e.id, " AGE(
            "e.created_at") ") END), $2, 'outbox-relay status' FROM n LEFT JOIN e ON true");
}

void diagnose_topics_sql(struct buf *sql, const struct pg_facts *facts, const char *topic_sql)
{
    buf_printf(sql,
               "SELECT topic, extract(epoch FROM clock_timestamp() - min(created_at)) FROM"
               " (SELECT %s AS topic, o.created_at",
               topic_sql);
    flows_sql(sql, facts, topic_sql);
    buf_printf(sql, " ORDER BY o.seq LIMIT 1000) AS w"
                    " WHERE topic ~ '^[A-Za-z0-9._-]{1,249}$' GROUP BY 1 ORDER BY 2 DESC");
}

/* The first few by their names, and how many more. table: of parked or dead ones. */
static void failed_sql(struct buf *sql, const char *table, const char *severity, const char *since,
                       const char *topic, const char *does, const char *parameter)
{
    buf_printf(
        sql,
        "(SELECT '%s', format('event %%s (key \"%%s\", topic %%s) %s for %%s: %%s', id,"
        " aggregateid, %s, " AGE(
            "%s") ", error), %s, format('outbox-relay dead retry %%s', id)"
                  " FROM %s ORDER BY seq LIMIT 3) UNION ALL SELECT '%s', format('%%s such events "
                  "in all,"
                  " the oldest since %%s', CASE WHEN n.n > 10000 THEN 'more than 10000' ELSE "
                  "n.n::text END,"
                  " date_trunc('second', n.since)), %s, 'outbox-relay dead list' FROM (SELECT "
                  "count(*) AS n,"
                  " min(since) AS since FROM (SELECT %s AS since FROM %s LIMIT 10001) AS f) AS n"
                  " WHERE n.n > 3",
        severity, does, topic, since, parameter, table, severity, parameter, since, table);
}

void diagnose_parked_sql(struct buf *sql, const struct pg_facts *facts)
{
    char heads[sizeof facts->parked + 64];

    (void)snprintf(heads, sizeof heads, "(SELECT * FROM %s WHERE class <> 'behind') AS p",
                   facts->parked);
    failed_sql(sql, heads, "holds", "parked_at", "topic",
               "is parked, and holds up its key until its cause is corrected and it is retried,",
               "$4");
}

void diagnose_dead_sql(struct buf *sql, const struct pg_facts *facts)
{
    failed_sql(sql, facts->dead, "warns", "died_at", "routed_topic",
               "is dead, until its cause is corrected and it is retried,", "$5");
}
