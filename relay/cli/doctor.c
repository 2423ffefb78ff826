/* `doctor`: what holds events back, named, and the command that ends it. Looks at the database, at
 * the running relay and at Kafka, and changes nothing. */
#include "cli/cli.h"
#include "cli/doctor_relay.h"
#include "core/format.h"
#include "kafka/diagnose.h"
#include "ops/escape.h"
#include "ops/failure_topics.h"
#include "postgres/conn.h"
#include "postgres/diagnose.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of sysexits, as all codes here: EX_TEMPFAIL. What is held back is not lost, and goes on once the
 * remedies were carried out. Not 1, which a shell or a crash ends in too. */
#define EXIT_HELD 75

#define TOPICS_MAX 64
/* Events that wait so long are late: is it that their topic may not be written to? */
#define WAITS_S 10

static const int kafka_timeout_ms = 5000;

struct doctor {
    const struct cli *cli;
    json_t *list;        /* with --json */
    const char *section; /* printed last */
    bool held;
    enum err_class worst; /* why something could not be looked at */
    struct format *format;
    struct buf topic_sql;
    char *names[TOPICS_MAX];
    struct diagnose_topic topics[TOPICS_MAX]; /* of these names */
    size_t ntopics;
};

/* ---- telling ---- */

static void print_part(const char *before, const char *text)
{
    struct buf b = {0};

    escape_text(&b, text, strlen(text));
    printf("%s%s", before, buf_cstr(&b) != NULL ? buf_cstr(&b) : "?");
    buf_free(&b);
}

static void print_finding(struct doctor *d, const struct finding *f)
{
    static const char *const words[] = {[SEVERITY_OK] = "ok",
                                        [SEVERITY_UNSEEN] = "UNSEEN",
                                        [SEVERITY_WARNS] = "WARNS",
                                        [SEVERITY_HOLDS] = "HOLDS"};

    if (d->section == NULL || strcmp(d->section, f->section) != 0)
        printf("%s\n", f->section);
    d->section = f->section;
    printf("  %-6s ", words[f->severity]);
    print_part("", f->what);
    if (f->where != NULL)
        print_part(" \xe2\x80\x94 ", f->where);
    if (f->remedy != NULL)
        print_part(" \xe2\x80\x94 ", f->remedy);
    printf("\n");
}

static json_t *text_or_null(const char *text)
{
    return text == NULL ? json_null() : json_string(text);
}

static void on_finding(void *arg, const struct finding *f)
{
    static const char *const names[] = {[SEVERITY_OK] = "ok",
                                        [SEVERITY_UNSEEN] = "unseen",
                                        [SEVERITY_WARNS] = "warns",
                                        [SEVERITY_HOLDS] = "holds"};
    struct doctor *d = arg;

    d->held = d->held || f->severity == SEVERITY_HOLDS;
    if (d->list == NULL)
        print_finding(d, f);
    else if (f->severity != SEVERITY_OK)
        (void)json_array_append_new(
            d->list, json_pack("{s:s, s:o, s:o, s:o}", "severity", names[f->severity], "what",
                               text_or_null(f->what), "where", text_or_null(f->where), "remedy",
                               text_or_null(f->remedy)));
}

/* Something could not be looked at. */
static void failed(struct doctor *d, const struct err *why)
{
    if (d->worst == ERR_NONE)
        d->worst = why->class;
}

/* ---- looking ---- */

static void add_topic(struct doctor *d, const char *name, bool waits)
{
    for (size_t i = 0; i < d->ntopics; i++)
        if (strcmp(d->topics[i].name, name) == 0) {
            d->topics[i].waits = d->topics[i].waits || waits;
            return;
        }
    if (d->ntopics == TOPICS_MAX)
        return;
    d->names[d->ntopics] = strdup(name);
    d->topics[d->ntopics] = (struct diagnose_topic){d->names[d->ntopics], waits};
    d->ntopics += d->names[d->ntopics] != NULL;
}

static void on_waiting_topic(void *arg, const char *topic, double waited)
{
    add_topic(arg, topic, waited >= WAITS_S);
}

/* Whoever answers there: what is no topic's name gets into no command. */
static void on_paused_topic(void *arg, const char *topic)
{
    static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

    if (topic[0] != '\0' && topic[strspn(topic, legal)] == '\0')
        add_topic(arg, topic, true);
}

static void look_at_postgres(struct doctor *d)
{
    static const struct diagnose_callbacks callbacks = {on_finding, on_waiting_topic};
    const struct config *config = d->cli->config;
    struct diagnose_options options = {
        .uri = config->postgres_uri,
        .table = {.table = config->source_table,
                  .columns = config->columns,
                  .mark = config->ack_mode == ACK_MARK,
                  .parks = failure_policy_used(config, POLICY_PARK),
                  .buries = failure_policy_used(config, POLICY_DEAD_LETTER),
                  .copies = config->failure_dead_letter_topic[0] != '\0',
                  .named = config->source_slot[0] != '\0'},
        .slot = config->source_slot,
        .wal_budget = config->source_wal_budget,
        .topic_sql = buf_cstr(&d->topic_sql),
    };
    struct err err;

    if (diagnose(&options, &callbacks, d, &err) != 0)
        failed(d, &err);
}

static void look_at_kafka(struct doctor *d, const struct sink_options *options)
{
    struct finding f = {SEVERITY_HOLDS, "kafka", NULL, "kafka.bootstrap.servers",
                        "outbox-relay check"};
    struct err err;

    if (sink_diagnose(options, d->topics, d->ntopics, kafka_timeout_ms, on_finding, d, &err) == 0)
        return;
    failed(d, &err);
    f.what = err.message;
    on_finding(d, &f);
}

/* The settings, before anything is asked. */
static int prepare(struct doctor *d, const struct sink_options *options, struct err *err)
{
    const struct config *config = d->cli->config;
    struct format_options format = {config->route_topic, config->record_type_header,
                                    config->columns};

    if (format_new(&d->format, &format, err) != 0 ||
        pg_conn_check_uri(config->postgres_uri, "postgres.uri", err) != 0 ||
        sink_check_options(options, err) != 0) {
        config_say_where(config, err);
        return -(int)err->class;
    }
    format_topic_sql(d->format, &d->topic_sql);
    return buf_cstr(&d->topic_sql) != NULL ? 0 : err_set(err, ERR_NOMEM, "out of memory");
}

static int look(struct doctor *d, struct err *err)
{
    static const struct doctor_relay_callbacks relay = {on_finding, on_paused_topic};
    const struct config *config = d->cli->config;
    struct sink_property *properties;
    struct sink_options options;
    int rc = cli_sink_options(config, &options, &properties, err);

    if (rc != 0)
        return rc;
    rc = prepare(d, &options, err);
    if (rc == 0) {
        look_at_postgres(d);
        doctor_relay(config->http_listen, &relay, d);
        look_at_kafka(d, &options);
    }
    free(properties);
    return rc;
}

int cli_doctor(const struct cli *cli)
{
    struct doctor d = {.cli = cli, .list = cli->json ? json_array() : NULL};
    int exit_code;
    struct err err;
    int rc = look(&d, &err);

    if (d.list != NULL && rc == 0) {
        (void)json_dumpf(d.list, stdout, JSON_INDENT(2));
        printf("\n");
    }
    json_decref(d.list);
    format_free(d.format);
    buf_free(&d.topic_sql);
    for (size_t i = 0; i < d.ntopics; i++)
        free(d.names[i]);
    if (rc != 0)
        return cli_fail(&err);
    exit_code = d.worst != ERR_NONE ? err_exit_code(d.worst) : d.held ? EXIT_HELD : 0;
    return exit_code != 0 ? exit_code : cli_done();
}
