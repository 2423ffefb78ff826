/* A named slot's events that cannot be published: whole in a queue of their key, and out of it. */
#include "named_case.h"

#define KEY 77

static struct pipeline_row keyed(int64_t seq, uint64_t key, bool invalid)
{
    struct pipeline_row row = row_of(seq);

    row.item.key = key;
    row.item.failure = FAILURE_PARK;
    row.invalid = invalid;
    return row;
}

static enum verdict give(struct fixture *f, int64_t seq, uint64_t key, bool invalid, uint64_t *tag)
{
    struct pipeline_row row = keyed(seq, key, invalid);
    struct err err;

    return pipeline_stream_row(f->p, f->now, &row, tag, &err);
}

/* A row of the page of the queues that is being read. */
static enum verdict queued(struct fixture *f, int64_t seq, uint64_t key, bool invalid,
                           uint64_t *tag)
{
    struct pipeline_row row = keyed(seq, key, invalid);
    struct err err;

    return pipeline_row(f->p, f->now, &row, tag, &err);
}

static void recorded(struct fixture *f, uint64_t tag)
{
    pipeline_recorded(f->p, f->now, tag, RECORD_DONE);
}

/* What the database says is parked: this key, if any. */
static uint32_t list(struct fixture *f, uint64_t key, bool goes)
{
    struct err err;

    pipeline_parked_begin(f->p);
    if (key != 0)
        assert_int_equal(pipeline_parked_key(f->p, key, goes, &err), 0);
    return pipeline_parked_end(f->p, f->now);
}

static uint32_t parked(const struct fixture *f)
{
    struct pipeline_view view;

    pipeline_view(f->p, &view);
    return view.parked;
}

static void reads_queue(struct fixture *f)
{
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(f->action.read.kind, READ_QUEUE);
}

/* The first of the key is on record, and may go on; its page is being read. */
static void drains(struct fixture *f)
{
    uint64_t tag;

    resume(f);
    assert_int_equal(give(f, 1, KEY, true, &tag), VERDICT_FAILED);
    recorded(f, tag);
    later_stores(f, 1, 0);
    assert_int_equal(list(f, KEY, true), 0);
    reads_queue(f);
}

/* All of the batch that is due is certain. */
static void deleted(struct fixture *f, uint32_t rows)
{
    f->now += 20;
    assert_int_equal(next(f), ACTION_ACK);
    assert_true(f->action.ack.queued);
    assert_true(f->action.ack.strict);
    assert_int_equal(f->action.ack.n, rows);
    assert_int_equal(pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE), rows);
}

static void it_is_acknowledged_once_it_is_on_record(void **state)
{
    struct fixture *f = *state;
    enum recording how;
    uint64_t bad;
    uint64_t behind;
    uint64_t other;

    resume(f);
    assert_int_equal(give(f, 1, KEY, true, &bad), VERDICT_FAILED);
    assert_true(pipeline_recording(f->p, bad, &how));
    assert_int_equal(how, RECORDING_WHOLE);
    assert_int_equal(give(f, 2, KEY, false, &behind), VERDICT_BEHIND);
    assert_true(pipeline_recording(f->p, behind, &how));
    assert_int_equal(how, RECORDING_WHOLE);
    assert_int_equal(give(f, 3, KEY + 1, false, &other), VERDICT_PUT);
    pipeline_stream_end(f->p, 200);
    report(f, other, DELIVERY_OK);
    later_stores(f, 1, 0);
    recorded(f, bad);
    later_stores(f, 1, 0); /* the other one is not on record yet */
    recorded(f, behind);
    later_stores(f, 1, 0);
    f->now += 100;
    stores(f, 0, 200);
    assert_int_equal(parked(f), 1);
}

static void the_dead_let_their_key_go_on(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row row = keyed(1, KEY, true);
    struct err err;
    uint64_t bad;
    uint64_t tag;

    row.item.failure = FAILURE_DEAD;
    resume(f);
    assert_int_equal(pipeline_stream_row(f->p, f->now, &row, &bad, &err), VERDICT_FAILED);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_PUT);
    pipeline_stream_end(f->p, 200);
    report(f, tag, DELIVERY_OK);
    later_stores(f, 1, 0);
    recorded(f, bad);
    later_stores(f, 1, 0);
    f->now += 100;
    stores(f, 0, 200);
    assert_int_equal(parked(f), 0);
}

/* If it were lost, it would come again, and then behind the one that is newer. */
static void nothing_is_parked_while_an_older_one_is_in_flight(void **state)
{
    struct fixture *f = *state;
    uint64_t older;
    uint64_t tag;

    resume(f);
    assert_int_equal(give(f, 1, KEY, false, &older), VERDICT_PUT);
    assert_int_equal(give(f, 2, KEY, true, &tag), VERDICT_CUT);
    assert_false(flows(f)); /* until a report */
    report(f, older, DELIVERY_OK);
    assert_true(flows(f));
    assert_int_equal(give(f, 2, KEY, true, &tag), VERDICT_FAILED);
}

static void nor_what_the_sink_refuses_at_once(void **state)
{
    struct fixture *f = *state;
    uint64_t older;
    uint64_t tag;

    resume(f);
    assert_int_equal(give(f, 1, KEY, false, &older), VERDICT_PUT);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_PUT);
    assert_false(pipeline_put_failed(f->p, f->now, tag, DELIVERY_ROW));
    assert_false(flows(f));
    report(f, older, DELIVERY_OK);
    assert_true(flows(f)); /* the stream has not begun again */
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_PUT);
    assert_true(pipeline_put_failed(f->p, f->now, tag, DELIVERY_ROW));
    assert_true(pipeline_is_failed(f->p, tag));
    assert_true(flows(f));
}

/* Its content is gone by then: all behind the stored position comes again. */
static void what_the_broker_refuses_is_recorded_when_it_comes_again(void **state)
{
    struct fixture *f = *state;
    enum recording how;
    uint64_t bad;
    uint64_t tag;

    resume(f);
    report(f, streamed(f, 1), DELIVERY_OK);
    assert_int_equal(give(f, 2, KEY, false, &bad), VERDICT_PUT);
    pipeline_stream_end(f->p, 200);
    report(f, bad, DELIVERY_ROW);
    assert_true(pipeline_recording(f->p, bad, &how));
    assert_int_equal(how, RECORDING_LATER);
    assert_false(flows(f));
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    later_stores(f, 1, 0);
    resume_again(f);
    assert_int_equal(give(f, 1, KEY, false, &tag), VERDICT_SKIP); /* it is done */
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_FAILED);
    assert_int_equal(tag, bad);
    assert_true(pipeline_recording(f->p, bad, &how));
    assert_int_equal(how, RECORDING_WHOLE);
    assert_int_equal(give(f, 3, KEY, false, &tag), VERDICT_BEHIND);
    assert_int_equal(give(f, 2, KEY, false, &bad), VERDICT_SKIP);
}

static void a_stop_does_not_wait_for_what_would_come_again(void **state)
{
    struct fixture *f = *state;
    uint64_t bad;

    resume(f);
    assert_int_equal(give(f, 1, KEY, false, &bad), VERDICT_PUT);
    report(f, bad, DELIVERY_ROW);
    pipeline_stop(f->p, f->now, f->now + 10000);
    assert_int_equal(next(f), ACTION_EXIT);
}

static void a_queue_goes_on_in_its_order(void **state)
{
    struct fixture *f = *state;
    uint64_t first;
    uint64_t second;
    uint64_t tag;

    drains(f);
    assert_int_equal(queued(f, 1, KEY, false, &first), VERDICT_PUT);
    assert_int_equal(queued(f, 2, KEY, false, &second), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 2, true);
    report(f, first, DELIVERY_OK);
    report(f, second, DELIVERY_OK);
    deleted(f, 2);
    reads_queue(f);
    pipeline_read_end(f->p, f->now, 0, true);
    assert_int_equal(next(f), ACTION_LIST);
    assert_int_equal(list(f, 0, false), 1);
    assert_int_equal(give(f, 3, KEY, false, &tag), VERDICT_PUT);
}

/* Otherwise a writer that is quick enough would be in the queue for ever. */
static void the_stream_waits_for_the_end_of_a_queue(void **state)
{
    struct fixture *f = *state;
    uint64_t behind;
    uint64_t tag;

    drains(f);
    assert_int_equal(queued(f, 1, KEY, false, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_int_equal(give(f, 2, KEY, false, &behind), VERDICT_CUT);
    assert_int_equal(give(f, 3, KEY + 1, false, &behind), VERDICT_PUT);
    report(f, tag, DELIVERY_OK);
    deleted(f, 1);
    reads_queue(f);
    pipeline_read_end(f->p, f->now, 0, true);
    assert_int_equal(give(f, 2, KEY, false, &behind), VERDICT_CUT);
    assert_int_equal(next(f), ACTION_LIST);
    assert_int_equal(list(f, 0, false), 1);
    assert_int_equal(give(f, 2, KEY, false, &behind), VERDICT_PUT);
}

/* A list that was asked for before it was sent does not have it. */
static void a_key_is_not_released_with_a_record_on_its_way(void **state)
{
    struct fixture *f = *state;
    uint64_t behind;
    uint64_t tag;

    drains(f);
    assert_int_equal(queued(f, 1, KEY, false, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, f->action.read.limit, true); /* there may be more */
    assert_int_equal(give(f, 2, KEY, false, &behind), VERDICT_BEHIND);
    report(f, tag, DELIVERY_OK);
    deleted(f, 1);
    assert_int_equal(list(f, 0, false), 0);
    assert_int_equal(give(f, 3, KEY, false, &tag), VERDICT_BEHIND);
    recorded(f, behind);
    recorded(f, tag);
    assert_int_equal(list(f, 0, false), 1);
}

static void one_that_is_refused_again_holds_up_the_rest(void **state)
{
    struct fixture *f = *state;
    enum recording how;
    uint64_t bad;
    uint64_t tag;

    drains(f);
    assert_int_equal(queued(f, 1, KEY, false, &bad), VERDICT_PUT);
    assert_true(pipeline_put_failed(f->p, f->now, bad, DELIVERY_ROW));
    assert_true(pipeline_recording(f->p, bad, &how));
    assert_int_equal(how, RECORDING_AGAIN);
    assert_int_equal(queued(f, 2, KEY, false, &tag), VERDICT_SKIP);
    assert_int_equal(queued(f, 3, KEY + 1, true, &tag), VERDICT_FAILED);
    assert_int_equal(queued(f, 4, KEY + 1, false, &tag), VERDICT_SKIP);
    pipeline_read_end(f->p, f->now, 4, true);
    assert_int_equal(next(f), ACTION_NONE); /* not before they are on record */
    recorded(f, bad);
    assert_int_equal(give(f, 5, KEY, false, &tag), VERDICT_BEHIND);
    assert_int_equal(parked(f), 2);
}

static void its_topic_is_away(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    drains(f);
    assert_int_equal(queued(f, 1, KEY, false, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 1, true);
    report(f, tag, DELIVERY_TOPIC);
    while (next(f) != ACTION_READ) {
        assert_int_not_equal(f->action.kind, ACTION_STREAM_DROP);
        if (f->action.kind == ACTION_LOOKUP)
            pipeline_topic(f->p, f->now, TOPIC, TOPIC_REFUSED);
        f->now = pipeline_deadline(f->p, f->now);
    }
    assert_int_equal(queued(f, 1, KEY, false, &tag), VERDICT_SKIP);
    assert_int_equal(queued(f, 2, KEY, false, &tag), VERDICT_SKIP);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_false(stalled(f)); /* the stream need not wait for it */
    assert_true(pipeline_deadline(f->p, f->now) > f->now);
}

static void a_lost_producer_begins_the_queue_again(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    drains(f);
    assert_int_equal(queued(f, 1, KEY, false, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 1, true);
    pipeline_sink_fatal(f->p, f->now);
    f->now += 60000;
    while (next(f) != ACTION_REBUILD)
        assert_int_not_equal(f->action.kind, ACTION_NONE);
    pipeline_sink_rebuilt(f->p, f->now, true);
    while (next(f) != ACTION_READ)
        f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(f->action.read.kind, READ_QUEUE);
}

/* A page that was asked for before may still bring it; the next one may not. */
static void what_was_deleted_meanwhile_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    uint32_t number;
    uint64_t bad;
    uint64_t tag;

    resume(f);
    assert_int_equal(give(f, 1, KEY, true, &bad), VERDICT_FAILED);
    recorded(f, bad);
    f->now += 20;
    number = asked(f, 1, 0);
    assert_int_equal(list(f, KEY, true), 0);
    reads_queue(f);
    assert_int_equal(queued(f, 1, KEY, false, &tag),
                     VERDICT_SKIP); /* its row is acknowledged first */
    assert_int_equal(queued(f, 2, KEY, false, &tag), VERDICT_SKIP);
    assert_int_equal(pipeline_acked(f->p, f->now, number, ACK_DONE), 1);
    pipeline_read_end(f->p, f->now, 2, true);
    f->now = pipeline_deadline(f->p, f->now);
    reads_queue(f);
    assert_int_equal(queued(f, 1, KEY, false, &tag), VERDICT_PUT);
    assert_int_equal(queued(f, 2, KEY, false, &tag), VERDICT_PUT);
}

/* After a crash, say, the slot brings what waits in the queue. */
static void what_comes_again_waits_again(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    drains(f);
    assert_int_equal(queued(f, 1, KEY, false, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, f->action.read.limit, true);
    assert_int_equal(give(f, 1, KEY, false, &tag), VERDICT_SKIP); /* it is in flight */
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_BEHIND);
    assert_int_equal(give(f, 3, KEY + 1, false, &tag), VERDICT_PUT);
}

static void no_more_wait_for_their_record_than_fit(void **state)
{
    struct fixture *f = *state;
    uint64_t first;
    uint64_t tag;
    int64_t seq = 2;

    resume(f);
    assert_int_equal(give(f, 1, KEY, true, &first), VERDICT_FAILED);
    while (give(f, seq, KEY, false, &tag) == VERDICT_BEHIND)
        seq++;
    assert_int_equal(seq, 16); /* the window */
    recorded(f, first);
    later_stores(f, 1, 0);
    assert_int_equal(give(f, seq, KEY, false, &tag), VERDICT_BEHIND);
}

static void nor_more_bytes(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row row = keyed(1, KEY, true);
    struct err err;
    uint64_t tag;

    row.item.bytes = 10000; /* as many as the window takes */
    resume(f);
    assert_int_equal(pipeline_stream_row(f->p, f->now, &row, &tag, &err), VERDICT_FAILED);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_CUT);
    assert_false(flows(f));
}

static void a_truncate_leaves_what_is_recorded(void **state)
{
    struct fixture *f = *state;
    uint64_t bad;
    uint64_t tag;

    resume(f);
    assert_int_equal(give(f, 1, KEY, true, &bad), VERDICT_FAILED);
    pipeline_rows_gone(f->p, f->now);
    assert_true(pipeline_is_failed(f->p, bad));
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_BEHIND);
}

/* Read once, it has to be kept whole as well; its content is where it was read. */
static void rows_from_before_the_slot(void **state)
{
    struct fixture *f = *state;
    enum recording how;
    uint64_t bad;
    uint64_t tag;

    begin_table(f);
    assert_int_equal(queued(f, 1, KEY, false, &bad), VERDICT_PUT);
    report(f, bad, DELIVERY_ROW);
    assert_true(pipeline_recording(f->p, bad, &how));
    assert_int_equal(how, RECORDING_WHOLE);
    pipeline_read_end(f->p, f->now, f->action.read.limit, true);
    assert_int_equal(next(f), ACTION_READ);
    assert_false(f->action.read.parked); /* none is left out */
    assert_int_equal(queued(f, 2, KEY, false, &tag), VERDICT_BEHIND);
    assert_true(pipeline_is_failed(f->p, tag));
    pipeline_read_end(f->p, f->now, 1, true);
    assert_int_equal(next(f), ACTION_STREAM_START);
    recorded(f, bad);
    recorded(f, tag);
    later_stores(f, 2, 0);
    f->now += 100;
    stores(f, 0, BEGINS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NAMED(it_is_acknowledged_once_it_is_on_record),
        NAMED(the_dead_let_their_key_go_on),
        NAMED(nothing_is_parked_while_an_older_one_is_in_flight),
        NAMED(nor_what_the_sink_refuses_at_once),
        NAMED(what_the_broker_refuses_is_recorded_when_it_comes_again),
        NAMED(a_stop_does_not_wait_for_what_would_come_again),
        NAMED(a_queue_goes_on_in_its_order),
        NAMED(the_stream_waits_for_the_end_of_a_queue),
        NAMED(a_key_is_not_released_with_a_record_on_its_way),
        NAMED(one_that_is_refused_again_holds_up_the_rest),
        NAMED(its_topic_is_away),
        NAMED(a_lost_producer_begins_the_queue_again),
        NAMED(what_comes_again_waits_again),
        NAMED(no_more_wait_for_their_record_than_fit),
        NAMED(nor_more_bytes),
        NAMED(what_was_deleted_meanwhile_is_not_waited_for),
        NAMED(a_truncate_leaves_what_is_recorded),
        NAMED(rows_from_before_the_slot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
