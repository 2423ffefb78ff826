/* What is done ahead of the position from which a log's stream would begin anew. */
#include "core/ledger_state.h"

bool ledger_of_log(const struct ledger *l)
{
    return l->checkpoint != NULL && l->checkpoint->strict;
}

/* A transaction that is larger than the window could not end otherwise. */
bool ledger_makes_way(const struct ledger *l)
{
    bool waits = false; /* for a report, an acknowledgement or a record */

    for (int s = ENTRY_FREE + 1; s < ENTRY_STATES; s++)
        waits = waits || (s != ENTRY_AHEAD && l->lists[s].n > 0);
    return !waits || (l->checkpoint->open && l->checkpoint->first + 1 == l->checkpoint->next);
}

/* In the order of acknowledgement: what one that is not passed holds up is passed over next time.
 */
static void forget_passed(struct ledger *l)
{
    uint32_t slot = l->lists[ENTRY_AHEAD].head;

    while (slot != LEDGER_NIL && checkpoint_passed(l->checkpoint, l->entries[slot].item.tx)) {
        ledger_move(l, slot, ENTRY_FREE);
        slot = l->lists[ENTRY_AHEAD].head;
    }
}

void ledger_forget_done(struct ledger *l)
{
    uint32_t slot = ledger_of_log(l) ? l->lists[ENTRY_DONE].head : LEDGER_NIL;

    while (slot != LEDGER_NIL) {
        const struct entry *e = &l->entries[slot];
        uint32_t next = e->next;

        if (e->item.tx != 0 && !e->item.queued && !checkpoint_passed(l->checkpoint, e->item.tx))
            ledger_move(l, slot, ENTRY_AHEAD);
        slot = next;
    }
    (void)ledger_move_all(l, ENTRY_DONE, ENTRY_FREE, NULL);
    if (ledger_of_log(l))
        forget_passed(l);
}

void ledger_stream_ends(struct ledger *l)
{
    uint32_t slot = l->lists[ENTRY_AHEAD].head;

    while (slot != LEDGER_NIL) {
        uint32_t next = l->entries[slot].next;

        if (checkpoint_passed(l->checkpoint, l->entries[slot].item.tx))
            ledger_move(l, slot, ENTRY_FREE);
        slot = next;
    }
}

uint64_t ledger_made_way(const struct ledger *l)
{
    return l->made_way;
}

void ledger_forget_ahead(struct ledger *l, int64_t seq)
{
    uint32_t slot = ledger_find(l, seq);

    if (slot != LEDGER_NIL && l->entries[slot].state == ENTRY_AHEAD)
        ledger_move(l, slot, ENTRY_FREE);
}
