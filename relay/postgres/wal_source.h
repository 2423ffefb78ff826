/*
 * The wal source: a slot with a walsender's connection, and what pgoutput streams through it
 * (PostgreSQL documentation, "Streaming Replication Protocol": XLogData 'w', keepalive 'k', status
 * update 'r'). Of a temporary slot nothing outlives its connection; a named one is made where there
 * is none, and stays. It decides nothing: the pipeline says when to make, start and drop a slot,
 * and whether rows may flow.
 */
#ifndef OUTBOX_POSTGRES_WAL_SOURCE_H
#define OUTBOX_POSTGRES_WAL_SOURCE_H

#include "core/event.h"
#include "postgres/wal_slot.h"

struct wal_source;

struct wal_source_callbacks {
    /* The slot stands. */
    void (*on_made)(void *arg, const struct wal_start *start);
    /* There is no slot any more, or none could be made; nothing of it follows. ERR_CONFIG and
     * ERR_PERMISSION name what to change. */
    void (*on_lost)(void *arg, const struct err *why);
    /* commit: where its commit is. */
    void (*on_begin)(void *arg, uint32_t xid, uint64_t commit);
    /* Returns false where the row has to wait: it is given again once wal_source_flow says so. */
    bool (*on_row)(void *arg, const struct event *event);
    /* The same of a logical message, with a named slot alone; its event's seq is
     * wal_message_seq(lsn). An event that its content does not make is NULL: why says why. */
    bool (*on_message)(void *arg, uint64_t lsn, const struct event *event, const struct err *why);
    /* One with our prefix that is part of no transaction, and of no stream of events therefore. */
    void (*on_odd_message)(void *arg, uint64_t lsn);
    void (*on_end)(void *arg, uint64_t lsn);
    /* Between transactions: the server has nothing more up to lsn. */
    void (*on_idle)(void *arg, uint64_t lsn);
    void (*on_gauges)(void *arg, const struct wal_gauges *gauges);
};

struct wal_source_options {
    struct wal_slot_options slot;
    const char *message_prefix;
    const struct columns *columns;
};

/* A message's place among rows: where no table's seq is. */
int64_t wal_message_seq(uint64_t lsn);

/* The options' strings are borrowed for its life. The caller owns *ret. ERR_NOMEM. */
int wal_source_open(struct wal_source **ret, uv_loop_t *loop,
                    const struct wal_source_options *options,
                    const struct wal_source_callbacks *callbacks, void *arg, struct err *err);
/* Connects, and makes a slot or finds the named one; facts are borrowed until it is dropped or
 * lost. epoch: of the lease. done: what the lease may not know yet is done as well up to here. One
 * at a time. */
void wal_source_make(struct wal_source *w, const struct pg_facts *facts, uint64_t epoch,
                     uint64_t done);
/* Streams from it. */
void wal_source_start(struct wal_source *w);
/* Whether rows may come; told again when that changes. False where a row waits all the same. */
bool wal_source_flow(struct wal_source *w, bool flows);
/* All before lsn is done, for good; goes out with the next status update. */
void wal_source_confirm(struct wal_source *w, uint64_t lsn);
/* Gives the slot up, without a callback. blocked: it waited too long for the transactions that run
 * now, so the next one is not made before they have ended. */
void wal_source_drop(struct wal_source *w, bool blocked);
/* Is a slot being made? */
bool wal_source_making(const struct wal_source *w);
/* Asks for the gauges, if there is a slot. */
void wal_source_ask_gauges(struct wal_source *w);
void wal_source_close(struct wal_source *w, void (*on_closed)(void *arg), void *arg);

#endif
