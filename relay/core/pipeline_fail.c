/* Events that cannot be published, for their own sake: recorded, and what waits behind them. */
#include "core/pipeline_state.h"

/* So many may wait to be recorded: what a database that is slow to take them may cost in memory. */
static const uint32_t failed_max = 256;

bool pipeline_halts(const struct pipeline *p, const struct ledger_item *item)
{
    /* What a named slot has streamed is in no table that it could wait in. */
    return item->failure == FAILURE_HALT || p->options.named;
}

bool pipeline_may_fail(const struct pipeline *p)
{
    return ledger_count(p->ledger, ENTRY_FAILED) < failed_max && ledger_room(p->ledger) > 0;
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
    ledger_fail(p->ledger, tag);
    return true;
}

enum verdict pipeline_invalid(struct pipeline *p, int64_t now, const struct ledger_item *item,
                              uint64_t *ret_tag)
{
    if (pipeline_halts(p, item)) {
        pipeline_halt(p, now);
        return VERDICT_INVALID;
    }
    *ret_tag = ledger_admit(p->ledger, p->epoch, item);
    return pipeline_failed(p, *ret_tag) ? VERDICT_FAILED : VERDICT_CUT;
}

bool pipeline_is_failed(const struct pipeline *p, uint64_t tag)
{
    return ledger_state(p->ledger, tag) == ENTRY_FAILED;
}

void pipeline_recorded(struct pipeline *p, int64_t now, uint64_t tag, enum record_result result)
{
    const struct ledger_item *item = ledger_item(p->ledger, tag);
    uint64_t key;
    bool parks;

    if (item == NULL || ledger_state(p->ledger, tag) != ENTRY_FAILED)
        return;
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
}

int pipeline_parked_key(struct pipeline *p, uint64_t key, struct err *err)
{
    return keyset_list(&p->parked, key, err);
}

uint32_t pipeline_parked_end(struct pipeline *p, int64_t now)
{
    uint32_t released = keyset_list_end(&p->parked);

    p->parked_known = true;
    if (released > 0)
        pipeline_start_over(p);
    sleeper_wake(&p->sleeper, now);
    return released;
}
