/* The ledger's rows of a stream: what is certain of them, and what counts for its checkpoint. */
#include "core/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A streamed row may not be visible to the statement that should have deleted it. */
static void only_streamed_rows_that_were_not_seen_are_kept(void **state)
{
    struct checkpoint c = {0};
    struct snapshot seen = {0};
    struct ledger_batch batch;
    struct ledger *l;
    struct err err;
    uint32_t kept;
    uint64_t tags[4];

    (void)state;
    assert_int_equal(ledger_new(&l, 8, 100, &err), 0);
    ledger_watch(l, &c);
    assert_int_equal(snapshot_parse(&seen, "20:25:20", 8, &err), 0);
    for (int i = 0; i < 4; i++) { /* from the table; of 20, which waits; of 21; of 25 */
        static const uint64_t xids[] = {0, 20, 21, 25};
        struct ledger_item item = {.seq = i + 1, .bytes = 1, .xid = xids[i]};

        if (i > 0)
            assert_int_equal(checkpoint_enter(&c, &item.tx, &err), 0);
        checkpoint_end(&c, 100 * (uint64_t)(i + 1));
        tags[i] = ledger_admit(l, 1, &item);
        ledger_deliver(l, tags[i]);
    }
    assert_true(ledger_take(l, 1, 1, &batch));
    assert_false(batch.streamed);
    assert_int_equal(ledger_acked_seen(l, 1, false, &seen, &kept), 1);
    assert_int_equal(kept, 0);
    assert_true(ledger_take(l, 2, 8, &batch));
    assert_true(batch.streamed);
    assert_int_equal(batch.n, 3);
    assert_int_equal(ledger_acked_seen(l, 2, false, &seen, &kept), 1);
    assert_int_equal(kept, 2);
    assert_int_equal(ledger_state(l, tags[1]), ENTRY_DELIVERED);
    assert_int_equal(ledger_state(l, tags[2]), ENTRY_FREE);
    assert_int_equal(c.lsn, 100);
    assert_true(ledger_take(l, 3, 8, &batch));
    assert_int_equal(batch.n, 2);
    assert_int_equal(ledger_acked(l, 3, true), 2);
    assert_int_equal(c.lsn, 400);
    ledger_free(l);
    checkpoint_free(&c);
    snapshot_free(&seen);
}

/* Two transactions of one row each, and one that was read from the table. */
static void three(struct ledger *l, struct checkpoint *c, uint64_t tags[3])
{
    struct err err;

    for (int i = 0; i < 3; i++) {
        struct ledger_item item = {.seq = i + 1, .bytes = 1};

        if (i < 2) {
            assert_int_equal(checkpoint_enter(c, &item.tx, &err), 0);
            checkpoint_end(c, 100 * (uint64_t)(i + 1));
        }
        tags[i] = ledger_admit(l, 1, &item);
    }
}

/* The stream has begun again, and brings what is held. */
static void what_is_held_enters_the_next_stream_once(void **state)
{
    struct checkpoint c = {.strict = true};
    struct ledger_batch batch;
    struct ledger *l;
    struct err err;
    uint64_t tags[3];

    (void)state;
    assert_int_equal(ledger_new(&l, 8, 100, &err), 0);
    ledger_watch(l, &c);
    three(l, &c, tags);
    for (int i = 0; i < 3; i++)
        ledger_deliver(l, tags[i]);
    assert_true(ledger_take(l, 1, 1, &batch));
    checkpoint_reset(&c);
    c.stored = true;
    for (int again = 0; again < 2; again++) /* one that is being acknowledged, too */
        assert_int_equal(ledger_enter(l, 1, &err), 0);
    checkpoint_end(&c, 100);
    assert_int_equal(ledger_acked(l, 1, false), 1);
    assert_int_equal(c.lsn, 100);
    assert_int_equal(ledger_enter(l, 1, &err), 0); /* it is there no more */
    assert_int_equal(ledger_enter(l, 9, &err), 0);
    checkpoint_end(&c, 150);
    assert_int_equal(c.lsn, 150);
    assert_int_equal(ledger_enter(l, 2, &err), 0);
    assert_int_equal(ledger_enter(l, 3, &err), 0);
    checkpoint_end(&c, 300);
    assert_true(ledger_take(l, 2, 1, &batch));
    assert_int_equal(ledger_acked(l, 2, false), 1);
    assert_int_equal(c.lsn, 150);
    assert_true(ledger_take(l, 3, 1, &batch));
    assert_true(batch.streamed); /* the one that was the table's counts as the stream's */
    assert_int_equal(ledger_acked(l, 3, false), 1);
    assert_int_equal(c.lsn, 300);
    assert_false(c.lost);
    ledger_free(l);
    checkpoint_free(&c);
}

static void what_is_done_does_not_enter(void **state)
{
    struct checkpoint c = {.strict = true};
    struct ledger_batch batch;
    struct ledger *l;
    struct err err;
    uint64_t tags[3];

    (void)state;
    assert_int_equal(ledger_new(&l, 8, 100, &err), 0);
    ledger_watch(l, &c);
    three(l, &c, tags);
    ledger_deliver(l, tags[0]);
    assert_true(ledger_take(l, 1, 1, &batch));
    assert_int_equal(ledger_acked(l, 1, true), 1); /* remembered for a read on its way */
    checkpoint_reset(&c);
    assert_int_equal(ledger_enter(l, 1, &err), 0);
    checkpoint_end(&c, 100);
    assert_int_equal(c.lsn, 100);
    ledger_forget_done(l);
    assert_false(c.lost);
    ledger_free(l);
    checkpoint_free(&c);
}

/* In any way but by its acknowledgement. */
static void what_leaves_without_being_done_is_lost(void **state)
{
    struct ledger *l;
    struct err err;
    uint64_t tags[3];

    (void)state;
    for (int way = 0; way < 4; way++) {
        struct checkpoint c = {.strict = true};
        struct ledger_batch batch;

        assert_int_equal(ledger_new(&l, 8, 100, &err), 0);
        ledger_watch(l, &c);
        three(l, &c, tags);
        if (way == 0) {
            ledger_withdraw(l, tags[1]);
        } else if (way == 1) {
            assert_int_equal(ledger_forget_sent(l), 3);
        } else if (way == 2) {
            ledger_disown(l);
        } else {
            assert_false(ledger_replace(l, 2)); /* that other event is as good as this one */
            ledger_deliver(l, tags[1]);
            assert_true(ledger_take(l, 1, 1, &batch));
            assert_true(batch.strict); /* such a stream's seqs may be those of other rows */
            ledger_disown(l);
        }
        assert_true(c.lost);
        assert_int_equal(c.lsn, 0);
        ledger_free(l);
        checkpoint_free(&c);
    }
}

/* A stream that begins again brings what was done ahead of its position: it is not published again,
 * but acknowledged, since a server that has crashed may have forgotten that it was. */
static void what_is_done_ahead_is_remembered(void **state)
{
    struct checkpoint c = {.strict = true, .stored = true};
    struct ledger_item more = {.seq = 9, .bytes = 1};
    unsigned char other[EVENT_ID_LEN] = {1};
    struct ledger_batch batch;
    struct ledger *l;
    struct err err;
    uint64_t tags[3];

    (void)state;
    assert_int_equal(ledger_new(&l, 3, 100, &err), 0);
    ledger_watch(l, &c);
    three(l, &c, tags);
    ledger_deliver(l, tags[1]);
    assert_true(ledger_take(l, 1, 1, &batch));
    assert_int_equal(ledger_acked(l, 1, false), 1);
    assert_int_equal(c.lsn, 0); /* the first one is still on its way */
    assert_int_equal(ledger_count(l, ENTRY_AHEAD), 1);
    assert_int_equal(ledger_room(l), 0);
    ledger_stream_ends(l);
    checkpoint_reset(&c);
    assert_int_equal(ledger_match(l, 2, batch.ids[0]), LEDGER_SAME);
    assert_int_equal(ledger_enter(l, 1, &err), 0);
    checkpoint_end(&c, 100);
    assert_int_equal(ledger_enter(l, 2, &err), 0);
    checkpoint_end(&c, 200);
    assert_true(ledger_take(l, 2, 2, &batch));
    assert_int_equal(batch.n, 1);
    assert_int_equal(ledger_acked(l, 2, false), 1);
    (void)ledger_admit(l, 1, &more);
    assert_int_equal(ledger_made_way(l), 1); /* it was the oldest */
    assert_int_equal(ledger_match(l, 2, other), LEDGER_ABSENT);
    assert_int_equal(ledger_room(l), 0);
    ledger_free(l);
    checkpoint_free(&c);
}

static void what_is_passed_is_forgotten(void **state)
{
    struct checkpoint c = {.strict = true};
    struct ledger_batch batch;
    struct ledger *l;
    struct err err;
    uint64_t tags[3];

    (void)state;
    assert_int_equal(ledger_new(&l, 8, 100, &err), 0);
    ledger_watch(l, &c);
    three(l, &c, tags);
    ledger_deliver(l, tags[1]);
    assert_true(ledger_take(l, 1, 1, &batch));
    assert_int_equal(ledger_acked(l, 1, false), 1);
    ledger_deliver(l, tags[0]);
    assert_true(ledger_take(l, 2, 1, &batch));
    assert_int_equal(ledger_acked(l, 2, false), 1);
    assert_int_equal(c.lsn, 200);
    assert_int_equal(ledger_count(l, ENTRY_AHEAD), 2); /* nothing of that is stored */
    c.stored = true;
    ledger_forget_done(l);
    assert_int_equal(ledger_count(l, ENTRY_AHEAD), 0);
    ledger_free(l);
    checkpoint_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_streamed_rows_that_were_not_seen_are_kept),
        cmocka_unit_test(what_is_held_enters_the_next_stream_once),
        cmocka_unit_test(what_is_done_does_not_enter),
        cmocka_unit_test(what_leaves_without_being_done_is_lost),
        cmocka_unit_test(what_is_done_ahead_is_remembered),
        cmocka_unit_test(what_is_passed_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
