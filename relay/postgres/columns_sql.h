/*
 * The outbox under the schema's own names and types, whatever its own are. Of a table that is plain
 * it is the table itself. Of another one a subselect that only renames and casts, which the planner
 * merges into the statement around it: conditions on seq, xid and published_at meet the bare
 * columns there, and use their indexes. All append to sql, whose failed flag tells of memory.
 */
#ifndef OUTBOX_POSTGRES_COLUMNS_SQL_H
#define OUTBOX_POSTGRES_COLUMNS_SQL_H

#include "base/buf.h"
#include "postgres/inspect.h"

/* What stands behind FROM; an alias has to follow. */
void columns_rows(struct buf *sql, const struct pg_facts *facts);
/* The columns of alias, which is the table itself: for RETURNING. */
void columns_list(struct buf *sql, const struct pg_facts *facts, const char *alias);
/* Of such rows what a page has, in the order of page_row.c; and as many nulls of their types, for a
 * row that opens it, behind the first n. */
void columns_fields(struct buf *sql, const struct pg_facts *facts);
void columns_more_nulls(struct buf *sql, const struct pg_facts *facts);
/* Of such a row "o" its headers, with the additional ones in front: of an event that leaves the
 * outbox. */
void columns_folded(struct buf *sql, const struct pg_facts *facts);

/* Back: "(columns) SELECT values" out of the rows of a table "d" with the schema's own names but
 * without seq, in whose headers additional ones may be. */
void columns_insert(struct buf *sql, const struct pg_facts *facts);
/* Of such a row "d" the setting of what it has and the outbox has no column for; or null. */
void columns_lost(struct buf *sql, const struct pg_facts *facts);

/* Is it text or bytes instead of JSON, so that it is kept as bytes? */
bool columns_payload_is_bytes(const struct pg_facts *facts);

#endif
