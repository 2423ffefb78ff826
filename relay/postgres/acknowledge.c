#include "postgres/acknowledge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OID_INT4 23
#define OID_INT8 20
#define OID_UUID 2950
#define OID_INT8_ARRAY 1016
#define OID_UUID_ARRAY 2951
#define OID_PG_LSN 3220

/* At most so many batches are on their way; the pipeline sends fewer. */
#define BATCHES_MAX 8

struct acknowledger {
    bool mark;
    acknowledge_fn on_result;
    void *arg;
    struct buf sql;
    struct buf seqs;
    struct buf ids;
    struct sent {
        uint32_t number;
        uint32_t rows;
    } sent[BATCHES_MAX]; /* on their way, oldest first: answers come in order */
    uint32_t n;
};

int acknowledger_new(struct acknowledger **ret, bool mark, acknowledge_fn on_result, void *arg,
                     struct err *err)
{
    struct acknowledger *a = calloc(1, sizeof *a);

    if (a == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    a->mark = mark;
    a->on_result = on_result;
    a->arg = arg;
    *ret = a;
    return 0;
}

void acknowledger_free(struct acknowledger *a)
{
    if (a == NULL)
        return;
    buf_free(&a->sql);
    buf_free(&a->seqs);
    buf_free(&a->ids);
    free(a);
}

void acknowledger_lost(struct acknowledger *a)
{
    a->n = 0;
}

static void answered(void *arg, const PGresult *res, const struct err *why)
{
    struct acknowledger *a = arg;
    enum acknowledge_result result = ACKNOWLEDGE_FAILED;
    struct sent batch = a->sent[0];
    struct slice snapshot = {NULL, 0};
    struct err elsewhere;

    a->n--;
    memmove(a->sent, a->sent + 1, a->n * sizeof *a->sent);
    if (why == NULL && strcmp(PQgetvalue(res, 0, 1), "t") != 0) {
        (void)err_set(&elsewhere, ERR_CONFIG, "the table's name is another one's now");
        why = &elsewhere;
    }
    if (why == NULL)
        result = strcmp(PQgetvalue(res, 0, 0), "1") == 0 ? ACKNOWLEDGE_DONE : ACKNOWLEDGE_FENCED;
    if (result == ACKNOWLEDGE_DONE && PQnfields(res) == 4 &&
        strtoul(PQgetvalue(res, 0, 2), NULL, 10) < batch.rows) {
        result = ACKNOWLEDGE_PARTLY;
        snapshot.data = (const unsigned char *)PQgetvalue(res, 0, 3);
        snapshot.len = (size_t)PQgetlength(res, 0, 3);
    }
    a->on_result(a->arg, batch.number, result, &snapshot, why);
}

/* Its index, from 0: behind the arrays. */
static int position_parameter(const struct ledger_batch *batch)
{
    return batch->n == 0 ? 2 : batch->strict ? 4 : 3;
}

/*
 * The lease is read in the same statement, under the same snapshot, which is taken after the
 * statement has its locks: a TRUNCATE that was waited for has advanced the epoch by then, and
 * another table that took the name meanwhile, whose rows carry the same numbers, is found out. The
 * count tells whether the lease was ours, whatever became of the rows.
 */
static void build_sql(struct acknowledger *a, const struct pg_facts *facts,
                      const struct ledger_batch *batch, uint64_t position)
{
    const char *rows =
        batch->strict ? ", ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) AS a(seq, id)"
                      : "";
    const struct column_name *names = facts->columns->names;
    /* What is parked has the schema's own names, whatever the table's are. */
    const char *seq = batch->queued ? "seq" : names[COLUMN_SEQ].quoted;
    const char *id = batch->queued ? "id" : names[COLUMN_ID].quoted;
    const char *published = names[COLUMN_PUBLISHED_AT].quoted;
    char match[2 * COLUMN_QUOTED_SIZE + 64];

    if (batch->strict)
        (void)snprintf(match, sizeof match, "o.%s = a.seq AND o.%s = a.id", seq, id);
    else
        /* As a subquery, whose value the planner does not know: it would weigh each seq of it for
         * each index of each partition. */
        (void)snprintf(match, sizeof match, "o.%s = ANY ((SELECT $3)::pg_catalog.int8[])", seq);
    buf_reset(&a->sql);
    buf_printf(&a->sql,
               "WITH t AS MATERIALIZED (SELECT coalesce(pg_catalog.to_regclass($outbox_relay$%s"
               "$outbox_relay$) = %" PRIu32 ", false) AS same), l AS ",
               facts->table, facts->oid);
    if (position != 0)
        buf_printf(&a->sql,
                   "(UPDATE %s SET confirmed_lsn = greatest(confirmed_lsn, $%d), slot_snapshot ="
                   " NULL WHERE shard = $1 AND epoch = $2 AND (SELECT same FROM t) RETURNING 1)",
                   facts->lease, position_parameter(batch) + 1);
    else
        buf_printf(&a->sql,
                   "MATERIALIZED (SELECT 1 FROM %s WHERE shard = $1 AND epoch = $2"
                   " AND (SELECT same FROM t))",
                   facts->lease);
    if (batch->n == 0) {
        buf_printf(&a->sql, " SELECT (SELECT pg_catalog.count(*) FROM l), same FROM t");
        return;
    }
    buf_printf(&a->sql, ", d AS (");
    if (a->mark && !batch->queued) {
        buf_printf(&a->sql,
                   "UPDATE %s o SET %s = pg_catalog.clock_timestamp() FROM l%s"
                   " WHERE %s AND o.%s IS NULL",
                   facts->table, published, rows, match, published);
    } else {
        buf_printf(&a->sql, "DELETE FROM %s o USING l%s WHERE %s",
                   batch->queued ? facts->parked : facts->table, rows, match);
        /* A table that was adopted has its index of seq for those alone. */
        if (!facts->plain && !batch->queued)
            buf_printf(&a->sql, " AND o.%s IS NULL", published);
    }
    /* How many rows it found matters of rows that were streamed alone: they may not be visible yet.
     */
    buf_printf(&a->sql, batch->streamed
                            ? " RETURNING 1) SELECT (SELECT pg_catalog.count(*) FROM l), same,"
                              " (SELECT pg_catalog.count(*) FROM d),"
                              " pg_catalog.pg_current_snapshot() FROM t"
                            : ") SELECT (SELECT pg_catalog.count(*) FROM l), same FROM t");
}

/* An array in binary (PostgreSQL source, array_recv): dimensions, flags, type, length, lower bound,
 * items. */
static void array_header(struct buf *b, uint32_t oid, uint32_t n)
{
    buf_reset(b);
    buf_u32(b, 1);
    buf_u32(b, 0);
    buf_u32(b, oid);
    buf_u32(b, n);
    buf_u32(b, 1);
}

static void build_arrays(struct acknowledger *a, const struct ledger_batch *batch)
{
    array_header(&a->seqs, OID_INT8, batch->n);
    for (uint32_t i = 0; i < batch->n; i++) {
        buf_u32(&a->seqs, sizeof(int64_t));
        buf_u64(&a->seqs, (uint64_t)batch->seqs[i]);
    }
    if (!batch->strict)
        return;
    array_header(&a->ids, OID_UUID, batch->n);
    for (uint32_t i = 0; i < batch->n; i++) {
        buf_u32(&a->ids, EVENT_ID_LEN);
        buf_append(&a->ids, batch->ids[i], EVENT_ID_LEN);
    }
}

static void put_u64(unsigned char to[8], uint64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(v >> (56 - 8 * i));
}

int acknowledger_send(struct acknowledger *a, struct pg_conn *conn, const struct pg_facts *facts,
                      int shard, uint64_t epoch, const struct ledger_batch *batch,
                      uint64_t position, struct err *err)
{
    static const int formats[] = {1, 1, 1, 1, 1};
    Oid types[] = {OID_INT4, OID_INT8, OID_INT8_ARRAY, OID_UUID_ARRAY, 0};
    unsigned char shard_bytes[4];
    unsigned char epoch_bytes[8];
    unsigned char position_bytes[8];
    int at = position_parameter(batch);
    const char *values[5] = {(const char *)shard_bytes, (const char *)epoch_bytes};
    int lengths[5] = {sizeof shard_bytes, sizeof epoch_bytes};
    struct pg_params params = {position != 0 ? at + 1 : at, types, values, lengths, formats};

    build_sql(a, facts, batch, position);
    build_arrays(a, batch);
    if (buf_cstr(&a->sql) == NULL || a->seqs.failed || a->ids.failed || a->n == BATCHES_MAX)
        return err_set(err, ERR_NOMEM, "out of memory for an acknowledgement");
    for (int i = 0; i < 4; i++)
        shard_bytes[i] = (unsigned char)((uint32_t)shard >> (24 - 8 * i));
    put_u64(epoch_bytes, epoch);
    put_u64(position_bytes, position);
    values[2] = (const char *)a->seqs.data;
    lengths[2] = (int)a->seqs.len;
    values[3] = (const char *)a->ids.data;
    lengths[3] = (int)a->ids.len;
    if (position != 0) {
        types[at] = OID_PG_LSN;
        values[at] = (const char *)position_bytes;
        lengths[at] = sizeof position_bytes;
    }
    a->sent[a->n++] = (struct sent){batch->number, batch->n};
    pg_conn_query(conn, buf_cstr(&a->sql), &params, 0, answered, a);
    return 0;
}
