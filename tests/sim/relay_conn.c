/* The relay's connections to the server: one that listens and reads, one for acknowledgements and
 * the lease, one that waits for the wake-up lock, one that streams. Each keeps its order; each may
 * break, and the relay learns of it later. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static int64_t in_order(struct sim *s, int64_t *last)
{
    int64_t at = s->now + sim_spread(s, s->cfg.latency_us);

    if (at < *last)
        at = *last;
    *last = at;
    return at;
}

void conn_ask(struct sim *s, struct relay *r, enum conn_kind kind, enum kind what, uint64_t a)
{
    struct conn *c = &r->conns[kind];

    sim_at(s, in_order(s, &c->to_server), what, relay_index(s, r), c->gen, a, 0);
}

void conn_answer(struct sim *s, struct relay *r, enum conn_kind kind, enum kind what, uint64_t a)
{
    struct conn *c = &r->conns[kind];

    sim_at(s, in_order(s, &c->to_relay), what, relay_index(s, r), c->gen, a, 0);
}

void conn_open(struct sim *s, struct relay *r, enum conn_kind kind, int64_t delay)
{
    struct conn *c = &r->conns[kind];

    c->awaits = true;
    c->gen++;
    sim_at(s, s->now + delay, EV_CONN_UP, relay_index(s, r), c->gen, 0, kind);
}

void conn_break(struct sim *s, struct relay *r, enum conn_kind kind, int64_t delay)
{
    struct conn *c = &r->conns[kind];

    if (!c->alive && !c->awaits)
        return;
    if (kind == CONN_STREAM)
        named_left(s, r);
    c->alive = false;
    c->gen++;
    r->healthy_since = INT64_MAX;
    if (kind == CONN_WAKE)
        world_unlock(s, relay_index(s, r));
    if (kind == CONN_STREAM)
        r->slot = (struct slot){0};
    /* What has been sent may have reached the server; what it answers is lost. */
    for (int i = 0; kind == CONN_CONTROL && i < ACKS_MAX; i++)
        if (r->acks[i].used && s->srv.up && sim_chance(s, 50))
            world_ack(s, r, &r->acks[i]);
    if (kind == CONN_CONTROL && s->srv.up)
        failures_broken(s, r);
    sim_at(s, s->now + delay, EV_CONN_LOST, relay_index(s, r), c->gen, 0, kind);
}

void conn_lost(struct sim *s, struct relay *r, enum conn_kind kind)
{
    struct conn *c = &r->conns[kind];
    bool was_up = c->up;

    c->up = c->alive = c->awaits = false;
    if (was_up && kind == CONN_READ) {
        r->page_busy = false;
        r->notify_waits = false;
        pipeline_source_lost(r->p, sim_ms(s));
    } else if (was_up && kind == CONN_CONTROL) {
        for (int i = 0; i < ACKS_MAX; i++)
            r->acks[i].used = false;
        if (lease_pending(&r->lease))
            lease_refused(&r->lease);
        failures_disconnected(r);
        pipeline_ack_lost(r->p, sim_ms(s));
    } else if (kind == CONN_WAKE) {
        r->lock = LOCK_NONE;
        pipeline_lock_lost(r->p, sim_ms(s));
        return; /* opened again when it is wanted */
    } else if (kind == CONN_STREAM) {
        stream_lost(s, r);
        return; /* asked for again */
    }
    conn_open(s, r, kind, 1000 + sim_spread(s, 100000));
}

/* The other connections still lead to the server that was. */
static void server_changed(struct sim *s, struct relay *r, enum conn_kind kind)
{
    bool first = r->identity == 0;

    r->identity = s->srv.identity;
    if (first)
        return;
    sim_note(s, " another server", relay_index(s, r), (int64_t)r->identity, 0);
    if (r->lease.held)
        relay_disown(s, r);
    r->last_epoch = 0;
    pipeline_rows_gone(r->p, sim_ms(s));
    check_excuse(s, r, true);
    for (int c = 0; c < CONNS; c++) {
        if (c == (int)kind || !r->conns[c].up)
            continue;
        conn_break(s, r, (enum conn_kind)c, 0);
        conn_lost(s, r, (enum conn_kind)c);
    }
}

void conn_up(struct sim *s, struct relay *r, enum conn_kind kind)
{
    struct conn *c = &r->conns[kind];

    if (!s->srv.up && kind == CONN_STREAM) {
        stream_lost(s, r);
        return;
    }
    if (!s->srv.up) {
        conn_open(s, r, kind, 20000 + sim_spread(s, 50000));
        return;
    }
    c->up = c->alive = true;
    c->awaits = false;
    c->to_server = c->to_relay = s->now;
    if (r->identity != s->srv.identity)
        server_changed(s, r, kind);
    if (kind == CONN_READ) {
        pipeline_source_up(r->p, sim_ms(s));
        conn_answer(s, r, CONN_READ, EV_PROVED, 0);
        failures_joined(s, r);
    } else if (kind == CONN_CONTROL) {
        pipeline_ack_up(r->p, sim_ms(s));
        r->lease_next = sim_ms(s);
        failures_joined(s, r);
    } else if (kind == CONN_STREAM) {
        stream_up(s, r);
    }
}

void conn_notify(struct sim *s, struct relay *r)
{
    if (!r->alive || !r->conns[CONN_READ].alive || s->mutation == MUTATION_DEAF)
        return;
    s->totals.wakeups++;
    if (r->page_at_server)
        r->notify_waits = true; /* a session is told between its statements */
    else
        conn_answer(s, r, CONN_READ, EV_STREAM, 1);
}

static void page_end(struct sim *s, struct relay *r)
{
    struct page *page = &r->page;

    r->page_busy = false;
    r->page_at_server = false;
    pipeline_read_end(r->p, sim_ms(s), page->n, page->ok);
    if (s->mutation == MUTATION_GROW) {
        void **block = malloc(4096);

        if (block != NULL) {
            *block = s->kept;
            s->kept = block;
        }
    }
    if (r->notify_waits)
        conn_answer(s, r, CONN_READ, EV_STREAM, 1);
    r->notify_waits = false;
}

/* Called by the server when a page is ready, then by each message's arrival. */
void conn_stream(struct sim *s, struct relay *r)
{
    struct page *page = &r->page;

    if (!r->page_at_server) {
        r->page_at_server = true;
        conn_answer(s, r, CONN_READ, EV_STREAM, 0);
        return;
    }
    if (page->opens && !page->header_sent) {
        struct slice text = {(const unsigned char *)page->snapshot, strlen(page->snapshot)};
        struct err err;

        page->header_sent = true;
        if (pipeline_read_header(r->p, &text, page->has_max, page->max_seq, &err) != 0)
            sim_fail(s, "the simulation itself", "a snapshot that does not parse", 0, 0, 0);
        if (s->mutation == MUTATION_TWO_READS)
            pipeline_read_end(r->p, sim_ms(s), 0, true);
    } else {
        if (s->mutation == MUTATION_HALF_TABLE && s->cfg.named && page->next == 0)
            pipeline_read_end(r->p, sim_ms(s), 0, true);
        for (uint32_t some = 1 + sim_below(s, 3); some > 0 && page->next < page->n; some--)
            relay_row(s, r, page->rows[page->next++]);
        if (page->next == page->n) {
            page_end(s, r);
            return;
        }
    }
    sim_at(s, s->now + sim_spread(s, s->cfg.latency_us / 16), EV_STREAM, relay_index(s, r),
           r->conns[CONN_READ].gen, 0, 0);
}

void conn_locks(struct sim *s, struct relay *r)
{
    struct conn *c = &r->conns[CONN_WAKE];
    bool want = pipeline_wants_lock(r->p);

    if (!c->up) {
        if (want && !c->awaits)
            conn_open(s, r, CONN_WAKE, sim_spread(s, 2000));
        return;
    }
    switch (r->lock) {
    case LOCK_NONE:
        if (!want)
            break;
        r->lock = LOCK_ASKED;
        r->lock_cancelled = false;
        conn_ask(s, r, CONN_WAKE, EV_SRV_LOCK, 0);
        if (s->mutation == MUTATION_NO_CONFIRM)
            pipeline_lock_granted(r->p, sim_ms(s));
        break;
    case LOCK_ASKED:
        if (want || r->lock_cancelled)
            break;
        r->lock_cancelled = true;
        conn_ask(s, r, CONN_WAKE, EV_SRV_UNLOCK, 1);
        break;
    case LOCK_HELD:
        if (want) {
            pipeline_lock_granted(r->p, sim_ms(s)); /* it may have asked anew in the meantime */
        } else {
            r->lock = LOCK_NONE;
            conn_ask(s, r, CONN_WAKE, EV_SRV_UNLOCK, 0);
        }
        break;
    }
}
