/* Entries that cannot be published, or wait behind such, and those that come from a queue. */
#include "core/ledger_state.h"

static bool in_sink(enum entry_state s)
{
    return s == ENTRY_SENT || s == ENTRY_DISOWNED;
}

void ledger_set_wanted(struct ledger *l, uint32_t slot, bool wanted)
{
    struct entry *e = &l->entries[slot];

    if (e->wanted == wanted)
        return;
    e->wanted = wanted;
    l->wanted += wanted ? 1 : UINT32_MAX;
    l->failed_bytes += wanted ? -(uint64_t)e->item.bytes : e->item.bytes;
}

void ledger_fail(struct ledger *l, uint64_t tag)
{
    uint32_t slot = ledger_slot(l, tag);

    if (slot != LEDGER_NIL && in_sink(l->entries[slot].state))
        ledger_move(l, slot, l->entries[slot].state == ENTRY_SENT ? ENTRY_FAILED : ENTRY_FREE);
}

void ledger_recorded(struct ledger *l, uint64_t tag, bool remember)
{
    uint32_t slot = ledger_slot(l, tag);

    if (slot == LEDGER_NIL || l->entries[slot].state != ENTRY_FAILED)
        return;
    ledger_move(l, slot, ENTRY_DONE);
    if (!remember)
        ledger_move(l, slot, ENTRY_FREE);
}

void ledger_kept(struct ledger *l, uint64_t tag)
{
    uint32_t slot = ledger_slot(l, tag);

    if (slot != LEDGER_NIL && l->entries[slot].state == ENTRY_FAILED)
        ledger_move(l, slot, ENTRY_DELIVERED);
}

void ledger_want(struct ledger *l, uint64_t tag)
{
    uint32_t slot = ledger_slot(l, tag);

    if (slot != LEDGER_NIL && l->entries[slot].state == ENTRY_FAILED)
        ledger_set_wanted(l, slot, true);
}

bool ledger_wants(const struct ledger *l, int64_t seq)
{
    uint32_t slot = ledger_find(l, seq);

    return slot != LEDGER_NIL && l->entries[slot].state == ENTRY_FAILED && l->entries[slot].wanted;
}

bool ledger_wanted(struct ledger *l, int64_t seq, uint64_t *ret_tag)
{
    uint32_t slot = ledger_find(l, seq);

    if (!ledger_wants(l, seq))
        return false;
    ledger_set_wanted(l, slot, false);
    *ret_tag = l->entries[slot].tag;
    return true;
}

bool ledger_keeps(const struct ledger *l)
{
    return l->failed_bytes < l->max_bytes;
}

uint32_t ledger_wanted_count(const struct ledger *l)
{
    return l->wanted;
}

bool ledger_sends_key(const struct ledger *l, uint64_t key, uint64_t tag)
{
    for (uint32_t s = l->lists[ENTRY_SENT].head; s != LEDGER_NIL; s = l->entries[s].next)
        if (l->entries[s].item.key == key && l->entries[s].tag != tag)
            return true;
    return false;
}

uint32_t ledger_queued(const struct ledger *l)
{
    return l->queued;
}
