/* What the sink tells: reports, topics, the life of producers. */
#include "core/pipeline_state.h"

void pipeline_new_epoch(struct pipeline *p, int64_t now)
{
    p->epoch++;
    p->full = false;
    (void)ledger_forget_sent(p->ledger);
    topics_reset(&p->topics, now);
    pipeline_start_over(p);
}

void pipeline_kafka(struct pipeline *p, int64_t now, bool up)
{
    p->kafka_up = up;
    if (up)
        sleeper_wake(&p->sleeper, now);
}

void pipeline_sink_fatal(struct pipeline *p, int64_t now)
{
    if (p->sink != SINK_READY)
        return;
    p->sink = SINK_FATAL;
    p->rebuild_at = now + backoff_next(&p->rebuild_backoff);
}

void pipeline_sink_rebuilt(struct pipeline *p, int64_t now, bool ok)
{
    if (p->sink != SINK_REBUILDING)
        return;
    if (!ok) {
        p->sink = SINK_READY; /* only to be fatal again, a little later */
        pipeline_sink_fatal(p, now);
        return;
    }
    p->sink = SINK_READY;
    pipeline_new_epoch(p, now);
}

void pipeline_topic(struct pipeline *p, int64_t now, uint32_t index, enum topic_answer answer)
{
    struct topic *topic;
    bool first;

    if (index >= p->topics.n)
        return;
    topic = &p->topics.list[index];
    first = topic->state == TOPIC_ASKED;
    if (!first && topic->state != TOPIC_RETRYING)
        return; /* an answer to an older producer */
    if (answer == TOPIC_KNOWN) {
        backoff_reset(&topic->backoff);
        topics_move(&p->topics, index, first ? TOPIC_READY : TOPIC_RELEASED);
        if (!first)
            pipeline_topic_back(p);
        return;
    }
    if (first && answer == TOPIC_NO_ANSWER) {
        topics_move(&p->topics, index, TOPIC_UNKNOWN); /* the cluster's fault, not the topic's */
    } else {
        topics_move(&p->topics, index, TOPIC_AWAY);
    }
    topic->ask_at = now + backoff_next(&topic->backoff);
}

static void leave_topic(struct pipeline *p, uint32_t index)
{
    if (p->topics.list[index].inflight > 0)
        p->topics.list[index].inflight--;
}

/* Its topic refused: nothing newer of it goes until it is back, and then all of it is read again.
 */
static void topic_refused(struct pipeline *p, int64_t now, uint32_t index)
{
    struct topic *topic = &p->topics.list[index];

    if (topic->state == TOPIC_READY || topic->state == TOPIC_RELEASED) {
        topics_move(&p->topics, index, TOPIC_AWAY);
        topic->ask_at = now + backoff_next(&topic->backoff);
    }
    topic->held++;
}

static void not_delivered(struct pipeline *p, int64_t now, uint64_t tag,
                          const struct ledger_item *item, enum delivery what, bool at_hand)
{
    if (what == DELIVERY_ROW && !pipeline_halts(item)) {
        if (at_hand || !pipeline_want(p, tag))
            (void)pipeline_failed(p, tag);
        return;
    }
    ledger_withdraw(p->ledger, tag);
    switch (what) {
    case DELIVERY_ROW:
        pipeline_halt(p, now);
        break;
    case DELIVERY_TOPIC:
        topic_refused(p, now, item->topic);
        break;
    case DELIVERY_CLUSTER:
    case DELIVERY_LOST:
        /* Something of this producer is missing now; only a new one sends in order again. */
        pipeline_sink_fatal(p, now);
        break;
    case DELIVERY_OK:
        break;
    }
}

/* at_hand: its content still is. */
static bool reported(struct pipeline *p, int64_t now, uint64_t tag, enum delivery what,
                     struct ledger_item *ret_item, bool at_hand)
{
    const struct ledger_item *item = ledger_item(p->ledger, tag);
    enum entry_state state = ledger_state(p->ledger, tag);

    if (item == NULL || (state != ENTRY_SENT && state != ENTRY_DISOWNED))
        return false;
    *ret_item = *item;
    p->reported_at = now;
    p->full = false;
    leave_topic(p, ret_item->topic);
    if (what != DELIVERY_OK) {
        if (state == ENTRY_SENT)
            not_delivered(p, now, tag, ret_item, what, at_hand);
        else
            ledger_withdraw(p->ledger, tag);
        return true;
    }
    if (ledger_count(p->ledger, ENTRY_DELIVERED) == 0)
        p->delivered_since = now;
    ledger_deliver(p->ledger, tag);
    backoff_reset(&p->rebuild_backoff);
    return true;
}

bool pipeline_report(struct pipeline *p, int64_t now, uint64_t tag, enum delivery what,
                     struct ledger_item *ret_item)
{
    return reported(p, now, tag, what, ret_item, false);
}

/* The sink has none of it: it is as if it had not been read. */
static void not_put(struct pipeline *p, uint64_t tag, bool again)
{
    const struct ledger_item *item = ledger_item(p->ledger, tag);

    leave_topic(p, item->topic);
    p->cut = true;
    p->full = true;
    if (item->queued) {
        ledger_withdraw(p->ledger, tag);
        return;
    }
    if (p->stream == STREAM_ON && !again)
        ledger_withdraw(p->ledger, tag);
    else
        ledger_take_back(p->ledger, tag);
    if (!again || p->stream != STREAM_ON)
        pipeline_start_over(p);
}

bool pipeline_put_failed(struct pipeline *p, int64_t now, uint64_t tag, enum delivery what)
{
    const struct ledger_item *held = ledger_item(p->ledger, tag);
    struct ledger_item item;

    if (held == NULL)
        return true;
    if (what == DELIVERY_ROW && !pipeline_halts(held) && !pipeline_parks_now(p, held, tag)) {
        not_put(p, tag, true);
        return false;
    }
    /* Nothing is missing from the sink: just read the row again, once what it has is reported. */
    if (what == DELIVERY_LOST)
        not_put(p, tag, false);
    else
        (void)reported(p, now, tag, what, &item, true);
    return true;
}
