/* The sink's side: events become records and go in, reports come out. */
#include "relay_state.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* ---- records ---- */

static void count_error(struct relay_counters *c, enum delivery class, const char *name)
{
    uint32_t i = 0;

    while (i < c->nerrors && (c->errors[i].class != class || strcmp(c->errors[i].name, name) != 0))
        i++;
    if (i == RELAY_ERRORS)
        i--;
    if (i == c->nerrors)
        c->errors[c->nerrors++] = (struct relay_error){class, name, 0};
    c->errors[i].n++;
}

/* Of the log what comes first is the older one, of the table what has the lower seq; what is read
 * from the table (0) comes before the log. */
static bool is_older(const struct relay *r, const struct ledger_item *item, uint64_t behind)
{
    if (behind != r->culprit_behind)
        return behind < r->culprit_behind;
    return item->seq < r->culprit.seq;
}

/* Remembers the event to halt at: the oldest that was refused. */
static void remember_culprit(struct relay *r, const struct ledger_item *item, const char *topic,
                             size_t topic_len, uint64_t behind, const struct err *why)
{
    if (r->culprit_known && !is_older(r, item, behind))
        return;
    r->culprit_known = true;
    r->culprit = *item;
    r->culprit_behind = behind;
    r->culprit_why = *why;
    (void)snprintf(r->culprit_topic, sizeof r->culprit_topic, "%.*s", (int)topic_len, topic);
}

void relay_forget_stream(struct relay *r)
{
    if (r->culprit_known && r->culprit_behind != 0)
        r->culprit_behind = RELAY_SOMEWHERE;
}

/* Passing it over is offered only where nothing else would be passed over with it. */
static void way_on(const struct relay *r, char *ret, size_t size)
{
    char behind[24];

    relay_lsn_text(r->culprit_behind, behind);
    if (r->culprit_behind != RELAY_SOMEWHERE &&
        pipeline_stream_done_before(r->pipeline, r->culprit_behind))
        (void)snprintf(ret, size,
                       "Correct the cause and start again; or, to pass over its whole transaction: "
                       "UPDATE %s SET confirmed_lsn = '%s'",
                       r->facts.lease, behind);
    else
        (void)snprintf(ret, size,
                       "Of what comes before it not all has arrived either: correct the cause, or "
                       "just start again to be told how to pass over it");
}

/* A named slot streams it as it was written, whatever becomes of its row. */
static void log_streamed_culprit(struct relay *r, const char *id)
{
    static const unsigned char none[EVENT_ID_LEN]; /* of a message that makes no event */
    bool message = r->culprit.seq < 0;
    char lsn[24] = "";
    char way[400];
    struct log_field fields[] = {
        LOG_F_STR("event_id", memcmp(r->culprit.id, none, sizeof none) == 0 ? NULL : id),
        LOG_F_STR("lsn", message ? lsn : NULL),
        LOG_F_STR("topic", r->culprit_topic[0] != '\0' ? r->culprit_topic : NULL),
        LOG_F_INT("bytes", r->culprit.bytes),
    };

    if (message)
        relay_lsn_text((uint64_t)r->culprit.seq - (uint64_t)INT64_MIN, lsn);
    way_on(r, way, sizeof way);
    log_write(r->log, LOG_ERROR, "relay", fields, sizeof fields / sizeof *fields,
              "%s %s cannot be published: %s. Nothing behind it in slot \"%s\" was confirmed. %s",
              message ? "the logical message at" : "event", message ? lsn : id,
              r->culprit_why.message, r->config->source_slot, way);
}

void relay_log_culprit(struct relay *r)
{
    char id[EVENT_ID_TEXT];
    struct log_field fields[] = {
        LOG_F_STR("event_id", id),
        LOG_F_INT("seq", r->culprit.seq),
        LOG_F_STR("topic", r->culprit_topic[0] != '\0' ? r->culprit_topic : NULL),
        LOG_F_INT("bytes", r->culprit.bytes),
    };

    if (!r->culprit_known)
        return;
    event_id_text(r->culprit.id, id);
    if (r->culprit_behind != 0) {
        log_streamed_culprit(r, id);
        return;
    }
    log_write(r->log, LOG_ERROR, "relay", fields, sizeof fields / sizeof *fields,
              "event %s cannot be published: %s. It stays in %s, nothing later of its key was "
              "published. Correct the cause, or correct or delete the row, and start again",
              id, r->culprit_why.message, r->facts.table);
}

static enum delivery class_of(const struct err *err)
{
    switch (err->class) {
    case ERR_ROW:
        return DELIVERY_ROW;
    case ERR_TOPIC:
        return DELIVERY_TOPIC;
    default:
        return DELIVERY_LOST; /* not now: read it again */
    }
}

static struct sink_record sink_record_of(const struct record *record,
                                         const struct pipeline_row *row)
{
    return (struct sink_record){
        .topic = row->item.topic,
        .partition = record->partition,
        .key = record->key,
        .value = record->value,
        .timestamp_ms = record->timestamp_ms,
        .headers = record->headers,
        .nheaders = record->nheaders,
    };
}

/* False for a row that waits, as if it had been cut. */
static bool put(struct relay *r, int64_t now, const struct sink_record *out,
                const struct record *record, const struct pipeline_row *row, uint64_t behind,
                const struct event *event)
{
    struct err err;

    if (sink_put(r->sink, out, &err) == 0)
        return true;
    if (!pipeline_put_failed(r->pipeline, now, out->tag, class_of(&err)))
        return false;
    if (err.class != ERR_ROW)
        return true;
    count_error(&r->counters, DELIVERY_ROW, "REFUSED");
    if (pipeline_is_failed(r->pipeline, out->tag))
        relay_failed(r, out->tag, &row->item, sink_topic_name(r->sink, out->topic), &err, event);
    else
        remember_culprit(r, &row->item, record->topic, record->topic_len, behind, &err);
    return true;
}

/* Behind the transaction that is being streamed, in a named slot; else 0. */
static uint64_t behind_this(const struct relay *r)
{
    return r->config->source_slot[0] != '\0' ? r->wal_commit + 1 : 0;
}

/* The same of one that was refused by Kafka. */
static uint64_t behind_item(const struct relay *r, const struct ledger_item *item)
{
    uint64_t behind;

    if (r->config->source_slot[0] == '\0' || (item->xid == 0 && item->seq >= 0))
        return 0; /* it is in the table */
    if (!pipeline_stream_behind(r->pipeline, item->tx, &behind))
        return RELAY_SOMEWHERE;
    return behind != 0 ? behind : behind_this(r);
}

/* The row or message is its own culprit, or waits (CUT). */
static bool refused(struct relay *r, int64_t now, enum verdict v, const struct ledger_item *item,
                    const struct record *record, uint64_t behind, const struct err *why)
{
    if (v == VERDICT_INVALID) {
        count_error(&r->counters, DELIVERY_ROW, "INVALID");
        remember_culprit(r, item, record->topic, record->topic_len, behind, why);
    }
    relay_pump(r, now);
    return false;
}

/* For its own sake: it cannot be a record; or it was refused, and comes again to be recorded. */
static void failed(struct relay *r, uint64_t tag, const struct pipeline_row *row,
                   const struct err *why, const struct event *event)
{
    if (!row->invalid) {
        relay_failed_event(r, tag, event);
        return;
    }
    count_error(&r->counters, DELIVERY_ROW, "INVALID");
    relay_failed(r, tag, &row->item, "", why, event);
}

static bool put_event(struct relay *r, const struct event *event, bool streamed, bool message)
{
    int64_t now = clock_boot_ms();
    struct pipeline_row row = {.xid = event->xid, .message = message};
    struct record record = {0};
    uint64_t behind = streamed ? behind_this(r) : 0;
    struct sink_record out;
    enum verdict v;
    struct err err;
    int rc;

    if (r->closing)
        return false;
    owner_expire(r->owner, now);
    rc = format_event(r->format, event, &record, &err);
    if (rc == 0)
        rc = sink_topic(r->sink, record.topic, record.topic_len, &row.item.topic, &err);
    if (rc != 0 && err.class != ERR_ROW) {
        log_error(r->log, "relay", "%s", err.message);
        relay_fail(r, err_exit_code(err.class));
        return false;
    }
    row.invalid = rc != 0;
    row.item.seq = event->seq;
    row.item.bytes = row.invalid ? event_bytes(event) : record.bytes;
    row.item.created_us = event->created_us;
    memcpy(row.item.id, event->id, sizeof row.item.id);
    relay_prepare_failure(r, event, row.invalid ? NULL : &record, &row.item);
    out = sink_record_of(&record, &row);
    /* The stream waits: to read it again from the table would give up the order of commits. A
     * report lets it go on. */
    if (streamed && !row.invalid && !sink_takes(r->sink, &out))
        return false;
    v = streamed ? pipeline_stream_row(r->pipeline, now, &row, &out.tag, &err)
                 : pipeline_row(r->pipeline, now, &row, &out.tag, &err);
    switch (v) {
    case VERDICT_PUT:
        if (streamed || sink_takes(r->sink, &out))
            return put(r, now, &out, &record, &row, behind, event);
        (void)pipeline_put_failed(r->pipeline, now, out.tag, DELIVERY_LOST);
        return true;
    case VERDICT_BEHIND:
        relay_behind(r, out.tag, event);
        return true;
    case VERDICT_SKIP:
    case VERDICT_HOLD:
        return true;
    case VERDICT_FAILED:
        failed(r, out.tag, &row, &err, event);
        return true;
    case VERDICT_INVALID:
    case VERDICT_CUT:
        break;
    }
    return refused(r, now, v, &row.item, &record, behind, &err);
}

bool relay_put(struct relay *r, const struct event *event, bool streamed)
{
    return put_event(r, event, streamed, false);
}

bool relay_put_message(struct relay *r, uint64_t lsn, const struct event *event,
                       const struct err *why)
{
    struct pipeline_row row = {
        .item = {.seq = wal_message_seq(lsn)}, .message = true, .invalid = true};
    struct record none = {.topic = ""};
    int64_t now = clock_boot_ms();
    uint64_t tag;
    struct err err;

    if (event != NULL)
        return put_event(r, event, true, true);
    return refused(r, now, pipeline_stream_row(r->pipeline, now, &row, &tag, &err), &row.item,
                   &none, behind_this(r), why);
}

/* ---- topics ---- */

static void remember_cause(struct relay *r, uint32_t topic, const struct err *why)
{
    if (topic >= r->ntopic_causes) {
        uint32_t n = topic + 16;
        char **grown = realloc(r->topic_causes, n * sizeof *grown);

        if (grown == NULL)
            return; /* status says less, nothing else */
        memset(grown + r->ntopic_causes, 0, (n - r->ntopic_causes) * sizeof *grown);
        r->topic_causes = grown;
        r->ntopic_causes = n;
    }
    free(r->topic_causes[topic]);
    r->topic_causes[topic] = why == NULL ? NULL : strdup(why->message);
}

const char *relay_topic_cause(const struct relay *r, uint32_t topic)
{
    const char *cause = topic < r->ntopic_causes ? r->topic_causes[topic] : NULL;

    return cause == NULL ? "" : cause;
}

void relay_free_topic_causes(struct relay *r)
{
    for (uint32_t i = 0; i < r->ntopic_causes; i++)
        free(r->topic_causes[i]);
    free(r->topic_causes);
}

/* ---- reports ---- */

static void count_published(struct relay *r, const struct ledger_item *item)
{
    struct relay_counters *c = &r->counters;

    if (item->topic >= c->topics) {
        uint32_t n = item->topic + 16;
        uint64_t *grown = realloc(c->published, n * sizeof *grown);

        if (grown == NULL)
            return; /* a count less, not an event less */
        memset(grown + c->topics, 0, (n - c->topics) * sizeof *grown);
        c->published = grown;
        c->topics = n;
    }
    c->published[item->topic]++;
    c->published_all++;
    histogram_add(&c->latency, (double)(clock_wall_ms() * 1000 - item->created_us) / 1e6);
}

static void on_report(void *arg, uint64_t tag, enum delivery what, const char *error,
                      const struct err *why)
{
    struct relay *r = arg;
    struct ledger_item item;

    if (!pipeline_report(r->pipeline, clock_boot_ms(), tag, what, &item))
        return;
    if (what == DELIVERY_OK) {
        count_published(r, &item);
        return;
    }
    count_error(&r->counters, what, error);
    if (what == DELIVERY_TOPIC)
        remember_cause(r, item.topic, why);
    if (what == DELIVERY_ROW && pipeline_is_failed(r->pipeline, tag)) {
        relay_failed(r, tag, &item, sink_topic_name(r->sink, item.topic), why, NULL);
    } else if (what == DELIVERY_ROW) {
        const char *topic = sink_topic_name(r->sink, item.topic);

        remember_culprit(r, &item, topic, strlen(topic), behind_item(r, &item), why);
    }
}

static void on_reports_done(void *arg)
{
    relay_pump(arg, clock_boot_ms());
}

static void on_topic(void *arg, uint32_t topic, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();
    uint64_t held;
    enum topic_state before = pipeline_topic_state(r->pipeline, topic, &held);
    struct log_field fields[] = {
        LOG_F_STR("topic", sink_topic_name(r->sink, topic)),
        LOG_F_INT("rows_waiting", held),
    };

    pipeline_topic(r->pipeline, now, topic,
                   why == NULL               ? TOPIC_KNOWN
                   : why->class == ERR_TOPIC ? TOPIC_REFUSED
                                             : TOPIC_NO_ANSWER);
    remember_cause(r, topic, why);
    if (why != NULL && before == TOPIC_ASKED)
        log_write(r->log, LOG_WARN, "kafka", fields, 1,
                  "%s; its events wait in the table, others go on", why->message);
    if (why == NULL && before == TOPIC_RETRYING)
        log_write(r->log, LOG_INFO, "kafka", fields, 2, "topic %s is there again: its events flow",
                  sink_topic_name(r->sink, topic));
    relay_pump(r, now);
}

/* ---- the producer's life ---- */

static void on_fatal(void *arg, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    pipeline_sink_fatal(r->pipeline, now);
    if (pipeline_stopping(r->pipeline) != STOP_HALT) {
        r->counters.rebuilds++;
        log_warn(r->log, "kafka",
                 "%s; a new producer is made and goes on at the oldest unacknowledged row",
                 why->message);
    }
    relay_pump(r, now);
}

static void on_rebuilt(void *arg, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    if (why != NULL)
        log_error(r->log, "kafka", "no new producer: %s; tried again", why->message);
    pipeline_sink_rebuilt(r->pipeline, now, why == NULL);
    relay_pump(r, now);
}

void relay_discard_producer(struct relay *r)
{
    if (!r->closing)
        sink_discard(r->sink);
}

/* Nothing waits for it: the sink lets a rebuild follow by itself. */
static void on_discarded(void *arg)
{
    (void)arg;
}

static void on_up(void *arg, bool up, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    if (!up) {
        relay_outage(r, SERVER_KAFKA, now, why);
    } else if (relay_recovered(r, SERVER_KAFKA)) {
        log_info(r->log, "kafka", "Kafka is reachable again");
    } else {
        log_info(r->log, "kafka", "Kafka is reachable");
    }
    pipeline_kafka(r->pipeline, now, up);
    relay_pump(r, now);
}

/* librdkafka tells of each broker's each failed connection; its own lines are for debugging, what
 * matters comes by on_up, on_fatal and the reports. */
static void on_log(void *arg, int level, const char *facility, const char *text)
{
    struct relay *r = arg;

    (void)level;
    log_debug(r->log, "kafka", "%s: %s", facility, text);
}

int relay_kafka_open(struct relay *r, struct err *err)
{
    static const struct sink_callbacks callbacks = {
        .on_report = on_report,
        .on_reports_done = on_reports_done,
        .on_topic = on_topic,
        .on_fatal = on_fatal,
        .on_rebuilt = on_rebuilt,
        .on_discarded = on_discarded,
        .on_up = on_up,
        .on_log = on_log,
    };
    struct sink_property *properties = calloc(r->config->nkafka + 1, sizeof *properties);
    struct sink_options options = {
        .properties = properties,
        .nproperties = r->config->nkafka,
        .window_events = (uint32_t)r->config->window_events,
        .window_bytes = (uint64_t)r->config->window_bytes,
    };
    int rc;

    if (properties == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < r->config->nkafka; i++)
        properties[i] = (struct sink_property){r->config->kafka[i].name, r->config->kafka[i].value};
    rc = sink_open(&r->sink, &r->loop, &options, &callbacks, r, err);
    if (rc != 0)
        config_say_where(r->config, err);
    free(properties);
    return rc;
}
