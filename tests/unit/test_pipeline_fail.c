/* Events that cannot be published: recorded once, what waits behind them, what goes on. */
#include "stream_case.h"

#define KEY 77

struct failing {
    struct fixture f;
    enum failure_mode mode;
    uint64_t tag;
};

static int begin(void **state, enum failure_mode mode, uint32_t window)
{
    static struct failing f;
    struct pipeline_options with = options;
    uint64_t tag;
    struct err err;

    f = (struct failing){.f.now = 1000, .mode = mode};
    with.window_events = window;
    with.parks = true;
    assert_int_equal(pipeline_new(&f.f.p, &with, &err), 0);
    pipeline_source_up(f.f.p, f.f.now);
    pipeline_ack_up(f.f.p, f.f.now);
    pipeline_kafka(f.f.p, f.f.now, true);
    pipeline_own(f.f.p, f.f.now, false);
    assert_int_equal(next(&f.f), ACTION_NONE); /* before it is known what is parked */
    pipeline_parked_begin(f.f.p);
    assert_int_equal(pipeline_parked_end(f.f.p, f.f.now), 0);
    assert_int_equal(next(&f.f), ACTION_READ);
    header(&f.f, "10:10:", 1);
    assert_int_equal(table_row(&f.f, 1, &tag), VERDICT_CUT);
    pipeline_read_end(f.f.p, f.f.now, 1, true);
    assert_int_equal(next(&f.f), ACTION_LOOKUP);
    pipeline_topic(f.f.p, f.f.now, TOPIC, TOPIC_KNOWN);
    assert_int_equal(next(&f.f), ACTION_READ);
    *state = &f;
    return 0;
}

static int parking(void **state)
{
    return begin(state, FAILURE_PARK, options.window_events);
}

static int burying(void **state)
{
    return begin(state, FAILURE_DEAD, options.window_events);
}

static int with_a_large_window(void **state)
{
    return begin(state, FAILURE_PARK, 1000);
}

static enum verdict give(struct failing *f, int64_t seq, uint64_t key, bool invalid, uint64_t *tag)
{
    struct pipeline_row row = row_of(seq);
    struct err err;

    row.item.key = key;
    row.item.failure = f->mode;
    row.invalid = invalid;
    return pipeline_row(f->f.p, f->f.now, &row, tag, &err);
}

static struct pipeline_view view_of(const struct failing *f)
{
    struct pipeline_view view;

    pipeline_view(f->f.p, &view);
    return view;
}

static void later_ones_wait_and_others_flow(void **state)
{
    struct failing *f = *state;
    uint64_t tag;

    assert_int_equal(give(f, 1, KEY, true, &f->tag), VERDICT_FAILED);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_BEHIND);
    assert_int_equal(give(f, 3, KEY, true, &tag), VERDICT_BEHIND);
    assert_int_equal(give(f, 4, KEY + 1, false, &tag), VERDICT_PUT);
    pipeline_read_end(f->f.p, f->f.now, 4, true);
    report(&f->f, tag, DELIVERY_OK);
    assert_int_equal(view_of(f).parked, 1);
    /* Read again before it is on record, it is not failed twice. */
    pipeline_source_lost(f->f.p, f->f.now);
    pipeline_source_up(f->f.p, f->f.now);
    pipeline_parked_begin(f->f.p);
    assert_int_equal(pipeline_parked_end(f->f.p, f->f.now), 0);
    while (next(&f->f) != ACTION_READ)
        assert_int_equal(f->f.action.kind, ACTION_ACK);
    assert_true(f->f.action.read.parked);
    header(&f->f, "10:10:", 4);
    assert_int_equal(give(f, 1, KEY, true, &tag), VERDICT_SKIP);
    pipeline_recorded(f->f.p, f->f.now, f->tag, RECORD_DONE);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_BEHIND);
    assert_false(pipeline_is_failed(f->f.p, f->tag));
}

static void a_list_without_it_releases_the_key(void **state)
{
    struct failing *f = *state;
    uint64_t tag;

    assert_int_equal(give(f, 1, KEY, true, &f->tag), VERDICT_FAILED);
    pipeline_read_end(f->f.p, f->f.now, 1, true);
    /* Asked before it was on record, the list means nothing for it. */
    pipeline_parked_begin(f->f.p);
    assert_int_equal(pipeline_parked_end(f->f.p, f->f.now), 0);
    pipeline_recorded(f->f.p, f->f.now, f->tag, RECORD_DONE);
    assert_int_equal(view_of(f).parked, 1);
    pipeline_parked_begin(f->f.p);
    assert_int_equal(pipeline_parked_end(f->f.p, f->f.now), 1);
    assert_int_equal(next(&f->f), ACTION_READ);
    assert_int_equal(f->f.action.read.kind, READ_START);
    assert_true(f->f.action.read.opens);
    assert_false(f->f.action.read.parked);
    header(&f->f, "10:10:", 2);
    assert_int_equal(give(f, 1, KEY, false, &tag), VERDICT_PUT);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_PUT);
}

static void what_somebody_took_away_holds_nothing_up(void **state)
{
    struct failing *f = *state;
    uint64_t tag;

    assert_int_equal(give(f, 1, KEY, true, &f->tag), VERDICT_FAILED);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_BEHIND);
    pipeline_read_end(f->f.p, f->f.now, 2, true);
    pipeline_recorded(f->f.p, f->f.now, f->tag, RECORD_GONE);
    assert_int_equal(view_of(f).parked, 0);
    assert_int_equal(next(&f->f), ACTION_READ);
    header(&f->f, "10:10:", 2);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_PUT);
}

static void list_nothing(struct failing *f)
{
    pipeline_parked_begin(f->f.p);
    (void)pipeline_parked_end(f->f.p, f->f.now);
}

static void the_key_waits_for_the_others_that_failed_with_it(void **state)
{
    struct failing *f = *state;
    uint64_t later;
    uint64_t tag;

    assert_int_equal(give(f, 1, KEY, false, &f->tag), VERDICT_PUT);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_PUT);
    assert_int_equal(give(f, 3, KEY, false, &later), VERDICT_PUT);
    report(&f->f, f->tag, DELIVERY_ROW);
    report(&f->f, tag, DELIVERY_LOST);
    report(&f->f, later, DELIVERY_ROW);
    pipeline_recorded(f->f.p, f->f.now, f->tag, RECORD_DONE);
    list_nothing(f); /* the first was retried before the last was on record */
    assert_int_equal(view_of(f).parked, 1);
    pipeline_recorded(f->f.p, f->f.now, later, RECORD_GONE);
    assert_int_equal(view_of(f).parked, 0);
}

static void a_truncated_table_holds_nothing_up(void **state)
{
    struct failing *f = *state;
    uint64_t tag;

    assert_int_equal(give(f, 1, KEY, true, &f->tag), VERDICT_FAILED);
    pipeline_read_end(f->f.p, f->f.now, 1, true);
    pipeline_rows_gone(f->f.p, f->f.now);
    assert_int_equal(next(&f->f), ACTION_NONE); /* before it is known what is parked */
    list_nothing(f);
    assert_int_equal(view_of(f).parked, 0);
    assert_int_equal(next(&f->f), ACTION_READ);
    header(&f->f, "10:10:", 1);
    assert_int_equal(give(f, 1, KEY, false, &tag), VERDICT_PUT);
}

static void a_crash_may_have_undone_a_release(void **state)
{
    struct failing *f = *state;
    uint64_t tag;
    struct err err;

    pipeline_read_end(f->f.p, f->f.now, 0, true);
    pipeline_source_lost(f->f.p, f->f.now);
    pipeline_source_up(f->f.p, f->f.now);
    assert_int_equal(next(&f->f), ACTION_NONE);
    pipeline_parked_begin(f->f.p);
    assert_int_equal(pipeline_parked_key(f->f.p, KEY, false, &err), 0);
    assert_int_equal(pipeline_parked_end(f->f.p, f->f.now), 0);
    assert_int_equal(next(&f->f), ACTION_READ);
    assert_true(f->f.action.read.parked);
    header(&f->f, "10:10:", 2);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_BEHIND);
}

static void its_number_is_not_given_away_before_it_is_on_record(void **state)
{
    struct failing *f = *state;
    struct pipeline_row other = row_of(1);
    uint64_t tag;
    struct err err;

    assert_int_equal(give(f, 1, KEY, true, &f->tag), VERDICT_FAILED);
    other.item.failure = f->mode;
    other.item.id[0] = 99; /* a server that crashed hands the seq out again */
    assert_int_equal(pipeline_row(f->f.p, f->f.now, &other, &tag, &err), VERDICT_CUT);
    assert_true(pipeline_is_failed(f->f.p, f->tag));
    pipeline_read_end(f->f.p, f->f.now, 1, true);
    pipeline_recorded(f->f.p, f->f.now, f->tag, RECORD_GONE);
    assert_int_equal(view_of(f).parked, 0);
    assert_int_equal(next(&f->f), ACTION_READ);
    header(&f->f, "10:10:", 1);
    assert_int_equal(pipeline_row(f->f.p, f->f.now, &other, &tag, &err), VERDICT_PUT);
}

/* As with one that was streamed before its commit became visible. */
static void one_that_was_not_found_is_read_again(void **state)
{
    struct failing *f = *state;
    uint64_t tag;

    assert_int_equal(give(f, 1, KEY, true, &f->tag), VERDICT_FAILED);
    pipeline_read_end(f->f.p, f->f.now, 1, true);
    pipeline_recorded(f->f.p, f->f.now, f->tag, RECORD_GONE);
    assert_int_equal(next(&f->f), ACTION_READ);
    assert_int_equal(f->f.action.read.kind, READ_START);
    header(&f->f, "10:10:", 1);
    assert_int_equal(give(f, 1, KEY, true, &tag), VERDICT_FAILED);
}

static void one_that_kafka_refuses_is_parked_too(void **state)
{
    struct failing *f = *state;
    uint64_t tag;

    assert_int_equal(give(f, 1, KEY, false, &f->tag), VERDICT_PUT);
    report(&f->f, f->tag, DELIVERY_ROW);
    assert_true(pipeline_is_failed(f->f.p, f->tag));
    assert_int_equal(pipeline_stopping(f->f.p), STOP_NONE);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_BEHIND);
    /* Its producer dies of it, and a new one does not meet it again. */
    pipeline_read_end(f->f.p, f->f.now, 2, true);
    pipeline_sink_fatal(f->f.p, f->f.now);
    f->f.now += 60000;
    assert_int_equal(next(&f->f), ACTION_REBUILD);
    pipeline_sink_rebuilt(f->f.p, f->f.now, true);
    assert_true(pipeline_is_failed(f->f.p, f->tag));
    pipeline_recorded(f->f.p, f->f.now, f->tag, RECORD_DONE);
    assert_int_equal(view_of(f).inflight_events, 0);
}

static void the_dead_hold_nobody_up(void **state)
{
    struct failing *f = *state;
    uint64_t tag;

    assert_int_equal(give(f, 1, KEY, true, &f->tag), VERDICT_FAILED);
    assert_int_equal(give(f, 2, KEY, false, &tag), VERDICT_PUT);
    assert_int_equal(view_of(f).parked, 0);
    pipeline_recorded(f->f.p, f->f.now, f->tag, RECORD_DONE);
    /* The read that is under way may still see it. */
    assert_int_equal(give(f, 1, KEY, true, &tag), VERDICT_SKIP);
}

static void no_more_wait_for_their_record_than_fit(void **state)
{
    struct failing *f = *state;
    uint64_t tag;
    int64_t seq = 1;

    while (give(f, seq, 100 + (uint64_t)seq, true, &tag) == VERDICT_FAILED)
        seq++;
    assert_int_equal(seq, 17); /* the window */
    assert_int_equal(pipeline_stopping(f->f.p), STOP_NONE);
}

static void while_too_many_wait_for_their_record_nothing_is_read(void **state)
{
    struct failing *f = *state;
    uint64_t tag;
    uint64_t last = 0;
    int64_t seq = 1;

    while (give(f, seq, 100 + (uint64_t)seq, true, &tag) == VERDICT_FAILED) {
        last = tag;
        seq++;
    }
    assert_int_equal(seq, 257);
    pipeline_read_end(f->f.p, f->f.now, 257, true);
    assert_int_equal(next(&f->f), ACTION_NONE);
    pipeline_recorded(f->f.p, f->f.now, last, RECORD_DONE);
    assert_int_equal(next(&f->f), ACTION_READ);
}

static void another_owners_records_are_its_own(void **state)
{
    struct failing *f = *state;

    assert_int_equal(give(f, 1, KEY, true, &f->tag), VERDICT_FAILED);
    pipeline_read_end(f->f.p, f->f.now, 1, true);
    pipeline_disown(f->f.p, f->f.now);
    pipeline_own(f->f.p, f->f.now, false);
    assert_false(pipeline_is_failed(f->f.p, f->tag));
    assert_int_equal(view_of(f).parked, 0);
    assert_false(view_of(f).parked_known);
}

int main(void)
{
#define PARK(name) cmocka_unit_test_setup_teardown(name, parking, tear_down)
#define BURY(name) cmocka_unit_test_setup_teardown(name, burying, tear_down)
    const struct CMUnitTest tests[] = {
        PARK(later_ones_wait_and_others_flow),
        PARK(a_list_without_it_releases_the_key),
        PARK(what_somebody_took_away_holds_nothing_up),
        PARK(the_key_waits_for_the_others_that_failed_with_it),
        PARK(a_truncated_table_holds_nothing_up),
        PARK(a_crash_may_have_undone_a_release),
        PARK(its_number_is_not_given_away_before_it_is_on_record),
        BURY(one_that_was_not_found_is_read_again),
        PARK(one_that_kafka_refuses_is_parked_too),
        BURY(the_dead_hold_nobody_up),
        PARK(no_more_wait_for_their_record_than_fit),
        cmocka_unit_test_setup_teardown(while_too_many_wait_for_their_record_nothing_is_read,
                                        with_a_large_window, tear_down),
        PARK(another_owners_records_are_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
