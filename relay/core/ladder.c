#include "core/ladder.h"

/* What works is tried now and then, what does not soon: a probe is one notification. */
static const int64_t works_ms = 60000;
static const int64_t fails_ms = 5000;
static const int64_t unknown_ms = 500;
static const uint32_t needed_min = 2;
static const uint32_t needed_max = 64;
static const uint32_t needed_pooled = 8;
/* Once it has worked for so long its failures are forgotten. */
static const int64_t forgive_ms = 600000;

void ladder_proved(struct ladder *l, int64_t now)
{
    uint32_t needed = l->pooled && l->needed < needed_pooled ? needed_pooled : l->needed;

    l->proofs++;
    if (!l->works && l->proofs >= needed) {
        l->works = true;
        l->known = true;
        l->since = now;
    }
    if (l->works && now - l->since >= forgive_ms)
        l->needed = 0;
    l->probe_at = now + (l->works ? works_ms : l->known ? fails_ms : unknown_ms);
}

void ladder_failed(struct ladder *l, int64_t now)
{
    if (l->works || !l->known)
        l->needed = l->needed == 0               ? needed_min
                    : l->needed * 2 < needed_max ? l->needed * 2
                                                 : needed_max;
    l->known = true;
    l->works = false;
    l->proofs = 0;
    l->probe_at = now + fails_ms;
}

void ladder_renewed(struct ladder *l, int64_t now, bool pooled)
{
    l->pooled = pooled;
    l->probe_at = now;
}
