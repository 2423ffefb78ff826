/*
 * The relay's mind, without I/O, clock or log: inputs in (a row, a report, a lost connection, the
 * time), actions out (read this page, put this record, acknowledge these). relay.c carries the
 * actions out on real servers; the simulation does so on imagined ones, through millions of faults.
 *
 * Every call takes now, in milliseconds of a clock that never steps. After any input, call
 * pipeline_next until it returns ACTION_NONE, then again at pipeline_deadline.
 */
#ifndef OUTBOX_CORE_PIPELINE_H
#define OUTBOX_CORE_PIPELINE_H

#include "core/cursor.h"
#include "core/keyset.h"
#include "core/ledger.h"
#include "core/topics.h"

struct pipeline;

struct pipeline_options {
    uint32_t window_events;
    uint64_t window_bytes;
    uint32_t page_events; /* rows a read may ask for */
    uint64_t page_bytes;  /* and about how many bytes */
    uint32_t ack_events;  /* rows an acknowledgement carries at most */
    int64_t poll_interval_ms;
    int64_t sweep_interval_ms;
    int64_t stream_sweep_interval_ms; /* the same while rows are streamed */
    bool named;                       /* the slot outlives us: see pipeline_set_streaming */
    bool parks;                       /* the list of parked keys is read before any row */
    uint64_t seed;                    /* of the jitter */
};

enum action_kind {
    ACTION_NONE,
    ACTION_READ,         /* read; answer with rows, then pipeline_read_end */
    ACTION_ACK,          /* delete or mark; answer with pipeline_acked */
    ACTION_LOOKUP,       /* topic; answer with pipeline_topic */
    ACTION_REBUILD,      /* make a new producer; answer with pipeline_sink_rebuilt */
    ACTION_STREAM_MAKE,  /* make a slot; answer with pipeline_stream_made or pipeline_stream_lost */
    ACTION_STREAM_START, /* stream from it */
    ACTION_STREAM_DROP,  /* give it up; no answer is awaited */
    ACTION_LIST,         /* ask what is parked: pipeline_parked_begin and so on */
    ACTION_EXIT,         /* drained or halted; once */
};

struct action {
    enum action_kind kind;
    struct read_request read;
    struct ledger_batch ack; /* perhaps of no row */
    uint64_t position;       /* ACTION_ACK: to be stored with it; ACTION_STREAM_MAKE: all before it
                                is done, stored or not; 0: none */
    uint32_t topic;
};

/* A row as the pipeline needs to know it. */
struct pipeline_row {
    struct ledger_item item;
    uint64_t xid;
    bool message; /* streamed, and there is no row of it */
    bool invalid; /* it cannot become a record; item.topic means nothing */
};

enum verdict {
    VERDICT_PUT,  /* hand it to the sink with this tag; a report must follow, or pipeline_put_failed
                   */
    VERDICT_SKIP, /* in flight or acknowledged already */
    VERDICT_HOLD, /* its topic is away: it is read again later */
    VERDICT_CUT,  /* no room, or not now: this row and the rest of the page are read again */
    VERDICT_INVALID, /* the row's own fault: the pipeline halts at it */
    VERDICT_FAILED,  /* its own fault: to be recorded under this tag; then pipeline_recorded */
    VERDICT_BEHIND,  /* it waits behind a parked one of its topic and key: in the table, or, with a
                        named slot, in their queue: to be recorded there under this tag */
};

/* How what failed, or waits behind it, is to be recorded. */
enum recording {
    RECORDING_ROW,   /* its row stays in the table, or is moved from there */
    RECORDING_WHOLE, /* with its content, at the end of its key's queue; its row is acknowledged.
                        What was read from the table has its content there */
    RECORDING_LATER, /* the same, and its content comes again: VERDICT_FAILED, under this tag */
    RECORDING_AGAIN, /* it stays in its queue, and is parked there once more */
};

enum record_result {
    RECORD_DONE,
    RECORD_GONE, /* its row was not there any more */
};

enum ack_result {
    ACK_DONE,
    ACK_FAILED, /* not carried out: tried again after a while */
    ACK_VOID,   /* fenced: the caller finds out by whom, then calls pipeline_disown or
                   pipeline_rows_gone */
};

enum stop_reason {
    STOP_NONE,
    STOP_DRAIN, /* asked to: what is in flight is finished first */
    STOP_HALT,  /* an event was refused and the policy says halt */
};

/* The caller owns *ret. ERR_NOMEM. */
int pipeline_new(struct pipeline **ret, const struct pipeline_options *options, struct err *err);
void pipeline_free(struct pipeline *p);

void pipeline_next(struct pipeline *p, int64_t now, struct action *ret);
/* When pipeline_next may have something again, INT64_MAX for "only after an input". */
int64_t pipeline_deadline(const struct pipeline *p, int64_t now);

/* Ownership. continued: the lease has the epoch it had when it was last held, so nobody came
 * between and what was delivered may still be acknowledged. */
void pipeline_own(struct pipeline *p, int64_t now, bool continued);
/* The producer is being discarded; the delivered rows are kept until pipeline_own tells. */
void pipeline_disown(struct pipeline *p, int64_t now);
/* The rows that the ledger knows are gone or another server's (TRUNCATE, a fail-over). */
void pipeline_rows_gone(struct pipeline *p, int64_t now);

/* The connection for reads. */
void pipeline_source_up(struct pipeline *p, int64_t now);
void pipeline_source_lost(struct pipeline *p, int64_t now);
/* The page's own snapshot and max(seq), before its rows, when read.opens. */
int pipeline_read_header(struct pipeline *p, const struct slice *snapshot, bool has_max,
                         int64_t max_seq, struct err *err);
enum verdict pipeline_row(struct pipeline *p, int64_t now, const struct pipeline_row *row,
                          uint64_t *ret_tag, struct err *err);
/* rows: how many rows the server sent. ok: false when the read failed part-way. */
void pipeline_read_end(struct pipeline *p, int64_t now, uint32_t rows, bool ok);

/* Wake-up. */
void pipeline_set_notify(struct pipeline *p, int64_t now, bool can_notify);
void pipeline_notified(struct pipeline *p, int64_t now);
bool pipeline_wants_lock(const struct pipeline *p);
bool pipeline_asleep(const struct pipeline *p);
void pipeline_lock_granted(struct pipeline *p, int64_t now);
void pipeline_lock_lost(struct pipeline *p, int64_t now);

/*
 * The stream of what commits, out of the server's log. The table stays the truth: it is read while
 * the slot is being made, until a round has covered the slot's snapshot, whenever reading has to
 * start over (the stream waits meanwhile), and again once the stream is lost. A transaction that
 * the last round saw is passed over when it is streamed.
 *
 * A named slot is a source of its own, of events that no table has any more, or never had. Of the
 * table only what the slot's first snapshot sees is read, once, and the stream brings all the rest:
 * each event is in one half. Both are repeated as far as no stored position says that they are
 * done. What is missing from what is held makes the stream begin again behind the last of these;
 * a topic that is away holds it up.
 */
enum stream_state {
    STREAM_OFF,
    STREAM_MAKING, /* the slot was asked for */
    STREAM_SEAM,   /* it stands; the table is read until a round covers its snapshot, or, after
                      reading had to start over, what was streamed */
    STREAM_ON,
};
/* Whether there shall be one. */
void pipeline_set_streaming(struct pipeline *p, int64_t now, bool wanted);
/* The slot stands: all that its snapshot does not see will be streamed. ERR_PROTOCOL, ERR_NOMEM:
 * lose it. Of a named one: from lsn on; with table, rows that the snapshot sees are read before,
 * and the caller has made sure that reads see them; without it snapshot is just a recent one. */
int pipeline_stream_made(struct pipeline *p, int64_t now, const struct slice *snapshot,
                         uint64_t lsn, bool table, struct err *err);
/* It could not be made, was lost, or was given up by the caller; asked for again after a while,
 * once the table has been read to its end. */
void pipeline_stream_lost(struct pipeline *p, int64_t now);
/* Whether rows may be given now; ask before each, and again after each turn. */
bool pipeline_stream_flows(const struct pipeline *p);
/* A transaction's begin, by the low half of its id; its rows (VERDICT_CUT: offer this one again
 * once it flows); its end, with the position behind it. */
void pipeline_stream_begin(struct pipeline *p, uint32_t xid);
enum verdict pipeline_stream_row(struct pipeline *p, int64_t now, const struct pipeline_row *row,
                                 uint64_t *ret_tag, struct err *err);
void pipeline_stream_end(struct pipeline *p, uint64_t lsn);
/* Between transactions: the server's log is at lsn and there was nothing to stream. */
void pipeline_stream_idle(struct pipeline *p, uint64_t lsn);
/* Where the stream goes on behind the transaction with that number (ledger_item.tx), which is held:
 * 0 while it has not ended. False for one of an earlier stream. */
bool pipeline_stream_behind(const struct pipeline *p, uint64_t tx, uint64_t *ret);
/* Whether all that was streamed before lsn is done. */
bool pipeline_stream_done_before(const struct pipeline *p, uint64_t lsn);
/* The position that may be confirmed, of a named slot the last one that was stored; 0 for none. */
uint64_t pipeline_checkpoint(const struct pipeline *p);

/* Acknowledgement. */
void pipeline_ack_up(struct pipeline *p, int64_t now);
void pipeline_ack_lost(struct pipeline *p, int64_t now);
/* Returns how many rows became certain. */
uint32_t pipeline_acked(struct pipeline *p, int64_t now, uint32_t batch, enum ack_result result);
/* The same, carried out, but on fewer rows than it named, under this snapshot. A streamed row may
 * not be visible yet when it is acknowledged, and is tried again. ERR_PROTOCOL, ERR_NOMEM: taken as
 * ACK_FAILED. */
uint32_t pipeline_acked_partly(struct pipeline *p, int64_t now, uint32_t batch,
                               const struct slice *snapshot, struct err *err);

/* Whether that tag's row is to be recorded (VERDICT_FAILED, VERDICT_BEHIND, or a refusal), and how.
 * False for one that is not. */
bool pipeline_recording(const struct pipeline *p, uint64_t tag, enum recording *ret);
/* A failed row is on record; no answer is needed for one that is to be tried again. */
void pipeline_recorded(struct pipeline *p, int64_t now, uint64_t tag, enum record_result result);
/* The database's list of parked keys, asked for after each pipeline_own, pipeline_rows_gone
 * and pipeline_source_up, on the connection that records, and whenever it has changed: begin, each
 * key (ERR_NOMEM), end. goes: its queue is to be read, and published. Returns how many wait no
 * longer; those are read again. */
void pipeline_parked_begin(struct pipeline *p);
int pipeline_parked_key(struct pipeline *p, uint64_t key, bool goes, struct err *err);
uint32_t pipeline_parked_end(struct pipeline *p, int64_t now);

/* The sink. */
void pipeline_kafka(struct pipeline *p, int64_t now, bool up);
/* known: may be produced to. away: refused (unknown, not authorised); neither: no answer, asked
 * again. */
enum topic_answer {
    TOPIC_KNOWN,
    TOPIC_REFUSED,
    TOPIC_NO_ANSWER,
};
void pipeline_topic(struct pipeline *p, int64_t now, uint32_t topic, enum topic_answer answer);
/* False for a report that is no longer awaited; else *ret_item is the row's. */
bool pipeline_report(struct pipeline *p, int64_t now, uint64_t tag, enum delivery what,
                     struct ledger_item *ret_item);
/* Whether the row is to be recorded, as with VERDICT_FAILED; ask after a report of DELIVERY_ROW. */
bool pipeline_is_failed(const struct pipeline *p, uint64_t tag);
/* The sink did not take a row that was to be put (VERDICT_PUT): what says why. DELIVERY_LOST: try
 * it again later. False: as if it had been VERDICT_CUT. */
bool pipeline_put_failed(struct pipeline *p, int64_t now, uint64_t tag, enum delivery what);
void pipeline_sink_fatal(struct pipeline *p, int64_t now);
void pipeline_sink_rebuilt(struct pipeline *p, int64_t now, bool ok);

/* Finish what is in flight, at most until deadline, then ACTION_EXIT. */
void pipeline_stop(struct pipeline *p, int64_t now, int64_t deadline);
enum stop_reason pipeline_stopping(const struct pipeline *p);

/* What the operator is shown. */
struct pipeline_view {
    bool owned, source_up, ack_up, kafka_up;
    bool sink_ready;
    bool caught_up;           /* the last read found nothing more */
    uint32_t inflight_events; /* all that is held */
    uint32_t sent;            /* of these, awaiting a delivery report */
    uint32_t delivered;       /* of these, awaiting acknowledgement */
    uint64_t inflight_bytes;
    uint32_t topics_away;
    uint64_t held;   /* rows passed over since their topic went away */
    uint32_t parked; /* keys that wait behind an event */
    bool parked_known;
    uint64_t strays; /* found by sweeps, in all */
    enum stream_state stream;
    bool streaming; /* it is on, or was and goes on once the table has been read */
    bool stalled;   /* a named slot's stream waits for a topic that is away */
    uint32_t stalled_on;
    int64_t
        waiting_since; /* the sink has had records since then without a report; -1: it has none */
};
void pipeline_view(const struct pipeline *p, struct pipeline_view *ret);
/* Topics are numbered from 0, as the sink numbers them. */
uint32_t pipeline_topics(const struct pipeline *p);
enum topic_state pipeline_topic_state(const struct pipeline *p, uint32_t topic, uint64_t *ret_held);

#endif
