/*
 * Which column of the outbox holds what, as the settings columns.* say, and which more of its
 * columns become headers (columns.additional, in the syntax of Debezium's
 * table.fields.additional.placement). Made once; everything that speaks of the table takes it.
 */
#ifndef OUTBOX_CORE_COLUMNS_H
#define OUTBOX_CORE_COLUMNS_H

#include "base/err.h"
#include "core/event.h"

enum column_kind {
    COLUMN_SEQ,
    COLUMN_ID,
    COLUMN_XID,
    COLUMN_AGGREGATETYPE,
    COLUMN_AGGREGATEID,
    COLUMN_TYPE,
    COLUMN_PAYLOAD,
    COLUMN_PAYLOAD_BYTES,
    COLUMN_HEADERS,
    COLUMN_TOPIC,
    COLUMN_PARTITION,
    COLUMN_CREATED_AT,
    COLUMN_PUBLISHED_AT,
    COLUMN_KINDS,
};

#define COLUMN_NAME_MAX 63 /* bytes: PostgreSQL's NAMEDATALEN - 1 */
#define COLUMN_NAME_SIZE (COLUMN_NAME_MAX + 1)
#define COLUMN_QUOTED_SIZE (2 * COLUMN_NAME_MAX + 3)
#define COLUMN_HEADER_SIZE 128

struct column_name {
    char text[COLUMN_NAME_SIZE];     /* as the catalogue has it; "" : there is no such column */
    char quoted[COLUMN_QUOTED_SIZE]; /* as SQL takes it; its own plain name stays as it is */
};

struct additional_column {
    struct column_name name;
    char header[COLUMN_HEADER_SIZE];
    /* Where a row has its value: a column_kind where the column is one of those too, else
     * COLUMN_KINDS and the place of the first that names it. */
    uint8_t slot;
};

/* How the headers of a dead event's copy begin, by which one is told. */
#define COLUMN_COPY_BEGIN "{\"outbox.error\":"

#define COLUMN_SLOTS (COLUMN_KINDS + EVENT_ADDITIONAL_MAX)

struct columns {
    struct column_name names[COLUMN_KINDS];
    struct additional_column additional[EVENT_ADDITIONAL_MAX];
    uint32_t nadditional;
    bool renamed; /* some name is not the schema's own, or there is an additional one */
};

/* The schema's own name, which is the setting's behind "columns." too. */
const char *column_own_name(enum column_kind kind);
/* Whether a table can do without it. */
bool column_optional(enum column_kind kind);

/* names: of each kind, NULL for the schema's own. ERR_CONFIG names the setting and what is wrong
 * with it; ERR_NOMEM. The caller owns *ret, and frees it with free(). */
int columns_new(struct columns **ret, const char *const names[COLUMN_KINDS], const char *additional,
                struct err *err);

bool columns_has(const struct columns *c, enum column_kind kind);

/* The event's headers with its additional ones in front, as an event keeps them that leaves the
 * outbox; borrowed from the event, or from scratch, whose failed flag tells of memory. */
struct slice columns_folded_headers(const struct columns *c, const struct event *event,
                                    struct buf *scratch);

#endif
