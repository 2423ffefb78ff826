/* Decorrelated jitter: each delay is drawn between the base and three times the last one, up to a
 * cap (Brooker, "Exponential Backoff And Jitter", 2015). */
#ifndef OUTBOX_CORE_BACKOFF_H
#define OUTBOX_CORE_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t base_ms;
    int64_t cap_ms;
    int64_t last_ms; /* 0: the next one is the first of its series */
    uint64_t rng;
};

/* seed: anything; two relays should differ. */
struct backoff backoff_of(int64_t base_ms, int64_t cap_ms, uint64_t seed);
/* Milliseconds to wait before the next try. */
int64_t backoff_next(struct backoff *b);
/* It worked: the next series begins at the base. */
void backoff_reset(struct backoff *b);

#endif
