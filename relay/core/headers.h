/*
 * The `headers` column: the text of one JSON object becomes Kafka headers, in its order. String
 * values go out as they are, null as a null header, all else as its JSON text, to the byte. A
 * scanner of our own, since this runs for each event: it allocates nothing but the shared scratch
 * buffer, and it keeps numbers as written. PostgreSQL has checked the JSON already; what does not
 * parse is an error all the same.
 */
#ifndef OUTBOX_CORE_HEADERS_H
#define OUTBOX_CORE_HEADERS_H

#include "base/buf.h"
#include "base/err.h"

struct header {
    struct slice name;
    struct slice value; /* data == NULL: a null header */
};

/* Grows as needed and is used again for each event; a zeroed struct, then headers_free. */
struct headers {
    struct header *list;
    size_t n;
    size_t cap;
    struct buf scratch; /* unescaped text; the slices point into it or into the JSON */
};

void headers_reset(struct headers *h);
/* name and value are borrowed. ERR_NOMEM. */
int headers_add(struct headers *h, struct slice name, struct slice value, struct err *err);
/* Appends those of a JSON text (borrowed as long as the list is used). ERR_ROW says what is wrong,
 * without the text; ERR_NOMEM. */
int headers_add_json(struct headers *h, struct slice json, struct err *err);
void headers_free(struct headers *h);

#endif
