/* What relay.c does for a named slot: finds it or makes it, statement by statement, has its stream
 * begin at the position that the lease has, and confirms to it what is stored there. */
#include "sim.h"

#include "core/pipeline_state.h"

#include <string.h>

static const int64_t again_us = 50000;

bool named_report(struct sim *s, struct relay *r, uint64_t tag, enum delivery what,
                  struct ledger_item *ret_item)
{
    bool known;

    if (s->mutation == MUTATION_LOSS_FORGOTTEN)
        r->p->checkpoint.strict = false;
    known = pipeline_report(r->p, sim_ms(s), tag, what, ret_item);
    r->p->checkpoint.strict = s->cfg.named;
    return known;
}

uint64_t named_position(const struct sim *s, const struct relay *r, uint64_t wanted)
{
    return s->mutation == MUTATION_STORE_EARLY && s->cfg.named && wanted == 0 ? r->stream.start
                                                                              : wanted;
}

/* More often while a slot is being made: it is what comes between two statements that counts. */
static bool troubled(struct sim *s, uint32_t less)
{
    return s->cfg.fault_us > 0 && !s->calm && sim_chance(s, s->cfg.unmade_pct / less);
}

static bool writes(enum slot_ask ask)
{
    return ask == SLOT_DROP || ask == SLOT_MARK || ask == SLOT_RECORD;
}

static void ask(struct sim *s, struct relay *r, enum slot_ask what, uint64_t lsn)
{
    r->slot.asked = writes(what) ? what : SLOT_LOOK;
    conn_ask(s, r, CONN_STREAM, EV_SRV_SLOT, (uint64_t)what | lsn << 8);
    if (writes(what) && troubled(s, 4)) /* whether it was carried out nobody learns */
        conn_break(s, r, CONN_STREAM, sim_spread(s, 30000));
}

static void ask_again(struct sim *s, const struct relay *r, enum slot_ask what)
{
    sim_at(s, s->now + again_us, EV_SRV_SLOT, relay_index(s, r), r->conns[CONN_STREAM].gen, what,
           0);
}

void named_up(struct sim *s, struct relay *r)
{
    r->slot = (struct slot){.asked = SLOT_LOOK, .epoch = r->lease.epoch};
    ask(s, r, SLOT_JUDGE, 0);
}

/* Where the stream begins. */
static uint64_t begins(const struct sim *s, const struct relay *r)
{
    uint64_t received = r->stream.passed;

    if (s->mutation == MUTATION_START_RECEIVED && received > r->slot.lsn)
        return received;
    return !r->slot.table && r->stream.done > r->slot.lsn ? r->stream.done : r->slot.lsn;
}

static void made(struct sim *s, struct relay *r)
{
    struct slice snapshot = {(const unsigned char *)r->slot.snapshot, strlen(r->slot.snapshot)};
    bool table = r->slot.table && s->mutation != MUTATION_TABLE_ONCE;
    uint64_t start = begins(s, r);
    struct err err;

    r->stream = (struct stream){.number = ++s->streams,
                                .wanted = true,
                                .start = start,
                                .passed = start,
                                .told = start,
                                .forget = s->mutation == MUTATION_LATE_START ? 3 : 0};
    if (!table && s->srv.lease_owner == relay_index(s, r))
        check_position(s, start);
    s->totals.resumed += !table;
    if (pipeline_stream_made(r->p, sim_ms(s), &snapshot, r->slot.lsn, table, &err) != 0)
        sim_fail(s, "the simulation itself", "a snapshot that does not parse", 0, 0, 0);
}

void named_answer(struct sim *s, struct relay *r, enum slot_answer answer)
{
    switch (answer) {
    case SLOT_REFUSED:
        stream_lost(s, r);
        break;
    case SLOT_BUSY:
        ask_again(s, r, SLOT_JUDGE);
        break;
    case SLOT_HALF_MADE:
        if (s->mutation == MUTATION_HALF_MADE) {
            r->slot.sender = true;
            r->slot.lsn = s->srv.named.confirmed;
            ask(s, r, SLOT_SETTLE, 0);
            break;
        }
        ask(s, r, SLOT_DROP, 0);
        break;
    case SLOT_ABSENT:
    case SLOT_DROPPED:
        ask(s, r, SLOT_MARK, 0);
        break;
    case SLOT_MARKED:
        r->slot.sender = true;
        ask(s, r, SLOT_MAKE, 0);
        break;
    case SLOT_MADE:
        /* Its snapshot is fetched by a connection of its own, which may fail. */
        if (troubled(s, 1))
            stream_lost(s, r);
        else
            ask(s, r, SLOT_RECORD, 0);
        break;
    case SLOT_KNOWN:
        r->slot.sender = true;
        ask(s, r, SLOT_SETTLE, 0);
        break;
    case SLOT_RECORDED:
        ask(s, r, SLOT_SETTLE, 0);
        break;
    case SLOT_UNSEEN:
        ask_again(s, r, SLOT_SETTLE);
        break;
    case SLOT_SETTLED:
        made(s, r);
        break;
    }
}

void named_start(struct sim *s, struct relay *r)
{
    ask(s, r, SLOT_START, r->stream.start);
}

/* Whoever has the time to end leaves nothing to be repeated. */
void named_exits(struct sim *s, const struct relay *r)
{
    const struct pipeline *p = r->p;

    if (p->stopping != STOP_DRAIN || sim_ms(s) >= p->stop_deadline || !p->owned || !p->ack_up ||
        p->stream != STREAM_ON || p->checkpoint.lost || p->checkpoint.open)
        return;
    for (uint32_t i = 0; i < s->srv.nrows; i++) {
        const struct row *row = &s->srv.rows[i];

        if (row->put_by == relay_index(s, r) && row->owner_gen == r->gen && row->certain &&
            row->stream == r->stream.number && row->end > pipeline_checkpoint(p))
            sim_fail(s, "4 few duplicates", "a drain leaves a position that was not stored", i,
                     (int64_t)row->end, (int64_t)pipeline_checkpoint(p));
    }
}

void named_confirm(struct sim *s, struct relay *r)
{
    uint64_t lsn =
        s->mutation == MUTATION_CONFIRM_DONE ? r->p->checkpoint.lsn : pipeline_checkpoint(r->p);

    if (r->slot.state != SLOT_STREAMS || lsn <= r->stream.confirmed || sim_chance(s, 60))
        return;
    r->stream.confirmed = lsn;
    conn_ask(s, r, CONN_STREAM, EV_SRV_SLOT, SLOT_CONFIRM | lsn << 8);
}

bool named_overlooks(const struct sim *s, const struct relay *r, const struct pipeline_row *row)
{
    return s->mutation == MUTATION_SKIP_HELD && s->cfg.named &&
           ledger_match(r->p->ledger, row->item.seq, row->item.id) == LEDGER_SAME;
}

void named_acked(struct sim *s, const struct relay *r, const struct ack_request *q)
{
    for (uint32_t i = 0; i < q->n; i++) {
        struct row *row = &s->srv.rows[q->ids[i]];

        if (row->put_by == relay_index(s, r) && row->owner_gen == r->gen && !q->early[i])
            row->certain = true;
    }
}
