/* Acknowledgements: what becomes certain, and what is tried again. */
#include "core/pipeline_state.h"

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
    p->delivered_since = now;
    ledger_ack_lost(p->ledger);
}

uint32_t pipeline_acked(struct pipeline *p, int64_t now, uint32_t batch, enum ack_result result)
{
    if (p->batches > 0)
        p->batches--;
    if (result == ACK_DONE) {
        backoff_reset(&p->ack_backoff);
        return ledger_acked(p->ledger, batch, p->reading);
    }
    ledger_unack(p->ledger, batch);
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
    done = ledger_acked_seen(p->ledger, batch, p->reading, &seen, &kept);
    if (kept > 0)
        p->ack_at = now + backoff_next(&p->ack_backoff);
    else
        backoff_reset(&p->ack_backoff);
    snapshot_free(&seen);
    return done;
}
