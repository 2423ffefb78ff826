#include "cli/check_slot.h"

#include "postgres/wal_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <uv.h>

static const int timeout_ms = 10000;

struct slot_check {
    const struct config *config;
    struct wal_slot *slot;
    struct wal_source *source;
    bool missing; /* the named slot */
    check_slot_fn result;
    void *arg;
};

static void closed(void *arg)
{
    (void)arg;
}

static bool has_to_decode(const struct config *config)
{
    return config->source_mode == SOURCE_WAL || config->source_slot[0] != '\0';
}

static struct wal_slot_options slot_options(const struct config *config, bool look_only)
{
    return (struct wal_slot_options){
        .uri = config->postgres_direct_uri[0] != '\0' ? config->postgres_direct_uri
                                                      : config->postgres_uri,
        .publication = config->source_publication,
        .name = config->source_slot,
        .look_only = look_only,
        .timeout_ms = timeout_ms,
    };
}

/* ---- looking ---- */

static void on_ready(void *arg, enum named_step step)
{
    static const char *const steps[] = {
        [NAMED_MAKE] = "not there yet: check --fix makes it, or the relay",
        [NAMED_MAKE_AGAIN] = "half made: check --fix makes it anew, or the relay",
        [NAMED_RESUME] = "there, and nobody reads it",
        [NAMED_BUSY] = "there, and is being read",
    };
    struct slot_check *c = arg;
    const char *slot = c->config->source_slot;
    char text[320];

    c->missing = slot[0] != '\0' && (step == NAMED_MAKE || step == NAMED_MAKE_AGAIN);
    if (slot[0] != '\0')
        (void)snprintf(text, sizeof text, "slot \"%s\" with publication \"%s\" is %s", slot,
                       c->config->source_publication, steps[step]);
    else
        (void)snprintf(text, sizeof text, "possible, by publication \"%s\"",
                       c->config->source_publication);
    c->result(c->arg, ERR_NONE, text);
    wal_slot_close(c->slot, 0, closed, NULL);
}

static void on_failed(void *arg, const struct err *why)
{
    struct slot_check *c = arg;
    char text[1200];

    /* The relay finds another way, unless it is told to take this one. */
    (void)snprintf(text, sizeof text, "not possible: %s", why->message);
    c->result(c->arg, has_to_decode(c->config) ? why->class : ERR_NONE, text);
    wal_slot_close(c->slot, 0, closed, NULL);
}

static void on_start(void *arg, const struct wal_start *start)
{
    (void)arg;
    (void)start;
}

static void on_gauges(void *arg, const struct wal_gauges *gauges)
{
    (void)arg;
    (void)gauges;
}

static void look(struct slot_check *c, uv_loop_t *loop, const struct pg_facts *facts)
{
    static const struct wal_slot_callbacks callbacks = {on_ready, on_start, on_gauges, on_failed};
    struct wal_slot_options options = slot_options(c->config, true);
    struct err err;

    if (wal_slot_open(&c->slot, loop, &options, facts, 0, 0, &callbacks, c, &err) != 0)
        c->result(c->arg, err.class, err.message);
    (void)uv_run(loop, UV_RUN_DEFAULT);
}

/* ---- making ---- */

static void made(void *arg, const struct wal_start *start)
{
    struct slot_check *c = arg;
    char text[200];

    (void)snprintf(text, sizeof text,
                   "slot \"%s\" was made, and stands at %" PRIX32 "/%" PRIX32
                   ": from now on WAL is kept for the relay",
                   c->config->source_slot, (uint32_t)(start->lsn >> 32), (uint32_t)start->lsn);
    c->result(c->arg, ERR_NONE, text);
    wal_source_close(c->source, closed, NULL);
}

static void not_made(void *arg, const struct err *why)
{
    struct slot_check *c = arg;

    c->result(c->arg, why->class, why->message);
    wal_source_close(c->source, closed, NULL);
}

static void make(struct slot_check *c, uv_loop_t *loop, const struct pg_facts *facts)
{
    static const struct wal_source_callbacks callbacks = {
        .on_made = made, .on_lost = not_made, .on_gauges = on_gauges};
    struct wal_source_options options = {
        .slot = slot_options(c->config, false),
        .message_prefix = c->config->source_message_prefix,
        .columns = c->config->columns,
    };
    struct err err;

    if (wal_source_open(&c->source, loop, &options, &callbacks, c, &err) != 0)
        c->result(c->arg, err.class, err.message);
    else
        wal_source_make(c->source, facts, LEASE_EPOCH_NOBODY, 0);
    (void)uv_run(loop, UV_RUN_DEFAULT);
}

void check_slot(const struct config *config, const struct pg_facts *facts, bool fix,
                check_slot_fn result, void *arg)
{
    struct slot_check c = {.config = config, .result = result, .arg = arg};
    uv_loop_t loop;

    if (!has_to_decode(config) && !(config->source_mode == SOURCE_AUTO && facts->notify_off))
        return;
    if (uv_loop_init(&loop) != 0) {
        result(arg, ERR_NOMEM, "out of memory");
        return;
    }
    look(&c, &loop, facts);
    if (fix && c.missing)
        make(&c, &loop, facts);
    (void)uv_loop_close(&loop);
}
