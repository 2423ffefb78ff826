/* A named slot's position by hand: when it is stored, what makes it certain, and what it never
 * passes. */
#include "named_case.h"

/* One transaction of one row, delivered. */
static void one_through(struct fixture *f, uint32_t xid, int64_t seq, uint64_t end)
{
    pipeline_stream_begin(f->p, xid);
    report(f, streamed(f, seq), DELIVERY_OK);
    pipeline_stream_end(f->p, end);
}

/* ---- when ---- */

static void it_goes_along_with_the_next_acknowledgement(void **state)
{
    struct fixture *f = *state;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0); /* the row's own becomes certain by this answer */
    assert_int_equal(pipeline_checkpoint(f->p), 0);
    one_through(f, 21, 2, 300);
    f->now += 20;
    (void)asked(f, 1, 200);
    assert_int_equal(pipeline_checkpoint(f->p), 0); /* on its way */
    assert_int_equal(pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE), 1);
    assert_int_equal(pipeline_checkpoint(f->p), 200);
}

static void alone_it_goes_after_a_while(void **state)
{
    struct fixture *f = *state;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0);
    assert_int_equal(next(f), ACTION_NONE);
    assert_int_equal(pipeline_deadline(f->p, f->now), f->now + 100);
    f->now += 99;
    assert_int_equal(next(f), ACTION_NONE);
    f->now += 1;
    stores(f, 0, 200);
    assert_int_equal(pipeline_checkpoint(f->p), 200);
    assert_int_equal(next(f), ACTION_NONE);
    assert_true(pipeline_deadline(f->p, f->now) == INT64_MAX);
}

static void that_of_an_idle_server_goes_seldom(void **state)
{
    struct fixture *f = *state;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0);
    f->now += 100;
    stores(f, 0, 200);
    pipeline_stream_idle(f->p, 300);
    pipeline_stream_begin(f->p, 21); /* somebody else's, without an event */
    pipeline_stream_end(f->p, 400);
    f->now += 9999;
    assert_int_equal(next(f), ACTION_NONE);
    f->now += 1;
    stores(f, 0, 400);
    assert_int_equal(pipeline_checkpoint(f->p), 400);
    pipeline_stream_idle(f->p, 500);
    one_through(f, 22, 2, 600); /* an acknowledgement takes it along */
    later_stores(f, 1, 500);
}

static void one_goes_at_a_time_unless_with_rows(void **state)
{
    struct fixture *f = *state;
    uint32_t number;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0);
    f->now += 100;
    number = asked(f, 0, 200);
    pipeline_stream_idle(f->p, 300);
    f->now += 20000;
    assert_int_equal(next(f), ACTION_NONE);
    one_through(f, 21, 2, 400);
    f->now += 20;
    (void)asked(f, 1, 300);
    assert_int_equal(pipeline_acked(f->p, f->now, number, ACK_DONE), 0);
    assert_int_equal(pipeline_checkpoint(f->p), 200); /* each answer is for its own */
    assert_int_equal(pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE), 1);
    assert_int_equal(pipeline_checkpoint(f->p), 300);
}

/* ---- what makes it certain ---- */

static void one_that_failed_is_told_again(void **state)
{
    struct fixture *f = *state;
    uint32_t number;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0);
    f->now += 100;
    number = asked(f, 0, 200);
    assert_int_equal(pipeline_acked(f->p, f->now, number, ACK_FAILED), 0);
    assert_int_equal(pipeline_checkpoint(f->p), 0);
    f->now = pipeline_deadline(f->p, f->now);
    number = asked(f, 0, 200);
    assert_int_equal(pipeline_acked(f->p, f->now, number, ACK_VOID), 0);
    assert_int_equal(pipeline_checkpoint(f->p), 0);
    f->now = pipeline_deadline(f->p, f->now);
    stores(f, 0, 200);
    assert_int_equal(pipeline_checkpoint(f->p), 200);
}

static void one_without_an_answer_is_told_again(void **state)
{
    struct fixture *f = *state;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0);
    f->now += 100;
    (void)asked(f, 0, 200);
    pipeline_ack_lost(f->p, f->now);
    assert_int_equal(pipeline_checkpoint(f->p), 0);
    f->now += 1000;
    assert_int_equal(next(f), ACTION_NONE);
    pipeline_ack_up(f->p, f->now);
    stores(f, 0, 200);
    assert_int_equal(pipeline_checkpoint(f->p), 200);
}

static void one_with_fewer_rows_than_named_is_stored(void **state)
{
    struct fixture *f = *state;
    struct slice seen = slice_of("30:30:");
    struct err err;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0);
    one_through(f, 21, 2, 300);
    f->now += 20;
    (void)asked(f, 1, 200);
    /* Its application has deleted the row meanwhile. */
    assert_int_equal(pipeline_acked_partly(f->p, f->now, f->action.ack.number, &seen, &err), 1);
    assert_int_equal(pipeline_checkpoint(f->p), 200);
}

/* What the last stream had told says nothing of this one's. */
static void a_new_stream_knows_of_none(void **state)
{
    struct fixture *f = *state;
    uint32_t number;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0);
    f->now += 100;
    number = asked(f, 0, 200);
    pipeline_stream_lost(f->p, f->now);
    resume_again(f);
    assert_int_equal(pipeline_acked(f->p, f->now, number, ACK_DONE), 0);
    assert_int_equal(pipeline_checkpoint(f->p), 0);
    one_through(f, 20, 1, 200); /* once more */
    f->now += 20;
    (void)asked(f, 1, 0);
}

/* Only a stream that works ends a series of tries. */
static void its_waits_begin_anew_once_a_position_was_stored(void **state)
{
    struct fixture *f = *state;

    resume(f);
    for (int i = 0; i < 40; i++) {
        int64_t lost_at = f->now;
        uint64_t end = 200 + (uint64_t)i;

        pipeline_stream_lost(f->p, f->now);
        resume_again(f);
        assert_in_range(f->now - lost_at, 100, 300);
        one_through(f, 20, 1, end);
        later_stores(f, 1, 0);
        f->now += 100;
        stores(f, 0, end);
    }
}

/* ---- the end ---- */

static void a_drain_waits_for_it(void **state)
{
    struct fixture *f = *state;

    resume(f);
    one_through(f, 20, 1, 200);
    pipeline_stop(f->p, f->now, f->now + 5000);
    stores(f, 1, 0);
    (void)asked(f, 0, 200); /* at once */
    assert_int_equal(next(f), ACTION_NONE);
    assert_int_equal(pipeline_deadline(f->p, f->now), f->now + 5000);
    (void)pipeline_acked(f->p, f->now, f->action.ack.number, ACK_FAILED);
    f->now = pipeline_deadline(f->p, f->now);
    stores(f, 0, 200);
    assert_int_equal(next(f), ACTION_EXIT);
}

static void a_drain_does_not_wait_for_an_idle_servers(void **state)
{
    struct fixture *f = *state;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0);
    f->now += 100;
    stores(f, 0, 200);
    pipeline_stream_idle(f->p, 300);
    pipeline_stop(f->p, f->now, f->now + 5000);
    assert_int_equal(next(f), ACTION_EXIT);
}

static void a_drain_without_a_connection_ends(void **state)
{
    struct fixture *f = *state;

    resume(f);
    one_through(f, 20, 1, 200);
    later_stores(f, 1, 0);
    pipeline_ack_lost(f->p, f->now);
    pipeline_stop(f->p, f->now, f->now + 5000);
    assert_int_equal(next(f), ACTION_EXIT);
}

static void a_drain_of_the_table_half_stores_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    begin_table(f);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    report(f, tag, DELIVERY_OK);
    pipeline_stop(f->p, f->now, f->now + 5000);
    assert_int_equal(table_row(f, 2, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 2, true);
    stores(f, 1, 0);
    assert_int_equal(next(f), ACTION_EXIT);
}

/* ---- what it never passes ---- */

static void a_halt_stores_nothing_behind_the_refused_event(void **state)
{
    struct fixture *f = *state;
    uint64_t refused;

    resume(f);
    one_through(f, 20, 1, 200);
    pipeline_stream_begin(f->p, 21);
    refused = streamed(f, 2);
    pipeline_stream_end(f->p, 300);
    one_through(f, 22, 3, 400);
    report(f, refused, DELIVERY_ROW);
    assert_int_equal(pipeline_stopping(f->p), STOP_HALT);
    pipeline_stream_idle(f->p, 500);
    stores(f, 2, 0);
    stores(f, 0, 200);
    assert_int_equal(next(f), ACTION_EXIT);
    assert_int_equal(pipeline_checkpoint(f->p), 200);
}

static void an_invalid_event_is_not_passed(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row r = row_of(2);
    struct err err;
    uint64_t tag;

    resume(f);
    one_through(f, 20, 1, 200);
    pipeline_stream_begin(f->p, 21);
    r.invalid = true;
    assert_int_equal(pipeline_stream_row(f->p, f->now, &r, &tag, &err), VERDICT_INVALID);
    assert_int_equal(pipeline_stopping(f->p), STOP_HALT);
    assert_int_equal(stream_row(f, 3, &tag), VERDICT_CUT);
    stores(f, 1, 0);
    stores(f, 0, 200);
    assert_int_equal(next(f), ACTION_EXIT);
}

static void an_invalid_row_of_the_table_leaves_no_position(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row r = row_of(2);
    struct err err;
    uint64_t tag;

    begin_table(f);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    report(f, tag, DELIVERY_OK);
    r.invalid = true;
    assert_int_equal(pipeline_row(f->p, f->now, &r, &tag, &err), VERDICT_INVALID);
    pipeline_read_end(f->p, f->now, 2, true);
    stores(f, 1, 0);
    assert_int_equal(next(f), ACTION_EXIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NAMED(it_goes_along_with_the_next_acknowledgement),
        NAMED(alone_it_goes_after_a_while),
        NAMED(that_of_an_idle_server_goes_seldom),
        NAMED(one_goes_at_a_time_unless_with_rows),
        NAMED(one_that_failed_is_told_again),
        NAMED(one_without_an_answer_is_told_again),
        NAMED(one_with_fewer_rows_than_named_is_stored),
        NAMED(a_new_stream_knows_of_none),
        NAMED(its_waits_begin_anew_once_a_position_was_stored),
        NAMED(a_drain_waits_for_it),
        NAMED(a_drain_does_not_wait_for_an_idle_servers),
        NAMED(a_drain_without_a_connection_ends),
        NAMED(a_drain_of_the_table_half_stores_nothing),
        NAMED(a_halt_stores_nothing_behind_the_refused_event),
        NAMED(an_invalid_event_is_not_passed),
        NAMED(an_invalid_row_of_the_table_leaves_no_position),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
