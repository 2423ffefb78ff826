/* The way from librdkafka's queue to the callbacks, and whether the cluster can be reached. */
#include "kafka/kafka_error.h"
#include "kafka/sink_impl.h"
#include "kafka/tls_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reports handed over in one turn of the loop; the rest waits for the next. */
#define DRAIN_EVENTS 64
#define DRAIN_REPORTS 8192

/* Without a sign of life for this long the cluster is asked for one: sooner while records wait. */
#define SILENCE_MS 3000
#define SILENCE_IDLE_MS 10000
/* A batch that is refused for its size is sent again in ones smaller by this. */
#define SPLIT 8
/* Without another refusal in so many records they are batched again: as many as librdkafka's
 * batch.num.messages, so that one in each batch costs about what finding it costs. */
#define SMALL_BATCHES 10000
/* Questions without an answer, one after the other, that make an up cluster down. */
#define UNANSWERED_MAX 2
/* Another cause of the same outage is told no sooner. */
#define RETELL_MS 10000

/* ---- reachable or not ---- */

static void set_up(struct sink *s)
{
    s->alive_at = uv_now(s->loop);
    s->unanswered = 0;
    s->cause.class = ERR_NONE;
    s->cause.certificate[0] = '\0';
    if (s->reach == REACH_UP || s->goal == GOAL_CLOSE)
        return;
    s->reach = REACH_UP;
    s->callbacks.on_up(s->arg, true, NULL);
}

/* Whether the cause of an outage is another one by now. What brokers complain of in turns is not.
 */
static bool is_news(const struct sink *s)
{
    if (s->cause.class == ERR_NONE || s->told.class == ERR_NONE)
        return s->cause.class != ERR_NONE;
    return strcmp(s->cause.text, s->told.text) != 0 && uv_now(s->loop) - s->told_at >= RETELL_MS;
}

static void set_down(struct sink *s, rd_kafka_resp_err_t code, const char *detail)
{
    struct err why;

    if (s->goal == GOAL_CLOSE || (s->reach == REACH_DOWN && !is_news(s)))
        return;
    s->reach = REACH_DOWN;
    s->told_at = uv_now(s->loop);
    s->told = s->cause;
    if (s->cause.class != ERR_NONE)
        (void)err_set(&why, ERR_CLUSTER, "no broker answers: %s", s->cause.text);
    else
        (void)kafka_error_set(&why, code, "no broker answers", detail);
    why.class = ERR_CLUSTER;
    s->callbacks.on_up(s->arg, false, &why);
}

void sink_heard(void *arg, bool answered, const struct err *why)
{
    struct sink *s = arg;

    if (s->goal != GOAL_RUN && s->goal != GOAL_REBUILD)
        return;
    if (answered)
        set_up(s);
    else if (s->reach != REACH_UP || ++s->unanswered >= UNANSWERED_MAX)
        set_down(s, RD_KAFKA_RESP_ERR__TIMED_OUT,
                 why == NULL ? NULL : "no answer to a metadata request");
}

void sink_listen(struct sink *s)
{
    uint64_t silent = uv_now(s->loop) - s->alive_at;

    if (s->producer == NULL || s->goal != GOAL_RUN)
        return;
    if (s->reach != REACH_UP || silent >= SILENCE_IDLE_MS ||
        (s->producer->inflight > 0 && silent >= SILENCE_MS))
        asker_alive(s->asker);
}

/* ---- what the producer says ---- */

/* A broker refuses a batch as a whole and does not say for which of its records. So they go out
 * again in smaller ones: either these are taken, for only together were they too large, which stays
 * so, or in the end the record at fault stands alone. */
static void split_batches(struct sink *s, rd_kafka_resp_err_t code)
{
    char text[32] = "";
    size_t size = sizeof text;
    long bytes;

    if (code != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE &&
        code != RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE) {
        options_override(&s->options, "batch.num.messages", 1);
        s->small_batches = SMALL_BATCHES;
        return;
    }
    s->small_batches = 0;
    (void)rd_kafka_conf_get(rd_kafka_conf(s->producer->rk), "batch.size", text, &size);
    bytes = strtol(text, NULL, 10) / SPLIT;
    options_override(&s->options, "batch.size", bytes > 1 ? bytes : 1);
}

static void confirmed_one(struct sink *s)
{
    if (s->small_batches > 0 && --s->small_batches == 0)
        s->regrowing = options_restore(&s->options);
}

/* Only a new producer has another batch size. Nothing is in flight, so nothing is repeated. */
static void regrow(struct sink *s)
{
    struct err why;

    if (!s->regrowing || s->producer->inflight > 0 || s->producer->fatal)
        return;
    s->producer->fatal = true;
    (void)err_set(&why, ERR_CLUSTER,
                  "kafka: records were sent one by one to find one that was refused, and no other "
                  "was in %d: they are batched again",
                  SMALL_BATCHES);
    s->callbacks.on_fatal(s->arg, &why);
}

/* What the broker answered with one word. */
struct batch {
    size_t records;
    bool placed; /* it said where they are: librdkafka counts offsets on from a missing one too */
};

static void report(struct sink *s, const rd_kafka_message_t *m, const struct batch *batch)
{
    uint64_t tag = (uint64_t)(uintptr_t)m->_private;
    char where[320];
    enum delivery what;
    struct err why;

    bool confirmed = m->err == RD_KAFKA_RESP_ERR_NO_ERROR && batch->placed;

    s->producer->inflight--;
    topic_handle_report(rd_kafka_topic_opaque(m->rkt), m->partition, confirmed, uv_now(s->loop));
    if (confirmed) {
        confirmed_one(s);
        s->callbacks.on_report(s->arg, tag, DELIVERY_OK, NULL, NULL);
        return;
    }
    (void)snprintf(where, sizeof where, "kafka topic \"%s\" partition %d",
                   rd_kafka_topic_name(m->rkt), m->partition);
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        /* Without an offset no broker has confirmed it: librdkafka infers its delivery from that of
         * a later request, which is wrong where the broker had no state of the producer. */
        (void)err_set(&why, ERR_CLUSTER, "%s: delivered, but without an offset", where);
        s->callbacks.on_report(s->arg, tag, DELIVERY_LOST, "_NO_OFFSET", &why);
        return;
    }
    (void)kafka_error_set(&why, m->err, where, NULL);
    what = kafka_error_delivery(m->err);
    if (m->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
        /* It was there when the record was put: whether the event is at fault, which may name one
         * that the topic has no more, turns out when it is put again. */
        what = DELIVERY_TOPIC;
        (void)err_set(&why, ERR_TOPIC, "%s: it is gone, and the topic perhaps; create it", where);
    }
    if (what == DELIVERY_ROW && m->err > RD_KAFKA_RESP_ERR_NO_ERROR && batch->records > 1) {
        split_batches(s, m->err);
        what = DELIVERY_LOST;
    } else if (what == DELIVERY_ROW) {
        s->small_batches = SMALL_BATCHES;
    }
    s->callbacks.on_report(s->arg, tag, what, rd_kafka_err2name(m->err), &why);
}

/* A callback may end what is being drained. */
static bool draining(const struct sink *s)
{
    return s->producer != NULL && !s->working && (s->goal == GOAL_RUN || s->goal == GOAL_REBUILD);
}

static size_t take_reports(struct sink *s, rd_kafka_event_t *event)
{
    struct batch batch = {rd_kafka_event_message_count(event), true}; /* one event is one batch */
    const rd_kafka_message_t *m;
    size_t n = 0;
    bool alive = false;

    while (draining(s) && (m = rd_kafka_event_message_next(event)) != NULL) {
        alive = alive || m->err == RD_KAFKA_RESP_ERR_NO_ERROR;
        if (n++ == 0)
            batch.placed = m->offset >= 0;
        report(s, m, &batch);
    }
    if (alive && draining(s))
        set_up(s);
    if (draining(s))
        regrow(s);
    return n;
}

/* True where the producer is dead; on_fatal is called once. */
static bool take_fatal(struct sink *s)
{
    char detail[512];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(s->producer->rk, detail, sizeof detail);
    struct err why;

    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    if (!s->producer->fatal && s->goal == GOAL_RUN) { /* else it is on its way out already */
        s->producer->fatal = true;
        (void)kafka_error_set(&why, code, "kafka: the producer is dead and has to be rebuilt",
                              detail);
        s->callbacks.on_fatal(s->arg, &why);
    }
    return true;
}

/* Files that were replaced while it ran are read by a new producer only. */
static void renew(struct sink *s)
{
    struct err why;

    if (!complaint_is_final(&s->cause) || s->producer->fatal || s->goal != GOAL_RUN ||
        tls_files_stamp(&s->options.view) == s->producer->files)
        return;
    s->producer->fatal = true;
    (void)err_set(&why, ERR_CLUSTER, "%s. The files of kafka.ssl.* are others than it has read",
                  s->cause.text);
    s->callbacks.on_fatal(s->arg, &why);
}

static void take_error(struct sink *s, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char *text = rd_kafka_event_error_string(event);

    /* A fatal error comes as __FATAL or, from the gapless guarantee, under its own code. */
    if (take_fatal(s))
        return;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        set_down(s, code, text);
    else
        complaint_take(&s->cause, event, rd_kafka_conf(s->producer->rk));
    renew(s);
}

static void take_log(struct sink *s, rd_kafka_event_t *event)
{
    const char *facility;
    const char *text;
    int level;

    if (rd_kafka_event_log(event, &facility, &text, &level) != 0)
        return;
    complaint_log(&s->cause, facility, text);
    /* It calls our own default experimental, at each start: nothing that anyone could act on. And
     * on_fatal says what FATAL says. */
    if (strcmp(facility, "FATAL") != 0 &&
        (strcmp(facility, "CONFWARN") != 0 || strstr(text, "enable.gapless.guarantee") == NULL))
        s->callbacks.on_log(s->arg, level, facility, text);
}

static size_t take_event(struct sink *s, rd_kafka_event_t *event)
{
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
        return take_reports(s, event);
    case RD_KAFKA_EVENT_ERROR:
        take_error(s, event);
        break;
    case RD_KAFKA_EVENT_LOG:
        take_log(s, event);
        break;
    default:
        break;
    }
    return 0;
}

void sink_drain(struct sink *s)
{
    size_t reports = 0;
    rd_kafka_event_t *event = NULL;

    for (int n = 0; n < DRAIN_EVENTS && reports < DRAIN_REPORTS && draining(s); n++) {
        event = rd_kafka_queue_poll(s->producer->queue, 0);
        if (event == NULL)
            break;
        reports += take_event(s, event);
        rd_kafka_event_destroy(event);
    }
    if (reports > 0 && draining(s))
        s->callbacks.on_reports_done(s->arg);
    /* librdkafka wakes only when its queue stops being empty, which it was not if event is set. */
    if (event != NULL && draining(s))
        (void)uv_async_send(&s->wake);
}
