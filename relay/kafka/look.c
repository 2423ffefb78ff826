#include "kafka/look.h"

#include "base/clock.h"
#include "kafka/complaint.h"
#include "kafka/kafka_conf.h"
#include "kafka/kafka_error.h"

#include <string.h>

/* Brokers are given this long before one that refuses us is believed for all. */
#define SLICE_MS 1000

/* Why nobody answers, as far as librdkafka has said it. */
static void take_complaints(struct complaint *c, rd_kafka_t *rk)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(rk);
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(queue, 0)) != NULL) {
        complaint_take(c, event, rd_kafka_conf(rk));
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
}

int kafka_look(const struct sink_options *options, bool topics, int timeout_ms, rd_kafka_t **ret_rk,
               const struct rd_kafka_metadata **ret, struct err *err)
{
    rd_kafka_resp_err_t code;
    struct complaint c = {.class = ERR_NONE};
    int64_t deadline = clock_boot_ms() + timeout_ms;
    rd_kafka_t *rk;
    int r = kafka_conf_producer(options, false, &rk, err);

    if (r != 0)
        return r;
    do {
        code = rd_kafka_metadata(rk, topics, NULL, ret, SLICE_MS);
        take_complaints(&c, rk);
    } while (code != RD_KAFKA_RESP_ERR_NO_ERROR && !complaint_is_final(&c) &&
             clock_boot_ms() < deadline);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        *ret_rk = rk;
        return 0;
    }
    if (c.class != ERR_NONE) {
        (void)err_set(err, c.class, "no broker answers: %s", c.text);
    } else {
        (void)kafka_error_set(err, code, "no broker answers", NULL);
        err->class = ERR_UNAVAILABLE;
    }
    rd_kafka_destroy(rk);
    return -(int)err->class;
}

const struct rd_kafka_metadata_topic *kafka_look_topic(const struct rd_kafka_metadata *md,
                                                       const char *topic)
{
    for (int i = 0; i < md->topic_cnt; i++)
        if (strcmp(md->topics[i].topic, topic) == 0)
            return &md->topics[i];
    return NULL;
}
