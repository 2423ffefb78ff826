/*
 * The blocking look at the cluster for `check`. It lists all topics rather than ask for each: to
 * ask for one by its name would create it where the broker does that by itself.
 */
#include "kafka/kafka_conf.h"
#include "kafka/kafka_error.h"

#include <stdio.h>
#include <string.h>

/* librdkafka's last complaint, as the reason why nobody answers. */
static void last_cause(rd_kafka_t *rk, rd_kafka_resp_err_t *code, char *text, size_t size)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(rk);
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(queue, 0)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
            rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
            *code = rd_kafka_event_error(event);
            (void)snprintf(text, size, "%s", rd_kafka_event_error_string(event));
        }
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
}

static void judge(const struct rd_kafka_metadata *md, const char *topic, struct err *ret)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    char where[320];

    *ret = (struct err){ERR_NONE, ""};
    for (int i = 0; i < md->topic_cnt; i++) {
        if (strcmp(md->topics[i].topic, topic) == 0)
            code = md->topics[i].err;
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    (void)snprintf(where, sizeof where, "kafka topic \"%s\"", topic);
    (void)kafka_error_set(ret, code, where,
                          code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                              ? "not there, or not visible to the relay's principal"
                              : NULL);
}

int sink_probe(const struct sink_options *options, const char *const *topics, size_t n,
               int timeout_ms, struct err *ret_each, int *ret_brokers, struct err *err)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code;
    char cause[512] = "";
    rd_kafka_t *rk;
    int r = kafka_conf_producer(options, false, &rk, err);

    if (r != 0)
        return r;
    code = rd_kafka_metadata(rk, n > 0, NULL, &md, timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        last_cause(rk, &code, cause, sizeof cause);
        (void)kafka_error_set(err, code, "kafka: no broker answers", cause[0] ? cause : NULL);
        err->class = ERR_UNAVAILABLE;
        r = -(int)ERR_UNAVAILABLE;
        goto out;
    }
    *ret_brokers = md->broker_cnt;
    for (size_t i = 0; i < n; i++)
        judge(md, topics[i], &ret_each[i]);
    rd_kafka_metadata_destroy(md);
out:
    rd_kafka_destroy(rk);
    return r;
}
