/* The topic of an event: its own `topic`, or the route's template with ${column} placeholders. */
#ifndef OUTBOX_CORE_ROUTE_H
#define OUTBOX_CORE_ROUTE_H

#include "base/err.h"
#include "core/event.h"

#define ROUTE_TOPIC_MAX 249 /* Kafka's own limit, org.apache.kafka.common.internals.Topic */

struct route;

/* Compiles a template; columns: aggregatetype, aggregateid, type. ERR_CONFIG names the place. The
 * caller owns *ret. */
int route_new(struct route **ret, const char *text, struct err *err);
void route_free(struct route *r);

/* Writes the topic's name (not NUL-terminated). ERR_ROW for a name that Kafka does not take. */
int route_apply(const struct route *r, const struct event *e, char ret_name[ROUTE_TOPIC_MAX],
                size_t *ret_len, struct err *err);

/* The name whatever Kafka thinks of it, appended to b; and as an SQL expression over the columns of
 * row "o". */
void route_raw(const struct route *r, const struct event *e, struct buf *b);
void route_sql(const struct route *r, struct buf *b);

#endif
