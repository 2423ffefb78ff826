/* Composition: makes the parts, carries out what the pipeline decides, ends them in order. */
#include "relay_state.h"

#include "base/clock.h"
#include "ops/notify.h"
#include "ops/versions.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static const int64_t tick_ms = 1000;
static const int lookup_timeout_ms = 5000;
/* How long a dead producer's last reports are waited for. */
static const int rebuild_timeout_ms = 5000;
/* What the end may take once nothing is drained any more, as the service manager is told. */
static const int64_t close_timeout_ms = 15000;

/* ---- carrying out ---- */

static void close_relay(struct relay *r);

static void end(struct relay *r)
{
    struct pipeline_view view;

    pipeline_view(r->pipeline, &view);
    if (pipeline_stopping(r->pipeline) == STOP_HALT) {
        relay_log_culprit(r);
        r->exit_code = err_exit_code(ERR_ROW);
    } else if (view.inflight_events > 0 && view.owned) {
        log_warn(
            r->log, "relay",
            "the drain's time is over with %u events in flight; they stay in the table and are "
            "published at the next start, some perhaps again",
            view.inflight_events);
    }
    close_relay(r);
}

static void lookup(struct relay *r, int64_t now, uint32_t topic)
{
    struct err err;

    if (sink_lookup(r->sink, topic, lookup_timeout_ms, &err) != 0)
        pipeline_topic(r->pipeline, now, topic, TOPIC_NO_ANSWER);
}

static void acknowledge(struct relay *r, int64_t now, const struct ledger_batch *batch,
                        uint64_t position)
{
    struct owner_view view;
    struct err err;

    owner_view(r->owner, &view);
    if (acknowledger_send(r->acknowledger, control_conn(r->control), &r->facts, view.shard,
                          view.epoch, batch, position, &err) != 0)
        (void)pipeline_acked(r->pipeline, now, batch->number, ACK_FAILED);
}

static void make_stream(struct relay *r, uint64_t done)
{
    struct owner_view view;

    owner_view(r->owner, &view);
    wal_source_make(r->wal, &r->facts, view.epoch, done);
}

/* Returns false when there is nothing more to do. */
static bool carry_out(struct relay *r, int64_t now)
{
    struct action action;

    pipeline_next(r->pipeline, now, &action);
    switch (action.kind) {
    case ACTION_NONE:
        return false;
    case ACTION_READ:
        table_source_read(r->source, &action.read);
        break;
    case ACTION_ACK:
        acknowledge(r, now, &action.ack, action.position);
        break;
    case ACTION_LOOKUP:
        lookup(r, now, action.topic);
        break;
    case ACTION_REBUILD:
        sink_rebuild(r->sink, rebuild_timeout_ms);
        break;
    case ACTION_STREAM_MAKE:
        make_stream(r, action.position);
        break;
    case ACTION_STREAM_START:
        wal_source_start(r->wal);
        break;
    case ACTION_STREAM_DROP:
        wal_source_drop(r->wal, false);
        relay_forget_stream(r);
        break;
    case ACTION_LIST:
        relay_failures_look(r);
        break;
    case ACTION_EXIT:
        end(r);
        return false;
    }
    return true;
}

static void on_pump_timer(uv_timer_t *timer)
{
    relay_pump(timer->data, clock_boot_ms());
}

static void arm_pump(struct relay *r, int64_t now)
{
    int64_t at = pipeline_deadline(r->pipeline, now);

    if (at == INT64_MAX)
        uv_timer_stop(&r->pump_timer);
    else
        uv_timer_start(&r->pump_timer, on_pump_timer, at > now ? (uint64_t)(at - now) : 0, 0);
}

void relay_pump(struct relay *r, int64_t now)
{
    bool waits = false;

    if (r->pumping) {
        r->pump_again = true;
        return;
    }
    if (r->closing)
        return;
    r->pumping = true;
    do {
        r->pump_again = false;
        owner_expire(r->owner, now);
        while (carry_out(r, now))
            ;
        if (!r->closing && r->known)
            wakeup_want(r->wakeup, r->facts.lock_key, pipeline_wants_lock(r->pipeline));
        /* Once: what still waits then waits for something that will pump again. */
        if (!r->closing && !waits)
            waits = !relay_wal_flow(r);
    } while (r->pump_again && !r->closing);
    r->pumping = false;
    if (r->closing)
        return;
    uv_update_time(&r->loop);
    arm_pump(r, now);
    relay_tell_ready(r);
}

/* ---- ending ---- */

static void part_closed(void *arg)
{
    struct relay *r = arg;

    r->open--;
}

static void handle_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

static void close_handle(struct relay *r, uv_handle_t *handle)
{
    r->open++;
    uv_close(handle, handle_closed);
}

/* Second: no record goes out any more, so the lease may be given back; then the rest. */
static void close_rest(void *arg)
{
    struct relay *r = arg;

    r->open += 6;
    wal_source_close(r->wal, part_closed, r);
    wakeup_close(r->wakeup, part_closed, r);
    owner_close(r->owner, part_closed, r);
    control_close(r->control, part_closed, r);
    table_source_close(r->source, part_closed, r);
    listener_close(r->listener, part_closed, r);
    close_handle(r, (uv_handle_t *)&r->pump_timer);
    close_handle(r, (uv_handle_t *)&r->tick_timer);
    close_handle(r, (uv_handle_t *)&r->watchdog_timer);
    for (size_t i = 0; i < sizeof r->signals / sizeof *r->signals; i++)
        close_handle(r, (uv_handle_t *)&r->signals[i]);
}

static void sink_closed(void *arg)
{
    struct relay *r = arg;

    r->sink = NULL;
    if (r->owner != NULL)
        owner_release(r->owner, close_rest, r);
    else
        close_rest(r);
}

/* First: the producer, with what it may still hold. */
static void close_relay(struct relay *r)
{
    if (r->closing)
        return;
    r->closing = true;
    notify_stopping(close_timeout_ms);
    r->open++;
    http_close(r->http, part_closed, r);
    r->http = NULL;
    sink_close(r->sink, sink_closed, r);
}

void relay_fail(struct relay *r, int exit_code)
{
    r->exit_code = exit_code;
    close_relay(r);
}

/* ---- signals ---- */

static void on_stop_signal(uv_signal_t *handle, int signum)
{
    struct relay *r = handle->data;
    int64_t now = clock_boot_ms();

    if (r->stopping) {
        log_warn(r->log, "relay", "told to stop a second time: ending at once");
        (void)signal(signum, SIG_DFL);
        (void)raise(signum);
        _exit(128 + signum); /* process 1 of a container: no default action ends that one */
    }
    r->stopping = true;
    log_info(r->log, "relay",
             "told to stop: finishing what is in flight, for at most %" PRId64 " ms",
             r->config->shutdown_timeout_ms);
    notify_stopping(r->config->shutdown_timeout_ms + close_timeout_ms);
    pipeline_stop(r->pipeline, now, now + r->config->shutdown_timeout_ms);
    relay_pump(r, now);
}

static void on_reload_signal(uv_signal_t *handle, int signum)
{
    struct relay *r = handle->data;
    struct config *fresh = NULL;
    struct err err;

    (void)signum;
    if (r->reload(r->reload_arg, &fresh, &err) != 0) {
        log_error(r->log, "relay", "not reloaded, everything stays as it was: %s", err.message);
        return;
    }
    log_set_level(r->log, fresh->log_level);
    log_info(r->log, "relay",
             "reloaded: log.level applies now, any other setting at the next start");
    config_free(fresh);
}

static void on_tick(uv_timer_t *timer)
{
    struct relay *r = timer->data;
    int64_t now = clock_boot_ms();

    if (r->closing)
        return;
    relay_postgres_tick(r, now);
    relay_find_stall(r, now);
    relay_tell_status(r);
    relay_pump(r, now);
}

/* Of its own, until all is closed: a drain is watched too. */
static void on_watchdog_timer(uv_timer_t *timer)
{
    (void)timer;
    notify_watchdog();
}

/* ---- beginning ---- */

/* A random uuid (RFC 4122, version 4) and a name for people. */
static int name_instance(struct relay *r, struct err *err)
{
    unsigned char id[EVENT_ID_LEN];
    char host[64] = "";
    size_t len = sizeof host;

    if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id ||
        getrandom(&r->key_seed, sizeof r->key_seed, 0) != (ssize_t)sizeof r->key_seed)
        return err_set(err, ERR_INTERNAL, "no random numbers from the kernel");
    id[6] = (unsigned char)((id[6] & 0x0f) | 0x40);
    id[8] = (unsigned char)((id[8] & 0x3f) | 0x80);
    event_id_text(id, r->instance);
    if (uv_os_gethostname(host, &len) != 0)
        (void)snprintf(host, sizeof host, "unknown");
    (void)snprintf(r->name, sizeof r->name, "%s/%d", host, (int)uv_os_getpid());
    return 0;
}

static void open_handles(struct relay *r)
{
    static const int signums[] = {SIGTERM, SIGINT, SIGHUP};
    int64_t watchdog_ms = notify_watchdog_interval_ms();

    uv_timer_init(&r->loop, &r->pump_timer);
    uv_timer_init(&r->loop, &r->tick_timer);
    r->pump_timer.data = r;
    r->tick_timer.data = r;
    r->watchdog_timer.data = r;
    uv_timer_init(&r->loop, &r->watchdog_timer);
    uv_timer_start(&r->tick_timer, on_tick, (uint64_t)tick_ms, (uint64_t)tick_ms);
    if (watchdog_ms > 0)
        uv_timer_start(&r->watchdog_timer, on_watchdog_timer, 0, (uint64_t)watchdog_ms);
    for (size_t i = 0; i < sizeof signums / sizeof *signums; i++) {
        uv_signal_init(&r->loop, &r->signals[i]);
        r->signals[i].data = r;
        uv_signal_start(&r->signals[i], signums[i] == SIGHUP ? on_reload_signal : on_stop_signal,
                        signums[i]);
    }
}

static int open_parts(struct relay *r, struct err *err)
{
    struct pipeline_options options = {
        .window_events = (uint32_t)r->config->window_events,
        .window_bytes = (uint64_t)r->config->window_bytes,
        .page_events = 5000,
        .page_bytes = 4 << 20,
        .ack_events = 5000,
        .poll_interval_ms = r->config->source_poll_interval_ms,
        .sweep_interval_ms = 10000,
        .stream_sweep_interval_ms = 60000,
        .named = r->config->source_slot[0] != '\0',
        .parks = true,
        .seed = (uint64_t)clock_wall_ms() ^ (uint64_t)uv_os_getpid(),
    };
    struct format_options format = {r->config->route_topic, r->config->record_type_header,
                                    r->config->columns};
    int rc = format_new(&r->format, &format, err);

    if (rc == 0)
        rc = name_instance(r, err);
    if (rc == 0)
        rc = relay_failures_open(r, err);
    if (rc == 0)
        rc = pipeline_new(&r->pipeline, &options, err);
    if (rc == 0 && r->config->http_listen[0] != '\0')
        rc = http_open(&r->http, &r->loop, r->config->http_listen, &relay_routes, r, err);
    if (rc == 0)
        rc = relay_kafka_open(r, err);
    if (rc == 0)
        rc = relay_postgres_open(r, err);
    return rc;
}

static void log_summary(struct relay *r)
{
    struct log_field fields[] = {
        LOG_F_INT("published", r->counters.published_all),
        LOG_F_INT("acknowledged", r->counters.acknowledged),
        LOG_F_INT("exit_code", r->exit_code),
    };

    log_write(r->log, LOG_INFO, "relay", fields, sizeof fields / sizeof *fields,
              "stopped after %" PRId64 " s: %" PRIu64 " events published, %" PRIu64 " acknowledged",
              (clock_boot_ms() - r->started_at) / 1000, r->counters.published_all,
              r->counters.acknowledged);
}

int relay_run(const struct config *config, struct log *log, relay_reload_fn reload, void *arg)
{
    struct relay *r = calloc(1, sizeof *r);
    struct err err;
    bool opened;
    int exit_code;

    if (r == NULL || uv_loop_init(&r->loop) != 0) {
        log_error(log, "relay", "out of memory");
        free(r);
        return err_exit_code(ERR_NOMEM);
    }
    r->config = config;
    r->log = log;
    r->reload = reload;
    r->reload_arg = arg;
    r->started_at = clock_boot_ms();
    (void)signal(SIGPIPE, SIG_IGN);
    open_handles(r);
    opened = open_parts(r, &err) == 0;
    if (opened) {
        log_info(log, "relay", "outbox-relay %s, librdkafka %s, libpq %s, libuv %s", OUTBOX_VERSION,
                 sink_library_version(), pg_library_version(), version_libuv());
    } else { /* a wrong setting: this one line is all there is to say */
        log_error(log, "relay", "%s", err.message);
        relay_fail(r, err_exit_code(err.class));
    }
    uv_run(&r->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&r->loop) != 0 || r->open != 0) {
        log_error(log, "relay", "a handle was left open: this is a bug");
        r->exit_code = err_exit_code(ERR_INTERNAL);
    }
    if (opened)
        log_summary(r);
    exit_code = r->exit_code;
    acknowledger_free(r->acknowledger);
    retention_free(r->retainer);
    relay_failures_close(r);
    pipeline_free(r->pipeline);
    format_free(r->format);
    free(r->counters.published);
    relay_free_topic_causes(r);
    free(r);
    return exit_code;
}
