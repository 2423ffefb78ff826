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

static void start_over(struct pipeline *p)
{
    p->start_over = true;
    p->sweeping = false;
    p->caught_up = false;
}

void pipeline_start_over(struct pipeline *p)
{
    if (p->options.named && p->stream != STREAM_SEAM)
        return; /* nothing is read then */
    start_over(p);
    pipeline_stream_rewind(p);
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

static int64_t read_at(const struct pipeline *p)
{
    if (!pipeline_can_read(p) || p->reading || pipeline_sink_waits(p))
        return INT64_MAX;
    if (p->options.named && p->stream != STREAM_SEAM)
        return INT64_MAX;
    /* A round that was begun is read to its end; beyond it rows come by the stream. */
    if (p->stream == STREAM_ON && p->caught_up)
        return p->swept_at + p->options.stream_sweep_interval_ms;
    return p->caught_up && p->retry_at < p->sleeper.next_read_at ? p->sleeper.next_read_at
                                                                 : p->retry_at;
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

static uint32_t page_limit(const struct pipeline *p)
{
    uint64_t bytes = ledger_bytes(p->ledger);
    uint64_t room = bytes < p->options.window_bytes ? p->options.window_bytes - bytes : 1;
    uint64_t limit;

    if (room > p->options.page_bytes)
        room = p->options.page_bytes;
    limit = room / (p->row_bytes + 1);
    if (limit > p->page_cap)
        limit = p->page_cap;
    if (limit > ledger_room(p->ledger))
        limit = ledger_room(p->ledger);
    return limit == 0 ? 1 : (uint32_t)limit;
}

/* What lies there unpublished (a topic's that is away, behind parked events) is gone through each
 * time, and shall cost the rest a twentieth at most. */
static int64_t sweep_interval(const struct pipeline *p)
{
    int64_t least = 20 * p->sweep_took;

    return least > p->options.sweep_interval_ms ? least : p->options.sweep_interval_ms;
}

/* The next read is a start again, to find what no difference and no stream has brought. */
static void sweep(struct pipeline *p)
{
    bool caught_up = p->caught_up;

    start_over(p);
    p->sweeping = true;
    p->caught_up = caught_up; /* no hurry: with the next read that is due */
}

static void begin_read(struct pipeline *p, int64_t now, struct action *ret)
{
    if (p->start_over) {
        if (p->options.named)
            cursor_start_given(&p->cursor);
        else if (p->sweeping && p->stream == STREAM_ON)
            cursor_sweep_begin(&p->cursor);
        else
            cursor_start_over(&p->cursor);
        topics_release(&p->topics);
        p->start_over = false;
        p->cursor_started = true;
        p->start_took = 0;
        p->swept_at = now;
        p->found = 0;
    }
    p->limit = page_limit(p);
    p->page_at = now;
    p->reading = true;
    p->cut = false;
    ret->kind = ACTION_READ;
    cursor_next(&p->cursor, p->limit, &ret->read);
    if (p->options.named)
        ret->read.until = &p->made_at;
    ret->read.parked = p->parked.n > 0 && !p->options.named;
    /* A round knows what had committed when its first page was read, whatever came since. */
    if (ret->read.opens)
        sleeper_read_sent(&p->sleeper);
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
        pipeline_queue_next(p, page_limit(p), ret);
        return;
    }
    if (read_at(p) > now)
        return;
    if (p->stream == STREAM_ON && p->caught_up)
        sweep(p);
    begin_read(p, now, ret);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t pipeline_deadline(const struct pipeline *p, int64_t now)
{
    int64_t at = earlier(read_at(p), earlier(pipeline_ack_at(p), exit_at(p)));
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

/* ---- reading ---- */

void pipeline_source_up(struct pipeline *p, int64_t now)
{
    p->source_up = true;
    /* A server that has crashed may have forgotten what was recorded or released last. */
    pipeline_parked_ask(p);
    pipeline_start_over(p);
    sleeper_wake(&p->sleeper, now);
}

void pipeline_source_lost(struct pipeline *p, int64_t now)
{
    p->source_up = false;
    p->reading = p->draining = false;
    ledger_forget_done(p->ledger);
    pipeline_start_over(p);
    pipeline_set_notify(p, now, false);
}

int pipeline_read_header(struct pipeline *p, const struct slice *snapshot, bool has_max,
                         int64_t max_seq, struct err *err)
{
    return cursor_header(&p->cursor, snapshot, has_max, max_seq, err);
}

static enum verdict cut(struct pipeline *p)
{
    p->cut = true;
    return VERDICT_CUT;
}

/* Whether the row's topic lets it go. */
static enum verdict topic_verdict(struct pipeline *p, int64_t now, uint32_t index)
{
    struct topic *topic = &p->topics.list[index];

    switch (topic->state) {
    case TOPIC_READY:
        return VERDICT_PUT;
    case TOPIC_UNKNOWN:
        if (!topic->wanted) {
            topic->wanted = true;
            topic->ask_at = now;
        }
        return VERDICT_CUT;
    case TOPIC_ASKED:
        return VERDICT_CUT;
    case TOPIC_AWAY:
    case TOPIC_RETRYING:
    case TOPIC_RELEASED:
    case TOPIC_STATES:
        break;
    }
    return VERDICT_HOLD;
}

static void learn_size(struct pipeline *p, uint32_t bytes)
{
    int64_t off = (int64_t)bytes - (int64_t)p->row_bytes;

    /* Quick up, slow down: too small a page costs a round trip, too large a one costs memory. */
    p->row_bytes = (uint64_t)((int64_t)p->row_bytes + off / (off > 0 ? 4 : 64));
}

enum verdict pipeline_judge(struct pipeline *p, int64_t now, const struct pipeline_row *row,
                            struct err *err)
{
    enum ledger_match match = ledger_match(p->ledger, row->item.seq, row->item.id);
    enum verdict v;

    if (match == LEDGER_SAME && !ledger_wants(p->ledger, row->item.seq))
        return VERDICT_SKIP;
    if (match == LEDGER_SAME)
        return pipeline_parks_now(p, &row->item, 0) ? VERDICT_FAILED : VERDICT_CUT;
    /* Of a named slot the other one is an event as good as this, whatever became of its row. */
    if (match == LEDGER_OTHER && (p->options.named || !ledger_replace(p->ledger, row->item.seq)))
        return VERDICT_CUT;
    if (!row->item.queued && keyset_has(&p->parked, row->item.key))
        return p->options.named && (!pipeline_may_fail(p) || pipeline_queue_ends(p, row->item.key))
                   ? VERDICT_CUT
                   : VERDICT_BEHIND;
    if (!pipeline_halts(p, &row->item) && !pipeline_may_fail(p))
        return VERDICT_CUT;
    if (row->invalid)
        return pipeline_halts(p, &row->item) || pipeline_parks_now(p, &row->item, 0)
                   ? VERDICT_INVALID
                   : VERDICT_CUT;
    learn_size(p, row->item.bytes);
    if (topics_reserve(&p->topics, row->item.topic, err) != 0)
        return VERDICT_CUT;
    v = topic_verdict(p, now, row->item.topic);
    if (v == VERDICT_HOLD && p->options.named &&
        !row->item.queued) { /* it could not be had again */
        p->stalled = row->item.topic;
        return VERDICT_CUT;
    }
    if (v == VERDICT_PUT &&
        (ledger_room(p->ledger) == 0 || !ledger_fits(p->ledger, row->item.bytes)))
        return VERDICT_CUT;
    return v;
}

enum verdict pipeline_take(struct pipeline *p, int64_t now, const struct ledger_item *item,
                           enum verdict judged, uint64_t *ret_tag)
{
    struct topic *topic = &p->topics.list[item->topic];

    if (judged == VERDICT_HOLD) {
        topic->held += !item->queued;
        return judged;
    }
    if (ledger_count(p->ledger, ENTRY_SENT) == 0)
        p->reported_at = now;
    topic->inflight++;
    *ret_tag = ledger_admit(p->ledger, p->epoch, item);
    return judged;
}

enum verdict pipeline_row(struct pipeline *p, int64_t now, const struct pipeline_row *row,
                          uint64_t *ret_tag, struct err *err)
{
    struct ledger_item item = row->item;
    enum verdict v;
    bool stray;

    if (p->reading && p->draining)
        return pipeline_queue_row(p, now, row, ret_tag, err);
    if (p->cut || p->start_over || !p->reading || p->stopping != STOP_NONE || !p->owned ||
        p->sink != SINK_READY)
        return cut(p);
    v = pipeline_judge(p, now, row, err);
    if (v == VERDICT_CUT || (p->options.named && pipeline_stream_enter(p, v, &item, err) != 0))
        return cut(p);
    if (v == VERDICT_INVALID && pipeline_halts(p, &item))
        return pipeline_invalid(p, now, &item, ret_tag);
    cursor_advance(&p->cursor, row->item.seq);
    stray = p->sweeping && cursor_is_stray(&p->cursor, row->xid);
    /* What is no stray will be streamed, in the order of commits. */
    if (v == VERDICT_SKIP || (p->sweeping && p->stream == STREAM_ON && !stray))
        return VERDICT_SKIP;
    if (v == VERDICT_FAILED)
        return pipeline_wanted(p, &item, ret_tag);
    if (v == VERDICT_BEHIND)
        return pipeline_behind(p, &item, ret_tag);
    if (v == VERDICT_INVALID)
        return (v = pipeline_invalid(p, now, &item, ret_tag)) == VERDICT_CUT ? cut(p) : v;
    if (v == VERDICT_PUT) {
        p->strays += stray;
        p->found++;
    }
    return pipeline_take(p, now, &item, v, ret_tag);
}

void pipeline_read_end(struct pipeline *p, int64_t now, uint32_t rows, bool ok)
{
    if (!p->reading)
        return;
    p->reading = false;
    ledger_forget_done(p->ledger);
    if (p->draining) {
        pipeline_queue_end(p, now, rows, ok);
        return;
    }
    p->start_took += now - p->page_at;
    if (ok)
        backoff_reset(&p->read_backoff);
    p->retry_at = ok ? INT64_MIN : now + backoff_next(&p->read_backoff);
    if (p->start_over || (p->options.named && p->stream != STREAM_SEAM))
        return;
    if (ok && !p->cut && rows >= p->limit && p->page_cap < p->options.page_events)
        p->page_cap =
            p->page_cap * 4 < p->options.page_events ? p->page_cap * 4 : p->options.page_events;
    if (!cursor_page_end(&p->cursor, ok && !p->cut && rows < p->limit)) {
        p->caught_up = false;
        return;
    }
    p->caught_up = true;
    if (p->cursor_started)
        p->sweep_took = p->start_took;
    p->cursor_started = false;
    sleeper_read_done(&p->sleeper, now, p->found);
    p->found = 0;
    if (p->sweeping && p->stream == STREAM_ON) {
        cursor_sweep_end(&p->cursor);
        p->swept_at = now; /* however long it took, the stream has its turn until the next one */
    } else {
        cursor_sweep_forget(&p->cursor);
    }
    p->sweeping = false;
    pipeline_stream_round(p);
    if (p->stream != STREAM_ON && !p->options.named && now - p->swept_at >= sweep_interval(p))
        sweep(p);
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
