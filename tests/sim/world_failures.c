/* The imagined PostgreSQL, sixth part: what is parked, dead and discarded, the operator who looks
 * after it, and services that delete events. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(KEYS <= 64, "a list of keys is a bit for each");

void failures_init(struct sim *s)
{
    struct graves *g = &s->srv.graves;

    *g = (struct graves){.parked = calloc(EVENTS_MAX, sizeof *g->parked),
                         .dead = calloc(EVENTS_MAX, sizeof *g->dead)};
    if (g->parked == NULL || g->dead == NULL)
        abort();
}

void failures_free(struct sim *s)
{
    free(s->srv.graves.parked);
    free(s->srv.graves.dead);
}

void world_mend(struct row *row)
{
    if (!row->discarded)
        row->bad = row->invalid = row->unput = false;
}

/* ---- the tables ---- */

static void take_out(uint32_t *list, uint32_t *n, uint32_t row)
{
    uint32_t i = 0;

    while (list[i] != row)
        i++;
    memmove(list + i, list + i + 1, (--*n - i) * sizeof *list);
}

static void set_parked(struct sim *s, uint32_t index, bool parked)
{
    struct graves *g = &s->srv.graves;
    struct row *row = &s->srv.rows[index];

    row->parked = parked;
    if (parked) {
        g->parked[g->nparked++] = index;
        g->by_key[row->key]++;
        g->ever |= UINT64_C(1) << row->key;
    } else {
        take_out(g->parked, &g->nparked, index);
        g->by_key[row->key]--;
    }
}

static void set_dead(struct sim *s, uint32_t index, bool dead)
{
    struct graves *g = &s->srv.graves;

    s->srv.rows[index].dead = dead;
    if (dead)
        g->dead[g->ndead++] = index;
    else
        take_out(g->dead, &g->ndead, index);
}

static void set_live(struct sim *s, uint32_t index, bool live)
{
    if (live)
        world_table_add(s, index);
    else
        world_table_remove(s, index);
    s->srv.rows[index].state = live ? ROW_LIVE : ROW_GONE;
}

/* Forward when something is done, and back when a crash undoes it. Later ones of its key have gone
 * out meanwhile where its own turn did not come. */
static void move(struct sim *s, enum log_kind kind, uint32_t index, bool done)
{
    struct row *row = &s->srv.rows[index];

    switch (kind) {
    case LOG_PARK:
        set_parked(s, index, done);
        break;
    case LOG_UNPARK:
        set_parked(s, index, !done);
        break;
    case LOG_BURY:
        row->order = 0;
        set_live(s, index, !done);
        set_dead(s, index, done);
        break;
    case LOG_EXHUME: /* another row has the event now */
        set_dead(s, index, !done);
        row->waived = done;
        break;
    case LOG_DISCARD:
        row->order = 0;
        row->discarded = done;
        set_parked(s, index, !done);
        if (s->mutation != MUTATION_DISCARD_HALF)
            set_live(s, index, !done);
        break;
    case LOG_FORGET:
        row->discarded = done;
        set_dead(s, index, !done);
        break;
    default:
        break;
    }
}

void failures_undo(struct sim *s, const struct log_entry *e, uint32_t row)
{
    move(s, e->kind, row, false);
}

/* One transaction on these rows. */
static void carry_out(struct sim *s, enum log_kind kind, const uint32_t *rows, uint32_t n,
                      bool sync)
{
    struct server *v = &s->srv;
    uint32_t first = v->nlog_rows;

    if (n == 0)
        return;
    for (uint32_t i = 0; i < n; i++) {
        move(s, kind, rows[i], true);
        v->log_rows[v->nlog_rows++] = rows[i];
        sim_note(s, " failures", kind, rows[i], v->rows[rows[i]].key);
    }
    v->last_ended = world_xid(v);
    world_wrote(s, kind, v->last_ended, first, sync);
}

/* ---- what the relay asks for ---- */

static bool troubled(struct sim *s)
{
    return (s->cfg.faults & 2U) != 0 && !s->calm && sim_below(s, 40) == 0;
}

void world_record(struct sim *s, struct relay *r, struct record_request *q)
{
    struct row *row = &s->srv.rows[q->row];

    if (q->executed)
        return;
    q->executed = true;
    q->answer = RECORD_FAILED;
    if (troubled(s))
        return;
    q->answer = RECORD_FENCED;
    if (q->epoch != s->srv.lease_epoch && s->mutation != MUTATION_RECORD_NO_FENCE)
        return;
    q->answer = RECORD_MISSING;
    if (row->state != ROW_LIVE)
        return;
    q->answer = RECORD_MADE;
    check_recorded(s, r, q->row);
    if (q->dead || !row->parked)
        carry_out(s, q->dead ? LOG_BURY : LOG_PARK, &q->row, 1, true);
    s->totals.parked += !q->dead;
    s->totals.dead += q->dead;
}

/* A row that somebody took away holds nothing up. */
void world_list(struct sim *s, struct relay *r)
{
    struct graves *g = &s->srv.graves;
    uint32_t gone[EVENTS_MAX];
    uint32_t n = 0;

    r->failures.list_ok = !troubled(s);
    r->failures.listed = 0;
    if (!r->failures.list_ok)
        return;
    for (uint32_t i = 0; i < g->nparked; i++) {
        const struct row *row = &s->srv.rows[g->parked[i]];

        if (row->state == ROW_LIVE)
            r->failures.listed |= UINT64_C(1) << row->key;
        else
            gone[n++] = g->parked[i];
    }
    carry_out(s, LOG_UNPARK, gone, n, true);
    g->before_last = g->last;
    g->last = r->failures.listed;
}

bool world_left_out(const struct sim *s, const struct read_request *q, const struct row *row)
{
    const struct graves *g = &s->srv.graves;

    if (s->mutation == MUTATION_LEAVE_OUT_EVER)
        return (g->ever & UINT64_C(1) << row->key) != 0;
    return q->parked && g->by_key[row->key] > 0;
}

/* ---- the operator ---- */

enum pick { PICK_ALL, PICK_KEY, PICK_ONE };

struct filter {
    enum pick pick;
    uint32_t row;
    uint16_t key;
};

static uint32_t choose(const struct sim *s, const uint32_t *list, uint32_t n,
                       const struct filter *f, uint32_t *ret)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < n; i++)
        if (f->pick == PICK_ALL || (f->pick == PICK_ONE && list[i] == f->row) ||
            (f->pick == PICK_KEY && s->srv.rows[list[i]].key == f->key))
            ret[found++] = list[i];
    return found;
}

static bool async(struct sim *s)
{
    return sim_chance(s, s->cfg.async_pct);
}

/* A dead one is written to the outbox once more. */
static void write_again(struct sim *s, const uint32_t *rows, uint32_t n)
{
    struct server *v = &s->srv;
    uint32_t first = v->nlog_rows;

    if (n == 0 || v->nrows + WRITERS * TXN_ROWS_MAX + n >= EVENTS_MAX)
        return;
    v->last_ended = world_xid(v);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t index = world_new_row(s, v->rows[rows[i]].key, v->last_ended);
        struct row *row = &v->rows[index];

        row->state = ROW_LIVE;
        row->committed = true;
        row->committed_at = s->now;
        row->txn = v->last_ended;
        named_place(s, index);
        world_table_add(s, index);
        v->log_rows[v->nlog_rows++] = index;
        sim_note(s, " written again", rows[i], index, row->seq);
    }
    world_wrote(s, LOG_COMMIT, v->last_ended, first, false);
    carry_out(s, LOG_EXHUME, rows, n, !async(s));
    check_committed(s, v->log_rows[first]);
    for (int i = 0; i < RELAYS && (v->lock_holder != NOBODY || v->lock_waiters > 0); i++)
        conn_notify(s, &s->relays[i]);
}

static void tell(struct sim *s)
{
    for (int i = 0; i < RELAYS; i++) {
        struct relay *r = &s->relays[i];

        if (r->alive && r->conns[CONN_READ].alive && !sim_chance(s, 5))
            conn_answer(s, r, CONN_READ, EV_STREAM, 2);
    }
}

static void retry(struct sim *s, const struct filter *f)
{
    struct graves *g = &s->srv.graves;
    uint32_t rows[EVENTS_MAX];
    uint32_t n = choose(s, g->parked, g->nparked, f, rows);

    for (uint32_t i = 0; i < n; i++)
        if (s->calm || sim_chance(s, 60)) /* else it is refused once more */
            world_mend(&s->srv.rows[rows[i]]);
    carry_out(s, LOG_UNPARK, rows, n, !async(s));
    n = choose(s, g->dead, g->ndead, f, rows);
    write_again(s, rows, n);
    s->totals.retried += n;
}

static void discard(struct sim *s, const struct filter *f)
{
    struct graves *g = &s->srv.graves;
    uint32_t rows[EVENTS_MAX];
    uint32_t gone[EVENTS_MAX];
    uint32_t n = choose(s, g->parked, g->nparked, f, rows);
    uint32_t there = 0;
    uint32_t ngone = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (s->srv.rows[rows[i]].state == ROW_LIVE)
            rows[there++] = rows[i];
        else
            gone[ngone++] = rows[i];
    }
    carry_out(s, LOG_UNPARK, gone, ngone, false);
    carry_out(s, LOG_DISCARD, rows, there, !async(s));
    n = choose(s, g->dead, g->ndead, f, rows);
    carry_out(s, LOG_FORGET, rows, n, !async(s));
    s->totals.discarded += there + n;
}

/* By hand, or by a service that keeps no events, before they were published. */
static void delete_row(struct sim *s, uint32_t index)
{
    struct server *v = &s->srv;
    uint32_t first = v->nlog_rows;

    if (v->rows[index].state != ROW_LIVE)
        return;
    set_live(s, index, false);
    v->rows[index].waived = true;
    v->log_rows[v->nlog_rows++] = index;
    v->last_ended = world_xid(v);
    world_wrote(s, LOG_DELETE, v->last_ended, first, !async(s));
    s->totals.taken++;
    sim_note(s, " deleted by hand", index, v->rows[index].seq, v->rows[index].parked);
}

static struct filter draw_filter(struct sim *s)
{
    const struct graves *g = &s->srv.graves;
    uint32_t n = g->nparked + g->ndead;
    uint32_t at = sim_below(s, n);
    uint32_t row = at < g->nparked ? g->parked[at] : g->dead[at - g->nparked];
    uint32_t lot = sim_below(s, 10);

    return (struct filter){.pick = lot < 2   ? PICK_ALL
                                   : lot < 6 ? PICK_KEY
                                             : PICK_ONE,
                           .row = row,
                           .key = s->srv.rows[row].key};
}

static void operate(struct sim *s)
{
    struct server *v = &s->srv;
    struct graves *g = &v->graves;
    uint32_t lot = sim_below(s, 100);
    struct filter f = {.pick = PICK_ALL};

    if (!s->calm && lot < 15 && v->ntable > 0)
        delete_row(s, v->table[sim_below(s, v->ntable)]);
    if (g->nparked + g->ndead == 0)
        return;
    if (!s->calm)
        f = draw_filter(s);
    if (s->calm || lot < 70)
        retry(s, &f);
    else if (lot < 88)
        discard(s, &f);
    else if (f.row < v->nrows && v->rows[f.row].parked)
        delete_row(s, f.row);
    if (lot < 90 || s->calm) /* who deletes by hand tells nobody */
        tell(s);
}

void world_operator(struct sim *s, uint64_t one)
{
    if (one != 0) {
        if (s->srv.up && !s->srv.truncate_waits)
            delete_row(s, (uint32_t)one - 1);
        return;
    }
    if (s->srv.up && !s->srv.truncate_waits)
        operate(s);
    sim_at(s, s->now + 1 + sim_spread(s, s->calm ? 300000 : s->cfg.operator_us), EV_OPERATOR, 0, 0,
           0, 0);
}

/* ---- which episodes ---- */

void failures_draw(struct sim *s, struct config *c)
{
    static const enum failure_mode any[] = {FAILURE_PARK, FAILURE_PARK, FAILURE_DEAD, FAILURE_HALT};
    static const uint32_t rates[] = {0, 1, 5, 30, 150};
    static const uint32_t refusals[] = {0, 1, 3, 10};
    static const int64_t looks[] = {5000, 50000, 500000};
    uint32_t lot = sim_below(s, 10);

    c->bad_key = KEYS;
    if (c->named || lot < 4)
        return;
    c->fails = true;
    c->mixed = sim_chance(s, 20);
    for (int t = 0; t < TOPICS; t++)
        c->policies[t] = lot < 7 ? FAILURE_PARK : lot < 8 ? FAILURE_DEAD : any[sim_below(s, 4)];
    c->invalid_pm = rates[sim_below(s, 5)];
    c->unput_pm = rates[sim_below(s, 5)];
    c->bad_pm = refusals[sim_below(s, 4)];
    c->race_pct = sim_chance(s, 30) ? 30 : 0;
    if (sim_chance(s, 40))
        c->bad_key = sim_below(s, KEYS);
    c->operator_us = looks[sim_below(s, 3)];
    if (sim_chance(s, 10)) { /* more fail than may be held */
        c->options.window_events = 700;
        c->options.window_bytes = 100000;
        c->invalid_pm = c->unput_pm = 400;
        c->bulk_pct = 30;
    }
}
