/* The pipeline's inside, shared by its two sources: pipeline.c (reading, acknowledging, ending) and
 * pipeline_sink.c (reports, topics, producers). */
#ifndef OUTBOX_CORE_PIPELINE_STATE_H
#define OUTBOX_CORE_PIPELINE_STATE_H

#include "core/pipeline.h"
#include "core/sleeper.h"

enum sink_state {
    SINK_READY,
    SINK_FATAL,      /* to be rebuilt at rebuild_at */
    SINK_REBUILDING, /* asked for */
    SINK_GONE,       /* discarded with the ownership */
};

struct pipeline {
    struct pipeline_options options;
    struct ledger *ledger;
    struct topics topics;
    struct cursor cursor;
    struct sleeper sleeper;

    bool owned;
    bool source_up;
    bool ack_up;
    bool kafka_up;

    /* reading */
    bool reading;
    bool start_over; /* the next page begins at the lowest unpublished row */
    bool sweeping;   /* this start is a sweep: it follows a round that was complete */
    bool cut;        /* this page was cut */
    bool caught_up;
    uint32_t limit;     /* of the page that is being read */
    uint32_t page_cap;  /* grows from small, so that the first pages teach the rows' size */
    uint32_t found;     /* rows put in this round */
    uint64_t row_bytes; /* moving average */
    int64_t swept_at;
    int64_t retry_at; /* not before: the last one failed */
    struct backoff read_backoff;
    uint64_t strays;

    /* the sink */
    enum sink_state sink;
    uint16_t epoch;
    bool full; /* it refused a record for now: reading waits for a report */
    int64_t rebuild_at;
    struct backoff rebuild_backoff;
    int64_t reported_at; /* the last report, or the put that ended an empty sink */

    /* acknowledging */
    uint32_t batch;          /* number of the last one */
    uint32_t batches;        /* on their way */
    int64_t delivered_since; /* when the oldest that waits became delivered, about */
    int64_t ack_at;          /* not before: the last one failed */
    struct backoff ack_backoff;

    /* ending */
    enum stop_reason stopping;
    int64_t stop_deadline;
    bool exited;
};

/* Reading begins again at the lowest unpublished row. */
void pipeline_start_over(struct pipeline *p);
/* Ends at the event that was refused. */
void pipeline_halt(struct pipeline *p, int64_t now);
/* The producer's records are lost to us; nothing of that epoch counts any more. */
void pipeline_new_epoch(struct pipeline *p, int64_t now);

#endif
