/* The simulation's clockwork: chance, the queue of what happens, the trace of what has happened. */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
    [EV_WRITER] = "writer",
    [EV_FLUSH] = "flush",
    [EV_SRV_READ] = "server-read",
    [EV_SRV_ACK] = "server-ack",
    [EV_SRV_LEASE] = "server-lease",
    [EV_SRV_LOCK] = "server-lock",
    [EV_SRV_UNLOCK] = "unlock",
    [EV_LOCK_TIMEOUT] = "lock-timeout",
    [EV_SRV_SLOT] = "server-slot",
    [EV_SRV_RECORD] = "server-record",
    [EV_SRV_LIST] = "server-list",
    [EV_STREAM] = "stream",
    [EV_ACK_REPLY] = "ack-reply",
    [EV_RECORD_REPLY] = "record-reply",
    [EV_LIST_REPLY] = "list-reply",
    [EV_LEASE_REPLY] = "lease-reply",
    [EV_LOCK_REPLY] = "lock-reply",
    [EV_SLOT] = "slot",
    [EV_WAL] = "wal",
    [EV_PROVED] = "notify-proved",
    [EV_CONN_UP] = "connection-up",
    [EV_CONN_LOST] = "lost",
    [EV_TICK] = "tick",
    [EV_START] = "start",
    [EV_END] = "end",
    [EV_RESUME] = "resume",
    [EV_SEND] = "send",
    [EV_REPORT] = "report",
    [EV_PURGED] = "purged",
    [EV_LATE_APPEND] = "late-append",
    [EV_LOOKUP] = "lookup",
    [EV_NOTICE] = "topic-notice",
    [EV_UNKNOWN] = "topic-unknown",
    [EV_FATAL] = "fatal",
    [EV_REBUILT] = "rebuilt",
    [EV_KAFKA] = "kafka",
    [EV_HEAL] = "heal",
    [EV_FAULT] = "fault",
    [EV_QUIET] = "quiet",
    [EV_WANT] = "want",
    [EV_OPERATOR] = "operator",
    [EV_WAKE_CHECK] = "wake-check",
};

/* splitmix64 (Steele, Lea, Flood, 2014). */
uint64_t sim_rand(struct sim *s)
{
    uint64_t z = (s->rng += 0x9E3779B97F4A7C15U);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

uint32_t sim_below(struct sim *s, uint32_t n)
{
    return n == 0 ? 0 : (uint32_t)((sim_rand(s) >> 32) * n >> 32);
}

bool sim_chance(struct sim *s, uint32_t percent)
{
    return sim_below(s, 100) < percent;
}

int64_t sim_spread(struct sim *s, int64_t mean)
{
    uint32_t lot = sim_below(s, 16);
    int64_t top = lot == 0 ? mean * 6 : lot < 8 ? mean : mean * 2;

    return top <= 0 ? 0 : (int64_t)(sim_rand(s) % (uint64_t)(top + 1));
}

static bool before(const struct happening *x, const struct happening *y)
{
    return x->at != y->at ? x->at < y->at : x->order < y->order;
}

static void push(struct sim *s, const struct happening *h)
{
    uint32_t i = s->nqueue++;

    if (i >= QUEUE_MAX)
        sim_fail(s, "the simulation itself", "its queue is full", (int64_t)i, 0, 0);
    while (i > 0 && before(h, &s->queue[(i - 1) / 2])) {
        s->queue[i] = s->queue[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->queue[i] = *h;
}

static struct happening pop(struct sim *s)
{
    struct happening top = s->queue[0];
    struct happening last = s->queue[--s->nqueue];
    uint32_t i = 0;

    while (2 * i + 1 < s->nqueue) {
        uint32_t child = 2 * i + 1;

        if (child + 1 < s->nqueue && before(&s->queue[child + 1], &s->queue[child]))
            child++;
        if (!before(&s->queue[child], &last))
            break;
        s->queue[i] = s->queue[child];
        i = child;
    }
    s->queue[i] = last;
    return top;
}

void sim_at(struct sim *s, int64_t at, enum kind kind, int who, uint32_t gen, uint64_t a,
            uint32_t b)
{
    struct happening h = {
        .at = at < s->now ? s->now : at,
        .order = s->order++,
        .a = a,
        .b = b,
        .gen = gen,
        .kind = (uint16_t)kind,
        .who = (uint16_t)who,
    };

    push(s, &h);
}

void sim_note(struct sim *s, const char *what, int64_t a, int64_t b, int64_t c)
{
    s->notes[s->nnotes++ % NOTES] =
        (struct note){.step = s->steps, .at = s->now, .what = what, .a = a, .b = b, .c = c};
    if (s->verbose)
        printf("%10" PRIu64 " %12.3f ms  %-24s %" PRId64 " %" PRId64 " %" PRId64 "\n", s->steps,
               (double)s->now / 1000, what, a, b, c);
}

static void print_trace(const struct sim *s)
{
    uint64_t first = s->nnotes > NOTES ? s->nnotes - NOTES : 0;

    while (first < s->nnotes && s->notes[first % NOTES].step + 50 < s->steps)
        first++;
    for (; first < s->nnotes; first++) {
        const struct note *n = &s->notes[first % NOTES];

        fprintf(stderr, "%10" PRIu64 " %12.3f ms  %-24s %" PRId64 " %" PRId64 " %" PRId64 "\n",
                n->step, (double)n->at / 1000, n->what, n->a, n->b, n->c);
    }
}

static void print_relay(const struct sim *s, int who)
{
    const struct relay *r = &s->relays[who];
    struct pipeline_view v;
    uint64_t held;

    if (!r->alive) {
        fprintf(stderr, "relay %d: not running\n", who);
        return;
    }
    pipeline_view(r->p, &v);
    fprintf(stderr,
            "relay %d: paused %d ending %d owned %d source %d ack %d kafka %d sink %d caught up %d"
            " in flight %u sent %u delivered %u bytes %" PRIu64 " asleep %d page %d lock %d"
            " stream %d wanted %d slot %d flows %d producer %d fatal %d outstanding %u; topics",
            who, r->paused, r->ending, v.owned, v.source_up, v.ack_up, v.kafka_up, v.sink_ready,
            v.caught_up, v.inflight_events, v.sent, v.delivered, v.inflight_bytes,
            pipeline_asleep(r->p), r->page_busy, (int)r->lock, (int)v.stream, r->stream.wanted,
            (int)r->slot.state, pipeline_stream_flows(r->p), r->prod.alive, r->prod.fatal,
            r->prod.outstanding);
    for (uint32_t t = 0; t < TOPICS; t++)
        fprintf(stderr, " %d", (int)pipeline_topic_state(r->p, t, &held));
    fprintf(stderr, "; server: owner %d rows %u\n", s->srv.lease_owner, s->srv.ntable);
}

_Noreturn void sim_fail(struct sim *s, const char *guarantee, const char *what, int64_t a,
                        int64_t b, int64_t c)
{
    if (s->expect_caught) {
        printf("caught %s: seed %" PRIu64 " step %" PRIu64 ": %s: %s (%" PRId64 " %" PRId64
               " %" PRId64 ")\n",
               mutation_name(s->mutation), s->seed, s->steps, guarantee, what, a, b, c);
        exit(0);
    }
    print_trace(s);
    for (int i = 0; i < RELAYS; i++)
        print_relay(s, i);
    fprintf(stderr,
            "FAILED seed %" PRIu64 " step %" PRIu64 " episode %" PRIu64 " mutation %s\n"
            "guarantee: %s: %s (%" PRId64 " %" PRId64 " %" PRId64 ")\n",
            s->seed, s->steps, s->episode, mutation_name(s->mutation), guarantee, what, a, b, c);
    exit(1);
}

static bool of_relay(enum kind k)
{
    return k == EV_STREAM || k == EV_ACK_REPLY || k == EV_RECORD_REPLY || k == EV_LIST_REPLY ||
           k == EV_LEASE_REPLY || k == EV_LOCK_REPLY || k == EV_PROVED || k == EV_CONN_UP ||
           k == EV_CONN_LOST || k == EV_TICK || k == EV_SEND || k == EV_REPORT || k == EV_PURGED ||
           k == EV_LOOKUP || k == EV_NOTICE || k == EV_UNKNOWN || k == EV_FATAL || k == EV_SLOT ||
           k == EV_WAL || k == EV_REBUILT || k == EV_KAFKA || k == EV_END;
}

static void of_server(struct sim *s, const struct happening *h)
{
    struct relay *r = &s->relays[h->who];

    if (!s->srv.up)
        return;
    switch ((enum kind)h->kind) {
    case EV_SRV_READ:
        if (h->gen == r->conns[CONN_READ].gen && r->conns[CONN_READ].alive)
            world_read(s, r);
        return;
    case EV_SRV_ACK:
        if (h->gen != r->conns[CONN_CONTROL].gen || !r->conns[CONN_CONTROL].alive)
            return;
        world_ack(s, r, &r->acks[h->a]);
        /* synchronous_commit: what is answered has been flushed. */
        if (s->cfg.named && s->mutation != MUTATION_UNFLUSHED)
            world_flushed(s);
        conn_answer(s, r, CONN_CONTROL, EV_ACK_REPLY, h->a);
        return;
    case EV_SRV_RECORD:
        if (h->gen != r->conns[CONN_CONTROL].gen || !r->conns[CONN_CONTROL].alive)
            return;
        world_record(s, r, &r->failures.records[h->a]);
        conn_answer(s, r, CONN_CONTROL, EV_RECORD_REPLY, h->a);
        return;
    case EV_SRV_LIST:
        if (h->gen != r->conns[CONN_CONTROL].gen || !r->conns[CONN_CONTROL].alive)
            return;
        world_list(s, r);
        conn_answer(s, r, CONN_CONTROL, EV_LIST_REPLY, 0);
        return;
    case EV_SRV_LEASE:
        if (h->gen == r->conns[CONN_CONTROL].gen && r->conns[CONN_CONTROL].alive)
            conn_answer(s, r, CONN_CONTROL, EV_LEASE_REPLY, world_lease(s, h->who, h->a == 0));
        return;
    case EV_SRV_LOCK:
        if (h->gen == r->conns[CONN_WAKE].gen && r->conns[CONN_WAKE].alive)
            world_lock(s, h->who);
        return;
    case EV_SRV_UNLOCK:
        if (h->gen == r->conns[CONN_WAKE].gen && r->conns[CONN_WAKE].alive)
            h->a == 1 ? world_lock_refuse(s, h->who) : world_unlock(s, h->who);
        return;
    case EV_SRV_SLOT:
        if (h->gen == r->conns[CONN_STREAM].gen && r->conns[CONN_STREAM].alive)
            world_slot(s, r, (enum slot_ask)(h->a & 255), h->a >> 8);
        return;
    case EV_LOCK_TIMEOUT:
        if (h->gen == r->conns[CONN_WAKE].gen && r->conns[CONN_WAKE].alive &&
            h->a == s->srv.lock_asks[h->who])
            world_lock_refuse(s, h->who);
        return;
    default:
        return;
    }
}

bool sim_step(struct sim *s)
{
    struct happening h;
    struct relay *r;

    if (s->nqueue == 0)
        return false;
    h = pop(s);
    r = &s->relays[h.who % RELAYS];
    if (of_relay((enum kind)h.kind) && r->paused) {
        h.at = r->paused_until + 1; /* a stopped process gets it all when it goes on */
        push(s, &h);
        return true;
    }
    s->now = h.at;
    s->steps++;
    sim_note(s, kind_names[h.kind], h.who, (int64_t)h.a, h.b);
    switch ((enum kind)h.kind) {
    case EV_WRITER:
        world_writer(s, h.who);
        break;
    case EV_FLUSH:
        world_flush(s);
        break;
    case EV_START:
        if (!r->alive)
            relay_start(s, h.who);
        break;
    case EV_RESUME:
        if (r->gen == h.gen && r->paused) {
            r->paused = false;
            sim_at(s, s->now, EV_TICK, h.who, r->gen, 0, 0);
        }
        break;
    case EV_LATE_APPEND:
        broker_append(s, h.who, (uint32_t)h.a, h.b != 0);
        break;
    case EV_HEAL:
        faults_heal(s, (uint32_t)h.a, h.b);
        break;
    case EV_FAULT:
        faults_next(s);
        break;
    case EV_QUIET:
        s->srv.quiet = !s->srv.quiet;
        sim_at(s, s->now + 1 + sim_spread(s, s->srv.quiet ? 400000 : 150000), EV_QUIET, 0, 0, 0, 0);
        break;
    case EV_WANT:
        stream_want(s);
        break;
    case EV_OPERATOR:
        world_operator(s, h.a);
        break;
    case EV_WAKE_CHECK:
        check_wake(s, (uint32_t)h.a, h.b);
        break;
    case EV_SRV_READ:
    case EV_SRV_ACK:
    case EV_SRV_RECORD:
    case EV_SRV_LIST:
    case EV_SRV_LEASE:
    case EV_SRV_LOCK:
    case EV_SRV_UNLOCK:
    case EV_LOCK_TIMEOUT:
    case EV_SRV_SLOT:
        of_server(s, &h);
        break;
    default:
        if (r->alive)
            relay_handle(s, r, &h);
        break;
    }
    check_step(s);
    return true;
}
