/* A named slot's stream by hand: what it may not lose, and when it need not begin again. */
#include "stream_case.h"

static int set_up_named(void **state)
{
    static struct fixture f;
    struct pipeline_options named = options;
    struct err err;

    named.named = true;
    f = (struct fixture){.now = 1000};
    assert_int_equal(pipeline_new(&f.p, &named, &err), 0);
    pipeline_set_streaming(f.p, f.now, true);
    pipeline_source_up(f.p, f.now);
    pipeline_ack_up(f.p, f.now);
    pipeline_kafka(f.p, f.now, true);
    pipeline_own(f.p, f.now, false);
    assert_int_equal(next(&f), ACTION_STREAM_MAKE);
    *state = &f;
    return 0;
}

static void make_at(struct fixture *f, bool table)
{
    struct slice snapshot = slice_of("10:10:");
    struct err err;

    assert_int_equal(pipeline_stream_made(f->p, f->now, &snapshot, 100, table, &err), 0);
}

/* Its table's half read, the topic known. */
static void turn_on_named(struct fixture *f)
{
    uint64_t tag;

    make_at(f, false);
    assert_int_equal(next(f), ACTION_STREAM_START);
    pipeline_stream_begin(f->p, 20);
    assert_int_equal(stream_row(f, 1, &tag), VERDICT_CUT); /* its topic is asked for */
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_KNOWN);
    assert_int_equal(next(f), ACTION_NONE);
    assert_true(flows(f));
}

static void acknowledged(struct fixture *f)
{
    f->now += 20;
    assert_int_equal(next(f), ACTION_ACK);
    (void)pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE);
}

/* A position is stored with the acknowledgement behind the one that made it certain. */
static void stored(struct fixture *f, uint64_t lsn)
{
    f->now += 100;
    assert_int_equal(next(f), ACTION_ACK);
    assert_int_equal(f->action.ack.n, 0);
    (void)pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE);
    assert_int_equal(pipeline_checkpoint(f->p), lsn);
}

static void a_row_that_was_not_even_sent_is_just_read_again(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    make_at(f, true);
    assert_int_equal(next(f), ACTION_READ);
    header(f, "10:10:", 2);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_KNOWN);
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    assert_int_equal(table_row(f, 2, &tag), VERDICT_PUT);
    pipeline_put_failed(f->p, f->now, tag, DELIVERY_LOST);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(next(f), ACTION_NONE); /* above all, no STREAM_DROP: it waits for a report */
    assert_int_equal(stream(f), STREAM_SEAM);
}

/* TRUNCATE ... RESTART IDENTITY within a transaction. */
static void a_seq_that_comes_again_waits_for_the_event_before(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row other = row_of(1);
    struct err err;
    uint64_t first;
    uint64_t tag;

    other.item.id[1] = 9;
    turn_on_named(f);
    first = streamed(f, 1);
    assert_int_equal(pipeline_stream_row(f->p, f->now, &other, &tag, &err), VERDICT_CUT);
    report(f, first, DELIVERY_OK);
    assert_int_equal(pipeline_stream_row(f->p, f->now, &other, &tag, &err), VERDICT_CUT);
    acknowledged(f);
    assert_int_equal(pipeline_stream_row(f->p, f->now, &other, &tag, &err), VERDICT_PUT);
    report(f, tag, DELIVERY_OK);
    pipeline_stream_end(f->p, 200);
    acknowledged(f);
    stored(f, 200);
}

static void a_truncate_takes_no_event_away(void **state)
{
    struct fixture *f = *state;
    uint64_t delivered;
    uint64_t sent;

    turn_on_named(f);
    delivered = streamed(f, 1);
    sent = streamed(f, 2);
    pipeline_stream_end(f->p, 200);
    report(f, delivered, DELIVERY_OK);
    pipeline_rows_gone(f->p, f->now);
    report(f, sent, DELIVERY_OK);
    f->now += 20;
    assert_int_equal(next(f), ACTION_ACK);
    assert_true(f->action.ack.strict); /* the seqs may be other rows' by now */
    assert_int_equal(f->action.ack.n, 2);
    (void)pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE);
    assert_int_equal(stream(f), STREAM_ON);
    stored(f, 200);
}

static void a_stop_lets_a_transaction_end(void **state)
{
    struct fixture *f = *state;
    uint64_t last;
    uint64_t tag;

    turn_on_named(f);
    report(f, streamed(f, 1), DELIVERY_OK);
    pipeline_stop(f->p, f->now, f->now + 10000);
    acknowledged(f);
    assert_int_equal(next(f), ACTION_NONE);
    last = streamed(f, 2);
    pipeline_stream_end(f->p, 200);
    pipeline_stream_begin(f->p, 21);
    assert_int_equal(stream_row(f, 3, &tag), VERDICT_CUT); /* of the next one nothing */
    report(f, last, DELIVERY_OK);
    acknowledged(f);
    stored(f, 200);
    assert_int_equal(next(f), ACTION_EXIT);
}

static void nothing_is_passed_over_with_what_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t first;
    uint64_t second;
    uint64_t behind;
    struct ledger_item item;

    turn_on_named(f);
    first = streamed(f, 1);
    pipeline_stream_end(f->p, 200);
    pipeline_stream_begin(f->p, 21);
    second = streamed(f, 2);
    pipeline_stream_end(f->p, 300);
    assert_true(pipeline_report(f->p, f->now, second, DELIVERY_ROW, &item));
    assert_true(pipeline_stream_behind(f->p, item.tx, &behind));
    assert_int_equal(behind, 300);
    assert_false(pipeline_stream_done_before(f->p, 300));
    assert_true(pipeline_stream_done_before(f->p, 200));
    report(f, first, DELIVERY_OK);
    acknowledged(f);
    assert_true(pipeline_stream_done_before(f->p, 300));
    assert_true(pipeline_stream_behind(f->p, item.tx, &behind)); /* it stays, undone */
    pipeline_stream_lost(f->p, f->now);
    assert_false(pipeline_stream_behind(f->p, item.tx, &behind));
}

int main(void)
{
#define NAMED(test) cmocka_unit_test_setup_teardown(test, set_up_named, tear_down)
    const struct CMUnitTest tests[] = {
        NAMED(a_row_that_was_not_even_sent_is_just_read_again),
        NAMED(a_seq_that_comes_again_waits_for_the_event_before),
        NAMED(a_truncate_takes_no_event_away),
        NAMED(a_stop_lets_a_transaction_end),
        NAMED(nothing_is_passed_over_with_what_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
