/* What holds events back on the side of Kafka, topic by topic, with the command that ends it.
 * Blocking, for a command; it creates no topic and writes no record. */
#ifndef OUTBOX_KAFKA_DIAGNOSE_H
#define OUTBOX_KAFKA_DIAGNOSE_H

#include "core/finding.h"
#include "kafka/sink.h"

struct diagnose_topic {
    const char *name; /* a legal one */
    bool waits;       /* its events have waited long: ask whether it may be written, too */
};

/* Each question has timeout_ms. ERR_UNAVAILABLE when no broker answers, ERR_CONFIG. */
int sink_diagnose(const struct sink_options *options, const struct diagnose_topic *topics, size_t n,
                  int timeout_ms, finding_fn on_finding, void *arg, struct err *err);

#endif
