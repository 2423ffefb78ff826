/* A named slot's stream by hand, when something of it is missing, or may not go now: it begins
 * again from what is stored, and what is still held counts once more. */
#include "named_case.h"

/* Offered in the stream that begins again. */
static void passed(struct fixture *f, int64_t seq)
{
    uint64_t tag;

    assert_int_equal(stream_row(f, seq, &tag), VERDICT_SKIP);
}

/* ---- beginning again ---- */

static void it_begins_again_once_all_that_was_sent_has_reported(void **state)
{
    struct fixture *f = *state;
    uint64_t sent;
    uint64_t tag;

    resume(f);
    sent = streamed(f, 1);
    pipeline_put_failed(f->p, f->now, streamed(f, 2), DELIVERY_LOST);
    assert_false(flows(f));
    assert_int_equal(stream_row(f, 3, &tag), VERDICT_CUT);
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    assert_int_equal(stream(f), STREAM_OFF);
    f->now += 600000;
    assert_int_equal(next(f), ACTION_NONE); /* it could meet itself in the queue */
    report(f, sent, DELIVERY_OK);
    f->now += 20;
    (void)asked(f, 1, 0);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    assert_int_equal(next(f), ACTION_NONE);
}

static void it_waits_a_while_first(void **state)
{
    struct fixture *f = *state;

    resume(f);
    pipeline_put_failed(f->p, f->now, streamed(f, 1), DELIVERY_LOST); /* the sink's queue is full */
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    assert_int_equal(next(f), ACTION_NONE);
    assert_in_range(pipeline_deadline(f->p, f->now), f->now + 100, f->now + 300);
    resume_again(f);
    (void)streamed(f, 1);
}

static void what_is_held_counts_in_the_new_stream(void **state)
{
    struct fixture *f = *state;
    uint64_t first;
    uint64_t lost;

    resume(f);
    first = streamed(f, 1);
    pipeline_stream_end(f->p, 200);
    pipeline_stream_begin(f->p, 21);
    lost = streamed(f, 2);
    pipeline_stream_end(f->p, 300);
    pipeline_ack_lost(f->p, f->now); /* so that it stays */
    report(f, first, DELIVERY_OK);
    pipeline_put_failed(f->p, f->now, lost, DELIVERY_LOST);
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    resume_again(f);
    passed(f, 1);
    pipeline_stream_end(f->p, 200);
    pipeline_stream_begin(f->p, 21);
    lost = streamed(f, 2);
    pipeline_stream_end(f->p, 300);
    pipeline_stream_idle(f->p, 400);
    pipeline_ack_up(f->p, f->now);
    f->now += 20;
    (void)asked(f, 1, 0); /* nothing is done before it */
    assert_int_equal(pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE), 1);
    report(f, lost, DELIVERY_OK);
    later_stores(f, 1, 200);
    f->now += 100;
    stores(f, 0, 400);
}

static void what_is_being_acknowledged_counts_too(void **state)
{
    struct fixture *f = *state;
    uint32_t number;

    resume(f);
    report(f, streamed(f, 1), DELIVERY_OK);
    pipeline_stream_end(f->p, 200);
    f->now += 20;
    number = asked(f, 1, 0);
    pipeline_stream_lost(f->p, f->now);
    resume_again(f);
    passed(f, 1);
    pipeline_stream_end(f->p, 200);
    f->now += 100;
    assert_int_equal(next(f), ACTION_NONE);
    assert_int_equal(pipeline_acked(f->p, f->now, number, ACK_DONE), 1);
    assert_int_equal(pipeline_checkpoint(f->p), 0);
    stores(f, 0, 200);
}

/* It is acknowledged again, which a server that has crashed may have forgotten. */
static void what_is_certain_is_not_published_again(void **state)
{
    struct fixture *f = *state;

    resume(f);
    report(f, streamed(f, 1), DELIVERY_OK);
    pipeline_stream_lost(f->p, f->now);
    later_stores(f, 1, 0);
    resume_again(f);
    passed(f, 1);
    pipeline_stream_end(f->p, 200);
    later_stores(f, 1, 0);
    f->now += 100;
    stores(f, 0, 200);
}

static void a_row_that_is_done_while_its_page_is_read_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    begin_table(f);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, f->action.read.limit, true);
    report(f, tag, DELIVERY_OK);
    pipeline_source_lost(f->p, f->now);
    pipeline_source_up(f->p, f->now);
    f->now += 20;
    (void)asked(f, 1, 0);
    assert_int_equal(next(f), ACTION_READ); /* its row is there still */
    assert_int_equal(pipeline_acked(f->p, f->now, 1, ACK_DONE), 1);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_SKIP);
    pipeline_read_end(f->p, f->now, 1, true);
    f->now += 100;
    stores(f, 0, BEGINS);
}

/* ---- by whose fault ---- */

static void a_new_producer_is_fed_by_a_new_stream(void **state)
{
    struct fixture *f = *state;
    uint64_t lost;
    uint64_t tag;

    resume(f);
    lost = streamed(f, 1);
    (void)streamed(f, 2);
    pipeline_stream_end(f->p, 200);
    report(f, lost, DELIVERY_LOST);
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_REBUILD);
    f->now += 10000;
    assert_int_equal(next(f), ACTION_NONE);
    pipeline_sink_rebuilt(f->p, f->now, true);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, "20:20:", BEGINS, false);
    assert_int_equal(next(f), ACTION_STREAM_START);
    assert_int_equal(stream_row(f, 1, &tag), VERDICT_CUT);
    learn_topic(f, TOPIC);
    (void)streamed(f, 1);
    (void)streamed(f, 2);
}

/* Nobody came between: what was delivered may still be acknowledged. */
static void the_same_owner_keeps_what_was_delivered(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    resume(f);
    report(f, streamed(f, 1), DELIVERY_OK);
    (void)streamed(f, 2);
    pipeline_stream_end(f->p, 200);
    pipeline_disown(f->p, f->now);
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    f->now += 60000;
    assert_int_equal(next(f), ACTION_NONE);
    pipeline_own(f->p, f->now, true);
    f->now += 1;
    stores(f, 1, 0);
    assert_int_equal(next(f), ACTION_REBUILD);
    pipeline_sink_rebuilt(f->p, f->now, true);
    resume_again(f);
    passed(f, 1);
    assert_int_equal(stream_row(f, 2, &tag), VERDICT_CUT);
    learn_topic(f, TOPIC);
    (void)streamed(f, 2);
}

static void after_another_owner_all_comes_again(void **state)
{
    struct fixture *f = *state;
    struct pipeline_view view;
    uint64_t tag;

    resume(f);
    report(f, streamed(f, 1), DELIVERY_OK);
    pipeline_stream_end(f->p, 200);
    pipeline_disown(f->p, f->now);
    pipeline_own(f->p, f->now, false);
    pipeline_view(f->p, &view);
    assert_int_equal(view.inflight_events, 0);
    assert_int_equal(next(f), ACTION_REBUILD);
    pipeline_sink_rebuilt(f->p, f->now, true);
    assert_int_equal(next(f), ACTION_STREAM_DROP); /* that of before, whatever came since */
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, "20:20:", BEGINS, false);
    assert_int_equal(next(f), ACTION_STREAM_START);
    assert_int_equal(stream_row(f, 1, &tag), VERDICT_CUT);
    learn_topic(f, TOPIC);
    (void)streamed(f, 1);
    pipeline_stream_end(f->p, 200);
    f->now += 60000;
    assert_int_equal(next(f), ACTION_NONE);
}

/* TRUNCATE: what is in flight is no longer the table's, but the log's all the same. */
static void what_was_truncated_is_held_all_the_same(void **state)
{
    struct fixture *f = *state;
    uint64_t sent;
    uint32_t number;

    resume(f);
    report(f, streamed(f, 1), DELIVERY_OK);
    sent = streamed(f, 2);
    pipeline_stream_end(f->p, 200);
    f->now += 20;
    number = asked(f, 1, 0);
    pipeline_rows_gone(f->p, f->now);
    assert_true(flows(f));
    assert_int_equal(pipeline_acked(f->p, f->now, number, ACK_VOID), 0); /* of another epoch */
    report(f, sent, DELIVERY_OK);
    f->now = pipeline_deadline(f->p, f->now);
    stores(f, 2, 0);
    f->now += 100;
    stores(f, 0, 200);
}

static void nothing_begins_again_while_it_ends(void **state)
{
    struct fixture *f = *state;
    uint64_t lost;

    resume(f);
    lost = streamed(f, 1);
    pipeline_stream_end(f->p, 200);
    pipeline_stop(f->p, f->now, f->now + 5000);
    report(f, lost, DELIVERY_TOPIC);
    assert_int_equal(next(f), ACTION_EXIT);
    assert_int_equal(pipeline_checkpoint(f->p), 0);
}

/* ---- a topic that is away ---- */

static void a_topic_away_holds_up_all_behind_it(void **state)
{
    struct fixture *f = *state;
    uint64_t held;
    uint64_t tag;

    resume(f);
    (void)streamed(f, 1);
    assert_int_equal(other_row(f, 2, &tag), VERDICT_CUT);
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, OTHER_TOPIC, TOPIC_REFUSED);
    assert_int_equal(other_row(f, 2, &tag), VERDICT_CUT);
    assert_true(stalled(f));
    assert_false(flows(f));
    assert_int_equal(stream_row(f, 3, &tag), VERDICT_CUT); /* though its topic is there */
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_LOOKUP);
    assert_false(flows(f));
    pipeline_topic(f->p, f->now, OTHER_TOPIC, TOPIC_KNOWN);
    assert_int_equal(pipeline_topic_state(f->p, OTHER_TOPIC, &held), TOPIC_READY);
    assert_true(flows(f)); /* it is the same stream, that passed nothing over */
    assert_int_equal(other_row(f, 2, &tag), VERDICT_PUT);
    (void)streamed(f, 3);
}

/* A topic that goes while rows of it are in flight loses them. */
static void a_topic_that_goes_is_waited_for_by_the_next_stream(void **state)
{
    struct fixture *f = *state;
    uint64_t held;
    uint64_t first;
    uint64_t second;
    uint64_t tag;

    resume(f);
    first = streamed(f, 1);
    second = streamed(f, 2);
    pipeline_stream_end(f->p, 200);
    report(f, first, DELIVERY_TOPIC);
    report(f, second, DELIVERY_TOPIC);
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, "20:20:", BEGINS, false);
    assert_int_equal(next(f), ACTION_STREAM_START);
    assert_int_equal(stream_row(f, 1, &tag), VERDICT_CUT);
    assert_true(stalled(f));
    f->now += 60000;
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_KNOWN);
    assert_int_equal(pipeline_topic_state(f->p, TOPIC, &held), TOPIC_READY);
    (void)streamed(f, 1);
    (void)streamed(f, 2);
}

static void a_topic_that_is_back_between_two_streams_is_there_in_the_next(void **state)
{
    struct fixture *f = *state;
    uint64_t lost;
    uint64_t other;

    resume(f);
    lost = streamed(f, 1);
    other = streamed(f, 2);
    report(f, lost, DELIVERY_TOPIC);
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    report(f, other, DELIVERY_TOPIC);
    pipeline_kafka(f->p, f->now, true);
    f->now += 60000;
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_KNOWN); /* while there is no stream */
    resume_again(f);
    (void)streamed(f, 1);
}

static void only_a_topic_stalls_it(void **state)
{
    struct fixture *f = *state;
    uint64_t sent;
    uint64_t tag;

    resume(f);
    sent = streamed(f, 1);
    assert_int_equal(other_row(f, 2, &tag), VERDICT_CUT);
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, OTHER_TOPIC, TOPIC_REFUSED);
    assert_int_equal(other_row(f, 2, &tag), VERDICT_CUT);
    f->now = pipeline_deadline(f->p, f->now);
    learn_topic(f, OTHER_TOPIC);
    assert_int_equal(other_row(f, 2, &tag), VERDICT_PUT);
    pipeline_put_failed(f->p, f->now, tag, DELIVERY_LOST);
    assert_false(flows(f));
    assert_false(stalled(f)); /* it waits for the sink now */
    report(f, sent, DELIVERY_OK);
}

/* ---- a sequence that began again ---- */

/* Both come by the log, and each of them has to reach Kafka. */
static void another_event_of_the_same_seq_waits_for_the_first(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row second = row_of(1);
    struct err err;
    uint64_t tag;

    resume(f);
    tag = streamed(f, 1);
    pipeline_stream_end(f->p, 200);
    pipeline_stream_begin(f->p, 21);
    second.item.id[0] = 77;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipeline_stream_row(f->p, f->now, &second, &tag, &err), VERDICT_CUT);
        assert_true(flows(f));
        if (i == 0)
            report(f, tag, DELIVERY_OK);
    }
    assert_int_equal(stream(f), STREAM_ON);
    later_stores(f, 1, 0);
    assert_int_equal(pipeline_stream_row(f->p, f->now, &second, &tag, &err), VERDICT_PUT);
}

/* By seq alone the first one's acknowledgement would delete the second one's row. */
static void acknowledgements_name_the_event_too(void **state)
{
    struct fixture *f = *state;

    resume(f);
    report(f, streamed(f, 1), DELIVERY_OK);
    f->now += 20;
    (void)asked(f, 1, 0);
    assert_true(f->action.ack.strict);
    assert_int_equal(f->action.ack.ids[0][0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NAMED(it_begins_again_once_all_that_was_sent_has_reported),
        NAMED(it_waits_a_while_first),
        NAMED(what_is_held_counts_in_the_new_stream),
        NAMED(what_is_being_acknowledged_counts_too),
        NAMED(what_is_certain_is_not_published_again),
        NAMED(a_row_that_is_done_while_its_page_is_read_is_not_waited_for),
        NAMED(a_new_producer_is_fed_by_a_new_stream),
        NAMED(the_same_owner_keeps_what_was_delivered),
        NAMED(after_another_owner_all_comes_again),
        NAMED(what_was_truncated_is_held_all_the_same),
        NAMED(nothing_begins_again_while_it_ends),
        NAMED(a_topic_away_holds_up_all_behind_it),
        NAMED(a_topic_that_goes_is_waited_for_by_the_next_stream),
        NAMED(a_topic_that_is_back_between_two_streams_is_there_in_the_next),
        NAMED(only_a_topic_stalls_it),
        NAMED(another_event_of_the_same_seq_waits_for_the_first),
        NAMED(acknowledgements_name_the_event_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
