/*
 * The relay's librdkafka configuration: our defaults, the user's properties over them, and what
 * must stay as it is because a guarantee of the relay stands on it.
 */
#ifndef OUTBOX_KAFKA_KAFKA_CONF_H
#define OUTBOX_KAFKA_KAFKA_CONF_H

#include "base/err.h"
#include "kafka/sink.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

/* The caller owns *ret until rd_kafka_new takes it. Errors: ERR_CONFIG, naming the property. */
int kafka_conf_new(const struct sink_options *options, rd_kafka_conf_t **ret, struct err *err);

/* Makes an idempotent producer of the options, its log and errors on its main queue; connects in
 * the background, or never where it is offline (to see whether librdkafka takes it). The caller
 * owns *ret. Errors: ERR_CONFIG with librdkafka's own text. */
int kafka_conf_producer(const struct sink_options *options, bool offline, rd_kafka_t **ret,
                        struct err *err);

/* True where the property is set and not empty. ret holds its value, cut to fit, or "". */
bool kafka_conf_value(const rd_kafka_conf_t *conf, const char *name, char *ret, size_t size);

#endif
