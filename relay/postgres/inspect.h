/* What the relay has to know of a server, a table and its own rights before it reads, and every
 * reason to refuse. */
#ifndef OUTBOX_POSTGRES_INSPECT_H
#define OUTBOX_POSTGRES_INSPECT_H

#include "base/buf.h"
#include "base/err.h"
#include "core/columns.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* The high half of the wake-up lock's key, as in the schema's trigger; the low half is the table's
 * oid. */
#define PG_WAKEUP_CLASS 1869967992

/* Which server, and which history of it: after a fail-over the same numbers may mean other rows. */
struct pg_identity {
    uint64_t system_identifier;
    uint32_t timeline;
};

struct pg_facts {
    const struct columns *columns;   /* borrowed from the options */
    bool plain;                      /* all names and types are the schema's own */
    const char *types[COLUMN_KINDS]; /* NULL: there is no such column */
    const char *additional_types[EVENT_ADDITIONAL_MAX];
    char table[200]; /* qualified and quoted */
    char lease[200];
    char parked[200]; /* "" : there is none */
    char dead[200];
    bool queues;     /* parked has room for the events themselves */
    bool buries;     /* dead events may be counted there */
    char schema[64]; /* of the table, as they are */
    char name[64];
    char channel[32]; /* NOTIFY */
    int64_t lock_key; /* wake-up */
    uint32_t oid;
    uint32_t former; /* the oid that it had before it was partitioned; 0: it was not, or long ago */
    int server_version;
    struct pg_identity identity;
    /* Prepared transactions are possible and the database does not say that writers may notify: the
     * trigger keeps silent. */
    bool notify_off;
    /* Another process has answered than was connected to: something in between hands statements
     * on, by the transaction perhaps. What one leaves behind the next may find, or not. */
    bool pooled;
    char database[64];
    char user[64];
};

struct pg_inspect_options {
    const char *table; /* as configured */
    const struct columns *columns;
    bool mark;   /* ack.mode=mark: UPDATE instead of DELETE */
    bool parks;  /* failure.policy or failure.topics say park */
    bool buries; /* or dead-letter */
    bool named;  /* source.slot: events may be in no table */
    bool copies; /* and failure.dead_letter_topic is set */
};

/* One statement, and its parameters, text, borrowed from the options. */
#define PG_INSPECT_PARAMETERS 3
const char *pg_inspect_sql(void);
void pg_inspect_parameters(const struct pg_inspect_options *options,
                           const char *ret[PG_INSPECT_PARAMETERS]);

/* Reads its answer; what ret borrows are the options' columns. Errors: ERR_CONFIG, ERR_PERMISSION,
 * ERR_UNAVAILABLE (a standby), each with the remedy. */
int pg_inspect_read(struct pg_facts *ret, const PGresult *res,
                    const struct pg_inspect_options *options, struct err *err);

/* The table and its columns alone, whatever else is amiss. */
int pg_inspect_columns(struct pg_facts *ret, const PGresult *res,
                       const struct pg_inspect_options *options, struct err *err);

/* Whether the relay reads a column of that type, by its name in the catalogue without a modifier.
 */
bool pg_column_type_ok(enum column_kind kind, const char *type, size_t len);

/* The identity alone: two columns, system identifier and timeline in hex (null on a standby). */
const char *pg_identity_sql(void);
void pg_identity_read(struct pg_identity *ret, const PGresult *res, int column);
bool pg_identity_equal(const struct pg_identity *a, const struct pg_identity *b);

#endif
