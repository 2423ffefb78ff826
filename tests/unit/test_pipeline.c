/* The pipeline by hand, step by step: what it wants, and in which order. The simulation (tests/sim)
 * covers the mixtures; here stands each rule that was once broken, or that is easy to break. */
#include "core/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define TOPIC 0

struct fixture {
    struct pipeline *p;
    int64_t now;
    struct action action;
};

static const struct pipeline_options options = {
    .window_events = 64,
    .window_bytes = 10000,
    .page_events = 16,
    .page_bytes = 10000,
    .ack_events = 8,
    .poll_interval_ms = 1000,
    .sweep_interval_ms = 60000,
    .seed = 7,
};

static enum action_kind next(struct fixture *f)
{
    pipeline_next(f->p, f->now, &f->action);
    return f->action.kind;
}

static void header(struct fixture *f, const char *text, int64_t max_seq)
{
    struct slice s = {(const unsigned char *)text, strlen(text)};
    struct err err;

    assert_int_equal(pipeline_read_header(f->p, &s, max_seq > 0, max_seq, &err), 0);
}

static enum verdict row(struct fixture *f, int64_t seq, uint32_t bytes, uint64_t *ret_tag)
{
    struct pipeline_row r = {.item = {.seq = seq, .topic = TOPIC, .bytes = bytes}, .xid = 5};
    struct err err;

    r.item.id[0] = (unsigned char)seq;
    return pipeline_row(f->p, f->now, &r, ret_tag, &err);
}

/* An owner with all its connections, about to read. */
static int set_up(void **state)
{
    static struct fixture f;
    struct err err;

    f = (struct fixture){.now = 1000};
    assert_int_equal(pipeline_new(&f.p, &options, &err), 0);
    assert_int_equal(next(&f), ACTION_NONE);
    pipeline_source_up(f.p, f.now);
    pipeline_ack_up(f.p, f.now);
    pipeline_kafka(f.p, f.now, true);
    assert_int_equal(next(&f), ACTION_NONE);
    pipeline_own(f.p, f.now, false);
    assert_int_equal(next(&f), ACTION_READ);
    assert_true(f.action.read.opens);
    assert_int_equal(f.action.read.kind, READ_START);
    assert_int_equal(next(&f), ACTION_NONE);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    pipeline_free(f->p);
    return 0;
}

/* Answers the read that set_up left open: none, so that the topic may be learnt. */
static void learn_topic(struct fixture *f)
{
    uint64_t tag;

    header(f, "10:10:", 1);
    assert_int_equal(row(f, 1, 10, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_int_equal(next(f), ACTION_LOOKUP);
    assert_int_equal(f->action.topic, TOPIC);
    assert_int_equal(next(f), ACTION_NONE); /* reading waits for the answer */
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_KNOWN);
    assert_int_equal(next(f), ACTION_READ);
}

static uint64_t put_one(struct fixture *f, int64_t seq)
{
    uint64_t tag;

    assert_int_equal(row(f, seq, 10, &tag), VERDICT_PUT);
    return tag;
}

static void one_event_goes_through(void **state)
{
    struct fixture *f = *state;
    struct ledger_item item;
    struct pipeline_view view;
    uint64_t tag;

    learn_topic(f);
    tag = put_one(f, 1);
    pipeline_read_end(f->p, f->now, 1, true);
    assert_true(pipeline_report(f->p, f->now, tag, DELIVERY_OK, &item));
    assert_int_equal(item.seq, 1);
    assert_false(pipeline_report(f->p, f->now, tag, DELIVERY_OK, &item));
    f->now += 20;
    assert_int_equal(next(f), ACTION_ACK);
    assert_int_equal(f->action.ack.n, 1);
    assert_int_equal(f->action.ack.seqs[0], 1);
    assert_false(f->action.ack.strict);
    assert_int_equal(pipeline_acked(f->p, f->now, f->action.ack.number, ACK_DONE), 1);
    pipeline_view(f->p, &view);
    assert_int_equal(view.inflight_events, 0);
    assert_int_equal(view.inflight_bytes, 0);
}

/* A row that was acknowledged while a read is on its way may still come with it. */
static void acknowledged_row_is_skipped_by_the_read_on_its_way(void **state)
{
    struct fixture *f = *state;
    struct ledger_item item;
    uint64_t tag;

    learn_topic(f);
    tag = put_one(f, 1);
    pipeline_read_end(f->p, f->now, 1, true);
    pipeline_source_lost(f->p, f->now);
    pipeline_source_up(f->p, f->now);
    assert_true(pipeline_report(f->p, f->now, tag, DELIVERY_OK, &item));
    f->now += 20;
    assert_int_equal(next(f), ACTION_ACK);
    assert_int_equal(next(f), ACTION_READ);
    header(f, "10:10:", 1);
    assert_int_equal(pipeline_acked(f->p, f->now, 1, ACK_DONE), 1);
    assert_int_equal(row(f, 1, 10, &tag), VERDICT_SKIP);
    pipeline_read_end(f->p, f->now, 1, true);
}

/* Seq alone names a row only as long as no server can have handed it out again: rows that were read
 * before the acknowledging connection stood go by id too. */
static void rows_older_than_the_acknowledging_connection_go_by_id(void **state)
{
    struct fixture *f = *state;
    struct ledger_item item;
    uint64_t tag;

    learn_topic(f);
    pipeline_ack_lost(f->p, f->now);
    tag = put_one(f, 1);
    assert_true(pipeline_report(f->p, f->now, tag, DELIVERY_OK, &item));
    pipeline_ack_up(f->p, f->now);
    assert_int_equal(row(f, 2, 10, &tag), VERDICT_CUT); /* of the same page */
    pipeline_read_end(f->p, f->now, 2, true);
    f->now += 20;
    assert_int_equal(next(f), ACTION_ACK);
    assert_true(f->action.ack.strict);
}

static void nothing_is_due_in_the_past_while_it_ends(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;

    learn_topic(f);
    tag = put_one(f, 1);
    (void)tag;
    pipeline_read_end(f->p, f->now, 1, true);
    pipeline_stop(f->p, f->now, f->now + 5000);
    pipeline_sink_fatal(f->p, f->now);
    f->now += 1000;
    assert_int_equal(next(f), ACTION_NONE);
    assert_int_equal(pipeline_deadline(f->p, f->now), f->now + 4000);
    f->now += 4000;
    assert_int_equal(next(f), ACTION_EXIT);
    assert_int_equal(next(f), ACTION_NONE);
    assert_true(pipeline_deadline(f->p, f->now) == INT64_MAX);
}

static void a_topic_that_is_away_is_not_due_while_it_ends(void **state)
{
    struct fixture *f = *state;
    struct ledger_item item;
    uint64_t tag;
    uint64_t other;

    learn_topic(f);
    tag = put_one(f, 1);
    other = put_one(f, 2);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_true(pipeline_report(f->p, f->now, tag, DELIVERY_TOPIC, &item));
    assert_true(pipeline_report(f->p, f->now, other, DELIVERY_OK, &item));
    pipeline_ack_lost(f->p, f->now);
    pipeline_stop(f->p, f->now, f->now + 60000);
    f->now += 40000;
    assert_int_equal(next(f), ACTION_NONE);
    assert_true(pipeline_deadline(f->p, f->now) > f->now);
}

static void nothing_found(struct fixture *f, const char *snapshot)
{
    assert_int_equal(next(f), ACTION_READ);
    if (f->action.read.opens)
        header(f, snapshot, 0);
    pipeline_read_end(f->p, f->now, 0, true);
}

/* A round that began before the grant has not seen the writers that the grant waited for, however
 * late its last page was read. */
static void a_round_from_before_the_grant_does_not_confirm_the_sleep(void **state)
{
    struct fixture *f = *state;
    uint64_t tag;
    uint32_t limit;
    bool asleep;

    learn_topic(f);
    (void)put_one(f, 1);
    pipeline_read_end(f->p, f->now, 1, true);
    pipeline_set_notify(f->p, f->now, true);
    for (int i = 0; i < 100 && !pipeline_wants_lock(f->p); i++) {
        f->now = pipeline_deadline(f->p, f->now);
        nothing_found(f, "10:10:");
    }
    assert_true(pipeline_wants_lock(f->p));
    /* The next round's first page is full of rows that are in flight already. */
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_READ);
    assert_true(f->action.read.opens);
    limit = f->action.read.limit;
    header(f, "10:10:", 1);
    assert_int_equal(row(f, 1, 10, &tag), VERDICT_SKIP);
    pipeline_read_end(f->p, f->now, limit, true);
    pipeline_lock_granted(f->p, f->now);
    assert_int_equal(next(f), ACTION_READ);
    assert_false(f->action.read.opens);
    pipeline_read_end(f->p, f->now, 0, true);
    asleep = pipeline_asleep(f->p);
    assert_false(asleep);
    nothing_found(f, "10:10:");
    assert_true(pipeline_asleep(f->p));
    /* Asleep nothing is due before the backstop, but a notification is answered at once. */
    assert_int_equal(pipeline_deadline(f->p, f->now), f->now + options.poll_interval_ms);
    pipeline_notified(f->p, f->now);
    assert_int_equal(next(f), ACTION_READ);
}

static void a_refused_event_halts_and_nothing_newer_goes(void **state)
{
    struct fixture *f = *state;
    struct ledger_item item;
    uint64_t tag;

    learn_topic(f);
    tag = put_one(f, 1);
    assert_true(pipeline_report(f->p, f->now, tag, DELIVERY_ROW, &item));
    assert_int_equal(pipeline_stopping(f->p), STOP_HALT);
    assert_int_equal(row(f, 2, 10, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(next(f), ACTION_EXIT);
}

static void an_invalid_row_halts(void **state)
{
    struct fixture *f = *state;
    struct pipeline_row r = {.item = {.seq = 1}, .invalid = true};
    struct err err;
    uint64_t tag;

    header(f, "10:10:", 1);
    assert_int_equal(pipeline_row(f->p, f->now, &r, &tag, &err), VERDICT_INVALID);
    assert_int_equal(pipeline_stopping(f->p), STOP_HALT);
}

/* A lost record ends its producer; the new one gets the row again, and its old report is nobody's.
 */
static void a_lost_record_is_read_again_for_a_new_producer(void **state)
{
    struct fixture *f = *state;
    struct ledger_item item;
    uint64_t tag;
    uint64_t other;
    uint64_t again;

    learn_topic(f);
    tag = put_one(f, 1);
    other = put_one(f, 2);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_true(pipeline_report(f->p, f->now, tag, DELIVERY_LOST, &item));
    assert_int_equal(next(f), ACTION_NONE);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_REBUILD);
    pipeline_sink_rebuilt(f->p, f->now, true);
    assert_false(pipeline_report(f->p, f->now, other, DELIVERY_OK, &item));
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(f->action.read.kind, READ_START);
    header(f, "10:10:", 2);
    assert_int_equal(row(f, 1, 10, &again), VERDICT_CUT); /* its topic is unknown to the new one */
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_KNOWN);
    assert_int_equal(next(f), ACTION_READ);
    again = put_one(f, 1);
    assert_true(again != tag);
}

static void a_topic_away_is_held_and_read_again_on_its_return(void **state)
{
    struct fixture *f = *state;
    struct ledger_item item;
    uint64_t tag;
    uint64_t held;

    learn_topic(f);
    tag = put_one(f, 1);
    assert_true(pipeline_report(f->p, f->now, tag, DELIVERY_TOPIC, &item));
    assert_int_equal(row(f, 2, 10, &tag), VERDICT_HOLD);
    pipeline_read_end(f->p, f->now, 2, true);
    assert_int_equal(pipeline_topic_state(f->p, TOPIC, &held), TOPIC_AWAY);
    assert_int_equal(held, 2);
    f->now += 60000;
    assert_int_equal(next(f), ACTION_LOOKUP);
    pipeline_topic(f->p, f->now, TOPIC, TOPIC_KNOWN);
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(f->action.read.kind, READ_START);
    header(f, "10:10:", 2);
    (void)put_one(f, 1);
    (void)put_one(f, 2);
}

static void the_window_holds(void **state)
{
    struct fixture *f = *state;
    struct pipeline_view view;
    uint64_t tag;

    learn_topic(f);
    assert_int_equal(row(f, 1, 20000, &tag), VERDICT_PUT); /* alone it may be of any size */
    assert_int_equal(row(f, 2, 1, &tag), VERDICT_CUT);
    assert_int_equal(row(f, 3, 1, &tag), VERDICT_CUT); /* nothing of the page goes behind a cut */
    pipeline_read_end(f->p, f->now, 3, true);
    assert_int_equal(next(f), ACTION_NONE);
    pipeline_view(f->p, &view);
    assert_int_equal(view.inflight_events, 1);
    assert_int_equal(view.inflight_bytes, 20000);
}

static void another_owner_in_between_voids_what_was_delivered(void **state)
{
    struct fixture *f = *state;
    struct ledger_item item;
    struct pipeline_view view;
    uint64_t tag;

    learn_topic(f);
    tag = put_one(f, 1);
    assert_true(pipeline_report(f->p, f->now, tag, DELIVERY_OK, &item));
    (void)put_one(f, 2);
    pipeline_disown(f->p, f->now);
    pipeline_view(f->p, &view);
    assert_int_equal(view.delivered, 1); /* perhaps nobody comes in between */
    assert_int_equal(view.sent, 0);
    f->now += 1000;
    assert_int_equal(next(f), ACTION_NONE); /* and nothing is acknowledged meanwhile */
    pipeline_own(f->p, f->now, false);
    pipeline_view(f->p, &view);
    assert_int_equal(view.inflight_events, 0);
    assert_int_equal(next(f), ACTION_REBUILD);
}

/* A sweep costs what its pages take, and not what reading waits for meanwhile. */
static void an_outage_within_a_start_does_not_put_the_next_one_off(void **state)
{
    struct fixture *f = *state;

    learn_topic(f);
    (void)put_one(f, 1);
    f->now += 10;
    pipeline_read_end(f->p, f->now, f->action.read.limit, true); /* there is more */
    pipeline_kafka(f->p, f->now, false);
    f->now += 3600000;
    pipeline_kafka(f->p, f->now, true);
    assert_int_equal(next(f), ACTION_READ);
    pipeline_read_end(f->p, f->now, 0, true);
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(f->action.read.kind, READ_START);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(one_event_goes_through),
        CASE(acknowledged_row_is_skipped_by_the_read_on_its_way),
        CASE(rows_older_than_the_acknowledging_connection_go_by_id),
        CASE(nothing_is_due_in_the_past_while_it_ends),
        CASE(a_topic_that_is_away_is_not_due_while_it_ends),
        CASE(a_round_from_before_the_grant_does_not_confirm_the_sleep),
        CASE(a_refused_event_halts_and_nothing_newer_goes),
        CASE(an_invalid_row_halts),
        CASE(a_lost_record_is_read_again_for_a_new_producer),
        CASE(a_topic_away_is_held_and_read_again_on_its_return),
        CASE(an_outage_within_a_start_does_not_put_the_next_one_off),
        CASE(the_window_holds),
        CASE(another_owner_in_between_voids_what_was_delivered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
