/* Records and topics through the sink, read back; the look at a cluster. What only a real broker
 * does (topics made by themselves) is for the end-to-end tests. */
#include "kafka_case.h"

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
        cmocka_unit_test(test_probe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
