/* A copy of the sink's options that owns its text. */
#ifndef OUTBOX_KAFKA_OPTIONS_H
#define OUTBOX_KAFKA_OPTIONS_H

#include "base/err.h"
#include "kafka/sink.h"

struct options {
    struct sink_options view; /* its properties are own */
    struct sink_property *own;
    char *text;
    size_t copied;     /* of own, without what overrides them */
    char override[16]; /* the value of the one that does */
};

/* The owner of *ret calls options_free, also after an error (ERR_NOMEM). */
int options_copy(struct options *ret, const struct sink_options *from, struct err *err);
/* One property over those that were copied, in the place of an earlier one; name is static. For
 * producers that are made from now on. */
void options_override(struct options *o, const char *name, long value);
/* Again as they were copied; false where nothing overrides them. */
bool options_restore(struct options *o);
void options_free(struct options *o);

#endif
