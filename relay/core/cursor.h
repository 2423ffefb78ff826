/*
 * Which rows to read next. A start reads what is unpublished under plain visibility, up to the
 * highest seq that its first page's snapshot sees; from then on each round reads the difference
 * between the last snapshot S0 and a new one S1: first the rows that committed late (seq up to the
 * highest seen, xid unfinished in S0), then the new ones, all in seq order. A transaction that
 * stays open delays its own rows only. The idea is PgQ's (Skytools); rows whose xid means nothing
 * here (restored from a dump) come out at the next start, which is also the sweep.
 */
#ifndef OUTBOX_CORE_CURSOR_H
#define OUTBOX_CORE_CURSOR_H

#include "core/snapshot.h"

enum read_kind {
    READ_START,
    READ_DIFFERENCE,
    READ_QUEUE, /* what is parked with its content and may go on, each key's in order */
};

/* One page. Rows come in the order: late branch, new branch, each by seq. */
struct read_request {
    enum read_kind kind;
    bool opens;     /* first page of its round: it also returns its own snapshot and max(seq) */
    bool late;      /* READ_DIFFERENCE: the late branch is not through yet */
    bool stored;    /* READ_QUEUE: not what another owner added and the slot may bring again */
    bool parked;    /* READ_START: some keys are parked: what waits behind them may be left out */
    bool range;     /* READ_DIFFERENCE: many late rows; walk seq instead of gathering by xid */
    int64_t after;  /* READ_START: seq > after; late branch: seq > after */
    int64_t upto;   /* READ_START unless it opens: seq <= upto; late branch: seq <= upto */
    int64_t beyond; /* new branch: seq > beyond */
    const struct snapshot *since; /* READ_DIFFERENCE: S0, borrowed until the page ends */
    /*
     * Unless it opens: the round's own snapshot, S1. A page leaves out what ended after it: two
     * rows of one transaction may lie on both sides of where the last page ended, and the second
     * must not go first. (A start keeps rows whose xid means nothing here, those that are visible
     * although their xid has not ended in the page's own snapshot.) What is left out is the next
     * difference's.
     */
    const struct snapshot *until;
    uint32_t limit;
};

struct cursor {
    enum read_kind kind;
    bool opened; /* the round has its snapshot */
    bool late;
    bool range;
    int64_t after;
    int64_t upto;
    int64_t beyond;
    int64_t high; /* the highest seq that any complete round has covered */
    struct snapshot since;
    struct snapshot until;
    struct snapshot
        before; /* of the last complete round before this start: what a sweep compares with */
    struct snapshot swept; /* what the last sweep saw */
};

/* A zeroed struct, then cursor_start_over. */
void cursor_start_over(struct cursor *c);
/* A start that has its snapshot already, from elsewhere: the caller names it as each request's
 * until. */
void cursor_start_given(struct cursor *c);
void cursor_free(struct cursor *c);

/* Describes the next page. */
void cursor_next(const struct cursor *c, uint32_t limit, struct read_request *ret);

/* What the first page of a round said of itself; has_max is false for an empty table. */
int cursor_header(struct cursor *c, const struct slice *snapshot, bool has_max, int64_t max_seq,
                  struct err *err);

/* The row with this seq was dealt with; the next page begins behind it. */
void cursor_advance(struct cursor *c, int64_t seq);

/* The page is over. exhausted: it held fewer rows than its limit and each was dealt with. Returns
 * true when that ended the round: everything visible in the round's snapshot has been read. */
bool cursor_page_end(struct cursor *c, bool exhausted);

/*
 * A start that is a sweep while rows are streamed: it is to bring what the sweep before it saw, or
 * for the first one the last round; what has come since is still to be streamed. Its end, when its
 * round is complete: up to there all has been read, and the next one goes on from what this one
 * saw. Any other complete round begins that anew.
 */
void cursor_sweep_begin(struct cursor *c);
void cursor_sweep_end(struct cursor *c);
void cursor_sweep_forget(struct cursor *c);

/* True for a row of a start's page that no difference would have brought: its xid had ended before
 * the last complete round, or is running here or has not begun, so that it is not the row's own. */
bool cursor_is_stray(const struct cursor *c, uint64_t xid);

#endif
