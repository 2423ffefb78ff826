/*
 * Rules are checked against what librdkafka has taken, read back by its canonical name, so that
 * aliases and spellings (acks, request.required.acks, "all", "-1") need no table of their own.
 */
#include "kafka/kafka_conf.h"

#include "kafka/complaint.h"
#include "kafka/tls_files.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 4096

static const struct sink_property defaults[] = {
    {"client.id", "outbox-relay"},
    /* The guarantees: see the rules below. */
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"message.timeout.ms", "0"},
    {"enable.gapless.guarantee", "true"},
    /* A broker that does not know the producer yet (a new partition, a day without records) takes
     * whichever request comes first. With two under way the second one can overtake a first that
     * is to be retried, and librdkafka then counts the first one's records as delivered. */
    {"max.in.flight.requests.per.connection", "1"},
    /* Java's partitioner, so that its consumers and other producers find the same partitions. */
    {"partitioner", "murmur2_random"},
    /* Records gather by themselves while a request is under way: a wait buys no throughput under
     * load, and costs each lone event a millisecond and more. */
    {"linger.ms", "0"},
    /* Small requests follow each other closely; Nagle would hold one back for the peer's delayed
     * acknowledgement. */
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    /* Rows flow again soon after an outage; librdkafka's own limit is 10 s. */
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "1000"},
    /* A new topic's or leader's metadata is asked for again after this long. */
    {"topic.metadata.refresh.fast.interval.ms", "100"},
};

enum demand { MUST_BE, MUST_NOT_BE, UNSET };

static const struct rule {
    const char *name; /* librdkafka's canonical name */
    enum demand demand;
    const char *value;
    const char *why;
} rules[] = {
    {"enable.idempotence", MUST_BE, "true", "without it a retry can duplicate and reorder records"},
    {"request.required.acks", MUST_BE, "-1",
     "a row is removed on the word of all in-sync replicas only (acks=all)"},
    {"message.timeout.ms", MUST_BE, "0",
     "a record that gave up waiting would be overtaken by newer ones of its key"},
    {"enable.gapless.guarantee", MUST_BE, "true",
     "without it newer records of a key overtake one that failed"},
    {"message.send.max.retries", MUST_BE, "2147483647",
     "a record that is out of retries would be overtaken by newer ones of its key"},
    {"max.in.flight.requests.per.connection", MUST_BE, "1",
     "a request that overtakes a failed one makes its records count as delivered"},
    {"queuing.strategy", MUST_BE, "fifo", "any other sends newer records first"},
    {"delivery.report.only.error", MUST_BE, "false",
     "a row is removed only after the report of its delivery"},
    {"partitioner", MUST_NOT_BE, "random",
     "it spreads one key over partitions, which ends the order of its events"},
    {"transactional.id", UNSET, NULL, "the relay does not produce in transactions"},
    {"test.mock.num.brokers", MUST_BE, "0",
     "a mock cluster forgets its records, and their rows would be gone"},
};

/* Properties that only librdkafka's own tests use: some are pointers taken from text. */
static const char *const internals[] = {"ut_handle_ProduceResponse", "enabled_events",
                                        "internal.termination.signal"};

bool kafka_conf_value(const rd_kafka_conf_t *conf, const char *name, char *ret, size_t size)
{
    ret[0] = '\0';
    return rd_kafka_conf_get(conf, name, ret, &size) == RD_KAFKA_CONF_OK && ret[0] != '\0';
}

static int set(rd_kafka_conf_t *conf, const struct sink_property *p, struct err *err)
{
    char text[512];

    for (size_t i = 0; i < sizeof internals / sizeof internals[0]; i++) {
        if (strcmp(p->name, internals[i]) == 0)
            return err_set(err, ERR_CONFIG, "kafka.%s: refused: it is internal to librdkafka",
                           p->name);
    }
    /* No rule: librdkafka loads and runs it while the property is set. */
    if (strcmp(p->name, "plugin.library.paths") == 0)
        return err_set(err, ERR_CONFIG,
                       "kafka.%s: refused: a plugin could change or drop records; leave it out",
                       p->name);
    if (rd_kafka_conf_set(conf, p->name, p->value, text, sizeof text) != RD_KAFKA_CONF_OK)
        return err_set(err, ERR_CONFIG, "kafka.%s: %s", p->name, text);
    return 0;
}

/* The rules held before this property was set, so one that does not hold now is its doing. */
static int check_rules(rd_kafka_conf_t *conf, const struct sink_property *p, struct err *err)
{
    char value[VALUE_MAX];

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const struct rule *r = &rules[i];
        bool is_set = kafka_conf_value(conf, r->name, value, sizeof value);

        if (r->demand == UNSET && is_set)
            return err_set(err, ERR_CONFIG, "kafka.%s: refused: %s; leave it out", p->name, r->why);
        if (r->demand == MUST_BE && is_set && strcmp(value, r->value) != 0)
            return err_set(err, ERR_CONFIG, "kafka.%s: refused: %s; leave it out (%s is kept)",
                           p->name, r->why, r->value);
        if (r->demand == MUST_NOT_BE && is_set && strcmp(value, r->value) == 0)
            return err_set(err, ERR_CONFIG, "kafka.%s: refused: %s; use another than %s", p->name,
                           r->why, r->value);
    }
    return 0;
}

/* librdkafka skips what it cannot read of this list without a word. */
static int check_address(const char *address, size_t len, struct err *err)
{
    const char *scheme = memmem(address, len, "://", 3);
    const char *port;
    char *end;
    long n;

    if (scheme != NULL) {
        len -= (size_t)(scheme + 3 - address);
        address = scheme + 3;
    }
    port = memrchr(address, ':', len);
    if (port != NULL && memchr(address, ']', len) > (const void *)port)
        port = NULL; /* a bare [::1] */
    if (len > 0 && port == NULL)
        return 0;
    n = port == NULL ? 0 : strtol(port + 1, &end, 10);
    if (port == NULL || port == address || n < 1 || n > 65535 || end != address + len)
        return err_set(err, ERR_CONFIG,
                       "kafka.bootstrap.servers: \"%.*s\" is not host:port (port 1 to 65535)",
                       (int)len, address);
    return 0;
}

static int check_bootstrap(rd_kafka_conf_t *conf, struct err *err)
{
    char list[VALUE_MAX];
    size_t len;

    if (!kafka_conf_value(conf, "metadata.broker.list", list, sizeof list))
        return err_set(err, ERR_CONFIG,
                       "kafka.bootstrap.servers: not set; name at least one broker as host:port "
                       "(environment: OUTBOX_KAFKA_BOOTSTRAP_SERVERS)");
    for (const char *at = list; at != NULL;) {
        const char *next;

        at += strspn(at, " ");
        len = strcspn(at, ",");
        next = at[len] == ',' ? at + len + 1 : NULL;
        while (len > 0 && at[len - 1] == ' ')
            len--;
        if (check_address(at, len, err) != 0)
            return -(int)err->class;
        at = next;
    }
    return 0;
}

/* The window bounds what is in flight; librdkafka's own limits only have to stay clear of it. Twice
 * leaves room for what it counts and the window does not (header bytes, record overhead). */
static int size_queue(rd_kafka_conf_t *conf, const struct sink_options *options, struct err *err)
{
    uint64_t messages = (uint64_t)options->window_events * 2 + 1000;
    uint64_t kbytes = options->window_bytes / 1024 * 2 + 65536;
    char text[32];
    struct sink_property p = {"queue.buffering.max.messages", text};

    (void)snprintf(text, sizeof text, "%llu",
                   (unsigned long long)(messages > INT_MAX ? INT_MAX : messages));
    if (set(conf, &p, err) != 0)
        return -(int)err->class;
    p.name = "queue.buffering.max.kbytes";
    (void)snprintf(text, sizeof text, "%llu",
                   (unsigned long long)(kbytes > INT_MAX ? INT_MAX : kbytes));
    return set(conf, &p, err);
}

static int check_queue(rd_kafka_conf_t *conf, const struct sink_options *options, struct err *err)
{
    char value[VALUE_MAX];
    uint64_t n;

    (void)kafka_conf_value(conf, "queue.buffering.max.messages", value, sizeof value);
    n = strtoull(value, NULL, 10);
    if (n != 0 && n < options->window_events) /* 0: no limit */
        return err_set(err, ERR_CONFIG,
                       "kafka.queue.buffering.max.messages: refused: %llu is less than "
                       "window.events (%u), the queue would fill before the window; leave it out",
                       (unsigned long long)n, options->window_events);
    (void)kafka_conf_value(conf, "queue.buffering.max.kbytes", value, sizeof value);
    n = strtoull(value, NULL, 10);
    if (n < options->window_bytes / 1024)
        return err_set(err, ERR_CONFIG,
                       "kafka.queue.buffering.max.kbytes: refused: %llu is less than window.bytes "
                       "(%llu kB), the queue would fill before the window; leave it out",
                       (unsigned long long)n, (unsigned long long)(options->window_bytes / 1024));
    return 0;
}

int kafka_conf_new(const struct sink_options *options, rd_kafka_conf_t **ret, struct err *err)
{
    const struct sink_property logs = {"log.queue", "true"};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof defaults / sizeof defaults[0]; i++)
        r = set(conf, &defaults[i], err);
    if (r == 0)
        r = size_queue(conf, options, err);
    for (size_t i = 0; r == 0 && i < options->nproperties; i++) {
        r = set(conf, &options->properties[i], err);
        if (r == 0)
            r = check_rules(conf, &options->properties[i], err);
    }
    if (r == 0)
        r = check_queue(conf, options, err);
    if (r == 0)
        r = check_bootstrap(conf, err);
    if (r == 0)
        r = set(conf, &logs, err);
    if (r != 0) {
        rd_kafka_conf_destroy(conf);
        return r;
    }
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    complaint_ask(conf);
    /* A token fetched over HTTP (sasl.oauthbearer.method=oidc) must not block the loop. */
    rd_kafka_conf_enable_sasl_queue(conf, 1);
    *ret = conf;
    return 0;
}

int kafka_conf_producer(const struct sink_options *options, bool offline, rd_kafka_t **ret,
                        struct err *err)
{
    char text[512];
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    int r = kafka_conf_new(options, &conf, err);

    if (r != 0)
        return r;
    if (offline)
        (void)rd_kafka_conf_set(conf, "bootstrap.servers", NULL, NULL, 0);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (rk == NULL) {
        if (!tls_files_explain(conf, text, err))
            (void)err_set(err, ERR_CONFIG, "kafka: librdkafka %s refuses the settings: %s",
                          rd_kafka_version_str(), text);
        rd_kafka_conf_destroy(conf);
        return -(int)ERR_CONFIG;
    }
    (void)rd_kafka_set_log_queue(rk, NULL);
    /* An error says that no mechanism in use has callbacks: nothing to do then. */
    rd_kafka_error_destroy(rd_kafka_sasl_background_callbacks_enable(rk));
    *ret = rk;
    return 0;
}
