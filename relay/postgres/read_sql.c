#include "postgres/read_sql.h"

#include "postgres/columns_sql.h"

#include <inttypes.h>

/* In delete mode too: both indexes are partial, and rows that mark mode left are not published
 * again. */
#define UNPUBLISHED "published_at IS NULL"

/* "SELECT columns FROM the outbox AS o WHERE it is unpublished" */
static void unpublished(struct buf *sql, const struct pg_facts *facts)
{
    buf_printf(sql, "SELECT ");
    columns_fields(sql, facts);
    buf_printf(sql, " FROM ");
    columns_rows(sql, facts);
    buf_printf(sql, " AS o WHERE " UNPUBLISHED);
}

/* The first row of a page that opens a round: the statement's own snapshot, and the highest seq it
 * sees. */
static void header(struct buf *sql, const struct pg_facts *facts, bool with_max)
{
    buf_printf(sql, "SELECT NULL::pg_catalog.int8, NULL::pg_catalog.uuid, NULL::pg_catalog.xid8,"
                    " pg_catalog.pg_current_snapshot()::pg_catalog.text,");
    if (with_max) {
        buf_printf(sql, " (SELECT pg_catalog.max(seq)::pg_catalog.text FROM ");
        columns_rows(sql, facts);
        buf_printf(sql, " AS o WHERE " UNPUBLISHED "),");
    } else {
        buf_printf(sql, " NULL::pg_catalog.text,");
    }
    buf_printf(sql, " NULL::pg_catalog.text, NULL::pg_catalog.json, NULL::pg_catalog.bytea,"
                    " NULL::pg_catalog.json, NULL::pg_catalog.text, NULL::pg_catalog.int4,"
                    " NULL::pg_catalog.timestamptz");
    columns_more_nulls(sql, facts);
    buf_printf(sql, " UNION ALL ");
}

/* What waits behind a parked event, and that itself, would only be passed over here, however many
 * they are. */
static void not_parked(struct buf *sql, const char *parked, const char *topic_sql)
{
    buf_printf(sql,
               " AND NOT EXISTS (SELECT FROM %s AS k WHERE k.aggregateid = o.aggregateid"
               " AND k.topic = %s)",
               parked, topic_sql);
}

static void start_page(struct buf *sql, const struct read_request *r, const struct pg_facts *facts,
                       const char *topic_sql)
{
    buf_printf(sql, "(");
    unpublished(sql, facts);
    buf_printf(sql, " AND seq > %" PRId64, r->after);
    if (r->parked)
        not_parked(sql, facts->parked, topic_sql);
    /* Only what had ended when the round opened, so that no row passes one of its own transaction
     * that an earlier page could not see yet; and rows whose xid means nothing here. */
    if (!r->opens)
        buf_printf(sql,
                   " AND seq <= %" PRId64 " AND (pg_catalog.pg_visible_in_snapshot(xid, '%s')"
                   " OR NOT pg_catalog.pg_visible_in_snapshot(xid,"
                   " (SELECT pg_catalog.pg_current_snapshot())))",
                   r->upto, snapshot_text(r->until));
    buf_printf(sql, " ORDER BY seq LIMIT %" PRIu32 ")", r->limit);
}

/* Rows that the opening page did not reach have to be visible in its snapshot, not only in ours. */
static void within(struct buf *sql, const struct read_request *r)
{
    if (!r->opens)
        buf_printf(sql, " AND pg_catalog.pg_visible_in_snapshot(xid, '%s')",
                   snapshot_text(r->until));
}

/* A bulk transaction that committed late: walked by seq, page after page. */
static void late_range(struct buf *sql, const struct read_request *r, const struct pg_facts *facts)
{
    buf_printf(sql, "(");
    unpublished(sql, facts);
    buf_printf(sql,
               " AND seq > %" PRId64 " AND seq <= %" PRId64
               " AND NOT pg_catalog.pg_visible_in_snapshot(xid, '%s')",
               r->after, r->upto, snapshot_text(r->since));
    within(sql, r);
    buf_printf(sql, " ORDER BY seq LIMIT %" PRIu32 ")", r->limit);
}

/*
 * What was unfinished in S0 and has committed since, among the seqs already passed: gathered by
 * xid. OFFSET 0 fences it, or a planner without statistics walks the whole backlog by seq.
 */
static void late_gather(struct buf *sql, const struct read_request *r, const struct pg_facts *facts)
{
    buf_printf(sql, "(SELECT * FROM (");
    unpublished(sql, facts);
    buf_printf(sql, " AND xid >= '%" PRIu64 "'", r->since->xmax);
    within(sql, r);
    if (r->since->nxip > 0) {
        buf_printf(sql, " UNION ALL ");
        unpublished(sql, facts);
        buf_printf(sql, " AND xid = ANY ('{%s}')", snapshot_xip_text(r->since));
        within(sql, r);
    }
    buf_printf(sql,
               " OFFSET 0) AS late WHERE seq > %" PRId64 " AND seq <= %" PRId64
               " ORDER BY seq LIMIT %" PRIu32 ")",
               r->after, r->upto, r->limit);
}

static void new_branch(struct buf *sql, const struct read_request *r, const struct pg_facts *facts)
{
    buf_printf(sql, "(");
    unpublished(sql, facts);
    buf_printf(sql, " AND seq > %" PRId64, r->beyond);
    within(sql, r);
    buf_printf(sql, " ORDER BY seq LIMIT %" PRIu32 ")", r->limit);
}

/*
 * Of each key whose first event may go on, what comes up to the next one that may not; all in the
 * order of their places. Keys are walked by index, one probe each, however much waits behind them.
 */
static void queue_page(struct buf *sql, const struct read_request *r, const struct pg_facts *facts)
{
    const char *parked = facts->parked;

    /* What comes again comes as it was: it has to meet the one that was corrected here. */
    static const char stored[] = " AND (h.epoch = l.epoch OR CASE WHEN h.lsn IS NULL THEN"
                                 " l.slot_snapshot IS NULL ELSE h.lsn < l.confirmed_lsn END)";
    const char *and_stored = r->stored ? stored : "";

    buf_printf(
        sql,
        "COPY (WITH RECURSIVE keys AS ((SELECT aggregateid, topic FROM %s"
        " ORDER BY aggregateid, topic LIMIT 1) UNION ALL SELECT n.* FROM keys AS k"
        " CROSS JOIN LATERAL (SELECT aggregateid, topic FROM %s AS n WHERE (n.aggregateid,"
        " n.topic) > (k.aggregateid, k.topic) ORDER BY aggregateid, topic LIMIT 1) AS n),"
        " l AS (SELECT * FROM %s WHERE shard = 0),"
        " free AS (SELECT k.* FROM l, keys AS k CROSS JOIN LATERAL (SELECT * FROM %s AS h WHERE"
        " h.aggregateid = k.aggregateid AND h.topic = k.topic ORDER BY place LIMIT 1) AS h"
        " WHERE " QUEUE_GOES "%s LIMIT %" PRIu32 "),",
        parked, parked, facts->lease, parked, and_stored, r->limit);
    buf_printf(sql,
               " page AS (SELECT q.* FROM l, free AS k CROSS JOIN LATERAL (SELECT h.*, pg_catalog."
               "bool_and(" QUEUE_GOES
               "%s) OVER (ORDER BY place) AS goes FROM (SELECT * FROM %s AS w"
               " WHERE w.aggregateid = k.aggregateid AND w.topic = k.topic ORDER BY place LIMIT"
               " %" PRIu32 ") AS h) AS q WHERE goes ORDER BY place LIMIT %" PRIu32 ")"
               " SELECT seq, id, '0'::pg_catalog.xid8, %s, aggregateid, %s, payload,"
               " payload_bytes, headers, event_topic, partition, created_at FROM page"
               " ORDER BY place) TO STDOUT (FORMAT binary)",
               and_stored, parked, r->limit, r->limit,
               columns_has(facts->columns, COLUMN_AGGREGATETYPE) ? "aggregatetype"
                                                                 : "nullif(aggregatetype, '')",
               columns_has(facts->columns, COLUMN_TYPE) ? "type" : "nullif(type, '')");
}

void read_sql(struct buf *sql, const struct read_request *r, const struct pg_facts *facts,
              const char *topic_sql)
{
    if (r->kind == READ_QUEUE) {
        queue_page(sql, r, facts);
        return;
    }
    buf_printf(sql, "COPY (SELECT * FROM (");
    if (r->opens)
        header(sql, facts, r->kind == READ_START);
    if (r->kind == READ_START) {
        start_page(sql, r, facts, topic_sql);
    } else {
        if (r->late) {
            if (r->range)
                late_range(sql, r, facts);
            else
                late_gather(sql, r, facts);
            buf_printf(sql, " UNION ALL ");
        }
        new_branch(sql, r, facts);
    }
    /* UNION ALL runs its branches in turn, so the outer limit ends the page between or inside them.
     */
    buf_printf(sql, ") AS page LIMIT %" PRIu64 ") TO STDOUT (FORMAT binary)",
               (uint64_t)r->limit + (r->opens ? 1 : 0));
}

void read_sql_prepare(struct buf *sql, const char *name, const struct pg_facts *facts)
{
    buf_printf(sql,
               "PREPARE %s (pg_catalog.xid8, pg_catalog.xid8[], pg_catalog.int8, pg_catalog.int8)"
               " AS SELECT * FROM (",
               name);
    header(sql, facts, false);
    /* As late_gather and new_branch. */
    buf_printf(sql, "(SELECT * FROM (");
    unpublished(sql, facts);
    buf_printf(sql, " AND xid >= $1 UNION ALL ");
    unpublished(sql, facts);
    buf_printf(sql, " AND xid = ANY ($2) OFFSET 0) AS late WHERE seq <= $3 ORDER BY seq LIMIT $4)"
                    " UNION ALL (");
    unpublished(sql, facts);
    buf_printf(sql, " AND seq > $3 ORDER BY seq LIMIT $4)) AS page LIMIT $4 + 1");
}

bool read_sql_prepared(const struct read_request *r)
{
    return r->kind == READ_DIFFERENCE && r->opens;
}

void read_sql_parameters(struct buf *text, const struct read_request *r)
{
    buf_printf(text, "%" PRIu64 "%c{%s}%c%" PRId64 "%c%" PRIu32, r->since->xmax, 0,
               snapshot_xip_text(r->since), 0, r->upto, 0, r->limit);
}
