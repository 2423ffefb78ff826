/*
 * What is in flight, from the moment a row is admitted until its acknowledgement is certain. A tag
 * is epoch + count + slot, never a pointer: a late report of an older epoch, or of a slot that was
 * used again, finds nothing. One function (ledger_move) changes an entry's state.
 *
 *   SENT -> DELIVERED -> ACKING -> DONE -> AHEAD -> (free)
 *     |         ^__________|              |
 *     |         |     the connection of its acknowledgement was lost
 *     |         `- it has come once more -'
 *     |-> (free)    its topic's or cluster's fault, or its producer is gone: the row is read again
 *     |-> DISOWNED  its row is no longer ours; only the report is awaited
 *     `-> FAILED    its own fault, or behind such a one, until that is recorded; then DONE, or
 *                   DELIVERED where the record has all of it and its row is to be acknowledged
 *
 * DONE entries are remembered until no read is on its way that may still see their rows. AHEAD are
 * those of a log that alone has its rows (checkpoint.strict), until it is done up to them: a stream
 * that begins anew brings them again. So they take room, which bounds what a crash repeats; but
 * where nothing else could go on, the oldest make way.
 */
#ifndef OUTBOX_CORE_LEDGER_H
#define OUTBOX_CORE_LEDGER_H

#include "base/err.h"
#include "core/checkpoint.h"
#include "core/event.h"
#include "core/failure.h"
#include "core/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum entry_state {
    ENTRY_FREE,
    ENTRY_SENT,
    ENTRY_DELIVERED,
    ENTRY_ACKING,
    ENTRY_DONE,
    ENTRY_DISOWNED,
    ENTRY_FAILED,
    ENTRY_AHEAD,
    ENTRY_STATES,
};

struct ledger;

struct ledger_item {
    int64_t seq;
    unsigned char id[EVENT_ID_LEN];
    uint32_t topic;
    uint32_t bytes; /* what it weighs in the sink's queue */
    uint64_t key;   /* of its topic and key, as in keyset.h */
    int64_t created_us;
    uint64_t tx;  /* its transaction in the stream's checkpoint; 0: it was read from the table */
    uint64_t xid; /* with tx: that transaction's id; 0: its row is visible, or it has none */
    enum failure_mode failure; /* what becomes of it if it cannot be published */
    bool queued;               /* it was read from the queue of its key, not from the outbox */
};

/* How a row that was read relates to what is held. */
enum ledger_match {
    LEDGER_ABSENT,
    LEDGER_SAME,  /* this event is in flight, or was acknowledged while the read was on its way */
    LEDGER_OTHER, /* another event holds this seq: the sequence began again */
};

/* max_events bounds all entries, max_bytes those in the sink. The caller owns *ret. ERR_NOMEM. */
int ledger_new(struct ledger **ret, uint32_t max_events, uint64_t max_bytes, struct err *err);
void ledger_free(struct ledger *l);
/* Tells it (borrowed) of each row of a stream that is done, or no longer held. */
void ledger_watch(struct ledger *l, struct checkpoint *checkpoint);

/* Free places for events; room in bytes. A window that holds no bytes takes one event of any size.
 */
uint32_t ledger_room(const struct ledger *l);
bool ledger_fits(const struct ledger *l, uint32_t bytes);

enum ledger_match ledger_match(const struct ledger *l, int64_t seq,
                               const unsigned char id[EVENT_ID_LEN]);
/* Lets go of the other event under this seq; false when its acknowledgement or record is on its way
 * (wait). Of a log it lets go of one that is AHEAD alone: all others are as good as this one. */
bool ledger_replace(struct ledger *l, int64_t seq);

/* The row that is held under this seq has come once more, in another stream than before: it counts
 * in the checkpoint of that one. ERR_NOMEM. */
int ledger_enter(struct ledger *l, int64_t seq, struct err *err);

/* Admits a row that was not held, with room checked by the caller; returns its tag. */
uint64_t ledger_admit(struct ledger *l, uint16_t epoch, const struct ledger_item *item);

/* The entry of a report, or NULL for a tag that is no longer known. Borrowed until the next change.
 */
const struct ledger_item *ledger_item(const struct ledger *l, uint64_t tag);
enum entry_state ledger_state(const struct ledger *l, uint64_t tag);

/* Its delivery report said yes. */
void ledger_deliver(struct ledger *l, uint64_t tag);
/* It was not delivered: forgotten, to be read again. */
void ledger_withdraw(struct ledger *l, uint64_t tag);
/* The same of a row of the table that was not even sent: nothing is missing without it. */
void ledger_take_back(struct ledger *l, uint64_t tag);

/* It cannot be published, for its own sake. */
void ledger_fail(struct ledger *l, uint64_t tag);
/* That is on record, for good. remember: as ledger_acked. */
void ledger_recorded(struct ledger *l, uint64_t tag, bool remember);
/* The same, with its content: its row, if there is one, waits for its acknowledgement. */
void ledger_kept(struct ledger *l, uint64_t tag);
/* It failed, and its content has to come once more before that can be recorded. */
void ledger_want(struct ledger *l, uint64_t tag);
/* Whether what is held under this seq is such a one. */
bool ledger_wants(const struct ledger *l, int64_t seq);
/* It has come: *ret_tag is its. False if it is none. */
bool ledger_wanted(struct ledger *l, int64_t seq, uint64_t *ret_tag);
uint32_t ledger_wanted_count(const struct ledger *l);
/* Whether those that failed, and are to be recorded with their content, hold less than max_bytes.
 */
bool ledger_keeps(const struct ledger *l);
/* Whether another one of this key than tag awaits its report. Walks all that do. */
bool ledger_sends_key(const struct ledger *l, uint64_t key, uint64_t tag);
/* How many of a queue are held. */
uint32_t ledger_queued(const struct ledger *l);

/* One batch to acknowledge. strict: the connection is younger than their admission, so that seq
 * alone no longer names them; match id too. Never mixes strict, or queued, with others. */
struct ledger_batch {
    uint32_t number; /* the caller's */
    uint32_t n;
    bool strict;
    bool queued;         /* they are deleted from their queue */
    bool streamed;       /* some of them may not be visible yet: see ledger_acked_seen */
    const int64_t *seqs; /* borrowed until the next take */
    const unsigned char (*ids)[EVENT_ID_LEN];
};
/* Moves up to max delivered entries, oldest first, to ACKING under this number; false if there are
 * none. */
bool ledger_take(struct ledger *l, uint32_t number, uint32_t max, struct ledger_batch *ret);
/* The batch is certain. remember: a read is on its way that may still see the rows. Returns how
 * many. */
uint32_t ledger_acked(struct ledger *l, uint32_t number, bool remember);
/* The same for a batch whose statement found fewer rows than it named: those of streamed
 * transactions that its snapshot did not see yet are DELIVERED again; *ret_kept is how many. */
uint32_t ledger_acked_seen(struct ledger *l, uint32_t number, bool remember,
                           const struct snapshot *seen, uint32_t *ret_kept);
/* The batch failed: DELIVERED again. */
void ledger_unack(struct ledger *l, uint32_t number);

/* No read is on its way any more: forgets DONE. */
void ledger_forget_done(struct ledger *l);
/* The acknowledgement's connection was lost, or is a new one: ACKING is DELIVERED again, and all
 * held is strict. */
void ledger_ack_lost(struct ledger *l);
/* The event under this seq, if it is AHEAD, is to be published once more. */
void ledger_forget_ahead(struct ledger *l, int64_t seq);
/* The stream ends: of AHEAD it keeps what the checkpoint, not reset yet, has not passed. */
void ledger_stream_ends(struct ledger *l);
/* The producer is gone, with what was in it: forgets SENT and DISOWNED. Returns how many SENT. */
uint32_t ledger_forget_sent(struct ledger *l);
/* The rows are no longer ours (another owner, another server, a truncated table): forgets all but
 * what the sink still holds, whose reports then count for nothing. */
void ledger_disown(struct ledger *l);

uint32_t ledger_count(const struct ledger *l, enum entry_state state);
uint32_t ledger_events(const struct ledger *l); /* all entries but those AHEAD */
/* How many of those AHEAD made way for others, by room or by seq. */
uint64_t ledger_made_way(const struct ledger *l);
uint64_t ledger_bytes(const struct ledger *l);

#endif
