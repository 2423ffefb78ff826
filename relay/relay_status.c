/* What the relay says of itself: metrics, status, readiness, and what holds events up. */
#include "relay_state.h"

#include "base/clock.h"
#include "ops/metrics_text.h"
#include "ops/notify.h"
#include "ops/versions.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So long without a delivery report while records wait for one is a stall. */
static const int64_t report_stall_ms = 10000;

/* ---- stalls ---- */

/* Standing by is no stall; not to know who owns the outbox is one. */
static void describe_unowned(struct relay *r, char *ret, size_t size)
{
    struct owner_view o;

    owner_view(r->owner, &o);
    if (r->outages[SERVER_READ].down)
        (void)snprintf(ret, size, "PostgreSQL cannot be read: %s", r->outages[SERVER_READ].why);
    else if (r->outages[SERVER_CONTROL].down)
        (void)snprintf(ret, size, "the lease cannot be asked for: %s",
                       r->outages[SERVER_CONTROL].why);
    else if (r->failing[WORK_LEASE].down)
        (void)snprintf(ret, size, "the lease cannot be asked for: %s", r->failing[WORK_LEASE].why);
    else if (!o.seen && o.epoch > 0)
        (void)snprintf(ret, size, "PostgreSQL does not answer, so the lease could not be renewed");
}

static void describe_stall(struct relay *r, int64_t now, const struct pipeline_view *v, char *ret,
                           size_t size)
{
    ret[0] = '\0';
    if (r->stopping)
        return;
    if (!v->owned) {
        describe_unowned(r, ret, size);
        return;
    }
    if (!v->source_up)
        (void)snprintf(ret, size, "PostgreSQL cannot be read: %s", r->outages[SERVER_READ].why);
    else if (!v->kafka_up)
        (void)snprintf(ret, size, "Kafka cannot be reached: %s", r->outages[SERVER_KAFKA].why);
    else if (!v->sink_ready)
        (void)snprintf(ret, size, "the producer is being made anew");
    else if (v->waiting_since >= 0 && now - v->waiting_since >= report_stall_ms)
        (void)snprintf(ret, size,
                       "Kafka has confirmed none of %u records for over %" PRId64
                       " s (too few in-sync replicas, or a broker that hangs)",
                       v->sent, report_stall_ms / 1000);
    else if (!v->ack_up)
        (void)snprintf(ret, size, "rows cannot be acknowledged: %s",
                       r->outages[SERVER_CONTROL].why);
    else if (relay_work_error(r)[0] != '\0')
        (void)snprintf(ret, size, "PostgreSQL refuses: %s", relay_work_error(r));
    else if (r->config->source_slot[0] != '\0' && r->wal_why[0] != '\0')
        (void)snprintf(ret, size, "the slot cannot be read: %.200s", r->wal_why);
    else if (v->stalled)
        (void)snprintf(ret, size, "the slot's stream waits for topic %s, which is away",
                       sink_topic_name(r->sink, v->stalled_on));
    else if (v->topics_away > 0)
        (void)snprintf(ret, size, "%u topics are away; see topics_waiting", v->topics_away);
}

void relay_find_stall(struct relay *r, int64_t now)
{
    struct pipeline_view view;
    char stall[sizeof r->stall];

    pipeline_view(r->pipeline, &view);
    describe_stall(r, now, &view, stall, sizeof stall);
    if (strcmp(stall, r->stall) == 0)
        return;
    if (stall[0] != '\0')
        log_warn(r->log, "relay", "stalled: %s", stall);
    else
        log_info(r->log, "relay", "flowing again");
    (void)snprintf(r->stall, sizeof r->stall, "%s", stall);
}

/* ---- systemd ---- */

/* It publishes, or stands by for one that does. */
static bool is_ready(const struct relay *r)
{
    struct pipeline_view v;
    struct owner_view o;

    if (pipeline_stopping(r->pipeline) != STOP_NONE)
        return false;
    pipeline_view(r->pipeline, &v);
    owner_view(r->owner, &o);
    return v.owned ? v.source_up && r->control_up && v.kafka_up && v.sink_ready
                   : o.seen && v.source_up && r->control_up;
}

/* A server that is away is waited for as long as it takes, so that a boot does not hang on it. What
 * a database that answers shows to be wrong (a right, the table) has ended the start before. */
void relay_tell_ready(struct relay *r)
{
    if (r->told_ready || !(is_ready(r) || r->stall[0] != '\0'))
        return;
    r->told_ready = true;
    relay_tell_status(r);
    notify_ready();
}

void relay_tell_status(struct relay *r)
{
    struct pipeline_view v;
    struct owner_view o;
    char status[sizeof r->told_status];

    pipeline_view(r->pipeline, &v);
    owner_view(r->owner, &o);
    if (r->stopping)
        (void)snprintf(status, sizeof status, "draining: %u events in flight", v.inflight_events);
    else if (r->stall[0] != '\0')
        (void)snprintf(status, sizeof status, "stalled: %s", r->stall);
    else if (v.owned)
        (void)snprintf(status, sizeof status, "publishing %s",
                       r->known ? r->facts.table : r->config->source_table);
    else if (o.seen && r->control_up)
        (void)snprintf(status, sizeof status, "standing by: %s owns the outbox", o.name);
    else
        (void)snprintf(status, sizeof status, "starting");
    if (strcmp(status, r->told_status) == 0)
        return;
    (void)snprintf(r->told_status, sizeof r->told_status, "%s", status);
    notify_status(status);
}

/* ---- metrics ---- */

static void counter(struct buf *b, const char *name, const char *help, uint64_t value)
{
    metrics_family(b, name, METRIC_COUNTER, help);
    metrics_sample_u64(b, name, NULL, value);
}

/* What the database says of itself. Before it has said so there is no sample: 0 would be good news.
 */
static void gauge_if(struct buf *b, const char *name, const char *help, bool known, double value)
{
    metrics_family(b, name, METRIC_GAUGE, help);
    if (known)
        metrics_sample_double(b, name, NULL, value);
}

static void gauge(struct buf *b, const char *name, const char *help, double value)
{
    gauge_if(b, name, help, true, value);
}

static void published(struct relay *r, struct buf *b)
{
    static const char name[] = "outbox_relay_published_events_total";

    metrics_family(b, name, METRIC_COUNTER, "Events confirmed by Kafka's delivery reports.");
    for (uint32_t i = 0; i < r->counters.topics; i++)
        if (r->counters.published[i] > 0)
            metrics_sample_u64(b, name, METRIC_LABEL("topic", sink_topic_name(r->sink, i)),
                               r->counters.published[i]);
}

static void errors(struct relay *r, struct buf *b)
{
    static const char name[] = "outbox_relay_delivery_errors_total";
    static const char *const classes[] = {"ok", "row", "topic", "cluster", "lost"};

    metrics_family(b, name, METRIC_COUNTER,
                   "Records that were not confirmed, by whose fault it was and which error.");
    for (uint32_t i = 0; i < r->counters.nerrors; i++) {
        const struct relay_error *e = &r->counters.errors[i];
        const struct metric_label labels[] = {
            {"class", classes[e->class]}, {"error", e->name}, {NULL, NULL}};

        metrics_sample_u64(b, name, labels, e->n);
    }
}

static void latency(struct relay *r, struct buf *b)
{
    const struct histogram *h = &r->counters.latency;
    static const char name[] = "outbox_relay_publish_latency_seconds";
    uint64_t cumulative[METRICS_BUCKETS];
    uint64_t sum = 0;

    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        cumulative[i] = sum += h->counts[i];
    metrics_family(b, name, METRIC_HISTOGRAM, "From created_at to the delivery report.");
    metrics_histogram(b, name, NULL, metrics_bounds, cumulative, METRICS_BUCKETS, h->n, h->sum);
}

static void labelled(struct relay *r, struct buf *b)
{
    static const char *const modes[] = {"notify", "wal", "interval"};
    const struct metric_label build[] = {{"version", OUTBOX_VERSION},
                                         {"librdkafka", sink_library_version()},
                                         {"libpq", pg_library_version()},
                                         {"libuv", version_libuv()},
                                         {NULL, NULL}};

    metrics_family(b, "outbox_relay_source_mode", METRIC_GAUGE, "1 for the way of reading in use.");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        metrics_sample_u64(b, "outbox_relay_source_mode", METRIC_LABEL("mode", modes[i]),
                           strcmp(modes[i], relay_mode(r)) == 0);
    metrics_family(b, "outbox_relay_reconnects_total", METRIC_COUNTER,
                   "Connections made again after a loss.");
    metrics_sample_u64(b, "outbox_relay_reconnects_total", METRIC_LABEL("server", "postgres"),
                       r->outages[SERVER_READ].reconnects + r->outages[SERVER_CONTROL].reconnects);
    if (r->listener != NULL)
        metrics_sample_u64(b, "outbox_relay_reconnects_total", METRIC_LABEL("server", "listen"),
                           r->outages[SERVER_LISTEN].reconnects);
    metrics_sample_u64(b, "outbox_relay_reconnects_total", METRIC_LABEL("server", "kafka"),
                       r->outages[SERVER_KAFKA].reconnects);
    metrics_family(b, "outbox_relay_build_info", METRIC_GAUGE, "Versions; the value is 1.");
    metrics_sample_u64(b, "outbox_relay_build_info", build, 1);
}

static int serve_metrics(void *arg, struct buf *b)
{
    struct relay *r = arg;
    struct pipeline_view v;
    struct owner_view o;

    pipeline_view(r->pipeline, &v);
    owner_view(r->owner, &o);
    gauge(b, "outbox_relay_owner", "1 while this relay owns the outbox, 0 on standby.", v.owned);
    gauge(b, "outbox_relay_ready", "1 while it publishes or stands by; what /readyz answers.",
          is_ready(r));
    gauge_if(b, "outbox_relay_lease_epoch", "The lease's epoch, as last seen.", o.epoch > 0,
             (double)o.epoch);
    gauge_if(b, "outbox_relay_backlog_events", "Unpublished rows in the table.", r->gauged,
             (double)r->gauges.backlog);
    gauge_if(b, "outbox_relay_oldest_unpublished_age_seconds", "Age of the oldest unpublished row.",
             r->gauged, r->gauges.oldest_seconds);
    gauge(b, "outbox_relay_inflight_events", "Rows read and not yet acknowledged.",
          v.inflight_events);
    gauge(b, "outbox_relay_inflight_bytes", "Bytes handed to the producer and not yet confirmed.",
          (double)v.inflight_bytes);
    gauge(b, "outbox_relay_postgres_up", "1 while the outbox can be read and acknowledged.",
          v.source_up && r->control_up);
    gauge(b, "outbox_relay_kafka_up", "1 while a broker can be reached.", v.kafka_up);
    gauge(b, "outbox_relay_topics_away", "Topics that are unknown or refuse; their rows wait.",
          v.topics_away);
    gauge(b, "outbox_relay_parked_events", "Events that hold up their topic and key.", v.parked);
    gauge_if(b, "outbox_relay_dead_events", "Events that were taken out of the outbox.", r->gauged,
             (double)r->gauges.dead);
    gauge(b, "outbox_relay_stalled", "1 while something holds events up; see /statusz.",
          r->stall[0] != '\0');
    gauge(b, "outbox_relay_slot_retained_wal_bytes",
          "WAL that the slot holds back; 0 without a slot.", (double)r->wal_retained);
    gauge(b, "outbox_relay_slot_over_budget",
          "1 while the slot that source.slot names holds back more than source.wal_budget.",
          r->wal_over > 0);
    counter(b, "outbox_relay_acknowledged_events_total", "Rows deleted or marked after delivery.",
            r->counters.acknowledged);
    counter(b, "outbox_relay_swept_events_total",
            "Rows found by the sweep only: they carried an old or foreign transaction id.",
            v.strays);
    counter(b, "outbox_relay_partitions_dropped_total",
            "Partitions that were old and wholly published, dropped by this process.",
            r->retention.dropped);
    gauge(b, "outbox_relay_retention_failing",
          "1 while what is old cannot be dropped, or partitions cannot be made; see /statusz.",
          r->retention.failing);
    counter(b, "outbox_relay_producer_rebuilds_total", "Producers made anew after a fatal error.",
            r->counters.rebuilds);
    published(r, b);
    errors(r, b);
    latency(r, b);
    labelled(r, b);
    metrics_process(b);
    return b->failed ? 500 : 200;
}

/* ---- status ---- */

static const char *state(const struct relay *r, const struct pipeline_view *v)
{
    struct owner_view o;

    if (pipeline_stopping(r->pipeline) == STOP_HALT)
        return "halted";
    if (r->stopping)
        return "draining";
    owner_view(r->owner, &o);
    return v->owned ? "owner" : o.seen && r->control_up ? "standby" : "starting";
}

static json_t *text_or_null(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}

/* Why a connection to it is away, "" if none is. */
static const char *postgres_error(const struct relay *r)
{
    static const enum relay_server servers[] = {SERVER_READ, SERVER_CONTROL, SERVER_LISTEN};

    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++)
        if (r->outages[servers[i]].down)
            return r->outages[servers[i]].why;
    return relay_work_error(r);
}

static json_t *topics_waiting(const struct relay *r)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < pipeline_topics(r->pipeline); i++) {
        uint64_t held;
        enum topic_state s = pipeline_topic_state(r->pipeline, i, &held);

        if (s == TOPIC_AWAY || s == TOPIC_RETRYING || s == TOPIC_RELEASED)
            (void)json_array_append_new(
                list, json_pack("{s:s, s:o, s:I}", "topic", sink_topic_name(r->sink, i), "error",
                                text_or_null(relay_topic_cause(r, i)), "held", (json_int_t)held));
    }
    return list;
}

/* Of the slot that source.slot names; null for none. */
static json_t *named_slot(const struct relay *r, const struct pipeline_view *v)
{
    char confirmed[24];

    if (r->config->source_slot[0] == '\0')
        return json_null();
    relay_lsn_text(pipeline_checkpoint(r->pipeline), confirmed);
    return json_pack("{s:s, s:b, s:o, s:b}", "name", r->config->source_slot, "read",
                     (int)v->streaming, "confirmed_lsn",
                     pipeline_checkpoint(r->pipeline) != 0 ? json_string(confirmed) : json_null(),
                     "over_budget", (int)(r->wal_over > 0));
}

/* Null where the outbox is not partitioned, or somebody else sees to that. */
static json_t *retention(const struct relay *r)
{
    if (!r->retention.ours)
        return json_null();
    return json_pack("{s:I, s:b, s:o}", "dropped", (json_int_t)r->retention.dropped, "failing",
                     (int)r->retention.failing, "note", text_or_null(r->retention.why));
}

static json_t *build_status(struct relay *r)
{
    struct pipeline_view v;
    struct owner_view o;

    pipeline_view(r->pipeline, &v);
    owner_view(r->owner, &o);
    return json_pack(
        "{s:s, s:s, s:I, s:s, s:{s:i, s:I, s:s, s:I}, s:{s:s, s:o, s:o, s:I, s:b, s:b, s:b},"
        " s:{s:b, s:s, s:o}, s:{s:b, s:o}, s:{s:I, s:I, s:I, s:I}, s:I, s:I, s:I, s:f, s:I, s:I, "
        "s:o, s:o, s:o}",
        "version", OUTBOX_VERSION, "state", state(r, &v), "uptime_s",
        (json_int_t)((clock_boot_ms() - r->started_at) / 1000), "table",
        r->known ? r->facts.table : r->config->source_table, "lease", "shard", o.shard, "epoch",
        (json_int_t)o.epoch, "owner", o.name, "expires_in_ms", (json_int_t)o.expires_in_ms,
        "source", "mode", relay_mode(r), "no_slot", text_or_null(r->wal_why), "slot",
        named_slot(r, &v), "retained_wal_bytes", (json_int_t)r->wal_retained, "up",
        (int)v.source_up, "sleeping", (int)pipeline_asleep(r->pipeline), "caught_up",
        (int)v.caught_up, "postgres", "up", (int)(v.source_up && r->control_up), "server",
        r->source != NULL ? table_source_where(r->source) : "", "error",
        text_or_null(postgres_error(r)), "kafka", "up", (int)v.kafka_up, "error",
        text_or_null(r->outages[SERVER_KAFKA].why), "window", "events",
        (json_int_t)v.inflight_events, "bytes", (json_int_t)v.inflight_bytes, "max_events",
        (json_int_t)r->config->window_events, "max_bytes", (json_int_t)r->config->window_bytes,
        "published", (json_int_t)r->counters.published_all, "acknowledged",
        (json_int_t)r->counters.acknowledged, "backlog", (json_int_t)r->gauges.backlog,
        "oldest_unpublished_s", r->gauges.oldest_seconds, "parked", (json_int_t)v.parked, "dead",
        (json_int_t)r->gauges.dead, "stall", text_or_null(r->stall), "topics_waiting",
        topics_waiting(r), "retention", retention(r));
}

static int serve_status(void *arg, struct buf *b)
{
    struct relay *r = arg;
    json_t *status = build_status(r);
    char *text = status == NULL ? NULL : json_dumps(status, JSON_COMPACT);

    json_decref(status);
    if (text == NULL)
        return 500;
    buf_append(b, text, strlen(text));
    buf_append(b, "\n", 1);
    free(text);
    return b->failed ? 500 : 200;
}

/* ---- probes ---- */

static int serve_livez(void *arg, struct buf *b)
{
    (void)arg; /* an answer shows that the loop turns */
    buf_append(b, "ok\n", 3);
    return 200;
}

static int serve_readyz(void *arg, bool verbose, struct buf *b)
{
    struct relay *r = arg;
    struct pipeline_view v;
    bool ready = is_ready(r);

    pipeline_view(r->pipeline, &v);
    if (verbose)
        buf_printf(b, "%spostgres %s\n%skafka %s\n%s%s\n", v.source_up && r->control_up ? "+" : "-",
                   v.source_up && r->control_up ? "ok" : "away", v.kafka_up ? "+" : "-",
                   v.kafka_up ? "ok" : "away", ready ? "+" : "-", state(r, &v));
    buf_printf(b, ready ? "ok\n" : "not ready\n");
    return ready ? 200 : 503;
}

const struct http_routes relay_routes = {
    .livez = serve_livez,
    .readyz = serve_readyz,
    .metrics = serve_metrics,
    .statusz = serve_status,
};
