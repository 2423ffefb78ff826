/* What events that cannot be published add to the guarantees: none is lost or published out of its
 * turn, whoever retries, discards or deletes. */
#include "sim.h"

#include "core/pipeline_state.h"

#define ORDER "3 order"
#define BOUNDED "5 bounded"
#define FAILED "events that fail"

/* What is found at fault when it is read or put; those in flight are within the window. */
static const uint32_t failing_max = 256;

void check_recorded(struct sim *s, const struct relay *r, uint32_t index)
{
    const struct row *row = &s->srv.rows[index];

    if (!row->refused)
        sim_fail(s, FAILED, "one is on record that nobody refused", index, row->seq, row->key);
    if (s->srv.lease_owner != relay_index(s, r))
        sim_fail(s, FAILED, "one is on record for a relay that owns the outbox no more", index,
                 s->srv.lease_owner, relay_index(s, r));
}

void check_failing(struct sim *s, const struct relay *r)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->failures.n; i++)
        n += !r->failures.list[i].reported;
    if (n > failing_max)
        sim_fail(s, BOUNDED, "more wait to be recorded than may", n, failing_max, 0);
}

void check_listed(struct sim *s, struct relay *r)
{
    const struct failures *f = &r->failures;
    uint64_t keys = f->listed;
    struct pipeline_view view;

    for (uint32_t i = 0; i < f->n; i++)
        if (!f->list[i].dead)
            keys |= UINT64_C(1) << s->srv.rows[f->list[i].row].key;
    pipeline_view(r->p, &view);
    if (view.parked != (uint32_t)__builtin_popcountll(keys))
        sim_fail(s, FAILED, "keys wait, or do not, and the database knows better", view.parked,
                 (int64_t)keys, relay_index(s, r));
    for (uint32_t k = 0; k < KEYS; k++)
        if ((keys & UINT64_C(1) << k) != 0 && !keyset_has(&r->p->parked, failures_hash(k)))
            sim_fail(s, FAILED, "a key does not wait, and has a parked event", k, (int64_t)keys,
                     relay_index(s, r));
}

void check_known(struct sim *s, const struct relay *r)
{
    const struct server *v = &s->srv;

    if (v->lease_owner != relay_index(s, r) || r->lease.epoch != v->lease_epoch)
        return;
    for (uint32_t i = 0; i < v->graves.nparked; i++) {
        const struct row *row = &v->rows[v->graves.parked[i]];

        if (row->state == ROW_LIVE && !keyset_has(&r->p->parked, failures_hash(row->key)))
            sim_fail(s, FAILED, "rows are read, and of a parked one nothing is known",
                     v->graves.parked[i], row->key, v->lease_owner);
    }
}

void check_parked(struct sim *s, uint32_t index, bool zombie)
{
    const struct row *row = &s->srv.rows[index];
    const struct graves *g = &s->srv.graves;

    if (row->discarded && !zombie)
        sim_fail(s, FAILED, "one that was discarded is published", index, row->seq, row->key);
    if (row->persisted > 0 || row->order == 0 || g->by_key[row->key] == 0)
        return;
    for (uint32_t i = 0; i < g->nparked; i++) {
        const struct row *p = &s->srv.rows[g->parked[i]];

        if (p->key == row->key && p->order > 0 && p->order < row->order && p->state == ROW_LIVE &&
            p->persisted == 0)
            sim_fail(s, ORDER, "a row is published, and an earlier one of its key is parked", index,
                     g->parked[i], row->key);
    }
}

bool check_waits(const struct relay *r, uint32_t index, const struct row *row)
{
    unsigned char id[EVENT_ID_LEN] = {0};

    __builtin_memcpy(id, &index, sizeof index);
    return keyset_has(&r->p->parked, failures_hash(row->key)) ||
           ledger_match(r->p->ledger, row->seq, id) == LEDGER_SAME;
}

bool check_taken_out(const struct row *row)
{
    return row->dead || row->discarded;
}
