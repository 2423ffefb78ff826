/*
 * A topic of one producer: librdkafka's handle, and which of its partitions have answered this
 * producer yet. A broker without a state of the producer (a new producer, a new partition, a day
 * without records) takes whatever request comes first, and librdkafka may have a second one on its
 * way when the first is refused. So the first record of a partition goes alone; what follows a
 * confirmed one can no longer take its place, since a number would be missing.
 */
#ifndef OUTBOX_KAFKA_TOPIC_HANDLE_H
#define OUTBOX_KAFKA_TOPIC_HANDLE_H

#include "kafka/sink.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

struct partition {
    int64_t fresh_until; /* the broker knows the producer until then, as far as is certain */
    bool alone;          /* its first record has not been reported */
};

struct topic_handle {
    rd_kafka_topic_t *rkt;
    int32_t (*partitioner)(const rd_kafka_topic_t *rkt, const void *key, size_t keylen,
                           int32_t count, void *topic_opaque, void *opaque);
    atomic_int count; /* of partitions, as the partitioner was told last; 0: not yet */
    struct partition *partitions;
    int32_t n;
};

/* NULL: librdkafka refuses the name, or memory is out. The caller owns it. */
struct topic_handle *topic_handle_new(rd_kafka_t *rk, const char *name);
/* Once the producer is gone, which may ask for partitions to its end; rkt has to be destroyed
 * before that. NULL is allowed. */
void topic_handle_free(struct topic_handle *t);

/* False while the first record of this record's partition has no report. now: uv_now. */
bool topic_handle_takes(const struct topic_handle *t, const struct sink_record *record,
                        uint64_t now);
/* The record has been handed over. */
void topic_handle_put(struct topic_handle *t, const struct sink_record *record, uint64_t now);
/* A report of this partition; confirmed: with an offset. */
void topic_handle_report(struct topic_handle *t, int32_t partition, bool confirmed, uint64_t now);

#endif
