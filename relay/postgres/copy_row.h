/*
 * COPY's binary format (PostgreSQL documentation, COPY, "Binary Format"): a 19-byte header, tuples
 * of int16 field count and fields of int32 length (-1 for null) and bytes, an int16 -1 at the end.
 * Over the protocol each CopyData message holds one tuple, the first with the header in front.
 */
#ifndef OUTBOX_POSTGRES_COPY_ROW_H
#define OUTBOX_POSTGRES_COPY_ROW_H

#include "base/err.h"
#include "core/event.h"

enum copy_row_kind {
    COPY_ROW_EVENT,
    COPY_ROW_HEADER, /* of a page that opens a round: snapshot and max(seq) */
    COPY_ROW_END,
};

struct copy_row {
    enum copy_row_kind kind;
    struct event event;    /* COPY_ROW_EVENT; slices borrowed from the message */
    struct slice snapshot; /* COPY_ROW_HEADER */
    bool has_max;
    int64_t max_seq;
};

/* Parses one message; first tells that it is the first of its COPY. ERR_PROTOCOL on anything
 * unexpected. */
int copy_row_parse(struct copy_row *ret, const char *data, size_t len, bool first, struct err *err);

#endif
