/* The imagined Kafka and its idempotent producers: a queue per partition, whose head is appended in
 * batches, exactly once and in order, and reported later, in order within the partition only. A
 * producer may die between the two. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static uint32_t ring_size(const struct sim *s)
{
    return s->mutation == MUTATION_NO_WINDOW ? EVENTS_MAX * 2 : s->cfg.options.window_events;
}

static struct record *record_at(const struct sim *s, const struct partition *p, uint32_t i)
{
    return &p->ring[(p->head + i) % ring_size(s)];
}

void broker_init(struct sim *s)
{
    memset(&s->brk, 0, sizeof s->brk);
    s->brk.up = true;
    for (int t = 0; t < TOPICS; t++)
        s->brk.topic[t] = true;
}

void broker_producer(struct sim *s, struct relay *r)
{
    struct producer *p = &r->prod;

    for (int i = 0; i < TOPICS * PARTITIONS; i++) {
        struct record *ring = p->parts[i].ring;

        if (ring == NULL)
            ring = calloc(ring_size(s), sizeof *ring);
        if (ring == NULL)
            abort();
        p->parts[i] = (struct partition){.ring = ring};
    }
    p->alive = true;
    p->fatal = false;
    p->outstanding = 0;
    p->gen = ++s->producers;
    memset(p->known, 0, sizeof p->known);
    memset(p->known_at, 0, sizeof p->known_at);
}

void broker_producer_free(struct producer *p)
{
    for (int i = 0; i < TOPICS * PARTITIONS; i++)
        free(p->parts[i].ring);
    *p = (struct producer){0};
}

/* Whether a put would be taken; else why not. */
bool broker_takes(struct sim *s, struct relay *r, uint32_t topic, enum delivery *ret_why)
{
    if (!r->prod.alive || r->prod.fatal ||
        ((s->cfg.faults & 4U) != 0 && !s->calm && sim_below(s, 1000) == 0)) {
        *ret_why = DELIVERY_LOST; /* dead, or its queue is full */
        return false;
    }
    if (r->prod.known[topic] == KNOWN_AWAY && s->brk.topic[topic])
        r->prod.known[topic] = KNOWN_YES;
    *ret_why = DELIVERY_TOPIC;
    return r->prod.known[topic] != KNOWN_AWAY;
}

void broker_put(struct sim *s, struct relay *r, uint64_t tag, uint32_t row)
{
    struct producer *d = &r->prod;
    uint32_t key = s->srv.rows[row].key;
    uint32_t topic = key_topic(key);
    uint32_t index = topic * PARTITIONS + key_partition(key);
    struct partition *p = &d->parts[index];

    d->outstanding++;
    if (d->known[topic] == KNOWN_NOT && d->known_at[topic] == 0)
        d->known_at[topic] = s->now + 1000;
    if (d->known[topic] == KNOWN_NOT && d->known_at[topic] > s->now) {
        /* librdkafka 2.0.2: the first records of an unknown topic fail, later ones may go. */
        sim_at(s, s->now + 5000, EV_UNKNOWN, relay_index(s, r), d->gen, tag, row);
        return;
    }
    if (p->n == ring_size(s))
        sim_fail(s, "5 bounded", "more records in a partition than the window holds", p->n, 0, 0);
    *record_at(s, p, p->n++) = (struct record){tag, row};
    if (!p->sending) {
        p->sending = true;
        sim_at(s, s->now + sim_spread(s, s->cfg.latency_us), EV_SEND, relay_index(s, r), d->gen,
               index, 0);
    }
}

void broker_append(struct sim *s, int who, uint32_t row, bool zombie)
{
    if (!s->brk.topic[key_topic(s->srv.rows[row].key)] || s->srv.rows[row].bad)
        return;
    check_append(s, who, row, zombie);
}

static int64_t report_delay(struct sim *s)
{
    int64_t mean = s->cfg.latency_us;

    if (s->now < s->brk.slow_until && sim_chance(s, 30))
        mean += 400000;
    return sim_spread(s, mean);
}

static void tell(struct sim *s, struct relay *r, uint32_t index, uint32_t n)
{
    struct partition *p = &r->prod.parts[index];
    int64_t at = s->now + report_delay(s);

    if (at < p->reports_at)
        at = p->reports_at;
    p->reports_at = at;
    sim_at(s, at, EV_REPORT, relay_index(s, r), r->prod.gen, index, n);
}

/* Takes the record at place i out of the queue and tells the pipeline of it. */
static void finish(struct sim *s, struct relay *r, struct partition *p, uint32_t i,
                   enum delivery what)
{
    struct record rec = *record_at(s, p, i);

    for (; i > 0; i--)
        *record_at(s, p, i) = *record_at(s, p, i - 1);
    p->head = (p->head + 1) % ring_size(s);
    p->n--;
    r->prod.outstanding--;
    relay_report(s, r, rec.tag, rec.row, what);
}

/* The broker refused a row: with the gapless guarantee nothing behind it goes. */
static void refuse(struct sim *s, struct relay *r, struct partition *p)
{
    if (s->mutation == MUTATION_GAP) {
        finish(s, r, p, p->appended, DELIVERY_ROW);
        return;
    }
    r->prod.fatal = true;
    sim_at(s, s->now + sim_spread(s, s->cfg.latency_us), EV_FATAL, relay_index(s, r), r->prod.gen,
           0, 0);
}

void broker_send(struct sim *s, struct relay *r, uint32_t index)
{
    struct partition *p = &r->prod.parts[index];
    uint32_t most = 1 + sim_below(s, 24);
    uint32_t n = 0;
    bool refused = false;

    if (p->n == p->appended || r->prod.fatal) {
        p->sending = false;
        return;
    }
    if (!s->brk.up || !s->brk.topic[index / PARTITIONS] || s->brk.stalled_until[index] > s->now) {
        sim_at(s, s->now + 10000 + sim_spread(s, 20000), EV_SEND, relay_index(s, r), r->prod.gen,
               index, 0);
        return;
    }
    if (s->mutation == MUTATION_REORDER && p->n - p->appended > 1 && sim_chance(s, 10)) {
        struct record *one = record_at(s, p, p->appended);
        struct record *two = record_at(s, p, p->appended + 1);
        struct record first = *one;

        *one = *two;
        *two = first;
    }
    while (p->appended < p->n && n < most && !refused) {
        struct record *rec = record_at(s, p, p->appended);

        refused = s->srv.rows[rec->row].bad;
        s->srv.rows[rec->row].refused |= refused;
        if (refused)
            break;
        check_append(s, relay_index(s, r), rec->row, r->zombie);
        p->appended++;
        n++;
    }
    if (n > 0)
        tell(s, r, index, n);
    if (refused)
        refuse(s, r, p);
    p->sending = p->appended < p->n && !r->prod.fatal;
    if (p->sending)
        sim_at(s, s->now + sim_spread(s, s->cfg.latency_us / 2 + 1), EV_SEND, relay_index(s, r),
               r->prod.gen, index, 0);
}

void broker_report(struct sim *s, struct relay *r, uint32_t index, uint32_t n)
{
    struct partition *p = &r->prod.parts[index];

    for (; n > 0 && p->appended > 0; n--) {
        p->appended--;
        finish(s, r, p, 0, DELIVERY_OK);
    }
}

/* Which way a record that will not be sent any more is reported. */
static enum delivery purged_as(struct sim *s, const struct record *rec, bool appended)
{
    if (appended)
        return sim_chance(s, 70) ? DELIVERY_OK : DELIVERY_LOST;
    if (s->srv.rows[rec->row].bad) {
        s->srv.rows[rec->row].refused = true;
        return DELIVERY_ROW;
    }
    return sim_chance(s, 80) ? DELIVERY_LOST : DELIVERY_CLUSTER;
}

/* Some reports of a dead producer, until there are none. */
void broker_purged(struct sim *s, struct relay *r)
{
    uint32_t gen = r->prod.gen;
    uint32_t some = 1 + sim_below(s, 8);

    for (uint32_t i = 0; i < TOPICS * PARTITIONS && some > 0; i++) {
        struct partition *p = &r->prod.parts[i];

        while (p->n > 0 && some > 0 && r->prod.gen == gen) {
            bool appended = p->appended > 0;

            if (appended)
                p->appended--;
            finish(s, r, p, 0, purged_as(s, record_at(s, p, 0), appended));
            some--;
        }
    }
    if (some == 0)
        sim_at(s, s->now + sim_spread(s, 3000), EV_PURGED, relay_index(s, r), r->prod.gen, 0, 0);
}

void broker_fatal(struct sim *s, struct relay *r)
{
    r->prod.fatal = true;
    sim_at(s, s->now + sim_spread(s, 3000), EV_PURGED, relay_index(s, r), r->prod.gen, 0, 0);
    pipeline_sink_fatal(r->p, sim_ms(s));
}

/* Requests that were on their way when the producer died; only ever the head of a queue. */
static void late_requests(struct sim *s, struct relay *r)
{
    for (uint32_t i = 0; i < TOPICS * PARTITIONS; i++) {
        struct partition *p = &r->prod.parts[i];
        uint32_t most = sim_chance(s, 40) ? 1 + sim_below(s, 5) : 0;

        if (!s->brk.up || s->brk.stalled_until[i] > s->now || r->prod.fatal)
            continue;
        for (uint32_t k = p->appended; k < p->n && k < p->appended + most; k++) {
            const struct record *rec = record_at(s, p, k);

            if (s->srv.rows[rec->row].bad)
                break;
            sim_at(s, s->now + 1000, EV_LATE_APPEND, relay_index(s, r), 0, rec->row, r->zombie);
        }
    }
}

void broker_discard(struct sim *s, struct relay *r)
{
    if (!r->prod.alive)
        return;
    late_requests(s, r);
    for (uint32_t i = 0; i < TOPICS * PARTITIONS; i++) {
        struct partition *p = &r->prod.parts[i];

        p->n = p->appended = 0;
    }
    r->prod.alive = false;
    r->prod.fatal = true;
    r->prod.outstanding = 0;
    r->prod.gen = ++s->producers;
}

void broker_rebuild(struct sim *s, struct relay *r)
{
    sim_at(s, s->now + 1000 + sim_spread(s, 60000), EV_REBUILT, relay_index(s, r), r->prod.gen, 0,
           0); /* a discard meanwhile takes its place */
}

void broker_rebuilt(struct sim *s, struct relay *r)
{
    bool ok = s->calm || !sim_chance(s, 10);

    if (r->prod.alive && sim_chance(s, 80)) { /* else its reports did not come in time */
        uint32_t gen = r->prod.gen;

        for (uint32_t i = 0; i < TOPICS * PARTITIONS && r->prod.gen == gen; i++)
            while (r->prod.parts[i].n > 0) {
                struct partition *p = &r->prod.parts[i];
                bool appended = p->appended > 0;

                if (appended)
                    p->appended--;
                finish(s, r, p, 0, purged_as(s, record_at(s, p, 0), appended));
            }
    }
    broker_discard(s, r);
    if (ok) {
        broker_producer(s, r);
        check_excuse(s, r, false);
    }
    pipeline_sink_rebuilt(r->p, sim_ms(s), ok);
}

/* ---- topics ---- */

void broker_lookup(struct sim *s, struct relay *r, uint32_t topic)
{
    enum topic_answer answer = TOPIC_KNOWN;

    if (!s->brk.up || (!s->calm && sim_chance(s, 3)))
        answer = TOPIC_NO_ANSWER;
    else if (!s->brk.topic[topic])
        answer = TOPIC_REFUSED;
    if (answer == TOPIC_KNOWN)
        r->prod.known[topic] = KNOWN_YES;
    sim_note(s, " topic", topic, (int64_t)answer, 0);
    pipeline_topic(r->p, sim_ms(s), topic, answer);
}

void broker_topic_away(struct sim *s, uint32_t topic)
{
    s->brk.topic[topic] = false;
    for (int i = 0; i < RELAYS; i++) {
        if (s->relays[i].alive && s->relays[i].prod.alive)
            sim_at(s, s->now + sim_spread(s, 30000), EV_NOTICE, i, s->relays[i].prod.gen, topic, 0);
    }
}

/* The producer has found that the topic is gone: all it holds for it fails. */
void broker_notice(struct sim *s, struct relay *r, uint32_t topic)
{
    r->prod.known[topic] = KNOWN_AWAY;
    for (uint32_t i = topic * PARTITIONS; i < (topic + 1) * PARTITIONS; i++) {
        struct partition *p = &r->prod.parts[i];
        uint32_t gen = r->prod.gen;

        while (p->n > 0 && r->prod.gen == gen) {
            bool appended = p->appended > 0;

            if (appended)
                p->appended--;
            finish(s, r, p, 0, appended ? DELIVERY_OK : DELIVERY_TOPIC);
        }
    }
}

void broker_unknown(struct sim *s, struct relay *r, uint64_t tag, uint32_t row)
{
    r->prod.outstanding--;
    relay_report(s, r, tag, row, DELIVERY_TOPIC);
}

void broker_state(struct sim *s, bool up)
{
    s->brk.up = up;
    for (int i = 0; i < RELAYS; i++)
        if (s->relays[i].alive)
            sim_at(s, s->now + sim_spread(s, 50000), EV_KAFKA, i, s->relays[i].gen, up, 0);
}
