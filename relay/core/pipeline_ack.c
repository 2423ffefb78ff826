/* Acknowledgements: what becomes certain, and what is tried again. */
#include "core/pipeline_state.h"

/* Acknowledgements wait this long for company: nobody waits for them but the window. */
static const int64_t ack_delay_ms = 20;
/* So many may be on their way: one runs while the next one travels. */
static const uint32_t ack_batches_max = 2;
/* A named slot's position that no acknowledgement took along is stored by itself, so that a crash
 * repeats little; one that only the idle server's log moved on, so that it holds little WAL. */
static const int64_t store_delay_ms = 100;
static const int64_t store_idle_ms = 10000;

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t rows_at(const struct pipeline *p)
{
    uint32_t delivered = ledger_count(p->ledger, ENTRY_DELIVERED);
    uint32_t enough = p->options.window_events / 8;

    if (delivered == 0)
        return INT64_MAX;
    if (enough > p->options.ack_events)
        enough = p->options.ack_events;
    return delivered >= enough || p->stopping != STOP_NONE ? INT64_MIN
                                                           : p->delivered_since + ack_delay_ms;
}

static int64_t position_at(const struct pipeline *p)
{
    if (!p->options.named || p->batches > 0 || p->checkpoint.lsn <= p->told)
        return INT64_MAX;
    if (p->checkpoint.reached <= p->told)
        return p->told_at + store_idle_ms;
    return p->stopping != STOP_NONE ? INT64_MIN : p->told_at + store_delay_ms;
}

int64_t pipeline_ack_at(const struct pipeline *p)
{
    int64_t rows = rows_at(p);

    if (!p->owned || !p->ack_up || p->batches >= ack_batches_max)
        return INT64_MAX;
    if (rows == INT64_MAX)
        rows = position_at(p);
    return later(rows, p->ack_at);
}

bool pipeline_ack_next(struct pipeline *p, int64_t now, struct action *ret)
{
    bool rows = ledger_take(p->ledger, p->batch + 1, p->options.ack_events, &ret->ack);

    ret->position = p->options.named ? p->checkpoint.lsn : 0;
    if (!rows && ret->position <= p->told)
        return false;
    p->batch++;
    p->batches++;
    if (!rows)
        ret->ack = (struct ledger_batch){.number = p->batch};
    else
        p->delivered_since = now;
    p->told = p->carried[p->batch & 1] = ret->position;
    p->told_at = now;
    ret->kind = ACTION_ACK;
    return true;
}

bool pipeline_all_stored(const struct pipeline *p)
{
    return !p->options.named || !p->ack_up || p->checkpoint.reached <= p->stored;
}

void pipeline_ack_forget(struct pipeline *p)
{
    p->told = p->stored = 0;
    p->carried[0] = p->carried[1] = 0;
    p->told_at = 0;
}

static void stored(struct pipeline *p, uint32_t batch)
{
    if (p->carried[batch & 1] <= p->stored)
        return;
    p->stored = p->carried[batch & 1];
    p->checkpoint.stored = true;
    backoff_reset(&p->stream_backoff); /* this stream has brought us on */
}

void pipeline_ack_up(struct pipeline *p, int64_t now)
{
    p->ack_up = true;
    p->ack_at = now;
    /* What was read before this connection stood may be of a server that has crashed since and
     * hands the same seq out again: only seq and id together name it. */
    ledger_ack_lost(p->ledger);
    p->cut = true;
}

void pipeline_ack_lost(struct pipeline *p, int64_t now)
{
    p->ack_up = false;
    p->batches = 0;
    p->told = p->stored; /* what became of the rest is not known */
    p->delivered_since = now;
    ledger_ack_lost(p->ledger);
}

uint32_t pipeline_acked(struct pipeline *p, int64_t now, uint32_t batch, enum ack_result result)
{
    if (p->batches > 0)
        p->batches--;
    if (result == ACK_DONE) {
        backoff_reset(&p->ack_backoff);
        stored(p, batch);
        return ledger_acked(p->ledger, batch, p->reading);
    }
    ledger_unack(p->ledger, batch);
    p->told = p->stored;
    p->ack_at = now + backoff_next(&p->ack_backoff);
    return 0;
}

uint32_t pipeline_acked_partly(struct pipeline *p, int64_t now, uint32_t batch,
                               const struct slice *snapshot, struct err *err)
{
    struct snapshot seen = {0};
    uint32_t done = 0;
    uint32_t kept = 0;

    if (snapshot_parse(&seen, (const char *)snapshot->data, snapshot->len, err) != 0) {
        snapshot_free(&seen);
        return pipeline_acked(p, now, batch, ACK_FAILED);
    }
    if (p->batches > 0)
        p->batches--;
    stored(p, batch);
    done = ledger_acked_seen(p->ledger, batch, p->reading, &seen, &kept);
    if (kept > 0)
        p->ack_at = now + backoff_next(&p->ack_backoff);
    else
        backoff_reset(&p->ack_backoff);
    snapshot_free(&seen);
    return done;
}
