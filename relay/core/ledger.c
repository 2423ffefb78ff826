#include "core/ledger_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_BITS 24
#define COUNT_BITS 24
#define NIL LEDGER_NIL

/* From which state to which an entry may go. */
static const bool allowed[ENTRY_STATES][ENTRY_STATES] = {
    [ENTRY_FREE][ENTRY_SENT] = true,        [ENTRY_SENT][ENTRY_DELIVERED] = true,
    [ENTRY_SENT][ENTRY_FREE] = true,        [ENTRY_SENT][ENTRY_DISOWNED] = true,
    [ENTRY_DELIVERED][ENTRY_ACKING] = true, [ENTRY_DELIVERED][ENTRY_FREE] = true,
    [ENTRY_ACKING][ENTRY_DELIVERED] = true, [ENTRY_ACKING][ENTRY_DONE] = true,
    [ENTRY_ACKING][ENTRY_FREE] = true,      [ENTRY_DONE][ENTRY_FREE] = true,
    [ENTRY_DISOWNED][ENTRY_FREE] = true,    [ENTRY_SENT][ENTRY_FAILED] = true,
    [ENTRY_FAILED][ENTRY_DONE] = true,      [ENTRY_FAILED][ENTRY_FREE] = true,
    [ENTRY_FAILED][ENTRY_DELIVERED] = true, [ENTRY_DONE][ENTRY_AHEAD] = true,
    [ENTRY_AHEAD][ENTRY_FREE] = true,       [ENTRY_AHEAD][ENTRY_DELIVERED] = true,
};

static uint32_t bucket_of(const struct ledger *l, int64_t seq)
{
    return (uint32_t)(((uint64_t)seq * 0x9E3779B97F4A7C15U) >> 32) & l->mask;
}

int ledger_new(struct ledger **ret, uint32_t max_events, uint64_t max_bytes, struct err *err)
{
    struct ledger *l = calloc(1, sizeof *l);
    uint32_t buckets = 64;

    assert(max_events > 0 && max_events < 1U << SLOT_BITS);
    if (l == NULL)
        goto nomem;
    while (buckets < max_events)
        buckets *= 2;
    /* calloc's fresh pages cost nothing until they are touched. */
    l->entries = calloc(max_events, sizeof *l->entries);
    l->buckets = malloc(buckets * sizeof *l->buckets);
    if (l->entries == NULL || l->buckets == NULL)
        goto nomem;
    memset(l->buckets, 0xff, buckets * sizeof *l->buckets);
    l->mask = buckets - 1;
    l->max_events = max_events;
    l->max_bytes = max_bytes;
    l->free_head = NIL;
    for (int s = 0; s < ENTRY_STATES; s++)
        l->lists[s] = (struct list){NIL, NIL, 0};
    *ret = l;
    return 0;

nomem:
    ledger_free(l);
    return err_set(err, ERR_NOMEM, "out of memory for a window of %u events", max_events);
}

void ledger_free(struct ledger *l)
{
    if (l == NULL)
        return;
    free(l->entries);
    free(l->buckets);
    free(l->batch_seqs);
    free(l->batch_ids);
    free(l);
}

void ledger_watch(struct ledger *l, struct checkpoint *checkpoint)
{
    l->checkpoint = checkpoint;
}

static void list_remove(struct ledger *l, struct list *list, uint32_t slot)
{
    struct entry *e = &l->entries[slot];

    if (e->prev == NIL)
        list->head = e->next;
    else
        l->entries[e->prev].next = e->next;
    if (e->next == NIL)
        list->tail = e->prev;
    else
        l->entries[e->next].prev = e->prev;
    list->n--;
}

static void list_append(struct ledger *l, struct list *list, uint32_t slot)
{
    struct entry *e = &l->entries[slot];

    e->prev = list->tail;
    e->next = NIL;
    if (list->tail == NIL)
        list->head = slot;
    else
        l->entries[list->tail].next = slot;
    list->tail = slot;
    list->n++;
}

static void index_add(struct ledger *l, uint32_t slot)
{
    uint32_t *head = &l->buckets[bucket_of(l, l->entries[slot].item.seq)];

    l->entries[slot].chain = *head;
    *head = slot;
}

static void index_remove(struct ledger *l, uint32_t slot)
{
    uint32_t *at = &l->buckets[bucket_of(l, l->entries[slot].item.seq)];

    while (*at != slot)
        at = &l->entries[*at].chain;
    *at = l->entries[slot].chain;
}

uint32_t ledger_find(const struct ledger *l, int64_t seq)
{
    uint32_t slot = l->buckets[bucket_of(l, seq)];

    while (slot != NIL && l->entries[slot].item.seq != seq)
        slot = l->entries[slot].chain;
    return slot;
}

static bool in_sink(enum entry_state s)
{
    return s == ENTRY_SENT || s == ENTRY_DISOWNED;
}

/* Its row still has to be acknowledged. */
static bool pending(enum entry_state s)
{
    return s == ENTRY_SENT || s == ENTRY_DELIVERED || s == ENTRY_ACKING || s == ENTRY_FAILED;
}

static bool indexed(enum entry_state s)
{
    return s != ENTRY_FREE && s != ENTRY_DISOWNED;
}

void ledger_move(struct ledger *l, uint32_t slot, enum entry_state to)
{
    struct entry *e = &l->entries[slot];
    enum entry_state from = e->state;

    if (!allowed[from][to])
        abort(); /* a bug; going on could acknowledge what was not delivered */
    if (from != ENTRY_FREE)
        list_remove(l, &l->lists[from], slot);
    if (indexed(from) && !indexed(to))
        index_remove(l, slot);
    if (in_sink(from) && !in_sink(to))
        l->bytes -= e->item.bytes;
    if (pending(from) && !pending(to) && l->checkpoint != NULL) {
        if (from == ENTRY_ACKING || to == ENTRY_DONE)
            checkpoint_leave(l->checkpoint, e->item.tx);
        else
            checkpoint_lose(l->checkpoint, e->item.tx);
    }
    if (e->item.queued && pending(from) != pending(to))
        l->queued += pending(to) ? 1 : UINT32_MAX;
    ledger_set_wanted(l, slot, false);
    if (from == ENTRY_FAILED)
        l->failed_bytes -= e->item.bytes;
    if (to == ENTRY_FAILED)
        l->failed_bytes += e->item.bytes;
    e->state = (uint8_t)to;
    if (to == ENTRY_FREE) {
        e->tag = 0;
        e->next = l->free_head;
        l->free_head = slot;
        return;
    }
    list_append(l, &l->lists[to], slot);
    if (indexed(to) && !indexed(from))
        index_add(l, slot);
    if (in_sink(to) && !in_sink(from))
        l->bytes += e->item.bytes;
}

uint32_t ledger_room(const struct ledger *l)
{
    uint32_t ahead = l->lists[ENTRY_AHEAD].n;

    if (ahead > 0 && ledger_makes_way(l))
        ahead = 0;
    return l->max_events - ledger_events(l) - ahead;
}

bool ledger_fits(const struct ledger *l, uint32_t bytes)
{
    return l->bytes == 0 || l->bytes + bytes <= l->max_bytes;
}

enum ledger_match ledger_match(const struct ledger *l, int64_t seq,
                               const unsigned char id[EVENT_ID_LEN])
{
    uint32_t slot = ledger_find(l, seq);

    if (slot == NIL)
        return LEDGER_ABSENT;
    return memcmp(l->entries[slot].item.id, id, EVENT_ID_LEN) == 0 ? LEDGER_SAME : LEDGER_OTHER;
}

bool ledger_replace(struct ledger *l, int64_t seq)
{
    uint32_t slot = ledger_find(l, seq);

    if (slot == NIL)
        return true;
    if (l->entries[slot].state == ENTRY_ACKING || l->entries[slot].state == ENTRY_FAILED ||
        (ledger_of_log(l) && l->entries[slot].state != ENTRY_AHEAD))
        return false;
    l->made_way += l->entries[slot].state == ENTRY_AHEAD;
    ledger_move(l, slot, l->entries[slot].state == ENTRY_SENT ? ENTRY_DISOWNED : ENTRY_FREE);
    return true;
}

int ledger_enter(struct ledger *l, int64_t seq, struct err *err)
{
    uint32_t slot = ledger_find(l, seq);
    struct entry *e = slot == NIL ? NULL : &l->entries[slot];

    bool ahead = e != NULL && e->state == ENTRY_AHEAD;
    int rc;

    if (e == NULL || (!ahead && !pending(e->state)) ||
        (!ahead && checkpoint_has(l->checkpoint, e->item.tx)))
        return 0;
    rc = checkpoint_enter(l->checkpoint, &e->item.tx, err);
    /* A server that has crashed may have forgotten the acknowledgement, or somebody has put the row
     * back. */
    if (rc == 0 && ahead)
        ledger_move(l, slot, ENTRY_DELIVERED);
    return rc;
}

static uint32_t take_slot(struct ledger *l)
{
    uint32_t slot;

    if (l->free_head == NIL && l->used < l->max_events)
        return l->used++;
    if (l->free_head == NIL) {
        l->made_way++;
        ledger_move(l, l->lists[ENTRY_AHEAD].head, ENTRY_FREE);
    }
    slot = l->free_head;
    l->free_head = l->entries[slot].next;
    return slot;
}

uint64_t ledger_admit(struct ledger *l, uint16_t epoch, const struct ledger_item *item)
{
    uint32_t slot = take_slot(l);
    struct entry *e = &l->entries[slot];

    e->item = *item;
    /* A log brings rows of before a TRUNCATE that restarted the sequence, after it. */
    e->strict = item->queued || ledger_of_log(l);
    l->count = (l->count + 1) & ((1U << COUNT_BITS) - 1);
    e->tag = (uint64_t)epoch << (SLOT_BITS + COUNT_BITS) | (uint64_t)l->count << SLOT_BITS | slot;
    ledger_move(l, slot, ENTRY_SENT);
    return e->tag;
}

uint32_t ledger_slot(const struct ledger *l, uint64_t tag)
{
    uint32_t slot = tag & ((1U << SLOT_BITS) - 1);

    if (slot >= l->used || l->entries[slot].state == ENTRY_FREE || l->entries[slot].tag != tag)
        return NIL;
    return slot;
}

const struct ledger_item *ledger_item(const struct ledger *l, uint64_t tag)
{
    uint32_t slot = ledger_slot(l, tag);

    return slot == NIL ? NULL : &l->entries[slot].item;
}

enum entry_state ledger_state(const struct ledger *l, uint64_t tag)
{
    uint32_t slot = ledger_slot(l, tag);

    return slot == NIL ? ENTRY_FREE : l->entries[slot].state;
}

void ledger_deliver(struct ledger *l, uint64_t tag)
{
    uint32_t slot = ledger_slot(l, tag);

    if (slot != NIL && in_sink(l->entries[slot].state))
        ledger_move(l, slot, l->entries[slot].state == ENTRY_SENT ? ENTRY_DELIVERED : ENTRY_FREE);
}

void ledger_withdraw(struct ledger *l, uint64_t tag)
{
    uint32_t slot = ledger_slot(l, tag);

    if (slot != NIL && in_sink(l->entries[slot].state))
        ledger_move(l, slot, ENTRY_FREE);
}

void ledger_take_back(struct ledger *l, uint64_t tag)
{
    uint32_t slot = ledger_slot(l, tag);

    if (slot == NIL || !in_sink(l->entries[slot].state))
        return;
    if (l->checkpoint != NULL)
        checkpoint_leave(l->checkpoint, l->entries[slot].item.tx);
    l->entries[slot].item.tx = 0;
    ledger_move(l, slot, ENTRY_FREE);
}

static bool batch_reserve(struct ledger *l, uint32_t max)
{
    int64_t *seqs;
    unsigned char(*ids)[EVENT_ID_LEN];

    if (max <= l->batch_cap)
        return true;
    seqs = realloc(l->batch_seqs, max * sizeof *seqs);
    if (seqs == NULL)
        return false;
    l->batch_seqs = seqs;
    ids = realloc(l->batch_ids, max * sizeof *ids);
    if (ids == NULL)
        return false;
    l->batch_ids = ids;
    l->batch_cap = max;
    return true;
}

bool ledger_take(struct ledger *l, uint32_t number, uint32_t max, struct ledger_batch *ret)
{
    uint32_t slot = l->lists[ENTRY_DELIVERED].head;
    uint32_t n = 0;
    bool streamed = false;
    bool queued;
    bool strict;

    if (slot == NIL || !batch_reserve(l, max))
        return false; /* without memory they stay delivered, and the next tick tries again */
    strict = l->entries[slot].strict;
    queued = l->entries[slot].item.queued;
    while (slot != NIL && n < max && l->entries[slot].strict == strict &&
           l->entries[slot].item.queued == queued) {
        struct entry *e = &l->entries[slot];
        uint32_t next = e->next;

        l->batch_seqs[n] = e->item.seq;
        memcpy(l->batch_ids[n++], e->item.id, EVENT_ID_LEN);
        e->batch = number;
        streamed = streamed || (e->item.tx != 0 && !queued);
        ledger_move(l, slot, ENTRY_ACKING);
        slot = next;
    }
    *ret = (struct ledger_batch){
        .number = number,
        .n = n,
        .strict = strict,
        .queued = queued,
        .streamed = streamed,
        .seqs = l->batch_seqs,
        .ids = (const unsigned char(*)[EVENT_ID_LEN])l->batch_ids,
    };
    return true;
}

uint32_t ledger_move_all(struct ledger *l, enum entry_state from, enum entry_state to,
                         const uint32_t *batch)
{
    uint32_t slot = l->lists[from].head;
    uint32_t n = 0;

    while (slot != NIL) {
        uint32_t next = l->entries[slot].next;

        if (batch == NULL || l->entries[slot].batch == *batch) {
            ledger_move(l, slot, to);
            n++;
        } else if (n > 0) {
            break; /* batches lie one behind the other */
        }
        slot = next;
    }
    return n;
}

uint32_t ledger_acked(struct ledger *l, uint32_t number, bool remember)
{
    bool log = ledger_of_log(l);
    uint32_t n =
        ledger_move_all(l, ENTRY_ACKING, remember || log ? ENTRY_DONE : ENTRY_FREE, &number);

    if (log && !remember)
        ledger_forget_done(l);
    return n;
}

uint32_t ledger_acked_seen(struct ledger *l, uint32_t number, bool remember,
                           const struct snapshot *seen, uint32_t *ret_kept)
{
    uint32_t slot = l->lists[ENTRY_ACKING].head;

    *ret_kept = 0;
    while (slot != NIL) {
        struct entry *e = &l->entries[slot];
        uint32_t next = e->next;

        if (e->batch == number && e->item.tx != 0 && !snapshot_sees(seen, e->item.xid)) {
            ledger_move(l, slot, ENTRY_DELIVERED);
            (*ret_kept)++;
        }
        slot = next;
    }
    return ledger_acked(l, number, remember);
}

void ledger_unack(struct ledger *l, uint32_t number)
{
    (void)ledger_move_all(l, ENTRY_ACKING, ENTRY_DELIVERED, &number);
}

void ledger_ack_lost(struct ledger *l)
{
    static const enum entry_state held[] = {ENTRY_SENT, ENTRY_DELIVERED};

    (void)ledger_move_all(l, ENTRY_ACKING, ENTRY_DELIVERED, NULL);
    for (size_t i = 0; i < sizeof held / sizeof *held; i++)
        for (uint32_t s = l->lists[held[i]].head; s != NIL; s = l->entries[s].next)
            l->entries[s].strict = true;
}

uint32_t ledger_forget_sent(struct ledger *l)
{
    (void)ledger_move_all(l, ENTRY_DISOWNED, ENTRY_FREE, NULL);
    return ledger_move_all(l, ENTRY_SENT, ENTRY_FREE, NULL);
}

void ledger_disown(struct ledger *l)
{
    (void)ledger_move_all(l, ENTRY_SENT, ENTRY_DISOWNED, NULL);
    (void)ledger_move_all(l, ENTRY_ACKING, ENTRY_DELIVERED, NULL);
    (void)ledger_move_all(l, ENTRY_DELIVERED, ENTRY_FREE, NULL);
    (void)ledger_move_all(l, ENTRY_FAILED, ENTRY_FREE, NULL);
    (void)ledger_move_all(l, ENTRY_DONE, ENTRY_FREE, NULL);
    (void)ledger_move_all(l, ENTRY_AHEAD, ENTRY_FREE, NULL);
}

uint32_t ledger_count(const struct ledger *l, enum entry_state state)
{
    return l->lists[state].n;
}

uint32_t ledger_events(const struct ledger *l)
{
    uint32_t n = 0;

    for (int s = ENTRY_FREE + 1; s < ENTRY_STATES; s++)
        n += s == ENTRY_AHEAD ? 0 : l->lists[s].n;
    return n;
}

uint64_t ledger_bytes(const struct ledger *l)
{
    return l->bytes;
}
