/* Whether a topic may be written to, found out without writing. Private to kafka/. */
#ifndef OUTBOX_KAFKA_WRITE_PROBE_H
#define OUTBOX_KAFKA_WRITE_PROBE_H

#include "kafka/sink.h"

#include <librdkafka/rdkafka.h>

/* ret[i]: RD_KAFKA_RESP_ERR_NO_ERROR where topics[i] may be written to, TOPIC_AUTHORIZATION_FAILED
 * where not, RD_KAFKA_RESP_ERR__TIMED_OUT or another error where it is not known. The topics have
 * to exist. ERR_CONFIG, ERR_NOMEM. */
int write_probe(const struct sink_options *options, const char *const *topics, size_t n,
                int timeout_ms, rd_kafka_resp_err_t *ret, struct err *err);

#endif
