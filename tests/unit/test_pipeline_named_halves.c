/* A named slot by hand: its two halves, what the table has from before and what the stream brings.
 * The simulation (tests/sim) covers the mixtures; here stands each rule by itself. */
#include "named_case.h"

/* ---- the table half ---- */

static void nothing_is_read_while_there_is_no_slot(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    assert_int_equal(next(f), ACTION_NONE);
    pipeline_source_lost(f->p, f->now);
    pipeline_source_up(f->p, f->now);
    pipeline_notified(f->p, f->now);
    f->now += 1000000;
    assert_int_equal(next(f), ACTION_NONE);
    assert_false(flows(f));
    pipeline_stream_lost(f->p, f->now);
    assert_int_equal(next(f), ACTION_NONE);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_STREAM_MAKE); /* the table need not be read first */
}

static void its_pages_are_of_the_slots_snapshot(void **state)
{
    struct fixture *f = *state;
    int64_t seq = 0;
    uint64_t tag;

    begin_table(f);
    for (int page = 0; page < 3; page++) {
        assert_int_equal(f->action.read.kind, READ_START);
        assert_false(f->action.read.opens);
        assert_string_equal(snapshot_text(f->action.read.until), BEFORE);
        assert_int_equal(f->action.read.after, page == 0 ? INT64_MIN : seq);
        assert_true(f->action.read.upto == INT64_MAX);
        for (int i = 0; i < 4; i++)
            assert_int_equal(table_row(f, ++seq, &tag), VERDICT_PUT);
        pipeline_read_end(f->p, f->now, f->action.read.limit, true); /* full: there may be more */
        assert_int_equal(stream(f), STREAM_SEAM);
        if (page < 2)
            assert_int_equal(next(f), ACTION_READ);
    }
}

static void nothing_flows_before_it_is_complete(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    begin_table(f);
    assert_false(flows(f));
    assert_int_equal(stream_row(f, 9, &tag), VERDICT_CUT);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, f->action.read.limit, true);
    assert_false(flows(f));
    assert_int_equal(next(f), ACTION_READ);
    pipeline_read_end(f->p, f->now, 0, false); /* it failed: that it brought nothing says nothing */
    assert_false(flows(f));
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_READ);
    pipeline_read_end(f->p, f->now, 0, true);
    assert_int_equal(next(f), ACTION_STREAM_START);
    assert_true(flows(f));
}

static void no_position_is_known_before_it_is_done(void **state)
{
    struct fixture *f = *state;
    uint64_t first;
    uint64_t second;

    begin_table(f);
    assert_int_equal(table_row(f, 1, &first), VERDICT_PUT);
    assert_int_equal(table_row(f, 2, &second), VERDICT_PUT);
    report(f, first, DELIVERY_OK);
    later_stores(f, 1, 0);
    f->now += 60000;
    assert_int_equal(next(f), ACTION_NONE);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(next(f), ACTION_STREAM_START);
    pipeline_stream_idle(f->p, 150);
    f->now += 60000;
    assert_int_equal(next(f), ACTION_NONE); /* its last row is not acknowledged */
    report(f, second, DELIVERY_OK);
    later_stores(f, 1, 0);
    assert_int_equal(pipeline_checkpoint(f->p), 0);
    f->now += 100;
    stores(f, 0, 150);
    assert_int_equal(pipeline_checkpoint(f->p), 150);
}

static void an_empty_one_has_its_position_stored_at_once(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, BEFORE, BEGINS, true);
    assert_int_equal(next(f), ACTION_READ);
    pipeline_read_end(f->p, f->now, 0, true);
    stores(f, 0, BEGINS); /* from now on a restart reads no table */
    assert_int_equal(pipeline_checkpoint(f->p), BEGINS);
    assert_int_equal(next(f), ACTION_STREAM_START);
}

static void it_starts_over_with_its_connection(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    begin_table(f);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, f->action.read.limit, true);
    pipeline_source_lost(f->p, f->now);
    pipeline_source_up(f->p, f->now);
    assert_int_equal(next(f), ACTION_READ);
    assert_true(f->action.read.after == INT64_MIN);
    assert_string_equal(snapshot_text(f->action.read.until), BEFORE);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_SKIP);
    assert_int_equal(table_row(f, 2, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(next(f), ACTION_STREAM_START);
}

/* A topic that is away is waited for: what is passed over would not be read again. */
static void a_topic_away_holds_it_up(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, BEFORE, BEGINS, true);
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_REFUSED);
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_true(stalled(f));
    assert_int_equal(next(f), ACTION_NONE);
    assert_false(flows(f));
    f->now = pipeline_deadline(f->p, f->now);
    learn_topic(f, TOPIC);
    assert_false(stalled(f));
    assert_int_equal(next(f), ACTION_READ);
    assert_true(f->action.read.after == INT64_MIN);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_int_equal(next(f), ACTION_STREAM_START);
}

/* ---- a page that outlives its stream ---- */

static void an_older_page_is_no_part_of_the_next_table_half(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    begin_table(f);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_PUT);
    report(f, tag, DELIVERY_OK);
    pipeline_stream_lost(f->p, f->now);
    assert_int_equal(table_row(f, 2, &tag), VERDICT_CUT);
    f->now = pipeline_deadline(f->p, f->now);
    later_stores(f, 1, 0);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, "30:30:", 300, true);
    assert_int_equal(next(f), ACTION_NONE); /* one page at a time */
    assert_int_equal(table_row(f, 3, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 0, true); /* as if it were the end of the table */
    assert_int_equal(stream(f), STREAM_SEAM);
    assert_false(flows(f));
    assert_int_equal(next(f), ACTION_READ);
    assert_true(f->action.read.after == INT64_MIN);
    assert_string_equal(snapshot_text(f->action.read.until), "30:30:");
}

static void an_older_page_is_let_end_before_the_stream_goes_on(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    begin_table(f);
    pipeline_stream_lost(f->p, f->now);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, "30:30:", 300, false);
    assert_int_equal(next(f), ACTION_STREAM_START);
    assert_false(flows(f));
    assert_int_equal(table_row(f, 1, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_true(flows(f));
    assert_int_equal(next(f), ACTION_NONE);
}

static void nothing_of_a_page_goes_once_the_stream_is_to_begin_again(void **state)
{
    struct fixture *f = *state;
    uint64_t lost;
    uint64_t tag;

    begin_table(f);
    assert_int_equal(table_row(f, 1, &lost), VERDICT_PUT);
    report(f, lost, DELIVERY_TOPIC);
    assert_int_equal(next(f), ACTION_STREAM_DROP);
    assert_int_equal(table_row(f, 2, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(stream(f), STREAM_OFF);
    assert_int_equal(next(f), ACTION_NONE); /* no read without a slot */
}

/* ---- the stream half ---- */

static void a_stream_that_resumes_reads_no_table(void **state)
{
    struct fixture *f = *state;

    resume(f);
    (void)streamed(f, 1);
    pipeline_source_lost(f->p, f->now);
    assert_false(flows(f)); /* it waits for the server all the same */
    pipeline_source_up(f->p, f->now);
    assert_true(flows(f));
    f->now += 10 * options.stream_sweep_interval_ms; /* and never sweeps */
    assert_int_equal(next(f), ACTION_NONE);
    assert_true(flows(f));
    assert_false(pipeline_wants_lock(f->p));
}

/* Each of its transactions is the stream's own, whatever a snapshot sees. */
static void no_transaction_is_passed_over(void **state)
{
    struct fixture *f = *state;

    begin_table(f);
    pipeline_read_end(f->p, f->now, 0, true);
    stores(f, 0, BEGINS);
    assert_int_equal(next(f), ACTION_STREAM_START);
    pipeline_stream_begin(f->p, 12); /* in the log behind the slot, so it was not in the table */
    (void)streamed(f, 1);
    pipeline_stream_end(f->p, 200);
    pipeline_stream_begin(f->p, 14);
    (void)streamed(f, 2);
    pipeline_stream_end(f->p, 300);
}

static void a_message_has_no_transaction_to_wait_for(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row r = row_of(INT64_MIN + 150);
    struct slice seen = slice_of("20:30:20");
    struct ledger_item item;
    struct err err;
    uint64_t tag;
    uint64_t row;

    resume(f);
    r.message = true;
    assert_int_equal(pipeline_stream_row(f->p, f->now, &r, &tag, &err), VERDICT_PUT);
    row = streamed(f, 1);
    pipeline_stream_end(f->p, 200);
    assert_true(pipeline_report(f->p, f->now, tag, DELIVERY_OK, &item));
    assert_true(item.seq == INT64_MIN + 150);
    assert_int_equal(item.xid, 0);
    assert_true(pipeline_report(f->p, f->now, row, DELIVERY_OK, &item));
    assert_int_equal(item.xid, 20);
    f->now += 20;
    (void)asked(f, 2, 0);
    /* Neither is in the table: the row, because its commit is not visible yet. */
    assert_int_equal(pipeline_acked_partly(f->p, f->now, f->action.ack.number, &seen, &err), 1);
    f->now = pipeline_deadline(f->p, f->now);
    stores(f, 1, 0);
    f->now += 100;
    stores(f, 0, 200); /* nothing goes past a message before that */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NAMED(nothing_is_read_while_there_is_no_slot),
        NAMED(its_pages_are_of_the_slots_snapshot),
        NAMED(nothing_flows_before_it_is_complete),
        NAMED(no_position_is_known_before_it_is_done),
        NAMED(an_empty_one_has_its_position_stored_at_once),
        NAMED(it_starts_over_with_its_connection),
        NAMED(a_topic_away_holds_it_up),
        NAMED(an_older_page_is_no_part_of_the_next_table_half),
        NAMED(an_older_page_is_let_end_before_the_stream_goes_on),
        NAMED(nothing_of_a_page_goes_once_the_stream_is_to_begin_again),
        NAMED(a_stream_that_resumes_reads_no_table),
        NAMED(no_transaction_is_passed_over),
        NAMED(a_message_has_no_transaction_to_wait_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
