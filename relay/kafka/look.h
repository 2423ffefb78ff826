/* The first blocking question to a cluster: who answers, and what topics there are. Private to
 * kafka/. */
#ifndef OUTBOX_KAFKA_LOOK_H
#define OUTBOX_KAFKA_LOOK_H

#include "base/err.h"
#include "kafka/sink.h"

#include <librdkafka/rdkafka.h>

/* Makes a producer that nothing is produced by, and lists all topics with it, since to ask for one
 * by its name would create it where the broker does that by itself; topics false: brokers alone.
 * The caller owns both: rd_kafka_metadata_destroy, then rd_kafka_destroy. ERR_UNAVAILABLE when no
 * broker answers within timeout_ms, ERR_LOGIN when one refuses who we are, ERR_CONFIG. */
int kafka_look(const struct sink_options *options, bool topics, int timeout_ms, rd_kafka_t **ret_rk,
               const struct rd_kafka_metadata **ret, struct err *err);

/* Of that list; NULL where it is not in it. */
const struct rd_kafka_metadata_topic *kafka_look_topic(const struct rd_kafka_metadata *md,
                                                       const char *topic);

#endif
