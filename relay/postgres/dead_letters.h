/* What operators do with events that could not be published, parked and dead alike. Blocking, for
 * commands; it works beside a running relay, which is told. */
#ifndef OUTBOX_POSTGRES_DEAD_LETTERS_H
#define OUTBOX_POSTGRES_DEAD_LETTERS_H

#include "core/columns.h"

#include <stdbool.h>

enum dead_verb {
    DEAD_LIST,
    DEAD_SHOW,    /* with the event's own columns */
    DEAD_RETRY,   /* parked ones go on where they are, dead ones are written once more */
    DEAD_DISCARD, /* thrown away; outbox_discarded keeps who, when and why */
};

/* Which: all that are NULL match; error: a part of it. */
struct dead_filter {
    const char *id;
    const char *key;
    const char *topic;
    const char *error;
};

struct dead_request {
    enum dead_verb verb;
    struct dead_filter filter;
    bool dry_run;       /* only says which */
    bool payload;       /* DEAD_SHOW: with payload, payload_bytes and headers */
    const char *reason; /* DEAD_DISCARD */
    const char *uri;    /* as postgres.uri */
    const char *table;  /* as source.table */
    const struct columns *columns;
};

/* One event: n columns, NULL for SQL null; all borrowed. */
typedef void (*dead_row_fn)(void *arg, int n, const char *const *names, const char *const *values);

/* All or nothing, in one transaction; row for each event that it was about. ERR_CONFIG (no such
 * table; a dead event that is to be written has what the table has no column for), ERR_PERMISSION,
 * ERR_UNAVAILABLE, ... */
int dead_letters(const struct dead_request *request, dead_row_fn row, void *arg, struct err *err);

#endif
