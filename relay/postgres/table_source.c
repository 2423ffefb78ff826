#include "postgres/table_source.h"

#include "postgres/conn.h"
#include "postgres/page_row.h"
#include "postgres/pg_error.h"
#include "postgres/read_sql.h"
#include "postgres/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Throwing away more than this of a page that was cut costs more than a cancel request. */
static const size_t waste_max = 524288;
static const int64_t lock_timeout_ms = 10000;
static const char statement[] = "outbox_relay_page";

enum prepare_state {
    PREPARE_OFF,    /* not allowed, or it failed in this session */
    PREPARE_WANTED, /* with the next read */
    PREPARE_DONE,
};

struct table_source {
    struct pg_conn *conn;
    struct pg_inspect_options inspect;
    char *table;
    const char *topic_sql;
    bool listen;
    struct pg_facts facts;
    bool pooled; /* the session; facts tell of it once they are known */
    bool up;
    enum prepare_state prepare;
    struct table_source_callbacks callbacks;
    void *arg;

    struct buf sql;
    struct read_request request; /* the page that is being read */
    bool first;                  /* the next message is the first of its COPY */
    bool discard;                /* the rest of the page is not wanted */
    uint32_t rows;
    size_t wasted;
    bool failed;
    struct err why;

    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void come_up(struct table_source *s)
{
    s->up = true;
    s->callbacks.on_up(s->arg, &s->facts);
}

static void listened(void *arg, const PGresult *res, const struct err *why)
{
    struct table_source *s = arg;

    (void)res;
    if (why != NULL)
        pg_conn_lose(s->conn, why);
    else
        come_up(s);
}

static void inspected(void *arg, const PGresult *res, const struct err *why)
{
    struct table_source *s = arg;
    struct pg_facts facts = {0};
    struct err err;

    if (why == NULL && pg_inspect_read(&facts, res, &s->inspect, &err) != 0)
        why = &err;
    if (why != NULL) {
        pg_conn_lose(s->conn, why);
        return;
    }
    s->facts = facts;
    s->facts.pooled = s->pooled;
    if (!s->listen) {
        come_up(s);
        return;
    }
    buf_reset(&s->sql);
    buf_printf(&s->sql, "LISTEN %s", facts.channel);
    pg_conn_query(s->conn, buf_cstr(&s->sql), NULL, 0, listened, s);
}

static void session_set(void *arg, const PGresult *res, const struct err *why)
{
    struct table_source *s = arg;
    const char *values[PG_INSPECT_PARAMETERS];
    struct pg_params params = {.n = PG_INSPECT_PARAMETERS, .values = values};
    struct err err;

    pg_inspect_parameters(&s->inspect, values);
    s->pooled = why == NULL && session_pooled(res, pg_conn_backend_pid(s->conn));
    if (s->pooled && session_check(res, &err) != 0)
        why = &err;
    if (why != NULL)
        pg_conn_lose(s->conn, why);
    else
        pg_conn_query(s->conn, pg_inspect_sql(), &params, 0, inspected, s);
}

static void conn_up(void *arg)
{
    struct table_source *s = arg;

    buf_reset(&s->sql);
    session_sql(&s->sql, pg_conn_backend_pid(s->conn), lock_timeout_ms);
    pg_conn_query(s->conn, buf_cstr(&s->sql), NULL, 0, session_set, s);
}

static void conn_lost(void *arg, bool was_up, const struct err *why)
{
    struct table_source *s = arg;
    bool up = s->up;

    (void)was_up;
    s->up = false;
    s->prepare = PREPARE_OFF;
    s->callbacks.on_lost(s->arg, up, why);
}

static void conn_notify(void *arg, const char *channel, const char *payload)
{
    struct table_source *s = arg;

    if (s->up && strcmp(channel, s->facts.channel) == 0)
        s->callbacks.on_notify(s->arg, payload);
}

static void fail(struct table_source *s, const struct err *why)
{
    s->failed = true;
    s->discard = true;
    s->why = *why;
}

/* One more row of the page, unless what came before it ended it. */
static void take(struct table_source *s, const struct page_row *row)
{
    struct err err;

    switch (row->kind) {
    case PAGE_ROW_HEADER:
        if (s->callbacks.on_header(s->arg, &row->snapshot, row->has_max, row->max_seq, &err) != 0)
            fail(s, &err);
        break;
    case PAGE_ROW_EVENT:
        s->rows++;
        s->discard = !s->callbacks.on_row(s->arg, &row->event);
        break;
    case PAGE_ROW_END:
        break;
    }
}

static void waste(struct table_source *s, size_t len)
{
    s->rows++;
    s->wasted += len;
    if (s->wasted > waste_max)
        pg_conn_cancel(s->conn);
}

static void copy_message(void *arg, const char *data, size_t len)
{
    struct table_source *s = arg;
    struct page_row row;
    struct err err;
    bool first = s->first;

    s->first = false;
    if (s->discard)
        waste(s, len);
    else if (page_row_of_copy(&row, data, len, first, &err) != 0)
        fail(s, &err);
    else
        take(s, &row);
}

static void result_row(void *arg, const PGresult *res)
{
    struct table_source *s = arg;
    struct page_row row;
    struct err err;

    if (s->discard)
        waste(s, PQresultMemorySize(res));
    else if (page_row_of_result(&row, res, &err) != 0)
        fail(s, &err);
    else
        take(s, &row);
}

static void page_done(void *arg, const PGresult *res, const struct err *why)
{
    struct table_source *s = arg;

    if (why == NULL && s->failed)
        why = &s->why;
    /* Our own cancel of a page that was cut is no failure. */
    if (why != NULL && s->discard && !s->failed && pg_error_is(res, PG_QUERY_CANCELED))
        why = NULL;
    if (why != NULL) /* the statement may be what is wrong: a column was changed, say */
        s->prepare = PREPARE_OFF;
    s->callbacks.on_read_end(s->arg, s->rows, why == NULL, why);
}

static void read_prepared(struct table_source *s)
{
    const char *values[READ_SQL_PARAMETERS];
    const char *text;

    buf_reset(&s->sql);
    read_sql_parameters(&s->sql, &s->request);
    text = buf_cstr(&s->sql);
    if (text == NULL) {
        pg_conn_query(s->conn, NULL, NULL, 0, page_done, s); /* loses it */
        return;
    }
    for (int i = 0; i < READ_SQL_PARAMETERS; i++) {
        values[i] = text;
        text += strlen(text) + 1;
    }
    pg_conn_execute(s->conn, statement, READ_SQL_PARAMETERS, values, result_row, page_done, s);
}

static void read_page(void *arg);

static void prepared(void *arg, const PGresult *res, const struct err *why)
{
    struct table_source *s = arg;

    (void)res;
    s->prepare = why == NULL ? PREPARE_DONE : PREPARE_OFF;
    read_page(s);
}

static void plans_kept(void *arg, const PGresult *res, const struct err *why)
{
    struct table_source *s = arg;

    if (why != NULL) {
        prepared(s, res, why);
        return;
    }
    buf_reset(&s->sql);
    read_sql_prepare(&s->sql, statement, &s->facts);
    pg_conn_query(s->conn, buf_cstr(&s->sql), NULL, 0, prepared, s);
}

static void read_page(void *arg)
{
    struct table_source *s = arg;

    if (s->prepare == PREPARE_DONE && read_sql_prepared(&s->request)) {
        read_prepared(s);
    } else if (s->prepare == PREPARE_WANTED && read_sql_prepared(&s->request)) {
        pg_conn_query(s->conn, "SET plan_cache_mode = force_generic_plan", NULL, 0, plans_kept, s);
    } else {
        buf_reset(&s->sql);
        if (s->pooled) {
            session_transaction_sql(&s->sql, lock_timeout_ms);
            buf_printf(&s->sql, "; ");
        }
        read_sql(&s->sql, &s->request, &s->facts, s->topic_sql);
        pg_conn_copy(s->conn, buf_cstr(&s->sql), copy_message, page_done, s);
    }
}

void table_source_prepare(struct table_source *s)
{
    /* Another session's statement of that name would read another table. */
    if (s->up && !s->facts.pooled && s->prepare == PREPARE_OFF)
        s->prepare = PREPARE_WANTED;
}

void table_source_read(struct table_source *s, const struct read_request *request)
{
    s->request = *request;
    s->first = true;
    s->discard = false;
    s->failed = false;
    s->rows = 0;
    s->wasted = 0;
    pg_conn_when_free(s->conn, read_page, s);
}

int table_source_open(struct table_source **ret, uv_loop_t *loop,
                      const struct table_source_options *options,
                      const struct table_source_callbacks *callbacks, void *arg, struct err *err)
{
    static const struct pg_conn_callbacks on = {conn_up, conn_lost, conn_notify};
    struct pg_conn_options conn = {
        .uri = options->uri,
        .name = "read",
        .ping_interval_ms = 5000,
        .timeout_ms = options->timeout_ms,
        .seed = options->seed,
    };
    struct table_source *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL || (s->table = strdup(options->table)) == NULL) {
        free(s);
        return err_set(err, ERR_NOMEM, "out of memory for the table source");
    }
    s->listen = options->listen;
    s->inspect = (struct pg_inspect_options){.table = s->table,
                                             .columns = options->columns,
                                             .mark = options->mark,
                                             .parks = options->parks,
                                             .buries = options->buries,
                                             .copies = options->copies,
                                             .named = options->named};
    s->topic_sql = options->topic_sql;
    s->callbacks = *callbacks;
    s->arg = arg;
    rc = pg_conn_open(&s->conn, loop, &conn, &on, s, err);
    if (rc != 0) {
        free(s->table);
        free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void table_source_lose(struct table_source *s, const struct err *why)
{
    pg_conn_lose(s->conn, why);
}

const char *table_source_where(const struct table_source *s)
{
    return pg_conn_where(s->conn);
}

static void conn_closed(void *arg)
{
    struct table_source *s = arg;

    s->on_closed(s->closed_arg);
    buf_free(&s->sql);
    free(s->table);
    free(s);
}

void table_source_close(struct table_source *s, void (*on_closed)(void *arg), void *arg)
{
    if (s == NULL) {
        on_closed(arg);
        return;
    }
    s->on_closed = on_closed;
    s->closed_arg = arg;
    pg_conn_close(s->conn, conn_closed, s);
}
