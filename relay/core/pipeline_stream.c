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
    checkpoint_reset(&p->checkpoint);
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

int pipeline_stream_made(struct pipeline *p, int64_t now, const struct slice *snapshot,
                         struct err *err)
{
    int rc;

    if (p->stream != STREAM_MAKING)
        return 0;
    rc = snapshot_parse(&p->made_at, (const char *)snapshot->data, snapshot->len, err);
    if (rc != 0)
        return rc;
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
    if (p->stream != STREAM_SEAM || p->stream_drop ||
        !snapshot_covers(&p->cursor.since, &p->made_at))
        return;
    if (p->stream_top == 0)
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

static int64_t make_at(const struct pipeline *p)
{
    if (!p->stream_wanted || p->stream != STREAM_OFF || !p->caught_up || !pipeline_can_read(p))
        return INT64_MAX;
    return p->stream_at;
}

int64_t pipeline_stream_due(const struct pipeline *p)
{
    return p->stream_drop || p->stream_start ? INT64_MIN : make_at(p);
}

bool pipeline_stream_next(struct pipeline *p, int64_t now, struct action *ret)
{
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
    ret->kind = ACTION_STREAM_MAKE;
    return true;
}

bool pipeline_stream_flows(const struct pipeline *p)
{
    return p->stream == STREAM_ON && !p->stream_drop && !p->start_over && !p->reading &&
           p->caught_up && pipeline_can_read(p) && !pipeline_sink_waits(p);
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

enum verdict pipeline_stream_row(struct pipeline *p, int64_t now, const struct pipeline_row *row,
                                 uint64_t *ret_tag, struct err *err)
{
    struct ledger_item item = row->item;
    enum verdict v;

    item.xid = p->stream_xid;
    if (!pipeline_stream_flows(p))
        return VERDICT_CUT;
    if (snapshot_sees(&p->cursor.since, p->stream_xid))
        return VERDICT_SKIP;
    v = pipeline_judge(p, now, row, err);
    if (v == VERDICT_INVALID)
        pipeline_halt(p, now);
    if (v == VERDICT_PUT && checkpoint_enter(&p->checkpoint, &item.tx, err) != 0)
        return VERDICT_CUT;
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

uint64_t pipeline_checkpoint(const struct pipeline *p)
{
    return p->checkpoint.lsn;
}
