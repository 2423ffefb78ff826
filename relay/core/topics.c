#include "core/topics.h"

#include <stdlib.h>

static const bool allowed[TOPIC_STATES][TOPIC_STATES] = {
    [TOPIC_UNKNOWN][TOPIC_ASKED] = true,     [TOPIC_ASKED][TOPIC_READY] = true,
    [TOPIC_ASKED][TOPIC_AWAY] = true,        [TOPIC_ASKED][TOPIC_UNKNOWN] = true,
    [TOPIC_READY][TOPIC_AWAY] = true,        [TOPIC_READY][TOPIC_UNKNOWN] = true,
    [TOPIC_AWAY][TOPIC_RETRYING] = true,     [TOPIC_RETRYING][TOPIC_AWAY] = true,
    [TOPIC_RETRYING][TOPIC_RELEASED] = true, [TOPIC_RELEASED][TOPIC_READY] = true,
    [TOPIC_RELEASED][TOPIC_AWAY] = true,
};

void topics_free(struct topics *t)
{
    free(t->list);
    t->list = NULL;
    t->n = t->cap = 0;
}

int topics_reserve(struct topics *t, uint32_t index, struct err *err)
{
    if (index >= t->cap) {
        uint32_t cap = t->cap == 0 ? 16 : t->cap;
        struct topic *grown;

        while (cap <= index)
            cap *= 2;
        grown = realloc(t->list, cap * sizeof *grown);
        if (grown == NULL)
            return err_set(err, ERR_NOMEM, "out of memory for %u topics", index + 1);
        t->list = grown;
        t->cap = cap;
    }
    while (t->n <= index) {
        t->list[t->n] = (struct topic){.backoff = backoff_of(250, 30000, t->seed + t->n)};
        t->counts[TOPIC_UNKNOWN]++;
        t->n++;
    }
    return 0;
}

void topics_move(struct topics *t, uint32_t index, enum topic_state to)
{
    enum topic_state from = t->list[index].state;

    if (!allowed[from][to])
        abort();
    t->counts[from]--;
    t->counts[to]++;
    t->list[index].state = to;
}

void topics_reset(struct topics *t, int64_t now)
{
    for (uint32_t i = 0; i < t->n; i++) {
        struct topic *topic = &t->list[i];

        topic->inflight = 0;
        if (topic->state == TOPIC_READY || topic->state == TOPIC_ASKED) {
            topics_move(t, i, TOPIC_UNKNOWN);
            topic->wanted = false;
        } else if (topic->state == TOPIC_RETRYING || topic->state == TOPIC_RELEASED) {
            topics_move(t, i, TOPIC_AWAY);
            topic->ask_at = now;
        }
    }
}

void topics_release(struct topics *t)
{
    for (uint32_t i = 0; t->counts[TOPIC_RELEASED] > 0 && i < t->n; i++) {
        if (t->list[i].state == TOPIC_RELEASED) {
            topics_move(t, i, TOPIC_READY);
            t->list[i].held = 0;
        }
    }
}

int64_t topics_due(const struct topics *t, int64_t now, int64_t *ret_at)
{
    *ret_at = INT64_MAX;
    if (t->counts[TOPIC_UNKNOWN] + t->counts[TOPIC_AWAY] == 0)
        return -1;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct topic *topic = &t->list[i];
        bool waits = (topic->state == TOPIC_UNKNOWN && topic->wanted) ||
                     (topic->state == TOPIC_AWAY && topic->inflight == 0);

        if (!waits)
            continue;
        if (topic->ask_at <= now)
            return i;
        if (topic->ask_at < *ret_at)
            *ret_at = topic->ask_at;
    }
    return -1;
}
