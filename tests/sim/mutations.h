/* Deliberate mistakes of the surroundings, to show that each guarantee's check can fail. */
#ifndef OUTBOX_SIM_MUTATIONS_H
#define OUTBOX_SIM_MUTATIONS_H

#define MUTATIONS(X)                                                                               \
    X(NONE, "none", "nothing is wrong")                                                            \
    X(ACK_EARLY, "ack-before-delivery", "a put counts as delivered")                               \
    X(ID_LAST, "id-greater-last", "reads are 'seq > last' under plain visibility")                 \
    X(DROP_LATE, "drop-late", "the branch of late commits returns nothing")                        \
    X(START_PLAIN, "start-unfiltered", "pages of a start see what committed since it began")       \
    X(IGNORE_CUT, "ignore-cut", "a row that was cut is handed to the sink all the same")           \
    X(LOST_OK, "lost-is-ok", "a report of a lost record counts as delivered")                      \
    X(NO_FENCE, "ack-without-epoch", "acknowledgements do not check the lease's epoch")            \
    X(NO_ID, "ack-by-seq-only", "a strict acknowledgement matches seq alone")                      \
    X(IGNORE_SKIP, "ignore-skip", "a row in flight or acknowledged is put again")                  \
    X(OLD_TAGS, "old-reports", "reports of a dead producer reach the rows of the new one")         \
    X(NO_LOOKUP, "put-before-lookup", "a topic counts as known before the producer knows it")      \
    X(DIRTY_READ, "dirty-read", "uncommitted rows are visible")                                    \
    X(NO_WINDOW, "no-window", "the window is not bounded")                                         \
    X(NO_CONFIRM, "sleep-unconfirmed", "the wake-up lock counts as granted when asked for")        \
    X(DEAF, "deaf", "notifications get lost")                                                      \
    X(LEASE_BLIND, "lease-without-deadline", "an owner that cannot renew goes on")                 \
    X(LEASE_LATE, "lease-from-answer", "a lease counts from its answer, not from its request")     \
    X(REORDER, "no-idempotence", "the broker appends retried batches in another order")            \
    X(GAP, "no-gapless", "rows behind a refused one are delivered")                                \
    X(MUTE_LOOKUP, "mute-lookup", "a topic that is back is never reported")                        \
    X(NO_SWEEP, "no-sweep", "re-inserted rows are never looked for")                               \
    X(TWO_READS, "two-reads", "a read's end is told before its rows have come")                    \
    X(GROW, "memory-grows", "each page leaves something behind")                                   \
    X(UNCOVERED, "stream-uncovered", "the seam does not wait for what the slot's snapshot sees")   \
    X(NO_PASS, "stream-no-skip", "a transaction that the table gave is not passed over")           \
    X(OLD_XID, "stream-old-xid", "a transaction is told under an id that the table's round saw")   \
    X(STREAM_CUT, "stream-ignore-cut", "a streamed row that was cut is not offered again")         \
    X(LATE_START, "stream-late-start", "what commits just behind the slot is not streamed")        \
    X(END_FIRST, "stream-end-first", "a transaction's end is told before its rows")                \
    X(ACK_BLIND, "ack-blind", "an acknowledgement that found fewer rows counts for all")           \
    X(LOSS_FORGOTTEN, "named-loss-forgotten", "a row that is held no more counts as done")         \
    X(SKIP_HELD, "named-skip-held", "what is held does not count in the stream that repeats it")   \
    X(HALF_TABLE, "named-half-table", "the stream flows before all of the table has been read")    \
    X(STORE_EARLY, "named-store-early", "a position is stored before the table is done")           \
    X(TABLE_ONCE, "named-table-once", "the table is read once, though no position was stored")     \
    X(NEW_SNAPSHOT, "named-new-snapshot", "the table is read by a later snapshot than the slot's") \
    X(UNFLUSHED, "named-unflushed", "a stored position is answered before it is flushed")          \
    X(UNSETTLED, "named-unsettled", "the table is read before all that the slot sees is visible")  \
    X(HALF_MADE, "named-half-made", "a slot without a recorded snapshot is used as it is")         \
    X(START_RECEIVED, "named-start-received", "a stream begins behind what the last one brought")  \
    X(CONFIRM_DONE, "named-confirm-done", "what is done is confirmed before it is stored")         \
    X(PASS_AWAY, "named-pass-away", "an event whose topic is away is passed over")                 \
    X(PASS_INVALID, "named-pass-invalid", "an event that is no record is passed over")             \
    X(KEYS_UNASKED, "parked-unasked", "nobody asks whether a key waits behind a parked event")     \
    X(PARKED_LATE, "parked-late", "a key waits only once its failed event is on record")           \
    X(LIST_EMPTY, "parked-list-empty", "each list of what is parked counts as empty")              \
    X(LIST_OLD, "parked-list-old", "the list before the last one is taken as news")                \
    X(LIST_WINS, "parked-list-wins", "a list releases a key whose event is still to be recorded")  \
    X(UNLISTED, "parked-unlisted", "rows are read before it is known what is parked")              \
    X(RELEASE_UNREAD, "parked-release-unread", "what waited is not read again once released")      \
    X(LEAVE_OUT_EVER, "parked-left-out", "a start leaves out keys that wait no longer")            \
    X(GONE_IGNORED, "record-gone-ignored", "that a failed event's row is gone is not told")        \
    X(GONE_RECORDED, "record-gone-recorded", "a failed event that was not found counts as dead")   \
    X(GONE_RELEASES, "record-gone-releases", "one that is gone releases its key, behind others")   \
    X(RECORD_NO_FENCE, "record-without-epoch", "recording does not check the lease's epoch")       \
    X(FAILED_OK, "failed-acknowledged", "a refused event counts as delivered")                     \
    X(DISCARD_HALF, "discard-half", "a discarded event stays in the outbox")

enum mutation {
#define X(name, text, what) MUTATION_##name,
    MUTATIONS(X)
#undef X
        MUTATION_COUNT
};

const char *mutation_name(enum mutation m);
const char *mutation_what(enum mutation m);
/* MUTATION_COUNT for a name that is none. */
enum mutation mutation_find(const char *name);

#endif
