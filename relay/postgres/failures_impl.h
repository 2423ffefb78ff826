/* What failures.c (when they are sent) and failures_sql.c (how they are said) share. */
#ifndef OUTBOX_POSTGRES_FAILURES_IMPL_H
#define OUTBOX_POSTGRES_FAILURES_IMPL_H

#include "postgres/failures.h"

/* Statements on their way at a time. */
#define FAILURE_SENT_MAX 8
/* One statement keeps so many events at most, and about so many bytes. */
#define FAILURE_BATCH 32
#define FAILURE_BATCH_BYTES ((size_t)1 << 20)

enum failure_column {
    FAILURE_ROUTED,
    FAILURE_AGGREGATETYPE,
    FAILURE_AGGREGATEID,
    FAILURE_TYPE,
    FAILURE_PAYLOAD,
    FAILURE_PAYLOAD_BYTES, /* binary */
    FAILURE_HEADERS,
    FAILURE_TOPIC,
    FAILURE_PARTITION,
    FAILURE_CREATED_AT, /* binary */
    FAILURE_LSN,
    FAILURE_COLUMNS,
};

struct failure {
    struct failure *next;
    uint64_t tag;
    enum failure_kind kind;
    int64_t seq;
    char seq_text[24];
    bool to_come;
    bool sent;
    char id[EVENT_ID_TEXT];
    const char *class;
    struct buf content; /* empty: it is in the table */
    size_t at[FAILURE_COLUMNS];
    size_t len[FAILURE_COLUMNS];
    bool null[FAILURE_COLUMNS];
    char error[];
};

struct failures {
    const struct columns *columns;
    char *topic_sql;
    char *copy_topic;
    struct failures_callbacks callbacks;
    void *arg;
    struct pg_conn *conn;
    const struct pg_facts *facts;
    int shard;
    uint64_t epoch;
    struct failure *first, **last;
    uint32_t n;
    uint64_t tags[FAILURE_SENT_MAX]; /* of the statements on their way, the first one's of each: a
                                        ring, since answers come in the order of sending */
    uint32_t oldest, sent;
    uint32_t batch; /* of the only one, events that are kept whole; 0: there is none such */
    bool listing;
    bool list_again;
};

#define FAILURE_EACH (4 + FAILURE_COLUMNS)
#define FAILURE_PARAMS (3 + FAILURE_BATCH * FAILURE_EACH)

struct failure_statement {
    struct buf sql;
    struct pg_params params;
    char shard[16];
    char epoch[24];
    const char *values[FAILURE_PARAMS];
    int lengths[FAILURE_PARAMS];
    int formats[FAILURE_PARAMS];
};

/* Copies the event; content.failed tells of memory. */
void failure_set_content(struct failure *one, const struct columns *names,
                         const struct event *event, struct slice routed, uint64_t lsn);
/* The statement of n from first on: one of anything, several of FAILURE_WHOLE_PARKED. Values are
 * borrowed from them and from ret, whose sql the caller frees. Its first column is 1 if the lease
 * was ours, the second 0 if the row was not there. */
void failure_statement(struct failure_statement *ret, const struct failures *f,
                       struct failure *first, uint32_t n);
/* What is parked: topic, key, and whether its queue may go on. */
void failure_list_sql(struct buf *sql, const struct pg_facts *facts);

#endif
