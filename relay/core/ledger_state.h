/* The ledger's inside, shared by its sources: ledger.c and ledger_failed.c (what cannot be
 * published). */
#ifndef OUTBOX_CORE_LEDGER_STATE_H
#define OUTBOX_CORE_LEDGER_STATE_H

#include "core/ledger.h"

#define LEDGER_NIL UINT32_MAX

struct entry {
    struct ledger_item item;
    uint64_t tag;
    uint32_t batch;
    uint32_t prev, next; /* in its state's list; next also chains free slots */
    uint32_t chain;      /* in its bucket */
    uint8_t state;
    bool strict;
    bool wanted; /* FAILED: its content is awaited */
};

struct list {
    uint32_t head, tail, n;
};

struct ledger {
    struct entry *entries;
    uint32_t max_events;
    uint64_t max_bytes;
    uint64_t bytes;
    uint32_t used; /* slots ever handed out: the rest of the array stays untouched memory */
    uint32_t free_head;
    uint32_t count; /* of admissions, in the tag */
    uint32_t queued, wanted;
    uint64_t made_way;
    uint64_t failed_bytes; /* of FAILED, but for those that are wanted */
    struct list lists[ENTRY_STATES];
    struct checkpoint *checkpoint;
    uint32_t *buckets;
    uint32_t mask;
    int64_t *batch_seqs;
    unsigned char (*batch_ids)[EVENT_ID_LEN];
    uint32_t batch_cap;
};

/* The only place where an entry changes state. */
void ledger_move(struct ledger *l, uint32_t slot, enum entry_state to);
/* Moves every entry of a state, or of one batch of it, on; returns how many. */
uint32_t ledger_move_all(struct ledger *l, enum entry_state from, enum entry_state to,
                         const uint32_t *batch);
/* Whether those AHEAD take no room. */
bool ledger_makes_way(const struct ledger *l);
/* Whether a log alone has the rows. */
bool ledger_of_log(const struct ledger *l);
/* Whether its content is awaited. */
void ledger_set_wanted(struct ledger *l, uint32_t slot, bool wanted);
/* The entry of a tag, or of a seq; LEDGER_NIL for none. */
uint32_t ledger_slot(const struct ledger *l, uint64_t tag);
uint32_t ledger_find(const struct ledger *l, int64_t seq);

#endif
