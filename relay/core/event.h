/* One outbox row as the source hands it over; every slice is borrowed for the length of the call.
 */
#ifndef OUTBOX_CORE_EVENT_H
#define OUTBOX_CORE_EVENT_H

#include "base/buf.h"

#include <stdint.h>

#define EVENT_ID_LEN 16
#define EVENT_ID_TEXT 37 /* 36 characters and a NUL */

/* created_at values that no Kafka timestamp can carry: PostgreSQL's -infinity and infinity. */
#define EVENT_TIME_MIN INT64_MIN
#define EVENT_TIME_MAX INT64_MAX

/* No partition override: the partitioner decides. */
#define EVENT_PARTITION_ANY (-1)

/* Headers out of columns of their own. */
#define EVENT_ADDITIONAL_MAX 16

struct event {
    int64_t seq;
    unsigned char id[EVENT_ID_LEN];
    uint64_t xid; /* top-level transaction id that wrote the row, as its column says */
    struct slice aggregatetype; /* null where the table has no such column */
    struct slice aggregateid;
    struct slice type;          /* likewise */
    struct slice payload;       /* json text as written; data == NULL is SQL null */
    struct slice payload_bytes; /* never both */
    struct slice headers;       /* json text of an object, or null */
    struct slice topic;         /* override, or null */
    bool has_partition;
    int32_t partition;
    int64_t created_us; /* microseconds since 1970, or EVENT_TIME_MIN/MAX */
    /* Values of the additional columns, as many as there are, or none at all: then they are among
     * the headers already, or the event is no row. */
    const struct slice *additional;
    uint32_t nadditional;
};

/* About what it weighs. */
uint32_t event_bytes(const struct event *e);
/* The uuid's canonical text, NUL-terminated. */
void event_id_text(const unsigned char id[EVENT_ID_LEN], char ret_text[EVENT_ID_TEXT]);

#endif
