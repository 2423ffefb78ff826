/* What the tests of a named slot share: an owner that has asked for it, and each step by hand. */
#ifndef OUTBOX_TESTS_NAMED_CASE_H
#define OUTBOX_TESTS_NAMED_CASE_H

#include "stream_case.h"

#define OTHER_TOPIC 1
/* What the slot's first snapshot sees: 12 and what is older. */
#define BEFORE "13:15:13,14"
#define BEGINS 100

/* An owner with all its connections, and no slot yet. */
static inline int named_up(void **state)
{
    static struct fixture f;
    struct pipeline_options named = options;
    struct err err;

    named.named = true;
    f = (struct fixture){.now = 1000000};
    assert_int_equal(pipeline_new(&f.p, &named, &err), 0);
    pipeline_source_up(f.p, f.now);
    pipeline_ack_up(f.p, f.now);
    pipeline_kafka(f.p, f.now, true);
    pipeline_own(f.p, f.now, false);
    pipeline_set_streaming(f.p, f.now, true);
    *state = &f;
    return 0;
}

static inline void named_made(struct fixture *f, const char *snapshot, uint64_t lsn, bool table)
{
    struct slice s = slice_of(snapshot);
    struct err err;

    assert_int_equal(pipeline_stream_made(f->p, f->now, &s, lsn, table, &err), 0);
}

/* Its row waits for that. */
static inline void learn_topic(struct fixture *f, uint32_t topic)
{
    assert_int_equal(next(f), ACTION_LOOKUP);
    assert_int_equal(f->action.topic, topic);
    pipeline_topic(f->p, f->now, topic, TOPIC_KNOWN);
}

/* The first page of the table half, behind the topic's lookup. */
static inline void begin_table(struct fixture *f)
{
    uint64_t tag;

    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, BEFORE, BEGINS, true);
    assert_int_equal(next(f), ACTION_READ);
    assert_int_equal(table_row(f, 1, &tag), VERDICT_CUT);
    pipeline_read_end(f->p, f->now, 1, true);
    learn_topic(f, TOPIC);
    assert_int_equal(next(f), ACTION_READ);
}

/* The stream goes on from its stored position, in the middle of transaction 20. */
static inline void resume(struct fixture *f)
{
    uint64_t tag;

    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, "20:20:", BEGINS, false);
    assert_int_equal(next(f), ACTION_STREAM_START);
    pipeline_stream_begin(f->p, 20);
    assert_int_equal(stream_row(f, 1, &tag), VERDICT_CUT);
    learn_topic(f, TOPIC);
    assert_true(flows(f));
}

/* The same, once its stream was dropped for a lost row and all that was sent has reported. */
static inline void resume_again(struct fixture *f)
{
    f->now = pipeline_deadline(f->p, f->now);
    assert_int_equal(next(f), ACTION_STREAM_MAKE);
    named_made(f, "20:20:", BEGINS, false);
    assert_int_equal(next(f), ACTION_STREAM_START);
    assert_true(flows(f));
    pipeline_stream_begin(f->p, 20);
}

/* An acknowledgement is due; returns its number. */
static inline uint32_t asked(struct fixture *f, uint32_t rows, uint64_t position)
{
    assert_int_equal(next(f), ACTION_ACK);
    assert_int_equal(f->action.ack.n, rows);
    assert_int_equal(f->action.position, position);
    return f->action.ack.number;
}

static inline void stores(struct fixture *f, uint32_t rows, uint64_t position)
{
    uint32_t number = asked(f, rows, position);

    assert_int_equal(pipeline_acked(f->p, f->now, number, ACK_DONE), rows);
}

/* All that waits for its acknowledgement's company gets it. */
static inline void later_stores(struct fixture *f, uint32_t rows, uint64_t position)
{
    f->now += 20;
    stores(f, rows, position);
}

static inline enum verdict other_row(struct fixture *f, int64_t seq, uint64_t *ret_tag)
{
    struct pipeline_row r = row_of(seq);
    struct err err;

    r.item.topic = OTHER_TOPIC;
    return pipeline_stream_row(f->p, f->now, &r, ret_tag, &err);
}

static inline bool stalled(const struct fixture *f)
{
    struct pipeline_view view;

    pipeline_view(f->p, &view);
    return view.stalled;
}

#define NAMED(name) cmocka_unit_test_setup_teardown(name, named_up, tear_down)

#endif
