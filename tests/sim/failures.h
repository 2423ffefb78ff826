/* Events that cannot be published for their own sake, as the imagined server and each relay know
 * them. Part of sim.h. */
#ifndef OUTBOX_SIM_FAILURES_H
#define OUTBOX_SIM_FAILURES_H

#include "broker.h"
#include "core/pipeline.h"

#include <stdbool.h>
#include <stdint.h>

#define RECORDS_MAX 8 /* statements on their way */
#define FAILING_MAX 1024

struct sim;
struct relay;
struct row;
struct happening;
struct config;
struct log_entry;

/* ---- the server ---- */

/* TABLE_parked and TABLE_dead, as rows of the outbox that are or were. */
struct graves {
    uint32_t *parked, *dead;
    uint32_t nparked, ndead;
    uint16_t by_key[KEYS]; /* of the parked ones */
    uint64_t ever;         /* keys that were ever parked, a bit each */
    uint64_t before_last;  /* what the list before the last one said */
    uint64_t last;
};

/* ---- a relay ---- */

enum record_answer { RECORD_FAILED, RECORD_FENCED, RECORD_MISSING, RECORD_MADE };

struct record_request {
    bool used, executed, dead;
    uint32_t row;
    uint64_t tag, epoch;
    enum record_answer answer;
};

struct failing {
    uint64_t tag;
    uint32_t row;
    bool dead; /* to be moved to the dead, not parked */
    bool sent;
    bool reported; /* it was in flight, and not found when it was read or put */
};

struct failures {
    enum failure_mode policies[TOPICS];
    struct failing list[FAILING_MAX]; /* still to be recorded, oldest first */
    uint32_t n;
    struct record_request records[RECORDS_MAX];
    bool owning;
    bool listing, list_again, list_wanted;
    bool list_ok;
    uint64_t listed;          /* the answer that is on its way: a bit for each key */
    int64_t tick_at, list_at; /* ms */
};

/* ---- world_failures.c: the server's side, the operator, services that delete ---- */
void failures_init(struct sim *s);
void failures_free(struct sim *s);
void failures_draw(struct sim *s, struct config *c);
/* What a crash takes back of an entry of the log. */
void failures_undo(struct sim *s, const struct log_entry *e, uint32_t row);
/* A request reaches the server; executed once. */
void world_record(struct sim *s, struct relay *r, struct record_request *q);
void world_list(struct sim *s, struct relay *r);
/* Whether a page of a start leaves the row out. */
bool world_left_out(const struct sim *s, const struct read_request *q, const struct row *row);
/* Somebody retries, discards or deletes; one: deletes that row, which is counted from 1. */
void world_operator(struct sim *s, uint64_t one);
/* Whatever was wrong with the event is so no more. */
void world_mend(struct row *row);

/* ---- relay_failures.c: what relay_failures.c and postgres/failures.c of the relay do ---- */
void failures_begin(struct sim *s, struct relay *r, struct pipeline_options *options);
/* What the row is to the pipeline, apart from what it holds. */
void failures_item(struct sim *s, const struct relay *r, uint32_t index, struct pipeline_row *row);
/* The pipeline holds it as failed. */
void failures_add(struct sim *s, struct relay *r, uint64_t tag, uint32_t row, bool reported);
/* The control connection, or the lease, is lost, or stands again. */
void failures_disconnected(struct relay *r);
void failures_disowned(struct relay *r);
void failures_joined(struct sim *s, struct relay *r);
void failures_owned(struct sim *s, struct relay *r, bool continued);
/* What was asked of a connection that has broken may have been carried out. */
void failures_broken(struct sim *s, struct relay *r);
void failures_look(struct sim *s, struct relay *r);
void failures_answer(struct sim *s, struct relay *r, const struct happening *h);
/* Of each turn of the loop, and when the next one is due, in ms. */
void failures_turn(struct sim *s, struct relay *r);
int64_t failures_due(const struct relay *r);
/* Whether the sink takes the row; else why not. */
bool failures_takes(struct sim *s, struct relay *r, uint32_t row, enum delivery *ret_why);
uint64_t failures_hash(uint32_t key);

/* ---- check_failures.c ---- */
/* An event is on record that nobody refused, or for another than the owner, or more wait for that
 * than may. */
void check_recorded(struct sim *s, const struct relay *r, uint32_t row);
void check_failing(struct sim *s, const struct relay *r);
/* The list has been read: the pipeline knows these keys, and those of what it still records. */
void check_listed(struct sim *s, struct relay *r);
/* A page is read for the owner: whatever is parked it knows. */
void check_known(struct sim *s, const struct relay *r);
/* Behind a parked one nothing of its key is appended, and nothing that was discarded. */
void check_parked(struct sim *s, uint32_t row, bool zombie);
/* The relay has the row, or knows of one of its key that it waits behind. */
bool check_waits(const struct relay *r, uint32_t index, const struct row *row);
/* Taken out of the outbox, for good or until somebody retries it. */
bool check_taken_out(const struct row *row);

#endif
