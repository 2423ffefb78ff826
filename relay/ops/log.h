/*
 * The log: one line a thing, a JSON object off a terminal and readable text on one. Only the
 * composition (relay.c, cli) logs: modules below return errors and call back. Never a payload,
 * never a password.
 */
#ifndef OUTBOX_OPS_LOG_H
#define OUTBOX_OPS_LOG_H

#include "ops/config.h"

struct log;

/* LOG_AUTO picks text when fd is a terminal. NO_COLOR is honoured. The caller owns *ret; log_close.
 */
int log_open(struct log **ret, int fd, enum log_level level, enum log_format format,
             struct err *err);
void log_close(struct log *l);
void log_set_level(struct log *l, enum log_level level);

/* What a field's value is. */
enum log_kind { LOG_STR, LOG_INT };
struct log_field {
    const char *key;
    enum log_kind kind;
    const char *str; /* NULL: the field is left out */
    int64_t num;
};
#define LOG_F_STR(k, v) ((struct log_field){.key = (k), .kind = LOG_STR, .str = (v)})
#define LOG_F_INT(k, v) ((struct log_field){.key = (k), .kind = LOG_INT, .num = (int64_t)(v)})

/* One line {"ts","level","component","msg", fields...}: written in one write(2), any text escaped.
 * l may be NULL (nothing is written). component: "relay", "postgres", "kafka", "http", "lease". */
void log_write(struct log *l, enum log_level level, const char *component,
               const struct log_field *fields, size_t nfields, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

#define log_debug(l, c, ...) log_write((l), LOG_DEBUG, (c), NULL, 0, __VA_ARGS__)
#define log_info(l, c, ...) log_write((l), LOG_INFO, (c), NULL, 0, __VA_ARGS__)
#define log_warn(l, c, ...) log_write((l), LOG_WARN, (c), NULL, 0, __VA_ARGS__)
#define log_error(l, c, ...) log_write((l), LOG_ERROR, (c), NULL, 0, __VA_ARGS__)

#endif
