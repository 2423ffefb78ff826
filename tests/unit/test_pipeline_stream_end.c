/* The stream by hand: how it ends, and what waking and acknowledging have to do with it. */
#include "stream_case.h"

/* ---- its end ---- */

static void a_lost_one_is_made_again_behind_the_backoff(void **state)
{
    struct fixture *f = *state;
    int64_t lost_at;

    turn_on(f);
    pipeline_stream_begin(f->p, 15);
    (void)streamed(f, 1);
    pipeline_stream_lost(f->p, f->now);
    assert_int_equal(stream(f), STREAM_OFF);
    assert_false(flows(f));
    assert_int_equal(pipeline_checkpoint(f->p), 0);
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(f->action.read.kind, READ_START);
    f->now += 5000; /* not before the table is read to its end, however long that takes */
    assert_int_equal(next(f), ACTION_NONE);
    header(f, "16:16:", 0);
    pipeline_read_end(f->p, f->now, 0, true);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    pipeline_stream_lost(f->p, f->now); /* it could not be made */
    lost_at = f->now;
    empty_round(f, "16:16:");
    while (next(f) != ACTION_STREAM_MAKE) {
        if (f->action.kind == ACTION_READ) {
            if (f->action.read.opens)
                header(f, "16:16:", 0);
            pipeline_read_end(f->p, f->now, 0, true);
        }
        f->now++;
        assert_true(f->now < lost_at + 5000);
    }
    assert_true(f->now >= lost_at + 1000);
}

static void it_goes_with_the_ownership(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    turn_on(f);
    pipeline_stream_begin(f->p, 15);
    (void)streamed(f, 1);
    pipeline_disown(f->p, f->now);
    assert_false(flows(f));
    assert_int_equal(stream_row(f, 2, &tag), VERDICT_CUT);
    pipeline_set_streaming(f->p, f->now, false);
    pipeline_set_streaming(f->p, f->now, true); /* does not save it */
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    assert_int_equal(stream(f), STREAM_OFF);
    assert_int_equal(next(f), ACTION_NONE); /* and a standby makes none */
    f->now += 100000;
    assert_int_equal(next(f), ACTION_NONE);
}

static void it_goes_when_it_is_not_wanted(void **state)
{
    struct fixture *f = *state;

    pipeline_set_streaming(f->p, f->now, true);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    pipeline_set_streaming(f->p, f->now, false);
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    made(f, "12:12:"); /* too late */
    assert_int_equal(stream(f), STREAM_OFF);
    empty_round(f, "12:12:");
    turn_on(f);
    pipeline_set_streaming(f->p, f->now, false);
    assert_false(flows(f));
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    empty_round(f, "20:20:");
    assert_int_equal(stream(f), STREAM_OFF);
}

static void a_snapshot_that_does_not_parse_makes_no_stream(void **state)
{
    struct fixture *f = *state;
    struct slice s = slice_of("12:x:");
    struct err err;

    pipeline_set_streaming(f->p, f->now, true);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    assert_int_equal(pipeline_stream_made(f->p, f->now, &s, 0, true, &err), -ERR_PROTOCOL);
    pipeline_stream_lost(f->p, f->now);
    assert_int_equal(stream(f), STREAM_OFF);
}

static void an_invalid_row_halts(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row r = row_of(1);
    uint64_t tag;
    struct err err;

    turn_on(f);
    r.invalid = true;
    pipeline_stream_begin(f->p, 15);
    assert_int_equal(pipeline_stream_row(f->p, f->now, &r, &tag, &err), VERDICT_INVALID);
    assert_int_equal(pipeline_stopping(f->p), STOP_HALT);
    assert_int_equal(stream_row(f, 2, &tag), VERDICT_CUT);
}

/* ---- waking and acknowledging ---- */

static void writers_need_not_notify_while_it_is_on(void **state)
{
    struct fixture *f = *state;

    pipeline_set_notify(f->p, f->now, true);
    for (int i = 0; i < 100 && !pipeline_wants_lock(f->p); i++)
        later_round(f, "10:10:");
    assert_true(pipeline_wants_lock(f->p));
    turn_on(f);
    assert_false(pipeline_wants_lock(f->p));
    assert_false(pipeline_asleep(f->p));
    pipeline_stream_lost(f->p, f->now);
    empty_round(f, "20:20:");
    for (int i = 0; i < 100 && !pipeline_wants_lock(f->p); i++) {
        f->now = pipeline_deadline(f->p, f->now);
        if (next(f) == ACTION_READ) {
            header(f, "20:20:", 0);
            pipeline_read_end(f->p, f->now, 0, true);
        }
    }
    assert_true(pipeline_wants_lock(f->p));
}

/* The statement deletes what its snapshot sees. */
static void a_row_that_is_not_visible_yet_is_acknowledged_again(void **state)
{
    struct fixture *f = *state;
    struct slice seen = slice_of("15:18:15");
    struct err err;

    turn_on(f);
    pipeline_stream_begin(f->p, 15);
    report(f, streamed(f, 1), DELIVERY_OK);
    pipeline_stream_end(f->p, 100);
    pipeline_stream_begin(f->p, 16);
    report(f, streamed(f, 2), DELIVERY_OK);
    pipeline_stream_end(f->p, 200);
    f->now += 20;
    assert_int_equal(next(f), ACTION_ACK);
    assert_int_equal(f->action.ack.n, 2);
    assert_true(f->action.ack.streamed);
    assert_int_equal(pipeline_acked_partly(f->p, f->now, f->action.ack.number, &seen, &err), 1);
    assert_int_equal(pipeline_checkpoint(f->p), 0);
    assert_int_equal(next(f), ACTION_NONE); /* after a while */
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_ACK);
    assert_int_equal(f->action.ack.n, 1);
    assert_int_equal(f->action.ack.seqs[0], 1);
    assert_int_equal(pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE), 1);
    assert_int_equal(pipeline_checkpoint(f->p), 200);
    pipeline_stream_idle(f->p, 300);
    assert_int_equal(pipeline_checkpoint(f->p), 300);
    pipeline_stream_begin(f->p, 17);
    (void)streamed(f, 3);
    pipeline_stream_idle(f->p, 400); /* not within a transaction */
    assert_int_equal(pipeline_checkpoint(f->p), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_lost_one_is_made_again_behind_the_backoff),
        CASE(it_goes_with_the_ownership),
        CASE(it_goes_when_it_is_not_wanted),
        CASE(a_snapshot_that_does_not_parse_makes_no_stream),
        CASE(an_invalid_row_halts),
        CASE(writers_need_not_notify_while_it_is_on),
        CASE(a_row_that_is_not_visible_yet_is_acknowledged_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
