/*
 * How long an owner may go on. Its renewals are judged by the database's clock there; here only the
 * elapsed time since a successful renewal was SENT counts, by a clock that never steps and runs
 * through a suspend. The owner stops a margin before the lease can be taken from it.
 */
#ifndef OUTBOX_CORE_LEASE_H
#define OUTBOX_CORE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

struct lease {
    int64_t ttl_ms;
    bool held;
    uint64_t epoch;     /* fences acknowledgements */
    int64_t sent_at;    /* when the request that is on its way was sent; -1: none is */
    int64_t renewed_at; /* when the last successful request was sent */
};

struct lease lease_of(int64_t ttl_ms);
/* A request (acquire or renew) goes out. */
void lease_sent(struct lease *l, int64_t now);
/* Its answer: the lease is ours under this epoch. */
void lease_granted(struct lease *l, uint64_t epoch);
/* Its answer: no; or no answer will come. A held lease stays held until its deadline. */
void lease_refused(struct lease *l);
/* It is lost or given back. */
void lease_drop(struct lease *l);
bool lease_pending(const struct lease *l);
/* When the next renewal is due; a quarter of the time to live after the last. */
int64_t lease_renew_at(const struct lease *l);
/* When everything in flight must be given up: seven eighths of the time to live. */
int64_t lease_deadline(const struct lease *l);

#endif
