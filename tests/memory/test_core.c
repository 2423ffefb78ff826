/* What the core allocates, each allocation failing once: an error that says so, nothing leaked. */
#include "core/format.h"
#include "core/message.h"
#include "core/pipeline.h"
#include "fail_alloc.h"
#include "ops/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct slice slice_of(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

static int message(struct err *err)
{
    static const char content[] =
        "{\"aggregatetype\": \"order\", \"aggregateid\": \"4\\u0037\", \"type\": \"Paid\\n\","
        " \"payload\": {\"a\": [1.50, \"}\"]}, \"headers\": {\"h\": \"\\u00e9\", \"i\": 1},"
        " \"topic\": \"t-\\u0031\"}";
    static const struct message_origin origin = {0x16B3748, 7412345678901234567U, 1700000000123456};
    struct message m = {0};
    struct format *f = NULL;
    struct record record = {0};
    struct event event;
    struct format_options options = {.route = "events.${aggregatetype}.${type}",
                                     .type_header = "eventType"};
    int rc = format_new(&f, &options, err);

    if (rc == 0)
        rc = message_event(&m, slice_of(content), &origin, &event, err);
    if (rc == 0)
        rc = format_event(f, &event, &record, err);
    format_free(f);
    message_free(&m);
    return rc;
}

static int settings(struct err *err)
{
    char uri[] = "--postgres-uri=host=a";
    char linger[] = "--kafka-linger-ms=7";
    char table[] = "--source-table=a.b";
    char brokers[] = "OUTBOX_KAFKA_BOOTSTRAP_SERVERS=a:1";
    char topic[] = "OUTBOX_ROUTE_TOPIC=x";
    char *argv[] = {uri, linger, table, NULL};
    char *environment[] = {brokers, topic, NULL};
    struct config *config = NULL;
    int rc = config_load(&config, 3, argv, environment, err);

    config_free(config);
    return rc;
}

/* Rows of several topics, late ones between running transactions, acknowledged and held. */
static int pipeline(struct err *err)
{
    static const struct pipeline_options options = {.window_events = 100,
                                                    .window_bytes = 1 << 20,
                                                    .page_events = 50,
                                                    .page_bytes = 1 << 20,
                                                    .ack_events = 10,
                                                    .poll_interval_ms = 1000,
                                                    .sweep_interval_ms = 10000,
                                                    .stream_sweep_interval_ms = 60000,
                                                    .seed = 1};
    struct slice snapshot = slice_of("10:20:11,13,17");
    struct pipeline *p = NULL;
    struct action action;
    uint64_t tag;
    int rc = pipeline_new(&p, &options, err);

    if (rc != 0)
        return rc;
    pipeline_source_up(p, 1);
    pipeline_ack_up(p, 1);
    pipeline_kafka(p, 1, true);
    pipeline_own(p, 1, false);
    pipeline_next(p, 1, &action);
    rc = pipeline_read_header(p, &snapshot, true, 50, err);
    for (uint32_t i = 1; rc == 0 && i <= 50; i++) {
        struct pipeline_row row = {.item = {.seq = i, .topic = i % 20, .bytes = 10}, .xid = 5};

        err->class = ERR_NONE;
        if (pipeline_row(p, 1, &row, &tag, err) == VERDICT_CUT && err->class == ERR_NOMEM)
            rc = -(int)ERR_NOMEM;
    }
    pipeline_free(p);
    return rc;
}

static void each_fails_once(int (*run)(struct err *err))
{
    struct err err;
    int rc = -1;
    long n;

    for (n = 1; rc != 0; n++) {
        fail_alloc_at(n);
        rc = run(&err);
        fail_alloc_at(0);
        if (rc != 0) {
            assert_int_equal(rc, -(int)ERR_NOMEM);
            assert_non_null(strstr(err.message, "memory"));
        }
        assert_true(n < 1000);
    }
    assert_true(n > 2); /* it allocates at all */
}

static void test_message(void **state)
{
    (void)state;
    each_fails_once(message);
}

static void test_settings(void **state)
{
    (void)state;
    each_fails_once(settings);
}

static void test_pipeline(void **state)
{
    (void)state;
    each_fails_once(pipeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_pipeline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
