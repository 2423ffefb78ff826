/* The name that was probably meant, for errors about unknown ones. */
#ifndef OUTBOX_OPS_SUGGEST_H
#define OUTBOX_OPS_SUGGEST_H

#include <stddef.h>

/* The nearest of n candidates by edit distance (a swap of neighbours counts one), or NULL where
 * none is near: within two changes, or one where name has no more than five letters. */
const char *suggest(const char *name, const char *const *candidates, size_t n);

#endif
