/* The stream: when there is one, and its rows. */
#include "core/pipeline_state.h"

/* The slot's life, in one place. */
static void stream_move(struct pipeline *p, enum stream_state to)
{
    p->stream = to;
    p->stream_start = to == STREAM_ON && p->stream_top == 0;
    if (to != STREAM_OFF)
        return;
    p->stream_drop = false;
    p->stream_top = 0;
    if (p->options.named && p->checkpoint.lsn > p->done_lsn)
        p->done_lsn = p->checkpoint.lsn;
    ledger_stream_ends(p->ledger);
    checkpoint_reset(&p->checkpoint);
    pipeline_ack_forget(p);
    if (p->options.named) {
        p->caught_up = false;
        p->cut = true; /* a page that is still being read is no part of the next one's start */
    }
    /* What was streamed moved no position in the table. */
    pipeline_start_over(p);
}

void pipeline_set_streaming(struct pipeline *p, int64_t now, bool wanted)
{
    if (wanted == p->stream_wanted)
        return;
    p->stream_wanted = wanted;
    p->stream_at = now;
    backoff_reset(&p->stream_backoff);
    p->stream_drop = p->stream_drop || (!wanted && p->stream != STREAM_OFF);
}

/* Whatever happens now, its rows come: by the stream, or in a page. */
static int named_made(struct pipeline *p, uint64_t lsn, bool table, struct err *err)
{
    int rc;

    p->made_lsn = lsn;
    p->stalled = -1;
    p->stream_xid = p->made_at.xmax;
    if (!table) {
        topics_release(&p->topics);
        p->caught_up = true;
        p->start_over = false;
        p->checkpoint.stored = true;
        stream_move(p, STREAM_ON);
        return 0;
    }
    /* All rows of the table together are what comes before the stream's first transaction. */
    rc = checkpoint_open(&p->checkpoint, err);
    if (rc != 0)
        return rc;
    stream_move(p, STREAM_SEAM);
    pipeline_start_over(p);
    return 0;
}

int pipeline_stream_made(struct pipeline *p, int64_t now, const struct slice *snapshot,
                         uint64_t lsn, bool table, struct err *err)
{
    int rc;

    if (p->stream != STREAM_MAKING)
        return 0;
    rc = snapshot_parse(&p->made_at, (const char *)snapshot->data, snapshot->len, err);
    if (rc == 0 && p->options.named)
        rc = named_made(p, lsn, table, err);
    if (rc != 0)
        return rc;
    if (p->stream == STREAM_MAKING)
        stream_move(p, STREAM_SEAM);
    sleeper_wake(&p->sleeper, now);
    return 0;
}

void pipeline_stream_lost(struct pipeline *p, int64_t now)
{
    if (p->stream == STREAM_OFF)
        return;
    stream_move(p, STREAM_OFF);
    p->stream_at = now + backoff_next(&p->stream_backoff);
    sleeper_wake(&p->sleeper, now);
}

/*
 * What a round has seen it has read. The slot streams what its own snapshot does not see, so with a
 * round that has seen all of that, and passes over in the stream what it has seen beyond, nothing
 * is missing and nothing comes twice. A commit that is in the log already, and that the slot's
 * snapshot therefore sees, may become visible to readers later (it waits for a standby, say).
 */
void pipeline_stream_round(struct pipeline *p)
{
    if (p->stream != STREAM_SEAM || p->stream_drop)
        return;
    if (p->options.named)
        checkpoint_end(&p->checkpoint, p->made_lsn);
    else if (!snapshot_covers(&p->cursor.since, &p->made_at))
        return;
    else if (p->stream_top == 0)
        p->stream_xid = p->cursor.since.xmax;
    backoff_reset(&p->stream_backoff);
    stream_move(p, STREAM_ON);
}

/*
 * Rows that were streamed may be missing from what is held (their producer is gone, their topic was
 * away), and while their commit still waits for a standby no read finds them. So it is the seam
 * again: the stream goes on once a round has seen all that was streamed.
 */
void pipeline_stream_rewind(struct pipeline *p)
{
    if (p->stream != STREAM_ON || p->stream_top == 0)
        return;
    snapshot_clear(&p->made_at);
    p->made_at.xmin = p->made_at.xmax = p->stream_top + 1;
    stream_move(p, STREAM_SEAM);
}

void pipeline_topic_back(struct pipeline *p)
{
    /* A named slot's stream passed nothing over. */
    if (p->options.named && p->stream == STREAM_ON && !p->checkpoint.lost)
        topics_release(&p->topics);
    else
        pipeline_start_over(p);
}

/* A row that only the stream brings is missing from what is held: all since the stored position
 * comes again, once it is known what became of the rest, so that no key's rows meet their own
 * predecessors. */
static bool has_to_begin_again(const struct pipeline *p)
{
    return p->checkpoint.lost && p->stream != STREAM_OFF && p->stopping == STOP_NONE;
}

static int64_t make_at(const struct pipeline *p)
{
    if (!p->stream_wanted || p->stream != STREAM_OFF || !pipeline_can_read(p))
        return INT64_MAX;
    if (p->options.named)
        return ledger_count(p->ledger, ENTRY_SENT) + ledger_count(p->ledger, ENTRY_DISOWNED) > 0
                   ? INT64_MAX
                   : p->stream_at;
    return p->caught_up ? p->stream_at : INT64_MAX;
}

int64_t pipeline_stream_due(const struct pipeline *p)
{
    return p->stream_drop || p->stream_start || has_to_begin_again(p) ? INT64_MIN : make_at(p);
}

bool pipeline_stream_next(struct pipeline *p, int64_t now, struct action *ret)
{
    if (has_to_begin_again(p)) {
        p->stream_drop = true;
        p->stream_at = now + backoff_next(&p->stream_backoff);
    }
    if (p->stream_drop) {
        stream_move(p, STREAM_OFF);
        ret->kind = ACTION_STREAM_DROP;
        return true;
    }
    if (p->stream_start) {
        p->stream_start = false;
        ret->kind = ACTION_STREAM_START;
        return true;
    }
    if (make_at(p) > now)
        return false;
    stream_move(p, STREAM_MAKING);
    ret->position = p->done_lsn;
    ret->kind = ACTION_STREAM_MAKE;
    return true;
}

bool pipeline_stream_flows(const struct pipeline *p)
{
    return p->stream == STREAM_ON && !p->stream_drop && !p->checkpoint.lost && !p->start_over &&
           !p->reading && p->caught_up && pipeline_can_stream(p) && !pipeline_sink_waits(p);
}

/* What it tells counts, though reading may have started over meanwhile. */
static bool stream_stands(const struct pipeline *p)
{
    return p->stream == STREAM_ON || p->stream == STREAM_SEAM;
}

void pipeline_stream_begin(struct pipeline *p, uint32_t xid)
{
    p->stream_xid = xid_widen(xid, p->stream_xid);
    if (stream_stands(p) && p->stream_xid > p->stream_top)
        p->stream_top = p->stream_xid;
}

int pipeline_stream_enter(struct pipeline *p, enum verdict judged, struct ledger_item *item,
                          struct err *err)
{
    if (judged == VERDICT_PUT || judged == VERDICT_INVALID ||
        (judged == VERDICT_BEHIND && p->options.named))
        return checkpoint_enter(&p->checkpoint, &item->tx, err);
    if ((judged == VERDICT_SKIP || judged == VERDICT_FAILED) && p->options.named)
        return ledger_enter(p->ledger, item->seq, err);
    return 0;
}

enum verdict pipeline_stream_row(struct pipeline *p, int64_t now, const struct pipeline_row *row,
                                 uint64_t *ret_tag, struct err *err)
{
    struct ledger_item item = row->item;
    enum verdict v;

    item.xid = row->message ? 0 : p->stream_xid;
    if (!pipeline_stream_flows(p))
        return VERDICT_CUT;
    if (!p->options.named && snapshot_sees(&p->cursor.since, p->stream_xid))
        return VERDICT_SKIP;
    v = pipeline_judge(p, now, row, err);
    if (v == VERDICT_INVALID && pipeline_halts(&item))
        return pipeline_invalid(p, now, &item, ret_tag);
    if (pipeline_stream_enter(p, v, &item, err) != 0)
        return VERDICT_CUT;
    if (v == VERDICT_INVALID)
        return pipeline_invalid(p, now, &item, ret_tag);
    if (v == VERDICT_FAILED)
        return pipeline_wanted(p, &item, ret_tag);
    if (v == VERDICT_BEHIND)
        return pipeline_behind(p, &item, ret_tag);
    return v == VERDICT_PUT || v == VERDICT_HOLD ? pipeline_take(p, now, &item, v, ret_tag) : v;
}

void pipeline_stream_end(struct pipeline *p, uint64_t lsn)
{
    if (stream_stands(p))
        checkpoint_end(&p->checkpoint, lsn);
}

void pipeline_stream_idle(struct pipeline *p, uint64_t lsn)
{
    if (stream_stands(p) && !p->checkpoint.open)
        checkpoint_end(&p->checkpoint, lsn);
}

bool pipeline_stream_behind(const struct pipeline *p, uint64_t tx, uint64_t *ret)
{
    *ret = checkpoint_end_of(&p->checkpoint, tx);
    return checkpoint_has(&p->checkpoint, tx);
}

bool pipeline_stream_done_before(const struct pipeline *p, uint64_t lsn)
{
    return checkpoint_done_before(&p->checkpoint, lsn);
}

uint64_t pipeline_checkpoint(const struct pipeline *p)
{
    return p->options.named ? p->stored : p->checkpoint.lsn;
}
