/* What the tests of the settings share: loading from lists, and what must come of it. */
#ifndef OUTBOX_TESTS_CONFIG_CASE_H
#define OUTBOX_TESTS_CONFIG_CASE_H

#include "base/buf.h"
#include "ops/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The result of config_load for a NULL-terminated environment and flags. */
struct loaded {
    int rc;
    struct err err;
    struct config *config;
};

/* Copies of a NULL-terminated list behind an unused argv[0]; the caller frees them by free_list. */
static inline char **copy_list(const char *const *list)
{
    char **copy;
    size_t n = 0;

    while (list != NULL && list[n] != NULL)
        n++;
    copy = calloc(n + 2, sizeof *copy);
    assert_non_null(copy);
    copy[0] = strdup("outbox-relay");
    for (size_t i = 0; i < n; i++)
        copy[i + 1] = strdup(list[i]);
    return copy;
}

static inline void free_list(char **list)
{
    for (size_t i = 0; list[i] != NULL; i++)
        free(list[i]);
    free(list);
}

/* The arguments are gone when it returns: a config that still pointed into them would show. */
static inline struct loaded load(const char *const *environment, const char *const *flags)
{
    struct loaded l = {0};
    char **argv = copy_list(flags);
    char **variables = copy_list(environment);
    int argc = 0;

    while (argv[argc] != NULL)
        argc++;
    l.rc = config_load(&l.config, argc, argv, variables + 1, &l.err);
    if (l.rc != 0)
        assert_null(l.config);
    free_list(argv);
    free_list(variables);
    return l;
}

#define LIST(...)                                                                                  \
    (const char *[])                                                                               \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static inline void expect_ok(const struct loaded *l)
{
    if (l->rc != 0)
        fail_msg("refused: %s", l->err.message);
}

static inline void expect_refused(struct loaded l, enum err_class class, const char *message)
{
    assert_int_equal(l.rc, -(int)class);
    assert_int_equal(l.err.class, class);
    assert_string_equal(l.err.message, message);
}

/* config_print's text; the caller frees it. */
static inline char *printed(const struct config *c, bool json)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct err err;

    assert_non_null(out);
    assert_int_equal(config_print(c, out, json, &err), 0);
    assert_int_equal(fclose(out), 0);
    return text;
}

static inline void expect_line(const struct config *c, const char *line)
{
    char *text = printed(c, false);

    if (strncmp(text, line, strlen(line)) != 0) {
        struct buf with_break = {0};

        buf_printf(&with_break, "\n%s\n", line);
        if (strstr(text, buf_cstr(&with_break)) == NULL)
            fail_msg("no line \"%s\" in:\n%s", line, text);
        buf_free(&with_break);
    }
    free(text);
}

/* A file of the test's own; the caller frees the name and unlinks it. */
static inline char *temporary(const char *content, size_t len)
{
    char *path = strdup("/tmp/test_config.XXXXXX");
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), (ssize_t)len);
    close(fd);
    return path;
}

static inline char *assignment(const char *name, const char *value)
{
    char *text;

    assert_true(asprintf(&text, "%s=%s", name, value) > 0);
    return text;
}

#endif
