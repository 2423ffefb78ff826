/* What the tests of the stream share: an owner that is about to stream, and each step by hand. */
#ifndef OUTBOX_TESTS_STREAM_CASE_H
#define OUTBOX_TESTS_STREAM_CASE_H

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
    int64_t read_over_at; /* when the last start began */
};

static const struct pipeline_options options = {
    .window_events = 16,
    .window_bytes = 10000,
    .page_events = 16,
    .page_bytes = 10000,
    .ack_events = 8,
    .poll_interval_ms = 1000,
    .sweep_interval_ms = 600000,
    .stream_sweep_interval_ms = 60000,
    .seed = 7,
};

static inline struct slice slice_of(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

static inline enum action_kind next(struct fixture *f)
{
    pipeline_next(f->p, f->now, &f->action);
    if (f->action.kind == ACTION_READ && f->action.read.kind == READ_START && f->action.read.opens)
        f->read_over_at = f->now;
    return f->action.kind;
}

static inline enum stream_state stream(const struct fixture *f)
{
    struct pipeline_view view;

    pipeline_view(f->p, &view);
    return view.stream;
}

static inline bool flows(const struct fixture *f)
{
    return pipeline_stream_flows(f->p);
}

static inline struct pipeline_row row_of(int64_t seq)
{
    struct pipeline_row r = {.item = {.seq = seq, .topic = TOPIC, .bytes = 10}, .xid = 5};

    r.item.id[0] = (unsigned char)seq;
    return r;
}

static inline enum verdict table_row(struct fixture *f, int64_t seq, uint64_t *ret_tag)
{
    struct pipeline_row r = row_of(seq);
    struct err err;

    return pipeline_row(f->p, f->now, &r, ret_tag, &err);
}

static inline enum verdict stream_row(struct fixture *f, int64_t seq, uint64_t *ret_tag)
{
    struct pipeline_row r = row_of(seq);
    struct err err;

    return pipeline_stream_row(f->p, f->now, &r, ret_tag, &err);
}

static inline void header(struct fixture *f, const char *snapshot, int64_t max_seq)
{
    struct slice s = slice_of(snapshot);
    struct err err;

    assert_int_equal(pipeline_read_header(f->p, &s, max_seq > 0, max_seq, &err), 0);
}

/* The read that is due now finds nothing, under this snapshot. */
static inline void empty_round(struct fixture *f, const char *snapshot)
{
    assert_int_equal(next(f), ACTION_READ);
    assert_true(f->action.read.opens);
    header(f, snapshot, 0);
    pipeline_read_end(f->p, f->now, 0, true);
}

static inline void later_round(struct fixture *f, const char *snapshot)
{
    f->now = pipeline_deadline(f->p, f->now);
    empty_round(f, snapshot);
}

static inline void made(struct fixture *f, const char *snapshot)
{
    struct slice s = slice_of(snapshot);
    struct err err;

    assert_int_equal(pipeline_stream_made(f->p, f->now, &s, 0, true, &err), 0);
}

/* An owner that knows its topic and has read all there is, which is nothing. */
static inline int set_up(void **state)
{
    static struct fixture f;
    uint64_t tag;
    struct err err;

    f = (struct fixture){.now = 1000};
    assert_int_equal(pipeline_new(&f.p, &options, &err), 0);
    pipeline_source_up(f.p, f.now);
    pipeline_ack_up(f.p, f.now);
    pipeline_kafka(f.p, f.now, true);
    pipeline_own(f.p, f.now, false);
    assert_int_equal(next(&f), ACTION_READ);
    header(&f, "10:10:", 1);
    assert_int_equal(table_row(&f, 1, &tag), VERDICT_CUT);
    pipeline_read_end(f.p, f.now, 1, true);
    assert_int_equal(next(&f), ACTION_LOOKUP);
    pipeline_topic(f.p, f.now, TOPIC, TOPIC_KNOWN);
    assert_int_equal(next(&f), ACTION_READ);
    pipeline_read_end(f.p, f.now, 0, true);
    assert_int_equal(next(&f), ACTION_NONE);
    *state = &f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;

    pipeline_free(f->p);
    return 0;
}

/* The stream is on, behind a round that saw 12 and 14, not 13, and nothing from 15 on. */
static inline void turn_on(struct fixture *f)
{
    pipeline_set_streaming(f->p, f->now, true);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    assert_int_equal(stream(f), STREAM_MAKING);
    made(f, "12:15:13,14");
    assert_int_equal(stream(f), STREAM_SEAM);
    empty_round(f, "13:15:13");
    assert_int_equal(stream(f), STREAM_ON);
    assert_int_equal(next(f), ACTION_STREAM_START);
    assert_int_equal(next(f), ACTION_NONE);
    assert_true(flows(f));
}

static inline uint64_t streamed(struct fixture *f, int64_t seq)
{
    uint64_t tag;

    assert_int_equal(stream_row(f, seq, &tag), VERDICT_PUT);
    return tag;
}

static inline void report(struct fixture *f, uint64_t tag, enum delivery what)
{
    struct ledger_item item;

    assert_true(pipeline_report(f->p, f->now, tag, what, &item));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
