/* The sink against librdkafka's mock cluster: real TCP, faults on demand. What only a real broker
 * does (refused batches, topics made by themselves) is for the end-to-end tests. */
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

static void on_report(void *arg, uint64_t tag, enum delivery what, const struct err *why)
{
    struct fixture *f = arg;

    assert_true(tag < TAGS);
    assert_true((what == DELIVERY_OK) == (why == NULL));
    assert_int_equal(f->closed, 0);
    f->seen[tag]++;
    f->what[tag] = what;
    f->reports++;
    f->ok += what == DELIVERY_OK;
    f->lost += what == DELIVERY_LOST;
}

static void on_reports_done(void *arg)
{
    ((struct fixture *)arg)->batches++;
}

static void on_topic(void *arg, uint32_t topic, const struct err *why)
{
    struct fixture *f = arg;

    assert_int_equal(topic, f->topic);
    f->topics++;
    f->topic_why = why == NULL ? (struct err){ERR_NONE, ""} : *why;
}

static void on_fatal(void *arg, const struct err *why)
{
    struct fixture *f = arg;

    f->fatals++;
    f->fatal_why = *why;
    if (f->rebuild_on_fatal)
        sink_rebuild(f->sink, 5000);
}

static void on_rebuilt(void *arg, const struct err *why)
{
    struct fixture *f = arg;

    assert_null(why);
    f->rebuilt++;
}

static void on_discarded(void *arg)
{
    ((struct fixture *)arg)->discarded++;
}

static void on_up(void *arg, bool up, const struct err *why)
{
    struct fixture *f = arg;

    assert_true(up == (why == NULL));
    f->ups += up;
    f->downs += !up;
    if (why != NULL)
        f->down_why = *why;
}

static void on_log(void *arg, int level, const char *facility, const char *text)
{
    (void)arg;
    assert_in_range(level, 0, 7);
    assert_non_null(facility);
    assert_non_null(text);
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed++;
}

static void on_alarm(uv_timer_t *t)
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
static void open_with(struct fixture *f, const char *name, const char *value)
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

static void close_all(struct fixture *f)
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

static struct slice text_slice(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

/* Record i: key "k<i % 7>", value "v<i>" or a tombstone for each tenth, three headers. */
static int put(struct fixture *f, uint64_t tag, struct err *err)
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

static void put_many(struct fixture *f, int from, int n)
{
    struct err err;

    for (int i = from; i < from + n; i++) {
        if (put(f, (uint64_t)i, &err) != 0)
            fail_msg("record %d: %s", i, err.message);
    }
}

static void wait_topic(struct fixture *f)
{
    struct err err;
    int before = f->topics;

    assert_int_equal(sink_lookup(f->sink, f->topic, 5000, &err), 0);
    WAIT(f, f->topics == before + 1);
    assert_string_equal(f->topic_why.message, "");
}

static void assert_header(const rd_kafka_headers_t *list, size_t i, const char *name,
                          const char *value, size_t size)
{
    const char *got_name;
    const void *got;
    size_t got_size;

    assert_int_equal(rd_kafka_header_get_all(list, i, &got_name, &got, &got_size), 0);
    assert_string_equal(got_name, name);
    assert_int_equal(got_size, size);
    assert_true((got == NULL) == (value == NULL));
    if (size > 0)
        assert_memory_equal(got, value, size);
}

static void assert_record(const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *list;
    rd_kafka_timestamp_type_t type;
    int64_t at = rd_kafka_message_timestamp(m, &type);
    char text[16];
    int i = (int)(at - 1700000000000);

    assert_int_equal(type, RD_KAFKA_TIMESTAMP_CREATE_TIME);
    (void)snprintf(text, sizeof text, "k%d", i % 7);
    assert_int_equal(m->key_len, 2);
    assert_memory_equal(m->key, text, 2);
    (void)snprintf(text, sizeof text, "v%d", i);
    if (i % 10 == 0)
        assert_null(m->payload);
    else
        assert_int_equal(m->len, strlen(text));
    if (i % 10 != 0)
        assert_memory_equal(m->payload, text, m->len);
    assert_int_equal(rd_kafka_message_headers(m, &list), 0);
    assert_int_equal(rd_kafka_header_cnt(list), 3);
    assert_header(list, 0, "id", "0123", 4);
    assert_header(list, 1, "none", NULL, 0);
    assert_header(list, 2, "empty", "", 0);
}

/* Reads n records of the topic and checks each, and that a key's records are in one partition, in
 * order. */
static void consume(struct fixture *f, int n)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(4);
    int64_t last[7] = {0};
    int where[7] = {-1, -1, -1, -1, -1, -1, -1};
    char text[256];
    rd_kafka_t *rk;

    rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f->cluster), text,
                      sizeof text);
    rd_kafka_conf_set(conf, "group.id", "test", text, sizeof text);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    assert_non_null(rk);
    for (int i = 0; i < 4; i++)
        rd_kafka_topic_partition_list_add(parts, "orders", i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    assert_int_equal(rd_kafka_assign(rk, parts), 0);
    for (int got = 0; got < n;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, DEADLINE_MS);

        if (m == NULL)
            fail_msg("%d records of %d", got, n);
        if (m->err == 0) {
            rd_kafka_timestamp_type_t type;
            int64_t at = rd_kafka_message_timestamp(m, &type);
            int key = ((const char *)m->key)[1] - '0';

            assert_record(m);
            assert_true(at > last[key]);
            assert_true(where[key] == -1 || where[key] == m->partition);
            last[key] = at;
            where[key] = m->partition;
            got++;
        }
        rd_kafka_message_destroy(m);
    }
    rd_kafka_topic_partition_list_destroy(parts);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

static void test_deliver(void **state)
{
    struct fixture f;

    (void)state;
    open_with(&f, NULL, NULL);
    assert_false(sink_up(f.sink));
    WAIT(&f, sink_up(f.sink)); /* known with nothing to send */
    wait_topic(&f);
    put_many(&f, 0, 1000);
    assert_int_equal(sink_inflight(f.sink), 1000);
    WAIT(&f, f.reports == 1000);
    assert_int_equal(f.ok, 1000);
    assert_int_equal(sink_inflight(f.sink), 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(f.seen[i], 1);
    assert_in_range(f.batches, 1, 1000);
    assert_int_equal(f.ups, 1);
    consume(&f, 1000);
    close_all(&f);
}

static void test_names(void **state)
{
    struct fixture f;
    struct err err;
    char name[251];
    uint32_t topic;
    static const char *const wrong[] = {"", ".", "..", "a b", "a/b", "\xc3\xa4", "a\n"};

    (void)state;
    open_with(&f, NULL, NULL);
    memset(name, 'x', sizeof name);
    assert_int_equal(sink_topic(f.sink, name, 249, &topic, &err), 0);
    assert_int_equal(sink_topic(f.sink, name, 250, &topic, &err), -(int)ERR_ROW);
    assert_non_null(strstr(err.message, "250 characters"));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(sink_topic(f.sink, wrong[i], strlen(wrong[i]), &topic, &err),
                         -(int)ERR_ROW);
    assert_int_equal(sink_topic(f.sink, "a\0b", 3, &topic, &err), -(int)ERR_ROW);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 100; i++) {
            int n = snprintf(name, sizeof name, "t.%u_-Z", i);

            assert_int_equal(sink_topic(f.sink, name, (size_t)n, &topic, &err), 0);
            assert_int_equal(topic, i + 2);
            assert_string_equal(sink_topic_name(f.sink, topic), name);
        }
    }
    assert_null(sink_topic_name(f.sink, 102));
    close_all(&f);
}

static void test_unknown_topic(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    open_with(&f, NULL, NULL);
    rd_kafka_mock_topic_set_error(f.cluster, "away", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    assert_int_equal(sink_topic(f.sink, "away", 4, &f.topic, &err), 0);
    assert_int_equal(sink_lookup(f.sink, f.topic, 3000, &err), 0);
    assert_int_equal(sink_lookup(f.sink, f.topic, 3000, &err), 0); /* one answer for both */
    WAIT(&f, f.topics == 1);
    assert_int_equal(f.topic_why.class, ERR_TOPIC);
    assert_non_null(strstr(f.topic_why.message, "kafka topic \"away\""));
    rd_kafka_mock_topic_set_error(f.cluster, "away", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(sink_lookup(f.sink, f.topic, 3000, &err), 0);
    WAIT(&f, f.topics == 2);
    assert_int_equal(f.topic_why.class, ERR_TOPIC);
    assert_non_null(strstr(f.topic_why.message, "grant"));
    /* The handle stands since the first lookup: once the topic is there, it works. */
    rd_kafka_mock_topic_set_error(f.cluster, "away", RD_KAFKA_RESP_ERR_NO_ERROR);
    wait_topic(&f);
    put_many(&f, 1, 10);
    WAIT(&f, f.ok == 10);
    close_all(&f);
}

static void test_refused_records(void **state)
{
    struct fixture f;
    struct err err;
    unsigned char *big = calloc(1, 2000);
    struct header header = {text_slice("h"), text_slice("v")};
    struct sink_record record = {.tag = 1, .partition = -1, .headers = &header, .nheaders = 1};

    (void)state;
    open_with(&f, "message.max.bytes", "1000");
    wait_topic(&f);
    record.topic = f.topic;
    record.value = (struct slice){big, 2000};
    assert_int_equal(sink_put(f.sink, &record, &err), -(int)ERR_ROW);
    assert_non_null(strstr(err.message, "max.message.bytes"));
    record.value.len = 10;
    record.partition = 4;
    assert_int_equal(sink_put(f.sink, &record, &err), -(int)ERR_ROW);
    assert_non_null(strstr(err.message, "no partition 4"));
    record.topic = 17;
    assert_int_equal(sink_put(f.sink, &record, &err), -(int)ERR_INTERNAL);
    assert_int_equal(sink_inflight(f.sink), 0);
    free(big);
    close_all(&f);
}

/* Fatal with records that wait: on_fatal once, a report for each record, and it works again. */
static void test_fatal(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    open_with(&f, "linger.ms", "60000");
    wait_topic(&f);
    put_many(&f, 1, 100);
    assert_int_equal(rd_kafka_test_fatal_error(f.sink->producer->rk,
                                               RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                                               "made by the test"),
                     0);
    WAIT(&f, f.fatals == 1);
    assert_non_null(strstr(f.fatal_why.message, "made by the test"));
    assert_int_equal(put(&f, 200, &err), -(int)ERR_UNAVAILABLE);
    WAIT(&f, f.reports == 100);
    assert_int_equal(f.lost, 100);
    sink_rebuild(f.sink, 5000);
    sink_rebuild(f.sink, 5000);
    assert_int_equal(put(&f, 200, &err), -(int)ERR_UNAVAILABLE);
    WAIT(&f, f.rebuilt == 1);
    assert_int_equal(f.fatals, 1);
    put_many(&f, 301, 10);
    sink_rebuild(f.sink, 5000); /* of a sound producer: what waits is lost, and told */
    WAIT(&f, f.rebuilt == 2);
    assert_int_equal(f.reports, 110);
    for (int i = 1; i <= 100; i++)
        assert_int_equal(f.seen[i], 1);
    assert_int_equal(f.seen[200], 0);
    close_all(&f);
}

/* The broker refuses a batch: its records are the row's fault as far as anyone knows, none of the
 * partition overtakes them, and the producer is dead. */
static void test_refused_batch(void **state)
{
    enum { PRODUCE = 0 };
    struct fixture f;

    (void)state;
    open_with(&f, "linger.ms", "20");
    f.rebuild_on_fatal = true;
    wait_topic(&f);
    rd_kafka_mock_push_request_errors(f.cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    for (int i = 0; i < 9; i++)
        put_many(&f, 7 * i, 1); /* one key: one batch */
    WAIT(&f, f.rebuilt == 1);
    assert_int_equal(f.fatals, 1);
    assert_non_null(strstr(f.fatal_why.message, "Message size too large"));
    assert_int_equal(f.reports, 9);
    for (int i = 0; i < 9; i++)
        assert_int_equal(f.what[7 * i], DELIVERY_ROW);
    put_many(&f, 100, 10);
    WAIT(&f, f.reports == 19);
    assert_int_equal(f.ok, 10);
    close_all(&f);
}

/* Rebuilt from inside on_fatal, with requests in flight that the broker has not answered: their
 * reports come before on_rebuilt, successes as successes. */
static void test_late_reports(void **state)
{
    struct fixture f;

    (void)state;
    open_with(&f, NULL, NULL);
    f.rebuild_on_fatal = true;
    wait_topic(&f);
    put_many(&f, 1, 10);
    WAIT(&f, f.ok == 10);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 500);
    put_many(&f, 11, 10);
    /* Sent, not answered: only librdkafka knows when, so wait for its queue to be empty. */
    WAIT(&f, rd_kafka_outq_len(f.sink->producer->rk) == 10);
    rd_kafka_flush(f.sink->producer->rk, 100);
    rd_kafka_test_fatal_error(f.sink->producer->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                              "made by the test");
    WAIT(&f, f.rebuilt == 1);
    assert_int_equal(f.reports, 20);
    for (int i = 1; i <= 20; i++)
        assert_int_equal(f.seen[i], 1);
    assert_int_equal(f.ok, 20);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 0);
    put_many(&f, 21, 10);
    WAIT(&f, f.reports == 30);
    close_all(&f);
}

/* The broker never answers: the rebuild gives up waiting, and still tells what became of each. */
static void test_rebuild_of_a_stuck_producer(void **state)
{
    struct fixture f;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    put_many(&f, 1, 1);
    WAIT(&f, f.ok == 1);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 60000);
    put_many(&f, 2, 10);
    sink_rebuild(f.sink, 300);
    WAIT(&f, f.rebuilt == 1);
    assert_int_equal(f.reports, 11);
    assert_int_equal(f.lost, 10);
    close_all(&f);
}

/* Discarded with records waiting and in flight: silence, then a producer again. */
static void test_discard(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 60000);
    put_many(&f, 1, 100);
    sink_discard(f.sink);
    assert_int_equal(sink_inflight(f.sink), 0);
    assert_int_equal(put(&f, 200, &err), -(int)ERR_UNAVAILABLE);
    WAIT(&f, f.discarded == 1);
    assert_int_equal(f.reports, 0);
    sink_discard(f.sink); /* of nothing: said all the same */
    WAIT(&f, f.discarded == 2);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 0);
    sink_rebuild(f.sink, 1000);
    WAIT(&f, f.rebuilt == 1);
    put_many(&f, 300, 10);
    sink_discard(f.sink);
    sink_rebuild(f.sink, 1000); /* follows the discard */
    WAIT(&f, f.rebuilt == 2);
    assert_int_equal(f.discarded, 3);
    assert_int_equal(f.reports, 0);
    put_many(&f, 400, 10);
    WAIT(&f, f.ok == 10);
    sink_rebuild(f.sink, 1000);
    sink_discard(f.sink); /* ends the rebuild */
    WAIT(&f, f.discarded == 4);
    assert_int_equal(f.rebuilt, 2);
    close_all(&f);
}

static void test_down_and_up(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    WAIT(&f, f.ups == 1);
    rd_kafka_mock_broker_set_down(f.cluster, 1);
    WAIT(&f, f.downs == 1);
    assert_false(sink_up(f.sink));
    assert_int_equal(f.down_why.class, ERR_CLUSTER);
    assert_non_null(strstr(f.down_why.message, "kafka.bootstrap.servers"));
    put_many(&f, 1, 100); /* waits */
    assert_int_equal(sink_lookup(f.sink, f.topic, 500, &err), 0);
    WAIT(&f, f.topics == 2);
    assert_int_equal(f.topic_why.class, ERR_CLUSTER);
    assert_int_equal(f.reports, 0);
    rd_kafka_mock_broker_set_up(f.cluster, 1);
    WAIT(&f, f.ups == 2);
    WAIT(&f, f.ok == 100);
    assert_int_equal(f.downs, 1);
    close_all(&f);
}

/* A broker that holds its connections and is silent. */
static void test_silent(void **state)
{
    struct fixture f;

    (void)state;
    open_with(&f, NULL, NULL);
    wait_topic(&f);
    put_many(&f, 1, 1);
    WAIT(&f, f.ok == 1);
    rd_kafka_mock_broker_set_rtt(f.cluster, 1, 60000);
    put_many(&f, 2, 1);
    WAIT(&f, f.downs == 1);
    assert_non_null(strstr(f.down_why.message, "no answer"));
    close_all(&f);
}

/* Closed at once, with a question under way, records in flight, a rebuild or a discard on its way.
 */
static void test_close_at_any_time(void **state)
{
    struct fixture f;
    struct err err;

    (void)state;
    for (int i = 0; i < 5; i++) {
        open_with(&f, NULL, NULL);
        if (i > 0)
            wait_topic(&f);
        if (i > 1)
            put_many(&f, 1, 100);
        if (i == 3)
            sink_rebuild(f.sink, 60000);
        if (i == 4)
            sink_discard(f.sink);
        assert_int_equal(sink_lookup(f.sink, f.topic, 5000, &err), 0);
        close_all(&f);
        assert_int_equal(f.rebuilt + f.discarded, 0);
    }
    f.closed = 0;
    sink_close(NULL, on_closed, &f);
    assert_int_equal(f.closed, 1);
}

static void test_probe(void **state)
{
    struct fixture f;
    struct sink_property property = {"bootstrap.servers", NULL};
    struct sink_options options = {&property, 1, 1, 1};
    static const char *const topics[] = {"orders", "nonesuch"};
    struct err each[2];
    struct err err;
    int brokers = 0;

    (void)state;
    open_with(&f, NULL, NULL);
    property.value = rd_kafka_mock_cluster_bootstraps(f.cluster);
    assert_int_equal(sink_probe(&options, topics, 2, 5000, each, &brokers, &err), 0);
    assert_int_equal(brokers, 1);
    assert_int_equal(each[0].class, ERR_NONE);
    assert_int_equal(each[1].class, ERR_TOPIC);
    assert_non_null(strstr(each[1].message, "\"nonesuch\""));
    assert_int_equal(sink_probe(&options, NULL, 0, 5000, NULL, &brokers, &err), 0);
    rd_kafka_mock_broker_set_down(f.cluster, 1);
    assert_int_equal(sink_probe(&options, NULL, 0, 500, NULL, &brokers, &err),
                     -(int)ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "kafka.bootstrap.servers"));
    close_all(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deliver),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_unknown_topic), cmocka_unit_test(test_refused_records),
        cmocka_unit_test(test_fatal),         cmocka_unit_test(test_refused_batch),
        cmocka_unit_test(test_late_reports),  cmocka_unit_test(test_rebuild_of_a_stuck_producer),
        cmocka_unit_test(test_discard),       cmocka_unit_test(test_down_and_up),
        cmocka_unit_test(test_silent),        cmocka_unit_test(test_close_at_any_time),
        cmocka_unit_test(test_probe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
