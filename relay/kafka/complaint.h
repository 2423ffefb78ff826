/*
 * librdkafka's complaints of brokers, made into what happened where and what to do about it. Its
 * own words name OpenSSL's functions and carry times, so that no two are the same.
 */
#ifndef OUTBOX_KAFKA_COMPLAINT_H
#define OUTBOX_KAFKA_COMPLAINT_H

#include "base/err.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

struct complaint {
    enum err_class class;  /* ERR_NONE: there is none */
    char where[300];       /* "host:port" of the broker */
    char certificate[512]; /* why its certificate was refused, until another complaint comes */
    char text[1000];       /* "host:port: what happened; what to do" */
};

/* Takes what an event of a producer with this configuration says of a broker; other events leave
 * *c as it is. The class is ERR_UNAVAILABLE, ERR_LOGIN where the broker refuses who we are, or
 * ERR_CONFIG where it names what it takes instead. */
void complaint_take(struct complaint *c, rd_kafka_event_t *event, const rd_kafka_conf_t *conf);

/* The same of an error, and of a log line, by its text. */
void complaint_error(struct complaint *c, rd_kafka_resp_err_t code, const char *text,
                     const rd_kafka_conf_t *conf);
void complaint_log(struct complaint *c, const char *facility, const char *text);

/* Whether trying again is in vain while neither the broker nor our files and settings change. */
bool complaint_is_final(const struct complaint *c);

/* Has librdkafka say why it refuses a certificate, by a log line that complaint_log takes. */
void complaint_ask(rd_kafka_conf_t *conf);

#endif
