/* A mock cluster (librdkafka's: real TCP, faults on demand) and an open sink on it that counts what
 * it is told. */
#ifndef OUTBOX_TESTS_KAFKA_CASE_H
#define OUTBOX_TESTS_KAFKA_CASE_H

#include "kafka/producer.h"
#include "kafka/sink.h"
#include "kafka/sink_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <librdkafka/rdkafka_mock.h>

#define TAGS 4096
#define DEADLINE_MS 20000

struct fixture {
    rd_kafka_t *host; /* carries the mock cluster */
    rd_kafka_mock_cluster_t *cluster;
    uv_loop_t loop;
    uv_timer_t alarm;
    struct sink *sink;
    uint32_t topic;
    int seen[TAGS]; /* reports by tag */
    enum delivery what[TAGS];
    int reports, ok, lost, batches;
    int topics, fatals, rebuilt, discarded, ups, downs, closed;
    struct err topic_why, fatal_why, down_why;
    bool rebuild_on_fatal;
    bool expired;
};

static inline void on_report(void *arg, uint64_t tag, enum delivery what, const char *error,
                             const struct err *why)
{
    struct fixture *f = arg;

    assert_true(tag < TAGS);
    assert_true((what == DELIVERY_OK) == (why == NULL));
    assert_true((error == NULL) == (why == NULL));
    assert_int_equal(f->closed, 0);
    f->seen[tag]++;
    f->what[tag] = what;
    f->reports++;
    f->ok += what == DELIVERY_OK;
    f->lost += what == DELIVERY_LOST;
}

static inline void on_reports_done(void *arg)
{
    ((struct fixture *)arg)->batches++;
}

static inline void on_topic(void *arg, uint32_t topic, const struct err *why)
{
    struct fixture *f = arg;

    assert_int_equal(topic, f->topic);
    f->topics++;
    f->topic_why = why == NULL ? (struct err){ERR_NONE, ""} : *why;
}

static inline void on_fatal(void *arg, const struct err *why)
{
    struct fixture *f = arg;

    f->fatals++;
    f->fatal_why = *why;
    if (f->rebuild_on_fatal)
        sink_rebuild(f->sink, 5000);
}

static inline void on_rebuilt(void *arg, const struct err *why)
{
    struct fixture *f = arg;

    assert_null(why);
    f->rebuilt++;
}

static inline void on_discarded(void *arg)
{
    ((struct fixture *)arg)->discarded++;
}

static inline void on_up(void *arg, bool up, const struct err *why)
{
    struct fixture *f = arg;

    assert_true(up == (why == NULL));
    f->ups += up;
    f->downs += !up;
    if (why != NULL)
        f->down_why = *why;
}

static inline void on_log(void *arg, int level, const char *facility, const char *text)
{
    (void)arg;
    assert_in_range(level, 0, 7);
    assert_non_null(facility);
    assert_non_null(text);
}

static inline void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed++;
}

static inline void on_alarm(uv_timer_t *t)
{
    ((struct fixture *)t->data)->expired = true;
}

#define WAIT(f, condition)                                                                         \
    do {                                                                                           \
        (f)->expired = false;                                                                      \
        uv_timer_start(&(f)->alarm, on_alarm, DEADLINE_MS, 0);                                     \
        while (!(condition) && !(f)->expired)                                                      \
            uv_run(&(f)->loop, UV_RUN_ONCE);                                                       \
        uv_timer_stop(&(f)->alarm);                                                                \
        if (!(condition))                                                                          \
            fail_msg("not within %d ms: %s", DEADLINE_MS, #condition);                             \
    } while (0)

static const struct sink_callbacks callbacks = {
    on_report, on_reports_done, on_topic, on_fatal, on_rebuilt, on_discarded, on_up, on_log,
};

/* A mock cluster and an open sink on it. */
static inline void open_with(struct fixture *f, const char *name, const char *value)
{
    struct sink_property properties[2] = {{"bootstrap.servers", NULL}, {name, value}};
    struct sink_options options = {properties, name == NULL ? 1 : 2, 50000, 64 << 20};
    struct err err;
    char text[256];

    memset(f, 0, sizeof *f);
    f->host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    assert_non_null(f->host);
    f->cluster = rd_kafka_mock_cluster_new(f->host, 1);
    assert_non_null(f->cluster);
    rd_kafka_mock_topic_create(f->cluster, "orders", 4, 1);
    properties[0].value = rd_kafka_mock_cluster_bootstraps(f->cluster);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->alarm);
    f->alarm.data = f;
    assert_int_equal(sink_open(&f->sink, &f->loop, &options, &callbacks, f, &err), 0);
    assert_int_equal(sink_topic(f->sink, "orders", 6, &f->topic, &err), 0);
}

static inline void close_all(struct fixture *f)
{
    sink_close(f->sink, on_closed, f);
    assert_int_equal(f->closed, 0); /* never from inside the call */
    uv_close((uv_handle_t *)&f->alarm, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->closed, 1);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    rd_kafka_mock_cluster_destroy(f->cluster);
    rd_kafka_destroy(f->host);
}

static inline struct slice text_slice(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

/* Record i: key "k<i % 7>", value "v<i>" or a tombstone for each tenth, three headers. */
static inline int put(struct fixture *f, uint64_t tag, struct err *err)
{
    char key[16];
    char value[16];
    struct header headers[] = {
        {text_slice("id"), text_slice("0123")},
        {text_slice("none"), {NULL, 0}},
        {text_slice("empty"), text_slice("")},
    };
    struct sink_record record = {
        .tag = tag,
        .topic = f->topic,
        .partition = -1,
        .timestamp_ms = 1700000000000 + (int64_t)tag,
        .headers = headers,
        .nheaders = 3,
    };

    (void)snprintf(key, sizeof key, "k%d", (int)(tag % 7));
    (void)snprintf(value, sizeof value, "v%d", (int)tag);
    record.key = text_slice(key);
    if (tag % 10 != 0)
        record.value = text_slice(value);
    return sink_put(f->sink, &record, err);
}

static inline void put_many(struct fixture *f, int from, int n)
{
    struct err err;

    for (int i = from; i < from + n; i++) {
        if (put(f, (uint64_t)i, &err) != 0)
            fail_msg("record %d: %s", i, err.message);
    }
}

static inline void wait_topic(struct fixture *f)
{
    struct err err;
    int before = f->topics;

    assert_int_equal(sink_lookup(f->sink, f->topic, 5000, &err), 0);
    WAIT(f, f->topics == before + 1);
    assert_string_equal(f->topic_why.message, "");
}

#endif
