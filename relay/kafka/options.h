/* A copy of the sink's options that owns its text. */
#ifndef OUTBOX_KAFKA_OPTIONS_H
#define OUTBOX_KAFKA_OPTIONS_H

#include "base/err.h"
#include "kafka/sink.h"

struct options {
    struct sink_options view; /* its properties are own */
    struct sink_property *own;
    char *text;
};

/* The owner of *ret calls options_free, also after an error (ERR_NOMEM). */
int options_copy(struct options *ret, const struct sink_options *from, struct err *err);
void options_free(struct options *o);

#endif
