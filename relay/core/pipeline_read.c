/* Reading the table: rounds from the lowest unpublished row to the end, page by page, their rows,
 * and the sweeps that find what neither a round nor the stream has brought. */
#include "core/pipeline_state.h"

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

/* ---- rounds ---- */

int64_t pipeline_read_at(const struct pipeline *p)
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

uint32_t pipeline_page_limit(const struct pipeline *p)
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
    p->limit = pipeline_page_limit(p);
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

void pipeline_read_next(struct pipeline *p, int64_t now, struct action *ret)
{
    if (pipeline_read_at(p) > now)
        return;
    if (p->stream == STREAM_ON && p->caught_up)
        sweep(p);
    begin_read(p, now, ret);
}

/* ---- pages and rows ---- */

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
    enum ledger_match match;
    enum verdict v;

    if (row->item.queued)
        ledger_forget_ahead(p->ledger, row->item.seq); /* it was parked, and is published now */
    match = ledger_match(p->ledger, row->item.seq, row->item.id);
    if (match == LEDGER_SAME && !ledger_wants(p->ledger, row->item.seq))
        return VERDICT_SKIP;
    if (match == LEDGER_SAME)
        return pipeline_parks_now(p, &row->item, 0) ? VERDICT_FAILED : VERDICT_CUT;
    if (match == LEDGER_OTHER && !ledger_replace(p->ledger, row->item.seq))
        return VERDICT_CUT;
    if (!row->item.queued && keyset_has(&p->parked, row->item.key))
        return p->options.named && (!pipeline_may_fail(p) || pipeline_queue_ends(p, row->item.key))
                   ? VERDICT_CUT
                   : VERDICT_BEHIND;
    if (!pipeline_halts(&row->item) && !pipeline_may_fail(p))
        return VERDICT_CUT;
    if (row->invalid)
        return pipeline_halts(&row->item) || pipeline_parks_now(p, &row->item, 0) ? VERDICT_INVALID
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
    if (v == VERDICT_INVALID && pipeline_halts(&item))
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
