#include "kafka/size_limit.h"

#include <stdlib.h>
#include <string.h>

/* What was learnt is good for so long; somebody may have raised it since. */
static const uint64_t good_ms = 10000;
/* Base offset to record count, message format 2. */
static const uint64_t batch_overhead = 61;

/* Of a zigzag varint of n, which is not negative. */
static uint64_t varint(uint64_t n)
{
    uint64_t bytes = 1;

    for (n <<= 1; n >= 128; n >>= 7)
        bytes++;
    return bytes;
}

/* Length, then bytes; of null the length is -1, one byte as well. */
static uint64_t field(struct slice s)
{
    return s.data == NULL ? 1 : varint(s.len) + s.len;
}

uint64_t record_batch_bytes(const struct sink_record *record)
{
    /* attributes, time and offset from the batch's own (0), count of headers */
    uint64_t body =
        1 + 1 + 1 + varint(record->nheaders) + field(record->key) + field(record->value);

    for (size_t i = 0; i < record->nheaders; i++)
        body += varint(record->headers[i].name.len) + record->headers[i].name.len +
                field(record->headers[i].value);
    return batch_overhead + varint(body) + body;
}

enum size_verdict size_limits_judge(const struct size_limits *l, const struct sink_record *record,
                                    uint64_t now)
{
    const struct size_limit *limit = record->topic < l->n ? &l->list[record->topic] : NULL;

    if (limit == NULL || limit->bytes == 0 || record_batch_bytes(record) <= limit->bytes)
        return SIZE_FITS;
    return now - limit->at < good_ms ? SIZE_OVER : SIZE_ASK;
}

void size_limits_learn(struct size_limits *l, uint32_t topic, uint32_t bytes, uint64_t now)
{
    if (topic >= l->n) {
        uint32_t n = topic + 16;
        struct size_limit *grown = realloc(l->list, n * sizeof *grown);

        if (grown == NULL)
            return;
        memset(grown + l->n, 0, (n - l->n) * sizeof *grown);
        l->list = grown;
        l->n = n;
    }
    l->list[topic] = (struct size_limit){.bytes = bytes, .at = now};
}

bool size_limits_ask(struct size_limits *l, uint32_t topic)
{
    if (topic >= l->n || l->list[topic].asked)
        return false;
    l->list[topic].asked = true;
    return true;
}

uint32_t size_limits_bytes(const struct size_limits *l, uint32_t topic)
{
    return topic < l->n ? l->list[topic].bytes : 0;
}

void size_limits_free(struct size_limits *l)
{
    free(l->list);
    *l = (struct size_limits){0};
}
