/* What a named slot adds to the guarantees: nothing is stored in the lease, confirmed to the slot,
 * or left behind where a stream begins, that Kafka has not. */
#include "sim.h"

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
 * A stream that begins anew repeats what lies behind its position, apart from what the relay still
 * holds when it comes: what is certain has left its memory. How many these are is not for the
 * window to say, since all of them may wait for one that is older. So each of them may come once
 * more in each stream that begins before it, and what is held, or lies before the position, may
 * not.
 */
bool check_repeats(struct sim *s, const struct row *row, uint32_t stream)
{
    bool repeats = s->cfg.named && stream != 0 && row->certain && row->stream != stream;

    s->totals.repeated += repeats;
    return repeats;
}
