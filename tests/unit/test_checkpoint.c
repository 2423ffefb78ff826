/* How far a stream is done: by hand, and against a list of all transactions that is walked from its
 * beginning each time. */
#include "core/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define TRANSACTIONS 4000
#define OPERATIONS 40000

static uint64_t enter(struct checkpoint *c)
{
    struct err err;
    uint64_t tx;

    assert_int_equal(checkpoint_enter(c, &tx, &err), 0);
    assert_true(tx != 0);
    return tx;
}

static void only_the_oldest_lets_it_advance(void **state)
{
    struct checkpoint c = {0};
    uint64_t first;
    uint64_t second;

    (void)state;
    first = enter(&c);
    assert_int_equal(enter(&c), first);
    checkpoint_end(&c, 100);
    second = enter(&c);
    assert_true(second != first);
    checkpoint_end(&c, 200);
    checkpoint_end(&c, 300); /* without rows: done as soon as those before it are */
    assert_int_equal(c.lsn, 0);
    checkpoint_leave(&c, second);
    assert_int_equal(c.lsn, 0);
    checkpoint_leave(&c, first);
    assert_int_equal(c.lsn, 0);
    checkpoint_leave(&c, first);
    assert_int_equal(c.lsn, 300);
    checkpoint_free(&c);
}

static void one_that_has_not_ended_holds_it(void **state)
{
    struct checkpoint c = {0};
    uint64_t tx;

    (void)state;
    tx = enter(&c);
    checkpoint_leave(&c, tx);
    assert_int_equal(c.lsn, 0);
    assert_int_equal(enter(&c), tx); /* more of its rows may come */
    checkpoint_end(&c, 100);
    assert_int_equal(c.lsn, 0);
    checkpoint_leave(&c, tx);
    assert_int_equal(c.lsn, 100);
    checkpoint_free(&c);
}

static void an_idle_server_moves_it(void **state)
{
    struct checkpoint c = {0};
    uint64_t tx;

    (void)state;
    checkpoint_end(&c, 100);
    assert_int_equal(c.lsn, 100);
    tx = enter(&c); /* the first row ever takes nothing back */
    assert_int_equal(c.lsn, 100);
    checkpoint_end(&c, 200);
    checkpoint_end(&c, 250);
    assert_int_equal(c.lsn, 100);
    checkpoint_leave(&c, tx);
    assert_int_equal(c.lsn, 250);
    checkpoint_end(&c, 220); /* whatever it says of itself, never back */
    assert_int_equal(c.lsn, 250);
    checkpoint_free(&c);
}

static void rows_of_an_older_stream_move_nothing(void **state)
{
    struct checkpoint c = {0};
    uint64_t old;
    uint64_t tx;

    (void)state;
    old = enter(&c);
    checkpoint_end(&c, 100);
    checkpoint_reset(&c);
    assert_int_equal(c.lsn, 0);
    tx = enter(&c);
    assert_true(tx != old);
    checkpoint_end(&c, 50); /* another server's positions, perhaps */
    checkpoint_leave(&c, old);
    checkpoint_leave(&c, 0);
    checkpoint_leave(&c, tx + 1);
    assert_int_equal(c.lsn, 0);
    checkpoint_leave(&c, tx);
    assert_int_equal(c.lsn, 50);
    checkpoint_leave(&c, tx); /* once more than it had rows */
    assert_int_equal(c.lsn, 50);
    checkpoint_reset(&c);
    checkpoint_reset(&c);
    assert_int_equal(c.lsn, 0);
    checkpoint_free(&c);
}

/* Without a row being done it may leave all the same; where nothing else brings it again that
 * counts for ever. */
static void a_lost_row_stops_a_strict_one(void **state)
{
    struct checkpoint c = {.strict = true};
    uint64_t first;
    uint64_t second;

    (void)state;
    first = enter(&c);
    checkpoint_end(&c, 100);
    second = enter(&c);
    (void)enter(&c);
    checkpoint_end(&c, 200);
    checkpoint_leave(&c, first);
    assert_int_equal(c.lsn, 100);
    checkpoint_lose(&c, 0); /* of none of these */
    checkpoint_lose(&c, first);
    assert_false(c.lost);
    checkpoint_lose(&c, second);
    assert_true(c.lost);
    assert_true(checkpoint_has(&c, second));
    checkpoint_leave(&c, second); /* its other row */
    checkpoint_end(&c, 300);
    assert_int_equal(c.lsn, 100);
    checkpoint_reset(&c);
    assert_false(c.lost);
    assert_true(c.strict); /* the owner's */
    checkpoint_lose(&c, second);
    assert_false(c.lost);
    checkpoint_end(&c, 400);
    assert_int_equal(c.lsn, 400);
    checkpoint_free(&c);
}

static void a_lost_row_leaves_one_that_is_not_strict(void **state)
{
    struct checkpoint c = {0};
    uint64_t tx;

    (void)state;
    tx = enter(&c);
    checkpoint_end(&c, 100);
    checkpoint_lose(&c, tx); /* the table brings it again */
    assert_false(c.lost);
    assert_int_equal(c.lsn, 100);
    checkpoint_free(&c);
}

/* What comes before the first transaction may have no rows either. */
static void one_that_was_opened_holds_it(void **state)
{
    struct checkpoint c = {.strict = true};
    struct err err;
    uint64_t tx;

    (void)state;
    assert_int_equal(checkpoint_open(&c, &err), 0);
    assert_int_equal(checkpoint_open(&c, &err), 0);
    assert_int_equal(c.next - c.first, 1);
    assert_int_equal(c.lsn, 0);
    tx = enter(&c);
    assert_int_equal(tx, c.first);
    checkpoint_leave(&c, tx);
    assert_int_equal(c.lsn, 0);
    checkpoint_end(&c, 100);
    assert_int_equal(c.lsn, 100);
    checkpoint_reset(&c);
    assert_int_equal(checkpoint_open(&c, &err), 0);
    checkpoint_end(&c, 200);
    assert_int_equal(c.lsn, 200);
    checkpoint_free(&c);
}

/* An idle server's log moves the one, what is done the other. */
static void what_was_reached_is_of_transactions(void **state)
{
    struct checkpoint c = {0};
    uint64_t tx;

    (void)state;
    checkpoint_end(&c, 100);
    assert_int_equal(c.reached, 0);
    tx = enter(&c);
    checkpoint_end(&c, 200);
    assert_int_equal(checkpoint_end_of(&c, tx), 200);
    checkpoint_leave(&c, tx);
    assert_int_equal(checkpoint_end_of(&c, tx), 0);
    assert_int_equal(c.reached, 200);
    checkpoint_end(&c, 300);
    assert_int_equal(c.lsn, 300);
    assert_int_equal(c.reached, 200);
    checkpoint_free(&c);
}

/* ---- the oracle ---- */

struct naive {
    uint64_t tx; /* 0: none of its rows entered */
    uint64_t end;
    uint32_t rows;
};

struct oracle {
    struct naive all[TRANSACTIONS];
    uint32_t n, base; /* base: where this stream begins */
    bool open;
    uint64_t lsn;
    uint64_t rng;
};

static uint32_t below(struct oracle *o, uint32_t n)
{
    o->rng = o->rng * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)((o->rng >> 33) % n);
}

static uint64_t done_up_to(const struct oracle *o)
{
    uint64_t lsn = 0;

    for (uint32_t i = o->base; i < o->n && o->all[i].end != 0 && o->all[i].rows == 0; i++)
        lsn = o->all[i].end;
    return lsn;
}

static void one_more_row(struct oracle *o, struct checkpoint *c)
{
    if (!o->open)
        o->all[o->n++] = (struct naive){0};
    o->open = true;
    o->all[o->n - 1].tx = enter(c);
    o->all[o->n - 1].rows++;
}

static void the_end(struct oracle *o, struct checkpoint *c)
{
    if (!o->open)
        o->all[o->n++] = (struct naive){0};
    o->open = false;
    o->lsn += 1 + below(o, 100);
    o->all[o->n - 1].end = o->lsn;
    checkpoint_end(c, o->lsn);
}

static void a_row_leaves(struct oracle *o, struct checkpoint *c)
{
    uint32_t i = o->n == 0 ? 0 : below(o, o->n);

    while (i < o->n && o->all[i].rows == 0)
        i++;
    if (i == o->n)
        return;
    checkpoint_leave(c, o->all[i].tx);
    o->all[i].rows--;
}

static void random_streams_match_the_oracle(void **state)
{
    struct oracle *o = calloc(1, sizeof *o);
    struct checkpoint c = {0};
    bool drains = false;

    (void)state;
    assert_non_null(o);
    o->rng = 7;
    for (int i = 0; i < OPERATIONS; i++) {
        uint32_t lot = below(o, 100);

        if (i % 500 == 0)
            drains = !drains; /* so that the ring fills, and empties again */
        if (o->n + 1 == TRANSACTIONS || lot == 0) {
            checkpoint_reset(&c);
            o->n = o->n + 1 == TRANSACTIONS ? 0 : o->n;
            o->base = o->n; /* rows of before may leave still */
            o->open = false;
        } else if (lot < (drains ? 20U : 45U)) {
            one_more_row(o, &c);
        } else if (lot < (drains ? 35U : 80U)) {
            the_end(o, &c);
        } else {
            a_row_leaves(o, &c);
        }
        assert_int_equal(c.lsn, done_up_to(o));
    }
    checkpoint_free(&c);
    free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_oldest_lets_it_advance),
        cmocka_unit_test(one_that_has_not_ended_holds_it),
        cmocka_unit_test(an_idle_server_moves_it),
        cmocka_unit_test(rows_of_an_older_stream_move_nothing),
        cmocka_unit_test(a_lost_row_stops_a_strict_one),
        cmocka_unit_test(a_lost_row_leaves_one_that_is_not_strict),
        cmocka_unit_test(one_that_was_opened_holds_it),
        cmocka_unit_test(what_was_reached_is_of_transactions),
        cmocka_unit_test(random_streams_match_the_oracle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
