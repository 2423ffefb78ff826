/*
 * Ownership of one lease row: acquire, renew, give back, all by one UPDATE judged by the database's
 * clock; our own deadline is core/lease's. The row's epoch rises with each change of owner and with
 * each TRUNCATE of the outbox.
 */
#ifndef OUTBOX_POSTGRES_OWNER_H
#define OUTBOX_POSTGRES_OWNER_H

#include "core/lease.h"
#include "postgres/conn.h"
#include "postgres/inspect.h"

struct owner;

struct owner_callbacks {
    /* The lease is ours. continued: nobody held it since we did, and the table was not truncated.
     */
    void (*on_owned)(void *arg, uint64_t epoch, bool continued);
    /* It is no longer ours, or cannot be renewed in time: stop publishing at once. */
    void (*on_disowned)(void *arg, const char *why);
    /* Still ours, but the outbox was truncated: what was in flight has no rows any more. */
    void (*on_truncated)(void *arg, uint64_t epoch);
    /* A request of ours failed for another reason than the connection; why NULL: no more. */
    void (*on_error)(void *arg, const struct err *why);
};

/* Who holds the lease, as last seen. */
struct owner_view {
    bool held;
    bool seen; /* the row has been read, since we last let go of it for want of an answer */
    int shard;
    uint64_t epoch;
    char name[128];        /* of the owner; empty for nobody */
    int64_t expires_in_ms; /* when last seen */
};

/* name: shown to people; me: this process's uuid text. The caller owns *ret. ERR_NOMEM. */
int owner_open(struct owner **ret, uv_loop_t *loop, int shard, const char *me, const char *name,
               int64_t ttl_ms, const struct owner_callbacks *callbacks, void *arg, struct err *err);
/* The connection that it may use, and the names; NULL when it is lost. */
void owner_connect(struct owner *o, struct pg_conn *conn, const struct pg_facts *facts);
/* Asks now: another owner has said that it stops, or an acknowledgement was fenced. */
void owner_check(struct owner *o);
/* Steps down if the deadline has passed: for callers that are about to publish. A process that was
 * stopped and goes on meets its sockets before its timers. */
void owner_expire(struct owner *o, int64_t now);
/* Gives the lease back; done is called when the server has said so, or could not be asked. */
void owner_release(struct owner *o, void (*done)(void *arg), void *arg);
void owner_view(const struct owner *o, struct owner_view *ret);
void owner_close(struct owner *o, void (*on_closed)(void *arg), void *arg);

#endif
