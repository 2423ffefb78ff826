/*
 * The settings: one table (config_table.c) drives parsing, defaults, help, `config print`.
 * Precedence: flag > environment > file > default. Everything is checked before anything is
 * touched.
 */
#ifndef OUTBOX_OPS_CONFIG_H
#define OUTBOX_OPS_CONFIG_H

#include "base/err.h"
#include "core/columns.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum source_mode { SOURCE_AUTO, SOURCE_TABLE, SOURCE_WAL };
enum ack_mode { ACK_DELETE, ACK_MARK };
enum failure_policy { POLICY_PARK, POLICY_DEAD_LETTER, POLICY_HALT };
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON };

struct kafka_property {
    char *name; /* without the "kafka." prefix */
    char *value;
    char *from; /* where it came from, for `config print` */
};

/* Every value, parsed; strings are owned by the config. */
struct config {
    char *postgres_uri;        /* "" : libpq's PG* variables */
    char *postgres_direct_uri; /* "" : postgres_uri */
    enum source_mode source_mode;
    char *source_table; /* "outbox" or "schema.outbox" */
    int64_t source_poll_interval_ms;
    char *source_slot; /* "" : a temporary one */
    char *source_publication;
    char *source_message_prefix;
    int64_t source_wal_budget; /* bytes */
    int64_t lease_ttl_ms;
    char *column_names[COLUMN_KINDS];
    char *columns_additional;
    struct columns *columns;  /* of both */
    char *record_type_header; /* "" : none */
    enum ack_mode ack_mode;
    int64_t window_events;
    int64_t window_bytes;
    char *route_topic; /* a template with ${column} placeholders */
    enum failure_policy failure_policy;
    char *failure_topics;            /* "PATTERN=POLICY, ..." */
    char *failure_dead_letter_topic; /* may hold ${topic}; "" : no copies */
    char *http_listen;               /* "" : off */
    enum log_level log_level;
    enum log_format log_format;
    int64_t shutdown_timeout_ms;
    struct kafka_property *kafka;
    size_t nkafka;
    struct config_sources *sources; /* where each value came from; private to config.c */
};

/*
 * Fills *ret from flags (argv[0] is skipped; only --setting[=]value pairs and --config FILE are
 * left in it), the environment (NULL-terminated "NAME=value" array) and the file. Errors name where
 * (the flag, the variable, the file with line and column for syntax, key for values), what and what
 * is allowed: ERR_USAGE for flags, ERR_CONFIG otherwise. The caller owns *ret; config_free.
 */
int config_load(struct config **ret, int argc, char *const *argv, char *const *environ_,
                struct err *err);
void config_free(struct config *c);

/* True where next is the value of flag ("--name value"), which is so unless flag has a '=' or next
 * starts with "--". */
bool config_flag_takes_next(const char *flag, const char *next);

/* The effective values, one "key = value  (from where)" a line, or as JSON; secrets are shown as
 * "(hidden)", and a password inside a URI is cut out. */
int config_print(const struct config *c, FILE *out, bool json, struct err *err);

/* The text of `--help` about settings: flag, default, meaning; generated from the table. ERR_NOMEM.
 */
int config_help(FILE *out, struct err *err);

/* Puts in front of an error that begins with "kafka.NAME:" where that was set. */
void config_say_where(const struct config *c, struct err *err);

/* True where this key's value must never be shown: passwords, keys, sasl.jaas... (name without
 * "kafka."). */
bool config_is_secret(const char *key);

#endif
