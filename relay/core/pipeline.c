#include "core/pipeline_state.h"

#include <stdlib.h>

/* After an event was refused, what is in flight gets this long to report. */
static const int64_t halt_grace_ms = 5000;
static const uint32_t first_page = 256;

int pipeline_new(struct pipeline **ret, const struct pipeline_options *options, struct err *err)
{
    struct pipeline *p = calloc(1, sizeof *p);
    int rc;

    if (p == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    rc = ledger_new(&p->ledger, options->window_events, options->window_bytes, err);
    if (rc != 0) {
        free(p);
        return rc;
    }
    p->options = *options;
    p->topics.seed = options->seed;
    p->sleeper = sleeper_of(options->poll_interval_ms);
    p->rebuild_backoff = backoff_of(50, 10000, options->seed ^ 1);
    p->ack_backoff = backoff_of(50, 5000, options->seed ^ 2);
    p->read_backoff = backoff_of(50, 5000, options->seed ^ 3);
    p->stream_backoff = backoff_of(options->named ? 100 : 1000, 60000, options->seed ^ 4);
    p->drain_backoff = backoff_of(50, 5000, options->seed ^ 5);
    p->drain_at = INT64_MIN;
    p->checkpoint.strict = options->named;
    p->stalled = -1;
    p->parked_known = true;
    ledger_watch(p->ledger, &p->checkpoint);
    p->page_cap = first_page;
    p->row_bytes = 1024;
    p->delivered_since = -1;
    p->reported_at = -1;
    p->retry_at = INT64_MIN;
    p->epoch = 1;
    pipeline_start_over(p);
    *ret = p;
    return 0;
}

void pipeline_free(struct pipeline *p)
{
    if (p == NULL)
        return;
    ledger_free(p->ledger);
    topics_free(&p->topics);
    cursor_free(&p->cursor);
    keyset_free(&p->parked);
    keyset_free(&p->ending);
    keyset_free(&p->passed);
    snapshot_free(&p->made_at);
    checkpoint_free(&p->checkpoint);
    free(p);
}

/* ---- what may be done now ---- */

static bool has_room(const struct pipeline *p)
{
    uint32_t least = p->options.window_events / 8;
    uint64_t bytes = ledger_bytes(p->ledger);

    if (least > p->options.page_events)
        least = p->options.page_events;
    if (least == 0)
        least = 1;
    if (ledger_room(p->ledger) < least || !pipeline_may_fail(p))
        return false;
    return bytes == 0 || bytes + p->options.window_bytes / 8 <= p->options.window_bytes;
}

static bool all_up(const struct pipeline *p)
{
    return p->owned && p->source_up && p->kafka_up && p->sink == SINK_READY && p->parked_known;
}

bool pipeline_can_read(const struct pipeline *p)
{
    return all_up(p) && p->stopping == STOP_NONE && has_room(p);
}

static bool waits_for_topic(const struct pipeline *p)
{
    uint32_t unanswered = p->topics.counts[TOPIC_ASKED];

    for (uint32_t i = 0; unanswered == 0 && p->topics.counts[TOPIC_UNKNOWN] > 0 && i < p->topics.n;
         i++)
        unanswered += p->topics.list[i].state == TOPIC_UNKNOWN && p->topics.list[i].wanted;
    return unanswered > 0;
}

static bool waits_for_report(const struct pipeline *p)
{
    return p->full &&
           ledger_count(p->ledger, ENTRY_SENT) + ledger_count(p->ledger, ENTRY_DISOWNED) > 0;
}

bool pipeline_stalls(const struct pipeline *p)
{
    enum topic_state state = p->stalled < 0 ? TOPIC_READY : p->topics.list[p->stalled].state;

    return state == TOPIC_AWAY || state == TOPIC_RETRYING;
}

bool pipeline_sink_waits(const struct pipeline *p)
{
    return waits_for_topic(p) || waits_for_report(p) || pipeline_stalls(p);
}

/* The half of a transaction that is published would come again. */
static bool ends_transaction(const struct pipeline *p)
{
    return p->stopping == STOP_DRAIN && p->options.named && p->stream == STREAM_ON &&
           p->checkpoint.open && !p->checkpoint.lost && all_up(p) && !waits_for_topic(p) &&
           !pipeline_stalls(p);
}

bool pipeline_can_stream(const struct pipeline *p)
{
    return pipeline_can_read(p) || (ends_transaction(p) && has_room(p));
}

static int64_t exit_at(const struct pipeline *p)
{
    if (p->stopping == STOP_NONE || p->exited)
        return INT64_MAX;
    if (!p->owned || (pipeline_all_done(p) && pipeline_all_stored(p) && !ends_transaction(p)))
        return INT64_MIN;
    return p->stop_deadline;
}

static int64_t rebuild_due_at(const struct pipeline *p)
{
    return p->sink == SINK_FATAL && p->owned && p->stopping == STOP_NONE ? p->rebuild_at
                                                                         : INT64_MAX;
}

/* The topic to look up now, or -1; *ret_at is the earliest time when there will be one. */
static int64_t lookup_due(const struct pipeline *p, int64_t now, int64_t *ret_at)
{
    *ret_at = INT64_MAX;
    if (!p->owned || p->sink != SINK_READY || !p->kafka_up || p->stopping != STOP_NONE)
        return -1;
    return topics_due(&p->topics, now, ret_at);
}

void pipeline_next(struct pipeline *p, int64_t now, struct action *ret)
{
    int64_t at;
    int64_t topic;

    ret->kind = ACTION_NONE;
    if (!pipeline_can_read(p) || p->stream == STREAM_ON || p->options.named)
        sleeper_suspend(&p->sleeper, now);
    if (exit_at(p) <= now) {
        p->exited = true;
        ret->kind = ACTION_EXIT;
        return;
    }
    if (pipeline_ack_at(p) <= now && pipeline_ack_next(p, now, ret))
        return;
    if (rebuild_due_at(p) <= now) {
        p->sink = SINK_REBUILDING;
        ret->kind = ACTION_REBUILD;
        return;
    }
    topic = lookup_due(p, now, &at);
    if (topic >= 0) {
        bool first = p->topics.list[topic].state == TOPIC_UNKNOWN;

        topics_move(&p->topics, (uint32_t)topic, first ? TOPIC_ASKED : TOPIC_RETRYING);
        ret->kind = ACTION_LOOKUP;
        ret->topic = (uint32_t)topic;
        return;
    }
    if (pipeline_stream_next(p, now, ret))
        return;
    if (p->list_due && p->owned && p->ack_up) {
        p->list_due = false;
        ret->kind = ACTION_LIST;
        return;
    }
    if (pipeline_queue_at(p) <= now) {
        p->reading = true;
        p->cut = false;
        pipeline_queue_next(p, pipeline_page_limit(p), ret);
        return;
    }
    pipeline_read_next(p, now, ret);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t pipeline_deadline(const struct pipeline *p, int64_t now)
{
    int64_t at = earlier(pipeline_read_at(p), earlier(pipeline_ack_at(p), exit_at(p)));
    int64_t topic_at;

    at = earlier(at, earlier(rebuild_due_at(p), pipeline_stream_due(p)));
    at = earlier(at, p->list_due && p->owned && p->ack_up ? now : pipeline_queue_at(p));
    return lookup_due(p, now, &topic_at) >= 0 ? now : earlier(at, topic_at);
}

/* ---- ownership ---- */

void pipeline_own(struct pipeline *p, int64_t now, bool continued)
{
    p->owned = true;
    pipeline_parked_ask(p);
    pipeline_queue_forget(p);
    if (!continued) {
        keyset_clear(&p->parked);
        ledger_disown(p->ledger);
    }
    if (p->sink == SINK_GONE) {
        p->sink = SINK_FATAL;
        p->rebuild_at = now;
    }
    pipeline_start_over(p);
}

void pipeline_disown(struct pipeline *p, int64_t now)
{
    if (!p->owned)
        return;
    p->owned = false;
    p->sink = SINK_GONE;
    p->stream_drop = p->stream != STREAM_OFF;
    pipeline_new_epoch(p, now);
}

void pipeline_rows_gone(struct pipeline *p, int64_t now)
{
    (void)now;
    /* Answers to batches on their way find nothing then. The events of a named slot stay; only
     * their seqs may be those of other rows. */
    if (p->options.named) {
        ledger_ack_lost(p->ledger);
    } else {
        keyset_clear(&p->parked);
        pipeline_parked_ask(p);
        ledger_disown(p->ledger);
    }
    pipeline_start_over(p);
}

/* ---- waking ---- */

void pipeline_set_notify(struct pipeline *p, int64_t now, bool can_notify)
{
    sleeper_set_notify(&p->sleeper, now, can_notify);
}

void pipeline_notified(struct pipeline *p, int64_t now)
{
    sleeper_wake(&p->sleeper, now);
}

bool pipeline_wants_lock(const struct pipeline *p)
{
    return pipeline_can_read(p) && p->stream != STREAM_ON && !p->options.named &&
           sleeper_wants_lock(&p->sleeper);
}

bool pipeline_asleep(const struct pipeline *p)
{
    return p->sleeper.state == SLEEP_ASLEEP;
}

void pipeline_lock_granted(struct pipeline *p, int64_t now)
{
    sleeper_granted(&p->sleeper, now);
}

void pipeline_lock_lost(struct pipeline *p, int64_t now)
{
    sleeper_lock_lost(&p->sleeper, now);
}

/* ---- ending ---- */

void pipeline_stop(struct pipeline *p, int64_t now, int64_t deadline)
{
    (void)now;
    if (p->stopping != STOP_NONE)
        return;
    p->stopping = STOP_DRAIN;
    p->stop_deadline = deadline;
}

void pipeline_halt(struct pipeline *p, int64_t now)
{
    p->cut = true;
    if (p->stopping == STOP_HALT)
        return;
    p->stopping = STOP_HALT;
    p->stop_deadline = now + halt_grace_ms;
}

enum stop_reason pipeline_stopping(const struct pipeline *p)
{
    return p->stopping;
}
