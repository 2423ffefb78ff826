/* The hot path is producer_put: a cached handle, one copy of key and value, one list of headers. */
#include "kafka/producer.h"

#include "kafka/kafka_conf.h"
#include "kafka/kafka_error.h"
#include "kafka/tls_files.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(void *) >= sizeof(uint64_t), "a tag travels as a message's opaque pointer");

int producer_new(struct producer **ret, const struct sink_options *options,
                 const struct sink_topics *names, struct err *err)
{
    struct producer *p = calloc(1, sizeof *p);
    int r;

    if (p == NULL)
        return err_set(err, ERR_NOMEM, "kafka: out of memory for a producer");
    p->files = tls_files_stamp(options);
    r = kafka_conf_producer(options, false, &p->rk, err);
    if (r != 0) {
        free(p);
        return r;
    }
    p->queue = rd_kafka_queue_get_main(p->rk);
    p->names = names;
    *ret = p;
    return 0;
}

void producer_watch(struct producer *p, void (*wake)(rd_kafka_t *rk, void *arg), void *arg)
{
    rd_kafka_queue_cb_event_enable(p->queue, wake, arg);
    wake(p->rk, arg); /* for what came before */
}

void producer_purge(struct producer *p, bool inflight)
{
    (void)rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING |
                                    (inflight ? RD_KAFKA_PURGE_F_INFLIGHT : 0));
}

struct topic_handle *producer_topic(struct producer *p, uint32_t topic)
{
    if (topic >= p->nhandles) {
        uint32_t n = p->names->cap;
        struct topic_handle **grown = realloc(p->handles, n * sizeof(struct topic_handle *));

        if (grown == NULL)
            return NULL;
        memset(grown + p->nhandles, 0, (n - p->nhandles) * sizeof(struct topic_handle *));
        p->handles = grown;
        p->nhandles = n;
    }
    if (p->handles[topic] == NULL)
        p->handles[topic] = topic_handle_new(p->rk, p->names->names[topic]);
    return p->handles[topic];
}

/* NULL where memory is out, or a header is one that librdkafka does not take. */
static rd_kafka_headers_t *headers_of(const struct sink_record *record)
{
    rd_kafka_headers_t *list = rd_kafka_headers_new(record->nheaders);

    for (size_t i = 0; i < record->nheaders; i++) {
        const struct header *h = &record->headers[i];

        /* A size of 0 is a name without a character only by this length: -1 would be strlen. */
        if (rd_kafka_header_add(list, (const char *)h->name.data, (ssize_t)h->name.len,
                                h->value.data,
                                (ssize_t)h->value.len) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_headers_destroy(list);
            return NULL;
        }
    }
    return list;
}

/* What produceva said, as an error of ours; frees why. */
static int refused(struct producer *p, const struct sink_record *record, rd_kafka_error_t *why,
                   struct err *err)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(why);
    const char *name = p->names->names[record->topic];
    char where[320];
    int r;

    (void)snprintf(where, sizeof where, "kafka topic \"%s\"", name);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        r = err_set(err, ERR_UNAVAILABLE, "%s: librdkafka's queue is full", where);
    else if (code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        r = err_set(err, ERR_ROW, "%s: there is no partition %d; %s", where, record->partition,
                    kafka_error_remedy(code));
    else if (code == RD_KAFKA_RESP_ERR__INVALID_ARG)
        r = err_set(err, ERR_INTERNAL, "%s: %s", where, rd_kafka_error_string(why));
    else
        r = kafka_error_set(err, code, where, NULL);
    rd_kafka_error_destroy(why);
    return r;
}

bool producer_takes(struct producer *p, const struct sink_record *record, uint64_t now)
{
    struct topic_handle *topic = producer_topic(p, record->topic);

    return topic == NULL || topic_handle_takes(topic, record, now);
}

int producer_put(struct producer *p, const struct sink_record *record, uint64_t now,
                 struct err *err)
{
    /* librdkafka's interface takes void *, and only reads (F_COPY). */
    union {
        const unsigned char *in;
        void *out;
    } key = {.in = record->key.data}, value = {.in = record->value.data};
    struct topic_handle *topic = producer_topic(p, record->topic);
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_error_t *why;
    rd_kafka_vu_t args[8] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic != NULL ? topic->rkt : NULL},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = record->partition},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key.out, record->key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value.out, record->value.len}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE,
         .u.ptr = (void *)(uintptr_t)record->tag}, // NOLINT(performance-no-int-to-ptr)
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP,
         .u.i64 = record->timestamp_ms > 0 ? record->timestamp_ms : 0},
    };
    size_t nargs = 7;

    if (p->fatal)
        return err_set(err, ERR_UNAVAILABLE, "kafka: the producer is dead and has to be rebuilt");
    if (topic == NULL)
        return err_set(err, ERR_NOMEM, "kafka topic \"%s\": out of memory",
                       p->names->names[record->topic]);
    if (record->nheaders > 0) {
        headers = headers_of(record);
        if (headers == NULL)
            return err_set(err, ERR_ROW, "kafka topic \"%s\": a header is not one Kafka can carry",
                           p->names->names[record->topic]);
        args[nargs++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
    }
    why = rd_kafka_produceva(p->rk, args, nargs);
    if (why != NULL) {
        /* The list is librdkafka's only once it has taken the record. */
        if (headers != NULL)
            rd_kafka_headers_destroy(headers);
        return refused(p, record, why, err);
    }
    p->inflight++;
    topic_handle_put(topic, record, now);
    return 0;
}

void producer_free(struct producer *p)
{
    if (p == NULL)
        return;
    rd_kafka_queue_cb_event_enable(p->queue, NULL, NULL);
    producer_purge(p, true);
    for (uint32_t i = 0; i < p->nhandles; i++) {
        if (p->handles[i] != NULL)
            rd_kafka_topic_destroy(p->handles[i]->rkt);
    }
    rd_kafka_queue_destroy(p->queue);
    rd_kafka_destroy(p->rk);
    for (uint32_t i = 0; i < p->nhandles; i++)
        topic_handle_free(p->handles[i]);
    free(p->handles);
    free(p);
}
