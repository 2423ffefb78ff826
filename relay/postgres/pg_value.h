/*
 * Values of PostgreSQL's types as they come over the wire: binary, as the types' send functions
 * write them (big-endian integers, times in microseconds since 2000-01-01, jsonb behind a version
 * byte of 1), or text, as their output functions do under DateStyle ISO and bytea_output hex.
 */
#ifndef OUTBOX_POSTGRES_PG_VALUE_H
#define OUTBOX_POSTGRES_PG_VALUE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pg_family {
    PG_OTHER, /* what no reader below knows */
    PG_INTEGER,
    PG_UUID,
    PG_XID8,
    PG_TIME,
    PG_TEXT, /* its bytes are its text in either form: json and enums too */
    PG_JSONB,
    PG_BYTEA,
    PG_BOOL,
};

#define PG_OID_JSON 114

struct pg_type {
    uint32_t oid;
    enum pg_family family;
    size_t width; /* of its binary form where that is fixed, else 0 */
    char name[16];
};

/* Static storage, never NULL. A type made by a user is text: enums are, in both forms; domains have
 * to be looked up by the name of the type below them. */
const struct pg_type *pg_type_by_oid(uint32_t oid);
/* Of a type in pg_catalog. */
const struct pg_type *pg_type_by_name(struct slice name);

struct pg_value {
    const struct pg_type *type;
    bool binary;
    struct slice bytes; /* borrowed */
};

/* Each is false when the bytes are no value of the type, which is of the family that the name says.
 */
bool pg_integer(const struct pg_value *v, int64_t *ret);
bool pg_uuid(const struct pg_value *v, unsigned char ret[16]);
bool pg_xid8(const struct pg_value *v, uint64_t *ret);
/* Microseconds since 1970, or EVENT_TIME_MIN/MAX. */
bool pg_time(const struct pg_value *v, int64_t *ret);
/* PG_TEXT, PG_JSONB, PG_BYTEA: borrowed from the value, or from scratch, whose failed flag tells of
 * memory. */
bool pg_bytes(const struct pg_value *v, struct buf *scratch, struct slice *ret);

/* What a cast to text makes of it: of all but PG_OTHER, PG_TIME, PG_XID8 and PG_BYTEA. As pg_bytes.
 */
bool pg_text(const struct pg_value *v, struct buf *scratch, struct slice *ret);

/* What has to be there with this length, else the reader has failed. */
struct reader pg_fixed(struct slice s, size_t len);
/* Microseconds since 2000 to microseconds since 1970, and back. */
int64_t pg_time_to_unix(int64_t us);
int64_t pg_time_of_unix(int64_t us);
bool pg_digits(struct slice s, int64_t *ret);
/* A position in the log as it is printed, two numbers in hex: "16/B374D848". */
bool pg_lsn(const char *text, uint64_t *ret);

#endif
