/*
 * A seeded simulation of the relay's core: the real pipeline, ledger, cursor, sleeper and lease
 * among an imagined PostgreSQL (world.c), an imagined Kafka (broker.c) and the loop that carries
 * the pipeline's actions out (relay_sim.c), through crashes, lost connections and late answers.
 * check.c holds the design's guarantees against it after every step. Time is simulated, in
 * microseconds; one step is one event of the queue, and the same seed gives the same steps.
 */
#ifndef OUTBOX_SIM_H
#define OUTBOX_SIM_H

#include "broker.h"
#include "core/lease.h"
#include "core/pipeline.h"
#include "failures.h"
#include "mutations.h"
#include "named.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELAYS 2
#define WRITERS 12
#define EVENTS_MAX 6000 /* an episode makes at most so many */
#define TXN_ROWS_MAX 160
#define PAGE_MAX 512
#define ACKS_MAX 8 /* requests on their way on one connection */
#define ACK_ROWS_MAX 128
#define QUEUE_MAX 16384
#define LOG_MAX 4096
#define LOG_ROWS_MAX ((size_t)EVENTS_MAX * 4)
#define NOTES 400
#define XIDS (1U << 16) /* so many of the last are remembered */
#define NOBODY (-1)

/* ---- the queue of what happens ---- */

enum kind {
    EV_WRITER,     /* who: writer's slot */
    EV_FLUSH,      /* the server writes its log out */
    EV_SRV_READ,   /* who: relay; a request reaches the server */
    EV_SRV_ACK,    /* a: request's slot */
    EV_SRV_LEASE,  /* a: 1 asks, 0 gives back */
    EV_SRV_LOCK,   /* the wake-up lock is asked for */
    EV_SRV_UNLOCK, /* a: 1 cancels the wait, 0 gives the lock back */
    EV_LOCK_TIMEOUT,
    EV_SRV_SLOT,   /* a: which slot_ask, and above the low byte its position */
    EV_SRV_RECORD, /* a: request's slot */
    EV_SRV_LIST,
    EV_STREAM,       /* a: 0 the next message of the reading connection, 1 and 2 notifications */
    EV_ACK_REPLY,    /* a: request's slot */
    EV_RECORD_REPLY, /* a: the same */
    EV_LIST_REPLY,
    EV_LEASE_REPLY, /* a: granted epoch, 0: refused */
    EV_LOCK_REPLY,  /* a: 1 granted, 0 timed out */
    EV_SLOT,        /* a: which slot_answer */
    EV_WAL,         /* the next messages of the stream reach the relay */
    EV_PROVED,      /* a notification's round trip worked */
    EV_CONN_UP,     /* a: which connection */
    EV_CONN_LOST,
    EV_TICK,  /* a relay's timer */
    EV_START, /* a relay's process begins */
    EV_END,   /* a relay that has stopped gives its lease back and is gone */
    EV_RESUME,
    EV_SEND,        /* who: relay; a: topic * PARTITIONS + partition */
    EV_REPORT,      /* a: the same, b: how many */
    EV_PURGED,      /* reports of a dead producer's queue */
    EV_LATE_APPEND, /* a: event, b: producer; a request that was under way when its producer died */
    EV_LOOKUP,      /* a: topic */
    EV_NOTICE,      /* a: topic; a producer finds that it went away */
    EV_UNKNOWN,     /* a: tag, b: row; a record of an unknown topic fails */
    EV_FATAL,
    EV_REBUILT,
    EV_KAFKA, /* a: up */
    EV_HEAL,  /* a: which ailment */
    EV_FAULT,
    EV_QUIET,      /* writers fall silent, or begin again */
    EV_WANT,       /* streaming is wanted no more, or again */
    EV_OPERATOR,   /* somebody looks after what failed; a: as in world_operator */
    EV_WAKE_CHECK, /* a: event; was it read in time? */
};

struct happening {
    int64_t at;
    uint64_t order;
    uint64_t a;
    uint32_t b;
    uint32_t gen;
    uint16_t kind;
    uint16_t who;
};

struct note {
    uint64_t step;
    int64_t at;
    const char *what;
    int64_t a, b, c;
};

/* ---- the world ---- */

enum row_state {
    ROW_OPEN, /* its transaction has not ended for readers; it may be in the log (committed) */
    ROW_LIVE, /* committed, in the table */
    ROW_GONE, /* deleted, truncated, rolled back or forgotten */
};

struct row {
    int64_t seq;
    uint64_t xid; /* as its column says */
    uint64_t txn; /* that wrote it, once that is in the log */
    int64_t committed_at;
    uint32_t bytes;
    uint32_t order;     /* of its key's commits; 0: no order is promised */
    uint32_t place;     /* among all rows, in the order of the log */
    uint32_t stream;    /* the stream that it was put from last; 0: it was read from the table */
    uint64_t end;       /* where the log goes on behind its commit */
    uint32_t owner_gen; /* the process that put it last */
    uint16_t key;
    uint8_t state;
    uint8_t persisted; /* copies in Kafka, at most 255 */
    int8_t put_by;     /* the relay whose put still counts, or NOBODY */
    uint64_t put_tag;  /* of that put */
    bool put_reported;
    bool committed; /* ever: its commit was in the log */
    bool waived;    /* the application, or its server, took it back: publishing is not owed */
    bool foreign;   /* its xid means nothing to the snapshot difference */
    bool bad;       /* the broker refuses it */
    bool invalid;   /* it cannot become a record */
    bool unput;     /* the sink does not take it */
    bool refused;   /* ever, for its own sake */
    bool parked, dead, discarded; /* it is in that table */
    bool message;                 /* a logical message */
    bool tableless;               /* that, or deleted by the transaction that wrote it */
    bool taken;   /* its application has deleted it since; with a named slot it is owed still */
    bool certain; /* the relay that put it last knows that it is acknowledged */
};

struct txn {
    uint64_t xid;
    uint32_t rows[TXN_ROWS_MAX];
    uint16_t n, planned;
    bool open, prepared, shared, notifies, slow;
    bool logged; /* its commit is in the log, and waits for a standby before readers see it */
};

enum log_kind {
    LOG_COMMIT,
    LOG_DELETE,
    LOG_LEASE,
    LOG_PARK,
    LOG_UNPARK,  /* retried, or its row is gone */
    LOG_BURY,    /* moved to the dead */
    LOG_EXHUME,  /* a dead one is written to the outbox once more */
    LOG_DISCARD, /* a parked one is thrown away */
    LOG_FORGET,  /* a dead one */
};

/* The server's log, by which a crash or a fail-over takes things back, and which a slot streams. */
struct log_entry {
    enum log_kind kind;
    uint64_t xid;      /* 0: nothing of its own to a slot */
    uint64_t end;      /* where the next one begins */
    uint32_t first, n; /* rows, in log_rows */
    bool truncate;
    int64_t next_seq;
    uint64_t next_xid;
    int lease_owner; /* before */
    uint64_t lease_epoch;
    int64_t lease_until;
    struct lease_slot lease_slot;
};

struct server {
    uint64_t identity; /* system identifier and timeline */
    bool up;
    int64_t next_seq;
    uint64_t next_xid;
    uint64_t last_ended;  /* the highest xid that has ended for readers */
    uint64_t last_logged; /* the highest xid whose commit is in the log */
    uint8_t *xids;        /* of the last XIDS: is its commit in the log? */
    struct row *rows;
    uint32_t nrows;
    uint32_t *table; /* open and live rows by seq */
    uint32_t ntable;
    struct txn txns[WRITERS];
    int key_txn[KEYS]; /* who holds a serialised key */
    uint32_t key_order[KEYS];
    bool truncate_waits, truncate_restarts;
    struct log_entry *log;
    uint32_t nlog, flushed;
    uint32_t log_base; /* so many entries were forgotten */
    uint64_t lsn;      /* where the next entry begins */
    uint32_t places;
    uint32_t *log_rows;
    uint32_t nlog_rows;
    int lease_owner;
    uint64_t lease_epoch;
    int64_t lease_until;
    int lock_holder;
    int lock_waiter[RELAYS];
    uint32_t lock_waiters;
    uint64_t lock_asks[RELAYS];
    bool quiet;
    uint32_t messages;
    struct named named;
    struct graves graves;
};

/* A temporary slot, as the server knows it: it lives as long as its connection. Of a named one this
 * is the conversation about it, and its walsender. */
enum slot_state { SLOT_NONE, SLOT_MAKING, SLOT_STANDS, SLOT_STREAMS };

struct slot {
    enum slot_state state;
    uint32_t waits;           /* a bit for each writer that was running when it was asked for */
    uint32_t next;            /* the entry to stream next, counted from the log's beginning */
    char snapshot[SLOT_TEXT]; /* the exported one */
    bool sender;              /* named: a walsender is connected */
    enum slot_ask asked;      /* named: on its way to the server, if it is one that writes */
    bool table;               /* named: as the lease says */
    uint32_t made;
    uint64_t lsn, epoch;
};

/* What the relay knows of its stream. */
struct stream {
    uint32_t number; /* among all ever made */
    bool wanted, begun, armed;
    bool held;           /* its last row was cut */
    uint32_t row;        /* of the transaction that has begun */
    uint64_t passed;     /* all up to here was offered to the pipeline */
    uint64_t told;       /* the highest position that the pipeline was told */
    uint64_t checkpoint; /* what it said last */
    uint64_t done;       /* named: the pipeline knows that all before it is done */
    uint64_t start;      /* named: where it begins */
    uint64_t confirmed;
    int64_t stalled_until;
    uint32_t forget; /* transactions, by a mutation */
};

struct page {
    uint32_t rows[PAGE_MAX];
    uint32_t n, next;
    bool opens, header_sent, ok;
    bool has_max;
    int64_t max_seq;
    char snapshot[64 + WRITERS * 24];
};

struct ack_request {
    bool used, strict, streamed, executed;
    uint32_t number, n;
    uint64_t epoch;
    enum ack_result result;
    uint64_t position; /* to be stored with it; 0: none */
    int64_t seqs[ACK_ROWS_MAX];
    uint32_t ids[ACK_ROWS_MAX];
    bool early[ACK_ROWS_MAX]; /* its commit was not visible yet */
    bool partly;              /* it found fewer rows than it named, under this snapshot */
    char snapshot[64 + WRITERS * 24];
};

enum conn_kind { CONN_READ, CONN_CONTROL, CONN_WAKE, CONN_STREAM, CONNS };

struct conn {
    bool up;     /* as the relay believes */
    bool alive;  /* in truth */
    bool awaits; /* connecting */
    uint32_t gen;
    int64_t to_server, to_relay; /* when the last message each way arrives: order is kept */
};

enum lock_state { LOCK_NONE, LOCK_ASKED, LOCK_HELD };

struct relay {
    bool alive, paused, ending;
    uint32_t gen; /* of the process */
    struct pipeline *p;
    struct lease lease;
    uint64_t last_epoch; /* under which it was an owner last; 0: never */
    uint64_t identity;   /* of the server it knows */
    struct conn conns[CONNS];
    struct page page;
    bool page_busy, notify_waits;
    struct read_request request;
    struct ack_request acks[ACKS_MAX];
    enum lock_state lock;
    bool lock_cancelled;
    bool page_at_server; /* the read is carried out, its rows are coming */
    int64_t lease_next;
    int64_t tick_at;
    int64_t paused_until;
    int64_t healthy_since; /* able to read since then; INT64_MAX: it is not */
    int64_t asleep_since;
    struct producer prod;
    struct slot slot;
    struct stream stream;
    struct failures failures;
    bool zombie; /* was stopped, or its server replaced, so that another may own the outbox */
    uint32_t zombie_puts;
    uint32_t stranger; /* number of the last stream whose events it may not remember */
    uint64_t made_way; /* of its ledger, when last looked at */
    uint32_t grace; /* so many events may be handled before a resumed process looks at the time */
    uint64_t slot_tags[1 << 12];
};

/* What this episode is like; drawn anew for each. */
struct config {
    struct pipeline_options options;
    int64_t ttl_ms;
    int relays;
    bool notify;
    int64_t latency_us;
    int64_t think_us;          /* between a writer's transactions */
    int64_t fault_us;          /* between faults; 0: none */
    uint32_t faults;           /* a bit for each kind */
    uint32_t focus, focus_pct; /* one that comes more often */
    uint32_t slow_pct, async_pct, rollback_pct, prepare_pct, bulk_pct, invalid_pm;
    bool fails; /* events of their own fault are parked, or die */
    enum failure_mode policies[TOPICS];
    bool mixed; /* each process has a policy of its own */
    uint32_t unput_pm, bad_pm;
    uint32_t race_pct;   /* what fails is deleted at that moment */
    uint32_t bad_key;    /* half of its events are refused */
    int64_t operator_us; /* between looks */
    uint32_t backlog_max;
    uint32_t preload;
    bool stream;
    bool named;
    uint32_t message_pct, fleeting_pct, delete_pct; /* named: of the events */
    uint32_t unmade_pct; /* named: slots whose snapshot is not recorded in the end */
    bool eager;          /* rows are offered without asking whether they flow */
    bool sends_empty;    /* transactions without rows are streamed too, as before PostgreSQL 15 */
    uint32_t wait_pct;   /* commits that wait for a standby */
    int64_t standby_us;  /* so long, about */
    int64_t want_us;     /* between changes of mind about streaming */
    uint32_t wal_keep;   /* a slot that is so many entries behind is lost */
};

struct totals {
    uint64_t events, duplicates, reads, acks, faults, sleeps, episodes, wakeups, strays;
    uint64_t slots, streams, streamed, passed, cuts, unseen;
    uint64_t parked, dead, retried, discarded, released;
    uint64_t named, messages, taken, resumed, stored, repeated;
};

struct sim {
    uint64_t seed;
    uint64_t rng;
    uint64_t episode;
    uint64_t steps, steps_max;
    int64_t now;
    uint64_t order;
    enum mutation mutation;
    bool verbose, expect_caught;
    bool calm; /* no faults, no writers: all has to come to rest */
    int64_t calm_since;
    int64_t calm_took; /* the longest start, in ms, that puts off a sweep of this calm */
    uint64_t calm_lsn;
    uint64_t calm_steps;
    bool foreign_made; /* so sweeps may find something */
    bool stream_late;  /* a stream has stalled: a sweep may come first */
    struct config cfg;
    struct happening *queue;
    uint32_t nqueue;
    struct note *notes;
    uint64_t nnotes;
    struct server srv;
    struct broker brk;
    struct relay relays[RELAYS];
    uint32_t producers; /* ever made */
    uint32_t streams;
    size_t heap_base;
    struct totals totals;
    void **kept; /* what the mutation that grows has left behind */
};

/* ---- sim.c: the queue, chance, the trace ---- */
uint64_t sim_rand(struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t n);
bool sim_chance(struct sim *s, uint32_t percent);
/* About mean, between 0 and a few times mean. */
int64_t sim_spread(struct sim *s, int64_t mean);
void sim_at(struct sim *s, int64_t at, enum kind kind, int who, uint32_t gen, uint64_t a,
            uint32_t b);
bool sim_step(struct sim *s);
void sim_note(struct sim *s, const char *what, int64_t a, int64_t b, int64_t c);
_Noreturn void sim_fail(struct sim *s, const char *guarantee, const char *what, int64_t a,
                        int64_t b, int64_t c);
static inline int64_t sim_ms(const struct sim *s)
{
    return s->now / 1000;
}

/* ---- world.c, world_log.c, world_ask.c, world_outside.c: PostgreSQL ---- */
void world_init(struct sim *s);
void world_free(struct sim *s);
void world_writer(struct sim *s, int slot);
uint32_t world_new_row(struct sim *s, uint32_t key, uint64_t xid);
/* A transaction is running that has written events. */
bool world_busy(const struct server *v);
void world_restore(struct sim *s);
void world_truncate(struct sim *s, bool restart);
/* What was not flushed is forgotten; after a fail-over, some of what was. */
void world_crash(struct sim *s, bool failover);
uint64_t world_xid(struct server *v);
/* One more entry, with the rows that were put behind first in log_rows. */
void world_wrote(struct sim *s, enum log_kind kind, uint64_t xid, uint32_t first, bool sync);
void world_flush(struct sim *s);
void world_flushed(struct sim *s);
/* A transaction is no longer running: slots that are being made may have waited for it. */
void world_slot_ended(struct sim *s, int writer);
void world_slot(struct sim *s, struct relay *r, enum slot_ask ask, uint64_t lsn);
/* The next entry of the log for this slot, NULL when there is none that was written out. */
const struct log_entry *world_next(const struct server *v, const struct slot *slot);
/* Up to where the log was written out. */
uint64_t world_lsn(const struct server *v);
void world_table_add(struct sim *s, uint32_t row);
void world_table_remove(struct sim *s, uint32_t row);
uint32_t world_lower(const struct server *v, int64_t seq);
bool world_idle(const struct sim *s);
/* pg_current_snapshot() */
void world_snapshot(const struct server *v, char *text);
char *world_print_snapshot(char *text, uint64_t xmax, const uint64_t *xip, uint32_t n);
/* Requests, as the server carries them out. */
void world_read(struct sim *s, struct relay *r);
void world_ack(struct sim *s, struct relay *r, struct ack_request *q);
uint64_t world_lease(struct sim *s, int who, bool give_back);
void world_lock(struct sim *s, int who);
void world_lock_refuse(struct sim *s, int who);
void world_unlock(struct sim *s, int who);
void world_lock_grant(struct sim *s);

/* ---- relay_sim.c, relay_lease.c, relay_conn.c: what relay.c does ---- */
void relay_start(struct sim *s, int who);
void relay_kill(struct sim *s, int who);
void relay_pause(struct sim *s, int who, int64_t us);
void relay_stop(struct sim *s, int who);
void relay_end(struct sim *s, int who);
/* Carries out what the pipeline wants, then sets its timer. */
void relay_drive(struct sim *s, struct relay *r);
/* What each loop turn looks at first. */
void relay_turn(struct sim *s, struct relay *r);
void relay_disown(struct sim *s, struct relay *r);
void relay_lease_ask(struct sim *s, struct relay *r);
/* 0: refused */
void relay_lease_answer(struct sim *s, struct relay *r, uint64_t epoch);
void relay_report(struct sim *s, struct relay *r, uint64_t tag, uint32_t row, enum delivery what);
void relay_row(struct sim *s, struct relay *r, uint32_t row);
struct pipeline_row relay_read_row(const struct sim *s, uint32_t row);
/* stream: its number, or 0. */
void relay_put(struct sim *s, struct relay *r, uint64_t tag, uint32_t row, uint32_t stream);
void relay_handle(struct sim *s, struct relay *r, const struct happening *h);
int relay_index(const struct sim *s, const struct relay *r);

/* ---- relay_stream.c: the same for the stream ---- */
void stream_action(struct sim *s, struct relay *r, const struct action *a);
/* The connection for it is there, or is gone. */
void stream_up(struct sim *s, struct relay *r);
void stream_lost(struct sim *s, struct relay *r);
void stream_slot(struct sim *s, struct relay *r, bool made);
void stream_turn(struct sim *s, struct relay *r);
/* Whether the next message may be taken. */
bool stream_moves(const struct sim *s, const struct relay *r);
/* There may be something to read. */
void stream_arm(struct sim *s, struct relay *r);
void stream_want(struct sim *s);

void conn_open(struct sim *s, struct relay *r, enum conn_kind kind, int64_t delay);
/* It breaks; the relay learns of it after a while. */
void conn_break(struct sim *s, struct relay *r, enum conn_kind kind, int64_t delay);
void conn_up(struct sim *s, struct relay *r, enum conn_kind kind);
void conn_lost(struct sim *s, struct relay *r, enum conn_kind kind);
void conn_ask(struct sim *s, struct relay *r, enum conn_kind kind, enum kind what, uint64_t a);
void conn_answer(struct sim *s, struct relay *r, enum conn_kind kind, enum kind what, uint64_t a);
void conn_stream(struct sim *s, struct relay *r);
void conn_notify(struct sim *s, struct relay *r);
void conn_locks(struct sim *s, struct relay *r);

/* ---- faults.c ---- */
void faults_draw(struct sim *s);
void faults_next(struct sim *s);
void faults_heal(struct sim *s, uint32_t what, uint32_t which);
void faults_calm(struct sim *s, bool calm);

/* ---- check.c: the guarantees ---- */
void check_step(struct sim *s);
void check_relay(struct sim *s, struct relay *r);
void check_put(struct sim *s, struct relay *r, uint32_t row, uint32_t stream);
void check_passed(struct sim *s, struct relay *r, uint32_t row);
void check_append(struct sim *s, int who, uint32_t row, bool zombie);
void check_delete(struct sim *s, const struct relay *r, uint32_t row);
void check_read(struct sim *s, struct relay *r);
/* Puts that count no more: all of a relay's, or only those without a report. */
void check_excuse(struct sim *s, struct relay *r, bool reported_too);
void check_wake(struct sim *s, uint32_t row, uint32_t backstop);
void check_committed(struct sim *s, uint32_t row);
/* At rest: everything owed is in Kafka. */
bool check_rest(struct sim *s);

#endif
