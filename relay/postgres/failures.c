#include "postgres/failures_impl.h"

#include <stdlib.h>
#include <string.h>

int failures_new(struct failures **ret, const struct columns *columns, const char *topic_sql,
                 const char *copy_topic, const struct failures_callbacks *callbacks, void *arg,
                 struct err *err)
{
    struct failures *f = calloc(1, sizeof *f);

    if (f == NULL || (f->topic_sql = strdup(topic_sql)) == NULL ||
        (f->copy_topic = strdup(copy_topic)) == NULL) {
        failures_free(f);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    f->columns = columns;
    f->callbacks = *callbacks;
    f->arg = arg;
    f->last = &f->first;
    *ret = f;
    return 0;
}

static void free_one(struct failure *one)
{
    buf_free(&one->content);
    free(one);
}

void failures_clear(struct failures *f)
{
    while (f->first != NULL) {
        struct failure *next = f->first->next;

        free_one(f->first);
        f->first = next;
    }
    f->last = &f->first;
    f->n = 0;
}

void failures_free(struct failures *f)
{
    if (f == NULL)
        return;
    failures_clear(f);
    free(f->topic_sql);
    free(f->copy_topic);
    free(f);
}

uint32_t failures_pending(const struct failures *f)
{
    return f->n;
}

static int nomem(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory for an event that cannot be published");
}

int failures_add(struct failures *f, const struct failure_request *r, struct err *err)
{
    size_t len = strlen(r->error);
    struct failure *one = malloc(sizeof *one + len + 1);

    if (one == NULL)
        return nomem(err);
    *one = (struct failure){
        .tag = r->tag, .kind = r->kind, .seq = r->seq, .class = r->class, .to_come = r->to_come};
    event_id_text(r->id, one->id);
    memcpy(one->error, r->error, len + 1);
    if (r->event != NULL)
        failure_set_content(one, f->columns, r->event, r->routed, r->lsn);
    if (one->content.failed) {
        free_one(one);
        return nomem(err);
    }
    *f->last = one;
    f->last = &one->next;
    f->n++;
    failures_send(f);
    return 0;
}

int failures_give(struct failures *f, uint64_t tag, const struct event *event, struct slice routed,
                  uint64_t lsn, struct err *err)
{
    struct failure *one = f->first;

    while (one != NULL && one->tag != tag)
        one = one->next;
    if (one == NULL)
        return 0;
    failure_set_content(one, f->columns, event, routed, lsn);
    if (one->content.failed)
        return nomem(err);
    one->to_come = false;
    failures_send(f);
    return 0;
}

/* Whose answer has come; NULL for one that was cleared meanwhile. */
static struct failure **take_answered(struct failures *f)
{
    uint64_t tag = f->tags[f->oldest];
    struct failure **at = &f->first;

    f->oldest = (f->oldest + 1) % FAILURE_SENT_MAX;
    f->sent--;
    while (*at != NULL && (*at)->tag != tag)
        at = &(*at)->next;
    return at;
}

/* Its statement has been carried out. Returns its tag. */
static uint64_t take_out(struct failures *f, struct failure **at)
{
    struct failure *one = *at;
    uint64_t tag = one->tag;

    *at = one->next;
    if (f->last == &one->next)
        f->last = at;
    f->n--;
    free_one(one);
    return tag;
}

static void answered(void *arg, const PGresult *res, const struct err *why)
{
    struct failures *f = arg;
    struct failure **at = take_answered(f);
    uint32_t n = f->batch > 0 ? f->batch : 1;
    uint64_t tags[FAILURE_BATCH];
    uint32_t done = 0;
    struct err fenced;
    bool gone;

    f->batch = 0;
    if (*at == NULL)
        return;
    if (why == NULL && strcmp(PQgetvalue(res, 0, 0), "1") != 0) {
        (void)err_set(&fenced, ERR_FENCED, "the outbox has another owner");
        why = &fenced;
    }
    gone = why == NULL && strcmp(PQgetvalue(res, 0, 1), "0") == 0;
    for (uint32_t i = 0; i < n && *at != NULL; i++) {
        if (why == NULL) {
            tags[done++] = take_out(f, at);
        } else {
            (*at)->sent = false;
            at = &(*at)->next;
        }
    }
    for (uint32_t i = 0; i < done; i++)
        f->callbacks.on_recorded(f->arg, tags[i], gone);
    if (why == NULL)
        failures_send(f);
    else
        f->callbacks.on_error(f->arg, why);
}

static void send_some(struct failures *f, struct failure *first, uint32_t n)
{
    struct failure_statement s = {0};
    uint32_t left = n;

    failure_statement(&s, f, first, n);
    for (struct failure *one = first; left > 0; one = one->next, left--)
        one->sent = true;
    f->tags[(f->oldest + f->sent++) % FAILURE_SENT_MAX] = first->tag;
    pg_conn_query(f->conn, buf_cstr(&s.sql), &s.params, 0, answered, f);
    buf_free(&s.sql);
}

/* How many from this one on go into one statement: all of them are to be kept in the same way. */
static uint32_t batch_of(const struct failure *one)
{
    uint32_t n = 1;
    size_t bytes = one->content.len;

    while (one->kind == FAILURE_WHOLE_PARKED && one->content.len > 0 && n < FAILURE_BATCH &&
           one->next != NULL && one->next->kind == FAILURE_WHOLE_PARKED &&
           one->next->content.len > 0 && bytes + one->next->content.len <= FAILURE_BATCH_BYTES) {
        one = one->next;
        bytes += one->content.len;
        n++;
    }
    return n;
}

/*
 * What stays in the outbox as a row has its order there, and its statements overlap. What is kept
 * whole has it from here alone: one statement at a time, so that none overtakes one that fails.
 */
void failures_send(struct failures *f)
{
    if (f->conn == NULL)
        return;
    for (struct failure *one = f->first; one != NULL && f->sent < FAILURE_SENT_MAX;
         one = one->next) {
        bool whole = one->kind != FAILURE_ROW_PARKED && one->kind != FAILURE_ROW_DEAD;

        if (one->sent || one->to_come)
            continue;
        if (f->batch > 0 || (whole && f->sent > 0))
            return;
        f->batch = whole ? batch_of(one) : 0;
        send_some(f, one, whole ? f->batch : 1);
    }
}

void failures_pause(struct failures *f)
{
    f->conn = NULL;
}

void failures_connect(struct failures *f, struct pg_conn *conn, const struct pg_facts *facts,
                      int shard, uint64_t epoch)
{
    f->conn = conn;
    f->facts = facts;
    f->shard = shard;
    f->epoch = epoch;
    if (conn == NULL) { /* nothing of it is answered any more */
        f->sent = f->batch = 0;
        f->listing = f->list_again = false;
        for (struct failure *one = f->first; one != NULL; one = one->next)
            one->sent = false;
    } else {
        failures_send(f);
    }
}

/* ---- the list ---- */

static void listed(void *arg, const PGresult *res, const struct err *why)
{
    struct failures *f = arg;

    f->listing = false;
    if (why != NULL) {
        f->callbacks.on_error(f->arg, why);
    } else {
        f->callbacks.on_list_begin(f->arg);
        for (int i = 0; i < PQntuples(res); i++)
            f->callbacks.on_list_key(f->arg,
                                     (struct slice){(const unsigned char *)PQgetvalue(res, i, 0),
                                                    (size_t)PQgetlength(res, i, 0)},
                                     (struct slice){(const unsigned char *)PQgetvalue(res, i, 1),
                                                    (size_t)PQgetlength(res, i, 1)},
                                     PQgetvalue(res, i, 2)[0] == 't');
        f->callbacks.on_list_end(f->arg);
    }
    if (f->list_again) {
        f->list_again = false;
        failures_list(f);
    }
}

void failures_list(struct failures *f)
{
    struct buf sql = {0};

    if (f->conn == NULL)
        return;
    if (f->listing) {
        f->list_again = true;
        return;
    }
    failure_list_sql(&sql, f->facts);
    f->listing = true;
    pg_conn_query(f->conn, buf_cstr(&sql), NULL, 0, listed, f);
    buf_free(&sql);
}
