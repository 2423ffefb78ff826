/*
 * What holds events back on the side of PostgreSQL, named, with the statement that ends it.
 * Blocking, for a command, and bounded: catalogues are read, and of the outbox no more than a
 * statement's time and a lock's allow. It changes nothing, and shows no query's text.
 */
#ifndef OUTBOX_POSTGRES_DIAGNOSE_H
#define OUTBOX_POSTGRES_DIAGNOSE_H

#include "core/finding.h"
#include "postgres/inspect.h"

struct diagnose_options {
    const char *uri; /* as postgres.uri */
    struct pg_inspect_options table;
    const char *slot;      /* source.slot, "" for none */
    int64_t wal_budget;    /* bytes */
    const char *topic_sql; /* the routed topic of row "o" */
};

struct diagnose_callbacks {
    finding_fn on_finding;
    /* A topic, of a name that is legal, that events wait for: the oldest for waited seconds. */
    void (*on_topic)(void *arg, const char *topic, double waited);
};

/* Returns 0 when all was looked at that may be. Errors, which have been told of as a finding, too:
 * ERR_UNAVAILABLE, ERR_CONFIG and ERR_PERMISSION as `run` would end with them. */
int diagnose(const struct diagnose_options *options, const struct diagnose_callbacks *callbacks,
             void *arg, struct err *err);

#endif
