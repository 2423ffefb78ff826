/*
 * The eye of the bench: consumes what is new in a topic and tells how old each record is.
 *
 *     watch_topic BOOTSTRAP TOPIC RECORDS SKIP_MS TIMEOUT_S
 *
 * Prints "ready" once it reads behind the end of each partition, and after RECORDS records one JSON
 * object: their ages, from the microseconds in "t" of their payload to now, but for those of the
 * first SKIP_MS; and when the first one came. Ends with 1 when they do not come in time.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "watch_topic: %s: %s\n", what, why);
    exit(1);
}

static rd_kafka_t *open_consumer(const char *bootstrap)
{
    static const char *const properties[][2] = {
        {"group.id", "watch"},    {"enable.auto.commit", "false"},
        {"fetch.min.bytes", "1"}, {"socket.nagle.disable", "true"},
        {"check.crcs", "false"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[512];
    rd_kafka_t *rk;

    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
        if (rd_kafka_conf_set(conf, properties[i][0], properties[i][1], text, sizeof text) !=
            RD_KAFKA_CONF_OK)
            die(properties[i][0], text);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof text) !=
        RD_KAFKA_CONF_OK)
        die("bootstrap.servers", text);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (rk == NULL)
        die("consumer", text);
    (void)rd_kafka_poll_set_consumer(rk);
    return rk;
}

/* Of a topic made a moment ago the leader may not know yet that it is one: asked until it does. */
static int64_t end_of(rd_kafka_t *rk, const char *name, int32_t partition)
{
    int64_t deadline = now_us() + INT64_C(30000000);
    int64_t low;
    int64_t high;

    while (rd_kafka_query_watermark_offsets(rk, name, partition, &low, &high, 30000) !=
           RD_KAFKA_RESP_ERR_NO_ERROR)
        if (now_us() > deadline)
            die(name, "its end is not known");
    return high;
}

/* From the exact offset that is each partition's end now, so that nothing later is missed. */
static void assign_ends(rd_kafka_t *rk, const char *name)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    rd_kafka_topic_partition_list_t *list;
    const struct rd_kafka_metadata *metadata;

    if (rd_kafka_metadata(rk, 0, topic, &metadata, 30000) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        metadata->topic_cnt != 1 || metadata->topics[0].partition_cnt == 0)
        die(name, "no such topic");
    list = rd_kafka_topic_partition_list_new(metadata->topics[0].partition_cnt);
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++) {
        int32_t id = metadata->topics[0].partitions[i].id;

        rd_kafka_topic_partition_list_add(list, name, id)->offset = end_of(rk, name, id);
    }
    if (rd_kafka_assign(rk, list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        die(name, "cannot be read");
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
}

/* The number behind "t": of a JSON payload. */
static int64_t written_at(const rd_kafka_message_t *m)
{
    static const char name[] = "\"t\":";
    const char *at = m->payload == NULL ? NULL : memmem(m->payload, m->len, name, sizeof name - 1);

    if (at == NULL)
        die("a record", "its payload has no \"t\"");
    return strtoll(at + sizeof name - 1, NULL, 10); /* a brace or comma ends it */
}

static int by_age(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void print(int64_t *ages, size_t n, uint64_t records, int64_t first_us)
{
    qsort(ages, n, sizeof *ages, by_age);
    (void)printf("{\"records\": %" PRIu64 ", \"first_us\": %" PRId64 ", \"p50_us\": %" PRId64
                 ", \"p90_us\": %" PRId64 ", \"p99_us\": %" PRId64 ", \"max_us\": %" PRId64 "}\n",
                 records, first_us, n == 0 ? 0 : ages[n / 2], n == 0 ? 0 : ages[n * 9 / 10],
                 n == 0 ? 0 : ages[n * 99 / 100], n == 0 ? 0 : ages[n - 1]);
}

int main(int argc, char **argv)
{
    uint64_t records;
    uint64_t seen = 0;
    size_t n = 0;
    int64_t skip_us;
    int64_t first_us = 0;
    int64_t deadline;
    int64_t *ages;
    rd_kafka_t *rk;

    if (argc != 6)
        die("usage", "watch_topic BOOTSTRAP TOPIC RECORDS SKIP_MS TIMEOUT_S");
    records = strtoull(argv[3], NULL, 10);
    skip_us = strtoll(argv[4], NULL, 10) * 1000;
    ages = calloc(records + 1, sizeof *ages);
    if (ages == NULL)
        die("records", "out of memory");
    rk = open_consumer(argv[1]);
    assign_ends(rk, argv[2]);
    (void)puts("ready");
    (void)fflush(stdout);

    deadline = now_us() + strtoll(argv[5], NULL, 10) * 1000000;
    while (seen < records && now_us() < deadline) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        int64_t now = now_us();

        if (m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (seen++ == 0)
                first_us = now;
            if (now - first_us >= skip_us)
                ages[n++] = now - written_at(m);
        }
        if (m != NULL)
            rd_kafka_message_destroy(m);
    }
    print(ages, n, seen, first_us);
    free(ages);
    (void)rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return seen == records ? 0 : 1;
}
