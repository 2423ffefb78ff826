/*
 * What is asked for (the goal) and what stands (a producer or none) are kept apart: advance() takes
 * one step from the one to the other whenever something ends. Blocking steps run on a worker; all
 * else, callbacks included, on the loop.
 */
#include "kafka/sink.h"

#include "kafka/kafka_conf.h"
#include "kafka/sink_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 1000
/* How long purged records may take to come back as reports. */
#define PURGE_MS 1000
/* For a topic's limit to be learnt anew. */
#define REFRESH_MS 3000

static void advance(struct sink *s);

static void on_queue(rd_kafka_t *rk, void *arg)
{
    struct sink *s = arg;

    (void)rk;
    (void)uv_async_send(&s->wake);
}

static void on_wake(uv_async_t *a)
{
    struct sink *s = a->data;

    sink_drain(s);
    advance(s);
}

/* ---- from what stands to what is asked for ---- */

static void take_producer(struct sink *s, struct producer *p)
{
    s->producer = p;
    s->regrowing = false;
    s->unanswered = 0;
    asker_use(s->asker, p);
    asker_alive(s->asker);
    producer_watch(p, on_queue, s);
}

/* Worker's thread. */
static void work_free(uv_work_t *w)
{
    struct sink *s = w->data;

    producer_free(s->job_producer);
    s->job_producer = NULL;
}

/* Worker's thread. */
static void work_make(uv_work_t *w)
{
    struct sink *s = w->data;

    s->job_result = producer_new(&s->job_producer, &s->options.view, &s->topics, &s->job_err);
}

static void after_free(uv_work_t *w, int status)
{
    struct sink *s = w->data;

    (void)status;
    s->working = false;
    advance(s);
}

static void after_make(uv_work_t *w, int status)
{
    struct sink *s = w->data;

    (void)status;
    s->working = false;
    if (s->job_result == 0)
        take_producer(s, s->job_producer);
    s->job_producer = NULL;
    if (s->goal == GOAL_REBUILD) {
        s->goal = GOAL_RUN;
        s->callbacks.on_rebuilt(s->arg, s->job_result == 0 ? NULL : &s->job_err);
    }
    advance(s);
}

static void start(struct sink *s, uv_work_cb work, uv_after_work_cb after)
{
    /* Fails only for a NULL callback. */
    s->working = uv_queue_work(s->loop, &s->work, work, after) == 0;
}

static void handle_closed(struct sink *s)
{
    void (*on_closed)(void *arg) = s->on_closed;
    void *arg = s->closed_arg;

    if (--s->handles > 0)
        return;
    sink_topic_names_free(&s->topics);
    size_limits_free(&s->limits);
    options_free(&s->options);
    free(s);
    on_closed(arg);
}

static void on_handle_closed(uv_handle_t *h)
{
    handle_closed(h->data);
}

static void on_asker_closed(void *arg)
{
    handle_closed(arg);
}

static void close_handles(struct sink *s)
{
    if (s->handles > 0)
        return;
    s->handles = 4;
    uv_close((uv_handle_t *)&s->wake, on_handle_closed);
    uv_close((uv_handle_t *)&s->tick, on_handle_closed);
    uv_close((uv_handle_t *)&s->deadline, on_handle_closed);
    asker_close(s->asker, on_asker_closed, s);
}

/* True where the producer in the way of a rebuild may go. */
static bool rebuild_ready(const struct sink *s)
{
    return s->producer->inflight == 0 || s->overdue;
}

static void advance(struct sink *s)
{
    if (s->working || asker_busy(s->asker) || s->goal == GOAL_RUN)
        return;
    if (s->producer != NULL) {
        if (s->goal == GOAL_REBUILD && !rebuild_ready(s))
            return;
        asker_use(s->asker, NULL);
        s->job_producer = s->producer;
        s->producer = NULL;
        start(s, work_free, after_free);
        return;
    }
    (void)uv_timer_stop(&s->deadline);
    if (s->goal == GOAL_REBUILD) {
        start(s, work_make, after_make);
    } else if (s->goal == GOAL_DISCARD) {
        s->goal = s->rebuild_next ? GOAL_REBUILD : GOAL_RUN;
        s->rebuild_next = false;
        s->callbacks.on_discarded(s->arg);
        (void)uv_async_send(&s->wake);
    } else {
        close_handles(s);
    }
}

static void on_deadline(uv_timer_t *t)
{
    struct sink *s = t->data;

    if (s->goal != GOAL_REBUILD || s->producer == NULL)
        return;
    s->overdue = s->purged;
    if (!s->purged) {
        s->purged = true;
        producer_purge(s->producer, true);
        (void)uv_timer_start(&s->deadline, on_deadline, PURGE_MS, 0);
    }
    advance(s);
}

void sink_rebuild(struct sink *s, int timeout_ms)
{
    if (s->goal == GOAL_DISCARD)
        s->rebuild_next = true;
    if (s->goal != GOAL_RUN)
        return;
    s->goal = GOAL_REBUILD;
    s->purged = false;
    s->overdue = false;
    if (s->producer != NULL) {
        asker_use(s->asker, NULL);
        producer_purge(s->producer, false);
        (void)uv_timer_start(&s->deadline, on_deadline, (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms),
                             0);
    }
    (void)uv_async_send(&s->wake);
}

void sink_discard(struct sink *s)
{
    s->rebuild_next = false;
    if (s->goal == GOAL_CLOSE)
        return;
    s->goal = GOAL_DISCARD;
    asker_use(s->asker, NULL);
    if (s->producer != NULL)
        producer_purge(s->producer, true);
    (void)uv_async_send(&s->wake);
}

/* ---- records and topics ---- */

int sink_topic(struct sink *s, const char *name, size_t len, uint32_t *ret_topic, struct err *err)
{
    return sink_topic_names_index(&s->topics, name, len, ret_topic, err);
}

const char *sink_topic_name(const struct sink *s, uint32_t topic)
{
    return topic < s->topics.n ? s->topics.names[topic] : NULL;
}

int sink_lookup(struct sink *s, uint32_t topic, int timeout_ms, struct err *err)
{
    if (topic >= s->topics.n)
        return err_set(err, ERR_INTERNAL, "kafka: there is no topic %u", topic);
    return asker_topic(s->asker, topic, timeout_ms, err);
}

bool sink_takes(struct sink *s, const struct sink_record *record)
{
    struct err err;

    if (s->regrowing && s->goal == GOAL_RUN)
        return false;
    /* What is asked for comes by on_topic, whatever the answer. */
    if (!s->compresses && s->producer != NULL &&
        size_limits_judge(&s->limits, record, uv_now(s->loop)) == SIZE_ASK) {
        if (size_limits_ask(&s->limits, record->topic))
            (void)asker_topic(s->asker, record->topic, REFRESH_MS, &err);
        return false;
    }
    return s->producer == NULL || s->goal != GOAL_RUN || record->topic >= s->topics.n ||
           producer_takes(s->producer, record, uv_now(s->loop));
}

int sink_put(struct sink *s, const struct sink_record *record, struct err *err)
{
    if (s->producer == NULL || s->goal != GOAL_RUN)
        return err_set(err, ERR_UNAVAILABLE, "kafka: there is no producer at the moment");
    if (record->topic >= s->topics.n)
        return err_set(err, ERR_INTERNAL, "kafka: there is no topic %u", record->topic);
    if (!s->compresses && size_limits_judge(&s->limits, record, uv_now(s->loop)) == SIZE_OVER)
        return err_set(err, ERR_ROW,
                       "kafka topic \"%s\": it would be %" PRIu64
                       " bytes, and the topic's max.message.bytes is %" PRIu32
                       "; raise that (and kafka.message.max.bytes), or make the event smaller",
                       s->topics.names[record->topic], record_batch_bytes(record),
                       size_limits_bytes(&s->limits, record->topic));
    return producer_put(s->producer, record, uv_now(s->loop), err);
}

uint32_t sink_inflight(const struct sink *s)
{
    return s->producer == NULL || s->goal == GOAL_DISCARD ? 0 : s->producer->inflight;
}

bool sink_up(const struct sink *s)
{
    return s->reach == REACH_UP;
}

static void on_asked(void *arg, uint32_t topic, uint32_t limit, const struct err *why)
{
    struct sink *s = arg;

    size_limits_learn(&s->limits, topic, limit, uv_now(s->loop));
    if (s->goal != GOAL_CLOSE)
        s->callbacks.on_topic(s->arg, topic, why);
}

static void on_asker_idle(void *arg)
{
    advance(arg);
}

/* ---- open and close ---- */

static void on_tick(uv_timer_t *t)
{
    sink_listen(t->data);
}

static void init_timers(struct sink *s)
{
    (void)uv_timer_init(s->loop, &s->tick);
    (void)uv_timer_init(s->loop, &s->deadline);
    s->wake.data = s;
    s->tick.data = s;
    s->deadline.data = s;
    s->work.data = s;
    (void)uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
}

static bool compresses(const struct sink_options *options)
{
    bool found = false;

    for (size_t i = 0; i < options->nproperties; i++) {
        const struct sink_property *p = &options->properties[i];

        if (strcmp(p->name, "compression.type") == 0 || strcmp(p->name, "compression.codec") == 0)
            found = strcmp(p->value, "none") != 0;
    }
    return found;
}

int sink_open(struct sink **ret, uv_loop_t *loop, const struct sink_options *options,
              const struct sink_callbacks *callbacks, void *arg, struct err *err)
{
    static const struct asker_callbacks asked = {on_asked, sink_heard, on_asker_idle};
    struct sink *s = calloc(1, sizeof *s);
    struct producer *p = NULL;
    int r;

    if (s == NULL)
        return err_set(err, ERR_NOMEM, "kafka: out of memory");
    s->callbacks = *callbacks;
    s->arg = arg;
    s->loop = loop;
    r = options_copy(&s->options, options, err);
    s->compresses = compresses(options);
    if (r == 0)
        r = producer_new(&p, &s->options.view, &s->topics, err);
    if (r == 0)
        r = asker_new(&s->asker, loop, &s->topics, &asked, s, err);
    /* A handle that is open needs the loop to go: nothing may fail after it. */
    if (r == 0 && uv_async_init(loop, &s->wake, on_wake) != 0)
        r = err_set(err, ERR_NOMEM, "kafka: no file descriptor for waking the loop");
    if (r != 0)
        goto out;
    init_timers(s);
    asker_start(s->asker);
    take_producer(s, p);
    *ret = s;
    return 0;
out:
    free(s->asker);
    producer_free(p);
    options_free(&s->options);
    free(s);
    return r;
}

int sink_check_options(const struct sink_options *options, struct err *err)
{
    rd_kafka_t *rk;
    int r = kafka_conf_producer(options, true, &rk, err);

    if (r == 0)
        rd_kafka_destroy(rk);
    return r;
}

void sink_close(struct sink *s, void (*on_closed)(void *arg), void *arg)
{
    if (s == NULL) {
        on_closed(arg);
        return;
    }
    sink_discard(s);
    s->goal = GOAL_CLOSE;
    s->on_closed = on_closed;
    s->closed_arg = arg;
}

const char *sink_library_version(void)
{
    return rd_kafka_version_str();
}
