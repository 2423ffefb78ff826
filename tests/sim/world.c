/* The imagined PostgreSQL, first part: transactions that take their seq and xid long before they
 * commit, and what a reader sees of them. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

void world_init(struct sim *s)
{
    struct server *v = &s->srv;

    memset(v, 0, sizeof *v);
    v->rows = calloc(EVENTS_MAX, sizeof *v->rows);
    v->table = calloc(EVENTS_MAX, sizeof *v->table);
    v->log = calloc(LOG_MAX, sizeof *v->log);
    v->log_rows = calloc(LOG_ROWS_MAX, sizeof *v->log_rows);
    v->xids = calloc(XIDS, 1);
    if (v->rows == NULL || v->table == NULL || v->log == NULL || v->log_rows == NULL ||
        v->xids == NULL)
        abort();
    v->identity = 1 + sim_below(s, 1000);
    v->up = true;
    v->next_seq = 1;
    v->next_xid = 700 + sim_below(s, 1000);
    v->last_ended = v->last_logged = v->next_xid - 1;
    v->lsn = 1 + sim_below(s, 100000);
    for (int k = 0; k < KEYS; k++)
        v->key_txn[k] = NOBODY;
    v->lease_owner = NOBODY;
    v->lock_holder = NOBODY;
    named_init(s);
    failures_init(s);
}

void world_free(struct sim *s)
{
    named_free(s);
    failures_free(s);
    free(s->srv.rows);
    free(s->srv.table);
    free(s->srv.log);
    free(s->srv.log_rows);
    free(s->srv.xids);
}

/* ---- the table, in the order of seq ---- */

uint32_t world_lower(const struct server *v, int64_t seq)
{
    uint32_t lo = 0;
    uint32_t hi = v->ntable;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (v->rows[v->table[mid]].seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void world_table_add(struct sim *s, uint32_t row)
{
    struct server *v = &s->srv;
    uint32_t i = world_lower(v, v->rows[row].seq);

    if (i < v->ntable && v->rows[v->table[i]].seq == v->rows[row].seq)
        sim_fail(s, "the simulation itself", "a seq is there twice", v->rows[row].seq, row, 0);
    memmove(&v->table[i + 1], &v->table[i], (v->ntable - i) * sizeof *v->table);
    v->table[i] = row;
    v->ntable++;
}

void world_table_remove(struct sim *s, uint32_t row)
{
    struct server *v = &s->srv;
    uint32_t i = world_lower(v, v->rows[row].seq);

    v->ntable--;
    memmove(&v->table[i], &v->table[i + 1], (v->ntable - i) * sizeof *v->table);
}

/* ---- writers ---- */

bool world_busy(const struct server *v)
{
    for (int i = 0; i < WRITERS; i++)
        if (v->txns[i].open && v->txns[i].n > 0)
            return true;
    return false;
}

bool world_idle(const struct sim *s)
{
    return !world_busy(&s->srv) && s->srv.ntable == 0;
}

static uint32_t choose_key(struct sim *s, int slot)
{
    struct server *v = &s->srv;
    const struct txn *t = &v->txns[slot];

    if (t->n > 0 && sim_chance(s, 30))
        return v->rows[t->rows[t->n - 1]].key; /* one aggregate, several events */
    for (int tries = 0; tries < 3; tries++) {
        uint32_t key =
            s->cfg.bad_key < KEYS && sim_chance(s, 20) ? s->cfg.bad_key : sim_below(s, KEYS);

        if (key >= KEYS_SERIAL)
            return key;
        if (v->key_txn[key] == NOBODY || v->key_txn[key] == slot) {
            v->key_txn[key] = slot; /* before seq is drawn, to the end */
            return key;
        }
    }
    return KEYS_SERIAL + sim_below(s, KEYS - KEYS_SERIAL);
}

uint32_t world_new_row(struct sim *s, uint32_t key, uint64_t xid)
{
    struct server *v = &s->srv;
    uint32_t i = v->nrows++;
    uint64_t most = s->cfg.options.window_bytes;

    v->rows[i] = (struct row){
        .seq = v->next_seq++,
        .xid = xid,
        .key = (uint16_t)key,
        .state = ROW_OPEN,
        .put_by = NOBODY,
        .bytes = 1 + sim_below(s, (uint32_t)(sim_below(s, 400) == 0 ? most * 2 : most / 16 + 1)),
        .invalid = sim_below(s, 1000) < s->cfg.invalid_pm && !s->calm,
        .unput = sim_below(s, 1000) < s->cfg.unput_pm && !s->calm,
        .bad = !s->calm &&
               (sim_below(s, 1000) < s->cfg.bad_pm || (key == s->cfg.bad_key && sim_chance(s, 50))),
    };
    s->totals.events++;
    return i;
}

/* The statement trigger of the schema. */
static void trigger(struct sim *s, struct txn *t)
{
    if (t->shared)
        return;
    if (s->srv.lock_holder == NOBODY && s->srv.lock_waiters == 0)
        t->shared = true;
    else
        t->notifies = true;
}

/* Some events of a named slot have no row, or none that anybody ever sees. */
static void without_row(struct sim *s, struct row *row)
{
    struct server *v = &s->srv;

    row->message = sim_chance(s, s->cfg.message_pct);
    row->tableless = row->message || sim_chance(s, s->cfg.fleeting_pct);
    if (!row->tableless)
        return;
    row->state = ROW_GONE;
    s->totals.messages++;
    if (row->message) {
        row->seq = INT64_MIN + 1 + (int64_t)v->messages++; /* for its place in the log */
        v->next_seq--;
    }
}

static void insert_one(struct sim *s, int slot)
{
    struct server *v = &s->srv;
    struct txn *t = &v->txns[slot];
    uint32_t row;

    if (t->xid == 0)
        t->xid = world_xid(v);
    row = world_new_row(s, choose_key(s, slot), t->xid);
    t->rows[t->n++] = row;
    if (s->cfg.named)
        without_row(s, &v->rows[row]);
    if (!v->rows[row].tableless)
        world_table_add(s, row);
    if (!v->rows[row].message)
        trigger(s, t);
    sim_note(s, " insert", row, v->rows[row].seq, (int64_t)t->xid);
}

/* From here on a slot streams it and a crash may keep it; readers may not see it for a while. */
static void log_commit(struct sim *s, int slot, bool sync)
{
    struct server *v = &s->srv;
    struct txn *t = &v->txns[slot];
    uint32_t first = v->nlog_rows;

    t->logged = true;
    for (uint32_t i = 0; i < t->n; i++) {
        struct row *row = &v->rows[t->rows[i]];

        row->committed = true;
        row->txn = t->xid;
        named_place(s, t->rows[i]);
        if (row->key < KEYS_SERIAL)
            row->order = ++v->key_order[row->key];
        v->log_rows[v->nlog_rows++] = t->rows[i];
        sim_note(s, " committed", t->rows[i], row->key, row->order);
    }
    if (t->xid != 0)
        world_wrote(s, LOG_COMMIT, t->xid, first, sync);
    world_slot_ended(s, slot);
}

static void end_txn(struct sim *s, int slot, bool commit, bool crashed)
{
    struct server *v = &s->srv;
    struct txn *t = &v->txns[slot];

    if (commit && !t->logged)
        log_commit(s, slot, !sim_chance(s, s->cfg.async_pct));
    for (uint32_t i = 0; i < t->n; i++) {
        struct row *row = &v->rows[t->rows[i]];

        if (row->tableless) {
            row->committed_at = s->now;
        } else if (commit) {
            row->state = ROW_LIVE;
            row->committed_at = s->now;
        } else {
            world_table_remove(s, t->rows[i]);
            row->state = ROW_GONE;
        }
    }
    for (int k = 0; k < KEYS_SERIAL; k++)
        if (v->key_txn[k] == slot)
            v->key_txn[k] = NOBODY;
    if (t->xid > v->last_ended)
        v->last_ended = t->xid;
    t->open = false;
    t->shared = false;
    t->logged = false;
    if (!commit)
        world_slot_ended(s, slot);
    if (commit && t->n > 0) {
        check_committed(s, t->rows[0]);
        if (t->notifies)
            for (int i = 0; i < RELAYS; i++)
                conn_notify(s, &s->relays[i]);
    }
    sim_note(s, commit ? " commit" : " rollback", (int64_t)t->xid, t->n, t->notifies);
    if (!crashed)
        world_lock_grant(s);
}

static void begin(struct sim *s, int slot)
{
    struct server *v = &s->srv;
    struct txn *t = &v->txns[slot];

    if (s->calm || v->quiet || v->ntable > s->cfg.backlog_max || v->truncate_waits ||
        named_full(v) || v->nrows + WRITERS * TXN_ROWS_MAX >= EVENTS_MAX) {
        sim_at(s, s->now + (s->calm ? 500000 : 20000) + sim_spread(s, 30000), EV_WRITER, slot, 0, 0,
               0);
        return;
    }
    if (s->cfg.named && sim_chance(s, s->cfg.delete_pct))
        named_delete(s);
    *t = (struct txn){.open = true};
    t->planned = (uint16_t)(1 + sim_below(s, sim_chance(s, s->cfg.bulk_pct) ? TXN_ROWS_MAX : 4));
    t->slow = sim_chance(s, s->cfg.slow_pct);
    if (s->cfg.stream && sim_chance(s, 15)) { /* a neighbour's, that writes no event */
        t->planned = 0;
        t->xid = world_xid(v);
    }
    sim_at(s, s->now + sim_spread(s, 200), EV_WRITER, slot, 0, 0, 0);
}

void world_writer(struct sim *s, int slot)
{
    struct server *v = &s->srv;
    struct txn *t = &v->txns[slot];

    if (!v->up) {
        sim_at(s, s->now + 3000, EV_WRITER, slot, 0, 0, 0);
        return;
    }
    if (!t->open) {
        begin(s, slot);
        return;
    }
    if (t->n == 0 && t->planned > 0 && v->truncate_waits) {
        sim_at(s, s->now + 2000, EV_WRITER, slot, 0, 0, 0);
        return;
    }
    if (t->n < t->planned) {
        uint32_t some = t->planned > 8 ? 16 : 1;

        while (some-- > 0 && t->n < t->planned)
            insert_one(s, slot);
        sim_at(s, s->now + sim_spread(s, t->slow && !s->calm ? 400000 / t->planned : 300),
               EV_WRITER, slot, 0, 0, 0);
        return;
    }
    if (!t->prepared && !t->logged && sim_chance(s, s->cfg.prepare_pct)) {
        if (t->notifies) { /* PostgreSQL refuses: the application's error */
            end_txn(s, slot, false, false);
        } else {
            t->prepared = true;
            sim_at(s, s->now + sim_spread(s, s->calm ? 1000 : 500000), EV_WRITER, slot, 0, 0, 0);
            return;
        }
    } else if (t->slow && !t->logged && !s->calm) {
        t->slow = false;
        sim_at(s, s->now + sim_spread(s, 1500000), EV_WRITER, slot, 0, 0, 0);
        return;
    } else if (t->logged || sim_chance(s, s->cfg.rollback_pct)) {
        end_txn(s, slot, t->logged, false);
    } else if (sim_chance(s, s->cfg.wait_pct)) {
        log_commit(s, slot, true);
        sim_note(s, " waits for a standby", (int64_t)t->xid, t->n, 0);
        sim_at(s, s->now + sim_spread(s, s->calm ? 1000 : s->cfg.standby_us), EV_WRITER, slot, 0, 0,
               0);
        return;
    } else {
        end_txn(s, slot, true, false);
    }
    sim_at(s, s->now + sim_spread(s, s->cfg.think_us), EV_WRITER, slot, 0, 0, 0);
    if (v->truncate_waits && !world_busy(v))
        world_truncate(s, v->truncate_restarts);
}

/* ---- crashes ---- */

static void undo(struct sim *s, const struct log_entry *e)
{
    struct server *v = &s->srv;

    for (uint32_t i = e->n; i-- > 0;) {
        uint32_t index = v->log_rows[e->first + i];
        struct row *row = &v->rows[index];

        if (!s->cfg.named)
            row->put_by = NOBODY; /* what was said of it says nothing any more */
        if (e->kind == LOG_DELETE) {
            row->state = ROW_LIVE;
            if (e->truncate || row->waived || (row->taken && row->end <= v->named.begins))
                row->order = 0; /* later ones of its key have gone out meanwhile */
            row->waived = row->taken = false;
            world_table_add(s, index);
        } else if (e->kind == LOG_COMMIT) {
            if (!row->tableless)
                world_table_remove(s, index);
            row->state = ROW_GONE;
            row->waived = true;
        } else {
            failures_undo(s, e, index);
        }
    }
    v->named.lease = e->lease_slot;
    if (e->kind == LOG_LEASE) {
        v->lease_owner = e->lease_owner;
        v->lease_epoch = e->lease_epoch;
        v->lease_until = e->lease_until;
    }
    v->xids[e->xid % XIDS] = false;
    v->nlog_rows = e->first;
}

static void outlives(struct server *v, const struct txn *t)
{
    if (t->xid >= v->next_xid)
        v->next_xid = t->xid + 1;
    for (uint32_t i = 0; i < t->n; i++)
        if (v->rows[t->rows[i]].seq >= v->next_seq)
            v->next_seq = v->rows[t->rows[i]].seq + 1;
}

void world_crash(struct sim *s, bool failover)
{
    struct server *v = &s->srv;
    uint32_t survive = v->flushed;

    if (failover)
        survive = v->nlog > 40 ? v->nlog - sim_below(s, 30) : v->nlog;
    for (int i = 0; i < WRITERS; i++) /* what is in the log no longer waits */
        if (v->txns[i].open && (v->txns[i].logged || failover || !v->txns[i].prepared))
            end_txn(s, i, v->txns[i].logged, true);
    while (v->nlog > survive)
        undo(s, &v->log[--v->nlog]);
    v->flushed = v->nlog;
    if (v->nlog > 0) {
        v->next_seq = v->log[v->nlog - 1].next_seq + (sim_chance(s, 20) ? 33 : 0);
        v->next_xid = v->log[v->nlog - 1].next_xid;
        v->lsn = v->log[v->nlog - 1].end;
    }
    for (uint32_t i = 0; i < v->ntable; i++)
        if (v->rows[v->table[i]].seq >= v->next_seq)
            v->next_seq = v->rows[v->table[i]].seq + 1;
    for (int i = 0; i < WRITERS; i++) /* prepared ones survive */
        if (v->txns[i].open)
            outlives(v, &v->txns[i]);
    v->last_ended = v->last_logged = v->next_xid - 1;
    v->truncate_waits = false;
    v->lock_holder = NOBODY;
    v->lock_waiters = 0;
    named_crash(s);
    if (failover)
        v->identity++;
    v->up = false;
    for (int i = 0; i < RELAYS; i++) {
        struct relay *r = &s->relays[i];

        for (int c = 0; c < CONNS; c++)
            conn_break(s, r, (enum conn_kind)c, sim_spread(s, 30000));
        if (failover) {
            r->zombie = true;
            check_excuse(s, r, true); /* the lease may be back with an owner of before */
        }
    }
    sim_note(s, failover ? " fail-over" : " server crashed", (int64_t)v->identity, v->nlog, 0);
}
