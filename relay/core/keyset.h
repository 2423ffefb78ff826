/*
 * Topics and keys behind whose parked event others wait: a set of 64-bit hashes (FNV-1a, begun with
 * a number of the process's own and mixed, so that nobody outside finds two that fall together). Of
 * two keys that do, the other would wait in vain: with 10,000 of them one in 10^15. Pure.
 */
#ifndef OUTBOX_CORE_KEYSET_H
#define OUTBOX_CORE_KEYSET_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Never 0. */
uint64_t key_hash(uint64_t seed, struct slice topic, struct slice key);

struct keyset_entry {
    uint64_t hash;    /* 0: free */
    uint32_t failing; /* events of it that are still to be recorded */
    bool stored;      /* the database has it */
    bool confirmed;   /* it was in the list that is being read */
};

/* A zeroed struct is empty; the owner calls keyset_free. */
struct keyset {
    struct keyset_entry *entries;
    uint32_t cap; /* a power of two, or 0 */
    uint32_t n;
};

/* Never of 0. */
bool keyset_has(const struct keyset *s, uint64_t hash);
/* An event of it is to be recorded: it waits at least until keyset_settle. ERR_NOMEM. */
int keyset_fail(struct keyset *s, uint64_t hash, struct err *err);
/* That one is on record (stored), or needs no record any more. A key that is neither stored nor
 * waits for another record is removed. */
void keyset_settle(struct keyset *s, uint64_t hash, bool stored);
/* Of a set that nothing is recorded of, nor listed. ERR_NOMEM. */
int keyset_add(struct keyset *s, uint64_t hash, struct err *err);
void keyset_remove(struct keyset *s, uint64_t hash);
void keyset_clear(struct keyset *s);
void keyset_free(struct keyset *s);

/* The database's list again: keyset_list_begin, keyset_list for each, keyset_list_end, which
 * removes what is not in it and waits for no record; returns how many. */
void keyset_list_begin(struct keyset *s);
int keyset_list(struct keyset *s, uint64_t hash, struct err *err);
uint32_t keyset_list_end(struct keyset *s);

#endif
