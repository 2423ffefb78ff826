/*
 * Whether a topic's rows may go. Rows are handed over only once the producer knows the topic: an
 * idempotent producer fails the first rows of an unknown topic and may then deliver later ones
 * (tried, librdkafka 2.0.2). Rows of a topic that is away leave memory; they are read again from
 * the table on its return.
 *
 *   UNKNOWN -> ASKED -> READY            rows wait in the table for the first answer: reading
 * pauses |        |  refused v        v AWAY <-> RETRYING -> RELEASED -> READY at the next start of
 * reading
 */
#ifndef OUTBOX_CORE_TOPICS_H
#define OUTBOX_CORE_TOPICS_H

#include "base/err.h"
#include "core/backoff.h"

#include <stdbool.h>
#include <stdint.h>

enum topic_state {
    TOPIC_UNKNOWN,
    TOPIC_ASKED,
    TOPIC_READY,
    TOPIC_AWAY,
    TOPIC_RETRYING,
    TOPIC_RELEASED,
    TOPIC_STATES,
};

struct topic {
    enum topic_state state;
    uint32_t inflight; /* records in the sink */
    uint64_t held;     /* rows passed over since it went away */
    int64_t ask_at;    /* UNKNOWN with wanted set, or AWAY: when to look it up */
    bool wanted;       /* a row waits for the answer */
    struct backoff backoff;
};

struct topics {
    struct topic *list;
    uint32_t n, cap;
    uint32_t counts[TOPIC_STATES];
    uint64_t seed;
};

void topics_free(struct topics *t);
/* Index is the sink's; grows as they come. ERR_NOMEM. */
int topics_reserve(struct topics *t, uint32_t index, struct err *err);
/* The only place where a topic changes state; aborts on a move that the picture above does not
 * have. */
void topics_move(struct topics *t, uint32_t index, enum topic_state to);
/* A new producer knows none of them; what was away stays away, to be asked again now. */
void topics_reset(struct topics *t, int64_t now);
/* Reading starts over: what is back may go again. */
void topics_release(struct topics *t);
/* The next one to look up, or -1; *ret_at is the earliest time when there will be one. */
int64_t topics_due(const struct topics *t, int64_t now, int64_t *ret_at);

#endif
