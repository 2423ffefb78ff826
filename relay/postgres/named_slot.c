#include "postgres/named_slot.h"

#include "base/clock.h"
#include "core/snapshot.h"
#include "postgres/pg_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Another process's end, and a commit's becoming visible, are looked for so often. */
static const uint64_t again_ms = 50;

struct named_slot {
    struct pg_conn *conn;
    struct named_slot_options options;
    const struct pg_facts *facts;
    struct named_slot_callbacks callbacks;
    void *arg;
    uv_timer_t timer;
    int64_t deadline;
    bool settling; /* the timer asks for the snapshot, not for the slot */
    uint64_t lsn;
    bool table;
    struct snapshot before; /* with table */
    bool closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* ---- judging ---- */

enum named_column {
    NAMED_LEASE_SLOT,
    NAMED_LEASE_SERVER,
    NAMED_LEASE_SNAPSHOT,
    NAMED_LEASE_LSN,
    NAMED_SLOT,
    NAMED_PLUGIN,
    NAMED_DATABASE,
    NAMED_OURS, /* a logical one, of this database and plugin */
    NAMED_PID,
    NAMED_LSN,
    NAMED_STATUS,
    NAMED_SERVER_LSN,
    NAMED_NOW,
    NAMED_COLUMNS,
};

void named_slot_sql(struct buf *sql, const struct pg_facts *facts)
{
    buf_printf(sql,
               "SELECT l.slot, l.slot_server, l.slot_snapshot, l.confirmed_lsn, s.slot_name,"
               " coalesce(s.plugin, s.slot_type), coalesce(s.database, '-'),"
               " s.plugin = 'pgoutput' AND s.database = pg_catalog.current_database(),"
               " s.active_pid, s.confirmed_flush_lsn, s.wal_status,"
               " pg_catalog.pg_current_wal_lsn(), pg_catalog.pg_current_snapshot()"
               " FROM %s l LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $1"
               " WHERE l.shard = 0",
               facts->lease);
}

static const char *value(const PGresult *res, enum named_column column)
{
    return PQgetisnull(res, 0, (int)column) ? NULL : PQgetvalue(res, 0, (int)column);
}

static uint64_t lsn_of(const PGresult *res, enum named_column column)
{
    const char *text = value(res, column);
    uint64_t lsn = 0;

    return text != NULL && pg_lsn(text, &lsn) ? lsn : 0;
}

struct named_anew named_slot_anew(const struct pg_facts *facts, const char *slot)
{
    struct named_anew a;
    char drop[128] = "";

    if (slot != NULL)
        (void)snprintf(drop, sizeof drop, "SELECT pg_drop_replication_slot('%s'); ", slot);
    (void)snprintf(
        a.text, sizeof a.text,
        "To begin anew with what is in %s (logical messages, and rows deleted since, are "
        "lost): %sUPDATE %s SET slot = NULL",
        facts->table, drop, facts->lease);
    return a;
}

static void server_text(const struct pg_facts *facts, char text[48])
{
    (void)snprintf(text, 48, "%" PRIu64 "/%" PRIu32, facts->identity.system_identifier,
                   facts->identity.timeline);
}

/* The lease says nothing of any slot. */
static int judge_new(const PGresult *res, const struct pg_facts *facts, const char *name,
                     enum named_step *ret, struct err *err)
{
    char server[48];

    *ret = NAMED_MAKE;
    if (value(res, NAMED_SLOT) == NULL)
        return 0;
    server_text(facts, server);
    return err_set(err, ERR_CONFIG,
                   "slot \"%s\" exists, and %s says nothing of it: somebody else's, or made by "
                   "hand. If it is Debezium's, which published from this table: outbox-relay adopt "
                   "--slot %s prints how to read on where that has got to. If nobody reads it: "
                   "SELECT pg_drop_replication_slot('%s'), and the relay "
                   "makes its own. Or, to read on where it stands, behind what the table has (some "
                   "events may come twice): UPDATE %s SET slot = '%s', slot_server = '%s', "
                   "slot_snapshot = pg_current_snapshot()::text, confirmed_lsn = (SELECT "
                   "confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '%s')",
                   name, facts->lease, name, name, facts->lease, name, server, name);
}

/* What the lease says, and what the server has. */
static int judge_known(const PGresult *res, const struct pg_facts *facts, const char *name,
                       struct err *err)
{
    const char *confirmed = value(res, NAMED_LEASE_LSN);
    const char *server = value(res, NAMED_LEASE_SERVER);
    bool there = value(res, NAMED_SLOT) != NULL;
    struct named_anew forget = named_slot_anew(facts, there ? name : NULL);
    char here[48];
    char along[400] = "";

    server_text(facts, here);
    if (server == NULL || strcmp(server, here) != 0) {
        if (there)
            (void)snprintf(along, sizeof along,
                           "If the slot came along with a fail-over: UPDATE %s SET slot_server = "
                           "'%s'. ",
                           facts->lease, here);
        return err_set(
            err, ERR_CONFIG,
            "slot \"%s\" was read up to %s on server %s, and this is %s: another server, "
            "or another timeline of it (a fail-over, a restore?). %s%s",
            name, confirmed, server == NULL ? "unknown" : server, here, along, forget.text);
    }
    if (!there)
        return err_set(err, ERR_CONFIG, "slot \"%s\" is gone, which was read up to %s. %s", name,
                       confirmed, forget.text);
    if (value(res, NAMED_STATUS) != NULL && strcmp(value(res, NAMED_STATUS), "lost") == 0)
        return err_set(err, ERR_CONFIG,
                       "slot \"%s\" has lost WAL behind %s, up to where it was read "
                       "(max_slot_wal_keep_size?). %s",
                       name, confirmed, forget.text);
    if (lsn_of(res, NAMED_LEASE_LSN) > lsn_of(res, NAMED_SERVER_LSN))
        return err_set(
            err, ERR_CONFIG,
            "slot \"%s\" was read up to %s, and the server's log ends at %s: it has lost "
            "what came between (a restore?). To go on where the slot stands (events may "
            "come twice): UPDATE %s SET confirmed_lsn = '%s'. %s",
            name, confirmed, value(res, NAMED_SERVER_LSN), facts->lease, value(res, NAMED_LSN),
            forget.text);
    if (lsn_of(res, NAMED_LSN) > lsn_of(res, NAMED_LEASE_LSN))
        return err_set(err, ERR_CONFIG,
                       "slot \"%s\" stands at %s, and was read up to %s only: somebody moved it or "
                       "made it anew, and what committed between does not come. To go on all the "
                       "same: UPDATE %s SET confirmed_lsn = '%s'. %s",
                       name, value(res, NAMED_LSN), confirmed, facts->lease, value(res, NAMED_LSN),
                       forget.text);
    return 0;
}

static int judge_other(const PGresult *res, const struct pg_facts *facts, const char *name,
                       struct err *err)
{
    const char *other = value(res, NAMED_LEASE_SLOT);
    struct named_anew forget = named_slot_anew(facts, other);

    return err_set(err, ERR_CONFIG,
                   "source.slot is \"%s\", and slot \"%s\" is the one that was read, up to %s: set "
                   "source.slot to that. %s",
                   name, other,
                   value(res, NAMED_LEASE_LSN) == NULL ? "nothing" : value(res, NAMED_LEASE_LSN),
                   forget.text);
}

int named_slot_judge(const PGresult *res, const struct pg_facts *facts, const char *name,
                     enum named_step *ret_step, struct wal_start *ret_start, struct err *err)
{
    const char *slot = value(res, NAMED_LEASE_SLOT);
    const char *snapshot = value(res, NAMED_LEASE_SNAPSHOT);
    const char *ours = value(res, NAMED_OURS);
    int rc;

    if (ours != NULL && ours[0] != 't')
        return err_set(err, ERR_CONFIG,
                       "slot \"%s\" is of plugin %s and database %s: name another one in "
                       "source.slot, or SELECT pg_drop_replication_slot('%s')",
                       name, value(res, NAMED_PLUGIN), value(res, NAMED_DATABASE), name);
    if (slot == NULL)
        return judge_new(res, facts, name, ret_step, err);
    if (strcmp(slot, name) != 0)
        return judge_other(res, facts, name, err);
    if (value(res, NAMED_LEASE_LSN) == NULL) {
        *ret_step = value(res, NAMED_SLOT) == NULL ? NAMED_MAKE : NAMED_MAKE_AGAIN;
    } else {
        rc = judge_known(res, facts, name, err);
        if (rc != 0)
            return rc;
        *ret_step = NAMED_RESUME;
        ret_start->lsn = lsn_of(res, NAMED_LEASE_LSN);
        ret_start->table = snapshot != NULL;
        if (snapshot == NULL)
            snapshot = value(res, NAMED_NOW);
        ret_start->snapshot = (struct slice){(const unsigned char *)snapshot, strlen(snapshot)};
    }
    if (value(res, NAMED_PID) != NULL)
        *ret_step = NAMED_BUSY;
    return 0;
}

/* ---- statements ---- */

static void look(struct named_slot *s);
static void ask_snapshot(struct named_slot *s);

static void fail(struct named_slot *s, const struct err *why)
{
    if (!s->closing)
        s->callbacks.on_failed(s->arg, why);
}

static void query(struct named_slot *s, struct buf *sql, const struct pg_params *params,
                  pg_result_fn done)
{
    pg_conn_query(s->conn, buf_cstr(sql), params, 0, done, s);
    buf_free(sql);
}

static void on_timer(uv_timer_t *timer)
{
    struct named_slot *s = timer->data;

    if (s->settling)
        ask_snapshot(s);
    else
        look(s);
}

static void again(struct named_slot *s, const struct err *why)
{
    if (clock_boot_ms() < s->deadline)
        (void)uv_timer_start(&s->timer, on_timer, again_ms, 0);
    else
        fail(s, why);
}

static void busy(struct named_slot *s, const char *pid)
{
    struct err err;

    (void)err_set(&err, ERR_UNAVAILABLE, "slot \"%s\" is in use by process %s", s->options.name,
                  pid);
    again(s, &err);
}

static void unseen(struct named_slot *s)
{
    struct err err;

    (void)err_set(&err, ERR_UNAVAILABLE,
                  "what committed before slot \"%s\" began is not visible yet (does it wait for a "
                  "standby, by synchronous_commit?)",
                  s->options.name);
    again(s, &err);
}

/* Of the parameter that is the epoch, "$N". */
static void where_lease_is_ours(struct buf *sql, const char *epoch)
{
    buf_printf(sql,
               " WHERE shard = 0 AND (epoch = %s::bigint OR (%s::bigint = %d AND (owner IS NULL OR"
               " renewed_at + ttl_ms * interval '1 ms' < pg_catalog.clock_timestamp())))",
               epoch, epoch, LEASE_EPOCH_NOBODY);
}

/* Of a statement under the lease; false after failing. */
static bool updated(struct named_slot *s, const PGresult *res, const struct err *why)
{
    struct err err;

    if (s->closing)
        return false;
    if (why == NULL && PQntuples(res) != 1) {
        (void)err_set(&err, ERR_UNAVAILABLE,
                      "another relay owns the outbox, and makes the slot where it is set to");
        why = &err;
    }
    if (why != NULL)
        fail(s, why);
    return why == NULL;
}

static void marked(void *arg, const PGresult *res, const struct err *why)
{
    struct named_slot *s = arg;

    if (updated(s, res, why))
        s->callbacks.on_ready(s->arg, NAMED_MAKE);
}

/* A slot that a killed relay leaves behind half made is known by this. */
static void mark(struct named_slot *s)
{
    char server[48];
    char epoch[24];
    const char *values[] = {s->options.name, server, epoch};
    struct pg_params params = {.n = 3, .values = values};
    struct buf sql = {0};

    server_text(s->facts, server);
    (void)snprintf(epoch, sizeof epoch, "%" PRIu64, s->options.epoch);
    buf_printf(&sql,
               "UPDATE %s SET slot = $1, slot_server = $2, slot_snapshot = NULL,"
               " confirmed_lsn = NULL",
               s->facts->lease);
    where_lease_is_ours(&sql, "$3");
    buf_printf(&sql, " RETURNING 1");
    query(s, &sql, &params, marked);
}

static void dropped(void *arg, const PGresult *res, const struct err *why)
{
    struct named_slot *s = arg;

    if (updated(s, res, why))
        mark(s);
}

/* Under the lease's lock, and looked at once more: a successor may have made it whole since. */
static void drop(struct named_slot *s)
{
    char epoch[24];
    const char *values[] = {s->options.name, epoch};
    struct pg_params params = {.n = 2, .values = values};
    struct buf sql = {0};

    (void)snprintf(epoch, sizeof epoch, "%" PRIu64, s->options.epoch);
    buf_printf(&sql, "WITH l AS MATERIALIZED (SELECT slot FROM %s", s->facts->lease);
    where_lease_is_ours(&sql, "$2");
    buf_printf(&sql, " AND slot = $1 AND confirmed_lsn IS NULL FOR UPDATE)"
                     " SELECT pg_catalog.pg_drop_replication_slot(slot::name) FROM l");
    query(s, &sql, &params, dropped);
}

static void looked(void *arg, const PGresult *res, const struct err *why)
{
    struct named_slot *s = arg;
    struct wal_start start = {0};
    enum named_step step = NAMED_BUSY;
    struct err err;
    int rc = 0;

    if (s->closing)
        return;
    if (why == NULL && (PQntuples(res) != 1 || PQnfields(res) != NAMED_COLUMNS)) {
        (void)err_set(&err, ERR_UNAVAILABLE, "the lease has no row");
        why = &err;
    }
    if (why == NULL)
        rc = named_slot_judge(res, s->facts, s->options.name, &step, &start, &err);
    if (rc == 0 && why == NULL && step == NAMED_RESUME && start.table)
        rc =
            snapshot_parse(&s->before, (const char *)start.snapshot.data, start.snapshot.len, &err);
    if (why != NULL || rc != 0) {
        fail(s, why != NULL ? why : &err);
        return;
    }
    s->lsn = start.lsn;
    s->table = start.table;
    if (s->options.look_only || step == NAMED_RESUME)
        s->callbacks.on_ready(s->arg, step);
    else if (step == NAMED_BUSY)
        busy(s, value(res, NAMED_PID));
    else if (step == NAMED_MAKE_AGAIN)
        drop(s);
    else
        mark(s);
}

static void look(struct named_slot *s)
{
    const char *values[] = {s->options.name};
    struct pg_params params = {.n = 1, .values = values};
    struct buf sql = {0};

    named_slot_sql(&sql, s->facts);
    query(s, &sql, &params, looked);
}

/* ---- settling ---- */

/* A commit that is in the log may become visible to reads later: it waits for a standby, say. */
static void snapshot_told(void *arg, const PGresult *res, const struct err *why)
{
    struct named_slot *s = arg;
    struct wal_start start = {.lsn = s->lsn, .table = s->table};
    struct snapshot now = {0};
    struct err err;
    const char *text = "";

    if (s->closing)
        return;
    if (why == NULL) {
        text = PQgetvalue(res, 0, 0);
        if (snapshot_parse(&now, text, strlen(text), &err) != 0)
            why = &err;
    }
    if (why != NULL) {
        fail(s, why);
    } else if (s->table && !snapshot_covers(&now, &s->before)) {
        unseen(s);
    } else {
        if (s->table)
            text = snapshot_text(&s->before);
        start.snapshot = (struct slice){(const unsigned char *)text, strlen(text)};
        s->callbacks.on_start(s->arg, &start);
    }
    snapshot_free(&now);
}

static void ask_snapshot(struct named_slot *s)
{
    pg_conn_query(s->conn, "SELECT pg_catalog.pg_current_snapshot()", NULL, 0, snapshot_told, s);
}

void named_slot_resume(struct named_slot *s)
{
    s->settling = true;
    s->deadline = clock_boot_ms() + s->options.timeout_ms;
    ask_snapshot(s);
}

static void recorded(void *arg, const PGresult *res, const struct err *why)
{
    struct named_slot *s = arg;

    if (updated(s, res, why))
        named_slot_resume(s);
}

void named_slot_record(struct named_slot *s, const char *snapshot, uint64_t lsn)
{
    char at[32];
    char epoch[24];
    const char *values[] = {snapshot, at, epoch, s->options.name};
    struct pg_params params = {.n = 4, .values = values};
    struct buf sql = {0};
    struct err err;

    if (snapshot_parse(&s->before, snapshot, strlen(snapshot), &err) != 0) {
        fail(s, &err);
        return;
    }
    s->lsn = lsn;
    s->table = true;
    (void)snprintf(at, sizeof at, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
    (void)snprintf(epoch, sizeof epoch, "%" PRIu64, s->options.epoch);
    buf_printf(&sql, "UPDATE %s SET slot_snapshot = $1, confirmed_lsn = $2::pg_catalog.pg_lsn",
               s->facts->lease);
    where_lease_is_ours(&sql, "$3");
    buf_printf(&sql, " AND slot = $4 RETURNING 1");
    query(s, &sql, &params, recorded);
}

/* ---- life ---- */

int named_slot_open(struct named_slot **ret, uv_loop_t *loop, struct pg_conn *conn,
                    const struct named_slot_options *options, const struct pg_facts *facts,
                    const struct named_slot_callbacks *callbacks, void *arg, struct err *err)
{
    struct named_slot *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for a slot");
    s->conn = conn;
    s->options = *options;
    s->facts = facts;
    s->callbacks = *callbacks;
    s->arg = arg;
    s->deadline = clock_boot_ms() + options->timeout_ms;
    (void)uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    *ret = s;
    look(s);
    return 0;
}

static void timer_closed(uv_handle_t *handle)
{
    struct named_slot *s = handle->data;

    s->on_closed(s->closed_arg);
    snapshot_free(&s->before);
    free(s);
}

void named_slot_stop(struct named_slot *s)
{
    if (s == NULL)
        return;
    s->closing = true;
    (void)uv_timer_stop(&s->timer);
}

void named_slot_close(struct named_slot *s, void (*on_closed)(void *arg), void *arg)
{
    if (s == NULL) {
        on_closed(arg);
        return;
    }
    s->closing = true;
    s->on_closed = on_closed;
    s->closed_arg = arg;
    uv_close((uv_handle_t *)&s->timer, timer_closed);
}
