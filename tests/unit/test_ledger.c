/* The ledger against a naive oracle: an array that is searched from end to end. Tens of thousands
 * of random operations, and after each the two have to agree on every row. */
#include "core/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EVENTS 24
#define BYTES 600
#define SEQS 60
#define OPERATIONS 60000

struct naive {
    uint64_t tag; /* 0: free */
    enum entry_state state;
    struct ledger_item item;
    uint32_t batch;
    uint64_t age; /* since it is in its state: the order of acknowledgement */
    bool strict;
};

struct oracle {
    struct naive all[EVENTS];
    uint64_t clock;
    uint32_t batches;
    uint16_t epoch;
    uint64_t rng;
    uint64_t old_tags[64];
    uint32_t nold;
};

static uint32_t below(struct oracle *o, uint32_t n)
{
    o->rng = o->rng * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)((o->rng >> 33) % n);
}

static struct naive *by_seq(struct oracle *o, int64_t seq)
{
    for (int i = 0; i < EVENTS; i++)
        if (o->all[i].tag != 0 && o->all[i].state != ENTRY_DISOWNED && o->all[i].item.seq == seq)
            return &o->all[i];
    return NULL;
}

static struct naive *some(struct oracle *o, enum entry_state a, enum entry_state b)
{
    uint32_t from = below(o, EVENTS);

    for (uint32_t i = 0; i < EVENTS; i++) {
        struct naive *n = &o->all[(from + i) % EVENTS];

        if (n->tag != 0 && (n->state == a || n->state == b))
            return n;
    }
    return NULL;
}

static uint32_t count(const struct oracle *o, enum entry_state state)
{
    uint32_t n = 0;

    for (int i = 0; i < EVENTS; i++)
        n += o->all[i].tag != 0 && o->all[i].state == state;
    return n;
}

static uint64_t bytes(const struct oracle *o)
{
    uint64_t n = 0;

    for (int i = 0; i < EVENTS; i++)
        if (o->all[i].tag != 0 &&
            (o->all[i].state == ENTRY_SENT || o->all[i].state == ENTRY_DISOWNED))
            n += o->all[i].item.bytes;
    return n;
}

static void drop(struct oracle *o, struct naive *n)
{
    o->old_tags[o->nold++ % 64] = n->tag;
    n->tag = 0;
}

static void move(struct oracle *o, struct naive *n, enum entry_state to)
{
    n->state = to;
    n->age = ++o->clock;
}

static uint32_t move_all(struct oracle *o, enum entry_state from, enum entry_state to,
                         uint32_t batch)
{
    uint32_t moved = 0;

    for (;;) { /* oldest first, since the next acknowledgement takes them in that order */
        struct naive *first = NULL;

        for (int i = 0; i < EVENTS; i++)
            if (o->all[i].tag != 0 && o->all[i].state == from &&
                (batch == 0 || o->all[i].batch == batch) &&
                (first == NULL || o->all[i].age < first->age))
                first = &o->all[i];
        if (first == NULL)
            return moved;
        moved++;
        if (to == ENTRY_FREE)
            drop(o, first);
        else
            move(o, first, to);
    }
}

static void agree(struct oracle *o, struct ledger *l)
{
    uint32_t all = 0;

    for (int s = ENTRY_FREE + 1; s < ENTRY_STATES; s++) {
        assert_int_equal(ledger_count(l, (enum entry_state)s), count(o, (enum entry_state)s));
        all += count(o, (enum entry_state)s);
    }
    assert_int_equal(ledger_events(l), all);
    assert_int_equal(ledger_room(l), EVENTS - all);
    assert_int_equal(ledger_bytes(l), bytes(o));
    for (int i = 0; i < EVENTS; i++) {
        const struct naive *n = &o->all[i];

        if (n->tag == 0)
            continue;
        assert_int_equal(ledger_state(l, n->tag), n->state);
        assert_memory_equal(ledger_item(l, n->tag), &n->item, sizeof n->item);
    }
    for (uint32_t i = 0; i < (o->nold < 64 ? o->nold : 64); i++)
        assert_null(ledger_item(l, o->old_tags[i]));
    for (int64_t seq = 1; seq <= SEQS; seq++) {
        const struct naive *n = by_seq(o, seq);
        unsigned char other[EVENT_ID_LEN] = {0xff};

        if (n == NULL) {
            assert_int_equal(ledger_match(l, seq, other), LEDGER_ABSENT);
            continue;
        }
        assert_int_equal(ledger_match(l, seq, n->item.id), LEDGER_SAME);
        assert_int_equal(ledger_match(l, seq, other), LEDGER_OTHER);
    }
}

static void admit(struct oracle *o, struct ledger *l)
{
    struct ledger_item item;
    struct naive *old;
    int i = 0;

    memset(&item, 0, sizeof item);
    item.seq = 1 + (int64_t)below(o, SEQS);
    item.bytes = 1 + below(o, 60);
    memcpy(item.id, &o->rng, sizeof o->rng);
    item.id[0] = 1;
    old = by_seq(o, item.seq);
    if (old != NULL) {
        bool held = old->state == ENTRY_ACKING;

        assert_int_equal(ledger_replace(l, item.seq), !held);
        if (held)
            return;
        if (old->state == ENTRY_SENT)
            move(o, old, ENTRY_DISOWNED);
        else
            drop(o, old);
    }
    assert_int_equal(ledger_fits(l, item.bytes), bytes(o) == 0 || bytes(o) + item.bytes <= BYTES);
    if (ledger_room(l) == 0 || !ledger_fits(l, item.bytes))
        return;
    while (o->all[i].tag != 0)
        i++;
    o->all[i] = (struct naive){.tag = ledger_admit(l, o->epoch, &item), .item = item};
    assert_int_equal(o->all[i].tag >> 48, o->epoch);
    move(o, &o->all[i], ENTRY_SENT);
}

static void report(struct oracle *o, struct ledger *l)
{
    struct naive *n = some(o, ENTRY_SENT, ENTRY_DISOWNED);
    bool ok = below(o, 5) > 0;

    if (n == NULL)
        return;
    if (ok)
        ledger_deliver(l, n->tag);
    else
        ledger_withdraw(l, n->tag);
    if (ok && n->state == ENTRY_SENT)
        move(o, n, ENTRY_DELIVERED);
    else
        drop(o, n);
}

static void take(struct oracle *o, struct ledger *l)
{
    uint32_t max = 1 + below(o, 10);
    struct ledger_batch batch;

    if (!ledger_take(l, ++o->batches, max, &batch)) {
        assert_int_equal(count(o, ENTRY_DELIVERED), 0);
        return;
    }
    assert_true(batch.n > 0 && batch.n <= max);
    assert_int_equal(batch.number, o->batches);
    for (uint32_t i = 0; i < batch.n; i++) {
        struct naive *n = by_seq(o, batch.seqs[i]);

        assert_non_null(n);
        assert_memory_equal(n->item.id, batch.ids[i], EVENT_ID_LEN);
        for (int k = 0; k < EVENTS; k++) /* the oldest that was delivered */
            assert_false(o->all[k].tag != 0 && o->all[k].state == ENTRY_DELIVERED &&
                         o->all[k].age < n->age);
        assert_int_equal(n->strict, batch.strict);
        n->batch = o->batches;
        move(o, n, ENTRY_ACKING);
    }
    if (batch.n < max) { /* it ended at the end, or where strict begins or ends */
        const struct naive *next = NULL;

        for (int k = 0; k < EVENTS; k++)
            if (o->all[k].tag != 0 && o->all[k].state == ENTRY_DELIVERED &&
                (next == NULL || o->all[k].age < next->age))
                next = &o->all[k];
        assert_true(next == NULL || next->strict != batch.strict);
    }
}

static void answer(struct oracle *o, struct ledger *l)
{
    const struct naive *n = some(o, ENTRY_ACKING, ENTRY_ACKING);
    uint32_t batch = n == NULL ? o->batches + 9 : n->batch;
    bool remember = below(o, 2) == 0;

    if (below(o, 4) == 0) {
        ledger_unack(l, batch);
        (void)move_all(o, ENTRY_ACKING, ENTRY_DELIVERED, batch);
        return;
    }
    assert_int_equal(ledger_acked(l, batch, remember),
                     move_all(o, ENTRY_ACKING, remember ? ENTRY_DONE : ENTRY_FREE, batch));
}

static void misfortune(struct oracle *o, struct ledger *l)
{
    switch (below(o, 4)) {
    case 0:
        ledger_ack_lost(l);
        (void)move_all(o, ENTRY_ACKING, ENTRY_DELIVERED, 0);
        for (int i = 0; i < EVENTS; i++)
            if (o->all[i].state == ENTRY_SENT || o->all[i].state == ENTRY_DELIVERED)
                o->all[i].strict = true;
        break;
    case 1:
        (void)move_all(o, ENTRY_DISOWNED, ENTRY_FREE, 0);
        assert_int_equal(ledger_forget_sent(l), move_all(o, ENTRY_SENT, ENTRY_FREE, 0));
        o->epoch++;
        break;
    case 2:
        ledger_disown(l);
        (void)move_all(o, ENTRY_SENT, ENTRY_DISOWNED, 0);
        (void)move_all(o, ENTRY_DELIVERED, ENTRY_FREE, 0);
        (void)move_all(o, ENTRY_ACKING, ENTRY_FREE, 0);
        (void)move_all(o, ENTRY_DONE, ENTRY_FREE, 0);
        break;
    default:
        ledger_forget_done(l);
        (void)move_all(o, ENTRY_DONE, ENTRY_FREE, 0);
        break;
    }
}

static void random_operations_match_the_oracle(void **state)
{
    struct oracle *o = calloc(1, sizeof *o);
    struct ledger *l;
    struct err err;

    (void)state;
    assert_non_null(o);
    o->rng = 42;
    o->epoch = UINT16_MAX - 20; /* it wraps on the way */
    assert_int_equal(ledger_new(&l, EVENTS, BYTES, &err), 0);
    for (int i = 0; i < OPERATIONS; i++) {
        uint32_t lot = below(o, 100);

        if (lot < 45)
            admit(o, l);
        else if (lot < 72)
            report(o, l);
        else if (lot < 84)
            take(o, l);
        else if (lot < 96)
            answer(o, l);
        else
            misfortune(o, l);
        agree(o, l);
    }
    ledger_free(l);
    free(o);
}

static void a_tag_of_a_slot_that_was_used_again_finds_nothing(void **state)
{
    struct ledger_item item = {.seq = 1, .bytes = 1};
    struct ledger *l;
    struct err err;
    uint64_t first;
    uint64_t second;

    (void)state;
    assert_int_equal(ledger_new(&l, 1, 10, &err), 0);
    first = ledger_admit(l, 3, &item);
    ledger_withdraw(l, first);
    second = ledger_admit(l, 3, &item);
    assert_true(first != second);
    assert_null(ledger_item(l, first));
    ledger_deliver(l, first);
    assert_int_equal(ledger_state(l, second), ENTRY_SENT);
    assert_int_equal(ledger_state(l, first), ENTRY_FREE);
    assert_null(ledger_item(l, 0));
    assert_null(ledger_item(l, UINT64_MAX));
    ledger_free(l);
    ledger_free(NULL);
}

static void one_event_of_any_size_fits_an_empty_window(void **state)
{
    struct ledger_item item = {.seq = 1, .bytes = 1000};
    struct ledger *l;
    struct err err;
    uint64_t tag;

    (void)state;
    assert_int_equal(ledger_new(&l, 4, 100, &err), 0);
    assert_true(ledger_fits(l, 1000));
    tag = ledger_admit(l, 1, &item);
    assert_false(ledger_fits(l, 1));
    ledger_deliver(l, tag);
    assert_true(ledger_fits(l, 1));
    ledger_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_match_the_oracle),
        cmocka_unit_test(a_tag_of_a_slot_that_was_used_again_finds_nothing),
        cmocka_unit_test(one_event_of_any_size_fits_an_empty_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
