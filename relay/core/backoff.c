#include "core/backoff.h"

/* splitmix64 (Steele, Lea, Flood, 2014): small, and any seed will do. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15U);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

struct backoff backoff_of(int64_t base_ms, int64_t cap_ms, uint64_t seed)
{
    return (struct backoff){.base_ms = base_ms, .cap_ms = cap_ms, .rng = seed};
}

int64_t backoff_next(struct backoff *b)
{
    int64_t top = b->last_ms == 0 ? b->base_ms : b->last_ms * 3;

    b->last_ms = b->base_ms;
    if (top > b->base_ms)
        b->last_ms += (int64_t)(draw(&b->rng) % (uint64_t)(top - b->base_ms + 1));
    if (b->last_ms > b->cap_ms)
        b->last_ms = b->cap_ms;
    return b->last_ms;
}

void backoff_reset(struct backoff *b)
{
    b->last_ms = 0;
}
