/*
 * The Kafka sink: one idempotent producer at a time, on a libuv loop. Records go in with a tag,
 * delivery reports come out with it. Knows nothing of PostgreSQL or of the ledger; logs nothing.
 */
#ifndef OUTBOX_KAFKA_SINK_H
#define OUTBOX_KAFKA_SINK_H

#include "base/buf.h"
#include "base/err.h"
#include "core/failure.h"
#include "core/headers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct sink;

struct sink_property {
    const char *name; /* librdkafka's name, without the "kafka." prefix */
    const char *value;
};

struct sink_options {
    const struct sink_property *properties;
    size_t nproperties;
    uint32_t window_events; /* the queue is sized so that it never fills before the window does */
    uint64_t window_bytes;
};

struct sink_record {
    uint64_t tag;
    uint32_t topic;    /* from sink_topic */
    int32_t partition; /* -1: the partitioner decides */
    struct slice key;
    struct slice value;   /* data == NULL: a tombstone */
    int64_t timestamp_ms; /* 0 or less: librdkafka takes the time of the put */
    const struct header *headers;
    size_t nheaders;
};

/* All are called on the loop's thread, never from inside a sink_* call unless that call says so. */
struct sink_callbacks {
    /* One a record put. For DELIVERY_OK error and why are NULL; else error is the code's short name
     * (static storage) and why is borrowed. Reports of a producer that was
     * replaced are still given as long as it lives; the tag's epoch tells them apart. DELIVERY_ROW
     * is said of one that was refused alone; records that were refused together are DELIVERY_LOST,
     * and later producers send smaller batches for a while. */
    void (*on_report)(void *arg, uint64_t tag, enum delivery what, const char *error,
                      const struct err *why);
    /* A batch of reports has been handed over; a good moment to acknowledge. */
    void (*on_reports_done)(void *arg);
    /* The answer to sink_lookup: why NULL when the topic may be produced to, else ERR_TOPIC
     * (unknown, not authorised) or ERR_CLUSTER (no answer). */
    void (*on_topic)(void *arg, uint32_t topic, const struct err *why);
    /* The producer is dead (idempotence lost, gapless guarantee), or another one is wanted: for
     * larger batches, with nothing in flight, or because brokers refuse it and its certificates'
     * files are others by now. Put is refused until sink_rebuild. */
    void (*on_fatal)(void *arg, const struct err *why);
    /* sink_rebuild is done: every report of the old producer has been given, a new producer stands.
     * why is non-NULL only where no new producer could be made. */
    void (*on_rebuilt)(void *arg, const struct err *why);
    /* sink_discard is done: the producer is gone, no record of it will be sent any more. */
    void (*on_discarded)(void *arg);
    /* The cluster became reachable or unreachable; why names the cause when it is not. */
    void (*on_up)(void *arg, bool up, const struct err *why);
    /* A line of librdkafka's own log; level is syslog's 0..7. */
    void (*on_log)(void *arg, int level, const char *facility, const char *text);
};

/*
 * Checks the properties and makes the first producer. Errors: ERR_CONFIG for a property that
 * librdkafka does not take (its own message in ours) or that would break a guarantee (with the
 * reason). The options are copied. The caller owns *ret and ends it by sink_close.
 */
int sink_open(struct sink **ret, uv_loop_t *loop, const struct sink_options *options,
              const struct sink_callbacks *callbacks, void *arg, struct err *err);

/* Only the check of sink_open, without a loop: for `check` and for the start, before anything is
 * touched. */
int sink_check_options(const struct sink_options *options, struct err *err);

/* The index of a topic, the same for the same name for the life of the sink (across rebuilds);
 * cached handle behind it. Errors: ERR_ROW for a name that is not legal, ERR_NOMEM. */
int sink_topic(struct sink *s, const char *name, size_t len, uint32_t *ret_topic, struct err *err);
const char *sink_topic_name(const struct sink *s, uint32_t topic);

/* Asks for the topic's metadata off the loop (this may create it where the broker does that by
 * itself); answers by on_topic, always, within timeout_ms and a bit. One lookup a topic at a time.
 */
int sink_lookup(struct sink *s, uint32_t topic, int timeout_ms, struct err *err);

/* False while the first record of this one's partition has not been reported: that one goes alone,
 * and nothing may be handed over before its report. And while it is asked whether one that was too
 * large for its topic still is; an on_topic follows. And once batches are to grow again; an
 * on_fatal follows. */
bool sink_takes(struct sink *s, const struct sink_record *record);

/* Hands one record over; key, value and headers are copied. 0: a report will follow. Else none
 * will: ERR_ROW (too large for message.max.bytes, unknown partition, ...), ERR_TOPIC,
 * ERR_UNAVAILABLE (queue full, or the producer is dead: try again later). */
int sink_put(struct sink *s, const struct sink_record *record, struct err *err);

/* Purges what waits, takes the reports that are still to come (bounded by timeout_ms, after which
 * what is in flight is purged too), destroys the producer off the loop, makes a new one; then
 * on_rebuilt. Asked again before that, it is the same rebuild; during a discard it follows it. */
void sink_rebuild(struct sink *s, int timeout_ms);

/* Purges the queue at once and destroys the producer off the loop, in flight included: what is left
 * gets no report. Then on_discarded. It ends a rebuild that is on its way, without on_rebuilt. A
 * later sink_rebuild makes a producer again. */
void sink_discard(struct sink *s);

/* Records put and not reported. */
uint32_t sink_inflight(const struct sink *s);
bool sink_up(const struct sink *s);

/* Purges, destroys (off the loop) and closes all handles; on_closed may free what the callbacks
 * use. No callback but on_closed comes after it. s is freed by it. NULL is allowed and calls
 * on_closed at once. */
void sink_close(struct sink *s, void (*on_closed)(void *arg), void *arg);

/* Blocking, for `check`: connects, fetches metadata of the cluster and of the named topics (n may
 * be 0) and reports for each whether it may be produced to. ret_each[i] is filled per topic.
 * ERR_UNAVAILABLE when no broker answers, ERR_LOGIN when one refuses who we are, ERR_CONFIG when
 * one names what it takes instead. */
int sink_probe(const struct sink_options *options, const char *const *topics, size_t n,
               int timeout_ms, struct err *ret_each, int *ret_brokers, struct err *err);

/* librdkafka's version text; static storage. */
const char *sink_library_version(void);

#endif
