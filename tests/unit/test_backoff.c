/* Decorrelated jitter: within its bounds, spread over them, different for each seed. */
#include "core/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

static void stays_within_its_bounds(void **state)
{
    struct backoff b = backoff_of(50, 10000, 1);
    int64_t last = 0;
    int64_t most = 0;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        int64_t d = backoff_next(&b);

        assert_true(d >= 50 && d <= 10000);
        assert_true(d <= (last == 0 ? 50 : last * 3));
        last = d;
        most = d > most ? d : most;
    }
    assert_int_equal(most, 10000);
    backoff_reset(&b);
    assert_int_equal(backoff_next(&b), 50);
}

static void two_relays_differ(void **state)
{
    struct backoff a = backoff_of(100, 60000, 1);
    struct backoff b = backoff_of(100, 60000, 2);
    int same = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        same += backoff_next(&a) == backoff_next(&b);
    assert_true(same < 50);
}

static void repeats_for_the_same_seed(void **state)
{
    struct backoff a = backoff_of(100, 60000, 9);
    struct backoff b = backoff_of(100, 60000, 9);

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(backoff_next(&a), backoff_next(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_within_its_bounds),
        cmocka_unit_test(two_relays_differ),
        cmocka_unit_test(repeats_for_the_same_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
