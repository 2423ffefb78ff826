#include "postgres/owner.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A standby asks so often; a clean stop tells it by a notification, so this bounds the take-over
 * after a crash. */
static const int64_t standby_ms = 1000;

struct owner {
    struct pg_conn *conn;
    const struct pg_facts *facts;
    uv_timer_t timer;
    int shard;
    char me[40];
    char name[128];
    struct lease lease;
    bool had;       /* held it before, under lease.epoch */
    bool again;     /* ask once more when the answer is there */
    bool failing;   /* the last answer was an error */
    int64_t ask_at; /* not before: on standby, or after an error */
    struct owner_view view;
    struct owner_callbacks callbacks;
    void *arg;
    bool releasing;
    void (*released)(void *arg);
    void *released_arg;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void schedule(struct owner *o);

static void disowned(struct owner *o, const char *why)
{
    if (!o->lease.held)
        return;
    lease_drop(&o->lease);
    o->view.held = false;
    o->callbacks.on_disowned(o->arg, why);
}

/* The row's answer: our epoch when granted, then the row as it was. */
static void granted(struct owner *o, uint64_t epoch)
{
    bool held = o->lease.held;
    bool same = o->had && epoch == o->lease.epoch;

    lease_granted(&o->lease, epoch);
    o->had = true;
    o->view.held = true;
    o->view.epoch = epoch;
    (void)snprintf(o->view.name, sizeof o->view.name, "%s", o->name);
    o->view.expires_in_ms = o->lease.ttl_ms;
    if (!held)
        o->callbacks.on_owned(o->arg, epoch, same);
    else if (!same)
        o->callbacks.on_truncated(o->arg, epoch);
}

static void refused(struct owner *o, const PGresult *res)
{
    lease_refused(&o->lease);
    o->had = false; /* somebody has been there: nothing of ours continues */
    o->view.epoch = strtoull(PQgetvalue(res, 0, 1), NULL, 10);
    (void)snprintf(o->view.name, sizeof o->view.name, "%s", PQgetvalue(res, 0, 2));
    o->view.expires_in_ms = strtoll(PQgetvalue(res, 0, 3), NULL, 10);
    o->ask_at = clock_boot_ms() + (o->view.expires_in_ms > 0 && o->view.expires_in_ms < standby_ms
                                       ? o->view.expires_in_ms + 10
                                       : standby_ms);
    disowned(o, "another relay holds the lease");
}

static void answered(void *arg, const PGresult *res, const struct err *why)
{
    struct owner *o = arg;
    struct err err;

    if (why == NULL && PQntuples(res) != 1) {
        (void)err_set(
            &err, ERR_CONFIG,
            "the lease table %s has no row for shard %d: INSERT INTO %s (shard) VALUES (%d)",
            o->facts->lease, o->shard, o->facts->lease, o->shard);
        why = &err;
    }
    if (why != NULL) {
        lease_refused(&o->lease);
        o->ask_at =
            clock_boot_ms() + (o->lease.ttl_ms / 8 < standby_ms ? o->lease.ttl_ms / 8 : standby_ms);
        o->failing = true;
        o->callbacks.on_error(o->arg, why);
    } else {
        o->view.seen = true;
        if (o->failing)
            o->callbacks.on_error(o->arg, NULL);
        o->failing = false;
        if (!PQgetisnull(res, 0, 0))
            granted(o, strtoull(PQgetvalue(res, 0, 0), NULL, 10));
        else
            refused(o, res);
    }
    if (o->again && o->conn != NULL) {
        o->again = false;
        owner_check(o);
    }
    schedule(o);
}

static void ask(struct owner *o)
{
    char shard[16];
    char ttl[24];
    const char *values[] = {shard, o->me, o->name, ttl};
    struct pg_params params = {.n = 4, .values = values};
    struct buf sql = {0};

    (void)snprintf(shard, sizeof shard, "%d", o->shard);
    (void)snprintf(ttl, sizeof ttl, "%" PRId64, o->lease.ttl_ms);
    buf_printf(
        &sql,
        "WITH u AS (UPDATE %s SET epoch = epoch + CASE WHEN owner = $2::uuid THEN 0 ELSE 1 END,"
        " owner = $2::uuid, owner_name = $3, renewed_at = pg_catalog.clock_timestamp(),"
        " ttl_ms = $4::integer WHERE shard = $1::integer AND (owner IS NULL OR owner = $2::uuid"
        " OR renewed_at + ttl_ms * interval '1 ms' < pg_catalog.clock_timestamp())"
        " RETURNING epoch) SELECT u.epoch, l.epoch, coalesce(l.owner_name, ''),"
        " coalesce((extract(epoch FROM l.renewed_at - pg_catalog.clock_timestamp()) * 1000)"
        "::bigint + l.ttl_ms, 0) FROM %s l LEFT JOIN u ON true WHERE l.shard = $1::integer",
        o->facts->lease, o->facts->lease);
    lease_sent(&o->lease, clock_boot_ms());
    pg_conn_query(o->conn, buf_cstr(&sql), &params, 0, answered, o);
    buf_free(&sql);
}

void owner_expire(struct owner *o, int64_t now)
{
    if (!o->lease.held || now < lease_deadline(&o->lease))
        return;
    o->view.seen = false; /* whose it is from now on only the next answer tells */
    disowned(o, "the lease could not be renewed in time");
}

static int64_t ask_again_at(const struct owner *o)
{
    int64_t renew_at = o->lease.held ? lease_renew_at(&o->lease) : INT64_MIN;

    return renew_at > o->ask_at ? renew_at : o->ask_at;
}

static void on_timer(uv_timer_t *timer)
{
    struct owner *o = timer->data;
    int64_t now = clock_boot_ms();

    owner_expire(o, now);
    if (o->conn != NULL && !o->releasing && !lease_pending(&o->lease) && now >= ask_again_at(o))
        ask(o);
    schedule(o);
}

static void schedule(struct owner *o)
{
    int64_t now = clock_boot_ms();
    int64_t at = INT64_MAX;

    if (o->conn != NULL && !o->releasing && !lease_pending(&o->lease))
        at = ask_again_at(o);
    if (o->lease.held && lease_deadline(&o->lease) < at)
        at = lease_deadline(&o->lease);
    if (at == INT64_MAX || uv_is_closing((uv_handle_t *)&o->timer))
        return;
    uv_timer_start(&o->timer, on_timer, at > now ? (uint64_t)(at - now) : 0, 0);
}

int owner_open(struct owner **ret, uv_loop_t *loop, int shard, const char *me, const char *name,
               int64_t ttl_ms, const struct owner_callbacks *callbacks, void *arg, struct err *err)
{
    struct owner *o = calloc(1, sizeof *o);

    if (o == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    o->shard = shard;
    o->view.shard = shard;
    (void)snprintf(o->me, sizeof o->me, "%s", me);
    (void)snprintf(o->name, sizeof o->name, "%s", name);
    o->lease = lease_of(ttl_ms);
    o->callbacks = *callbacks;
    o->arg = arg;
    uv_timer_init(loop, &o->timer);
    o->timer.data = o;
    *ret = o;
    return 0;
}

static void finish_release(struct owner *o)
{
    void (*done)(void *arg) = o->released;

    o->released = NULL;
    if (done != NULL)
        done(o->released_arg);
}

void owner_connect(struct owner *o, struct pg_conn *conn, const struct pg_facts *facts)
{
    o->conn = conn;
    o->facts = facts;
    lease_refused(&o->lease); /* what was asked on an older connection is not answered any more */
    o->again = false;
    if (conn == NULL) {
        finish_release(o);
        schedule(o);
        return;
    }
    o->ask_at = clock_boot_ms();
    if (!o->releasing)
        ask(o);
    schedule(o);
}

void owner_check(struct owner *o)
{
    if (o->conn == NULL || o->releasing)
        return;
    if (lease_pending(&o->lease))
        o->again = true;
    else
        ask(o);
}

static void release_answered(void *arg, const PGresult *res, const struct err *why)
{
    (void)res;
    (void)why; /* not given back, it runs out */
    finish_release(arg);
}

void owner_release(struct owner *o, void (*done)(void *arg), void *arg)
{
    char shard[16];
    const char *values[] = {shard, o->me, NULL};
    struct pg_params params = {.n = 3, .values = values};
    struct buf sql = {0};

    o->releasing = true;
    o->released = done;
    o->released_arg = arg;
    if (o->conn == NULL || !o->had) {
        finish_release(o);
        return;
    }
    lease_drop(&o->lease);
    o->view.held = false;
    values[2] = o->facts->channel;
    (void)snprintf(shard, sizeof shard, "%d", o->shard);
    buf_printf(&sql,
               "WITH u AS (UPDATE %s SET owner = NULL, owner_name = NULL, renewed_at = NULL"
               " WHERE shard = $1::integer AND owner = $2::uuid RETURNING 1)"
               " SELECT pg_catalog.pg_notify($3, 'lease') FROM u",
               o->facts->lease);
    if (buf_cstr(&sql) != NULL)
        pg_conn_query(o->conn, buf_cstr(&sql), &params, 2000, release_answered, o);
    else
        finish_release(o);
    buf_free(&sql);
}

void owner_view(const struct owner *o, struct owner_view *ret)
{
    *ret = o->view;
    ret->held = o->lease.held;
    if (o->lease.held)
        ret->expires_in_ms = o->lease.renewed_at + o->lease.ttl_ms - clock_boot_ms();
}

static void timer_closed(uv_handle_t *handle)
{
    struct owner *o = handle->data;

    if (o->on_closed != NULL)
        o->on_closed(o->closed_arg);
    free(o);
}

void owner_close(struct owner *o, void (*on_closed)(void *arg), void *arg)
{
    if (o == NULL) {
        on_closed(arg);
        return;
    }
    o->on_closed = on_closed;
    o->closed_arg = arg;
    uv_close((uv_handle_t *)&o->timer, timer_closed);
}
