/* The blocking look at the cluster for `check`. */
#include "kafka/kafka_error.h"
#include "kafka/look.h"

#include <stdio.h>

static void judge(const struct rd_kafka_metadata *md, const char *topic, struct err *ret)
{
    const struct rd_kafka_metadata_topic *found = kafka_look_topic(md, topic);
    rd_kafka_resp_err_t code = found == NULL ? RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART : found->err;
    char where[320];

    *ret = (struct err){ERR_NONE, ""};
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
    const struct rd_kafka_metadata *md;
    rd_kafka_t *rk;
    int r = kafka_look(options, n > 0, timeout_ms, &rk, &md, err);

    if (r != 0)
        return r;
    *ret_brokers = md->broker_cnt;
    for (size_t i = 0; i < n; i++)
        judge(md, topics[i], &ret_each[i]);
    rd_kafka_metadata_destroy(md);
    rd_kafka_destroy(rk);
    return 0;
}
