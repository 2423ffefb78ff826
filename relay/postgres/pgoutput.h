/*
 * The messages of the plugin pgoutput, protocol version 1, without streaming (PostgreSQL
 * documentation, "Logical Replication Message Formats"): one byte that tells the kind, then
 * big-endian fields, strings ended by a NUL, and rows as int16 column count and for each column one
 * byte: n (null), u (not sent: unchanged TOAST), or t or b (text, binary) with int32 length and
 * bytes. No I/O. A session that sends text needs DateStyle ISO and bytea_output hex.
 */
#ifndef OUTBOX_POSTGRES_PGOUTPUT_H
#define OUTBOX_POSTGRES_PGOUTPUT_H

#include "base/err.h"
#include "core/columns.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pgoutput;

enum pgoutput_kind {
    PGOUTPUT_BEGIN,
    PGOUTPUT_COMMIT,
    PGOUTPUT_INSERT,   /* into the outbox */
    PGOUTPUT_TRUNCATE, /* of the outbox, perhaps with others */
    PGOUTPUT_MESSAGE,  /* of pg_logical_emit_message() */
    PGOUTPUT_OTHER,    /* nothing to do */
};

/* What its kind does not have is zero. */
struct pgoutput_message {
    enum pgoutput_kind kind;
    uint64_t final_lsn;   /* BEGIN: of the commit record */
    uint64_t end_lsn;     /* COMMIT: of what follows it */
    uint32_t xid;         /* BEGIN: top-level, without its epoch */
    int64_t committed_us; /* BEGIN: microseconds since 1970 */
    /* INSERT; slices borrowed from the message or the parser until the next call. Columns that the
     * stream does not have are null; xid and created_us are then 0, and so they are when null. */
    struct event event;
    bool published;      /* INSERT: published_at is not null, so there is nothing to publish */
    bool transactional;  /* MESSAGE */
    uint64_t lsn;        /* MESSAGE */
    struct slice prefix; /* MESSAGE; borrowed as the event's */
    struct slice content;
};

/* columns: borrowed for its life. The caller owns *ret. ERR_NOMEM. */
int pgoutput_new(struct pgoutput **ret, const struct columns *columns, struct err *err);
void pgoutput_free(struct pgoutput *p);
/* The outbox, by its oid (publish_via_partition_root gives the root's); until then there is none.
 * To be named before the stream starts: of other relations nothing is remembered. */
void pgoutput_set_table(struct pgoutput *p, uint32_t oid);
/* Another relation is the outbox as soon as the stream names it so: one that became a partition is
 * followed by the partitioned one that took its name. Borrowed. */
void pgoutput_set_name(struct pgoutput *p, const char *schema, const char *name);
/* A new stream: relations are told again. */
void pgoutput_reset(struct pgoutput *p);
/*
 * Parses one message: what follows the 25 bytes of an XLogData's own. ERR_PROTOCOL on anything
 * unexpected, ERR_CONFIG when the outbox's columns do not fit (their names are in the error),
 * ERR_NOMEM; the parser is then as it was.
 */
int pgoutput_parse(struct pgoutput *p, const void *data, size_t len, struct pgoutput_message *ret,
                   struct err *err);

#endif
