/* The files that kafka.ssl.*.location name, looked at when librdkafka does not take them: it gives
 * no more than OpenSSL's name for the function that failed. Private to kafka/. */
#ifndef OUTBOX_KAFKA_TLS_FILES_H
#define OUTBOX_KAFKA_TLS_FILES_H

#include "base/err.h"
#include "kafka/sink.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

/* True where it knows why rd_kafka_new says so of this configuration: err is ERR_CONFIG, with the
 * property, the file and what is wrong with it. */
bool tls_files_explain(const rd_kafka_conf_t *conf, const char *said, struct err *err);

/* Changes with the files that kafka.ssl.*.location name, which librdkafka reads when a producer is
 * made, and never again. */
uint64_t tls_files_stamp(const struct sink_options *options);

#endif
