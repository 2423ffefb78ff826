/*
 * A replication slot that stays, and its position in the lease's row: made once, with the snapshot
 * that tells which rows of the table came before it, read on from there ever after. Whatever does
 * not fit together stops the relay, with a command for each way on. On an owner's own session; its
 * statements do nothing under another epoch.
 */
#ifndef OUTBOX_POSTGRES_NAMED_SLOT_H
#define OUTBOX_POSTGRES_NAMED_SLOT_H

#include "postgres/conn.h"
#include "postgres/inspect.h"

struct named_slot;

enum named_step {
    NAMED_MAKE,
    NAMED_MAKE_AGAIN, /* it was being made when the relay was killed: dropped first */
    NAMED_RESUME,
    NAMED_BUSY, /* another process reads it, that of an owner just gone perhaps */
};

/* Where a stream begins. */
struct wal_start {
    uint64_t lsn;
    /* With table: the rows that it sees are not streamed. Else just what is visible now. Borrowed.
     */
    struct slice snapshot;
    bool table;
};

/* No owner's epoch: the statements hold as long as no relay owns the outbox. */
#define LEASE_EPOCH_NOBODY 0

struct named_slot_options {
    const char *name;
    uint64_t epoch; /* of the lease */
    bool look_only;
    int64_t timeout_ms; /* for which it may be busy, and its snapshot unseen */
};

struct named_slot_callbacks {
    /* With NAMED_MAKE it is to be made, and named_slot_record then called, otherwise
     * named_slot_resume; with look_only that is all. */
    void (*on_ready)(void *arg, enum named_step step);
    /* Reads see all that start->snapshot does. */
    void (*on_start)(void *arg, const struct wal_start *start);
    void (*on_failed)(void *arg, const struct err *why);
};

/* The commands by which to begin anew, as they go into an error; slot NULL: there is none. */
struct named_anew {
    char text[700];
};
struct named_anew named_slot_anew(const struct pg_facts *facts, const char *slot);

/* One statement with $1, the slot's name; what its answer means: the step, or ERR_CONFIG with the
 * ways on. ret_start is NAMED_RESUME's, borrowed from res. */
void named_slot_sql(struct buf *sql, const struct pg_facts *facts);
int named_slot_judge(const PGresult *res, const struct pg_facts *facts, const char *name,
                     enum named_step *ret_step, struct wal_start *ret_start, struct err *err);

/* conn (pipelined, up), facts and the name are borrowed for its life. Looks at once. ERR_NOMEM. */
int named_slot_open(struct named_slot **ret, uv_loop_t *loop, struct pg_conn *conn,
                    const struct named_slot_options *options, const struct pg_facts *facts,
                    const struct named_slot_callbacks *callbacks, void *arg, struct err *err);
/* It was made, at lsn, and exported this snapshot. */
void named_slot_record(struct named_slot *s, const char *snapshot, uint64_t lsn);
void named_slot_resume(struct named_slot *s);
/* Nothing is asked any more, and no callback comes. NULL is allowed. */
void named_slot_stop(struct named_slot *s);
/* Once conn is closed. NULL is allowed. */
void named_slot_close(struct named_slot *s, void (*on_closed)(void *arg), void *arg);

#endif
