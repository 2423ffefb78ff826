/* What relay.c does: carries the pipeline's actions out and hands it what comes back. A relay is a
 * process; it may be killed, stopped and resumed, or asked to end. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

int relay_index(const struct sim *s, const struct relay *r)
{
    return (int)(r - s->relays);
}

/* ---- the process ---- */

void relay_start(struct sim *s, int who)
{
    struct relay *r = &s->relays[who];
    struct pipeline_options options = s->cfg.options;
    uint32_t gen = r->gen + 1;
    struct producer prod = r->prod;
    struct conn conns[CONNS];

    memcpy(conns, r->conns, sizeof conns);
    *r = (struct relay){.alive = true, .gen = gen, .prod = prod};
    memcpy(r->conns, conns, sizeof conns);
    options.seed = sim_rand(s);
    failures_begin(s, r, &options);
    if (s->mutation == MUTATION_NO_WINDOW)
        options.window_events = EVENTS_MAX;
    if (s->mutation == MUTATION_NO_SWEEP)
        options.sweep_interval_ms = INT64_MAX / 4;
    if (pipeline_new(&r->p, &options, NULL) != 0)
        abort();
    r->lease = lease_of(s->cfg.ttl_ms);
    r->stranger = s->streams;
    r->made_way = 0;
    r->tick_at = INT64_MAX;
    r->healthy_since = INT64_MAX;
    r->asleep_since = INT64_MAX;
    r->stream.wanted = s->cfg.stream;
    pipeline_set_streaming(r->p, sim_ms(s), s->cfg.stream);
    broker_producer(s, r);
    for (int c = 0; c < CONNS; c++)
        r->conns[c].up = r->conns[c].alive = r->conns[c].awaits = false;
    conn_open(s, r, CONN_READ, sim_spread(s, 3000));
    conn_open(s, r, CONN_CONTROL, sim_spread(s, 3000));
    sim_at(s, s->now + sim_spread(s, 10000), EV_KAFKA, who, r->gen, s->brk.up, 0);
}

/* The process is gone, however that came about. */
static void gone(struct sim *s, struct relay *r)
{
    for (int c = 0; c < CONNS; c++) {
        conn_break(s, r, (enum conn_kind)c, 0);
        r->conns[c].up = r->conns[c].awaits = false;
    }
    broker_discard(s, r);
    pipeline_free(r->p);
    r->p = NULL;
    r->alive = false;
    r->paused = false;
    r->gen++;
}

void relay_kill(struct sim *s, int who)
{
    struct relay *r = &s->relays[who];

    if (!r->alive)
        return;
    gone(s, r);
    check_excuse(s, r, true);
    sim_at(s, s->now + 1 + sim_spread(s, s->calm ? 1000 : 1000000), EV_START, who, 0, 0, 0);
}

void relay_pause(struct sim *s, int who, int64_t us)
{
    struct relay *r = &s->relays[who];

    if (!r->alive || r->paused)
        return;
    r->paused = true;
    r->paused_until = s->now + us;
    r->zombie = true;
    r->zombie_puts = 0;
    r->healthy_since = INT64_MAX;
    /* It may be stopped in the middle of a turn: what it had begun it ends. */
    r->grace = sim_chance(s, 50) ? sim_below(s, 6) : 0;
    sim_at(s, r->paused_until, EV_RESUME, who, r->gen, 0, 0);
}

void relay_stop(struct sim *s, int who)
{
    struct relay *r = &s->relays[who];

    if (!r->alive || r->paused)
        return;
    pipeline_stop(r->p, sim_ms(s), sim_ms(s) + 1 + sim_spread(s, sim_chance(s, 50) ? 100 : 10000));
    relay_drive(s, r);
}

/* The event that was refused is put right by an operator. */
static void operate(struct sim *s)
{
    for (uint32_t i = 0; i < s->srv.nrows; i++)
        world_mend(&s->srv.rows[i]);
}

void relay_end(struct sim *s, int who)
{
    struct relay *r = &s->relays[who];
    struct pipeline_view view;

    pipeline_view(r->p, &view);
    if (pipeline_stopping(r->p) == STOP_HALT)
        operate(s);
    gone(s, r);
    if (view.inflight_events > 0)
        check_excuse(s, r, true);
    if (s->srv.up)
        (void)world_lease(s, who, true);
    sim_at(s, s->now + 1 + sim_spread(s, s->calm ? 1000 : 500000), EV_START, who, 0, 0, 0);
}

/* ---- the pipeline's actions ---- */

static void send_ack(struct sim *s, struct relay *r, const struct ledger_batch *batch,
                     uint64_t position)
{
    uint32_t slot = 0;
    struct ack_request *q;

    while (slot < ACKS_MAX && r->acks[slot].used)
        slot++;
    if (slot == ACKS_MAX || batch->n > ACK_ROWS_MAX || (batch->n == 0 && position == 0))
        sim_fail(s, "5 bounded", "acknowledgements on their way, or rows in one", slot, batch->n,
                 0);
    q = &r->acks[slot];
    *q = (struct ack_request){.used = true,
                              .strict = batch->strict,
                              .streamed = batch->streamed,
                              .number = batch->number,
                              .n = batch->n,
                              .position = named_position(s, r, position),
                              .epoch = r->lease.epoch};
    for (uint32_t i = 0; i < batch->n; i++) {
        q->seqs[i] = batch->seqs[i];
        memcpy(&q->ids[i], batch->ids[i], sizeof q->ids[i]);
    }
    sim_note(s, " ack", batch->number, batch->n, (int64_t)position);
    conn_ask(s, r, CONN_CONTROL, EV_SRV_ACK, slot);
}

static void look_up(struct sim *s, struct relay *r, uint32_t topic)
{
    uint64_t held;

    if (s->mutation == MUTATION_NO_LOOKUP) {
        pipeline_topic(r->p, sim_ms(s), topic, TOPIC_KNOWN);
        return;
    }
    if (s->mutation == MUTATION_MUTE_LOOKUP &&
        pipeline_topic_state(r->p, topic, &held) == TOPIC_RETRYING)
        return;
    sim_at(s, s->now + sim_spread(s, s->cfg.latency_us), EV_LOOKUP, relay_index(s, r), r->prod.gen,
           topic, 0);
}

static void carry_out(struct sim *s, struct relay *r, const struct action *a)
{
    switch (a->kind) {
    case ACTION_READ:
        check_read(s, r);
        r->request = a->read;
        r->page_busy = true;
        r->page_at_server = false;
        conn_ask(s, r, CONN_READ, EV_SRV_READ, 0);
        break;
    case ACTION_ACK:
        send_ack(s, r, &a->ack, a->position);
        break;
    case ACTION_LOOKUP:
        look_up(s, r, a->topic);
        break;
    case ACTION_REBUILD:
        broker_rebuild(s, r);
        break;
    case ACTION_STREAM_MAKE:
    case ACTION_STREAM_START:
    case ACTION_STREAM_DROP:
        stream_action(s, r, a);
        break;
    case ACTION_EXIT:
        sim_note(s, " exit", relay_index(s, r), 0, 0);
        if (s->cfg.named)
            named_exits(s, r);
        broker_discard(s, r);
        r->ending = true;
        sim_at(s, s->now + 20000, EV_END, relay_index(s, r), r->gen, 0, 0);
        break;
    case ACTION_LIST: /* nothing is ever parked here */
    case ACTION_NONE:
        break;
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void relay_drive(struct sim *s, struct relay *r)
{
    struct action a;
    int64_t now = sim_ms(s);
    int64_t at = INT64_MAX;

    for (int i = 0; !r->ending; i++) {
        pipeline_next(r->p, now, &a);
        if (i > 64)
            sim_fail(s, "liveness", "the pipeline wants the same for ever", (int64_t)a.kind, at,
                     now);
        if (a.kind != ACTION_NONE) {
            carry_out(s, r, &a);
            continue;
        }
        conn_locks(s, r);
        at = pipeline_deadline(r->p, now);
        if (at > now)
            break;
    }
    if (r->ending)
        return;
    if (stream_moves(s, r) && world_next(&s->srv, &r->slot) != NULL)
        stream_arm(s, r);
    if (s->cfg.named)
        named_confirm(s, r);
    if (r->lease.held)
        at = earlier(at, lease_deadline(&r->lease));
    at = earlier(at, failures_due(r));
    if (r->conns[CONN_CONTROL].up && !lease_pending(&r->lease))
        at = earlier(at, r->lease.held ? lease_renew_at(&r->lease) : r->lease_next);
    if (at <= now)
        at = now + 1;
    if (at < INT64_MAX / 1000 && (at * 1000 < r->tick_at || r->tick_at <= s->now)) {
        r->tick_at = at * 1000;
        sim_at(s, r->tick_at, EV_TICK, relay_index(s, r), r->gen, 0, 0);
    }
}

/* ---- rows and reports ---- */

void relay_put(struct sim *s, struct relay *r, uint64_t tag, uint32_t row, uint32_t stream)
{
    struct row *v = &s->srv.rows[row];
    enum delivery why;
    uint64_t before = r->slot_tags[tag & 4095];
    struct ledger_item item;

    sim_note(s, stream == 0 ? " put" : " put from the stream", row, v->seq, (int64_t)(tag >> 48));
    check_put(s, r, row, stream);
    r->slot_tags[tag & 4095] = tag;
    v->put_tag = tag;
    if (!failures_takes(s, r, row, &why)) {
        if (v->put_by == relay_index(s, r))
            v->put_by = NOBODY;
        pipeline_put_failed(r->p, sim_ms(s), tag, why);
        if (pipeline_is_failed(r->p, tag))
            failures_add(s, r, tag, row, false);
        return;
    }
    broker_put(s, r, tag, row);
    /* A report of before: its tag's epoch is another, and here that is overlooked. */
    if (s->mutation == MUTATION_ACK_EARLY ||
        (s->mutation == MUTATION_OLD_TAGS && before != 0 && before >> 48 != tag >> 48))
        (void)pipeline_report(r->p, sim_ms(s), tag, DELIVERY_OK, &item);
}

struct pipeline_row relay_read_row(const struct sim *s, uint32_t index)
{
    const struct row *row = &s->srv.rows[index];
    struct pipeline_row in = {.item = {.seq = row->seq,
                                       .topic = key_topic(row->key),
                                       .bytes = row->bytes,
                                       .created_us = row->committed_at},
                              .xid = row->xid,
                              .message = row->message,
                              .invalid = row->invalid};

    memcpy(in.item.id, &index, sizeof index);
    return in;
}

void relay_row(struct sim *s, struct relay *r, uint32_t index)
{
    struct pipeline_row in = relay_read_row(s, index);
    uint64_t tag = 0;
    enum verdict v;

    failures_item(s, r, index, &in);
    v = pipeline_row(r->p, sim_ms(s), &in, &tag, NULL);
    if (v == VERDICT_PUT)
        relay_put(s, r, tag, index, 0);
    else if (v == VERDICT_FAILED)
        failures_add(s, r, tag, index, false);
    else
        sim_note(s, " verdict", (int64_t)v, index, in.item.seq);
    if ((v == VERDICT_SKIP && s->mutation == MUTATION_IGNORE_SKIP) ||
        (v == VERDICT_CUT && s->mutation == MUTATION_IGNORE_CUT))
        relay_put(s, r, 0, index, 0);
}

void relay_report(struct sim *s, struct relay *r, uint64_t tag, uint32_t index, enum delivery what)
{
    struct ledger_item item;
    struct row *row = &s->srv.rows[index];

    /* Of an earlier put of the row, given up since, it says nothing that anybody remembers. */
    if (row->put_by == relay_index(s, r) && row->owner_gen == r->gen && row->put_tag == tag) {
        if (what == DELIVERY_OK)
            row->put_reported = true;
        else
            row->put_by = NOBODY;
    }
    if (what == DELIVERY_LOST && s->mutation == MUTATION_LOST_OK)
        what = DELIVERY_OK;
    sim_note(s, " reported", index, (int64_t)what, (int64_t)(tag >> 48));
    if (what == DELIVERY_ROW && s->mutation == MUTATION_FAILED_OK)
        what = DELIVERY_OK;
    if (named_report(s, r, tag, what, &item) && pipeline_is_failed(r->p, tag))
        failures_add(s, r, tag, index, true);
}

static void ack_reply(struct sim *s, struct relay *r, uint32_t slot)
{
    struct ack_request *q = &r->acks[slot];
    struct slice snapshot = {(const unsigned char *)q->snapshot, strlen(q->snapshot)};
    struct err err;

    q->used = false;
    if (q->result == ACK_DONE && s->cfg.named)
        named_acked(s, r, q);
    if (q->result == ACK_DONE && q->streamed && q->partly && s->mutation != MUTATION_ACK_BLIND)
        (void)pipeline_acked_partly(r->p, sim_ms(s), q->number, &snapshot, &err);
    else
        (void)pipeline_acked(r->p, sim_ms(s), q->number, q->result);
    if (q->result == ACK_VOID)
        r->lease.held ? relay_lease_ask(s, r) : (void)0;
}

static void of_connection(struct sim *s, struct relay *r, const struct happening *h)
{
    switch ((enum kind)h->kind) {
    case EV_STREAM:
        if (h->a == 0)
            conn_stream(s, r);
        else if (h->a == 2)
            failures_look(s, r);
        else
            pipeline_notified(r->p, sim_ms(s));
        break;
    case EV_SLOT:
        if (s->cfg.named)
            named_answer(s, r, (enum slot_answer)h->a);
        else
            stream_slot(s, r, h->a == SLOT_MADE);
        break;
    case EV_WAL:
        stream_turn(s, r);
        break;
    case EV_PROVED:
        pipeline_set_notify(r->p, sim_ms(s), s->cfg.notify);
        break;
    case EV_ACK_REPLY:
        ack_reply(s, r, (uint32_t)h->a);
        break;
    case EV_RECORD_REPLY:
    case EV_LIST_REPLY:
        failures_answer(s, r, h);
        break;
    case EV_LEASE_REPLY:
        relay_lease_answer(s, r, h->a);
        break;
    case EV_LOCK_REPLY:
        r->lock = h->a == 1 ? LOCK_HELD : LOCK_NONE;
        break;
    case EV_CONN_UP:
        conn_up(s, r, (enum conn_kind)h->b);
        break;
    case EV_CONN_LOST:
        conn_lost(s, r, (enum conn_kind)h->b);
        break;
    default:
        break;
    }
}

static void of_producer(struct sim *s, struct relay *r, const struct happening *h)
{
    switch ((enum kind)h->kind) {
    case EV_SEND:
        broker_send(s, r, (uint32_t)h->a);
        break;
    case EV_REPORT:
        broker_report(s, r, (uint32_t)h->a, h->b);
        break;
    case EV_PURGED:
        broker_purged(s, r);
        break;
    case EV_LOOKUP:
        broker_lookup(s, r, (uint32_t)h->a);
        break;
    case EV_NOTICE:
        broker_notice(s, r, (uint32_t)h->a);
        break;
    case EV_UNKNOWN:
        broker_unknown(s, r, h->a, h->b);
        break;
    case EV_FATAL:
        broker_fatal(s, r);
        break;
    case EV_REBUILT:
        broker_rebuilt(s, r);
        break;
    default:
        break;
    }
}

/* Whose connection an event comes by, CONNS for none's. */
static enum conn_kind connection_of(const struct happening *h)
{
    switch ((enum kind)h->kind) {
    case EV_STREAM:
    case EV_PROVED:
        return CONN_READ;
    case EV_ACK_REPLY:
    case EV_RECORD_REPLY:
    case EV_LIST_REPLY:
    case EV_LEASE_REPLY:
        return CONN_CONTROL;
    case EV_LOCK_REPLY:
        return CONN_WAKE;
    case EV_SLOT:
    case EV_WAL:
        return CONN_STREAM;
    case EV_CONN_UP:
    case EV_CONN_LOST:
        return (enum conn_kind)h->b;
    default:
        return CONNS;
    }
}

/* EV_SEND is the producer's own thread: it does not wait for the loop's turn. */
void relay_handle(struct sim *s, struct relay *r, const struct happening *h)
{
    enum kind k = (enum kind)h->kind;
    enum conn_kind c = connection_of(h);

    if (k == EV_SEND) {
        if (h->gen == r->prod.gen)
            of_producer(s, r, h);
        return;
    }
    if (k == EV_END) {
        if (h->gen == r->gen)
            relay_end(s, relay_index(s, r));
        return;
    }
    if (r->ending || (k == EV_TICK && h->at < r->tick_at && h->at != r->tick_at))
        return;
    relay_turn(s, r);
    if (c != CONNS) {
        if (h->gen == r->conns[c].gen)
            of_connection(s, r, h);
    } else if (k == EV_TICK || k == EV_KAFKA) {
        if (h->gen != r->gen)
            return;
        if (k == EV_KAFKA)
            pipeline_kafka(r->p, sim_ms(s), s->brk.up);
    } else if (h->gen == r->prod.gen) {
        of_producer(s, r, h);
    }
    relay_drive(s, r);
    check_relay(s, r);
}
