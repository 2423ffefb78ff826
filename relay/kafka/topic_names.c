/* Open addressing over the names; grows by doubling at half load, nothing is ever taken out. */
#include "kafka/topic_names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC_NAME_MAX 249

static uint32_t hash_of(const char *name, size_t len)
{
    uint32_t h = 2166136261U; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)name[i]) * 16777619U;
    return h;
}

static bool legal_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

static int check_name(const char *name, size_t len, struct err *err)
{
    if (len == 0)
        return err_set(err, ERR_ROW, "topic: the name is empty; correct the event or the route");
    if (len > TOPIC_NAME_MAX)
        return err_set(err, ERR_ROW, "topic: the name has %zu characters, Kafka allows %d", len,
                       TOPIC_NAME_MAX);
    for (size_t i = 0; i < len; i++) {
        if (!legal_char(name[i]))
            return err_set(err, ERR_ROW,
                           "topic: the name has a byte 0x%02x at position %zu; Kafka allows "
                           "letters, digits, '.', '_' and '-'",
                           (unsigned char)name[i], i + 1);
    }
    if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
        return err_set(err, ERR_ROW, "topic: Kafka allows no topic named \".\" or \"..\"");
    return 0;
}

/* The slot that holds name, or the free one where it belongs. */
static uint32_t *slot_of(const struct sink_topics *t, const char *name, size_t len)
{
    uint32_t at = hash_of(name, len) & (t->nslots - 1);

    while (t->slots[at] != 0) {
        const char *other = t->names[t->slots[at] - 1];

        if (strlen(other) == len && memcmp(other, name, len) == 0)
            break;
        at = (at + 1) & (t->nslots - 1);
    }
    return &t->slots[at];
}

static int grow(struct sink_topics *t, struct err *err)
{
    uint32_t cap = t->cap == 0 ? 16 : t->cap * 2;
    char **names = realloc(t->names, cap * sizeof *names);
    uint32_t *slots = calloc((size_t)cap * 2, sizeof *slots);

    if (names != NULL)
        t->names = names;
    if (names == NULL || slots == NULL) {
        free(slots);
        return err_set(err, ERR_NOMEM, "topic: out of memory at %u topics", t->n);
    }
    free(t->slots);
    t->slots = slots;
    t->nslots = cap * 2;
    t->cap = cap;
    for (uint32_t i = 0; i < t->n; i++)
        *slot_of(t, t->names[i], strlen(t->names[i])) = i + 1;
    return 0;
}

int sink_topic_names_index(struct sink_topics *t, const char *name, size_t len, uint32_t *ret,
                           struct err *err)
{
    uint32_t *slot;

    if (t->n > 0) {
        slot = slot_of(t, name, len);
        if (*slot != 0) {
            *ret = *slot - 1;
            return 0;
        }
    }
    if (check_name(name, len, err) != 0 || (t->n == t->cap && grow(t, err) != 0))
        return -(int)err->class;
    t->names[t->n] = strndup(name, len);
    if (t->names[t->n] == NULL)
        return err_set(err, ERR_NOMEM, "topic: out of memory at %u topics", t->n);
    *slot_of(t, name, len) = t->n + 1;
    *ret = t->n++;
    return 0;
}

void sink_topic_names_free(struct sink_topics *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        free(t->names[i]);
    free(t->names);
    free(t->slots);
    *t = (struct sink_topics){0};
}
