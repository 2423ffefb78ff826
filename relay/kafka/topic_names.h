/* The names of topics and their indices: dense, stable for the life of the sink. */
#ifndef OUTBOX_KAFKA_TOPIC_NAMES_H
#define OUTBOX_KAFKA_TOPIC_NAMES_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* A zeroed struct is an empty table; the owner calls sink_topic_names_free. */
struct sink_topics {
    char **names; /* by index */
    uint32_t n;
    uint32_t cap;
    uint32_t *slots; /* open addressing: index + 1, 0 is free; nslots is a power of two */
    uint32_t nslots;
};

/* The index of name, a new one where it is not known yet. Errors: ERR_ROW for a name that is not
 * legal in Kafka, ERR_NOMEM. */
int sink_topic_names_index(struct sink_topics *t, const char *name, size_t len, uint32_t *ret,
                           struct err *err);
void sink_topic_names_free(struct sink_topics *t);

#endif
