/* What the operator is shown of the pipeline's state. */
#include "core/pipeline_state.h"

void pipeline_view(const struct pipeline *p, struct pipeline_view *ret)
{
    *ret = (struct pipeline_view){
        .owned = p->owned,
        .source_up = p->source_up,
        .ack_up = p->ack_up,
        .kafka_up = p->kafka_up,
        .sink_ready = p->sink == SINK_READY,
        .caught_up = p->caught_up,
        .inflight_events = ledger_events(p->ledger) - ledger_count(p->ledger, ENTRY_DONE),
        .sent = ledger_count(p->ledger, ENTRY_SENT),
        .delivered =
            ledger_count(p->ledger, ENTRY_DELIVERED) + ledger_count(p->ledger, ENTRY_ACKING),
        .inflight_bytes = ledger_bytes(p->ledger),
        .topics_away = p->topics.counts[TOPIC_AWAY] + p->topics.counts[TOPIC_RETRYING] +
                       p->topics.counts[TOPIC_RELEASED],
        .strays = p->strays,
        .parked = p->parked.n,
        .parked_known = p->parked_known,
        .stream = p->stream,
        .streaming = p->stream == STREAM_ON || (p->stream == STREAM_SEAM && p->stream_top != 0),
        .stalled = pipeline_stalls(p),
        .stalled_on = p->stalled >= 0 ? (uint32_t)p->stalled : 0,
        .waiting_since = ledger_count(p->ledger, ENTRY_SENT) > 0 ? p->reported_at : -1,
    };
    for (uint32_t i = 0; ret->topics_away > 0 && i < p->topics.n; i++)
        ret->held += p->topics.list[i].held;
}

uint32_t pipeline_topics(const struct pipeline *p)
{
    return p->topics.n;
}

enum topic_state pipeline_topic_state(const struct pipeline *p, uint32_t topic, uint64_t *ret_held)
{
    *ret_held = topic < p->topics.n ? p->topics.list[topic].held : 0;
    return topic < p->topics.n ? p->topics.list[topic].state : TOPIC_UNKNOWN;
}
