/*
 * How far a stream is done: up to which LSN all of its transactions have been acknowledged. A ring
 * of those in flight, in commit order, as bottledwater keeps it: the tail alone advances, over
 * transactions that have ended and have no row left. Pure.
 */
#ifndef OUTBOX_CORE_CHECKPOINT_H
#define OUTBOX_CORE_CHECKPOINT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct checkpoint_tx;

/* A zeroed struct is empty; the owner calls checkpoint_free. */
struct checkpoint {
    struct checkpoint_tx *ring;
    size_t cap;           /* a power of two */
    uint64_t first, next; /* numbers of the oldest in flight and of the one to come; from 1 */
    uint64_t begun;       /* the number of this stream's first */
    bool open;            /* the newest has not ended */
    uint64_t lsn;         /* all before it is done; 0: nothing is known */
    uint64_t reached; /* the end of the newest that is done, whatever an idle server said since */
    bool strict;      /* the owner's: nothing else brings a row again */
    bool stored;      /* a position is: the next stream begins where this one has got to */
    bool lost;        /* strict, and a row left without being done: it stands until a reset */
};

void checkpoint_free(struct checkpoint *c);
/* A new stream: what is in flight is another one's, whose numbers find nothing any more. */
void checkpoint_reset(struct checkpoint *c);
/* A transaction without rows so far begins, unless one is open. ERR_NOMEM. */
int checkpoint_open(struct checkpoint *c, struct err *err);
/* One more row of the transaction that is being streamed; *ret_tx names it for checkpoint_leave.
 * ERR_NOMEM. */
int checkpoint_enter(struct checkpoint *c, uint64_t *ret_tx, struct err *err);
/* A row of tx is done. 0, and a transaction of an older stream, are ignored. */
void checkpoint_leave(struct checkpoint *c, uint64_t tx);
/* A row of tx is no longer held, and was not done. */
void checkpoint_lose(struct checkpoint *c, uint64_t tx);
/* Whether tx is one of this stream's, with rows that are not done. */
bool checkpoint_has(const struct checkpoint *c, uint64_t tx);
/* Whether tx is one of this stream's that the next one will not bring again. */
bool checkpoint_passed(const struct checkpoint *c, uint64_t tx);
/* Where it ended; 0: it has not, or is not one of these. */
uint64_t checkpoint_end_of(const struct checkpoint *c, uint64_t tx);
/* Whether all transactions that have ended before lsn are done. */
bool checkpoint_done_before(const struct checkpoint *c, uint64_t lsn);
/* The transaction that is being streamed has ended, with its commit before lsn; also for one of
 * which no row entered, and for an idle server's position between transactions. */
void checkpoint_end(struct checkpoint *c, uint64_t lsn);

#endif
