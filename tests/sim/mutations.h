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
    X(ACK_BLIND, "ack-blind", "an acknowledgement that found fewer rows counts for all")

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
