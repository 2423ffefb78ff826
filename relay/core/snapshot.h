/*
 * A PostgreSQL snapshot as pg_current_snapshot() prints it, "xmin:xmax:xip,xip,...": which
 * top-level transactions had ended when it was taken. Kept as text too, since that is what goes
 * back into SQL.
 */
#ifndef OUTBOX_CORE_SNAPSHOT_H
#define OUTBOX_CORE_SNAPSHOT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* A zeroed struct is "no snapshot". The owner calls snapshot_free. */
struct snapshot {
    uint64_t xmin; /* all below have ended */
    uint64_t xmax; /* none from here on had begun */
    uint64_t *xip; /* in progress between the two, ascending */
    size_t nxip;
    size_t cap;
    struct buf text;
};

/* Parses len bytes of text; s keeps its memory for the next time. ERR_PROTOCOL when it does not
 * parse (s is then empty), ERR_NOMEM. */
int snapshot_parse(struct snapshot *s, const char *text, size_t len, struct err *err);

/* Had xid ended when s was taken? */
bool snapshot_sees(const struct snapshot *s, uint64_t xid);
/* Had all that had ended when past was taken also ended when s was? */
bool snapshot_covers(const struct snapshot *s, const struct snapshot *past);
/* The full id of a transaction whose low 32 bits are these and that is less than 2^31 away from
 * near. */
uint64_t xid_widen(uint32_t xid, uint64_t near);
bool snapshot_is_set(const struct snapshot *s);
/* The text, NUL-terminated, borrowed. */
const char *snapshot_text(const struct snapshot *s);
/* The in-progress list as text, "1,2,3" or "", borrowed. */
const char *snapshot_xip_text(const struct snapshot *s);
void snapshot_clear(struct snapshot *s);
void snapshot_swap(struct snapshot *a, struct snapshot *b);
void snapshot_free(struct snapshot *s);

#endif
