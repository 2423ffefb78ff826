#include "kafka/complaint.h"

#include "kafka/kafka_conf.h"
#include "kafka/kafka_error.h"
#include "tls/certificate.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MIXED_UP(protocols)                                                                        \
    "set kafka.security.protocol to the listener's (" protocols                                    \
    "), or name a broker's right port in kafka.bootstrap.servers"

/* The first whose words stand in the complaint tells what it is. */
static const struct sign {
    const char *words;
    const char *state; /* librdkafka's, that it has to be in; NULL: any */
    enum err_class class;
    const char *what; /* NULL: librdkafka's own words */
    const char *remedy;
} signs[] = {
    {"Unsupported SASL mechanism", NULL, ERR_CONFIG, NULL,
     "set kafka.sasl.mechanism to one that it has"},
    {"not valid in current SASL state", NULL, ERR_CONFIG, "this listener takes no SASL login",
     "set kafka.security.protocol to the listener's, or name one that takes logins"},
    {"might require SASL", NULL, ERR_UNAVAILABLE, "the broker ends the connection",
     "check that it runs, kafka.bootstrap.servers, and kafka.security.protocol: a listener that "
     "wants a SASL login does the same"},
    {"while requesting ApiVersion", NULL, ERR_UNAVAILABLE,
     "the connection ends before the first answer, as at a listener for TLS",
     MIXED_UP("ssl, sasl_ssl")},
    {"unexpected eof while reading", "SSL_HANDSHAKE", ERR_UNAVAILABLE,
     "the connection ends before TLS is agreed on, as at a listener without TLS",
     MIXED_UP("plaintext, sasl_plaintext")},
    {"SSL handshake failed: Disconnected", NULL, ERR_UNAVAILABLE,
     "the connection ends before TLS is agreed on, as at a listener without TLS",
     MIXED_UP("plaintext, sasl_plaintext")},
    {"wrong version number", NULL, ERR_UNAVAILABLE, "what answers there speaks no TLS",
     MIXED_UP("plaintext, sasl_plaintext")},
    {"certificate verify failed", NULL, ERR_UNAVAILABLE, "the broker's certificate is refused",
     "check kafka.ssl.ca.location, and that the certificate is valid for this host"},
};

/* How a broker refuses a certificate of ours: TLS alerts, in OpenSSL's words. */
static const char *const refusals[] = {
    "alert bad certificate",         "alert certificate unknown", "alert certificate required",
    "alert certificate expired",     "alert unknown ca",          "alert certificate revoked",
    "alert unsupported certificate", "alert access denied",
};

#define CERTIFICATE_LOG "verification callback failed: "
#define CERTIFICATE_ERROR "certificate verify failed"
#define REFUSED_REMEDY                                                                             \
    "set kafka.ssl.certificate.location and kafka.ssl.key.location to a pair that the broker's "   \
    "truststore accepts"
/* The first that logs in by SCRAM as RFC 5802 has it, which Kafka insists on since 4.0. */
#define SCRAM_VERSION 0x020601ff

/* "ssl://host:port/1: what (after 7ms in state X, ...)": its parts, borrowed. */
struct parts {
    const char *where, *what, *state;
    size_t where_len, what_len, state_len;
};

static struct parts parts_of(const char *text)
{
    struct parts p = {.what = text};
    const char *scheme = strstr(text, "://");
    const char *colon = strstr(scheme != NULL ? scheme + 3 : text, ": ");
    const char *slash;
    const char *after;

    if (colon != NULL) {
        p.where = scheme != NULL && scheme < colon ? scheme + 3 : text;
        slash = memchr(p.where, '/', (size_t)(colon - p.where));
        p.where_len = (size_t)((slash != NULL ? slash : colon) - p.where);
        if (slash != NULL) /* else it is no broker's name */
            p.what = colon + 2;
        else
            p.where_len = 0;
    }
    after = strstr(p.what, " (after ");
    p.what_len = after != NULL ? (size_t)(after - p.what) : strlen(p.what);
    p.state = after != NULL ? strstr(after, " in state ") : NULL;
    if (p.state != NULL) {
        p.state += strlen(" in state ");
        p.state_len = strcspn(p.state, ",)");
    }
    return p;
}

static bool has(const struct parts *p, const char *words)
{
    return memmem(p->what, p->what_len, words, strlen(words)) != NULL;
}

static void tell(struct complaint *c, enum err_class class, const char *what, size_t what_len,
                 const char *remedy)
{
    c->class = class;
    (void)snprintf(c->text, sizeof c->text, "%s%s%.*s%s%s", c->where, c->where[0] ? ": " : "",
                   (int)what_len, what, remedy != NULL ? "; " : "", remedy != NULL ? remedy : "");
}

/* True where it is a certificate of ours, or that there is none. */
static bool tell_refusal(struct complaint *c, const struct parts *p, const rd_kafka_conf_t *conf)
{
    static const char none[] = "the broker asks for a client certificate, and none is set";
    char file[400];
    char description[700];
    char what[900];
    bool found = false;

    for (size_t i = 0; !found && i < sizeof refusals / sizeof *refusals; i++)
        found = has(p, refusals[i]);
    if (!found)
        return false;
    if (!kafka_conf_value(conf, "ssl.certificate.location", file, sizeof file)) {
        (void)snprintf(what, sizeof what, "%s",
                       kafka_conf_value(conf, "ssl.keystore.location", file, sizeof file) ||
                               kafka_conf_value(conf, "ssl.certificate.pem", file, sizeof file)
                           ? "the broker refuses the client certificate"
                           : none);
    } else {
        certificate_describe_file(description, sizeof description, file);
        (void)snprintf(what, sizeof what, "the broker refuses the client certificate (%s)",
                       description[0] != '\0' ? description : file);
    }
    tell(c, ERR_LOGIN, what, strlen(what), REFUSED_REMEDY);
    return true;
}

static bool tell_login(struct complaint *c, const struct parts *p, rd_kafka_resp_err_t code)
{
    char remedy[300] = "check kafka.sasl.username and kafka.sasl.password, and that the broker "
                       "knows this user by this mechanism";
    size_t n = strlen(remedy);

    if (code != RD_KAFKA_RESP_ERR__AUTHENTICATION)
        return false;
    if (has(p, "SCRAM") && rd_kafka_version() < SCRAM_VERSION)
        (void)snprintf(remedy + n, sizeof remedy - n,
                       "; by SCRAM librdkafka %s can log in to no broker of Kafka 4.0 or later, "
                       "2.6.1 can",
                       rd_kafka_version_str());
    tell(c, ERR_LOGIN, p->what, p->what_len, remedy);
    return true;
}

static bool tell_sign(struct complaint *c, const struct parts *p)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        const struct sign *s = &signs[i];

        if (!has(p, s->words) ||
            (s->state != NULL && (p->state == NULL || p->state_len != strlen(s->state) ||
                                  memcmp(p->state, s->state, p->state_len) != 0)))
            continue;
        tell(c, s->class, s->what != NULL ? s->what : p->what,
             s->what != NULL ? strlen(s->what) : p->what_len, s->remedy);
        return true;
    }
    return false;
}

void complaint_error(struct complaint *c, rd_kafka_resp_err_t code, const char *text,
                     const rd_kafka_conf_t *conf)
{
    struct parts p = parts_of(text);
    char where[sizeof c->where];

    (void)snprintf(where, sizeof where, "%.*s", (int)p.where_len, p.where_len > 0 ? p.where : "");
    if (has(&p, CERTIFICATE_ERROR) && c->certificate[0] != '\0' && strcmp(where, c->where) == 0) {
        tell(c, ERR_UNAVAILABLE, c->certificate, strlen(c->certificate), NULL);
        return;
    }
    memcpy(c->where, where, sizeof where);
    c->certificate[0] = '\0';
    if (!tell_sign(c, &p) && !tell_refusal(c, &p, conf) && !tell_login(c, &p, code))
        tell(c, ERR_UNAVAILABLE, p.what, p.what_len, kafka_error_remedy(code));
}

void complaint_log(struct complaint *c, const char *facility, const char *text)
{
    const char *line = strstr(text, "]: "); /* behind the thread's name */
    const char *why = strstr(text, CERTIFICATE_LOG);
    struct parts p;

    if (strcmp(facility, "SSLCERTVRFY") != 0 || why == NULL)
        return;
    p = parts_of(line != NULL && line < why ? line + 3 : text);
    (void)snprintf(c->where, sizeof c->where, "%.*s", (int)p.where_len,
                   p.where_len > 0 ? p.where : "");
    (void)snprintf(c->certificate, sizeof c->certificate, "%s", why + strlen(CERTIFICATE_LOG));
}

void complaint_take(struct complaint *c, rd_kafka_event_t *event, const rd_kafka_conf_t *conf)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char *facility;
    const char *text;
    int level;

    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LOG &&
        rd_kafka_event_log(event, &facility, &text, &level) == 0)
        complaint_log(c, facility, text);
    else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
             code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        complaint_error(c, code, rd_kafka_event_error_string(event), conf);
}

bool complaint_is_final(const struct complaint *c)
{
    return c->class == ERR_LOGIN || c->class == ERR_CONFIG || c->certificate[0] != '\0';
}

/* On a thread of librdkafka's. Refuses just what OpenSSL refuses. */
static int verify(rd_kafka_t *rk, const char *broker, int32_t id, int *error, int depth,
                  const char *der, size_t len, char *ret, size_t size, void *arg)
{
    char host[256];
    const char *colon = strrchr(broker, ':');
    struct certificate_fault fault = {*error,
                                      (const unsigned char *)der,
                                      len,
                                      host,
                                      "kafka.ssl.ca.location",
                                      "kafka.bootstrap.servers and the brokers' "
                                      "advertised.listeners"};

    (void)rk;
    (void)id;
    (void)depth;
    (void)arg;
    if (*error == 0)
        return 1;
    (void)snprintf(host, sizeof host, "%.*s",
                   (int)(colon != NULL ? (size_t)(colon - broker) : strlen(broker)), broker);
    certificate_explain(ret, size, &fault);
    return 0;
}

void complaint_ask(rd_kafka_conf_t *conf)
{
    char verifies[8];

    /* Without TLS in librdkafka there is nothing to ask for. */
    if (kafka_conf_value(conf, "enable.ssl.certificate.verification", verifies, sizeof verifies) &&
        strcmp(verifies, "true") == 0)
        (void)rd_kafka_conf_set_ssl_cert_verify_cb(conf, verify);
}
