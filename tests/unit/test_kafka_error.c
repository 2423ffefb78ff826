/* The table of error classes against facts that were measured, and a sweep over all codes. */
#include "kafka/kafka_error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_classes(void **state)
{
    static const struct {
        rd_kafka_resp_err_t code;
        enum delivery what;
        enum err_class class;
    } cases[] = {
        {RD_KAFKA_RESP_ERR_NO_ERROR, DELIVERY_OK, ERR_NONE},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, DELIVERY_ROW, ERR_ROW},
        {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, DELIVERY_ROW, ERR_ROW},
        {RD_KAFKA_RESP_ERR_INVALID_RECORD, DELIVERY_ROW, ERR_ROW},
        {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, DELIVERY_ROW, ERR_ROW},
        {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, DELIVERY_TOPIC, ERR_TOPIC},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, DELIVERY_TOPIC, ERR_TOPIC},
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, DELIVERY_TOPIC, ERR_TOPIC},
        {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, DELIVERY_TOPIC, ERR_TOPIC},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, DELIVERY_CLUSTER, ERR_CLUSTER},
        {RD_KAFKA_RESP_ERR__TRANSPORT, DELIVERY_CLUSTER, ERR_CLUSTER},
        {RD_KAFKA_RESP_ERR__SSL, DELIVERY_CLUSTER, ERR_CLUSTER},
        {RD_KAFKA_RESP_ERR__PURGE_QUEUE, DELIVERY_LOST, ERR_UNAVAILABLE},
        {RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, DELIVERY_LOST, ERR_UNAVAILABLE},
        {RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE, DELIVERY_LOST, ERR_UNAVAILABLE},
        {RD_KAFKA_RESP_ERR__FATAL, DELIVERY_LOST, ERR_UNAVAILABLE},
        {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, DELIVERY_LOST, ERR_UNAVAILABLE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(kafka_error_delivery(cases[i].code), cases[i].what);
        assert_int_equal(kafka_error_class(cases[i].code), cases[i].class);
    }
}

/* No code but "no error" is ever taken for a delivery. */
static void test_only_success_is_ok(void **state)
{
    (void)state;
    for (int code = -300; code < 300; code++) {
        if (code != 0)
            assert_int_not_equal(kafka_error_delivery((rd_kafka_resp_err_t)code), DELIVERY_OK);
    }
    assert_int_equal(kafka_error_delivery((rd_kafka_resp_err_t)299), DELIVERY_CLUSTER);
}

static void test_message(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(kafka_error_set(&err, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "here", NULL),
                     -(int)ERR_ROW);
    assert_non_null(strstr(err.message, "here: Broker: Message size too large; raise"));
    (void)kafka_error_set(&err, RD_KAFKA_RESP_ERR__FATAL, "here", "detail");
    assert_string_equal(err.message, "here: detail");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_only_success_is_ok),
        cmocka_unit_test(test_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
