/* What goes wrong, and when: each episode draws its own mixture, so that rare ones meet
 * undisturbed. */
#include "sim.h"

#include <string.h>

enum fault {
    FAULT_READ_FAILS, /* the first four are looked at by the world and the broker themselves */
    FAULT_ACK_FAILS,
    FAULT_PUT_FAILS,
    FAULT_SLOW_REPORTS,
    FAULT_KILL,
    FAULT_PAUSE,
    FAULT_STOP,
    FAULT_READ_LOST,
    FAULT_CONTROL_LOST,
    FAULT_WAKE_LOST,
    FAULT_CONTROL_STALL,
    FAULT_READ_STALL,
    FAULT_SERVER_CRASH,
    FAULT_FAIL_OVER,
    FAULT_TRUNCATE,
    FAULT_RESTORE,
    FAULT_BROKER_DOWN,
    FAULT_PARTITION_STALL,
    FAULT_PRODUCER_FATAL,
    FAULT_TOPIC_AWAY,
    FAULT_ROW_REFUSED,
    FAULT_STREAM_LOST,
    FAULT_STREAM_STALL,
    FAULTS,
};

enum ailment { HEAL_SERVER, HEAL_BROKER, HEAL_TOPIC };

static uint32_t pick(struct sim *s, const uint32_t *of, uint32_t n)
{
    return of[sim_below(s, n)];
}

/* One in so many of the rows, of old: their xids mean nothing here. */
static void preload(struct sim *s, uint32_t n)
{
    struct server *v = &s->srv;
    uint32_t first = v->nlog_rows;

    for (uint32_t i = 0; i < n; i++) {
        /* 1: an xid that will be one of ours before long */
        uint32_t lot = s->cfg.named ? 2 * sim_below(s, 2) : sim_below(s, 3);
        struct row *row = &v->rows[v->nrows];

        *row = (struct row){
            .seq = v->next_seq++,
            .xid = lot == 0   ? 3 + i
                   : lot == 1 ? v->next_xid + (uint64_t)i * 7
                              : v->next_xid + 100000 + i,
            .key = (uint16_t)(lot == 1 ? KEYS_SERIAL + sim_below(s, KEYS - KEYS_SERIAL)
                                       : sim_below(s, KEYS_SERIAL)),
            .state = ROW_LIVE,
            .put_by = NOBODY,
            .bytes = 1 + sim_below(s, 100),
            .committed = true,
            .foreign = true,
        };
        row->order = row->key < KEYS_SERIAL ? ++v->key_order[row->key] : 0;
        named_place(s, v->nrows);
        world_table_add(s, v->nrows);
        v->log_rows[v->nlog_rows++] = v->nrows++;
    }
    if (n > 0) {
        s->foreign_made = true;
        world_wrote(s, LOG_COMMIT, 0, first, true);
    }
}

/* There the relay ends at a fail-over, with an explanation: events are lost where the slot did not
 * come along, and an operator has to say what then. So there is none. */
static void draw_named(struct sim *s, struct config *c)
{
    static const uint32_t percents[] = {0, 10, 40};
    static const uint32_t unmade[] = {10, 10, 80};

    c->options.named = true;
    c->faults &= ~(1U << FAULT_FAIL_OVER);
    c->message_pct = pick(s, percents, 3);
    c->fleeting_pct = pick(s, percents, 3);
    c->delete_pct = pick(s, percents, 3);
    c->unmade_pct = pick(s, unmade, 3);
    c->invalid_pm = sim_chance(s, 25) ? 2 : 0;
    s->totals.named++;
}

/* In some of the episodes there is a stream. */
static void draw_stream(struct sim *s, struct config *c)
{
    static const uint32_t keeps[] = {16, 100, 1000, 1000};
    static const uint32_t waits[] = {0, 5, 30, 80};
    static const uint32_t standby[] = {2000, 20000, 300000};
    static const uint32_t wants[] = {300000, 1500000, 10000000};
    static const uint32_t gaps[] = {300000, 1000000, 3000000};

    c->options.stream_sweep_interval_ms = 2000 + sim_below(s, 60000);
    c->named = sim_chance(s, 20);
    c->stream = c->named || sim_chance(s, 40);
    if (!c->stream)
        return;
    c->sends_empty = sim_chance(s, 50);
    c->eager = sim_chance(s, 50);
    c->wait_pct = pick(s, waits, 4);
    c->standby_us = pick(s, standby, 3);
    c->want_us = pick(s, wants, 3);
    c->wal_keep = pick(s, keeps, 4);
    /* Each loss costs it a second or more: seldom enough that it comes to streaming. */
    if (c->fault_us > 0 && sim_chance(s, 60))
        c->fault_us = pick(s, gaps, 3);
    if (c->named)
        draw_named(s, c);
}

void faults_draw(struct sim *s)
{
    static const uint32_t windows[] = {4, 16, 64, 200};
    static const uint32_t bytes[] = {400, 4000, 100000};
    static const uint32_t pages[] = {1, 3, 16, 100, 512};
    static const uint32_t acks[] = {1, 8, 128};
    static const uint32_t thinks[] = {500, 5000, 60000, 600000};
    static const uint32_t gaps[] = {0, 30000, 100000, 1000000};
    /* Those whose harm takes several of them, or bad luck besides. */
    static const uint32_t often[] = {
        FAULT_KILL,          FAULT_PAUSE,          FAULT_SERVER_CRASH,   FAULT_SERVER_CRASH,
        FAULT_TRUNCATE,      FAULT_TRUNCATE,       FAULT_FAIL_OVER,      FAULT_CONTROL_LOST,
        FAULT_READ_LOST,     FAULT_RESTORE,        FAULT_TOPIC_AWAY,     FAULT_ROW_REFUSED,
        FAULT_ROW_REFUSED,   FAULT_PRODUCER_FATAL, FAULT_PRODUCER_FATAL, FAULT_CONTROL_STALL,
        FAULT_CONTROL_STALL, FAULT_STREAM_LOST};
    struct config *c = &s->cfg;

    *c = (struct config){
        .options = {.window_events = pick(s, windows, 4),
                    .window_bytes = pick(s, bytes, 3),
                    .page_events = pick(s, pages, 5),
                    .page_bytes = pick(s, bytes, 3),
                    .ack_events = pick(s, acks, 3),
                    .poll_interval_ms = 300 + sim_below(s, 3000),
                    .sweep_interval_ms = 1000 + sim_below(s, 20000)},
        .ttl_ms = 600 + sim_below(s, sim_chance(s, 50) ? 800 : 8000),
        .relays = sim_chance(s, 35) ? 1 : 2,
        .notify = sim_chance(s, 75),
        .latency_us = 100 + sim_below(s, 4000),
        .think_us = pick(s, thinks, 4),
        .fault_us = pick(s, gaps, 4),
        .slow_pct = sim_below(s, 3) * 5,
        .async_pct = sim_below(s, 3) * 45,
        .rollback_pct = sim_below(s, 4) * 8,
        .prepare_pct = sim_below(s, 3) * 5,
        .bulk_pct = sim_below(s, 3) * 2,
        .invalid_pm = sim_chance(s, 10) ? 1 : 0,
        .backlog_max = 50 + sim_below(s, 800),
        .preload = sim_chance(s, 30) ? sim_below(s, 300) : 0,
    };
    for (int f = 0; f < FAULTS; f++)
        if (c->fault_us > 0 && sim_chance(s, 40))
            c->faults |= 1U << f;
    c->focus = pick(s, often, sizeof often / sizeof *often);
    c->focus_pct = sim_chance(s, 75) ? 50 : 0;
    if (c->focus_pct > 0 && c->fault_us > 0) {
        c->faults |= 1U << c->focus;
        c->fault_us = sim_chance(s, 50) ? 30000 : 100000;
    }
    if (c->focus == FAULT_SERVER_CRASH)
        c->async_pct = 100; /* so that there is something to forget, and seqs come again */
    draw_stream(s, c);
    failures_draw(s, c);
    preload(s, c->preload);
}

static void on_server(struct sim *s, enum fault f)
{
    switch (f) {
    case FAULT_SERVER_CRASH:
    case FAULT_FAIL_OVER:
        if (!s->srv.up)
            return;
        world_crash(s, f == FAULT_FAIL_OVER);
        sim_at(s, s->now + 1000 + sim_spread(s, sim_chance(s, 50) ? 20000 : 500000), EV_HEAL, 0, 0,
               HEAL_SERVER, 0);
        return;
    case FAULT_TRUNCATE:
        if (s->srv.up && !s->srv.truncate_waits)
            world_truncate(s, sim_chance(s, 70));
        return;
    case FAULT_RESTORE:
        world_restore(s);
        return;
    default:
        return;
    }
}

static void on_kafka(struct sim *s, struct relay *r, enum fault f)
{
    uint32_t topic = sim_below(s, TOPICS);

    switch (f) {
    case FAULT_SLOW_REPORTS:
        s->brk.slow_until = s->now + sim_spread(s, 1000000);
        return;
    case FAULT_BROKER_DOWN:
        if (!s->brk.up)
            return;
        broker_state(s, false);
        sim_at(s, s->now + sim_spread(s, 1500000), EV_HEAL, 0, 0, HEAL_BROKER, 0);
        return;
    case FAULT_PARTITION_STALL:
        s->brk.stalled_until[sim_below(s, TOPICS * PARTITIONS)] = s->now + sim_spread(s, 1000000);
        return;
    case FAULT_PRODUCER_FATAL:
        if (r->alive && r->prod.alive && !r->prod.fatal && !r->paused && !r->ending) {
            r->prod.fatal = true;
            sim_at(s, s->now + sim_spread(s, 2000), EV_FATAL, relay_index(s, r), r->prod.gen, 0, 0);
        }
        return;
    case FAULT_TOPIC_AWAY:
        if (!s->brk.topic[topic])
            return;
        broker_topic_away(s, topic);
        sim_at(s, s->now + 50000 + sim_spread(s, 1000000), EV_HEAL, 0, 0, HEAL_TOPIC, topic);
        return;
    case FAULT_ROW_REFUSED:
        if (s->cfg.named && s->srv.nrows > 0 && sim_chance(s, 50)) /* one without a row, perhaps */
            s->srv.rows[s->srv.nrows - 1 - sim_below(s, s->srv.nrows < 20 ? s->srv.nrows : 20)]
                .bad = true;
        else if (s->srv.ntable > 0)
            s->srv.rows[s->srv.table[sim_below(s, s->srv.ntable)]].bad = true;
        return;
    default:
        return;
    }
}

static void stall(struct conn *c, int64_t until, bool both_ways)
{
    if (c->alive && c->to_relay < until)
        c->to_relay = until;
    if (c->alive && both_ways && c->to_server < until)
        c->to_server = until;
}

static void on_relay(struct sim *s, struct relay *r, enum fault f)
{
    int who = relay_index(s, r);
    int64_t late = s->now + sim_spread(s, s->cfg.ttl_ms * (sim_chance(s, 50) ? 300 : 1500));

    switch (f) {
    case FAULT_KILL:
        relay_kill(s, who);
        return;
    case FAULT_PAUSE:
        relay_pause(s, who, 1000 + sim_spread(s, s->cfg.ttl_ms * 700));
        return;
    case FAULT_STOP:
        relay_stop(s, who);
        return;
    case FAULT_READ_LOST:
    case FAULT_CONTROL_LOST:
    case FAULT_WAKE_LOST:
        if (r->alive)
            conn_break(s, r,
                       f == FAULT_READ_LOST      ? CONN_READ
                       : f == FAULT_CONTROL_LOST ? CONN_CONTROL
                                                 : CONN_WAKE,
                       sim_spread(s, 100000));
        return;
    case FAULT_STREAM_LOST:
        if (r->alive)
            conn_break(s, r, CONN_STREAM, sim_spread(s, 100000));
        return;
    case FAULT_STREAM_STALL:
        r->stream.stalled_until = late;
        s->stream_late = true;
        return;
    case FAULT_CONTROL_STALL:
        stall(&r->conns[CONN_CONTROL], late, sim_chance(s, 50));
        return;
    case FAULT_READ_STALL:
        if (r->conns[CONN_READ].alive && !r->page_at_server && r->conns[CONN_READ].to_relay < late)
            r->conns[CONN_READ].to_relay = late;
        return;
    default:
        return;
    }
}

void faults_next(struct sim *s)
{
    uint32_t f = sim_chance(s, s->cfg.focus_pct) ? s->cfg.focus : sim_below(s, FAULTS);
    /* More often where it matters: the owner. */
    int who = s->srv.lease_owner != NOBODY && sim_chance(s, 70) ? s->srv.lease_owner
                                                                : (int)sim_below(s, RELAYS);
    struct relay *r = &s->relays[who];

    if (s->calm || s->cfg.fault_us == 0)
        return; /* begun again with the next storm */
    sim_at(s, s->now + 1 + sim_spread(s, s->cfg.fault_us), EV_FAULT, 0, 0, 0, 0);
    if ((s->cfg.faults & 1U << f) == 0)
        return;
    sim_note(s, " fault", f, who, 0);
    s->totals.faults++;
    on_server(s, (enum fault)f);
    on_kafka(s, r, (enum fault)f);
    on_relay(s, r, (enum fault)f);
}

static void heal_topic(struct sim *s, uint32_t topic)
{
    /* Not before each producer has found it gone: a topic that is deleted and made again while a
     * relay has yet to hear of it is beyond what any client can keep in order. */
    for (int i = 0; i < RELAYS; i++) {
        const struct relay *r = &s->relays[i];

        if (r->alive && r->prod.alive && r->prod.known[topic] == KNOWN_YES) {
            sim_at(s, s->now + 20000, EV_HEAL, 0, 0, HEAL_TOPIC, topic);
            return;
        }
    }
    s->brk.topic[topic] = true;
}

void faults_heal(struct sim *s, uint32_t what, uint32_t which)
{
    switch ((enum ailment)what) {
    case HEAL_SERVER:
        s->srv.up = true;
        break;
    case HEAL_BROKER:
        broker_state(s, true);
        break;
    case HEAL_TOPIC:
        heal_topic(s, which);
        break;
    }
}

/* Calm: no new faults, no new transactions; what ails heals by itself. */
void faults_calm(struct sim *s, bool calm)
{
    s->calm = calm;
    s->calm_since = s->now;
    s->calm_took = 0;
    s->calm_steps = 0;
    s->calm_lsn = s->srv.lsn;
    if (s->cfg.stream && !s->cfg.named)
        sim_at(s, s->now + (calm ? 0 : sim_spread(s, s->cfg.want_us)), EV_WANT, 0, 0, 0, 0);
    if (!calm) {
        sim_at(s, s->now + sim_spread(s, s->cfg.fault_us), EV_FAULT, 0, 0, 0, 0);
        return;
    }
    for (uint32_t i = 0; i < s->srv.nrows; i++)
        world_mend(&s->srv.rows[i]);
}
