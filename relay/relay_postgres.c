/* PostgreSQL's side: what the connections tell goes into the pipeline. */
#include "relay_state.h"

#include "base/clock.h"
#include "ops/failure_topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const int64_t timeout_ms = 10000;
/* A notification that we sent ourselves has to arrive within this time, or there is no NOTIFY. */
static const int64_t probe_timeout_ms = 2000;
static const int64_t gauges_ms = 10000;
static const int shard = 0;

/* ---- joining the connections ---- */

static void probe_failed(struct relay *r, int64_t now)
{
    bool news = r->ladder.works || !r->ladder.known;

    r->probing = false;
    ladder_failed(&r->ladder, now);
    pipeline_set_notify(r->pipeline, now, false);
    if (news && r->facts.notify_off)
        log_warn(r->log, "postgres",
                 "the server allows prepared transactions, which cannot notify, so that writers do "
                 "not. If none of them uses PREPARE TRANSACTION: ALTER DATABASE \"%s\" SET "
                 "outbox_relay.notify = 'on'",
                 r->facts.database);
    else if (news && r->listener == NULL)
        log_warn(r->log, "postgres",
                 "notifications do not arrive (a transaction pooler?). Set postgres.direct_uri to "
                 "the server's own address");
    else if (news && r->listener_up)
        log_warn(r->log, "postgres",
                 "notifications that are sent through postgres.uri do not arrive at "
                 "postgres.direct_uri. Set it to the same database, at the server's own address");
    relay_choose_source(r, now);
}

static bool listens(const struct relay *r)
{
    return r->listener != NULL ? r->listener_up : r->source_up;
}

/* LISTEN counts once a notification has made the way that a writer's makes: from where rows are
 * read to where is listened. With nobody there to hear it, it fails. */
static void send_probe(struct relay *r, int64_t now)
{
    if (!r->source_up || !r->control_up || r->probing)
        return;
    if (r->facts.notify_off) {
        probe_failed(r, now);
        return;
    }
    r->probing = true;
    r->probe_sent_at = now;
    r->probe_reads = 0;
    (void)snprintf(r->probe, sizeof r->probe, "probe %.36s %u", r->instance, ++r->probes);
    if (listens(r))
        control_notify(r->control, r->facts.channel, r->probe);
}

static void probe_arrived(struct relay *r, int64_t now)
{
    bool worked = r->ladder.works;

    r->probing = false;
    r->probe[0] = '\0';
    ladder_proved(&r->ladder, now);
    if (!r->ladder.works)
        return;
    if (r->listener == NULL) /* else it proves nothing of the session that reads */
        table_source_prepare(r->source);
    pipeline_set_notify(r->pipeline, now, true);
    if (!worked)
        relay_choose_source(r, now);
}

/* A session that listens is new: whether notifications reach it is to be seen. */
static void renew_probe(struct relay *r, int64_t now)
{
    r->probing = false;
    ladder_renewed(&r->ladder, now, r->listener != NULL ? r->listener_pooled : r->facts.pooled);
    send_probe(r, now);
}

/* An old primary may still answer one connection while the other has found the new one: an
 * acknowledgement by seq would then delete another event. */
static bool same_server(struct relay *r)
{
    struct err err;

    if (pg_identity_equal(&r->facts.identity, control_identity(r->control)))
        return true;
    (void)err_set(&err, ERR_UNAVAILABLE,
                  "the connections lead to two servers, or to two timelines of one (a fail-over?)");
    table_source_lose(r->source, &err);
    control_lose(r->control, &err);
    return false;
}

/* Both connections stand, so the lease may be asked for. */
static void join(struct relay *r, int64_t now)
{
    if (!r->source_up || !r->control_up || !same_server(r))
        return;
    if (!r->joined)
        owner_connect(r->owner, control_conn(r->control), &r->facts);
    r->joined = true;
    pipeline_ack_up(r->pipeline, now);
    relay_failures_joined(r);
    control_ask_gauges(r->control, &r->facts);
    r->gauged_at = now;
    renew_probe(r, now);
}

/* ---- reading ---- */

/* Rows under the same numbers may be others now: nothing that is pending may touch them. */
static void compare_server(struct relay *r, const struct pg_facts *facts, int64_t now)
{
    bool other_server = !pg_identity_equal(&facts->identity, &r->facts.identity);

    if (!r->known || (!other_server && facts->oid == r->facts.oid))
        return;
    if (!other_server && facts->former == r->facts.oid) {
        log_info(r->log, "postgres", "the table was partitioned; its rows are the same");
        return;
    }
    log_warn(r->log, "postgres",
             "%s than before: what was in flight is dropped and read again, so some events may be "
             "published twice",
             other_server ? "this is another server, or another timeline of it,"
                          : "the table is another one");
    pipeline_rows_gone(r->pipeline, now);
    if (r->config->source_slot[0] == '\0') /* else what was brought is held all the same */
        failures_clear(r->failures);
}

static void on_source_up(void *arg, const struct pg_facts *facts)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();
    bool back;

    if (r->closing)
        return;
    back = relay_recovered(r, SERVER_READ);
    compare_server(r, facts, now);
    r->facts = *facts;
    r->known = true;
    if (!r->ever_up || back)
        log_info(r->log, "postgres", "%s %s at %s as \"%s\", PostgreSQL %d.%d, acknowledging by %s",
                 back ? "reading again" : "reading", facts->table, table_source_where(r->source),
                 facts->user, facts->server_version / 10000, facts->server_version % 10000,
                 r->config->ack_mode == ACK_MARK ? "mark" : "delete");
    r->ever_up = true;
    r->source_up = true;
    r->probing = false;
    pipeline_source_up(r->pipeline, now);
    if (r->listener != NULL)
        listener_follow(r->listener, facts);
    join(r, now);
    relay_pump(r, now);
}

static void on_source_lost(void *arg, bool was_up, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    (void)was_up;
    /* While the producer ends the connection is still tried, and would complain once more. */
    if (r->closing)
        return;
    if (!r->ever_up && (why->class == ERR_CONFIG || why->class == ERR_PERMISSION)) {
        log_error(r->log, "postgres", "%s", why->message);
        relay_fail(r, err_exit_code(why->class));
        return;
    }
    relay_outage(r, SERVER_READ, now, why);
    r->source_up = false;
    r->probing = false;
    pipeline_source_lost(r->pipeline, now);
    relay_pump(r, now);
}

static int on_header(void *arg, const struct slice *snapshot, bool has_max, int64_t max_seq,
                     struct err *err)
{
    struct relay *r = arg;

    return pipeline_read_header(r->pipeline, snapshot, has_max, max_seq, err);
}

static bool on_row(void *arg, const struct event *event)
{
    return relay_put(arg, event, false);
}

static void log_strays(struct relay *r)
{
    struct pipeline_view view;

    pipeline_view(r->pipeline, &view);
    if (view.strays == r->strays)
        return;
    log_warn(r->log, "postgres",
             "the sweep found %" PRIu64
             " rows that carry an old or foreign transaction id (restored "
             "or inserted again), or that the stream is late with; they are published",
             view.strays - r->strays);
    r->strays = view.strays;
}

static void on_read_end(void *arg, uint32_t rows, bool ok, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    if (ok)
        relay_work_done(r, WORK_READ);
    else
        relay_work_failed(r, WORK_READ, now, why);
    pipeline_read_end(r->pipeline, now, rows, ok);
    r->probe_reads++;
    log_strays(r);
    relay_pump(r, now);
}

/* Somebody has made another table of the outbox, under its name: the next inspection tells. */
static void look_again(struct relay *r)
{
    struct err why;

    (void)err_set(&why, ERR_CONFIG, "the table is about to be another one");
    table_source_lose(r->source, &why);
}

static void on_notify(void *arg, const char *payload)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    if (payload[0] == '\0') {
        pipeline_notified(r->pipeline, now);
    } else if (strcmp(payload, "lease") == 0) {
        owner_check(r->owner);
    } else if (strcmp(payload, "table") == 0) {
        look_again(r);
    } else if (strcmp(payload, "parked") == 0) {
        relay_failures_look(r);
    } else if (r->probe[0] != '\0' && strcmp(payload, r->probe) == 0) {
        probe_arrived(r, now); /* also when it is late: that it comes is what counts */
    }
    relay_pump(r, now);
}

/* ---- control ---- */

static void on_control_up(void *arg)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    (void)relay_recovered(r, SERVER_CONTROL);
    r->control_up = true;
    join(r, now);
    relay_pump(r, now);
}

static void on_control_lost(void *arg, bool was_up, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    (void)was_up;
    /* Settings that do not do are those of the reading connection too, which ends it all. */
    if (!r->closing && (r->ever_up || why->class != ERR_CONFIG))
        relay_outage(r, SERVER_CONTROL, now, why);
    r->control_up = false;
    r->joined = false;
    acknowledger_lost(r->acknowledger);
    relay_failures_lost(r);
    retention_lost(r->retainer);
    owner_connect(r->owner, NULL, &r->facts);
    pipeline_ack_lost(r->pipeline, now);
    relay_pump(r, now);
}

static void on_gauges(void *arg, const struct control_gauges *gauges)
{
    struct relay *r = arg;

    if (!r->gauged)
        log_info(r->log, "relay", "%" PRId64 " events wait in %s", gauges->backlog, r->facts.table);
    r->gauged = true;
    r->gauges = *gauges;
}

static void on_acknowledged(void *arg, uint32_t batch, enum acknowledge_result result,
                            const struct slice *snapshot, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();
    enum ack_result answer = result == ACKNOWLEDGE_DONE     ? ACK_DONE
                             : result == ACKNOWLEDGE_FENCED ? ACK_VOID
                                                            : ACK_FAILED;
    struct err err;

    r->counters.acknowledged += result == ACKNOWLEDGE_PARTLY
                                    ? pipeline_acked_partly(r->pipeline, now, batch, snapshot, &err)
                                    : pipeline_acked(r->pipeline, now, batch, answer);
    if (result == ACKNOWLEDGE_FENCED)
        owner_check(r->owner); /* who or what has advanced the epoch? */
    if (result == ACKNOWLEDGE_FAILED)
        relay_work_failed(r, WORK_ACKNOWLEDGE, now, why);
    else
        relay_work_done(r, WORK_ACKNOWLEDGE);
    relay_pump(r, now);
}

/* ---- ownership ---- */

static void on_owned(void *arg, uint64_t epoch, bool continued)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    log_info(r->log, "lease", "%s the outbox, shard %d, epoch %" PRIu64,
             continued ? "owning again" : "owning", shard, epoch);
    pipeline_own(r->pipeline, now, continued);
    relay_failures_owned(r, epoch, continued);
    relay_pump(r, now);
}

static void on_disowned(void *arg, const char *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    log_warn(r->log, "lease", "standing by: %s; what is in flight is given up", why);
    relay_work_done(r, WORK_ACKNOWLEDGE); /* it is the next owner's */
    relay_work_done(r, WORK_FAILURES);
    pipeline_disown(r->pipeline, now);
    relay_failures_disowned(r);
    relay_discard_producer(r);
    relay_pump(r, now);
}

static void on_truncated(void *arg, uint64_t epoch)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    log_warn(r->log, "lease",
             "the table was truncated, epoch %" PRIu64 ": what was in flight has no rows any more",
             epoch);
    pipeline_rows_gone(r->pipeline, now);
    /* What a named slot has brought is held all the same. */
    relay_failures_owned(r, epoch, r->config->source_slot[0] != '\0');
    relay_pump(r, now);
}

static void on_owner_error(void *arg, const struct err *why)
{
    struct relay *r = arg;

    if (why != NULL)
        relay_work_failed(r, WORK_LEASE, clock_boot_ms(), why);
    else
        relay_work_done(r, WORK_LEASE);
}

/* ---- waking ---- */

static void on_granted(void *arg)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    pipeline_lock_granted(r->pipeline, now);
    relay_pump(r, now);
}

static void on_wakeup_lost(void *arg, bool was_up, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    /* The lock's connection is an aid: without it the relay only polls. The others tell of an
     * outage. */
    if (was_up)
        log_debug(r->log, "postgres", "the wake-up lock's connection was lost: %s", why->message);
    pipeline_lock_lost(r->pipeline, now);
    relay_pump(r, now);
}

static void on_listener_up(void *arg, bool pooled)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    if (r->closing)
        return;
    (void)relay_recovered(r, SERVER_LISTEN);
    r->listener_up = true;
    r->listener_pooled = pooled;
    renew_probe(r, now);
    relay_pump(r, now);
}

static void on_listener_lost(void *arg, bool was_up, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    if (r->closing)
        return;
    relay_outage(r, SERVER_LISTEN, now, why);
    r->listener_up = false;
    if (!was_up)
        return;
    /* From here on rows are looked for; back before this probe has failed, it was a blink. */
    pipeline_set_notify(r->pipeline, now, false);
    r->probing = false;
    send_probe(r, now);
    relay_pump(r, now);
}

/* ---- life ---- */

static int open_listener(struct relay *r, uint64_t seed, struct err *err)
{
    static const struct listener_callbacks callbacks = {on_listener_up, on_listener_lost,
                                                        on_notify};

    if (r->config->postgres_direct_uri[0] == '\0')
        return 0;
    return listener_open(&r->listener, &r->loop, r->config->postgres_direct_uri, timeout_ms, seed,
                         &callbacks, r, err);
}

static int open_connections(struct relay *r, uint64_t seed, struct err *err)
{
    static const struct table_source_callbacks source = {on_source_up, on_source_lost, on_header,
                                                         on_row,       on_read_end,    on_notify};
    static const struct control_callbacks control = {on_control_up, on_control_lost, on_gauges};
    static const struct wakeup_callbacks wakeup = {on_granted, on_wakeup_lost};
    const char *uri = r->config->postgres_uri;
    const char *direct =
        r->config->postgres_direct_uri[0] != '\0' ? r->config->postgres_direct_uri : uri;
    struct table_source_options options = {
        .uri = uri,
        .table = r->config->source_table,
        .columns = r->config->columns,
        .mark = r->config->ack_mode == ACK_MARK,
        .parks = failure_policy_used(r->config, POLICY_PARK),
        .buries = failure_policy_used(r->config, POLICY_DEAD_LETTER),
        .copies = r->config->failure_dead_letter_topic[0] != '\0',
        .named = r->config->source_slot[0] != '\0',
        .topic_sql = buf_cstr(&r->topic_sql),
        .listen = direct == uri,
        .timeout_ms = timeout_ms,
        .seed = seed,
    };
    int rc = table_source_open(&r->source, &r->loop, &options, &source, r, err);

    if (rc == 0)
        rc = control_open(&r->control, &r->loop, uri, timeout_ms, r->config->lease_ttl_ms / 4,
                          seed + 1, &control, r, err);
    if (rc == 0)
        rc = wakeup_open(&r->wakeup, &r->loop, direct, timeout_ms, seed + 2, &wakeup, r, err);
    if (rc == 0 && r->config->source_mode != SOURCE_TABLE)
        rc = relay_wal_open(r, direct, seed + 3, err);
    if (rc == 0)
        rc = open_listener(r, seed + 4, err);
    return rc;
}

int relay_postgres_open(struct relay *r, struct err *err)
{
    static const struct owner_callbacks owner = {on_owned, on_disowned, on_truncated,
                                                 on_owner_error};
    uint64_t seed = (uint64_t)clock_wall_ms() ^ (uint64_t)uv_os_getpid() << 32;
    int rc = pg_conn_check_uri(r->config->postgres_uri, "postgres.uri", err);

    if (rc == 0)
        rc = pg_conn_check_uri(r->config->postgres_direct_uri, "postgres.direct_uri", err);
    if (rc == 0)
        rc = acknowledger_new(&r->acknowledger, r->config->ack_mode == ACK_MARK, on_acknowledged, r,
                              err);
    if (rc == 0)
        rc = relay_retention_open(r, err);
    if (rc == 0)
        rc = owner_open(&r->owner, &r->loop, shard, r->instance, r->name, r->config->lease_ttl_ms,
                        &owner, r, err);
    if (rc == 0)
        rc = open_connections(r, seed, err);
    return rc;
}

void relay_postgres_tick(struct relay *r, int64_t now)
{
    /* Notifications come between statements: a long page may hold one up. */
    if (r->probing && now - r->probe_sent_at >= probe_timeout_ms &&
        (!listens(r) || r->probe_reads >= 2 || now - r->probe_sent_at >= timeout_ms))
        probe_failed(r, now);
    if (!r->probing && now >= r->ladder.probe_at)
        send_probe(r, now);
    relay_wal_tick(r, now);
    if (r->source_up && r->control_up && now - r->gauged_at >= gauges_ms) {
        r->gauged_at = now;
        control_ask_gauges(r->control, &r->facts);
        relay_failures_look(r); /* somebody may have taken a parked row away by hand */
    }
    relay_failures_tick(r);
    relay_retention_tick(r, now);
}
