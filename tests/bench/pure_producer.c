/*
 * The peer of the bench: librdkafka and nothing of ours, with records of the relay's shape (a key,
 * an id and an eventType header) and the relay's own window.
 *
 *     pure_producer TOPIC RECORDS BYTES RATE name=value ...
 *
 * RATE is records a second, 0 for as fast as it goes. The payload is JSON of BYTES bytes with the
 * time of the put in microseconds as "t". Prints one JSON object: records, failed, seconds, cpu_us
 * and peak_kib, from the first put (connected, the topic known) to the last report.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const uint32_t window = 50000; /* the relay's window.events */
static const uint64_t keys = 10000;

struct bench {
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    uint32_t inflight;
    uint64_t failed;
    char *payload;
    size_t bytes;
};

static int64_t now_us(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "pure_producer: %s: %s\n", what, why);
    exit(1);
}

/* Takes all reports that are there; waits for the first up to wait_ms. */
static void take_reports(struct bench *b, int wait_ms)
{
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(b->queue, wait_ms)) != NULL) {
        const rd_kafka_message_t *m;

        while ((m = rd_kafka_event_message_next(event)) != NULL) {
            b->inflight--;
            b->failed += m->err != RD_KAFKA_RESP_ERR_NO_ERROR;
        }
        rd_kafka_event_destroy(event);
        wait_ms = 0;
    }
}

/* Only the head changes from record to record: it overwrites its own, of the same length. */
static void write_head(struct bench *b)
{
    char head[48];
    int n = snprintf(head, sizeof head, "{\"t\":%" PRId64 ",\"pad\":\"", now_us(CLOCK_REALTIME));

    if (n > 0 && (size_t)n < sizeof head)
        memcpy(b->payload, head, (size_t)n);
}

static void put(struct bench *b, uint64_t n)
{
    char id[48]; /* 36 are used */
    char key[24];
    rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
    int key_len = snprintf(key, sizeof key, "key-%u", (unsigned)(n % keys));
    rd_kafka_error_t *error;
    rd_kafka_vu_t args[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = b->topic},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key, (size_t)key_len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {b->payload, b->bytes}},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };

    (void)snprintf(id, sizeof id, "00000000-0000-4000-8000-%012" PRIx64, n);
    (void)rd_kafka_header_add(headers, "id", 2, id, 36);
    (void)rd_kafka_header_add(headers, "eventType", 9, "Tested", 6);
    write_head(b);
    error = rd_kafka_produceva(b->rk, args, sizeof args / sizeof *args);
    if (error != NULL)
        die("put", rd_kafka_error_string(error));
    b->inflight++;
}

/* The n-th record is due n/rate seconds after the start, however late the one before it was. */
static void wait_due(struct bench *b, int64_t start, uint64_t n, uint64_t rate)
{
    int64_t at = start + (int64_t)(n * 1000000 / rate);
    struct timespec until = {at / 1000000, at % 1000000 * 1000};

    take_reports(b, 0);
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void run(struct bench *b, uint64_t records, uint64_t rate)
{
    int64_t start = now_us(CLOCK_MONOTONIC);

    for (uint64_t n = 0; n < records; n++) {
        if (rate > 0)
            wait_due(b, start, n, rate);
        else if (n % 1000 == 0)
            take_reports(b, 0);
        while (b->inflight >= window)
            take_reports(b, 10);
        put(b, n);
    }
    while (b->inflight > 0)
        take_reports(b, 10);
}

static void open_producer(struct bench *b, const char *topic, char **properties, int n)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[512];

    for (int i = 0; i < n; i++) {
        char name[128];
        const char *value = strchr(properties[i], '=');

        if (value == NULL || (size_t)(value - properties[i]) >= sizeof name)
            die(properties[i], "not name=value");
        memcpy(name, properties[i], (size_t)(value - properties[i]));
        name[value - properties[i]] = '\0';
        if (rd_kafka_conf_set(conf, name, value + 1, text, sizeof text) != RD_KAFKA_CONF_OK)
            die(name, text);
    }
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
    b->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (b->rk == NULL)
        die("producer", text);
    b->topic = rd_kafka_topic_new(b->rk, topic, NULL);
    b->queue = rd_kafka_queue_get_main(b->rk);
}

/* Connected and the topic known: what is measured is producing. */
static void warm_up(struct bench *b)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(b->rk, 0, b->topic, &metadata, 30000);

    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        error = metadata->topics[0].err;
        rd_kafka_metadata_destroy(metadata);
    }
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("topic", rd_kafka_err2str(error));
}

static int64_t cpu_us(const struct rusage *u)
{
    return (int64_t)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000 + u->ru_utime.tv_usec +
           u->ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
    struct bench b = {.rk = NULL};
    struct rusage before, after;
    uint64_t records;
    int64_t start;
    int64_t took;

    if (argc < 5)
        die("usage", "pure_producer TOPIC RECORDS BYTES RATE name=value ...");
    records = strtoull(argv[2], NULL, 10);
    b.bytes = strtoull(argv[3], NULL, 10);
    if (records == 0 || b.bytes < 64)
        die("usage", "at least 1 record of at least 64 bytes");
    b.payload = malloc(b.bytes);
    if (b.payload == NULL)
        die("payload", "out of memory");
    memset(b.payload, 'x', b.bytes);
    memcpy(b.payload + b.bytes - 2, "\"}", 2);
    open_producer(&b, argv[1], argv + 5, argc - 5);
    warm_up(&b);
    (void)getrusage(RUSAGE_SELF, &before);
    start = now_us(CLOCK_MONOTONIC);
    run(&b, records, strtoull(argv[4], NULL, 10));
    took = now_us(CLOCK_MONOTONIC) - start;
    (void)getrusage(RUSAGE_SELF, &after);
    printf("{\"records\": %" PRIu64 ", \"failed\": %" PRIu64
           ", \"seconds\": %.6f, \"cpu_us\": %" PRId64 ", \"peak_kib\": %ld}\n",
           records, b.failed, (double)took / 1e6, cpu_us(&after) - cpu_us(&before),
           after.ru_maxrss);
    rd_kafka_topic_destroy(b.topic);
    rd_kafka_queue_destroy(b.queue);
    rd_kafka_destroy(b.rk);
    free(b.payload);
    return b.failed == 0 ? 0 : 1;
}
