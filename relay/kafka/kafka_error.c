/* One table: error code, what a report with it asks for, and what an operator can do about it. */
#include "kafka/kafka_error.h"

#include <stddef.h>

struct meaning {
    rd_kafka_resp_err_t code;
    enum delivery what;
    const char *remedy;
};

#define SIZE_REMEDY                                                                                \
    "raise the topic's max.message.bytes (and kafka.message.max.bytes), or make the event smaller"
#define TOPIC_REMEDY "create the topic, or correct the route"
#define WRITE_REMEDY "grant the relay's principal Write and Describe on the topic"
#define REACH_REMEDY                                                                               \
    "check kafka.bootstrap.servers, kafka.security.protocol, the network and that the brokers run"
#define LOGIN_REMEDY "check kafka.security.protocol and the kafka.sasl.* settings"
#define TLS_REMEDY "check kafka.security.protocol and the kafka.ssl.* settings"

static const struct meaning meanings[] = {
    {RD_KAFKA_RESP_ERR_NO_ERROR, DELIVERY_OK, NULL},

    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, DELIVERY_ROW, SIZE_REMEDY},
    {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, DELIVERY_ROW,
     "raise the topic's segment.bytes, or make the event smaller"},
    {RD_KAFKA_RESP_ERR_INVALID_RECORD, DELIVERY_ROW,
     "correct the event: a compacted topic needs a key, a validating broker a valid schema"},
    {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, DELIVERY_ROW, "ask who runs the broker for its policy"},
    {RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, DELIVERY_ROW,
     "correct created_at, or the topic's message.timestamp.before.max.ms and .after.max.ms"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, DELIVERY_ROW,
     "correct the event's partition, or add partitions to the topic"},

    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, DELIVERY_TOPIC, TOPIC_REMEDY},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, DELIVERY_TOPIC, TOPIC_REMEDY},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, DELIVERY_TOPIC,
     "the broker refuses this topic: correct the route"},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, DELIVERY_TOPIC, WRITE_REMEDY},

    {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, DELIVERY_CLUSTER,
     "grant the relay's principal IdempotentWrite on the cluster (before Kafka 3.0)"},
    {RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, DELIVERY_CLUSTER, NULL},
    {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, DELIVERY_CLUSTER, LOGIN_REMEDY},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, DELIVERY_CLUSTER, LOGIN_REMEDY},
    {RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE, DELIVERY_CLUSTER, LOGIN_REMEDY},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, DELIVERY_CLUSTER, LOGIN_REMEDY},
    {RD_KAFKA_RESP_ERR__SSL, DELIVERY_CLUSTER, TLS_REMEDY},
    {RD_KAFKA_RESP_ERR__TRANSPORT, DELIVERY_CLUSTER, REACH_REMEDY},
    {RD_KAFKA_RESP_ERR__RESOLVE, DELIVERY_CLUSTER, REACH_REMEDY},
    {RD_KAFKA_RESP_ERR__TIMED_OUT, DELIVERY_CLUSTER, REACH_REMEDY},
    {RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, DELIVERY_CLUSTER, REACH_REMEDY},
    {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, DELIVERY_CLUSTER, REACH_REMEDY},
    {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, DELIVERY_CLUSTER, REACH_REMEDY},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, DELIVERY_CLUSTER,
     "bring replicas back, or lower the topic's min.insync.replicas"},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, DELIVERY_CLUSTER,
     "bring replicas back, or lower the topic's min.insync.replicas"},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, DELIVERY_CLUSTER,
     "set kafka.compression.type to one that the brokers know"},
    {RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, DELIVERY_CLUSTER,
     "the brokers are too old for an idempotent producer: Kafka 0.11 or later is needed"},

    /* The producer died or was emptied: nothing is known of the record but that no other record of
     * its partition overtook it. */
    {RD_KAFKA_RESP_ERR__PURGE_QUEUE, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR__FATAL, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR__FENCED, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR__DESTROY, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR__STATE, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR__INCONSISTENT, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, DELIVERY_LOST, NULL},
    {RD_KAFKA_RESP_ERR_PRODUCER_FENCED, DELIVERY_LOST, NULL},
};

static const struct meaning *find(rd_kafka_resp_err_t code)
{
    static const struct meaning unknown = {RD_KAFKA_RESP_ERR_UNKNOWN, DELIVERY_CLUSTER, NULL};

    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code == code)
            return &meanings[i];
    }
    return &unknown;
}

enum delivery kafka_error_delivery(rd_kafka_resp_err_t code)
{
    return find(code)->what;
}

enum err_class kafka_error_class(rd_kafka_resp_err_t code)
{
    switch (find(code)->what) {
    case DELIVERY_OK:
        return ERR_NONE;
    case DELIVERY_ROW:
        return ERR_ROW;
    case DELIVERY_TOPIC:
        return ERR_TOPIC;
    case DELIVERY_LOST:
        return ERR_UNAVAILABLE;
    case DELIVERY_CLUSTER:
        break;
    }
    return ERR_CLUSTER;
}

const char *kafka_error_remedy(rd_kafka_resp_err_t code)
{
    return find(code)->remedy;
}

int kafka_error_set(struct err *err, rd_kafka_resp_err_t code, const char *where,
                    const char *detail)
{
    const char *remedy = kafka_error_remedy(code);

    return err_set(err, kafka_error_class(code), "%s: %s%s%s", where,
                   detail == NULL ? rd_kafka_err2str(code) : detail, remedy == NULL ? "" : "; ",
                   remedy == NULL ? "" : remedy);
}
