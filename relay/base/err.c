#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, enum err_class class, const char *fmt, ...)
{
    va_list ap;

    if (e != NULL) {
        e->class = class;
        va_start(ap, fmt);
        (void)vsnprintf(e->message, sizeof e->message, fmt, ap);
        va_end(ap);
    }
    return -(int)class;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char kept[sizeof e->message];
    va_list ap;
    size_t n;

    memcpy(kept, e->message, sizeof kept);
    va_start(ap, fmt);
    (void)vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    n = strlen(e->message);
    (void)snprintf(e->message + n, sizeof e->message - n, "%s", kept);
    return -(int)e->class;
}

int err_exit_code(enum err_class class)
{
    switch (class) {
    case ERR_NONE:
        return 0;
    case ERR_USAGE:
        return 64;
    case ERR_ROW:
        return 65;
    case ERR_UNAVAILABLE:
    case ERR_TOPIC:
    case ERR_CLUSTER:
        return 69;
    case ERR_PERMISSION:
    case ERR_LOGIN:
        return 77;
    case ERR_CONFIG:
        return 78;
    case ERR_FENCED:
    case ERR_PROTOCOL:
    case ERR_NOMEM:
    case ERR_INTERNAL:
        break;
    }
    return 70;
}

const char *err_class_name(enum err_class class)
{
    static const char *const names[] = {
        "none",  "usage",   "config", "permission", "login", "unavailable", "row",
        "topic", "cluster", "fenced", "protocol",   "nomem", "internal",
    };
    return names[class];
}
