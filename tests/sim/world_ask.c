/* The imagined PostgreSQL, second part: what it answers the relay. Each request is carried out at
 * one instant, as a statement sees one snapshot. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* pg_visible_in_snapshot(xid, pg_current_snapshot()) */
static bool ended(const struct server *v, uint64_t xid)
{
    if (xid > v->last_ended)
        return false;
    for (int i = 0; i < WRITERS; i++)
        if (v->txns[i].open && v->txns[i].xid == xid)
            return false;
    return true;
}

static char *print_number(char *at, uint64_t v)
{
    char digits[20];
    int n = 0;

    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    while (n > 0)
        *at++ = digits[--n];
    return at;
}

/* xip ascends and lies below xmax. */
char *world_print_snapshot(char *text, uint64_t xmax, const uint64_t *xip, uint32_t n)
{
    text = print_number(text, n > 0 ? xip[0] : xmax);
    *text++ = ':';
    text = print_number(text, xmax);
    *text++ = ':';
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            *text++ = ',';
        text = print_number(text, xip[i]);
    }
    *text = '\0';
    return text;
}

void world_snapshot(const struct server *v, char *text)
{
    uint64_t xip[WRITERS];
    uint32_t n = 0;
    uint64_t xmax = v->last_ended + 1;

    for (int i = 0; i < WRITERS; i++) {
        uint64_t xid = v->txns[i].open ? v->txns[i].xid : 0;
        uint32_t at = n;

        if (xid == 0 || xid >= xmax)
            continue;
        for (; at > 0 && xip[at - 1] > xid; at--)
            xip[at] = xip[at - 1];
        xip[at] = xid;
        n++;
    }
    (void)world_print_snapshot(text, xmax, xip, n);
}

static bool visible(const struct sim *s, const struct row *row)
{
    return row->state == ROW_LIVE || (s->mutation == MUTATION_DIRTY_READ && row->state == ROW_OPEN);
}

enum branch { BRANCH_START, BRANCH_LATE, BRANCH_NEW };

/* The WHERE of each branch of the page's statement, apart from seq. */
static bool wanted(const struct sim *s, const struct read_request *q, enum branch branch,
                   const struct row *row)
{
    bool within = q->opens || snapshot_sees(q->until, row->xid);

    if (row->state == ROW_OPEN)
        return s->mutation == MUTATION_DIRTY_READ;
    if (branch == BRANCH_START)
        return within || !ended(&s->srv, row->xid) || s->mutation == MUTATION_START_PLAIN;
    if (s->mutation == MUTATION_ID_LAST)
        return true;
    return within && (branch == BRANCH_NEW || !snapshot_sees(q->since, row->xid));
}

static void gather(struct sim *s, struct page *page, const struct read_request *q,
                   enum branch branch, int64_t after, int64_t upto)
{
    struct server *v = &s->srv;

    for (uint32_t i = after == INT64_MIN ? 0 : world_lower(v, after + 1);
         i < v->ntable && page->n < q->limit; i++) {
        const struct row *row = &v->rows[v->table[i]];

        if (row->seq > upto)
            return;
        if (branch == BRANCH_START && world_left_out(s, q, row))
            continue;
        if (wanted(s, q, branch, row))
            page->rows[page->n++] = v->table[i];
    }
}

void world_read(struct sim *s, struct relay *r)
{
    struct server *v = &s->srv;
    struct page *page = &r->page;
    const struct read_request *q = &r->request;

    check_known(s, r);
    page->n = 0;
    page->next = 0;
    page->header_sent = false;
    page->ok = true;
    page->opens = q->opens;
    page->has_max = false;
    page->max_seq = 0;
    if (q->limit > PAGE_MAX || q->limit == 0)
        sim_fail(s, "5 bounded", "a page's limit", q->limit, 0, 0);
    if (q->opens) {
        world_snapshot(v, page->snapshot);
        for (uint32_t i = v->ntable; i > 0 && !page->has_max; i--) {
            page->has_max = visible(s, &v->rows[v->table[i - 1]]);
            page->max_seq = v->rows[v->table[i - 1]].seq;
        }
    }
    if (q->kind == READ_START) {
        gather(s, page, q, BRANCH_START, q->after, q->opens ? INT64_MAX : q->upto);
    } else {
        if (q->late && s->mutation != MUTATION_DROP_LATE && s->mutation != MUTATION_ID_LAST)
            gather(s, page, q, BRANCH_LATE, q->after, q->upto);
        gather(s, page, q, BRANCH_NEW, q->beyond, INT64_MAX);
    }
    if ((s->cfg.faults & 1U) != 0 && !s->calm && sim_below(s, 400) == 0) {
        page->ok = false; /* cancelled part-way */
        page->n = sim_below(s, page->n + 1);
    }
    sim_note(s, " page", q->kind, page->n, q->after);
    s->totals.reads++;
    conn_stream(s, r);
}

void world_ack(struct sim *s, struct relay *r, struct ack_request *q)
{
    struct server *v = &s->srv;
    uint32_t first = v->nlog_rows;

    if (q->executed)
        return;
    q->executed = true;
    if ((s->cfg.faults & 2U) != 0 && !s->calm && sim_below(s, 200) == 0) {
        q->result = ACK_FAILED;
        return;
    }
    if (q->epoch != v->lease_epoch && s->mutation != MUTATION_NO_FENCE) {
        q->result = ACK_VOID;
        return;
    }
    world_snapshot(v, q->snapshot);
    for (uint32_t i = 0; i < q->n; i++) {
        uint32_t at = world_lower(v, q->seqs[i]);
        uint32_t index;

        if (at == v->ntable)
            continue;
        index = v->table[at];
        if (v->rows[index].seq != q->seqs[i] || v->rows[index].state != ROW_LIVE)
            continue;
        if (q->strict && index != q->ids[i] && s->mutation != MUTATION_NO_ID)
            continue;
        check_delete(s, r, index);
        world_table_remove(s, index);
        v->rows[index].state = ROW_GONE;
        v->log_rows[v->nlog_rows++] = index;
    }
    q->partly = v->nlog_rows - first < q->n;
    for (uint32_t i = 0; q->streamed && q->partly && i < q->n; i++) {
        const struct row *row = &v->rows[q->ids[i]];

        q->early[i] = row->stream != 0 && !row->message && !ended(v, row->txn);
    }
    v->last_ended = world_xid(v);
    world_wrote(s, LOG_DELETE, v->last_ended, first, false);
    if (q->position != 0)
        named_store(s, q->position);
    q->result = ACK_DONE;
    s->totals.acks++;
}

/* The epoch under which who owns the outbox now, 0 when somebody else does. Durable at once. */
uint64_t world_lease(struct sim *s, int who, bool give_back)
{
    struct server *v = &s->srv;
    bool mine = v->lease_owner == who;

    if (!mine && (give_back || (v->lease_owner != NOBODY && v->lease_until > s->now)))
        return 0;
    v->last_ended = world_xid(v);
    world_wrote(s, LOG_LEASE, v->last_ended, v->nlog_rows, true);
    v->lease_owner = give_back ? NOBODY : who;
    v->lease_until = s->now + s->cfg.ttl_ms * 1000;
    if (give_back)
        return 0;
    if (!mine) {
        v->lease_epoch++;
        for (int i = 0; i < RELAYS; i++)
            if (i != who)
                check_excuse(s, &s->relays[i], true);
    }
    sim_note(s, " lease", who, (int64_t)v->lease_epoch, mine);
    return v->lease_epoch;
}

/* ---- the wake-up lock ---- */

void world_lock_grant(struct sim *s)
{
    struct server *v = &s->srv;

    if (v->lock_holder != NOBODY || v->lock_waiters == 0)
        return;
    for (int i = 0; i < WRITERS; i++)
        if (v->txns[i].open && v->txns[i].shared)
            return;
    v->lock_holder = v->lock_waiter[0];
    v->lock_waiters--;
    memmove(v->lock_waiter, v->lock_waiter + 1, v->lock_waiters * sizeof *v->lock_waiter);
    conn_answer(s, &s->relays[v->lock_holder], CONN_WAKE, EV_LOCK_REPLY, 1);
}

static bool stop_waiting(struct server *v, int who)
{
    for (uint32_t i = 0; i < v->lock_waiters; i++) {
        if (v->lock_waiter[i] != who)
            continue;
        v->lock_waiters--;
        memmove(v->lock_waiter + i, v->lock_waiter + i + 1,
                (v->lock_waiters - i) * sizeof *v->lock_waiter);
        return true;
    }
    return false;
}

void world_lock(struct sim *s, int who)
{
    struct server *v = &s->srv;

    v->lock_waiter[v->lock_waiters++] = who;
    sim_at(s, s->now + 3000000, EV_LOCK_TIMEOUT, who, s->relays[who].conns[CONN_WAKE].gen,
           ++v->lock_asks[who], 0);
    world_lock_grant(s);
}

/* lock_timeout, or a cancel request. A lock that was granted meanwhile stays. */
void world_lock_refuse(struct sim *s, int who)
{
    if (!stop_waiting(&s->srv, who))
        return;
    conn_answer(s, &s->relays[who], CONN_WAKE, EV_LOCK_REPLY, 0);
    world_lock_grant(s);
}

/* The session gives the lock back, or ends. */
void world_unlock(struct sim *s, int who)
{
    struct server *v = &s->srv;

    (void)stop_waiting(v, who);
    if (v->lock_holder == who)
        v->lock_holder = NOBODY;
    world_lock_grant(s);
}
