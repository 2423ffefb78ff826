/*
 * What was parked with its content, since no table keeps it, and goes on: each key's queue is read
 * from its first one that may go, a page at a time, and the next page once all of the last one has
 * left the queue or was parked in it again. Meanwhile what comes of these keys is added to their
 * ends; a key whose queue is empty is released with the next list.
 */
#include "core/pipeline_state.h"

static const uint32_t page_max = 256;

int64_t pipeline_queue_at(const struct pipeline *p)
{
    if (!p->drain || p->list_due || !p->ack_up || p->reading || ledger_queued(p->ledger) > 0 ||
        !pipeline_can_read(p) || pipeline_sink_waits(p))
        return INT64_MAX;
    return p->drain_at;
}

void pipeline_queue_next(struct pipeline *p, uint32_t limit, struct action *ret)
{
    p->draining = true;
    p->drained = 0;
    p->drain_limit = limit < page_max ? limit : page_max;
    keyset_clear(&p->passed);
    ret->kind = ACTION_READ;
    ret->read = (struct read_request){
        .kind = READ_QUEUE, .stored = p->options.named, .limit = p->drain_limit};
}

void pipeline_queue_pass(struct pipeline *p, uint64_t key)
{
    struct err err;

    keyset_remove(&p->ending, key);
    if (p->draining && keyset_add(&p->passed, key, &err) != 0)
        p->cut = true; /* then nothing more of this page is put */
}

enum verdict pipeline_queue_row(struct pipeline *p, int64_t now, const struct pipeline_row *row,
                                uint64_t *ret_tag, struct err *err)
{
    struct pipeline_row queued = *row;
    uint64_t key = row->item.key;
    enum verdict v;

    if (p->cut || p->stopping != STOP_NONE || !p->owned || p->sink != SINK_READY)
        return VERDICT_CUT;
    if (keyset_has(&p->passed, key))
        return VERDICT_SKIP;
    queued.item.queued = true;
    queued.item.failure = FAILURE_PARK;
    v = pipeline_judge(p, now, &queued, err);
    if (v == VERDICT_INVALID)
        return pipeline_invalid(p, now, &queued.item, ret_tag);
    if (v != VERDICT_PUT)
        pipeline_queue_pass(p, key);
    /* What was recorded just now is still held for the sake of its row, and goes with another page.
     */
    if ((v == VERDICT_PUT || v == VERDICT_SKIP) && keyset_add(&p->ending, key, err) != 0)
        p->cut = true;
    if (v != VERDICT_PUT || p->cut)
        return p->cut ? VERDICT_CUT : VERDICT_SKIP;
    p->drained++;
    return pipeline_take(p, now, &queued.item, v, ret_tag);
}

void pipeline_queue_end(struct pipeline *p, int64_t now, uint32_t rows, bool ok)
{
    p->draining = false;
    if (rows >= p->drain_limit)
        keyset_clear(&p->ending);
    if (ok && rows == 0) {
        p->drain = false;
        p->drain_empty = p->list_due = true;
    }
    if (ok && p->drained > 0)
        backoff_reset(&p->drain_backoff);
    p->drain_at = ok && p->drained > 0 ? INT64_MIN : now + backoff_next(&p->drain_backoff);
}

bool pipeline_queue_ends(const struct pipeline *p, uint64_t key)
{
    return keyset_has(&p->ending, key);
}

void pipeline_queue_forget(struct pipeline *p)
{
    keyset_clear(&p->ending);
    p->drain = p->drain_empty = p->list_due = false;
}
