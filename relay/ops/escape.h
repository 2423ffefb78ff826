/* Text that came from outside, made safe to show: in JSON, on a terminal, in a metric's label.
 * Whatever the bytes are, the output is valid UTF-8 on one line. */
#ifndef OUTBOX_OPS_ESCAPE_H
#define OUTBOX_OPS_ESCAPE_H

#include "base/buf.h"

/* The inside of a JSON string, without its quotes; invalid UTF-8 becomes U+FFFD. */
void escape_json(struct buf *b, const char *text, size_t len);

/* For people: control characters (also C1 and those that turn the direction of writing) and invalid
 * bytes as \n, \t, \x1b or \u202e. Quotes and backslashes are left as they are. */
void escape_text(struct buf *b, const char *text, size_t len);

/* The inside of a Prometheus label value. */
void escape_label(struct buf *b, const char *text, size_t len);

/* A wrong value as an error may quote it: in double quotes, cut to 60 bytes, and not shown at all
 * where it looks like a connection string or a password. */
void escape_value(struct buf *b, const char *text);

#endif
