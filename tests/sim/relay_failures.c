/* What relay.c does about events that cannot be published: records them on the control connection,
 * a few statements at a time, and reads the list of what is parked. */
#include "sim.h"

#include "core/pipeline_state.h"

#include <stdlib.h>

static const int64_t tick_ms = 500;
static const int64_t look_ms = 5000;

uint64_t failures_hash(uint32_t key)
{
    return (key + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

/* The mistake of letting a key go, whatever else it waits for. */
static void forget(struct relay *r, uint64_t hash)
{
    struct keyset *keys = &r->p->parked;

    for (uint32_t i = 0; i < keys->cap; i++)
        if (keys->entries[i].hash == hash) {
            keys->entries[i].failing = 0;
            keys->entries[i].stored = false;
            break;
        }
    keyset_settle(keys, hash, false);
}

void failures_begin(struct sim *s, struct relay *r, struct pipeline_options *options)
{
    static const enum failure_mode any[] = {FAILURE_PARK, FAILURE_PARK, FAILURE_DEAD, FAILURE_HALT};

    for (int t = 0; t < TOPICS; t++)
        r->failures.policies[t] = s->cfg.mixed ? any[sim_below(s, 4)] : s->cfg.policies[t];
    options->parks = !s->cfg.named;
}

/* ---- recording ---- */

static void send_one(struct sim *s, struct relay *r, struct failing *one)
{
    struct failures *f = &r->failures;
    uint32_t slot = 0;

    while (f->records[slot].used)
        slot++;
    one->sent = true;
    f->records[slot] = (struct record_request){
        .used = true, .dead = one->dead, .row = one->row, .tag = one->tag, .epoch = r->lease.epoch};
    conn_ask(s, r, CONN_CONTROL, EV_SRV_RECORD, slot);
}

static uint32_t on_their_way(const struct failures *f)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < RECORDS_MAX; i++)
        n += f->records[i].used;
    return n;
}

static void send_all(struct sim *s, struct relay *r)
{
    struct failures *f = &r->failures;

    if (!f->owning || !r->conns[CONN_CONTROL].up)
        return;
    for (uint32_t i = 0; i < f->n && on_their_way(f) < RECORDS_MAX; i++)
        if (!f->list[i].sent)
            send_one(s, r, &f->list[i]);
}

void failures_add(struct sim *s, struct relay *r, uint64_t tag, uint32_t row, bool reported)
{
    struct failures *f = &r->failures;
    bool dead = f->policies[key_topic(s->srv.rows[row].key)] == FAILURE_DEAD;

    sim_note(s, " failed", row, s->srv.rows[row].key, dead);
    if (f->n == FAILING_MAX)
        sim_fail(s, "the simulation itself", "too many that fail", f->n, 0, 0);
    if (dead) /* later ones go on */
        s->srv.rows[row].order = 0;
    if (s->mutation == MUTATION_PARKED_LATE)
        forget(r, failures_hash(s->srv.rows[row].key));
    f->list[f->n++] = (struct failing){.tag = tag, .row = row, .dead = dead, .reported = reported};
    check_failing(s, r);
    if (!s->calm && sim_chance(s, s->cfg.race_pct))
        sim_at(s, s->now + sim_spread(s, s->cfg.latency_us), EV_OPERATOR, 0, 0, row + 1, 0);
    send_all(s, r);
}

static void settled(struct sim *s, struct relay *r, uint32_t i, enum record_answer answer)
{
    struct failures *f = &r->failures;
    uint64_t hash = failures_hash(s->srv.rows[f->list[i].row].key);
    uint64_t tag = f->list[i].tag;
    bool gone = answer == RECORD_MISSING && s->mutation != MUTATION_GONE_RECORDED;

    for (f->n--; i < f->n; i++)
        f->list[i] = f->list[i + 1];
    if (answer == RECORD_MISSING && s->mutation == MUTATION_GONE_IGNORED)
        return;
    pipeline_recorded(r->p, sim_ms(s), tag, gone ? RECORD_GONE : RECORD_DONE);
    if (gone && s->mutation == MUTATION_GONE_RELEASES)
        forget(r, hash);
}

static void recorded(struct sim *s, struct relay *r, struct record_request *q)
{
    struct failures *f = &r->failures;
    uint32_t i = 0;

    q->used = false;
    while (i < f->n && f->list[i].tag != q->tag)
        i++;
    if (i == f->n)
        return; /* it matters no more */
    sim_note(s, " recorded", q->row, (int64_t)q->answer, q->dead);
    if (q->answer == RECORD_MADE || q->answer == RECORD_MISSING) {
        settled(s, r, i, q->answer);
        send_all(s, r);
        return;
    }
    f->list[i].sent = false;
    f->list_wanted = true;
    if (q->answer == RECORD_FENCED && r->lease.held)
        relay_lease_ask(s, r);
}

/* ---- the list ---- */

void failures_look(struct sim *s, struct relay *r)
{
    struct failures *f = &r->failures;

    if (!f->owning || !r->conns[CONN_CONTROL].up)
        return;
    if (f->listing) {
        f->list_again = true;
        return;
    }
    f->listing = true;
    conn_ask(s, r, CONN_CONTROL, EV_SRV_LIST, 0);
}

static void take_list(struct sim *s, struct relay *r, uint64_t listed)
{
    pipeline_parked_begin(r->p);
    for (uint32_t k = 0; k < KEYS; k++)
        if ((listed & UINT64_C(1) << k) != 0 &&
            pipeline_parked_key(r->p, failures_hash(k), false, NULL) != 0)
            abort();
    s->totals.released += pipeline_parked_end(r->p, sim_ms(s));
}

/* The same, wrongly. */
static void take_list_wrong(struct sim *s, struct relay *r)
{
    bool over = r->p->start_over;

    switch (s->mutation) {
    case MUTATION_LIST_EMPTY:
        take_list(s, r, 0);
        break;
    case MUTATION_LIST_OLD:
        take_list(s, r, s->srv.graves.before_last);
        break;
    case MUTATION_LIST_WINS:
        for (uint32_t k = 0; k < KEYS; k++)
            if ((r->failures.listed & UINT64_C(1) << k) == 0)
                forget(r, failures_hash(k));
        take_list(s, r, r->failures.listed);
        break;
    case MUTATION_RELEASE_UNREAD:
        take_list(s, r, r->failures.listed);
        r->p->start_over = over;
        break;
    default:
        take_list(s, r, r->failures.listed);
        break;
    }
}

static void listed(struct sim *s, struct relay *r)
{
    struct failures *f = &r->failures;

    f->listing = false;
    f->list_wanted = f->list_wanted || !f->list_ok;
    if (f->list_ok) {
        take_list_wrong(s, r);
        check_listed(s, r);
    }
    if (f->list_again) {
        f->list_again = false;
        failures_look(s, r);
    }
}

void failures_answer(struct sim *s, struct relay *r, const struct happening *h)
{
    if (h->kind == EV_LIST_REPLY)
        listed(s, r);
    else
        recorded(s, r, &r->failures.records[h->a]);
}

/* ---- life ---- */

void failures_disconnected(struct relay *r)
{
    struct failures *f = &r->failures;

    f->owning = f->listing = f->list_again = false;
    for (uint32_t i = 0; i < RECORDS_MAX; i++)
        f->records[i].used = false;
    for (uint32_t i = 0; i < f->n; i++)
        f->list[i].sent = false;
}

/* The connection stands, and what is on its way there will be answered. */
void failures_disowned(struct relay *r)
{
    r->failures.owning = false;
}

static void ask_list(struct sim *s, struct relay *r)
{
    if (!s->cfg.named && s->mutation != MUTATION_UNLISTED)
        failures_look(s, r);
    else
        take_list(s, r, 0);
}

void failures_joined(struct sim *s, struct relay *r)
{
    if (!r->conns[CONN_READ].up || !r->conns[CONN_CONTROL].up || !r->lease.held)
        return;
    if (s->mutation == MUTATION_UNLISTED)
        r->p->parked_known = true;
    r->failures.owning = true;
    send_all(s, r);
    ask_list(s, r);
}

void failures_owned(struct sim *s, struct relay *r, bool continued)
{
    struct failures *f = &r->failures;

    if (!continued)
        f->n = 0;
    f->owning = true;
    send_all(s, r);
    ask_list(s, r);
}

void failures_broken(struct sim *s, struct relay *r)
{
    for (uint32_t i = 0; i < RECORDS_MAX; i++)
        if (r->failures.records[i].used && sim_chance(s, 50))
            world_record(s, r, &r->failures.records[i]);
}

void failures_turn(struct sim *s, struct relay *r)
{
    struct failures *f = &r->failures;
    int64_t now = sim_ms(s);

    if (s->cfg.named || !f->owning || now < f->tick_at)
        return;
    f->tick_at = now + tick_ms;
    send_all(s, r);
    if (!f->list_wanted && now < f->list_at)
        return;
    f->list_wanted = false;
    f->list_at = now + look_ms;
    failures_look(s, r);
}

int64_t failures_due(const struct relay *r)
{
    const struct failures *f = &r->failures;

    if (!f->owning || !r->conns[CONN_CONTROL].up)
        return INT64_MAX;
    return f->n > 0 || f->list_wanted || f->list_at < f->tick_at ? f->tick_at : f->list_at;
}

bool failures_takes(struct sim *s, struct relay *r, uint32_t index, enum delivery *ret_why)
{
    struct row *row = &s->srv.rows[index];

    if (!row->unput)
        return broker_takes(s, r, key_topic(row->key), ret_why);
    row->refused = true;
    *ret_why = DELIVERY_ROW;
    return false;
}

void failures_item(struct sim *s, const struct relay *r, uint32_t index, struct pipeline_row *row)
{
    uint32_t key = s->srv.rows[index].key;

    s->srv.rows[index].refused |= row->invalid;
    row->item.failure = r->failures.policies[key_topic(key)];
    row->item.key = failures_hash(key);
    if (s->mutation == MUTATION_KEYS_UNASKED) /* each row seems to have a key of its own */
        row->item.key = (uint64_t)row->item.seq << 16 | 1;
}
