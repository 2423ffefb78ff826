/*
 * The table source: a connection that reads pages of the outbox, and listens where no connection of
 * its own does. Once connected it inspects the server and table, then LISTENs, then is up. It
 * decides nothing: the pipeline says what to read.
 */
#ifndef OUTBOX_POSTGRES_TABLE_SOURCE_H
#define OUTBOX_POSTGRES_TABLE_SOURCE_H

#include "core/cursor.h"
#include "core/event.h"
#include "postgres/inspect.h"

#include <uv.h>

struct table_source;

struct table_source_options {
    const char *uri;
    const char *table;
    const struct columns *columns; /* borrowed */
    bool mark;
    bool parks; /* as pg_inspect_options */
    bool buries;
    bool copies;
    bool named;
    const char *topic_sql; /* as read_sql takes it; borrowed, NULL where nothing is ever parked */
    bool listen;
    int64_t timeout_ms;
    uint64_t seed;
};

struct table_source_callbacks {
    /* Inspected, and listening if it is to; facts are borrowed and stand until the next on_up. */
    void (*on_up)(void *arg, const struct pg_facts *facts);
    /* Lost, or could not connect or be inspected (class tells); it tries again by itself. */
    void (*on_lost)(void *arg, bool was_up, const struct err *why);
    int (*on_header)(void *arg, const struct slice *snapshot, bool has_max, int64_t max_seq,
                     struct err *err);
    /* Returns false to have the rest of the page thrown away. */
    bool (*on_row)(void *arg, const struct event *event);
    /* rows: how many the server sent. ok: false when the read failed; why then says how. */
    void (*on_read_end)(void *arg, uint32_t rows, bool ok, const struct err *why);
    void (*on_notify)(void *arg, const char *payload);
};

/* Begins to connect; options' strings are copied or live as long. Errors as pg_conn_open. */
int table_source_open(struct table_source **ret, uv_loop_t *loop,
                      const struct table_source_options *options,
                      const struct table_source_callbacks *callbacks, void *arg, struct err *err);
/* One page; on_read_end follows unless the connection is lost first. */
void table_source_read(struct table_source *s, const struct read_request *request);
/* The session was proved to be ours alone (no pooler gives it to others between statements):
 * statements may be prepared in it, until the connection is lost. */
void table_source_prepare(struct table_source *s);
/* Closes the connection for this reason and connects again. */
void table_source_lose(struct table_source *s, const struct err *why);
/* "host:port/database"; borrowed. */
const char *table_source_where(const struct table_source *s);
void table_source_close(struct table_source *s, void (*on_closed)(void *arg), void *arg);

#endif
