/*
 * A record that asks for two acknowledgements: there are none, one and all of them (the protocol's
 * Produce request), so a broker answers INVALID_REQUIRED_ACKS before it looks at the record, and
 * before that, to whom it does not let write, TOPIC_AUTHORIZATION_FAILED (Kafka's
 * KafkaApis.handleProduceRequest, then ReplicaManager.appendRecords).
 */
#include "kafka/write_probe.h"

#include "base/clock.h"
#include "kafka/kafka_conf.h"

#include <stdint.h>

static int producer_new(const struct sink_options *options, rd_kafka_t **ret, struct err *err)
{
    static const struct sink_property own[] = {
        {"enable.gapless.guarantee", "false"}, {"enable.idempotence", "false"},
        {"request.required.acks", "2"},        {"message.send.max.retries", "0"},
        {"message.timeout.ms", "5000"},
    };
    char text[512];
    rd_kafka_conf_t *conf;
    int r = kafka_conf_new(options, &conf, err);

    if (r != 0)
        return r;
    for (size_t i = 0; r == 0 && i < sizeof own / sizeof *own; i++)
        if (rd_kafka_conf_set(conf, own[i].name, own[i].value, text, sizeof text) !=
            RD_KAFKA_CONF_OK)
            r = err_set(err, ERR_CONFIG, "kafka.%s: %s", own[i].name, text);
    *ret = r == 0 ? rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text) : NULL;
    if (*ret == NULL) {
        rd_kafka_conf_destroy(conf);
        return r != 0 ? r : err_set(err, ERR_CONFIG, "kafka: librdkafka refuses: %s", text);
    }
    (void)rd_kafka_set_log_queue(*ret, NULL);
    rd_kafka_error_destroy(rd_kafka_sasl_background_callbacks_enable(*ret));
    return 0;
}

/* Takes reports; true when the last one that is to come is there. */
static bool take(rd_kafka_event_t *event, size_t *left)
{
    const rd_kafka_message_t *m;

    while (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR &&
           (m = rd_kafka_event_message_next(event)) != NULL) {
        rd_kafka_resp_err_t *ret = m->_private;

        *ret =
            m->err == RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS ? RD_KAFKA_RESP_ERR_NO_ERROR : m->err;
        (*left)--;
    }
    return *left == 0;
}

/* True where a report follows, which is written to *ret. */
static bool put(rd_kafka_t *rk, const char *topic, rd_kafka_resp_err_t *ret)
{
    const rd_kafka_vu_t fields[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = ret},
    };
    rd_kafka_error_t *error = rd_kafka_produceva(rk, fields, sizeof fields / sizeof *fields);
    bool taken = error == NULL;

    *ret = RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_error_destroy(error);
    return taken;
}

int write_probe(const struct sink_options *options, const char *const *topics, size_t n,
                int timeout_ms, rd_kafka_resp_err_t *ret, struct err *err)
{
    int64_t deadline = clock_boot_ms() + timeout_ms;
    rd_kafka_queue_t *queue;
    size_t left = 0;
    rd_kafka_t *rk;
    int r = producer_new(options, &rk, err);

    if (r != 0)
        return r;
    queue = rd_kafka_queue_get_main(rk);
    for (size_t i = 0; i < n; i++)
        left += put(rk, topics[i], &ret[i]);
    while (left > 0 && clock_boot_ms() < deadline) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 100);
        bool last = event != NULL && take(event, &left);

        if (event != NULL)
            rd_kafka_event_destroy(event);
        if (last)
            break;
    }
    rd_kafka_queue_destroy(queue);
    (void)rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_destroy(rk);
    return 0;
}
