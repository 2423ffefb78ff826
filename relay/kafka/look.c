#include "kafka/look.h"

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

int kafka_look(const struct sink_options *options, bool topics, int timeout_ms, rd_kafka_t **ret_rk,
               const struct rd_kafka_metadata **ret, struct err *err)
{
    rd_kafka_resp_err_t code;
    char cause[512] = "";
    rd_kafka_t *rk;
    int r = kafka_conf_producer(options, false, &rk, err);

    if (r != 0)
        return r;
    code = rd_kafka_metadata(rk, topics, NULL, ret, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        *ret_rk = rk;
        return 0;
    }
    last_cause(rk, &code, cause, sizeof cause);
    (void)kafka_error_set(err, code, "kafka: no broker answers", cause[0] ? cause : NULL);
    err->class = ERR_UNAVAILABLE;
    rd_kafka_destroy(rk);
    return -(int)ERR_UNAVAILABLE;
}

const struct rd_kafka_metadata_topic *kafka_look_topic(const struct rd_kafka_metadata *md,
                                                       const char *topic)
{
    for (int i = 0; i < md->topic_cnt; i++)
        if (strcmp(md->topics[i].topic, topic) == 0)
            return &md->topics[i];
    return NULL;
}
