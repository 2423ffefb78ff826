/*
 * Errors: functions return 0 or a negative class and fill a struct err with one message.
 * The message names where, what and what to do; it never carries a payload or a password.
 */
#ifndef OUTBOX_BASE_ERR_H
#define OUTBOX_BASE_ERR_H

enum err_class {
    ERR_NONE = 0,
    ERR_USAGE,       /* a wrong flag or command: exit 64 */
    ERR_CONFIG,      /* a wrong setting, or a schema that does not fit: exit 78 */
    ERR_PERMISSION,  /* a right is missing: exit 77 */
    ERR_LOGIN,       /* a server does not let us in as who we are: retried, or exit 77 */
    ERR_UNAVAILABLE, /* a server cannot be reached, or went away: retried, or exit 69 */
    ERR_ROW,         /* one event's own fault */
    ERR_TOPIC,       /* one topic's fault: unknown, not authorised */
    ERR_CLUSTER,     /* Kafka's fault as a whole: waits */
    ERR_FENCED,      /* another owner holds the lease */
    ERR_PROTOCOL,    /* bytes that do not parse */
    ERR_NOMEM,
    ERR_INTERNAL, /* a bug: exit 70 */
};

struct err {
    enum err_class class;
    char message[1024];
};

/* Fills e (which may be NULL) with class and the formatted message, cut to fit; returns -class. */
int err_set(struct err *e, enum err_class class, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts the formatted text in front of e's message, keeps its class; returns -class. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The process exit code (sysexits) that a class ends in. */
int err_exit_code(enum err_class class);

/* A short lower-case name of the class, for logs and metric labels; static storage. */
const char *err_class_name(enum err_class class);

#endif
