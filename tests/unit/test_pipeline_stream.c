/* The stream by hand: how it takes over from the table, gives way to it, and takes over again. The
 * simulation (tests/sim) covers the mixtures; here stands each rule by itself. */
#include "stream_case.h"

/* ---- the seam ---- */

static void the_table_is_read_while_the_slot_is_made(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    pipeline_set_streaming(f->p, f->now, true);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_READ);
    header(f, "12:12:", 1);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_false(flows(f));
    assert_int_equal(next(f), ACTION_NONE); /* one slot is enough */
}

static void the_seam_waits_for_what_the_slot_sees(void **state)
{
    struct fixture *f = *state;

    pipeline_set_streaming(f->p, f->now, true);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    made(f, "12:15:13"); /* 14 is in the log, and so are those below but 13 */
    empty_round(f, "12:15:13,14");
    assert_int_equal(stream(f), STREAM_SEAM);
    assert_false(flows(f));
    later_round(f, "12:14:13"); /* it has not begun, for all that readers know */
    assert_int_equal(stream(f), STREAM_SEAM);
    assert_int_equal(next(f), ACTION_NONE);
    later_round(f, "13:16:13"); /* 15 too is no longer the stream's */
    assert_int_equal(stream(f), STREAM_ON);
    assert_int_equal(next(f), ACTION_STREAM_START);
    assert_true(flows(f));
}

static void what_the_round_saw_is_passed_over(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    turn_on(f);
    pipeline_stream_begin(f->p, 14);
    assert_int_equal(stream_row(f, 1, &tag), VERDICT_SKIP);
    pipeline_stream_end(f->p, 100);
    assert_int_equal(pipeline_checkpoint(f->p), 100);
    pipeline_stream_begin(f->p, 13);
    (void)streamed(f, 2);
    pipeline_stream_end(f->p, 200);
    pipeline_stream_begin(f->p, 15);
    (void)streamed(f, 3);
    pipeline_stream_end(f->p, 300);
    assert_int_equal(pipeline_checkpoint(f->p), 100);
    assert_int_equal(stream_row(f, 3, &tag), VERDICT_SKIP); /* it is in flight */
}

static void a_row_without_room_is_offered_again(void **state)
{
    struct fixture *f = *state;
    uint64_t tags[16];
    uint64_t tag;

    turn_on(f);
    pipeline_stream_begin(f->p, 15);
    for (int i = 0; i < 16; i++)
        tags[i] = stream_row(f, 1 + i, &tag) == VERDICT_PUT ? tag : 0;
    assert_false(flows(f)); /* an eighth has to be free */
    assert_true(tags[14] != 0);
    assert_int_equal(tags[15], 0);
    assert_int_equal(next(f), ACTION_NONE);
    for (int i = 0; i < 8; i++)
        report(f, tags[i], DELIVERY_OK);
    assert_int_equal(next(f), ACTION_ACK);
    assert_true(f->action.ack.streamed);
    assert_int_equal(pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE), 8);
    assert_true(flows(f));
    (void)streamed(f, 16);
}

/* ---- back to the table and to the stream again ---- */

static void a_start_over_pauses_it(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    turn_on(f);
    pipeline_stream_begin(f->p, 16);
    (void)streamed(f, 1);
    pipeline_source_lost(f->p, f->now);
    assert_false(flows(f));
    assert_int_equal(stream_row(f, 2, &tag), VERDICT_CUT);
    assert_int_equal(next(f), ACTION_NONE);
    pipeline_source_up(f->p, f->now);
    assert_false(flows(f));
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(f->action.read.kind, READ_START);
    header(f, "18:18:", 2);
    assert_int_equal(stream_row(f, 2, &tag), VERDICT_CUT);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_SKIP);
    assert_int_equal(table_row(f, 2, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(next(f), ACTION_NONE); /* it is the same stream: started once */
    assert_true(flows(f));
    assert_int_equal(stream_row(f, 2, &tag), VERDICT_SKIP);
    pipeline_stream_end(f->p, 100);
    pipeline_stream_begin(f->p, 17);
    assert_int_equal(stream_row(f, 3, &tag), VERDICT_SKIP);
    pipeline_stream_begin(f->p, 18);
    (void)streamed(f, 4);
}

/* A streamed row that has to be read again, while its commit waits for a standby: no round finds
 * it, and if the stream went on what is newer would overtake it. */
static void it_waits_for_a_streamed_row_that_cannot_be_read_yet(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    turn_on(f);
    pipeline_stream_begin(f->p, 16);
    tag = streamed(f, 1);
    pipeline_stream_end(f->p, 100);
    pipeline_put_failed(f->p, f->now, tag, DELIVERY_LOST);
    empty_round(f, "16:18:16");
    assert_false(flows(f));
    assert_int_equal(stream(f), STREAM_SEAM);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_READ);
    header(f, "18:18:", 1);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_int_equal(stream(f), STREAM_ON);
    report(f, tag, DELIVERY_OK); /* what was refused waits for one */
    assert_int_equal(next(f), ACTION_NONE);
    assert_true(flows(f));
    pipeline_stream_begin(f->p, 17);
    assert_int_equal(stream_row(f, 2, &tag), VERDICT_SKIP);
}

static void a_new_producer_is_fed_from_the_table(void **state)
{
    struct fixture *f = *state;
    uint64_t lost;
    uint64_t tag;

    turn_on(f);
    pipeline_stream_begin(f->p, 15);
    lost = streamed(f, 1);
    (void)streamed(f, 2);
    report(f, lost, DELIVERY_LOST);
    assert_false(flows(f));
    assert_int_equal(stream_row(f, 3, &tag), VERDICT_CUT);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_REBUILD);
    pipeline_sink_rebuilt(f->p, f->now, true);
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(f->action.read.kind, READ_START);
    header(f, "16:16:", 3);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 3, true);
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_KNOWN);
    assert_int_equal(next(f), ACTION_READ);
    for (int64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(table_row(f, seq, &tag), VERDICT_PUT);
    assert_false(flows(f));
    pipeline_read_end(f->p, f->now, 3, true);
    assert_true(flows(f));
    assert_int_equal(stream_row(f, 3, &tag), VERDICT_SKIP);
    pipeline_stream_end(f->p, 100);
    assert_int_equal(pipeline_checkpoint(f->p), 100); /* the table holds them, not the log */
}

static void a_topic_away_holds_and_is_read_from_the_table(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;
    uint64_t held;

    turn_on(f);
    pipeline_stream_begin(f->p, 15);
    report(f, streamed(f, 1), DELIVERY_TOPIC);
    assert_true(flows(f)); /* other topics go on */
    assert_int_equal(stream_row(f, 2, &tag), VERDICT_HOLD);
    pipeline_stream_end(f->p, 100);
    assert_int_equal(pipeline_checkpoint(f->p), 100);
    assert_int_equal(pipeline_topic_state(f->p, TOPIC, &held), TOPIC_AWAY);
    assert_int_equal(held, 2);
    f->now += 40000;
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_KNOWN);
    assert_false(flows(f));
    assert_int_equal(next(f), ACTION_READ);
    header(f, "16:16:", 2);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    assert_int_equal(table_row(f, 2, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_true(flows(f));
    pipeline_stream_begin(f->p, 16);
    (void)streamed(f, 3);
}

static void a_sweep_stops_it_for_its_own_round_only(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row fresh = row_of(3);
    struct err err;
    uint64_t tag;

    turn_on(f);
    pipeline_stream_begin(f->p, 15);
    (void)streamed(f, 1);
    pipeline_stream_end(f->p, 100);
    assert_int_equal(pipeline_deadline(f->p, f->now),
                     f->read_over_at + options.stream_sweep_interval_ms);
    f->now = f->read_over_at + options.stream_sweep_interval_ms;
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(f->action.read.kind, READ_START);
    assert_false(flows(f));
    header(f, "15:17:15", 2);                             /* 15 is in flight, visible or not */
    assert_int_equal(table_row(f, 2, &tag), VERDICT_PUT); /* an old xid: a stray */
    fresh.xid = 16;
    assert_int_equal(pipeline_row(f->p, f->now, &fresh, &tag, &err), VERDICT_SKIP);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(stream(f), STREAM_ON);
    assert_true(flows(f));
    pipeline_stream_begin(f->p, 16);
    (void)streamed(f, 3); /* it keeps its place among what commits */
    assert_int_equal(next(f), ACTION_NONE);
    /* What the last one saw should have been streamed by now. */
    f->now = f->read_over_at + options.stream_sweep_interval_ms;
    assert_int_equal(next(f), ACTION_READ);
    header(f, "18:18:", 4);
    fresh = row_of(4);
    fresh.xid = 16;
    assert_int_equal(pipeline_row(f->p, f->now, &fresh, &tag, &err), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_int_equal(stream_row(f, 5, &tag), VERDICT_SKIP);
    pipeline_stream_begin(f->p, 17);
    (void)streamed(f, 6);
}

/* One may take longer than the time between two. */
static void between_two_sweeps_it_has_its_turn(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    turn_on(f);
    f->now = f->read_over_at + options.stream_sweep_interval_ms;
    assert_int_equal(next(f), ACTION_READ);
    header(f, "17:17:", 0);
    f->now += 2 * options.stream_sweep_interval_ms;
    pipeline_read_end(f->p, f->now, 0, true);
    assert_int_equal(next(f), ACTION_NONE);
    assert_true(flows(f));
    assert_int_equal(pipeline_deadline(f->p, f->now), f->now + options.stream_sweep_interval_ms);
    pipeline_stream_begin(f->p, 15);
    assert_int_equal(stream_row(f, 1, &tag), VERDICT_PUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_table_is_read_while_the_slot_is_made),
        CASE(the_seam_waits_for_what_the_slot_sees),
        CASE(what_the_round_saw_is_passed_over),
        CASE(a_row_without_room_is_offered_again),
        CASE(a_start_over_pauses_it),
        CASE(it_waits_for_a_streamed_row_that_cannot_be_read_yet),
        CASE(a_new_producer_is_fed_from_the_table),
        CASE(a_topic_away_holds_and_is_read_from_the_table),
        CASE(a_sweep_stops_it_for_its_own_round_only),
        CASE(between_two_sweeps_it_has_its_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
