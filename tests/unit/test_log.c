/* The log: the form of its lines, that any text stays on one line and is valid JSON, levels, colour
 * only where a terminal wants it. */
#include "ops/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define JSON "{\"ts\":\""

/* Reads what waits in fd into text (NUL-terminated). */
static void read_all(int fd, char *text, size_t size)
{
    ssize_t n = read(fd, text, size - 1);

    assert_true(n >= 0);
    text[n] = '\0';
}

struct piped {
    int fds[2];
    struct log *log;
};

static struct piped open_piped(enum log_level level, enum log_format format)
{
    struct piped p;
    struct err err;

    assert_int_equal(pipe2(p.fds, O_NONBLOCK), 0);
    assert_int_equal(log_open(&p.log, p.fds[1], level, format, &err), 0);
    return p;
}

static void close_piped(struct piped *p)
{
    log_close(p->log);
    close(p->fds[0]);
    close(p->fds[1]);
}

static bool nothing_waits(int fd)
{
    char c;

    return read(fd, &c, 1) < 0;
}

static void test_json(void **state)
{
    struct piped p = open_piped(LOG_INFO, LOG_AUTO); /* a pipe is no terminal */
    const struct log_field fields[] = {LOG_F_STR("topic", "orders"), LOG_F_INT("n", -5),
                                       LOG_F_STR("left_out", NULL), LOG_F_STR("empty", "")};
    char line[1024];
    json_t *o;

    (void)state;
    log_write(p.log, LOG_WARN, "kafka", fields, 4, "away for %d s", 3);
    read_all(p.fds[0], line, sizeof line);
    assert_int_equal(strncmp(line, JSON, strlen(JSON)), 0);
    assert_string_equal(line + strlen(JSON) + 24,
                        "\",\"level\":\"warn\",\"component\":\"kafka\",\"msg\":\"away for 3 s\","
                        "\"topic\":\"orders\",\"n\":-5,\"empty\":\"\"}\n");
    assert_int_equal(line[strlen(JSON) + 10], 'T');
    assert_int_equal(line[strlen(JSON) + 23], 'Z');
    o = json_loads(line, 0, NULL);
    assert_non_null(o);
    json_decref(o);
    close_piped(&p);
}

static void test_levels(void **state)
{
    struct piped p = open_piped(LOG_WARN, LOG_JSON);
    char line[1024];

    (void)state;
    log_debug(p.log, "relay", "no");
    log_info(p.log, "relay", "no");
    assert_true(nothing_waits(p.fds[0]));
    log_warn(p.log, "relay", "yes");
    read_all(p.fds[0], line, sizeof line);
    assert_non_null(strstr(line, "\"level\":\"warn\""));
    log_error(p.log, "relay", "yes");
    read_all(p.fds[0], line, sizeof line);
    assert_non_null(strstr(line, "\"level\":\"error\""));
    log_error(NULL, "relay", "nowhere to");
    close_piped(&p);
    log_close(NULL);
}

/* Bytes 1 to 255, broken and dangerous UTF-8: one line, valid JSON, nothing raw that a terminal
 * would act on. */
static void test_any_bytes(void **state)
{
    /* overlong, surrogate, too large, cut short, C1, bidirectional override, ... */
    static const char *const nasty[] = {
        "\300\257",         "\355\240\200",  "\364\220\200\200", "\342\202",
        "\302\23331m",      "\342\200\256", /* NOLINT(misc-misleading-bidirectional) */
        "\360\237\222\251", "\"quote\\back", "line\nbreak\r\tx", "\377\376\200",
    };
    char bytes[256];
    struct piped p = open_piped(LOG_INFO, LOG_JSON);
    struct piped t = open_piped(LOG_INFO, LOG_TEXT);
    char line[8192];

    (void)state;
    for (int i = 0; i < 255; i++)
        bytes[i] = (char)(i + 1);
    bytes[255] = '\0';
    for (size_t i = 0; i <= sizeof nasty / sizeof nasty[0]; i++) {
        const char *text = i == 0 ? bytes : nasty[i - 1];
        const struct log_field field = LOG_F_STR("value", text);
        json_t *o;

        log_write(p.log, LOG_INFO, "relay", &field, 1, "%s", text);
        read_all(p.fds[0], line, sizeof line);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        assert_null(strchr(line, 0x1b));
        assert_null(strstr(line, "\xc2\x9b"));
        /* NOLINTNEXTLINE(misc-misleading-bidirectional) */
        assert_null(strstr(line, "\342\200\256"));
        o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(o);
        json_decref(o);

        log_write(t.log, LOG_INFO, "relay", &field, 1, "%s", text);
        read_all(t.fds[0], line, sizeof line);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        assert_null(strchr(line, 0x1b));
        assert_null(strstr(line, "\xc2\x9b"));
        assert_null(strchr(line, 0xff));
    }
    close_piped(&p);
    close_piped(&t);
}

static void test_text(void **state)
{
    struct piped p = open_piped(LOG_DEBUG, LOG_TEXT);
    const struct log_field fields[] = {LOG_F_STR("topic", "orders"), LOG_F_STR("error", "no such"),
                                       LOG_F_INT("n", 5), LOG_F_STR("empty", ""),
                                       LOG_F_STR("q", "a\"b")};
    char line[1024];

    (void)state;
    log_write(p.log, LOG_INFO, "kafka", fields, 5, "100%% up\x1b[2J");
    read_all(p.fds[0], line, sizeof line);
    assert_string_equal(line + 24,
                        " INFO  kafka: 100% up\\x1b[2J topic=orders error=\"no such\" n=5 "
                        "empty=\"\" q=\"a\\\"b\"\n");
    close_piped(&p);
}

static void test_long_message_is_bounded(void **state)
{
    struct piped p = open_piped(LOG_DEBUG, LOG_JSON);
    char *text = malloc(100000);
    char line[65536];

    (void)state;
    memset(text, 'x', 99999);
    text[99999] = '\0';
    log_info(p.log, "relay", "%s", text);
    read_all(p.fds[0], line, sizeof line);
    assert_in_range(strlen(line), 2000, 4096);
    assert_int_equal(line[strlen(line) - 1], '\n');
    free(text);
    close_piped(&p);
}

/* A reader that is gone or slow never stops the relay. */
static void test_full_pipe(void **state)
{
    struct piped p = open_piped(LOG_DEBUG, LOG_JSON);

    (void)state;
    for (int i = 0; i < 10000; i++)
        log_info(p.log, "relay", "a line that nobody reads");
    close_piped(&p);
}

/* What a terminal is sent under these two variables. */
static void on_terminal(const char *no_color, const char *term, char *line, size_t size)
{
    struct err err;
    struct log *l;
    int master;
    int slave;

    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    if (no_color != NULL)
        setenv("NO_COLOR", no_color, 1);
    else
        unsetenv("NO_COLOR");
    setenv("TERM", term, 1);
    assert_int_equal(log_open(&l, slave, LOG_INFO, LOG_AUTO, &err), 0);
    log_warn(l, "relay", "hello");
    read_all(master, line, size);
    log_close(l);
    close(master);
    close(slave);
}

static void test_terminal(void **state)
{
    char line[1024];

    (void)state;
    on_terminal(NULL, "xterm", line, sizeof line);
    assert_non_null(strstr(line, "\033[33mWARN \033[0m relay: hello"));
    on_terminal("", "xterm", line, sizeof line);
    assert_non_null(strchr(line, 033));
    on_terminal("1", "xterm", line, sizeof line);
    assert_non_null(strstr(line, " WARN  relay: hello"));
    assert_null(strchr(line, 033));
    on_terminal(NULL, "dumb", line, sizeof line);
    assert_null(strchr(line, 033));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_long_message_is_bounded),
        cmocka_unit_test(test_full_pipe),
        cmocka_unit_test(test_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
