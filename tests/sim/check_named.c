/* What a named slot adds to the guarantees: nothing is stored in the lease, confirmed to the slot,
 * or left behind where a stream begins, that Kafka has not. */
#include "sim.h"

#include "core/pipeline_state.h"

#define POSITION "the stream's position"

/* What an application has deleted was in the log before, unless that was before the slot. */
bool check_owed(const struct sim *s, uint32_t index)
{
    const struct row *row = &s->srv.rows[index];

    return row->committed && !row->waived &&
           ((!row->tableless && !row->taken) || row->end > s->srv.named.begins);
}

void check_position(struct sim *s, uint64_t lsn)
{
    const struct server *v = &s->srv;
    struct named *n = &s->srv.named;

    /* What was there once is there ever after, so that each place is looked at once. */
    while (n->passed < v->places && n->placed[n->passed + 1].end <= lsn) {
        uint32_t row = n->placed[++n->passed].row;

        if (check_owed(s, row) && v->rows[row].persisted == 0)
            sim_fail(s, POSITION, "it is stored beyond an event that Kafka has not", row,
                     (int64_t)v->rows[row].end, (int64_t)lsn);
    }
}

void check_stored(struct sim *s, const struct relay *r, uint64_t lsn)
{
    if (lsn > s->srv.named.lease.lsn)
        sim_fail(s, POSITION, "it counts as stored, and is not", (int64_t)lsn,
                 (int64_t)s->srv.named.lease.lsn, relay_index(s, r));
}

void check_confirm(struct sim *s, uint64_t lsn)
{
    const struct lease_slot *l = &s->srv.named.lease;

    check_position(s, lsn);
    if (!l->recorded || l->table || lsn > l->lsn)
        sim_fail(s, POSITION, "it is confirmed to the slot, and was not stored", (int64_t)lsn,
                 (int64_t)l->lsn, l->table);
}

/*
 * A stream that begins anew brings all that lies behind its position. What this relay has published
 * itself and is certain of it remembers, but for what had to make way for others; what another one
 * has, or a process of before, it knows nothing of.
 */
bool check_repeats(struct sim *s, struct relay *r, const struct row *row, uint32_t stream)
{
    uint64_t made_way = ledger_made_way(r->p->ledger);
    bool repeats = s->cfg.named && stream != 0 && row->certain && row->stream != stream;

    if (made_way != r->made_way)
        r->stranger = s->streams;
    r->made_way = made_way;
    s->totals.repeated += repeats;
    return repeats && row->stream <= r->stranger;
}
