/*
 * One librdkafka producer and its topic handles: the life of one epoch. All but producer_new and
 * producer_free, which block and belong on a worker thread, is for the loop's thread.
 */
#ifndef OUTBOX_KAFKA_PRODUCER_H
#define OUTBOX_KAFKA_PRODUCER_H

#include "base/err.h"
#include "kafka/sink.h"
#include "kafka/topic_handle.h"
#include "kafka/topic_names.h"

#include <librdkafka/rdkafka.h>

struct producer {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue; /* reports, errors and log lines */
    const struct sink_topics *names;
    struct topic_handle **handles; /* by index; NULL until first used */
    uint32_t nhandles;
    uint32_t inflight; /* put and not reported */
    uint64_t files;    /* tls_files_stamp of those that it read */
    bool fatal;
};

/* names is borrowed for the life of the producer. The caller owns *ret. Errors: ERR_CONFIG,
 * ERR_NOMEM. */
int producer_new(struct producer **ret, const struct sink_options *options,
                 const struct sink_topics *names, struct err *err);

/* Calls wake(arg), on librdkafka's threads, whenever the queue stops being empty. */
void producer_watch(struct producer *p, void (*wake)(rd_kafka_t *rk, void *arg), void *arg);

/* Drops what waits, and with inflight what was sent too; the reports of it come by the queue, at
 * once for what waits. Never blocks. */
void producer_purge(struct producer *p, bool inflight);

/* The handle of a topic, owned by the producer. NULL: librdkafka refuses the name. */
struct topic_handle *producer_topic(struct producer *p, uint32_t topic);

/* As sink_takes and sink_put; now: uv_now. */
bool producer_takes(struct producer *p, const struct sink_record *record, uint64_t now);
int producer_put(struct producer *p, const struct sink_record *record, uint64_t now,
                 struct err *err);

/* Blocks: purges, ends librdkafka's threads and frees all; no wake comes after it. NULL is allowed.
 */
void producer_free(struct producer *p);

#endif
