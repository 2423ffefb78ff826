/* The partition of a record is foretold by librdkafka's own partitioners; how many partitions there
 * are is learnt when it calls ours. */
#include "kafka/topic_handle.h"

#include <stdlib.h>
#include <string.h>

/* Brokers forget a producer that is silent for a day (producer.id.expiration.ms); some are told to
 * do so earlier. */
static const int64_t fresh_ms = 600000;

static const struct {
    const char *name;
    int32_t (*partitioner)(const rd_kafka_topic_t *rkt, const void *key, size_t keylen,
                           int32_t count, void *topic_opaque, void *opaque);
} partitioners[] = {
    {"murmur2_random", rd_kafka_msg_partitioner_murmur2_random},
    {"murmur2", rd_kafka_msg_partitioner_murmur2},
    {"consistent", rd_kafka_msg_partitioner_consistent},
    {"consistent_random", rd_kafka_msg_partitioner_consistent_random},
    {"fnv1a", rd_kafka_msg_partitioner_fnv1a},
    {"fnv1a_random", rd_kafka_msg_partitioner_fnv1a_random},
};

/* On any thread. */
static int32_t choose(const rd_kafka_topic_t *rkt, const void *key, size_t keylen, int32_t count,
                      void *topic_opaque, void *opaque)
{
    struct topic_handle *t = topic_opaque;

    atomic_store(&t->count, count);
    return t->partitioner(rkt, key, keylen, count, NULL, opaque);
}

struct topic_handle *topic_handle_new(rd_kafka_t *rk, const char *name)
{
    struct topic_handle *t = calloc(1, sizeof *t);
    rd_kafka_topic_conf_t *conf;
    char wanted[64] = "";
    size_t size = sizeof wanted;

    if (t == NULL)
        return NULL;
    conf = rd_kafka_default_topic_conf_dup(rk);
    (void)rd_kafka_topic_conf_get(conf, "partitioner", wanted, &size);
    t->partitioner = partitioners[0].partitioner;
    for (size_t i = 0; i < sizeof partitioners / sizeof partitioners[0]; i++)
        if (strcmp(wanted, partitioners[i].name) == 0)
            t->partitioner = partitioners[i].partitioner;
    rd_kafka_topic_conf_set_opaque(conf, t);
    rd_kafka_topic_conf_set_partitioner_cb(conf, choose);
    t->rkt = rd_kafka_topic_new(rk, name, conf);
    if (t->rkt == NULL) {
        rd_kafka_topic_conf_destroy(conf);
        free(t);
        return NULL;
    }
    return t;
}

void topic_handle_free(struct topic_handle *t)
{
    if (t == NULL)
        return;
    free(t->partitions);
    free(t);
}

/* Where the record goes, or -1 where that cannot be told. */
static int32_t partition_of(const struct topic_handle *t, const struct sink_record *record)
{
    int32_t count = atomic_load(&t->count);

    if (record->partition >= 0)
        return record->partition;
    if (count <= 0 || record->key.len == 0)
        return -1;
    return t->partitioner(t->rkt, record->key.data, record->key.len, count, NULL, NULL);
}

bool topic_handle_takes(const struct topic_handle *t, const struct sink_record *record,
                        uint64_t now)
{
    int32_t partition = partition_of(t, record);

    return partition < 0 || partition >= t->n || !t->partitions[partition].alone ||
           (int64_t)now < t->partitions[partition].fresh_until;
}

void topic_handle_put(struct topic_handle *t, const struct sink_record *record, uint64_t now)
{
    int32_t partition = partition_of(t, record);

    if (partition < 0)
        return;
    if (partition >= t->n) {
        size_t n = (size_t)partition + 8;
        struct partition *grown = realloc(t->partitions, n * sizeof *grown);

        if (grown == NULL)
            return; /* its delivery is still believed only with an offset */
        memset(grown + t->n, 0, (n - (size_t)t->n) * sizeof *grown);
        t->partitions = grown;
        t->n = (int32_t)n;
    }
    if ((int64_t)now >= t->partitions[partition].fresh_until)
        t->partitions[partition].alone = true;
}

void topic_handle_report(struct topic_handle *t, int32_t partition, bool confirmed, uint64_t now)
{
    if (partition < 0 || partition >= t->n)
        return;
    t->partitions[partition].alone = false;
    if (confirmed)
        t->partitions[partition].fresh_until = (int64_t)now + fresh_ms;
}
