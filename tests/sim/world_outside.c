/* The imagined PostgreSQL, fifth part: what happens to the table apart from the events' own
 * transactions. */
#include "sim.h"

void world_truncate(struct sim *s, bool restart)
{
    struct server *v = &s->srv;
    uint32_t first;
    uint32_t n = v->ntable;

    if (world_busy(v)) { /* it waits for them, and later ones wait for it */
        v->truncate_waits = true;
        v->truncate_restarts = restart;
        return;
    }
    v->truncate_waits = false;
    world_wrote(s, LOG_LEASE, 0, v->nlog_rows, false);
    v->lease_epoch++;
    first = v->nlog_rows;
    for (uint32_t i = 0; i < n; i++) {
        struct row *row = &v->rows[v->table[i]];

        row->state = ROW_GONE;
        row->waived = !s->cfg.named; /* what is in the log is streamed all the same */
        row->taken = s->cfg.named;
        v->log_rows[v->nlog_rows++] = v->table[i];
    }
    v->ntable = 0;
    if (restart)
        v->next_seq = 1;
    v->last_ended = world_xid(v);
    world_wrote(s, LOG_DELETE, v->last_ended, first, true);
    v->log[v->nlog - 1].truncate = true;
    sim_note(s, " truncated", n, restart, (int64_t)v->lease_epoch);
}

/*
 * Of long ago, or that the next transactions will have. Not the latter for a named slot: a row from
 * before it with the id of one that ends between its snapshot and the reading of the table looks as
 * if it were that one's, which the slot brings.
 */
static uint64_t foreign_xid(struct sim *s, uint32_t lot)
{
    const struct server *v = &s->srv;
    uint32_t some = sim_below(s, 100000);

    if (s->cfg.named)
        return lot == 0 ? v->next_xid + 100000 + some : 3 + some % 600;
    return lot == 0   ? v->next_xid + 1 + some
           : lot == 1 ? 3 + some % 600
                      : v->next_xid - 1 - some % 4;
}

/* Whether the same event may be inserted once more. While its acknowledgement is on its way it is
 * done already for a relay that the new row comes to by a named slot, and no sweep looks for it. */
static bool may_return(const struct sim *s, const struct row *row)
{
    return row->state == ROW_GONE && row->committed && !row->waived && !row->tableless &&
           !check_taken_out(row) && row->persisted > 0 && (!s->cfg.named || row->certain);
}

/* Rows that carry an xid from elsewhere, or from long ago, appear. */
void world_restore(struct sim *s)
{
    struct server *v = &s->srv;
    uint32_t first = v->nlog_rows;
    uint32_t n = 1 + sim_below(s, 4);
    uint32_t old = sim_below(s, v->nrows + 1);

    if (!v->up || v->truncate_waits || v->nrows + WRITERS * TXN_ROWS_MAX + n >= EVENTS_MAX)
        return;
    s->foreign_made = true;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t lot = sim_below(s, 4);
        uint64_t xid = foreign_xid(s, lot);
        uint32_t row = old;
        uint32_t at;

        if (lot != 3 || old >= v->nrows || !may_return(s, &v->rows[old])) {
            row = world_new_row(s, KEYS_SERIAL + sim_below(s, KEYS - KEYS_SERIAL), xid);
            world_mend(&v->rows[row]);
        } else { /* one that was deleted is inserted again as it was */
            at = world_lower(v, v->rows[row].seq);
            if (v->rows[row].seq >= v->next_seq ||
                (at < v->ntable && v->rows[v->table[at]].seq == v->rows[row].seq))
                continue;
            v->rows[row].put_by = NOBODY;
            v->rows[row].taken = false;
        }
        v->rows[row].foreign = true;
        v->rows[row].state = ROW_LIVE;
        v->rows[row].committed = true;
        v->rows[row].committed_at = s->now;
        named_place(s, row);
        world_table_add(s, row);
        v->log_rows[v->nlog_rows++] = row;
        sim_note(s, " restored", row, v->rows[row].seq, (int64_t)v->rows[row].xid);
    }
    v->last_ended = world_xid(v);
    for (uint32_t i = first; i < v->nlog_rows; i++)
        v->rows[v->log_rows[i]].txn = v->last_ended;
    world_wrote(s, LOG_COMMIT, v->last_ended, first, true);
}

/* Applications that keep no events. */
void named_delete(struct sim *s)
{
    struct server *v = &s->srv;
    uint32_t first = v->nlog_rows;
    uint32_t at = sim_below(s, v->ntable);
    uint32_t row;

    if (v->ntable == 0 || v->rows[v->table[at]].state != ROW_LIVE)
        return;
    row = v->table[at];
    world_table_remove(s, row);
    v->rows[row].state = ROW_GONE;
    v->rows[row].taken = true;
    v->log_rows[v->nlog_rows++] = row;
    v->last_ended = world_xid(v);
    world_wrote(s, LOG_DELETE, v->last_ended, first, !sim_chance(s, s->cfg.async_pct));
    s->totals.taken++;
    sim_note(s, " deleted by its application", row, v->rows[row].seq, 0);
}
