#include "postgres/wal_source.h"

#include "base/clock.h"
#include "core/message.h"
#include "postgres/pg_error.h"
#include "postgres/pg_value.h"
#include "postgres/pgoutput.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Status updates: so often while the position moves, ... */
static const uint64_t feedback_ms = 100;
/* ... and at least so often, with the wish for an answer, which is a sign of life and tells how far
 * an idle server's log is. Far below any wal_sender_timeout. */
static const int64_t feedback_idle_ms = 1000;
/* A slot waits for every transaction that runs when it is asked for. */
static const int64_t make_timeout_ms = INT64_C(30) * 24 * 3600 * 1000;

enum wal_state {
    WAL_OFF,
    WAL_LOOKING, /* whether a slot can be made */
    WAL_CONNECTING,
    WAL_MAKING,
    WAL_IMPORTING,
    WAL_MADE,
    WAL_STREAMING,
};

struct wal_source {
    uv_loop_t *loop;
    struct wal_source_options options;
    struct wal_source_callbacks callbacks;
    void *arg;

    enum wal_state state;
    struct wal_slot *slot;
    struct pg_conn *conn;
    struct pgoutput *pgoutput;
    const struct pg_facts *facts;
    uint64_t blocked;
    enum named_step step;
    uint64_t start; /* from where it streams */
    uint64_t done;
    uv_timer_t timer;

    bool in_transaction;
    struct message_origin origin; /* of the transaction's messages */
    struct message message;
    struct buf held; /* a message that waits until rows flow */
    uint64_t received, confirmed;
    uint64_t told; /* of confirmed */
    int64_t told_at;

    uint32_t closing; /* connections and handles on their way out */
    bool closed;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* ---- losing ---- */

static void maybe_free(struct wal_source *w)
{
    if (!w->closed || w->closing > 0)
        return;
    w->on_closed(w->closed_arg);
    pgoutput_free(w->pgoutput);
    buf_free(&w->held);
    message_free(&w->message);
    free(w);
}

static void part_closed(void *arg)
{
    struct wal_source *w = arg;

    w->closing--;
    maybe_free(w);
}

/* The one way back to WAL_OFF. */
static void shut(struct wal_source *w)
{
    /* Only while it waits for transactions does a walsender not see that we are gone. */
    int walsender = w->conn != NULL && w->state == WAL_MAKING ? pg_conn_backend_pid(w->conn) : 0;

    w->state = WAL_OFF;
    (void)uv_timer_stop(&w->timer);
    buf_reset(&w->held);
    w->in_transaction = false;
    if (w->slot != NULL) {
        w->closing++;
        wal_slot_close(w->slot, walsender, part_closed, w);
        w->slot = NULL;
    }
    if (w->conn != NULL) {
        w->closing++;
        pg_conn_close(w->conn, part_closed, w);
        w->conn = NULL;
    }
}

static void lose(struct wal_source *w, const struct err *why)
{
    struct err copy = *why;

    if (w->state == WAL_OFF)
        return;
    shut(w);
    w->callbacks.on_lost(w->arg, &copy);
}

void wal_source_drop(struct wal_source *w, bool blocked)
{
    if (w->state == WAL_OFF)
        return;
    w->blocked = blocked ? wal_slot_oldest(w->slot) : 0;
    shut(w);
}

/* ---- feedback ---- */

/* Byte1('r'), Int64 written, Int64 flushed, Int64 applied, Int64 clock, Byte1 answer at once. */
static void tell(struct wal_source *w, bool answer)
{
    unsigned char kind = 'r';
    unsigned char wish = answer;
    struct buf b = {0};

    buf_append(&b, &kind, 1);
    buf_u64(&b, w->received);
    buf_u64(&b, w->confirmed);
    buf_u64(&b, w->confirmed);
    buf_u64(&b, (uint64_t)pg_time_of_unix(clock_wall_ms() * 1000));
    buf_append(&b, &wish, 1);
    if (!b.failed) /* else the next one comes soon */
        pg_conn_stream_send(w->conn, b.data, b.len);
    buf_free(&b);
    w->told = w->confirmed;
    if (answer)
        w->told_at = clock_boot_ms();
}

static void on_timer(uv_timer_t *timer)
{
    struct wal_source *w = timer->data;
    bool idle = clock_boot_ms() - w->told_at >= feedback_idle_ms;

    if (w->state == WAL_STREAMING && (idle || w->confirmed != w->told))
        tell(w, idle);
}

void wal_source_confirm(struct wal_source *w, uint64_t lsn)
{
    if (w->state == WAL_STREAMING && lsn > w->confirmed)
        w->confirmed = lsn;
}

/* ---- the stream ---- */

int64_t wal_message_seq(uint64_t lsn)
{
    return (int64_t)((uint64_t)INT64_MIN + lsn);
}

static bool is_ours(const struct wal_source *w, const struct slice *prefix)
{
    return w->options.slot.name[0] != '\0' && prefix->len == strlen(w->options.message_prefix) &&
           memcmp(prefix->data, w->options.message_prefix, prefix->len) == 0;
}

/* Returns false where the message has to wait. */
static bool deliver_message(struct wal_source *w, const struct pgoutput_message *m)
{
    struct event event;
    struct err err;

    if (!is_ours(w, &m->prefix))
        return true;
    if (!m->transactional) {
        w->callbacks.on_odd_message(w->arg, m->lsn);
        return true;
    }
    w->origin.lsn = m->lsn;
    w->origin.system_id = w->facts->identity.system_identifier;
    if (message_event(&w->message, m->content, &w->origin, &event, &err) == 0) {
        event.seq = wal_message_seq(m->lsn);
        return w->callbacks.on_message(w->arg, m->lsn, &event, NULL);
    }
    if (err.class == ERR_ROW)
        return w->callbacks.on_message(w->arg, m->lsn, NULL, &err);
    lose(w, &err);
    return true;
}

/* Returns false where the message has to wait. */
static bool deliver(struct wal_source *w, const void *data, size_t len)
{
    struct pgoutput_message m;
    struct err err;

    if (pgoutput_parse(w->pgoutput, data, len, &m, &err) != 0) {
        lose(w, &err);
        return true;
    }
    switch (m.kind) {
    case PGOUTPUT_BEGIN:
        w->in_transaction = true;
        w->origin.committed_us = m.committed_us;
        w->callbacks.on_begin(w->arg, m.xid, m.final_lsn);
        break;
    case PGOUTPUT_COMMIT:
        w->in_transaction = false;
        w->callbacks.on_end(w->arg, m.end_lsn);
        break;
    case PGOUTPUT_INSERT:
        return m.published || w->callbacks.on_row(w->arg, &m.event);
    case PGOUTPUT_MESSAGE:
        return deliver_message(w, &m);
    case PGOUTPUT_TRUNCATE: /* the lease's epoch tells */
    case PGOUTPUT_OTHER:
        break;
    }
    return true;
}

static void hold(struct wal_source *w, const void *data, size_t len)
{
    struct err err;

    buf_reset(&w->held);
    buf_append(&w->held, data, len);
    if (w->held.failed) {
        (void)err_set(&err, ERR_NOMEM, "out of memory for a message of the stream");
        lose(w, &err);
        return;
    }
    pg_conn_pause(w->conn, true);
}

static void keepalive(struct wal_source *w, uint64_t end, bool answer)
{
    if (end > w->received)
        w->received = end;
    if (!w->in_transaction && w->held.len == 0)
        w->callbacks.on_idle(w->arg, end);
    if (answer && w->state == WAL_STREAMING)
        tell(w, false);
}

/* XLogData: Byte1('w'), Int64 start, Int64 end, Int64 clock, the message. Keepalive: Byte1('k'),
 * Int64 end, Int64 clock, Byte1 answer at once. */
static void on_message(void *arg, const char *data, size_t len)
{
    struct wal_source *w = arg;
    struct reader r = reader_of(data, len);
    uint8_t kind = read_u8(&r);
    uint64_t start = kind == 'w' ? read_u64(&r) : 0;
    uint64_t end = read_u64(&r);
    struct err err;

    (void)read_u64(&r);
    if (kind == 'k') {
        bool answer = read_u8(&r) != 0;

        if (!r.failed) {
            keepalive(w, end, answer);
            return;
        }
    }
    if (r.failed || kind != 'w') {
        (void)err_set(&err, ERR_PROTOCOL, "a message of the stream does not parse");
        lose(w, &err);
        return;
    }
    if (start > w->received)
        w->received = start;
    /* Waiting may be the end of the stream: the table was truncated, say. */
    if (!deliver(w, r.at, (size_t)(r.end - r.at)) && w->state == WAL_STREAMING)
        hold(w, r.at, (size_t)(r.end - r.at));
}

bool wal_source_flow(struct wal_source *w, bool flows)
{
    if (w->state != WAL_STREAMING || w->held.len == 0)
        return true;
    if (!flows || !deliver(w, w->held.data, w->held.len))
        return false;
    if (w->state == WAL_STREAMING) {
        buf_reset(&w->held);
        pg_conn_pause(w->conn, false);
    }
    return true;
}

/* The server looks publications up as they were when what it decodes was written, so one that is
 * made again helps what comes later alone. The same code says that the slot is gone. */
static bool lacks_publication(const struct wal_source *w, const PGresult *res)
{
    const char *publication = w->options.slot.publication;
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

    return w->options.slot.name[0] != '\0' && pg_error_is(res, "42704") && text != NULL &&
           strstr(text, publication) != NULL &&
           (strstr(w->options.slot.name, publication) == NULL ||
            strstr(text, "publication") != NULL);
}

static void stream_ended(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_source *w = arg;
    struct err err;

    if (why == NULL) {
        (void)err_set(&err, ERR_UNAVAILABLE, "the server ended the stream");
        why = &err;
    } else if (lacks_publication(w, res)) {
        (void)err_set(&err, ERR_CONFIG,
                      "publication \"%s\" was dropped, and without it nothing that slot \"%s\" "
                      "has kept can be read, though it be made again. %s",
                      w->options.slot.publication, w->options.slot.name,
                      named_slot_anew(w->facts, w->options.slot.name).text);
        why = &err;
    }
    lose(w, why);
}

void wal_source_start(struct wal_source *w)
{
    struct buf sql = {0};
    bool newer = w->facts->server_version >= 140000; /* the plugin's options of that version */
    struct err err;

    if (w->state != WAL_MADE)
        return;
    buf_printf(&sql,
               "START_REPLICATION SLOT \"%s\" LOGICAL %" PRIX32 "/%" PRIX32
               " (proto_version '1', publication_names '\"",
               wal_slot_name(w->slot), (uint32_t)(w->start >> 32), (uint32_t)w->start);
    /* An identifier within a literal: both kinds of quotes are doubled. */
    for (const char *c = w->options.slot.publication; *c != '\0'; c++)
        buf_printf(&sql, *c == '"' ? "\"\"" : *c == '\'' ? "''" : "%c", *c);
    buf_printf(&sql, "\"'%s%s)", newer ? ", binary 'true'" : "",
               newer && w->options.slot.name[0] != '\0' ? ", messages 'true'" : "");
    if (buf_cstr(&sql) == NULL) {
        (void)err_set(&err, ERR_NOMEM, "out of memory for a command");
        buf_free(&sql);
        lose(w, &err);
        return;
    }
    w->state = WAL_STREAMING;
    w->received = w->start;
    w->confirmed = w->told = 0;
    w->told_at = 0;
    pgoutput_reset(w->pgoutput);
    pgoutput_set_table(w->pgoutput, w->facts->oid);
    pgoutput_set_name(w->pgoutput, w->facts->schema, w->facts->name);
    pg_conn_copy(w->conn, buf_cstr(&sql), on_message, stream_ended, w);
    (void)uv_timer_start(&w->timer, on_timer, feedback_ms, feedback_ms);
    buf_free(&sql);
}

/* ---- making the slot ---- */

static void on_created(void *arg, const PGresult *res, const struct err *why)
{
    struct wal_source *w = arg;
    uint64_t lsn = 0;
    struct err err;

    if (why == NULL &&
        (PQntuples(res) != 1 || PQnfields(res) < 3 || !pg_lsn(PQgetvalue(res, 0, 1), &lsn))) {
        (void)err_set(&err, ERR_PROTOCOL,
                      "the answer to CREATE_REPLICATION_SLOT has another shape");
        why = &err;
    }
    if (why != NULL) {
        lose(w, why);
        return;
    }
    w->state = WAL_IMPORTING;
    wal_slot_import(w->slot, PQgetvalue(res, 0, 2), lsn);
}

static void conn_up(void *arg)
{
    struct wal_source *w = arg;
    bool named = w->options.slot.name[0] != '\0';
    char command[160];

    if (w->step == NAMED_RESUME) {
        w->state = WAL_IMPORTING;
        wal_slot_resume(w->slot);
        return;
    }
    w->state = WAL_MAKING;
    /* One that stays goes along with a fail-over, where the server knows how. */
    (void)snprintf(command, sizeof command, "CREATE_REPLICATION_SLOT \"%s\" %sLOGICAL pgoutput %s",
                   wal_slot_name(w->slot), named ? "" : "TEMPORARY ",
                   named && w->facts->server_version >= 170000
                       ? "(SNAPSHOT 'export', FAILOVER true)"
                       : "EXPORT_SNAPSHOT");
    pg_conn_command(w->conn, command, make_timeout_ms, on_created, w);
}

static void conn_lost(void *arg, bool was_up, const struct err *why)
{
    struct err excused = pg_conn_excuse(was_up, why);

    lose(arg, &excused);
}

static void on_ready(void *arg, enum named_step step)
{
    static const struct pg_conn_callbacks on = {conn_up, conn_lost, NULL};
    struct wal_source *w = arg;
    struct pg_conn_options options = {
        .uri = w->options.slot.uri,
        .session = wal_slot_session(w->slot),
        .replication = true,
        .timeout_ms = w->options.slot.timeout_ms,
        .seed = w->options.slot.seed,
    };
    struct err err;

    w->step = step;
    w->state = WAL_CONNECTING;
    if (pg_conn_open(&w->conn, w->loop, &options, &on, w, &err) != 0)
        lose(w, &err);
}

static void on_start(void *arg, const struct wal_start *start)
{
    struct wal_source *w = arg;

    if (w->state != WAL_IMPORTING)
        return;
    w->state = WAL_MADE;
    w->start = !start->table && w->done > start->lsn ? w->done : start->lsn;
    w->callbacks.on_made(w->arg, start);
}

static void on_gauges(void *arg, const struct wal_gauges *gauges)
{
    struct wal_source *w = arg;

    w->callbacks.on_gauges(w->arg, gauges);
}

static void on_failed(void *arg, const struct err *why)
{
    lose(arg, why);
}

void wal_source_make(struct wal_source *w, const struct pg_facts *facts, uint64_t epoch,
                     uint64_t done)
{
    static const struct wal_slot_callbacks on = {on_ready, on_start, on_gauges, on_failed};
    struct err err;

    if (w->state != WAL_OFF)
        return;
    w->state = WAL_LOOKING;
    w->facts = facts;
    w->done = done;
    w->options.slot.seed++; /* another name than the last slot's, which may still be going */
    if (wal_slot_open(&w->slot, w->loop, &w->options.slot, facts, epoch, w->blocked, &on, w,
                      &err) != 0)
        lose(w, &err);
}

bool wal_source_making(const struct wal_source *w)
{
    return w->state == WAL_MAKING;
}

void wal_source_ask_gauges(struct wal_source *w)
{
    if (w->state >= WAL_MAKING)
        wal_slot_ask_gauges(w->slot);
}

/* ---- life ---- */

int wal_source_open(struct wal_source **ret, uv_loop_t *loop,
                    const struct wal_source_options *options,
                    const struct wal_source_callbacks *callbacks, void *arg, struct err *err)
{
    struct wal_source *w = calloc(1, sizeof *w);
    int rc;

    if (w == NULL)
        return err_set(err, ERR_NOMEM, "out of memory for the wal source");
    rc = pgoutput_new(&w->pgoutput, options->columns, err);
    if (rc != 0) {
        free(w);
        return rc;
    }
    w->loop = loop;
    w->options = *options;
    w->callbacks = *callbacks;
    w->arg = arg;
    (void)uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    *ret = w;
    return 0;
}

static void timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

void wal_source_close(struct wal_source *w, void (*on_closed)(void *arg), void *arg)
{
    if (w == NULL) {
        on_closed(arg);
        return;
    }
    shut(w);
    w->closed = true;
    w->on_closed = on_closed;
    w->closed_arg = arg;
    w->closing++;
    uv_close((uv_handle_t *)&w->timer, timer_closed);
}
