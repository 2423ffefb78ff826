/* An event as a Kafka record: topic, key, value, timestamp, headers, or the
 * reason why it cannot be one. */
#ifndef OUTBOX_CORE_FORMAT_H
#define OUTBOX_CORE_FORMAT_H

#include "core/columns.h"
#include "core/event.h"
#include "core/headers.h"
#include "core/route.h"

struct format;

/* Slices are borrowed from the event and from the format, until the next call. */
struct record {
    char topic[ROUTE_TOPIC_MAX];
    size_t topic_len;
    int32_t partition; /* EVENT_PARTITION_ANY: the partitioner decides */
    struct slice key;
    struct slice value; /* data == NULL: a tombstone */
    int64_t timestamp_ms;
    const struct header *headers;
    size_t nheaders;
    uint32_t bytes; /* key, value and headers together */
    char id[EVENT_ID_TEXT];
};

struct format_options {
    const char *route;             /* of route.topic */
    const char *type_header;       /* of record.type_header; "": none */
    const struct columns *columns; /* borrowed for its life; NULL: the schema's own */
};

/* The caller owns *ret. ERR_CONFIG, ERR_NOMEM. */
int format_new(struct format **ret, const struct format_options *options, struct err *err);
void format_free(struct format *f);

/* The topic that an event is meant for, as route_raw; and as route_sql. */
void format_topic_raw(const struct format *f, const struct event *e, struct buf *b);
void format_topic_sql(const struct format *f, struct buf *b);

/* ERR_ROW where the event cannot be a record, without quoting its content; ERR_NOMEM. */
int format_event(struct format *f, const struct event *e, struct record *ret, struct err *err);

#endif
