/* The lease's arithmetic: all counts from when a request was sent, never from its answer. */
#include "core/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void counts_from_the_request(void **state)
{
    struct lease l = lease_of(8000);

    (void)state;
    assert_false(l.held);
    assert_false(lease_pending(&l));
    lease_sent(&l, 1000);
    assert_true(lease_pending(&l));
    lease_granted(&l, 4); /* however much later */
    assert_true(l.held);
    assert_int_equal(l.epoch, 4);
    assert_false(lease_pending(&l));
    assert_int_equal(lease_renew_at(&l), 3000);
    assert_int_equal(lease_deadline(&l), 8000);
}

static void an_answer_that_never_comes_changes_nothing(void **state)
{
    struct lease l = lease_of(8000);

    (void)state;
    lease_sent(&l, 1000);
    lease_granted(&l, 4);
    lease_sent(&l, 3000);
    lease_refused(&l);
    assert_true(l.held);
    assert_false(lease_pending(&l));
    assert_int_equal(lease_deadline(&l), 8000);
    lease_sent(&l, 5000);
    lease_granted(&l, 5);
    assert_int_equal(l.epoch, 5);
    assert_int_equal(lease_deadline(&l), 12000);
    lease_drop(&l);
    assert_false(l.held);
    assert_int_equal(l.epoch, 5); /* whether nobody came between is told by it */
}

/* The owner has stopped before anybody else may begin, and tries often enough before that. */
static void stops_before_another_may_begin(void **state)
{
    static const int64_t ttls[] = {8, 100, 999, 1000, 8000, 8001, 60000, 3600000};

    (void)state;
    for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
        struct lease l = lease_of(ttls[i]);

        lease_sent(&l, 500);
        lease_granted(&l, 1);
        assert_true(lease_deadline(&l) < 500 + ttls[i]);
        assert_true(500 + ttls[i] - lease_deadline(&l) >= ttls[i] / 8);
        assert_true(lease_renew_at(&l) - 500 <= (lease_deadline(&l) - 500) / 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_from_the_request),
        cmocka_unit_test(an_answer_that_never_comes_changes_nothing),
        cmocka_unit_test(stops_before_another_may_begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
