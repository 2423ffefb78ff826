/*
 * Whether notifications may be relied on. A way that fails is left at once; it is taken again after
 * so many proofs in a row, and after twice as many each time that it failed once more, so that one
 * that comes and goes does not take the relay along. Through a pooler one may arrive by chance, so
 * that a single proof is none.
 */
#ifndef OUTBOX_CORE_LADDER_H
#define OUTBOX_CORE_LADDER_H

#include <stdbool.h>
#include <stdint.h>

/* A zeroed struct knows nothing yet: the first proof counts. */
struct ladder {
    bool known; /* whether it works */
    bool works;
    uint32_t proofs; /* in a row, since it failed */
    uint32_t needed;
    bool pooled;
    int64_t since; /* when it was taken */
    int64_t probe_at;
};

/* A notification of ours has arrived. */
void ladder_proved(struct ladder *l, int64_t now);
/* It has not, in time; or it cannot. */
void ladder_failed(struct ladder *l, int64_t now);
/* A new session: whether notifications reach it is to be seen, now. What is known stays. */
void ladder_renewed(struct ladder *l, int64_t now, bool pooled);

#endif
