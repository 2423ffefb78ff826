/* Falling asleep and waking: no order of grant, read and notification may leave it asleep
 * unconfirmed. */
#include "core/sleeper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define POLL 1000

/* Reads that find nothing, until it asks for the lock; returns the time. */
static int64_t until_asking(struct sleeper *s, int64_t now)
{
    for (int i = 0; i < 1000 && s->state == SLEEP_AWAKE; i++) {
        if (s->next_read_at > now)
            now = s->next_read_at;
        sleeper_read_sent(s);
        sleeper_read_done(s, now, 0);
    }
    assert_int_equal(s->state, SLEEP_ASKING);
    assert_true(sleeper_wants_lock(s));
    return now;
}

static void asks_confirms_sleeps(void **state)
{
    struct sleeper s = sleeper_of(POLL);
    int64_t now;

    (void)state;
    sleeper_set_notify(&s, 0, true);
    now = until_asking(&s, 0);
    assert_true(now > 1 && now < 100); /* a trickle does not take and give the lock all the time */
    sleeper_granted(&s, now);
    assert_int_equal(s.state, SLEEP_CONFIRMING);
    assert_int_equal(s.next_read_at, now);
    sleeper_read_sent(&s);
    sleeper_read_done(&s, now, 0);
    assert_int_equal(s.state, SLEEP_ASLEEP);
    assert_int_equal(s.next_read_at, now + POLL);
    sleeper_read_sent(&s);
    sleeper_read_done(&s, now + POLL, 0); /* the backstop */
    assert_int_equal(s.state, SLEEP_ASLEEP);
    sleeper_wake(&s, now + POLL + 3);
    assert_int_equal(s.next_read_at, now + POLL + 3);
    assert_false(sleeper_wants_lock(&s));
}

static void a_read_from_before_the_grant_confirms_nothing(void **state)
{
    struct sleeper s = sleeper_of(POLL);
    int64_t now;

    (void)state;
    sleeper_set_notify(&s, 0, true);
    now = until_asking(&s, 0);
    sleeper_read_sent(&s);
    sleeper_granted(&s, now);
    sleeper_read_done(&s, now, 0);
    assert_int_equal(s.state, SLEEP_CONFIRMING);
    assert_int_equal(s.next_read_at, now); /* once more, at once */
    sleeper_read_sent(&s);
    sleeper_read_done(&s, now, 0);
    assert_int_equal(s.state, SLEEP_ASLEEP);
}

static void a_wake_up_while_confirming_is_not_slept_over(void **state)
{
    struct sleeper s = sleeper_of(POLL);
    int64_t now;

    (void)state;
    sleeper_set_notify(&s, 0, true);
    now = until_asking(&s, 0);
    sleeper_granted(&s, now);
    sleeper_read_sent(&s);
    sleeper_wake(&s, now);
    sleeper_read_done(&s, now, 0);
    assert_int_equal(s.state, SLEEP_AWAKE);
    assert_true(s.next_read_at <= now + 1);
}

static void rows_keep_it_awake(void **state)
{
    struct sleeper s = sleeper_of(POLL);
    int64_t now;

    (void)state;
    sleeper_set_notify(&s, 0, true);
    now = until_asking(&s, 0);
    sleeper_granted(&s, now);
    sleeper_read_sent(&s);
    sleeper_read_done(&s, now, 4);
    assert_int_equal(s.state, SLEEP_AWAKE);
    assert_true(s.next_read_at > now && s.next_read_at <= now + 10);
}

static void a_lost_lock_counts_as_a_wake_up(void **state)
{
    struct sleeper s = sleeper_of(POLL);
    int64_t now;

    (void)state;
    sleeper_set_notify(&s, 0, true);
    now = until_asking(&s, 0);
    sleeper_lock_lost(&s, now); /* only asked for: nothing is lost */
    assert_int_equal(s.state, SLEEP_ASKING);
    sleeper_granted(&s, now);
    sleeper_read_sent(&s);
    sleeper_read_done(&s, now, 0);
    sleeper_lock_lost(&s, now + 5);
    assert_int_equal(s.state, SLEEP_AWAKE);
    assert_int_equal(s.next_read_at, now + 5);
    sleeper_granted(&s, now + 6); /* an answer to what nobody asks any more */
    assert_int_equal(s.state, SLEEP_AWAKE);
}

static void cannot_read_holds_no_lock(void **state)
{
    struct sleeper s = sleeper_of(POLL);
    int64_t now;

    (void)state;
    sleeper_set_notify(&s, 0, true);
    now = until_asking(&s, 0);
    sleeper_suspend(&s, now);
    assert_false(sleeper_wants_lock(&s));
}

/* While writers from before the question are open, and without notifications, reads go on: at
 * growing intervals, never further apart than the poll interval, or half a second while the lock
 * is awaited. */
static void reads_go_on_without_a_grant(void **state)
{
    static const bool notify[] = {false, true};

    (void)state;
    for (int k = 0; k < 2; k++) {
        struct sleeper s = sleeper_of(POLL);
        int64_t now = 0;
        int64_t gap = 0;

        sleeper_set_notify(&s, 0, notify[k]);
        for (int i = 0; i < 60; i++) {
            sleeper_read_sent(&s);
            sleeper_read_done(&s, now, 0);
            assert_true(s.next_read_at > now && s.next_read_at - now <= POLL);
            assert_true(s.next_read_at - now >= gap);
            gap = s.next_read_at - now;
            now = s.next_read_at;
        }
        assert_int_equal(sleeper_wants_lock(&s), notify[k]);
        assert_int_equal(gap, notify[k] ? 500 : POLL);
    }
}

static void losing_notifications_wakes(void **state)
{
    struct sleeper s = sleeper_of(POLL);
    int64_t now;

    (void)state;
    sleeper_set_notify(&s, 0, true);
    now = until_asking(&s, 0);
    sleeper_granted(&s, now);
    sleeper_read_sent(&s);
    sleeper_read_done(&s, now, 0);
    sleeper_set_notify(&s, now + 9, false);
    assert_int_equal(s.state, SLEEP_AWAKE);
    assert_int_equal(s.next_read_at, now + 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_confirms_sleeps),
        cmocka_unit_test(a_read_from_before_the_grant_confirms_nothing),
        cmocka_unit_test(a_wake_up_while_confirming_is_not_slept_over),
        cmocka_unit_test(rows_keep_it_awake),
        cmocka_unit_test(a_lost_lock_counts_as_a_wake_up),
        cmocka_unit_test(cannot_read_holds_no_lock),
        cmocka_unit_test(reads_go_on_without_a_grant),
        cmocka_unit_test(losing_notifications_wakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
