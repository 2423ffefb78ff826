#include "core/keyset.h"

#include <stdlib.h>
#include <string.h>

static uint64_t fold(uint64_t h, struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ s.data[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* MurmurHash3's finalizer. */
static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

uint64_t key_hash(uint64_t seed, struct slice topic, struct slice key)
{
    static const unsigned char end = 0; /* no topic's name holds it */
    uint64_t h = fold(UINT64_C(0xcbf29ce484222325) ^ seed, topic);

    h = mix(fold(fold(h, (struct slice){&end, 1}), key) ^ seed << 1);
    return h == 0 ? 1 : h;
}

/* Where it is, or where it would be put; cap is not 0. */
static uint32_t place(const struct keyset *s, uint64_t hash)
{
    uint32_t i = (uint32_t)hash & (s->cap - 1);

    while (s->entries[i].hash != 0 && s->entries[i].hash != hash)
        i = (i + 1) & (s->cap - 1);
    return i;
}

bool keyset_has(const struct keyset *s, uint64_t hash)
{
    return hash != 0 && s->n > 0 && s->entries[place(s, hash)].hash == hash;
}

static bool grow(struct keyset *s)
{
    struct keyset larger = {.cap = s->cap == 0 ? 64 : s->cap * 2, .n = s->n};

    larger.entries = calloc(larger.cap, sizeof *larger.entries);
    if (larger.entries == NULL)
        return false;
    for (uint32_t i = 0; i < s->cap; i++)
        if (s->entries[i].hash != 0)
            larger.entries[place(&larger, s->entries[i].hash)] = s->entries[i];
    free(s->entries);
    *s = larger;
    return true;
}

/* The entry, which is made if it is not there; NULL without memory. */
static struct keyset_entry *reserve(struct keyset *s, uint64_t hash)
{
    struct keyset_entry *e;

    if ((s->n + 1) * 2 > s->cap && !grow(s))
        return NULL;
    e = &s->entries[place(s, hash)];
    if (e->hash == 0) {
        *e = (struct keyset_entry){.hash = hash};
        s->n++;
    }
    return e;
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory for parked keys");
}

static void take_out(struct keyset *s, uint32_t i)
{
    uint32_t hole = i;

    s->n--;
    /* Whoever was pushed beyond the hole moves up. */
    for (;;) {
        uint32_t home;

        i = (i + 1) & (s->cap - 1);
        if (s->entries[i].hash == 0)
            break;
        home = (uint32_t)s->entries[i].hash & (s->cap - 1);
        if (((i - home) & (s->cap - 1)) >= ((i - hole) & (s->cap - 1))) {
            s->entries[hole] = s->entries[i];
            hole = i;
        }
    }
    s->entries[hole] = (struct keyset_entry){0};
}

int keyset_fail(struct keyset *s, uint64_t hash, struct err *err)
{
    struct keyset_entry *e = reserve(s, hash);

    if (e == NULL)
        return no_memory(err);
    e->failing++;
    return 0;
}

void keyset_settle(struct keyset *s, uint64_t hash, bool stored)
{
    struct keyset_entry *e = s->n > 0 ? &s->entries[place(s, hash)] : NULL;

    if (e == NULL || e->hash == 0)
        return;
    if (e->failing > 0)
        e->failing--;
    e->stored = e->stored || stored;
    if (e->failing == 0 && !e->stored)
        take_out(s, (uint32_t)(e - s->entries));
}

int keyset_add(struct keyset *s, uint64_t hash, struct err *err)
{
    return reserve(s, hash) == NULL ? no_memory(err) : 0;
}

void keyset_remove(struct keyset *s, uint64_t hash)
{
    if (keyset_has(s, hash))
        take_out(s, place(s, hash));
}

void keyset_clear(struct keyset *s)
{
    if (s->cap > 0)
        memset(s->entries, 0, s->cap * sizeof *s->entries);
    s->n = 0;
}

void keyset_free(struct keyset *s)
{
    free(s->entries);
    *s = (struct keyset){0};
}

void keyset_list_begin(struct keyset *s)
{
    for (uint32_t i = 0; i < s->cap; i++)
        s->entries[i].confirmed = false;
}

int keyset_list(struct keyset *s, uint64_t hash, struct err *err)
{
    struct keyset_entry *e = reserve(s, hash);

    if (e == NULL)
        return no_memory(err);
    e->stored = e->confirmed = true;
    return 0;
}

uint32_t keyset_list_end(struct keyset *s)
{
    uint32_t removed = 0;

    for (uint32_t i = 0; i < s->cap;) {
        struct keyset_entry *e = &s->entries[i];

        e->stored = e->confirmed;
        if (e->hash != 0 && !e->stored && e->failing == 0) {
            take_out(s, i); /* another one may lie here now */
            removed++;
        } else {
            i++;
        }
    }
    return removed;
}
