/*
 * Whether a record is too large for its topic, known before it is sent: a broker that refuses one
 * refuses its whole batch. A topic's limit (max.message.bytes) is of the batch as it is stored
 * (Kafka documentation, "Record Batch"), so of a record that is compressed only the broker knows.
 */
#ifndef OUTBOX_KAFKA_SIZE_LIMIT_H
#define OUTBOX_KAFKA_SIZE_LIMIT_H

#include "kafka/sink.h"

struct size_limit {
    uint32_t bytes; /* 0: not known, so the broker decides */
    uint64_t at;    /* when it was learnt, in the loop's ms */
    bool asked;
};

/* A zeroed struct knows no topic; size_limits_free. */
struct size_limits {
    struct size_limit *list;
    uint32_t n;
};

enum size_verdict {
    SIZE_FITS, /* or is not known */
    SIZE_OVER,
    SIZE_ASK, /* too large by what was known some time ago */
};

/* Of the batch that the record would be by itself. */
uint64_t record_batch_bytes(const struct sink_record *record);
enum size_verdict size_limits_judge(const struct size_limits *l, const struct sink_record *record,
                                    uint64_t now);
/* bytes 0: it could not be learnt. Without memory it stays unknown. */
void size_limits_learn(struct size_limits *l, uint32_t topic, uint32_t bytes, uint64_t now);
/* Being asked again; false where that is so already. */
bool size_limits_ask(struct size_limits *l, uint32_t topic);
uint32_t size_limits_bytes(const struct size_limits *l, uint32_t topic);
void size_limits_free(struct size_limits *l);

#endif
