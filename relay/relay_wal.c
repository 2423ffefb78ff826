/* The stream's side: how events are found, and what the wal source tells. */
#include "relay_state.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const int64_t timeout_ms = 10000;
static const int64_t gauges_ms = 2000;
/*
 * So far behind, the table is read instead, and another slot made at its end. Measured with one-row
 * transactions of 550 bytes of log, all servers on 2 cores: 100,000 of them (55 MiB) take 0.7 s
 * streamed and 1.4 s by way of the table, 300,000 (166 MiB) 3.3 s and 2.2 s.
 */
static const int64_t crossing_bytes = INT64_C(100) << 20;

/* It stays, and nothing else brings its events. */
static bool named(const struct relay *r)
{
    return r->config->source_slot[0] != '\0';
}

void relay_lsn_text(uint64_t lsn, char ret_text[24])
{
    (void)snprintf(ret_text, 24, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
}

/* ---- choosing ---- */

const char *relay_mode(const struct relay *r)
{
    struct pipeline_view view;

    pipeline_view(r->pipeline, &view);
    return view.streaming ? "wal" : r->ladder.works ? "notify" : "interval";
}

void relay_choose_source(struct relay *r, int64_t now)
{
    bool wanted = named(r) || r->config->source_mode == SOURCE_WAL ||
                  (r->config->source_mode == SOURCE_AUTO && r->ladder.known && !r->ladder.works);

    if (r->wal != NULL)
        pipeline_set_streaming(r->pipeline, now, wanted);
}

/* Each step is one line. */
static void log_mode(struct relay *r)
{
    const char *mode = relay_mode(r);

    if (mode == r->mode || !r->ladder.known || !r->source_up)
        return;
    r->mode = mode;
    if (strcmp(mode, "wal") == 0)
        log_info(r->log, "relay", "events come by logical decoding, as they commit");
    else if (strcmp(mode, "notify") == 0)
        log_info(r->log, "relay", "the table is read, woken by NOTIFY");
    else
        log_info(r->log, "relay", "the table is read every %" PRId64 " ms",
                 r->config->source_poll_interval_ms);
}

/* ---- what the wal source tells ---- */

/* Each cause is said once, until there was a slot again. */
static void say_why(struct relay *r, const struct err *why)
{
    char text[sizeof r->wal_why];

    (void)snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1, why->message);
    if (strcmp(text, r->wal_why) == 0)
        return;
    (void)snprintf(r->wal_why, sizeof r->wal_why, "%s", text);
    log_warn(r->log, "postgres", "logical decoding: %s. Events %s meanwhile; tried again",
             why->message, named(r) ? "wait in the slot" : "are read from the table");
}

static void log_named(struct relay *r, const struct wal_start *start)
{
    char at[24];

    relay_lsn_text(start->lsn, at);
    log_info(r->log, "postgres", "slot \"%s\" is read from %s%s", r->config->source_slot, at,
             start->table ? ", behind what the table had before" : "");
    if (r->facts.server_version < 140000)
        log_warn(r->log, "postgres",
                 "PostgreSQL %d does not stream logical messages (14 and later do): events are "
                 "rows of the table alone",
                 r->facts.server_version / 10000);
}

static void on_made(void *arg, const struct wal_start *start)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();
    struct err err;

    if (named(r))
        log_named(r, start);
    r->wal_ever = true;
    r->wal_why[0] = '\0';
    r->wal_commit = 0;
    if (pipeline_stream_made(r->pipeline, now, &start->snapshot, start->lsn, start->table, &err) !=
        0) {
        wal_source_drop(r->wal, false);
        say_why(r, &err);
        pipeline_stream_lost(r->pipeline, now);
    }
    relay_pump(r, now);
}

static void on_lost(void *arg, const struct err *why)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();

    if (r->closing)
        return;
    r->wal_retained = 0;
    relay_forget_stream(r);
    /* Asked for and impossible, at the start, is a wrong setting; of a named slot at any time,
     * since its events come by no other way. */
    if ((named(r) || (r->config->source_mode == SOURCE_WAL && !r->wal_ever)) &&
        (why->class == ERR_CONFIG || why->class == ERR_PERMISSION)) {
        log_error(r->log, "postgres", "%s: %s", named(r) ? "source.slot" : "source.mode wal",
                  why->message);
        relay_fail(r, err_exit_code(why->class));
        return;
    }
    say_why(r, why);
    pipeline_stream_lost(r->pipeline, now);
    relay_pump(r, now);
}

static void on_begin(void *arg, uint32_t xid, uint64_t commit)
{
    struct relay *r = arg;

    r->wal_commit = commit;
    pipeline_stream_begin(r->pipeline, xid);
}

static bool on_row(void *arg, const struct event *event)
{
    return relay_put(arg, event, true);
}

static bool on_message(void *arg, uint64_t lsn, const struct event *event, const struct err *why)
{
    return relay_put_message(arg, lsn, event, why);
}

static void on_odd_message(void *arg, uint64_t lsn)
{
    struct relay *r = arg;
    char at[24];

    relay_lsn_text(lsn, at);
    log_warn(r->log, "postgres",
             "the logical message at %s has the prefix \"%s\" and is part of no transaction, so it "
             "is no event: pg_logical_emit_message(true, ...)",
             at, r->config->source_message_prefix);
}

static void on_end(void *arg, uint64_t lsn)
{
    struct relay *r = arg;

    pipeline_stream_end(r->pipeline, lsn);
}

static void on_idle(void *arg, uint64_t lsn)
{
    struct relay *r = arg;

    pipeline_stream_idle(r->pipeline, lsn);
    wal_source_confirm(r->wal, pipeline_checkpoint(r->pipeline));
}

/* Given up by us; blocked: for a transaction that would block the next one too. */
static void give_up(struct relay *r, int64_t now, bool blocked)
{
    wal_source_drop(r->wal, blocked);
    r->wal_retained = 0;
    pipeline_stream_lost(r->pipeline, now);
    relay_pump(r, now);
}

/* A named slot is never given up: the warning comes again with every further half of the budget. */
static void watch_budget(struct relay *r)
{
    int64_t budget = r->config->source_wal_budget;
    int64_t step = r->wal_retained <= budget ? 0 : 1 + (r->wal_retained - budget) / (budget / 2);

    if (step > r->wal_over)
        log_warn(r->log, "postgres",
                 "slot \"%s\" holds back %" PRId64 " MiB of WAL, over source.wal_budget (%" PRId64
                 " MiB): the disk fills up unless its events are published. It stays; see status",
                 r->config->source_slot, r->wal_retained >> 20, budget >> 20);
    else if (step == 0 && r->wal_over > 0)
        log_info(r->log, "postgres", "slot \"%s\" is within source.wal_budget again",
                 r->config->source_slot);
    if (step > r->wal_over || step == 0)
        r->wal_over = step;
}

static void on_gauges(void *arg, const struct wal_gauges *gauges)
{
    struct relay *r = arg;
    int64_t now = clock_boot_ms();
    bool making = wal_source_making(r->wal);
    struct pipeline_view view;
    struct err why;

    pipeline_view(r->pipeline, &view);
    r->wal_retained = gauges->retained;
    if (named(r)) {
        watch_budget(r);
        return;
    }
    if (gauges->retained > r->config->source_wal_budget) {
        (void)err_set(&why, ERR_UNAVAILABLE,
                      "the slot held back %" PRId64 " MiB of WAL, over source.wal_budget (%" PRId64
                      " MiB), and was given up%s%s",
                      gauges->retained >> 20, r->config->source_wal_budget >> 20,
                      making ? "; it waited for " : "", making ? gauges->blocker : "");
        say_why(r, &why);
        give_up(r, now, making);
    } else if (view.streaming && gauges->behind > crossing_bytes && view.kafka_up) {
        log_info(r->log, "postgres",
                 "the stream is %" PRId64 " MiB behind: the table is read, which is faster",
                 gauges->behind >> 20);
        give_up(r, now, false);
    } else if (making && ++r->wal_waits >= 3) {
        (void)err_set(&why, ERR_UNAVAILABLE, "the slot waits for %s to end", gauges->blocker);
        say_why(r, &why);
    }
    if (!making)
        r->wal_waits = 0;
}

/* ---- life ---- */

bool relay_wal_flow(struct relay *r)
{
    if (r->wal == NULL)
        return true;
    wal_source_confirm(r->wal, pipeline_checkpoint(r->pipeline));
    return wal_source_flow(r->wal, pipeline_stream_flows(r->pipeline));
}

void relay_wal_tick(struct relay *r, int64_t now)
{
    log_mode(r);
    if (r->wal == NULL || now - r->wal_gauged_at < gauges_ms)
        return;
    r->wal_gauged_at = now;
    wal_source_ask_gauges(r->wal);
}

int relay_wal_open(struct relay *r, const char *uri, uint64_t seed, struct err *err)
{
    static const struct wal_source_callbacks callbacks = {
        .on_made = on_made,
        .on_lost = on_lost,
        .on_begin = on_begin,
        .on_row = on_row,
        .on_message = on_message,
        .on_odd_message = on_odd_message,
        .on_end = on_end,
        .on_idle = on_idle,
        .on_gauges = on_gauges,
    };
    struct wal_source_options options = {
        .slot =
            {
                .uri = uri,
                .publication = r->config->source_publication,
                .name = r->config->source_slot,
                .timeout_ms = timeout_ms,
                .seed = seed,
            },
        .message_prefix = r->config->source_message_prefix,
        .columns = r->config->columns,
    };
    int rc = wal_source_open(&r->wal, &r->loop, &options, &callbacks, r, err);

    if (rc == 0)
        relay_choose_source(r, clock_boot_ms());
    return rc;
}
