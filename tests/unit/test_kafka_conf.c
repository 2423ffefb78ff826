/* The sink's settings: what is refused and why, what passes, how it is named. No server is touched.
 */
#include "kafka/kafka_conf.h"
#include "kafka/sink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int check(const char *name, const char *value, struct err *err)
{
    struct sink_property properties[] = {
        {"bootstrap.servers", "127.0.0.1:9092"},
        {name, value},
    };
    struct sink_options options = {
        .properties = properties,
        .nproperties = name == NULL ? 1 : 2,
        .window_events = 50000,
        .window_bytes = 64 << 20,
    };

    *err = (struct err){ERR_NONE, ""};
    return sink_check_options(&options, err);
}

static void test_refused(void **state)
{
    /* Each with the word that its reason must have. */
    static const char *const cases[][3] = {
        {"enable.idempotence", "false", "duplicate"},
        {"acks", "1", "acks=all"},
        {"acks", "0", "acks=all"},
        {"request.required.acks", "1", "acks=all"},
        {"message.timeout.ms", "30000", "overtaken"},
        {"delivery.timeout.ms", "300000", "overtaken"},
        {"enable.gapless.guarantee", "false", "overtake"},
        {"message.send.max.retries", "3", "retries"},
        {"retries", "0", "retries"},
        {"max.in.flight.requests.per.connection", "2", "overtakes"},
        {"max.in.flight", "1000", "overtakes"},
        {"queuing.strategy", "lifo", "newer records first"},
        {"delivery.report.only.error", "true", "report"},
        {"partitioner", "random", "order"},
        {"transactional.id", "x", "transactions"},
        {"plugin.library.paths", "x.so", "plugin"},
        {"test.mock.num.brokers", "1", "mock"},
        {"queue.buffering.max.messages", "49999", "window.events"},
        {"queue.buffering.max.kbytes", "65535", "window.bytes"},
        {"enabled_events", "0", "internal"},
        {"ut_handle_ProduceResponse", "x", "internal"},
        {"dr_msg_cb", "x", "must be set through"},
        {"opaque", "x", "must be set through"},
        {"default_topic_conf", "x", "must be set through"},
        {"no.such.property", "x", "No such configuration property"},
        {"linger.ms", "soon", "linger.ms"},
        {"compression.type", "brotli", "brotli"},
    };
    struct err err;
    char prefix[128];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(check(cases[i][0], cases[i][1], &err), -(int)ERR_CONFIG);
        (void)snprintf(prefix, sizeof prefix, "kafka.%s: ", cases[i][0]);
        if (strncmp(err.message, prefix, strlen(prefix)) != 0 ||
            strstr(err.message, cases[i][2]) == NULL)
            fail_msg("%s=%s: %s", cases[i][0], cases[i][1], err.message);
    }
}

static void test_passes(void **state)
{
    static const char *const cases[][2] = {
        {NULL, NULL},
        {"enable.idempotence", "true"},
        {"acks", "-1"},
        {"acks", "all"},
        {"message.timeout.ms", "0"},
        {"retries", "2147483647"},
        {"max.in.flight", "1"},
        {"queuing.strategy", "fifo"},
        {"partitioner", "consistent_random"},
        {"queue.buffering.max.messages", "0"},
        {"queue.buffering.max.messages", "50000"},
        {"queue.buffering.max.kbytes", "65536"},
        {"linger.ms", "0.5"},
        {"compression.type", "lz4"},
        {"metadata.broker.list", "a:1,b:2"},
        {"bootstrap.servers", "SSL://kafka.example:9093, [::1]:9092,plain"},
        {"message.max.bytes", "2000000"},
        {"client.id", "mine"},
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (check(cases[i][0], cases[i][1], &err) != 0)
            fail_msg("%s=%s: %s", cases[i][0], cases[i][1], err.message);
    }
}

static void test_bootstrap(void **state)
{
    static const char *const wrong[] = {
        "a:0", "a:65536", "a:x", "a:", ":9092", "a:1,,b:2", "a:1 2"};
    struct sink_options none = {.window_events = 1};
    struct err err;

    (void)state;
    assert_int_equal(sink_check_options(&none, &err), -(int)ERR_CONFIG);
    assert_non_null(strstr(err.message, "kafka.bootstrap.servers: not set"));
    assert_non_null(strstr(err.message, "OUTBOX_KAFKA_BOOTSTRAP_SERVERS"));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (check("bootstrap.servers", wrong[i], &err) != -(int)ERR_CONFIG)
            fail_msg("accepted: %s", wrong[i]);
        assert_non_null(strstr(err.message, "kafka.bootstrap.servers: \""));
    }
}

/* What librdkafka itself finds only when a client is made: still before anything is touched. */
static void test_whole(void **state)
{
    struct sink_property properties[] = {
        {"bootstrap.servers", "127.0.0.1:9092"},
        {"security.protocol", "SSL"},
        {"ssl.ca.location", "/nonexistent/ca.pem"},
    };
    struct sink_options options = {.properties = properties, .nproperties = 3, .window_events = 1};
    struct err err;

    (void)state;
    assert_int_equal(sink_check_options(&options, &err), -(int)ERR_CONFIG);
    assert_non_null(strstr(err.message, "ssl.ca.location"));
}

static void assert_conf(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];
    size_t size = sizeof text;

    assert_int_equal(rd_kafka_conf_get(conf, name, text, &size), RD_KAFKA_CONF_OK);
    assert_string_equal(text, value);
}

static void test_defaults(void **state)
{
    struct sink_property properties[] = {{"bootstrap.servers", "a:1"}};
    struct sink_options options = {properties, 1, 50000, 64 << 20};
    rd_kafka_conf_t *conf;
    struct err err;

    (void)state;
    assert_int_equal(kafka_conf_new(&options, &conf, &err), 0);
    assert_conf(conf, "client.id", "outbox-relay");
    assert_conf(conf, "enable.idempotence", "true");
    assert_conf(conf, "request.required.acks", "-1");
    assert_conf(conf, "message.timeout.ms", "0");
    assert_conf(conf, "enable.gapless.guarantee", "true");
    assert_conf(conf, "max.in.flight.requests.per.connection", "1");
    assert_conf(conf, "message.send.max.retries", "2147483647");
    assert_conf(conf, "queuing.strategy", "fifo");
    assert_conf(conf, "partitioner", "murmur2_random");
    assert_conf(conf, "queue.buffering.max.messages", "101000");
    assert_conf(conf, "queue.buffering.max.kbytes", "196608");
    assert_conf(conf, "log.queue", "true");
    rd_kafka_conf_destroy(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_passes),
        cmocka_unit_test(test_bootstrap), cmocka_unit_test(test_whole),
        cmocka_unit_test(test_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
