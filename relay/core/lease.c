#include "core/lease.h"

struct lease lease_of(int64_t ttl_ms)
{
    return (struct lease){.ttl_ms = ttl_ms, .sent_at = -1};
}

void lease_sent(struct lease *l, int64_t now)
{
    l->sent_at = now;
}

void lease_granted(struct lease *l, uint64_t epoch)
{
    l->held = true;
    l->epoch = epoch;
    l->renewed_at = l->sent_at;
    l->sent_at = -1;
}

void lease_refused(struct lease *l)
{
    l->sent_at = -1;
}

void lease_drop(struct lease *l)
{
    l->held = false;
}

bool lease_pending(const struct lease *l)
{
    return l->sent_at >= 0;
}

int64_t lease_renew_at(const struct lease *l)
{
    return l->renewed_at + l->ttl_ms / 4;
}

int64_t lease_deadline(const struct lease *l)
{
    return l->renewed_at + l->ttl_ms - l->ttl_ms / 8;
}
