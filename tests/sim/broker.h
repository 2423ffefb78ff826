/* Kafka and the producers. Part of sim.h. */
#ifndef OUTBOX_SIM_BROKER_H
#define OUTBOX_SIM_BROKER_H

#include "core/failure.h"

#include <stdbool.h>
#include <stdint.h>

#define KEYS 48 /* of these, the first KEYS_SERIAL have writers that wait for each other */
#define KEYS_SERIAL 36
#define TOPICS 4
#define PARTITIONS 3

struct sim;
struct relay;

struct record {
    uint64_t tag;
    uint32_t row;
};

struct partition {
    struct record *ring;
    uint32_t head, n, appended; /* appended: of the n, from the head, in Kafka but not reported */
    uint32_t told;              /* of those appended, a report is on its way */
    int64_t reports_at;
    bool sending;
};

enum known { KNOWN_NOT, KNOWN_YES, KNOWN_AWAY };

struct producer {
    bool alive, fatal;
    uint32_t gen;
    uint32_t outstanding;
    enum known known[TOPICS];
    int64_t known_at[TOPICS]; /* of a topic that records were put to before it was looked up */
    struct partition parts[TOPICS * PARTITIONS];
};

struct broker {
    bool up;
    bool topic[TOPICS];
    int64_t stalled_until[TOPICS * PARTITIONS];
    int64_t slow_until;
    uint32_t first_order[KEYS]; /* the highest order among first occurrences */
    uint32_t stream_of[KEYS];   /* the stream that a key's last first occurrence came by, if one */
    uint32_t stream_place[KEYS];
};

void broker_init(struct sim *s);
void broker_producer(struct sim *s, struct relay *r);
void broker_producer_free(struct producer *p);
bool broker_takes(struct sim *s, struct relay *r, uint32_t topic, enum delivery *ret_why);
void broker_put(struct sim *s, struct relay *r, uint64_t tag, uint32_t row);
void broker_send(struct sim *s, struct relay *r, uint32_t part);
void broker_report(struct sim *s, struct relay *r, uint32_t part, uint32_t n);
void broker_purged(struct sim *s, struct relay *r);
void broker_append(struct sim *s, int who, uint32_t row, bool zombie);
void broker_lookup(struct sim *s, struct relay *r, uint32_t topic);
void broker_notice(struct sim *s, struct relay *r, uint32_t topic);
void broker_unknown(struct sim *s, struct relay *r, uint64_t tag, uint32_t row);
void broker_fatal(struct sim *s, struct relay *r);
void broker_rebuild(struct sim *s, struct relay *r);
void broker_rebuilt(struct sim *s, struct relay *r);
/* The process or its producer is gone; what was under way may still arrive. */
void broker_discard(struct sim *s, struct relay *r);
void broker_state(struct sim *s, bool up);
void broker_topic_away(struct sim *s, uint32_t topic);

static inline uint32_t key_topic(uint32_t key)
{
    return key % TOPICS;
}
static inline uint32_t key_partition(uint32_t key)
{
    return key / TOPICS % PARTITIONS;
}

#endif
