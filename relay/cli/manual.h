/* The manual page and the bash completion, out of the tables of commands and settings, when the
 * program is built. */
#ifndef OUTBOX_CLI_MANUAL_H
#define OUTBOX_CLI_MANUAL_H

#include "base/buf.h"

/* outbox-relay(1) in man's macros; date: of the release, YYYY-MM-DD. Appended to b, whose own error
 * tells where memory ran out. */
void manual_page(struct buf *b, const char *date);
/* Text for a page: what roff would take for its own is escaped, line breaks stay. */
void manual_text(struct buf *b, const char *text);

/* A bash function and the `complete` that registers it. */
void manual_completion(struct buf *b);

#endif
