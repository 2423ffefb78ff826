/* Each line is built in a buffer that is kept, and written at once, so that lines of several
 * processes on one pipe do not mix. */
#include "ops/log.h"

#include "base/buf.h"
#include "ops/escape.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct log {
    int fd;
    enum log_level level;
    bool json;
    bool colour;
    struct buf line;
};

static bool wants_colour(int fd)
{
    const char *no_color = getenv("NO_COLOR"); /* NOLINT(concurrency-mt-unsafe) */
    const char *term = getenv("TERM");         /* NOLINT(concurrency-mt-unsafe) */

    return isatty(fd) == 1 && (no_color == NULL || *no_color == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

int log_open(struct log **ret, int fd, enum log_level level, enum log_format format,
             struct err *err)
{
    struct log *l = calloc(1, sizeof *l);

    if (l == NULL)
        return err_set(err, ERR_NOMEM, "log: out of memory");
    l->fd = fd;
    l->level = level;
    l->json = format == LOG_JSON || (format == LOG_AUTO && isatty(fd) != 1);
    l->colour = !l->json && wants_colour(fd);
    *ret = l;
    return 0;
}

void log_close(struct log *l)
{
    if (l == NULL)
        return;
    buf_free(&l->line);
    free(l);
}

void log_set_level(struct log *l, enum log_level level)
{
    l->level = level;
}

static void write_time(struct buf *b)
{
    struct timespec now;
    struct tm tm;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    if (strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) > 0)
        buf_printf(b, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

static void json_string(struct buf *b, const char *text)
{
    buf_append(b, "\"", 1);
    escape_json(b, text, strlen(text));
    buf_append(b, "\"", 1);
}

static void json_line(struct buf *b, const char *level, const char *component, const char *msg,
                      const struct log_field *fields, size_t nfields)
{
    buf_printf(b, "{\"ts\":\"");
    write_time(b);
    buf_printf(b, "\",\"level\":\"%s\",\"component\":", level);
    json_string(b, component);
    buf_printf(b, ",\"msg\":");
    json_string(b, msg);
    for (size_t i = 0; i < nfields; i++) {
        if (fields[i].kind == LOG_STR && fields[i].str == NULL)
            continue;
        buf_append(b, ",", 1);
        json_string(b, fields[i].key);
        if (fields[i].kind == LOG_INT) {
            buf_printf(b, ":%lld", (long long)fields[i].num);
        } else {
            buf_append(b, ":", 1);
            json_string(b, fields[i].str);
        }
    }
    buf_append(b, "}\n", 2);
}

/* A value that blanks, quotes or nothing at all would make ambiguous is quoted. */
static void text_value(struct buf *b, const char *text)
{
    if (*text != '\0' && strpbrk(text, " \"=\\") == NULL)
        escape_text(b, text, strlen(text));
    else
        json_string(b, text);
}

static void text_line(const struct log *l, struct buf *b, enum log_level level,
                      const char *component, const char *msg, const struct log_field *fields,
                      size_t nfields)
{
    static const char *const names[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    static const char *const colours[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};

    write_time(b);
    if (l->colour)
        buf_printf(b, " %s%s\033[0m %s: ", colours[level], names[level], component);
    else
        buf_printf(b, " %s %s: ", names[level], component);
    escape_text(b, msg, strlen(msg));
    for (size_t i = 0; i < nfields; i++) {
        if (fields[i].kind == LOG_STR && fields[i].str == NULL)
            continue;
        buf_printf(b, " %s=", fields[i].key);
        if (fields[i].kind == LOG_INT)
            buf_printf(b, "%lld", (long long)fields[i].num);
        else
            text_value(b, fields[i].str);
    }
    buf_append(b, "\n", 1);
}

/* One write; what a signal or a full pipe cut short is given once more, what a broken one refuses
 * is lost: the log never stops the relay. */
static void write_line(int fd, const struct buf *b)
{
    size_t at = 0;

    while (at < b->len) {
        ssize_t n = write(fd, b->data + at, b->len - at);

        if (n > 0)
            at += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return;
    }
}

void log_write(struct log *l, enum log_level level, const char *component,
               const struct log_field *fields, size_t nfields, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char msg[2048];
    va_list ap;

    if (l == NULL || level < l->level)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    buf_reset(&l->line);
    if (l->json)
        json_line(&l->line, names[level], component, msg, fields, nfields);
    else
        text_line(l, &l->line, level, component, msg, fields, nfields);
    if (!l->line.failed)
        write_line(l->fd, &l->line);
}
