/* Events that cannot be published, for their own sake: recorded, and what waits behind them. */
#include "core/pipeline_state.h"

/* So many may wait to be recorded: what a database that is slow to take them may cost in memory. */
static const uint32_t failed_max = 256;

bool pipeline_halts(const struct ledger_item *item)
{
    return item->failure == FAILURE_HALT;
}

bool pipeline_may_fail(const struct pipeline *p)
{
    /* Those whose content is to come again have none here. */
    return ledger_count(p->ledger, ENTRY_FAILED) - ledger_wanted_count(p->ledger) < failed_max &&
           ledger_room(p->ledger) > 0 && (!p->options.named || ledger_keeps(p->ledger));
}

bool pipeline_parks_now(struct pipeline *p, const struct ledger_item *item, uint64_t tag)
{
    if (!p->options.named || item->queued || item->failure != FAILURE_PARK ||
        !ledger_sends_key(p->ledger, item->key, tag))
        return true;
    p->full = true; /* until the next report */
    return false;
}

static bool is_streamed(const struct ledger_item *item)
{
    return item->xid != 0 || item->seq < 0;
}

bool pipeline_want(struct pipeline *p, uint64_t tag)
{
    const struct ledger_item *item = ledger_item(p->ledger, tag);

    if (!p->options.named || item->queued || !is_streamed(item))
        return false;
    checkpoint_lose(&p->checkpoint, item->tx);
    ledger_fail(p->ledger, tag);
    ledger_want(p->ledger, tag);
    return true;
}

enum verdict pipeline_wanted(struct pipeline *p, const struct ledger_item *item, uint64_t *ret_tag)
{
    struct err err;

    if (item->failure == FAILURE_PARK && keyset_fail(&p->parked, item->key, &err) != 0)
        return VERDICT_CUT;
    return ledger_wanted(p->ledger, item->seq, ret_tag) ? VERDICT_FAILED : VERDICT_SKIP;
}

bool pipeline_all_done(const struct pipeline *p)
{
    return ledger_events(p->ledger) ==
           ledger_count(p->ledger, ENTRY_DONE) + ledger_wanted_count(p->ledger);
}

bool pipeline_failed(struct pipeline *p, uint64_t tag)
{
    const struct ledger_item *item = ledger_item(p->ledger, tag);
    struct err err;

    if (item != NULL && item->failure == FAILURE_PARK &&
        keyset_fail(&p->parked, item->key, &err) != 0) {
        /* Nothing may pass it, so it is as if it had not been read. */
        ledger_withdraw(p->ledger, tag);
        pipeline_start_over(p);
        return false;
    }
    if (item != NULL && item->queued)
        pipeline_queue_pass(p, item->key);
    ledger_fail(p->ledger, tag);
    return ledger_state(p->ledger, tag) == ENTRY_FAILED;
}

enum verdict pipeline_invalid(struct pipeline *p, int64_t now, const struct ledger_item *item,
                              uint64_t *ret_tag)
{
    if (pipeline_halts(item)) {
        pipeline_halt(p, now);
        return VERDICT_INVALID;
    }
    *ret_tag = ledger_admit(p->ledger, p->epoch, item);
    return pipeline_failed(p, *ret_tag) ? VERDICT_FAILED : VERDICT_CUT;
}

enum verdict pipeline_behind(struct pipeline *p, const struct ledger_item *item, uint64_t *ret_tag)
{
    struct ledger_item behind = *item;

    if (!p->options.named)
        return VERDICT_BEHIND;
    behind.failure = FAILURE_PARK;
    *ret_tag = ledger_admit(p->ledger, p->epoch, &behind);
    return pipeline_failed(p, *ret_tag) ? VERDICT_BEHIND : VERDICT_CUT;
}

bool pipeline_is_failed(const struct pipeline *p, uint64_t tag)
{
    return ledger_state(p->ledger, tag) == ENTRY_FAILED;
}

bool pipeline_recording(const struct pipeline *p, uint64_t tag, enum recording *ret)
{
    const struct ledger_item *item = ledger_item(p->ledger, tag);

    if (!pipeline_is_failed(p, tag))
        return false;
    *ret = item->queued                         ? RECORDING_AGAIN
           : !p->options.named                  ? RECORDING_ROW
           : ledger_wants(p->ledger, item->seq) ? RECORDING_LATER
                                                : RECORDING_WHOLE;
    return true;
}

/* With its content, or in the queue as before. */
static void recorded_whole(struct pipeline *p, int64_t now, uint64_t tag, enum record_result result)
{
    const struct ledger_item *item = ledger_item(p->ledger, tag);

    if (item->failure == FAILURE_PARK)
        keyset_settle(&p->parked, item->key, true); /* if it is not, the list says so */
    if (item->queued || result == RECORD_GONE) {
        ledger_recorded(p->ledger, tag, p->reading);
        p->list_due = p->list_due || result == RECORD_GONE; /* perhaps nothing waits behind it */
        return;
    }
    if (ledger_count(p->ledger, ENTRY_DELIVERED) == 0)
        p->delivered_since = now;
    ledger_kept(p->ledger, tag);
}

void pipeline_recorded(struct pipeline *p, int64_t now, uint64_t tag, enum record_result result)
{
    const struct ledger_item *item = ledger_item(p->ledger, tag);
    uint64_t key;
    bool parks;

    if (item == NULL || ledger_state(p->ledger, tag) != ENTRY_FAILED)
        return;
    if (p->options.named || item->queued) {
        recorded_whole(p, now, tag, result);
        return;
    }
    key = item->key;
    parks = item->failure == FAILURE_PARK;
    ledger_recorded(p->ledger, tag, p->reading);
    if (parks)
        keyset_settle(&p->parked, key, result == RECORD_DONE);
    if (result == RECORD_GONE) {
        /* Nothing waits behind a row that somebody took away. One that was streamed may just not
         * be visible yet: then it is read again. */
        pipeline_start_over(p);
        sleeper_wake(&p->sleeper, now);
    }
}

void pipeline_parked_ask(struct pipeline *p)
{
    p->parked_known = !p->options.parks;
}

void pipeline_parked_begin(struct pipeline *p)
{
    keyset_list_begin(&p->parked);
    p->drain = false;
}

int pipeline_parked_key(struct pipeline *p, uint64_t key, bool goes, struct err *err)
{
    p->drain = p->drain || goes;
    return keyset_list(&p->parked, key, err);
}

uint32_t pipeline_parked_end(struct pipeline *p, int64_t now)
{
    uint32_t released = keyset_list_end(&p->parked);

    if (p->drain_empty)
        keyset_clear(&p->ending);
    p->drain_empty = false;
    p->parked_known = true;
    if (released > 0 && !p->options.named)
        pipeline_start_over(p);
    sleeper_wake(&p->sleeper, now);
    return released;
}
