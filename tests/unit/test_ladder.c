/* The hysteresis: what fails is left at once, what comes back is trusted later each time. */
#include "core/ladder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND 1000
#define MINUTE 60000

/* Proofs, each when it is due, until it works; how many there were. */
static uint32_t until_it_works(struct ladder *l, int64_t *now)
{
    uint32_t proofs = 0;

    assert_false(l->works);
    while (!l->works && proofs < 1000) {
        *now = l->probe_at;
        ladder_proved(l, *now);
        proofs++;
    }
    return proofs;
}

static void the_first_proof_counts(void **state)
{
    struct ladder l = {0};

    (void)state;
    assert_false(l.known);
    ladder_proved(&l, 7);
    assert_true(l.known && l.works);
    assert_int_equal(l.probe_at, 7 + MINUTE);
    ladder_proved(&l, 7 + MINUTE);
    assert_true(l.works);
    assert_int_equal(l.probe_at, 7 + 2 * MINUTE);
}

static void a_failure_leaves_at_once(void **state)
{
    struct ladder l = {0};

    (void)state;
    ladder_proved(&l, 0);
    ladder_failed(&l, 100);
    assert_true(l.known);
    assert_false(l.works);
    assert_int_equal(l.probe_at, 100 + 5 * SECOND); /* what fails is tried soon */
}

static void a_failure_to_begin_with_is_known(void **state)
{
    struct ladder l = {0};
    int64_t now = 0;

    (void)state;
    ladder_failed(&l, now);
    assert_true(l.known);
    assert_false(l.works);
    assert_int_equal(until_it_works(&l, &now), 2);
}

static void each_time_it_takes_twice_as_many_proofs(void **state)
{
    static const uint32_t needed[] = {2, 4, 8, 16, 32, 64, 64, 64};
    struct ladder l = {0};
    int64_t now = 0;

    (void)state;
    ladder_proved(&l, now);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        ladder_failed(&l, now);
        assert_int_equal(until_it_works(&l, &now), needed[i]);
    }
}

static void proofs_count_in_a_row(void **state)
{
    struct ladder l = {0};
    int64_t now = 0;

    (void)state;
    ladder_proved(&l, now);
    ladder_failed(&l, now);
    ladder_proved(&l, now += 5 * SECOND);
    assert_false(l.works);
    ladder_failed(&l, now += 5 * SECOND);
    /* It did not work in between, so no more are asked for. */
    assert_int_equal(until_it_works(&l, &now), 2);
}

/* One that comes and goes by turns is left, and not taken again. */
static void what_flaps_is_left_alone(void **state)
{
    struct ladder l = {0};
    int64_t now = 0;
    uint32_t changes = 0;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        bool worked = l.works;

        now = l.probe_at;
        if (i % 7 == 6)
            ladder_failed(&l, now);
        else
            ladder_proved(&l, now);
        changes += worked != l.works;
    }
    assert_false(l.works);
    assert_in_range(changes, 1, 6);
}

/* Not before ten minutes of working, and once they are over, as if it had never failed. */
static void ten_minutes_of_working_forgive(void **state)
{
    struct ladder l = {0};
    int64_t now = 0;
    int64_t taken;

    (void)state;
    ladder_proved(&l, now);
    ladder_failed(&l, now);
    assert_int_equal(until_it_works(&l, &now), 2);
    taken = now;
    while (l.probe_at < taken + 10 * MINUTE)
        ladder_proved(&l, now = l.probe_at);
    assert_int_equal(now, taken + 9 * MINUTE);
    ladder_failed(&l, now);
    assert_int_equal(until_it_works(&l, &now), 4);
    taken = now;
    while (l.probe_at <= taken + 10 * MINUTE)
        ladder_proved(&l, now = l.probe_at);
    assert_int_equal(now, taken + 10 * MINUTE);
    ladder_failed(&l, now);
    assert_int_equal(until_it_works(&l, &now), 2);
}

/* Through a pooler one may come by chance: several in a row, soon after each other. */
static void through_a_pooler_one_proof_is_none(void **state)
{
    struct ladder l = {0};
    int64_t now = 0;

    (void)state;
    ladder_renewed(&l, now, true);
    ladder_proved(&l, now);
    assert_false(l.works);
    assert_false(l.known);
    assert_int_equal(l.probe_at, now + SECOND / 2);
    assert_int_equal(1 + until_it_works(&l, &now), 8);
    assert_true(l.known);
    ladder_failed(&l, now);
    assert_int_equal(until_it_works(&l, &now), 8);
    ladder_failed(&l, now);
    ladder_renewed(&l, now, false);
    assert_int_equal(until_it_works(&l, &now), 4);
}

static void by_chance_is_not_known_to_work(void **state)
{
    struct ladder l = {0};

    (void)state;
    ladder_renewed(&l, 0, true);
    ladder_proved(&l, 0);
    ladder_failed(&l, SECOND);
    assert_true(l.known);
    assert_false(l.works);
}

static void a_new_session_is_probed_at_once(void **state)
{
    struct ladder l = {0};

    (void)state;
    ladder_proved(&l, 0);
    ladder_renewed(&l, 50, false);
    assert_int_equal(l.probe_at, 50);
    assert_true(l.known && l.works); /* until the probe tells otherwise */
    ladder_failed(&l, 60);
    ladder_renewed(&l, 70, false);
    assert_int_equal(l.probe_at, 70);
    assert_false(l.works);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_proof_counts),
        cmocka_unit_test(a_failure_leaves_at_once),
        cmocka_unit_test(a_failure_to_begin_with_is_known),
        cmocka_unit_test(each_time_it_takes_twice_as_many_proofs),
        cmocka_unit_test(proofs_count_in_a_row),
        cmocka_unit_test(what_flaps_is_left_alone),
        cmocka_unit_test(ten_minutes_of_working_forgive),
        cmocka_unit_test(through_a_pooler_one_proof_is_none),
        cmocka_unit_test(by_chance_is_not_known_to_work),
        cmocka_unit_test(a_new_session_is_probed_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
