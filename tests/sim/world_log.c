/* The imagined PostgreSQL, third part: its log, and the slots that stream it. */
#include "sim.h"

#include <string.h>

_Static_assert(RELAYS == 2 && WRITERS < 32, "a slot waits for writers by a bit each");

uint64_t world_xid(struct server *v)
{
    uint64_t xid = v->next_xid++;

    v->xids[xid % XIDS] = false;
    return xid;
}

/* ---- the log ---- */

static bool holds_log(const struct slot *slot)
{
    return slot->state == SLOT_STANDS || slot->state == SLOT_STREAMS;
}

/* Forgets the oldest entries, which no crash can reach any more and no slot has yet to stream. */
static void log_trim(struct sim *s)
{
    struct server *v = &s->srv;
    uint32_t keep = v->nlog - v->flushed + 48;
    uint32_t drop;
    uint32_t rows;

    for (int i = 0; i < RELAYS; i++) {
        const struct slot *slot = &s->relays[i].slot;

        if (holds_log(slot) && v->log_base + v->nlog - slot->next > keep)
            keep = v->log_base + v->nlog - slot->next;
    }
    drop = v->nlog > keep ? v->nlog - keep : 0;
    for (uint32_t i = 0; i < drop; i++)
        if (v->log[i].end > named_holds(v))
            drop = i;
    if (drop == 0)
        return;
    rows = v->log[drop].first;
    memmove(v->log, v->log + drop, (v->nlog - drop) * sizeof *v->log);
    memmove(v->log_rows, v->log_rows + rows, (v->nlog_rows - rows) * sizeof *v->log_rows);
    v->nlog -= drop;
    v->flushed -= drop;
    v->log_base += drop;
    v->nlog_rows -= rows;
    for (uint32_t i = 0; i < v->nlog; i++)
        v->log[i].first -= rows;
}

/* max_slot_wal_keep_size */
static void lose_slots(struct sim *s)
{
    struct server *v = &s->srv;
    uint32_t most = s->calm || s->cfg.fault_us == 0 ? LOG_MAX / 2 : s->cfg.wal_keep;

    for (int i = 0; i < RELAYS; i++) {
        struct relay *r = &s->relays[i];

        if (holds_log(&r->slot) && v->log_base + v->nlog - r->slot.next > most)
            conn_break(s, r, CONN_STREAM, sim_spread(s, 10000));
    }
}

void world_wrote(struct sim *s, enum log_kind kind, uint64_t xid, uint32_t first, bool sync)
{
    struct server *v = &s->srv;

    v->lsn += 8 + sim_below(s, 200);
    v->log[v->nlog++] = (struct log_entry){
        .kind = kind,
        .xid = xid,
        .end = v->lsn,
        .first = first,
        .n = v->nlog_rows - first,
        .next_seq = v->next_seq,
        .next_xid = v->next_xid,
        .lease_owner = v->lease_owner,
        .lease_epoch = v->lease_epoch,
        .lease_until = v->lease_until,
        .lease_slot = v->named.lease,
    };
    for (uint32_t i = first; kind == LOG_COMMIT && i < v->nlog_rows; i++) {
        struct row *row = &v->rows[v->log_rows[i]];

        row->end = v->named.placed[row->place].end = v->lsn;
    }
    v->xids[xid % XIDS] = xid != 0;
    if (xid > v->last_logged)
        v->last_logged = xid;
    if (sync)
        world_flushed(s);
    if (s->cfg.stream && !s->cfg.named)
        lose_slots(s);
    if (v->nlog + 1 >= LOG_MAX || v->nlog_rows + EVENTS_MAX >= LOG_ROWS_MAX) {
        world_flushed(s);
        log_trim(s);
        if (v->nlog + 1 >= LOG_MAX)
            sim_fail(s, "the simulation itself", "its log is full", v->nlog, 0, 0);
    }
}

void world_flushed(struct sim *s)
{
    s->srv.flushed = s->srv.nlog;
    for (int i = 0; s->cfg.stream && i < RELAYS; i++)
        if (s->relays[i].alive)
            stream_arm(s, &s->relays[i]);
}

void world_flush(struct sim *s)
{
    world_flushed(s);
    if (s->cfg.named && sim_chance(s, 20))
        named_checkpoint(s);
    sim_at(s, s->now + 1 + sim_spread(s, 300000), EV_FLUSH, 0, 0, 0, 0);
}

/* ---- slots ---- */

uint64_t world_lsn(const struct server *v)
{
    if (v->flushed == v->nlog)
        return v->lsn;
    return v->flushed == 0 ? 0 : v->log[v->flushed - 1].end;
}

const struct log_entry *world_next(const struct server *v, const struct slot *slot)
{
    uint32_t i = slot->next - v->log_base;

    return i < v->flushed ? &v->log[i] : NULL;
}

static void look_again(struct sim *s, struct relay *r)
{
    sim_at(s, s->now + sim_spread(s, 5000), EV_SRV_SLOT, relay_index(s, r),
           r->conns[CONN_STREAM].gen, SLOT_LOOK, 0);
}

void world_slot_ended(struct sim *s, int writer)
{
    for (int i = 0; i < RELAYS; i++) {
        struct slot *slot = &s->relays[i].slot;

        if (slot->state != SLOT_MAKING || (slot->waits & 1U << writer) == 0)
            continue;
        slot->waits &= ~(1U << writer);
        if (slot->waits == 0)
            look_again(s, &s->relays[i]);
    }
}

/* The exported snapshot: all whose commit is in the log, whether readers see it or not. False for
 * one that is too large. */
static bool export(const struct server *v, char *text)
{
    uint64_t xip[SLOT_XIPS];
    uint64_t xmax = v->last_logged + 1;
    uint64_t xmin = xmax;
    uint32_t n = 0;

    for (int i = 0; i < WRITERS; i++) {
        const struct txn *t = &v->txns[i];

        if (t->open && !t->logged && t->xid != 0 && t->xid < xmin)
            xmin = t->xid;
    }
    for (uint64_t xid = xmin; xid < xmax; xid++) {
        if (v->xids[xid % XIDS])
            continue;
        if (n == SLOT_XIPS)
            return false; /* those that were rolled back count too */
        xip[n++] = xid;
    }
    (void)world_print_snapshot(text, xmax, xip, n);
    return true;
}

/* All that was running has ended: the slot stands here, unless something comes between. */
static void stand(struct sim *s, struct relay *r)
{
    struct server *v = &s->srv;
    bool troubled = s->cfg.fault_us > 0 && !s->calm;

    if (troubled && sim_chance(s, 15)) {
        sim_at(s, s->now + sim_spread(s, 200000), EV_SRV_SLOT, relay_index(s, r),
               r->conns[CONN_STREAM].gen, SLOT_LOOK, 0);
        return;
    }
    if ((troubled && sim_chance(s, 5)) || !export(v, r->slot.snapshot)) {
        r->slot.state = SLOT_NONE;
        conn_answer(s, r, CONN_STREAM, EV_SLOT, SLOT_REFUSED);
        return;
    }
    for (int i = 0; i < WRITERS; i++)
        s->totals.unseen += v->txns[i].logged && v->txns[i].n > 0;
    r->slot.state = SLOT_STANDS;
    r->slot.next = v->log_base + v->nlog;
    world_flushed(s);
    if (s->cfg.named)
        named_stands(s, r);
    s->totals.slots++;
    sim_note(s, " slot", relay_index(s, r), (int64_t)v->lsn, r->slot.next);
    conn_answer(s, r, CONN_STREAM, EV_SLOT, SLOT_MADE);
}

void world_slot(struct sim *s, struct relay *r, enum slot_ask ask, uint64_t lsn)
{
    const struct server *v = &s->srv;
    struct slot *slot = &r->slot;

    if (s->cfg.named && ask != SLOT_LOOK && (ask != SLOT_MAKE || named_taken(s, r))) {
        named_slot(s, r, ask, lsn);
        return;
    }
    switch (ask) {
    case SLOT_MAKE:
        slot->state = SLOT_MAKING;
        for (int i = 0; i < WRITERS; i++)
            if (v->txns[i].open && v->txns[i].xid != 0 && !v->txns[i].logged)
                slot->waits |= 1U << i;
        if (slot->waits == 0)
            look_again(s, r);
        break;
    case SLOT_LOOK:
        if (slot->state == SLOT_MAKING)
            stand(s, r);
        break;
    case SLOT_START:
        if (slot->state != SLOT_STANDS)
            sim_fail(s, "the simulation itself", "a slot is started that does not stand",
                     relay_index(s, r), slot->state, 0);
        slot->state = SLOT_STREAMS;
        stream_arm(s, r);
        break;
    default:
        break;
    }
}
