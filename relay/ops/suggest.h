/* The name that was probably meant, for errors about unknown ones. */
#ifndef OUTBOX_OPS_SUGGEST_H
#define OUTBOX_OPS_SUGGEST_H

#include <stddef.h>

/* The nearest of n candidates by edit distance (a swap of neighbours counts one), or NULL where
 * none is near: more than a quarter of the letters, at least one, would have to change. */
const char *suggest(const char *name, const char *const *candidates, size_t n);

#endif
