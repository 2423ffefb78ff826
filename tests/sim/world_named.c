/* The imagined PostgreSQL, fourth part: a slot that stays, and what the lease's row says of it. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define PLACES_MAX ((size_t)EVENTS_MAX * 2)

void named_init(struct sim *s)
{
    struct named *n = &s->srv.named;

    n->reader = NOBODY;
    n->begins = UINT64_MAX;
    n->placed = calloc(PLACES_MAX, sizeof *n->placed);
    if (n->placed == NULL)
        abort();
}

void named_free(struct sim *s)
{
    free(s->srv.named.placed);
}

void named_place(struct sim *s, uint32_t row)
{
    struct server *v = &s->srv;

    if (v->places + 1 == PLACES_MAX)
        sim_fail(s, "the simulation itself", "too many places in the log", v->places, 0, 0);
    v->rows[row].place = ++v->places;
    v->named.placed[v->places].row = row;
}

/* ---- the log that it holds ---- */

uint64_t named_holds(const struct server *v)
{
    return v->named.exists ? v->named.saved : UINT64_MAX;
}

/* The first entry that ends behind lsn. */
static uint32_t entry_behind(const struct server *v, uint64_t lsn)
{
    uint32_t lo = 0;
    uint32_t hi = v->nlog;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (v->log[mid].end <= lsn)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool named_full(const struct server *v)
{
    return v->named.exists && v->nlog - entry_behind(v, v->named.saved) > LOG_MAX / 3;
}

void named_checkpoint(struct sim *s)
{
    s->srv.named.saved = s->srv.named.confirmed;
}

void named_crash(struct sim *s)
{
    struct named *n = &s->srv.named;

    n->confirmed = n->saved;
    n->reader = NOBODY;
    n->busy_until = 0;
}

/* ---- the lease ---- */

void named_store(struct sim *s, uint64_t lsn)
{
    struct lease_slot *l = &s->srv.named.lease;

    sim_note(s, " stored", (int64_t)lsn, (int64_t)l->lsn, l->table);
    check_position(s, lsn);
    if (lsn > l->lsn)
        l->lsn = lsn;
    l->table = false;
    s->totals.stored++;
}

/* The statement's condition, and its entry in the log; it is flushed before its answer. */
static bool lease_is_ours(struct sim *s, const struct relay *r)
{
    struct server *v = &s->srv;

    if (r->slot.epoch != v->lease_epoch)
        return false;
    v->last_ended = world_xid(v);
    world_wrote(s, LOG_LEASE, v->last_ended, v->nlog_rows, false);
    return true;
}

static enum slot_answer mark(struct sim *s, const struct relay *r)
{
    if (!lease_is_ours(s, r))
        return SLOT_REFUSED;
    s->srv.named.lease = (struct lease_slot){.marked = true};
    return SLOT_MARKED;
}

static enum slot_answer record(struct sim *s, const struct relay *r)
{
    if (!lease_is_ours(s, r))
        return SLOT_REFUSED;
    s->srv.named.lease = (struct lease_slot){
        .marked = true, .recorded = true, .table = true, .made = r->slot.made, .lsn = r->slot.lsn};
    return SLOT_RECORDED;
}

/* ---- the slot ---- */

static bool in_use(const struct sim *s)
{
    return s->srv.named.reader != NOBODY || s->srv.named.busy_until > s->now;
}

bool named_taken(const struct sim *s, const struct relay *r)
{
    bool taken = s->srv.named.exists;

    for (int i = 0; i < RELAYS; i++)
        taken = taken || (&s->relays[i] != r && s->relays[i].slot.state == SLOT_MAKING);
    return taken;
}

void named_stands(struct sim *s, struct relay *r)
{
    struct named *n = &s->srv.named;
    struct slot *slot = &r->slot;

    slot->made = ++n->made;
    slot->lsn = s->srv.lsn;
    slot->table = true;
    memcpy(n->snapshots[n->made % SLOTS_KNOWN], slot->snapshot, SLOT_TEXT);
    n->exists = true;
    n->begins = n->confirmed = n->saved = slot->lsn;
}

/* Those that another relay has left behind, or will leave: a walsender is ended without asking. */
static void end_others(struct sim *s, const struct relay *r)
{
    for (int i = 0; i < RELAYS; i++) {
        struct relay *other = &s->relays[i];

        if (other != r && other->slot.sender)
            conn_break(s, other, CONN_STREAM, sim_spread(s, 30000));
    }
}

/* What does not fit together would end the relay. */
static enum slot_answer judge(struct sim *s, struct relay *r)
{
    const struct server *v = &s->srv;
    const struct named *n = &v->named;
    const struct lease_slot *l = &n->lease;
    bool busy = in_use(s);

    end_others(s, r);
    if (busy)
        return SLOT_BUSY;
    if (!l->marked && n->exists)
        sim_fail(s, "the named slot", "it exists, and the lease says nothing of it", n->made, 0, 0);
    if (!l->recorded)
        return n->exists ? SLOT_HALF_MADE : SLOT_ABSENT;
    if (!n->exists)
        sim_fail(s, "the named slot", "it is gone", (int64_t)l->lsn, l->made, n->made);
    if (n->confirmed > l->lsn)
        sim_fail(s, "the named slot", "it stands beyond what the lease says", (int64_t)n->confirmed,
                 (int64_t)l->lsn, 0);
    if (l->lsn > world_lsn(v))
        sim_fail(s, "the named slot", "the lease is beyond the server's log", (int64_t)l->lsn,
                 (int64_t)world_lsn(v), 0);
    r->slot.lsn = l->lsn;
    r->slot.table = l->table;
    memcpy(r->slot.snapshot, n->snapshots[l->made % SLOTS_KNOWN], SLOT_TEXT);
    return SLOT_KNOWN;
}

/* Only one that nobody has recorded meanwhile, under an epoch that still stands. */
static enum slot_answer drop(struct sim *s, const struct relay *r)
{
    struct named *n = &s->srv.named;
    bool fenced = r->slot.epoch == s->srv.lease_epoch && !n->lease.recorded;

    if (!n->exists || in_use(s) || !fenced)
        return SLOT_REFUSED;
    n->exists = false;
    n->begins = UINT64_MAX;
    return SLOT_DROPPED;
}

/* A commit may be in the log, and in the slot's snapshot, before readers see it. */
static enum slot_answer settle(struct sim *s, struct relay *r)
{
    char text[SLOT_TEXT];
    struct snapshot now = {0};
    struct snapshot before = {0};
    bool seen;

    world_snapshot(&s->srv, text);
    if (!r->slot.table) {
        memcpy(r->slot.snapshot, text, SLOT_TEXT);
        return SLOT_SETTLED;
    }
    if (snapshot_parse(&now, text, strlen(text), NULL) != 0 ||
        snapshot_parse(&before, r->slot.snapshot, strlen(r->slot.snapshot), NULL) != 0)
        sim_fail(s, "the simulation itself", "a snapshot that does not parse", 0, 0, 0);
    seen = snapshot_covers(&now, &before) || s->mutation == MUTATION_UNSETTLED;
    snapshot_free(&now);
    snapshot_free(&before);
    if (seen && s->mutation == MUTATION_NEW_SNAPSHOT)
        memcpy(r->slot.snapshot, text, SLOT_TEXT);
    return seen ? SLOT_SETTLED : SLOT_UNSEEN;
}

static enum slot_answer start(struct sim *s, struct relay *r, uint64_t lsn)
{
    struct server *v = &s->srv;
    struct named *n = &v->named;
    uint64_t from = lsn > n->confirmed ? lsn : n->confirmed;

    if (!n->exists || in_use(s))
        return SLOT_REFUSED;
    n->reader = relay_index(s, r);
    r->slot.state = SLOT_STREAMS;
    r->slot.next = v->log_base + entry_behind(v, from);
    sim_note(s, " streams from", relay_index(s, r), (int64_t)from, (int64_t)n->confirmed);
    stream_arm(s, r);
    return SLOT_MADE;
}

static void confirm(struct sim *s, const struct relay *r, uint64_t lsn)
{
    struct named *n = &s->srv.named;

    if (n->reader != relay_index(s, r) || lsn <= n->confirmed)
        return;
    check_confirm(s, lsn);
    n->confirmed = lsn;
    if (sim_chance(s, 10))
        named_checkpoint(s);
}

void named_slot(struct sim *s, struct relay *r, enum slot_ask ask, uint64_t lsn)
{
    enum slot_answer answer = SLOT_REFUSED;

    r->slot.asked = SLOT_LOOK;
    switch (ask) {
    case SLOT_JUDGE:
        answer = judge(s, r);
        break;
    case SLOT_DROP:
        answer = drop(s, r);
        break;
    case SLOT_MARK:
        answer = mark(s, r);
        break;
    case SLOT_RECORD:
        answer = record(s, r);
        break;
    case SLOT_SETTLE:
        answer = settle(s, r);
        break;
    case SLOT_START:
        answer = start(s, r, lsn);
        break;
    case SLOT_CONFIRM:
        confirm(s, r, lsn);
        return;
    case SLOT_MAKE: /* there is one */
    case SLOT_LOOK:
        break;
    }
    sim_note(s, " slot answer", relay_index(s, r), (int64_t)ask, (int64_t)answer);
    if (ask == SLOT_START && answer == SLOT_MADE)
        return; /* what it streams is the answer */
    if (answer != SLOT_REFUSED)
        world_flushed(s);
    conn_answer(s, r, CONN_STREAM, EV_SLOT, answer);
}

void named_left(struct sim *s, struct relay *r)
{
    struct named *n = &s->srv.named;
    enum slot_ask asked = r->slot.asked;

    if (!s->cfg.named)
        return;
    if (s->srv.up && sim_chance(s, 50)) {
        if (asked == SLOT_DROP)
            (void)drop(s, r);
        else if (asked == SLOT_MARK)
            (void)mark(s, r);
        else if (asked == SLOT_RECORD)
            (void)record(s, r);
    }
    if (n->reader != relay_index(s, r))
        return;
    n->reader = NOBODY;
    n->busy_until = sim_chance(s, 50) ? s->now + sim_spread(s, 30000) : 0;
}
