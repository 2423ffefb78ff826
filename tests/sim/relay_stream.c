/* What relay.c does for the stream: asks for the slot, reads what it sends, one message at a time
 * and only while the pipeline lets it flow; an eager one tries each row, and waits only where that
 * was cut. */
#include "sim.h"

#include <string.h>

/* The slot goes with its connection. No answer is awaited. */
static void hang_up(struct sim *s, struct relay *r)
{
    struct conn *c = &r->conns[CONN_STREAM];

    named_left(s, r);
    c->up = c->alive = c->awaits = false;
    c->gen++;
    r->slot = (struct slot){0};
    r->stream.armed = false;
}

void stream_action(struct sim *s, struct relay *r, const struct action *a)
{
    const struct conn *c = &r->conns[CONN_STREAM];

    sim_note(s, " stream action", relay_index(s, r), (int64_t)a->kind, r->slot.state);
    if (a->kind == ACTION_STREAM_DROP) {
        hang_up(s, r);
    } else if (a->kind == ACTION_STREAM_START) {
        s->totals.streams++;
        if (s->cfg.named)
            named_start(s, r);
        else
            conn_ask(s, r, CONN_STREAM, EV_SRV_SLOT, SLOT_START);
    } else {
        if (c->up || c->awaits)
            sim_fail(s, "5 bounded", "a second slot while there is one", relay_index(s, r), 0, 0);
        r->stream.done = a->position;
        conn_open(s, r, CONN_STREAM, sim_spread(s, 3000));
    }
}

void stream_up(struct sim *s, struct relay *r)
{
    if (s->cfg.named)
        named_up(s, r);
    else
        conn_ask(s, r, CONN_STREAM, EV_SRV_SLOT, SLOT_MAKE);
}

void stream_lost(struct sim *s, struct relay *r)
{
    hang_up(s, r);
    pipeline_stream_lost(r->p, sim_ms(s));
}

void stream_slot(struct sim *s, struct relay *r, bool made)
{
    const char *text = s->mutation == MUTATION_UNCOVERED ? "3:3:" : r->slot.snapshot;
    struct slice snapshot = {(const unsigned char *)text, strlen(text)};
    struct err err;

    /* Its snapshot is fetched by a connection of its own, which may fail. */
    if (!made || (s->cfg.fault_us > 0 && !s->calm && sim_chance(s, 3))) {
        stream_lost(s, r);
        return;
    }
    r->stream = (struct stream){.number = ++s->streams,
                                .wanted = r->stream.wanted,
                                .forget = s->mutation == MUTATION_LATE_START ? 3 : 0};
    if (pipeline_stream_made(r->p, sim_ms(s), &snapshot, 0, true, &err) != 0)
        sim_fail(s, "the simulation itself", "a snapshot that does not parse", 0, 0, 0);
}

/* ---- what is streamed ---- */

static void told(struct relay *r, uint64_t lsn)
{
    r->stream.passed = lsn;
    if (lsn > r->stream.told)
        r->stream.told = lsn;
}

static void begin(struct sim *s, struct relay *r, const struct log_entry *e)
{
    uint32_t xid = s->mutation == MUTATION_OLD_XID   ? 3
                   : s->mutation == MUTATION_NO_PASS ? (uint32_t)e->xid + 1000000
                                                     : (uint32_t)e->xid;

    r->stream.begun = true;
    r->stream.row = 0;
    sim_note(s, " stream begin", (int64_t)e->xid, e->n, (int64_t)e->end);
    pipeline_stream_begin(r->p, xid);
    if (s->mutation == MUTATION_END_FIRST) {
        told(r, e->end);
        pipeline_stream_end(r->p, e->end);
    }
}

/* The mistake of going on behind a row that was not taken. */
static bool passed_over(const struct sim *s, const struct relay *r, uint32_t index, enum verdict v)
{
    uint64_t held;
    enum topic_state topic = pipeline_topic_state(r->p, key_topic(s->srv.rows[index].key), &held);

    if (v == VERDICT_INVALID)
        return s->mutation == MUTATION_PASS_INVALID;
    return s->mutation == MUTATION_STREAM_CUT ||
           (s->mutation == MUTATION_PASS_AWAY && s->cfg.named &&
            (topic == TOPIC_AWAY || topic == TOPIC_RETRYING));
}

/* False for a row that is to be offered again. */
static bool row(struct sim *s, struct relay *r, uint32_t index)
{
    struct pipeline_row in = relay_read_row(s, index);
    struct err err;
    uint64_t tag = 0;
    enum verdict v;

    if (named_overlooks(s, r, &in))
        return true;
    failures_item(s, r, index, &in);
    v = pipeline_stream_row(r->p, sim_ms(s), &in, &tag, &err);
    r->stream.held = false;
    if (v == VERDICT_CUT || (v == VERDICT_INVALID && s->cfg.named)) {
        s->totals.cuts++;
        r->stream.held = !passed_over(s, r, index, v);
        return !r->stream.held;
    }
    if (v == VERDICT_PUT) {
        s->totals.streamed++;
        relay_put(s, r, tag, index, r->stream.number);
        return true;
    }
    if (v == VERDICT_FAILED)
        failures_add(s, r, tag, index, false);
    sim_note(s, " stream verdict", (int64_t)v, index, (int64_t)s->srv.rows[index].seq);
    if (v == VERDICT_SKIP) {
        s->totals.passed++;
        check_passed(s, r, index);
    }
    return true;
}

/* Takes the next message; false when there is none, or the pipeline did not take it. */
static bool message(struct sim *s, struct relay *r)
{
    const struct log_entry *e = world_next(&s->srv, &r->slot);
    bool commit = e != NULL && e->kind == LOG_COMMIT && e->n > 0;

    if (e == NULL) {
        if (s->calm || sim_chance(s, 30)) {
            told(r, world_lsn(&s->srv));
            pipeline_stream_idle(r->p, r->stream.told);
        }
        return false;
    }
    if (commit && r->stream.forget > 0 && !r->stream.begun) {
        r->stream.forget--;
        commit = false;
    }
    if (e->xid == 0 || (!commit && !s->cfg.sends_empty)) {
        r->slot.next++;
        r->stream.passed = e->end;
    } else if (!r->stream.begun) {
        begin(s, r, e);
    } else if (commit && r->stream.row < e->n) {
        if (!row(s, r, s->srv.log_rows[e->first + r->stream.row]))
            return false;
        r->stream.row++;
    } else {
        r->stream.begun = false;
        r->slot.next++;
        told(r, e->end);
        if (s->mutation != MUTATION_END_FIRST)
            pipeline_stream_end(r->p, e->end);
    }
    return true;
}

bool stream_moves(const struct sim *s, const struct relay *r)
{
    return pipeline_stream_flows(r->p) || (s->cfg.eager && !r->stream.held);
}

void stream_turn(struct sim *s, struct relay *r)
{
    r->stream.armed = false;
    if (r->stream.stalled_until > s->now) {
        r->stream.armed = true;
        sim_at(s, r->stream.stalled_until, EV_WAL, relay_index(s, r), r->conns[CONN_STREAM].gen, 0,
               0);
        return;
    }
    for (uint32_t some = 1 + sim_below(s, 6); some > 0 && stream_moves(s, r); some--)
        if (!message(s, r))
            return;
}

void stream_arm(struct sim *s, struct relay *r)
{
    if (r->slot.state != SLOT_STREAMS || r->stream.armed || !r->conns[CONN_STREAM].alive)
        return;
    r->stream.armed = true;
    sim_at(s, s->now + 1 + sim_spread(s, s->cfg.latency_us / 8), EV_WAL, relay_index(s, r),
           r->conns[CONN_STREAM].gen, 0, 0);
}

/* The ladder changes its mind; for a calm it is made up. */
void stream_want(struct sim *s)
{
    bool again = !s->calm;

    for (int i = 0; i < RELAYS; i++) {
        struct relay *r = &s->relays[i];

        if (!r->alive || r->ending || (s->calm && r->stream.wanted))
            continue;
        again = true;
        if (r->paused || (!s->calm && sim_chance(s, 50)))
            continue;
        r->stream.wanted = !r->stream.wanted;
        pipeline_set_streaming(r->p, sim_ms(s), r->stream.wanted);
        relay_drive(s, r);
    }
    if (again)
        sim_at(s, s->now + 1 + sim_spread(s, s->calm ? 50000 : s->cfg.want_us), EV_WANT, 0, 0, 0,
               0);
}
