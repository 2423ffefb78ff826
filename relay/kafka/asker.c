/*
 * A round: the loop copies the pending questions into a job, a worker asks them one by one, the
 * loop takes the answers. What is not answered for good is asked again until its time is up.
 */
#include "kafka/asker.h"

#include "base/clock.h"
#include "kafka/kafka_error.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_MS 1000
#define AGAIN_MS 50
/* A broker that makes topics by itself calls a new one unknown until it stands. */
#define UNKNOWN_GRACE_MS 1000

struct question {
    uint32_t topic;
    int64_t deadline;   /* clock_boot_ms */
    int64_t unknown_at; /* first answered by "unknown"; 0: never */
    bool asked;
    rd_kafka_resp_err_t last;
};

struct ask {
    uint32_t topic;
    rd_kafka_topic_t *handle;
    bool answered;
    uint32_t limit;
    rd_kafka_resp_err_t code; /* the topic's where answered, else why nobody did */
};

struct asker {
    struct asker_callbacks callbacks;
    void *arg;
    uv_loop_t *loop;
    uv_timer_t again;
    uv_work_t work;
    const struct sink_topics *names;
    struct producer *producer;
    bool busy;
    bool alive_wanted;
    atomic_bool stop;
    struct question *questions;
    size_t nquestions;
    size_t cap;
    /* The job: the worker's alone while busy. */
    rd_kafka_t *rk;
    struct ask *asks;
    size_t nasks;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void start_round(struct asker *a);

static void on_again(uv_timer_t *t)
{
    start_round(t->data);
}

int asker_new(struct asker **ret, uv_loop_t *loop, const struct sink_topics *names,
              const struct asker_callbacks *callbacks, void *arg, struct err *err)
{
    struct asker *a = calloc(1, sizeof *a);

    if (a == NULL)
        return err_set(err, ERR_NOMEM, "kafka: out of memory");
    a->names = names;
    a->callbacks = *callbacks;
    a->arg = arg;
    a->loop = loop;
    a->work.data = a;
    *ret = a;
    return 0;
}

void asker_start(struct asker *a)
{
    (void)uv_timer_init(a->loop, &a->again);
    a->again.data = a;
}

static uint32_t limit_of(const rd_kafka_ConfigResource_t *resource)
{
    size_t n = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &n);

    for (size_t i = 0; i < n; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") == 0 &&
            rd_kafka_ConfigEntry_value(entries[i]) != NULL)
            return (uint32_t)strtoul(rd_kafka_ConfigEntry_value(entries[i]), NULL, 10);
    return 0;
}

/* Worker's thread. Without the right to describe the topic nothing is learnt. */
static uint32_t ask_limit(rd_kafka_t *rk, const char *name)
{
    rd_kafka_ConfigResource_t *topic = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_ANY);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    const rd_kafka_ConfigResource_t **found;
    rd_kafka_event_t *event;
    uint32_t limit = 0;
    size_t n = 0;

    (void)rd_kafka_AdminOptions_set_request_timeout(options, SLICE_MS, NULL, 0);
    rd_kafka_DescribeConfigs(rk, &topic, 1, options, queue);
    event = rd_kafka_queue_poll(queue, 2 * SLICE_MS);
    if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_event_DescribeConfigs_result(event) != NULL) {
        found = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &n);
        if (n == 1 && rd_kafka_ConfigResource_error(found[0]) == RD_KAFKA_RESP_ERR_NO_ERROR)
            limit = limit_of(found[0]);
    }
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(topic);
    return limit;
}

/* Worker's thread. */
static void ask_one(rd_kafka_t *rk, struct ask *q)
{
    const struct rd_kafka_metadata *md = NULL;

    q->code = rd_kafka_metadata(rk, 0, q->handle, &md, SLICE_MS);
    if (q->code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    q->answered = true;
    if (q->handle != NULL)
        q->code = md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    rd_kafka_metadata_destroy(md);
    if (q->handle != NULL && q->code == RD_KAFKA_RESP_ERR_NO_ERROR)
        q->limit = ask_limit(rk, rd_kafka_topic_name(q->handle));
}

/* Worker's thread. When one gets no answer the others would not get one either. */
static void ask_all(uv_work_t *w)
{
    struct asker *a = w->data;

    for (size_t i = 0; i < a->nasks && !atomic_load(&a->stop); i++) {
        ask_one(a->rk, &a->asks[i]);
        if (!a->asks[i].answered)
            break;
    }
}

/* Takes question i out, then answers it; code NO_ERROR: the topic may be produced to. */
static void answer(struct asker *a, size_t i, rd_kafka_resp_err_t code, uint32_t limit)
{
    uint32_t topic = a->questions[i].topic;
    char where[320];
    struct err why;

    a->questions[i] = a->questions[--a->nquestions];
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        a->callbacks.on_topic(a->arg, topic, limit, NULL);
        return;
    }
    (void)snprintf(where, sizeof where, "kafka topic \"%s\"", a->names->names[topic]);
    if (a->producer == NULL)
        (void)err_set(&why, ERR_CLUSTER, "%s: there was no producer to ask by", where);
    else
        (void)kafka_error_set(&why, code, where, NULL);
    a->callbacks.on_topic(a->arg, topic, 0, &why);
}

/* True where the answer is for good. */
static bool settled(struct question *q, const struct ask *ask, int64_t now)
{
    q->last = ask->code;
    if (!ask->answered)
        return false;
    if (ask->code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        if (q->unknown_at == 0)
            q->unknown_at = now;
        return now - q->unknown_at >= UNKNOWN_GRACE_MS;
    }
    return ask->code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           kafka_error_delivery(ask->code) == DELIVERY_TOPIC;
}

static void take_answers(struct asker *a)
{
    int64_t now = clock_boot_ms();

    for (size_t i = 0; i < a->nasks; i++) {
        const struct ask *ask = &a->asks[i];
        size_t q = 0;

        while (q < a->nquestions && a->questions[q].topic != ask->topic)
            q++;
        if (ask->handle != NULL && q < a->nquestions && settled(&a->questions[q], ask, now))
            answer(a, q, ask->code, ask->limit);
    }
}

static void expire(struct asker *a)
{
    int64_t now = clock_boot_ms();

    for (size_t i = a->nquestions; i > 0; i--) {
        if (i <= a->nquestions && a->questions[i - 1].deadline <= now)
            answer(a, i - 1, a->questions[i - 1].last, 0);
    }
}

/* Asks again: at once where a question has not been asked yet. */
static void schedule(struct asker *a)
{
    bool fresh = a->alive_wanted;

    if (a->nquestions == 0 && !a->alive_wanted)
        return;
    for (size_t i = 0; i < a->nquestions; i++)
        fresh = fresh || !a->questions[i].asked;
    (void)uv_timer_start(&a->again, on_again, fresh && a->producer != NULL ? 0 : AGAIN_MS, 0);
}

static void after_round(uv_work_t *w, int status)
{
    struct asker *a = w->data;
    const struct ask *first = &a->asks[0];
    bool asked = status == 0 && (first->answered || first->code != RD_KAFKA_RESP_ERR_NO_ERROR);
    struct err why = {ERR_NONE, ""};

    a->busy = false;
    if (asked && !first->answered)
        (void)kafka_error_set(&why, first->code, "kafka", "no broker answers");
    if (asked)
        a->callbacks.on_round(a->arg, first->answered, first->answered ? NULL : &why);
    take_answers(a);
    expire(a);
    free(a->asks);
    a->asks = NULL;
    schedule(a);
    a->callbacks.on_idle(a->arg);
}

/* False where there is nothing to ask now. */
static bool fill_job(struct asker *a)
{
    a->nasks = 0;
    if (a->producer == NULL || (a->nquestions == 0 && !a->alive_wanted))
        return false;
    a->asks = calloc(a->nquestions + 1, sizeof *a->asks);
    if (a->asks == NULL)
        return false;
    for (size_t i = 0; i < a->nquestions; i++) {
        struct question *q = &a->questions[i];
        struct topic_handle *handle = producer_topic(a->producer, q->topic);

        q->asked = true;
        if (handle != NULL)
            a->asks[a->nasks++] = (struct ask){.topic = q->topic, .handle = handle->rkt};
    }
    if (a->nasks == 0)
        a->nasks = 1; /* no topic: does any broker answer */
    return true;
}

static void start_round(struct asker *a)
{
    if (a->busy)
        return;
    expire(a);
    if (fill_job(a)) {
        a->rk = a->producer->rk;
        atomic_store(&a->stop, false);
        a->busy = uv_queue_work(a->loop, &a->work, ask_all, after_round) == 0;
    }
    a->alive_wanted = false;
    if (!a->busy) {
        free(a->asks);
        a->asks = NULL;
        schedule(a);
    }
}

void asker_use(struct asker *a, struct producer *p)
{
    a->producer = p;
    atomic_store(&a->stop, true);
}

bool asker_busy(const struct asker *a)
{
    return a->busy;
}

static int reserve(struct asker *a, struct err *err)
{
    size_t cap = a->cap == 0 ? 16 : a->cap * 2;
    struct question *grown;

    if (a->nquestions < a->cap)
        return 0;
    grown = realloc(a->questions, cap * sizeof *grown);
    if (grown == NULL)
        return err_set(err, ERR_NOMEM, "kafka: out of memory to ask for a topic");
    a->questions = grown;
    a->cap = cap;
    return 0;
}

int asker_topic(struct asker *a, uint32_t topic, int timeout_ms, struct err *err)
{
    int r;

    for (size_t i = 0; i < a->nquestions; i++) {
        if (a->questions[i].topic == topic)
            return 0;
    }
    r = reserve(a, err);
    if (r != 0)
        return r;
    a->questions[a->nquestions++] = (struct question){
        .topic = topic,
        .deadline = clock_boot_ms() + timeout_ms,
        .last = RD_KAFKA_RESP_ERR__TIMED_OUT,
    };
    /* By the timer, not here: no callback comes from inside a call. */
    (void)uv_timer_start(&a->again, on_again, 0, 0);
    return 0;
}

void asker_alive(struct asker *a)
{
    a->alive_wanted = true;
    if (!a->busy)
        (void)uv_timer_start(&a->again, on_again, 0, 0);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct asker *a = h->data;
    void (*on_closed)(void *arg) = a->on_closed;
    void *arg = a->closed_arg;

    free(a->questions);
    free(a);
    on_closed(arg);
}

void asker_close(struct asker *a, void (*on_closed)(void *arg), void *arg)
{
    a->on_closed = on_closed;
    a->closed_arg = arg;
    uv_close((uv_handle_t *)&a->again, on_handle_closed);
}
