/*
 * What a replication slot needs besides the replication connection, on a session of ordinary SQL
 * beside it, at the same address: that decoding is possible here at all (else with the remedy), the
 * publication, an end to walsenders that a killed relay left behind, the exported snapshot, and how
 * much WAL the slot holds back.
 */
#ifndef OUTBOX_POSTGRES_WAL_SLOT_H
#define OUTBOX_POSTGRES_WAL_SLOT_H

#include "postgres/conn.h"
#include "postgres/inspect.h"
#include "postgres/named_slot.h"

struct wal_slot;

struct wal_slot_options {
    const char *uri; /* the server itself, past any pooler */
    const char *publication;
    const char *name; /* of a slot that stays; "" : a temporary one, of a name of its own */
    bool look_only;   /* nothing is made or ended: on_ready says that it could be */
    int64_t timeout_ms;
    uint64_t seed;
};

/* The last moment's figures. */
struct wal_gauges {
    int64_t retained;  /* bytes of WAL that the slot holds back */
    int64_t behind;    /* bytes of WAL that are not confirmed */
    char blocker[160]; /* what a slot that is being made waits for, "" for nothing known */
};

struct wal_slot_callbacks {
    /* The slot may be made, or resumed. */
    void (*on_ready)(void *arg, enum named_step step);
    /* It may be streamed from. */
    void (*on_start)(void *arg, const struct wal_start *start);
    void (*on_gauges)(void *arg, const struct wal_gauges *gauges);
    /* It cannot be, or the session was lost; wal_slot_close it. ERR_CONFIG and ERR_PERMISSION name
     * what to change, and mend nothing by waiting. */
    void (*on_failed)(void *arg, const struct err *why);
};

/* Connects and looks; facts and the options' strings are borrowed for its life. epoch: of the
 * lease. blocked: the oldest
 * transaction that an earlier slot waited for in vain, 0 for none: not before it has ended. */
int wal_slot_open(struct wal_slot **ret, uv_loop_t *loop, const struct wal_slot_options *options,
                  const struct pg_facts *facts, uint64_t epoch, uint64_t blocked,
                  const struct wal_slot_callbacks *callbacks, void *arg, struct err *err);
/* application_name, and the slot's name, both of this outbox alone; borrowed. */
const char *wal_slot_session(const struct wal_slot *s);
const char *wal_slot_name(const struct wal_slot *s);
/* It was made, at lsn: asks what the snapshot that it exported sees. */
void wal_slot_import(struct wal_slot *s, const char *exported, uint64_t lsn);
/* It was there already. */
void wal_slot_resume(struct wal_slot *s);
void wal_slot_ask_gauges(struct wal_slot *s);
/* The oldest transaction running when the gauges were last asked; 0 unknown. */
uint64_t wal_slot_oldest(const struct wal_slot *s);
/* Ends the walsender as well, which does not notice by itself that its client has gone while it
 * waits for transactions; pid 0: there is none. NULL is allowed. */
void wal_slot_close(struct wal_slot *s, int walsender, void (*on_closed)(void *arg), void *arg);

#endif
