/*
 * A row of the outbox as a replication stream brings it: the stream tells the columns' names and
 * types first, and again whenever they may have changed, then rows as values in that order. They
 * are found by the names of the settings, so that columns may come, go and change places while the
 * stream runs.
 */
#ifndef OUTBOX_POSTGRES_STREAM_ROW_H
#define OUTBOX_POSTGRES_STREAM_ROW_H

#include "base/err.h"
#include "core/columns.h"
#include "postgres/pg_value.h"

/* Of a table, by PostgreSQL's MaxHeapAttributeNumber. */
#define STREAM_COLUMNS_MAX 1600

#define STREAM_NOTHING UINT8_MAX /* what means nothing here */

/* Zeroed but for names, there are none. */
struct stream_columns {
    const struct columns *names;               /* borrowed */
    uint16_t n;                                /* all, those that mean nothing here too */
    const struct pg_type *types[COLUMN_SLOTS]; /* NULL: there is no such column */
    uint8_t at[STREAM_COLUMNS_MAX];            /* by place, the slot of additional_column */
};

/* The next one; false when there are too many, or the name has been before. */
bool stream_columns_add(struct stream_columns *c, struct slice name, const struct pg_type *type);

struct stream_row {
    uint16_t n; /* values that it brought */
    bool unsent[COLUMN_SLOTS];
    struct pg_value values[COLUMN_SLOTS]; /* bytes.data == NULL: null, or not sent */
};

/* None yet, of what these columns can bring; NULL: nothing is kept. */
void stream_row_clear(struct stream_row *row, const struct stream_columns *c);
/* The value in that place, if it means something; its type is the column's. */
void stream_row_set(struct stream_row *row, const struct stream_columns *c, uint16_t place,
                    const struct pg_value *v, bool unsent);

/* Values that had to be decoded, valid until the next row. A zeroed struct is empty. */
struct stream_scratch {
    struct buf of[COLUMN_KINDS];
    struct buf of_additional[EVENT_ADDITIONAL_MAX];
    struct slice additional[EVENT_ADDITIONAL_MAX];
};
void stream_scratch_free(struct stream_scratch *s);

/* The event, borrowed from the row's bytes and scratch; ret is zeroed by the caller. ERR_CONFIG
 * when the columns do not fit, ERR_PROTOCOL when the values do not fit the columns, ERR_NOMEM. */
int stream_row_event(const struct stream_row *row, const struct stream_columns *c,
                     struct stream_scratch *scratch, struct event *ret, bool *ret_published,
                     struct err *err);

#endif
