#include "kafka/diagnose.h"

#include "base/buf.h"
#include "kafka/kafka_error.h"
#include "kafka/look.h"
#include "kafka/write_probe.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is known of a topic's settings: its min.insync.replicas, or one of these. */
#define SETTING_HIDDEN                                                                             \
    (-1) /* the right is missing, or there is no such topic: Kafka says neither */
#define SETTING_NO_TOPIC (-2)
#define SETTING_UNKNOWN (-3) /* no answer */

struct look {
    const struct sink_options *options;
    const struct diagnose_topic *topics;
    size_t n;
    int timeout_ms;
    int *min_isr; /* by topic */
    finding_fn on_finding;
    void *arg;
};

static void tell(const struct look *l, enum severity severity, const char *what, const char *topic,
                 const struct buf *command)
{
    struct buf text = *command;
    char where[300];
    struct finding f = {severity, "kafka", what, where, buf_cstr(&text)};

    (void)snprintf(where, sizeof where, "topic %s", topic);
    l->on_finding(l->arg, &f);
    buf_free(&text);
}

static const char *property(const struct look *l, const char *name, const char *fallback)
{
    for (size_t i = 0; i < l->options->nproperties; i++)
        if (strcmp(l->options->properties[i].name, name) == 0)
            return l->options->properties[i].value;
    return fallback;
}

/* "kafka-topics.sh --bootstrap-server HOST:PORT": the begin of a command. */
static struct buf tool(const struct look *l, const char *name)
{
    struct buf b = {0};

    buf_printf(&b, "%s --bootstrap-server %s", name,
               property(l, "bootstrap.servers", property(l, "metadata.broker.list", "HOST:PORT")));
    return b;
}

/* Who the relay is to the brokers, as far as its settings say. */
static struct buf grant(const struct look *l, const char *topic, const char *operations)
{
    const char *protocol = property(l, "security.protocol", "plaintext");
    bool anonymous = strcasecmp(protocol, "plaintext") == 0;
    struct buf b = tool(l, "kafka-acls.sh");

    buf_printf(&b, " --add --allow-principal 'User:%s' %s --topic %s",
               property(l, "sasl.username", anonymous ? "ANONYMOUS" : "THE-RELAYS-PRINCIPAL"),
               operations, topic);
    return b;
}

/* ---- settings of topics ---- */

static int min_isr_of(const rd_kafka_ConfigResource_t *resource)
{
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resource);
    size_t n = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &n);

    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return SETTING_NO_TOPIC;
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        return SETTING_HIDDEN;
    for (size_t i = 0; i < n; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "min.insync.replicas") == 0 &&
            rd_kafka_ConfigEntry_value(entries[i]) != NULL)
            return (int)strtol(rd_kafka_ConfigEntry_value(entries[i]), NULL, 10);
    return SETTING_UNKNOWN;
}

static void take_settings(struct look *l, rd_kafka_event_t *event)
{
    const rd_kafka_DescribeConfigs_result_t *result =
        event == NULL ? NULL : rd_kafka_event_DescribeConfigs_result(event);
    const rd_kafka_ConfigResource_t **found;
    size_t n = 0;

    if (result == NULL)
        return;
    found = rd_kafka_DescribeConfigs_result_resources(result, &n);
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < l->n; t++)
            if (strcmp(rd_kafka_ConfigResource_name(found[i]), l->topics[t].name) == 0)
                l->min_isr[t] = min_isr_of(found[i]);
}

/* All in one question: it tells apart, too, what is not there and what may not be seen. */
static int ask_settings(struct look *l, rd_kafka_t *rk, struct err *err)
{
    rd_kafka_ConfigResource_t **resources = calloc(l->n + 1, sizeof(rd_kafka_ConfigResource_t *));
    rd_kafka_AdminOptions_t *options;
    rd_kafka_queue_t *queue;
    rd_kafka_event_t *event;

    if (resources == NULL)
        return err_set(err, ERR_NOMEM, "kafka: out of memory");
    for (size_t i = 0; i < l->n; i++) {
        resources[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, l->topics[i].name);
        l->min_isr[i] = SETTING_UNKNOWN;
    }
    options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    queue = rd_kafka_queue_new(rk);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, l->timeout_ms, NULL, 0);
    rd_kafka_DescribeConfigs(rk, resources, l->n, options, queue);
    event = rd_kafka_queue_poll(queue, l->timeout_ms + 1000);
    take_settings(l, event);
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy_array(resources, l->n);
    free(resources);
    return 0;
}

/* ---- one topic ---- */

static void tell_missing(const struct look *l, size_t topic)
{
    const char *name = l->topics[topic].name;
    struct buf command;

    if (l->min_isr[topic] == SETTING_HIDDEN) {
        command = grant(l, name, "--operation Write --operation Describe");
        tell(l, SEVERITY_HOLDS, "it is not there, or not visible to the relay's principal", name,
             &command);
        return;
    }
    command = tool(l, "kafka-topics.sh");
    buf_printf(&command, " --create --topic %s", name);
    /* A broker may be just about to make it. */
    tell(l, l->topics[topic].waits ? SEVERITY_HOLDS : SEVERITY_WARNS,
         "it does not exist; its events wait, those of other topics go on", name, &command);
}

/* The brokers that have replicas of these partitions and are not in sync. */
static void add_away(struct buf *away, const struct rd_kafka_metadata_partition *p)
{
    for (int r = 0; r < p->replica_cnt; r++) {
        bool in_sync = false;

        for (int i = 0; i < p->isr_cnt; i++)
            in_sync = in_sync || p->isrs[i] == p->replicas[r];
        if (!in_sync || p->leader < 0)
            buf_printf(away, "%s%d", away->len > 0 ? ", " : "", (int)p->replicas[r]);
    }
}

/* The first partition that takes no records, and how many do not. */
struct partitions {
    int leaderless, below, behind;
    const struct rd_kafka_metadata_partition *first_leaderless, *first_below;
};

static struct partitions count_partitions(const struct rd_kafka_metadata_topic *t, int min_isr)
{
    struct partitions c = {0};

    for (int i = 0; i < t->partition_cnt; i++) {
        const struct rd_kafka_metadata_partition *p = &t->partitions[i];
        /* A topic that never had so many replicas is not held to them (Partition.effectiveMinIsr).
         */
        int needed = min_isr < p->replica_cnt ? min_isr : p->replica_cnt;

        c.behind += p->isr_cnt < p->replica_cnt;
        if (p->leader < 0 && c.leaderless++ == 0)
            c.first_leaderless = p;
        else if (p->leader >= 0 && p->isr_cnt < needed && c.below++ == 0)
            c.first_below = p;
    }
    return c;
}

static void tell_leaderless(const struct look *l, const char *name, const struct partitions *c)
{
    struct buf command = tool(l, "kafka-topics.sh");
    struct buf away = {0};
    char what[400];

    add_away(&away, c->first_leaderless);
    (void)snprintf(what, sizeof what,
                   "partitions without a leader: %d, partition %d first; bring back one of its "
                   "brokers, %s",
                   c->leaderless, (int)c->first_leaderless->id,
                   buf_cstr(&away) != NULL ? buf_cstr(&away) : "?");
    buf_printf(&command, " --describe --unavailable-partitions --topic %s", name);
    tell(l, SEVERITY_HOLDS, what, name, &command);
    buf_free(&away);
}

static void tell_below(const struct look *l, const char *name, const struct partitions *c,
                       int min_isr)
{
    struct buf command = tool(l, "kafka-configs.sh");
    struct buf away = {0};
    char what[400];

    add_away(&away, c->first_below);
    (void)snprintf(what, sizeof what,
                   "partitions with fewer replicas in sync than min.insync.replicas, %d: %d, "
                   "partition %d first with %d; bring back broker %s, or be content with less",
                   min_isr, c->below, (int)c->first_below->id, c->first_below->isr_cnt,
                   buf_cstr(&away) != NULL ? buf_cstr(&away) : "?");
    buf_printf(&command,
               " --alter --entity-type topics --entity-name %s --add-config min.insync.replicas=%d",
               name, c->first_below->isr_cnt);
    tell(l, SEVERITY_HOLDS, what, name, &command);
    buf_free(&away);
}

/* False where it cannot be written to, whoever asks. */
static bool judge(const struct look *l, size_t topic, const struct rd_kafka_metadata_topic *t)
{
    const char *name = l->topics[topic].name;
    int min_isr = l->min_isr[topic];
    struct partitions c;
    struct buf command;

    if (t == NULL || t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        tell_missing(l, topic);
        return false;
    }
    if (t->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        command = grant(l, name, "--operation Write --operation Describe");
        tell(l, SEVERITY_HOLDS, "it may not be described by the relay's principal", name, &command);
        return false;
    }
    c = count_partitions(t, min_isr);
    if (c.leaderless > 0)
        tell_leaderless(l, name, &c);
    if (c.below > 0)
        tell_below(l, name, &c, min_isr);
    if (c.behind > 0 && min_isr < 0) {
        command = grant(l, name, "--operation DescribeConfigs");
        tell(l, SEVERITY_UNSEEN, "whether enough replicas are in sync (min.insync.replicas)", name,
             &command);
    }
    return c.leaderless == 0;
}

static int ask_to_write(const struct look *l, const bool *ok, struct err *err)
{
    rd_kafka_resp_err_t *codes = calloc(l->n + 1, sizeof *codes);
    const char **names = calloc(l->n + 1, sizeof(const char *));
    size_t n = 0;
    int r = 0;

    if (codes == NULL || names == NULL) {
        r = err_set(err, ERR_NOMEM, "kafka: out of memory");
        goto out;
    }
    for (size_t i = 0; i < l->n; i++)
        if (ok[i] && l->topics[i].waits)
            names[n++] = l->topics[i].name;
    if (n > 0)
        r = write_probe(l->options, names, n, l->timeout_ms, codes, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct buf command;

        if (codes[i] != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            continue;
        command = grant(l, names[i], "--operation Write --operation Describe");
        tell(l, SEVERITY_HOLDS, "it may not be written to by the relay's principal", names[i],
             &command);
    }
out:
    free(codes);
    free(names);
    return r;
}

static void tell_brokers(const struct look *l, int brokers)
{
    char text[128];
    struct finding f = {SEVERITY_OK, "kafka", text, NULL, NULL};

    (void)snprintf(text, sizeof text, "%d broker%s; %zu topic%s looked at, of events that wait",
                   brokers, brokers == 1 ? "" : "s", l->n, l->n == 1 ? "" : "s");
    l->on_finding(l->arg, &f);
}

int sink_diagnose(const struct sink_options *options, const struct diagnose_topic *topics, size_t n,
                  int timeout_ms, finding_fn on_finding, void *arg, struct err *err)
{
    struct look l = {options, topics, n, timeout_ms, NULL, on_finding, arg};
    const struct rd_kafka_metadata *md;
    bool *ok = NULL;
    rd_kafka_t *rk;
    int r = kafka_look(options, n > 0, timeout_ms, &rk, &md, err);

    if (r != 0)
        return r;
    tell_brokers(&l, md->broker_cnt);
    ok = calloc(n + 1, sizeof *ok);
    l.min_isr = calloc(n + 1, sizeof *l.min_isr);
    if (ok == NULL || l.min_isr == NULL) {
        r = err_set(err, ERR_NOMEM, "kafka: out of memory");
        goto out;
    }
    if (n > 0)
        r = ask_settings(&l, rk, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        ok[i] = judge(&l, i, kafka_look_topic(md, topics[i].name));
    if (r == 0)
        r = ask_to_write(&l, ok, err);
out:
    free(ok);
    free(l.min_isr);
    rd_kafka_metadata_destroy(md);
    rd_kafka_destroy(rk);
    return r;
}
