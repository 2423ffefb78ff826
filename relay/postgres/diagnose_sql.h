/* The statements of diagnose.c. Each row is one finding: severity ("ok", "unseen", "warns",
 * "holds"), what, where, remedy. Private to diagnose*.c. */
#ifndef OUTBOX_POSTGRES_DIAGNOSE_SQL_H
#define OUTBOX_POSTGRES_DIAGNOSE_SQL_H

#include "base/buf.h"
#include "postgres/inspect.h"

#include <stddef.h>

/* The parameters of each, as text. */
enum diagnose_parameter {
    DIAGNOSE_OID, /* $1, of the outbox */
    DIAGNOSE_TABLE,
    DIAGNOSE_LEASE,
    DIAGNOSE_PARKED, /* "": there is none */
    DIAGNOSE_DEAD,
    DIAGNOSE_SLOT, /* "": none is named */
    DIAGNOSE_BUDGET,
    DIAGNOSE_XID, /* the columns' names */
    DIAGNOSE_PUBLISHED_AT,
    DIAGNOSE_PARAMETERS,
};

struct diagnose_probe {
    const char *section;
    const char *well; /* of a section's last: said where the section has no finding */
    const char *sql;
};

/* Those that read catalogues and statistics alone, in the order in which they are shown. */
extern const struct diagnose_probe diagnose_probes[];
extern const size_t diagnose_nprobes;

/* Those that read our tables. */
void diagnose_lease_sql(struct buf *sql, const struct pg_facts *facts);
void diagnose_backlog_sql(struct buf *sql, const struct pg_facts *facts, const char *topic_sql);
void diagnose_parked_sql(struct buf *sql, const struct pg_facts *facts);
void diagnose_dead_sql(struct buf *sql, const struct pg_facts *facts);
/* Columns: a topic, the seconds that its oldest event has waited. */
void diagnose_topics_sql(struct buf *sql, const struct pg_facts *facts, const char *topic_sql);

#endif
