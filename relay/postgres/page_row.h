/*
 * One row of a page, as COPY's binary format brings it (PostgreSQL documentation, COPY, "Binary
 * Format": a 19-byte header, tuples of int16 field count and fields of int32 length (-1 for null)
 * and bytes, an int16 -1 at the end; over the protocol each CopyData message holds one tuple, the
 * first with the header in front), or as a statement's binary result does.
 */
#ifndef OUTBOX_POSTGRES_PAGE_ROW_H
#define OUTBOX_POSTGRES_PAGE_ROW_H

#include "base/err.h"
#include "core/event.h"

#include <libpq-fe.h>

enum page_row_kind {
    PAGE_ROW_EVENT,
    PAGE_ROW_HEADER, /* of a page that opens a round: snapshot and max(seq) */
    PAGE_ROW_END,
};

struct page_row {
    enum page_row_kind kind;
    struct event event;    /* PAGE_ROW_EVENT; slices borrowed from the message or result */
    struct slice snapshot; /* PAGE_ROW_HEADER */
    bool has_max;
    int64_t max_seq;
    struct slice additional[EVENT_ADDITIONAL_MAX]; /* the event's */
};

/* Parses one message of a COPY; first tells that it is the first. ERR_PROTOCOL on anything
 * unexpected. */
int page_row_of_copy(struct page_row *ret, const char *data, size_t len, bool first,
                     struct err *err);
/* Parses a result of one row. ERR_PROTOCOL likewise. */
int page_row_of_result(struct page_row *ret, const PGresult *res, struct err *err);

#endif
