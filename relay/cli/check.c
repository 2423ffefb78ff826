/* `check`: walks the way that `run` would go, up to the first publication, and changes nothing, but
 * what --fix is to make. */
#include "cli/check_slot.h"
#include "cli/cli.h"
#include "core/format.h"
#include "kafka/sink.h"
#include "ops/failure_topics.h"
#include "postgres/conn.h"
#include "postgres/listener.h"
#include "postgres/table_source.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Waiting rows whose topics are looked at. */
#define ROWS_MAX 1000
#define TOPICS_MAX 64

static const int timeout_ms = 10000;

struct check {
    const struct cli *cli;
    json_t *results; /* with --json */
    enum err_class worst;
    struct format *format;
    struct table_source *source;
    struct listener *listener;
    struct pg_facts facts;
    bool known; /* facts holds something */
    char *topics[TOPICS_MAX];
    size_t ntopics;
    bool bad_row;
    bool over; /* the source has said what it has to say */
};

static void result(struct check *c, const char *what, enum err_class class, const char *message)
{
    if (c->worst == ERR_NONE)
        c->worst = class;
    if (c->results != NULL)
        (void)json_array_append_new(c->results, json_pack("{s:s, s:b, s:s}", "check", what, "ok",
                                                          class == ERR_NONE, "message", message));
    else
        printf("%-8s %s: %s\n", class == ERR_NONE ? "ok" : "FAILED", what, message);
}

static void failed(struct check *c, const char *what, const struct err *err)
{
    result(c, what, err->class, err->message);
}

static void closed(void *arg)
{
    (void)arg;
}

static void close_source(struct check *c)
{
    if (c->source != NULL)
        table_source_close(c->source, closed, NULL);
    c->source = NULL;
}

static void on_up(void *arg, const struct pg_facts *facts)
{
    struct check *c = arg;
    struct read_request request = {
        .kind = READ_START, .opens = true, .after = INT64_MIN, .limit = ROWS_MAX};
    char text[512];

    c->facts = *facts;
    c->known = true;
    (void)snprintf(text, sizeof text, "%s as \"%s\", PostgreSQL %d.%d",
                   table_source_where(c->source), facts->user, facts->server_version / 10000,
                   facts->server_version % 10000);
    result(c, "postgres", ERR_NONE, text);
    (void)snprintf(text, sizeof text, "%s and %s have what is needed, and the role the rights",
                   facts->table, facts->lease);
    result(c, "table", ERR_NONE, text);
    if (facts->notify_off) {
        (void)snprintf(text, sizeof text,
                       "off, since the server allows prepared transactions: rows are streamed or "
                       "polled for. If "
                       "no writer uses them: ALTER DATABASE \"%s\" SET outbox_relay.notify = 'on'",
                       facts->database);
        result(c, "notify", ERR_NONE, text);
    }
    table_source_read(c->source, &request);
}

static void on_lost(void *arg, bool was_up, const struct err *why)
{
    struct check *c = arg;
    bool connected = c->source != NULL && table_source_where(c->source)[0] != '\0';

    (void)was_up;
    if (c->over)
        return;
    c->over = true;
    failed(c, !connected || why->class == ERR_UNAVAILABLE ? "postgres" : "table", why);
    close_source(c);
}

static int on_header(void *arg, const struct slice *snapshot, bool has_max, int64_t max_seq,
                     struct err *err)
{
    (void)arg;
    (void)snapshot;
    (void)has_max;
    (void)max_seq;
    (void)err;
    return 0;
}

static void add_topic(struct check *c, const struct record *record)
{
    for (size_t i = 0; i < c->ntopics; i++)
        if (strlen(c->topics[i]) == record->topic_len &&
            memcmp(c->topics[i], record->topic, record->topic_len) == 0)
            return;
    if (c->ntopics < TOPICS_MAX) {
        c->topics[c->ntopics] = strndup(record->topic, record->topic_len);
        c->ntopics += c->topics[c->ntopics] != NULL;
    }
}

static bool on_row(void *arg, const struct event *event)
{
    struct check *c = arg;
    struct record record;
    struct err err;
    char text[1200];

    if (format_event(c->format, event, &record, &err) == 0) {
        add_topic(c, &record);
    } else if (!c->bad_row) {
        c->bad_row = true;
        (void)snprintf(text, sizeof text, "event %s cannot be published: %s", record.id,
                       err.message);
        result(c, "events", err.class, text);
    }
    return true;
}

static void on_read_end(void *arg, uint32_t rows, bool ok, const struct err *why)
{
    struct check *c = arg;
    char text[128];

    c->over = true;
    if (!ok)
        failed(c, "events", why);
    (void)snprintf(text, sizeof text, "%s%" PRIu32 " wait, for %zu topics",
                   rows == ROWS_MAX ? "at least " : "", rows, c->ntopics);
    if (ok && !c->bad_row)
        result(c, "events", ERR_NONE, text);
    close_source(c);
}

static void on_notify(void *arg, const char *payload)
{
    (void)arg;
    (void)payload;
}

static void check_postgres(struct check *c)
{
    static const struct table_source_callbacks callbacks = {on_up,  on_lost,     on_header,
                                                            on_row, on_read_end, on_notify};
    const struct config *config = c->cli->config;
    struct table_source_options options = {
        .uri = config->postgres_uri,
        .table = config->source_table,
        .columns = config->columns,
        .mark = config->ack_mode == ACK_MARK,
        .parks = failure_policy_used(config, POLICY_PARK),
        .buries = failure_policy_used(config, POLICY_DEAD_LETTER),
        .copies = config->failure_dead_letter_topic[0] != '\0',
        .named = config->source_slot[0] != '\0',
        .timeout_ms = timeout_ms,
    };
    uv_loop_t loop;
    struct err err;

    if (uv_loop_init(&loop) != 0) {
        result(c, "postgres", ERR_NOMEM, "out of memory");
        return;
    }
    if (table_source_open(&c->source, &loop, &options, &callbacks, c, &err) != 0)
        failed(c, "postgres", &err);
    uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
}

static void close_listener(struct check *c)
{
    listener_close(c->listener, closed, NULL);
    c->listener = NULL;
}

static void on_listening(void *arg, bool pooled)
{
    struct check *c = arg;
    char text[512];

    (void)snprintf(text, sizeof text, "%s is the same server%s", listener_where(c->listener),
                   pooled ? ", but through a pooler: notifications may not arrive" : "");
    result(c, "direct", ERR_NONE, text);
    close_listener(c);
}

static void on_not_listening(void *arg, bool was_up, const struct err *why)
{
    struct check *c = arg;

    (void)was_up;
    failed(c, "direct", why);
    close_listener(c);
}

/* postgres.direct_uri, which has to lead to where the table is. */
static void check_direct(struct check *c)
{
    static const struct listener_callbacks callbacks = {on_listening, on_not_listening, on_notify};
    uv_loop_t loop;
    struct err err;

    if (uv_loop_init(&loop) != 0) {
        result(c, "direct", ERR_NOMEM, "out of memory");
        return;
    }
    if (listener_open(&c->listener, &loop, c->cli->config->postgres_direct_uri, timeout_ms, 0,
                      &callbacks, c, &err) != 0)
        failed(c, "direct", &err);
    else
        listener_follow(c->listener, &c->facts);
    uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
}

static void slot_result(void *arg, enum err_class class, const char *message)
{
    result(arg, "decoding", class, message);
}

static void check_kafka(struct check *c, const struct sink_options *options)
{
    struct err each[TOPICS_MAX];
    struct err err;
    char text[600];
    int brokers = 0;

    if (sink_probe(options, (const char *const *)c->topics, c->ntopics, timeout_ms, each, &brokers,
                   &err) != 0) {
        failed(c, "kafka", &err);
        return;
    }
    (void)snprintf(text, sizeof text, "%d broker%s, librdkafka %s", brokers,
                   brokers == 1 ? "" : "s", sink_library_version());
    result(c, "kafka", ERR_NONE, text);
    for (size_t i = 0; i < c->ntopics; i++) {
        if (each[i].class != ERR_NONE)
            failed(c, "topic", &each[i]);
        else
            result(c, "topic", ERR_NONE, c->topics[i]);
    }
}

static void check_all(struct check *c)
{
    const struct config *config = c->cli->config;
    struct sink_property *properties;
    struct sink_options options;
    struct format_options format = {config->route_topic, config->record_type_header,
                                    config->columns};
    struct err err;

    if (cli_sink_options(config, &options, &properties, &err) != 0) {
        failed(c, "settings", &err);
        return;
    }
    if (format_new(&c->format, &format, &err) != 0 ||
        pg_conn_check_uri(config->postgres_uri, "postgres.uri", &err) != 0 ||
        pg_conn_check_uri(config->postgres_direct_uri, "postgres.direct_uri", &err) != 0 ||
        sink_check_options(&options, &err) != 0) {
        config_say_where(config, &err);
        failed(c, "settings", &err);
    } else {
        result(c, "settings", ERR_NONE, "every value is allowed");
        check_postgres(c);
        if (c->known && config->postgres_direct_uri[0] != '\0')
            check_direct(c);
        if (c->known)
            check_slot(config, &c->facts, c->cli->fix, slot_result, c);
        check_kafka(c, &options);
    }
    free(properties);
}

int cli_check(const struct cli *cli)
{
    struct check c = {.cli = cli, .results = cli->json ? json_array() : NULL};
    int exit_code;

    check_all(&c);
    exit_code = err_exit_code(c.worst);
    if (c.results != NULL) {
        (void)json_dumpf(c.results, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(c.results);
    }
    format_free(c.format);
    for (size_t i = 0; i < c.ntopics; i++)
        free(c.topics[i]);
    return exit_code != 0 ? exit_code : cli_done();
}
