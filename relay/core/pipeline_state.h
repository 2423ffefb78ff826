/* The pipeline's inside, shared by its sources: pipeline.c (what is due), pipeline_read.c (the
 * table), pipeline_stream.c (the stream), pipeline_ack.c (acknowledgements), pipeline_sink.c
 * (reports, topics, producers), pipeline_fail.c (what cannot be published), pipeline_queue.c (what
 * was parked, and goes on). */
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
    struct keyset parked;
    bool parked_known;
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
    int64_t page_at;     /* when the page that is being read was asked for */
    int64_t start_took;  /* the pages of the start that is being read, without what lay between */
    int64_t sweep_took;  /* those of the last one */
    bool cursor_started; /* the round that is being read is a start */
    int64_t retry_at;    /* not before: the last one failed */
    struct backoff read_backoff;
    uint64_t strays;

    /* the queues of what is parked with its content */
    bool list_due;    /* what is parked is to be asked for */
    bool drain;       /* some of them may go on */
    bool draining;    /* the read that is on its way is of these */
    bool drain_empty; /* the last one brought nothing: with the list, what ends has ended */
    uint32_t drain_limit;
    uint32_t drained;     /* rows put of it */
    struct keyset ending; /* keys of which it had the last ones: a named slot's stream waits at the
                             next one, or would add to their queue for as long as it is read */
    struct keyset passed; /* keys of which one was not put: none of these is put behind it */
    int64_t drain_at;
    struct backoff drain_backoff;

    /* the stream */
    enum stream_state stream;
    bool stream_wanted;
    bool stream_drop;        /* to be given up */
    bool stream_start;       /* to be started */
    int64_t stream_at;       /* not made before */
    uint64_t stream_xid;     /* of the transaction that is being streamed */
    uint64_t stream_top;     /* the highest of these; 0: nothing was streamed yet */
    struct snapshot made_at; /* what will not be streamed (again): a round has to cover it */
    struct checkpoint checkpoint;
    struct backoff stream_backoff;
    uint64_t made_lsn; /* named: where the stream begins */
    uint64_t done_lsn; /* named: all before it is done, by this or an earlier stream of ours */
    int64_t stalled;   /* named: the topic that its next row waits for, or waited; -1 none */

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
    uint64_t told;       /* named: the position in the last one that was sent ... */
    uint64_t carried[2]; /* ... in each of those on their way, by the number's last bit ... */
    uint64_t stored;     /* ... and in what has been carried out */
    int64_t told_at;

    /* ending */
    enum stop_reason stopping;
    int64_t stop_deadline;
    bool exited;
};

/* When a page is due, INT64_MAX for not before an input; how many rows one may have now. */
int64_t pipeline_read_at(const struct pipeline *p);
uint32_t pipeline_page_limit(const struct pipeline *p);
/* That page, if it is due. */
void pipeline_read_next(struct pipeline *p, int64_t now, struct action *ret);
/* All that reading needs, apart from the time and a read that is on its way. */
bool pipeline_can_read(const struct pipeline *p);
/* The same for the stream, which goes on to the end of a transaction when all else stops. */
bool pipeline_can_stream(const struct pipeline *p);
/* What the sink has to answer first: a topic's lookup, or a report. */
bool pipeline_sink_waits(const struct pipeline *p);
/* Of that, a topic whose next row cannot be passed over. */
bool pipeline_stalls(const struct pipeline *p);
/* Whether the row goes now; nothing is changed by it but what is learnt of the row. */
enum verdict pipeline_judge(struct pipeline *p, int64_t now, const struct pipeline_row *row,
                            struct err *err);
/* Takes a judged row: VERDICT_PUT, with its tag, or VERDICT_HOLD. */
enum verdict pipeline_take(struct pipeline *p, int64_t now, const struct ledger_item *item,
                           enum verdict judged, uint64_t *ret_tag);
/* Whether this row's own fault is the end, and whether one more may be recorded now. */
bool pipeline_halts(const struct ledger_item *item);
bool pipeline_may_fail(const struct pipeline *p);
/* Whether it is parked now: not before what was sent of its key has reported, since that, if it is
 * lost, comes again and would be behind it. tag: it has that one itself. */
bool pipeline_parks_now(struct pipeline *p, const struct ledger_item *item, uint64_t tag);
/* A row of a parked key, which only its queue can keep: VERDICT_BEHIND, to be recorded. */
enum verdict pipeline_behind(struct pipeline *p, const struct ledger_item *item, uint64_t *ret_tag);
/* What was streamed and refused by the broker has to come again to be recorded, with all behind it:
 * what comes of its key before it is older, and goes out. False for others. */
bool pipeline_want(struct pipeline *p, uint64_t tag);
/* It has come: VERDICT_FAILED. */
enum verdict pipeline_wanted(struct pipeline *p, const struct ledger_item *item, uint64_t *ret_tag);
/* Whether all that is still to be done is done, but for what has to come again. */
bool pipeline_all_done(const struct pipeline *p);
/* When the next page of the queues is due; that page, a row of it, and its end. */
int64_t pipeline_queue_at(const struct pipeline *p);
void pipeline_queue_next(struct pipeline *p, uint32_t limit, struct action *ret);
enum verdict pipeline_queue_row(struct pipeline *p, int64_t now, const struct pipeline_row *row,
                                uint64_t *ret_tag, struct err *err);
void pipeline_queue_end(struct pipeline *p, int64_t now, uint32_t rows, bool ok);
/* None of the queue's later ones of that key may go out with this page. */
void pipeline_queue_pass(struct pipeline *p, uint64_t key);
/* Whether a streamed row of that key waits until its queue has ended. */
bool pipeline_queue_ends(const struct pipeline *p, uint64_t key);
/* What is known of the queues is out of date. */
void pipeline_queue_forget(struct pipeline *p);
/* The held row cannot be published; false where it is as if it had not been read. */
bool pipeline_failed(struct pipeline *p, uint64_t tag);
/* What is parked has to be listed anew before any row is read. */
void pipeline_parked_ask(struct pipeline *p);
/* A row that was found invalid: VERDICT_INVALID, after halting, VERDICT_FAILED or VERDICT_CUT. */
enum verdict pipeline_invalid(struct pipeline *p, int64_t now, const struct ledger_item *item,
                              uint64_t *ret_tag);
/* A judged row enters the stream's checkpoint, if it is to be put, or is held since before a named
 * slot's stream began again. ERR_NOMEM. */
int pipeline_stream_enter(struct pipeline *p, enum verdict judged, struct ledger_item *item,
                          struct err *err);
/* A topic of ours is there again. */
void pipeline_topic_back(struct pipeline *p);
/* When the next acknowledgement is due, be it of a position alone. */
int64_t pipeline_ack_at(const struct pipeline *p);
/* That one; false for none after all. */
bool pipeline_ack_next(struct pipeline *p, int64_t now, struct action *ret);
/* Whether the position of all that is done has been stored, or cannot be any more. */
bool pipeline_all_stored(const struct pipeline *p);
/* A new stream: positions are stored anew. */
void pipeline_ack_forget(struct pipeline *p);
/* A round of the table is complete. */
void pipeline_stream_round(struct pipeline *p);
/* Reading starts over for the sake of rows that may have been streamed. */
void pipeline_stream_rewind(struct pipeline *p);
/* What is to be done for the stream; false for nothing. */
bool pipeline_stream_next(struct pipeline *p, int64_t now, struct action *ret);
int64_t pipeline_stream_due(const struct pipeline *p);
/* Reading begins again at the lowest unpublished row. */
void pipeline_start_over(struct pipeline *p);
/* Ends at the event that was refused. */
void pipeline_halt(struct pipeline *p, int64_t now);
/* The producer's records are lost to us; nothing of that epoch counts any more. */
void pipeline_new_epoch(struct pipeline *p, int64_t now);

#endif
