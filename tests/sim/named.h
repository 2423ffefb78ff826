/* A replication slot that outlives its relays, as the imagined server and its lease's row know it.
 * Part of sim.h. */
#ifndef OUTBOX_SIM_NAMED_H
#define OUTBOX_SIM_NAMED_H

#include "core/failure.h"

#include <stdbool.h>
#include <stdint.h>

#define SLOT_XIPS 40 /* more in progress, and a slot's snapshot cannot be exported */
#define SLOT_TEXT (64 + SLOT_XIPS * 24)
#define SLOTS_KNOWN 8 /* snapshots of so many of the last may be written in a lease */

struct sim;
struct relay;
struct row;
struct server;
struct ack_request;
struct pipeline_row;
struct ledger_item;

/* What is asked of the server for a slot. Of a named one each is a statement, and a crash may come
 * between any two; SLOT_START and SLOT_CONFIRM carry a position above the low byte. */
enum slot_ask {
    SLOT_MAKE,
    SLOT_LOOK, /* the server itself: whether all that it waits for has ended */
    SLOT_START,
    SLOT_JUDGE, /* what the lease says of it, and what there is; ends other relays' walsenders */
    SLOT_DROP,
    SLOT_MARK,   /* the lease: it is about to be made */
    SLOT_RECORD, /* the lease: where it begins, and its snapshot */
    SLOT_SETTLE, /* whether reads see all that its snapshot does */
    SLOT_CONFIRM,
};

enum slot_answer {
    SLOT_REFUSED,
    SLOT_MADE,
    SLOT_BUSY,
    SLOT_ABSENT,
    SLOT_HALF_MADE, /* its snapshot was never recorded, so nobody knows what it brings */
    SLOT_DROPPED,
    SLOT_MARKED,
    SLOT_RECORDED,
    SLOT_KNOWN,
    SLOT_UNSEEN,
    SLOT_SETTLED,
};

/* The lease's columns. */
struct lease_slot {
    bool marked;
    bool recorded;
    bool table;    /* what its snapshot sees has still to be read from the table */
    uint32_t made; /* its number */
    uint64_t lsn;  /* all before it is in Kafka */
};

struct place {
    uint32_t row;
    uint64_t end;
};

struct named {
    bool exists;
    int reader; /* whose walsender streams from it, or NOBODY */
    int64_t busy_until;
    uint64_t begins;           /* what commits behind it is streamed; UINT64_MAX without one */
    uint64_t confirmed, saved; /* a crash takes the one back to the other */
    uint32_t made;             /* how many ever */
    char snapshots[SLOTS_KNOWN][SLOT_TEXT];
    struct lease_slot lease;
    struct place *placed; /* events by their place in the log */
    uint32_t passed;      /* up to this place all was found in Kafka */
};

/* ---- world_named.c: the server's side ---- */
void named_init(struct sim *s);
void named_free(struct sim *s);
/* An event has got its place in the log; its end is told once it is known. */
void named_place(struct sim *s, uint32_t row);
/* What of it has been saved is what a crash leaves. */
void named_crash(struct sim *s);
void named_checkpoint(struct sim *s);
/* Whether so much of the log waits for it that writers have to. */
bool named_full(const struct server *v);
/* Which positions its log has to be kept for; UINT64_MAX for none. */
uint64_t named_holds(const struct server *v);
/* Its name is taken, by one that stands or that another relay's walsender makes. */
bool named_taken(const struct sim *s, const struct relay *r);
void named_slot(struct sim *s, struct relay *r, enum slot_ask ask, uint64_t lsn);
/* It was made here: the relay's slot has its snapshot. */
void named_stands(struct sim *s, struct relay *r);
/* The connection is gone, from either side: what was asked may have reached the server. */
void named_left(struct sim *s, struct relay *r);
/* The lease's position, with an acknowledgement. */
void named_store(struct sim *s, uint64_t lsn);

/* ---- world_outside.c: an application deletes one of its own events ---- */
void named_delete(struct sim *s);

/* ---- relay_named.c: what relay.c does ---- */
/* What an acknowledgement stores. */
uint64_t named_position(const struct sim *s, const struct relay *r, uint64_t wanted);
bool named_report(struct sim *s, struct relay *r, uint64_t tag, enum delivery what,
                  struct ledger_item *ret_item);
void named_up(struct sim *s, struct relay *r);
void named_answer(struct sim *s, struct relay *r, enum slot_answer answer);
void named_start(struct sim *s, struct relay *r);
/* The pipeline has ended, by itself. */
void named_exits(struct sim *s, const struct relay *r);
void named_confirm(struct sim *s, struct relay *r);
/* The mistake of passing over by itself what the relay holds. */
bool named_overlooks(const struct sim *s, const struct relay *r, const struct pipeline_row *row);
/* An acknowledgement was answered: it is certain for the rows that it did not find too early. */
void named_acked(struct sim *s, const struct relay *r, const struct ack_request *q);

/* ---- check_named.c ---- */
/* Whether the event has to reach Kafka, though it may be in no table any more. */
bool check_owed(const struct sim *s, uint32_t row);
/* A position is stored or confirmed, or is where a stream begins: Kafka has all before it. */
void check_position(struct sim *s, uint64_t lsn);
void check_stored(struct sim *s, const struct relay *r, uint64_t lsn);
/* Whether this stream may bring the event once more, though it is certain. */
bool check_repeats(struct sim *s, struct relay *r, const struct row *row, uint32_t stream);
void check_confirm(struct sim *s, uint64_t lsn);

#endif
