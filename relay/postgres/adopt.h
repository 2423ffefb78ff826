/*
 * An outbox that is there already: what its table has of what the relay needs, the migration that
 * adds the rest without rewriting it and without its writers noticing, and how to go on where the
 * slot of whoever published before stands. It only looks; what it makes is text, for people to run.
 * Blocking, for commands.
 */
#ifndef OUTBOX_POSTGRES_ADOPT_H
#define OUTBOX_POSTGRES_ADOPT_H

#include "base/buf.h"
#include "base/err.h"
#include "core/columns.h"

#include <stdbool.h>

enum adopt_shape {
    ADOPT_OTHER,
    ADOPT_DEBEZIUM,  /* id, aggregatetype, aggregateid, type, payload */
    ADOPT_GOHARVEST, /* kafka_topic, kafka_key, kafka_value, kafka_header_keys, ... */
};

enum adopt_index { ADOPT_SEQ, ADOPT_UNPUBLISHED_SEQ, ADOPT_UNPUBLISHED_XID, ADOPT_INDEXES };

/* One of its columns, with the type's name as format_type() gives it, without a modifier. */
struct adopt_column {
    const char *name;
    const char *type;
};

/* What the server says of a table; strings are borrowed from its answer. */
struct adopt_table {
    const char *schema; /* as it is */
    const char *name;
    const char *quoted; /* both, quoted where it has to be */
    struct adopt_column *columns;
    size_t ncolumns;
    int version;      /* of the schema that is installed for it; 0: none */
    bool decodes;     /* wal_level is logical */
    bool publication; /* the one of that name is there */
    bool publishes;   /* and has the table */
    bool marked;      /* the lease has the position behind which a slot may be taken over */
    bool indexed[ADOPT_INDEXES];
    bool broken[ADOPT_INDEXES]; /* left invalid by a CREATE INDEX CONCURRENTLY that failed */
};

struct adopt_request {
    const char *uri;                        /* as postgres.uri */
    const char *table;                      /* as source.table */
    const char *publication;                /* as source.publication */
    const char *slot;                       /* to go on where it stands; NULL: the migration */
    const char *names[COLUMN_KINDS];        /* as columns.*, with their defaults */
};

/* Where each of the relay's columns is: "" for none; adds: it is to be made. */
struct adopt_plan {
    enum adopt_shape shape;
    const char *names[COLUMN_KINDS]; /* borrowed of the request, or constant */
    bool adds[COLUMN_KINDS];
};

/* ERR_CONFIG: a column that cannot be made up has to be named. */
int adopt_plan(struct adopt_plan *ret, const struct adopt_table *table,
               const struct adopt_request *request, struct err *err);

/* Writes what is to be run, all borrowed. */
typedef int (*adopt_text_fn)(struct buf *sql, const struct adopt_table *table,
                             const struct adopt_plan *plan, const struct adopt_request *request,
                             struct err *err);

/* Looks at the table, and at the slot where one is named, and has it written. ERR_CONFIG (no such
 * table or slot, ...), ERR_UNAVAILABLE (the slot is being read), ERR_PERMISSION, ... */
int adopt(const struct adopt_request *request, adopt_text_fn text, struct buf *sql,
          struct adopt_plan *ret_plan, struct err *err);

#endif
