/* The relay's parts and what is known of them; shared by its sources: relay.c (life),
 * relay_postgres.c, relay_kafka.c (the callbacks of either side), relay_wal.c (the stream's),
 * relay_retention.c (old partitions), relay_outage.c (what does not work), relay_status.c (what it
 * says of itself). */
#ifndef OUTBOX_RELAY_STATE_H
#define OUTBOX_RELAY_STATE_H

#include "core/format.h"
#include "core/ladder.h"
#include "core/metrics.h"
#include "core/pipeline.h"
#include "kafka/sink.h"
#include "ops/http.h"
#include "postgres/acknowledge.h"
#include "postgres/control.h"
#include "postgres/failures.h"
#include "postgres/listener.h"
#include "postgres/owner.h"
#include "postgres/retention.h"
#include "postgres/table_source.h"
#include "postgres/wakeup.h"
#include "postgres/wal_source.h"
#include "relay.h"

#include <uv.h>

enum relay_server {
    SERVER_READ,
    SERVER_CONTROL,
    SERVER_WAKEUP,
    SERVER_LISTEN,
    SERVER_KAFKA,
    SERVERS,
};

/* What a server that is there may refuse all the same. */
enum relay_work {
    WORK_READ,
    WORK_ACKNOWLEDGE,
    WORK_LEASE,
    WORK_FAILURES,
    WORKS,
};

/* A server that is away, or work that fails: what was said of it last, so that each cause is logged
 * once. */
struct outage {
    bool down;
    bool was_up;          /* ever */
    int64_t inspected_at; /* the table, for its sake; 0: not */
    int64_t since;
    int64_t logged_at;
    uint64_t reconnects;
    char why[512];
};

/* A place in the log that is not known any more. */
#define RELAY_SOMEWHERE UINT64_MAX

/* Kinds of failed deliveries that are counted apart; further ones fall together. */
#define RELAY_ERRORS 24

struct relay_error {
    enum delivery class;
    const char *name; /* librdkafka's, or ours for what is refused before; static storage */
    uint64_t n;
};

struct relay_counters {
    uint64_t *published; /* by topic */
    uint32_t topics;
    uint64_t published_all;
    uint64_t acknowledged;
    uint64_t parked; /* events, by this process */
    uint64_t dead;
    struct relay_error errors[RELAY_ERRORS];
    uint32_t nerrors;
    uint64_t rebuilds;
    struct histogram latency;
};

/* Of a partitioned outbox. */
struct relay_retention {
    bool ours;        /* the outbox is partitioned, and this role may drop what is old */
    int64_t asked_at; /* 0: not yet */
    uint64_t dropped; /* partitions, by this process */
    bool failing;
    char why[512]; /* what is not dropped or made, and why; "" : nothing of that */
};

struct relay {
    const struct config *config;
    struct log *log;
    relay_reload_fn reload;
    void *reload_arg;
    uv_loop_t loop;
    char instance[37]; /* this process's uuid */
    char name[128];    /* host/pid */
    int64_t started_at;

    struct pipeline *pipeline;
    struct format *format;
    struct table_source *source;
    struct listener *listener; /* NULL without postgres.direct_uri: source listens */
    struct wal_source *wal;    /* NULL with source.mode=table */
    bool wal_ever;             /* a slot was made */
    char wal_why[256];         /* why there is none, as it was logged; empty: nothing to say */
    int64_t wal_gauged_at;
    int64_t wal_retained; /* bytes that the slot holds back */
    int64_t wal_over;     /* halves of the budget that a named slot was warned about, 0 within it */
    uint64_t wal_commit;  /* the commit of the transaction that is being streamed; 0: none yet */
    uint32_t wal_waits;   /* looks at a slot that is still being made */
    const char *mode;     /* as it was logged */
    struct control *control;
    struct wakeup *wakeup;
    struct owner *owner;
    struct acknowledger *acknowledger;
    struct failures *failures;
    enum failure_mode *failure_modes; /* by the sink's topic */
    uint32_t nfailure_modes;
    struct buf topic_sql; /* the routed topic of row "o" */
    uint64_t key_seed;
    bool owning;      /* the lease, and failures know of it */
    bool list_wanted; /* of what is parked: the last asking failed */
    struct sink *sink;
    struct http *http;
    uv_timer_t pump_timer;
    uv_timer_t tick_timer;
    uv_timer_t watchdog_timer;
    uv_signal_t signals[3];

    bool source_up, control_up, listener_up;
    bool ever_up; /* the first inspection succeeded: later failures are outages, not refusals */
    bool joined;  /* the lease is asked for on the control connection */
    bool known;   /* facts holds something */
    struct pg_facts facts;
    struct ladder ladder;
    bool listener_pooled;
    bool probing;
    int64_t probe_sent_at;
    uint32_t probe_reads; /* that have ended since */
    uint32_t probes;
    char probe[64];
    bool pumping, pump_again;

    struct outage outages[SERVERS];
    struct outage failing[WORKS];
    struct relay_counters counters;
    char **topic_causes; /* by topic: why it is away, NULL if it is not */
    uint32_t ntopic_causes;
    struct control_gauges gauges;
    bool gauged;
    struct retention *retainer;
    struct relay_retention retention;
    int64_t gauged_at;
    uint64_t strays;
    bool culprit_known;
    struct ledger_item culprit; /* the event that the relay halts at */
    char culprit_topic[ROUTE_TOPIC_MAX + 1];
    uint64_t culprit_behind; /* of a named slot's stream: where its transaction is passed over */
    struct err culprit_why;
    char stall[600]; /* empty: it flows */
    bool told_ready; /* systemd, that the start is over */
    char told_status[700];

    bool stopping;
    bool closing;
    int exit_code;
    int open; /* parts that are still to close */
};

/* relay.c */
void relay_pump(struct relay *r, int64_t now);
/* Ends with this code after the cause was logged; nothing more is published. */
void relay_fail(struct relay *r, int exit_code);

/* relay_outage.c */
void relay_outage(struct relay *r, enum relay_server server, int64_t now, const struct err *why);
/* Returns true if the server was away. */
bool relay_recovered(struct relay *r, enum relay_server server);
/* Work that is tried again failed; where the table or the rights may be why, they are inspected. */
void relay_work_failed(struct relay *r, enum relay_work work, int64_t now, const struct err *why);
/* It did not, or there is nothing of it to do. */
void relay_work_done(struct relay *r, enum relay_work work);
/* Why work fails, "" where none does; borrowed. */
const char *relay_work_error(const struct relay *r);

/* relay_postgres.c */
int relay_postgres_open(struct relay *r, struct err *err);
void relay_postgres_tick(struct relay *r, int64_t now);

/* relay_failures.c */
int relay_failures_open(struct relay *r, struct err *err);
void relay_failures_close(struct relay *r);
/* The lease is held, under this epoch; continued as pipeline_own. */
void relay_failures_owned(struct relay *r, uint64_t epoch, bool continued);
/* The lease is lost, or the control connection. */
void relay_failures_disowned(struct relay *r);
void relay_failures_lost(struct relay *r);
/* The control connection stands again; the lease may have been held all along. */
void relay_failures_joined(struct relay *r);
void relay_failures_tick(struct relay *r);
/* Something was released, or said to be. */
void relay_failures_look(struct relay *r);
/* The hash of an event's topic and key. */
/* What becomes of the event if it fails, and the key that would wait behind it; item->topic is set,
 * unless record is NULL: it can be none. */
void relay_prepare_failure(struct relay *r, const struct event *event, const struct record *record,
                           struct ledger_item *item);
/* Records that the row cannot be published. topic: "" where it has no legal one; event: NULL where
 * it is not at hand. */
void relay_failed(struct relay *r, uint64_t tag, const struct ledger_item *item, const char *topic,
                  const struct err *why, const struct event *event);
/* The same of one that only waits behind another; and what a record waits for has come. */
void relay_behind(struct relay *r, uint64_t tag, const struct event *event);
void relay_failed_event(struct relay *r, uint64_t tag, const struct event *event);

/* relay_retention.c */
int relay_retention_open(struct relay *r, struct err *err);
/* Has the server drop what is old and published, and make room for what comes, now and then. */
void relay_retention_tick(struct relay *r, int64_t now);

/* relay_wal.c */
int relay_wal_open(struct relay *r, const char *uri, uint64_t seed, struct err *err);
void relay_wal_tick(struct relay *r, int64_t now);
/* Gives what waits in the stream to the pipeline, if it takes it now. False: it still waits. */
bool relay_wal_flow(struct relay *r);
/* Decides, where that is not set, whether events are streamed. */
void relay_choose_source(struct relay *r, int64_t now);
/* A position in the log as PostgreSQL writes it. */
void relay_lsn_text(uint64_t lsn, char ret_text[24]);
/* "notify", "wal" or "interval": how events are found. */
const char *relay_mode(const struct relay *r);

/* relay_kafka.c */
int relay_kafka_open(struct relay *r, struct err *err);
/* False for a row that is to come again: cut. streamed: by the stream, else in a page. */
bool relay_put(struct relay *r, const struct event *event, bool streamed);
/* The same of a logical message; event NULL: it makes none, why says why. */
bool relay_put_message(struct relay *r, uint64_t lsn, const struct event *event,
                       const struct err *why);
void relay_discard_producer(struct relay *r);
void relay_log_culprit(struct relay *r);
/* The slot's stream is another one from now on. */
void relay_forget_stream(struct relay *r);
/* Why the topic is away, "" if nothing is known; borrowed. */
const char *relay_topic_cause(const struct relay *r, uint32_t topic);
void relay_free_topic_causes(struct relay *r);

/* relay_status.c */
extern const struct http_routes relay_routes;
/* Sets r->stall to what holds events up, or to nothing, and logs a change. */
void relay_find_stall(struct relay *r, int64_t now);
/* To systemd: once, when it publishes, stands by, or waits for what is away; and how it is, where
 * that has changed. */
void relay_tell_ready(struct relay *r);
void relay_tell_status(struct relay *r);

#endif
