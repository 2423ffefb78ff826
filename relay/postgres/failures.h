/*
 * Events that cannot be published, on record, under the lease's epoch as acknowledgements are. Of
 * rows: parked (a row in TABLE_parked, the event stays) or dead (moved to TABLE_dead in one
 * statement). Of what may be in no table, with all that it holds: parked, as what waits behind it
 * is, in the order of adding, or dead; its row, if there is one, is acknowledged afterwards like
 * any other. And the list of what is parked.
 */
#ifndef OUTBOX_POSTGRES_FAILURES_H
#define OUTBOX_POSTGRES_FAILURES_H

#include "core/event.h"
#include "postgres/conn.h"
#include "postgres/inspect.h"

struct failures;

struct failures_callbacks {
    /* It is on record; gone: its row was not there any more. */
    void (*on_recorded)(void *arg, uint64_t tag, bool gone);
    /* Not yet, and tried again later. */
    void (*on_error)(void *arg, const struct err *why);
    void (*on_list_begin)(void *arg);
    /* goes: its queue may go on. Borrowed. */
    void (*on_list_key)(void *arg, struct slice topic, struct slice key, bool goes);
    void (*on_list_end)(void *arg);
};

/* columns: borrowed for its life. topic_sql: the routed topic of row "o", an expression.
 * copy_topic: of the dead one each is copied to that topic, in which ${topic} is its own, by a row
 * of the outbox in the same statement; "" for no copies. Both are copied. The caller owns *ret;
 * failures_free after the connection was closed. ERR_NOMEM. */
int failures_new(struct failures **ret, const struct columns *columns, const char *topic_sql,
                 const char *copy_topic, const struct failures_callbacks *callbacks, void *arg,
                 struct err *err);
void failures_free(struct failures *f);

enum failure_kind {
    FAILURE_ROW_PARKED,
    FAILURE_ROW_DEAD,
    FAILURE_WHOLE_PARKED,
    FAILURE_WHOLE_DEAD,
    FAILURE_AGAIN, /* it is in a queue, and parked there once more */
};

struct failure_request {
    uint64_t tag;
    enum failure_kind kind;
    int64_t seq;
    const unsigned char *id;
    const char *class; /* static storage */
    const char *error;
    const struct event *event; /* whole: NULL where it is in the table, or is to come */
    bool to_come;              /* by failures_give; it is not sent before */
    struct slice routed;       /* with event: the topic that it is meant for */
    uint64_t lsn;              /* with event: where it was committed; 0: it is in the table */
};

/* One more; everything is copied. ERR_NOMEM. */
int failures_add(struct failures *f, const struct failure_request *request, struct err *err);
/* What was to come. ERR_NOMEM. */
int failures_give(struct failures *f, uint64_t tag, const struct event *event, struct slice routed,
                  uint64_t lsn, struct err *err);
/* The connection (pipelined) that stands, and the lease that is held; sends what is not sent, again
 * where an answer got lost. NULL: it is lost. facts are borrowed. */
void failures_connect(struct failures *f, struct pg_conn *conn, const struct pg_facts *facts,
                      int shard, uint64_t epoch);
/* The lease is lost, the connection stands: nothing is sent until failures_connect, and what is on
 * its way is answered. */
void failures_pause(struct failures *f);
/* Sends what was not sent yet, or failed. */
void failures_send(struct failures *f);
/* None of them matter any more. */
void failures_clear(struct failures *f);
/* Asks what is parked: on_list_begin, each key, on_list_end; on_error instead. One at a time: asked
 * again meanwhile, it is asked once more afterwards. */
void failures_list(struct failures *f);
uint32_t failures_pending(const struct failures *f);

#endif
