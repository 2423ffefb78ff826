/* Takes the command and its switches out of the command line; what is left are settings, which
 * config_load reads. */
#include "cli/cli.h"

#include "base/buf.h"
#include "ops/escape.h"
#include "ops/suggest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct words {
    const char *word[3]; /* what is no flag, in order */
    size_t n;
    bool help;
    bool version;
    char **rest; /* argv[0] and the settings; the strings are argv's */
    int nrest;
};

/* Sorts the arguments. Only three words are kept: no command has more than two. */
static void sort_arguments(struct words *w, int argc, char *const *argv, struct cli *ret)
{
    w->rest[w->nrest++] = argc > 0 ? argv[0] : NULL;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];

        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            w->help = true;
        } else if (strcmp(arg, "--version") == 0) {
            w->version = true;
        } else if (strcmp(arg, "--json") == 0) {
            ret->json = true;
        } else if (strcmp(arg, "--fix") == 0) {
            ret->fix = true;
        } else if (strncmp(arg, "--", 2) == 0 && arg[2] != '\0') {
            w->rest[w->nrest++] = argv[i];
            if (config_flag_takes_next(arg, i + 1 < argc ? argv[i + 1] : NULL))
                w->rest[w->nrest++] = argv[++i];
        } else if (w->n < 3) {
            w->word[w->n++] = arg;
        }
    }
}

static int refuse_word(const char *word, const char *why, const char *near, struct err *err)
{
    struct buf b = {0};
    const char *text;
    int rc;

    escape_value(&b, word);
    buf_printf(&b, " %s", why);
    if (near != NULL)
        buf_printf(&b, ", did you mean %s?", near);
    else
        buf_printf(&b, ", see `outbox-relay --help`");
    text = buf_cstr(&b);
    rc = err_set(err, ERR_USAGE, "%s", text != NULL ? text : "wrong command line");
    buf_free(&b);
    return rc;
}

/* The command that the words from `at` on say; run where there is none. *ret_used: how many. */
static int find_command(const struct words *w, size_t at, enum command *ret, size_t *ret_used,
                        struct err *err)
{
    static const char *const names[] = {"run", "check", "status", "config", "version", "help"};
    static const enum command commands[] = {COMMAND_RUN,          COMMAND_CHECK,   COMMAND_STATUS,
                                            COMMAND_CONFIG_PRINT, COMMAND_VERSION, COMMAND_HELP};
    const size_t n = sizeof names / sizeof names[0];
    size_t i = 0;

    *ret = COMMAND_RUN;
    *ret_used = 0;
    if (at >= w->n)
        return 0;
    while (i < n && strcmp(names[i], w->word[at]) != 0)
        i++;
    if (i == n)
        return refuse_word(w->word[at], "is no command", suggest(w->word[at], names, n), err);
    *ret = commands[i];
    *ret_used = 1;
    if (*ret != COMMAND_CONFIG_PRINT)
        return 0;
    if (at + 1 < w->n && strcmp(w->word[at + 1], "print") == 0)
        *ret_used = 2;
    else if (at + 1 < w->n)
        return refuse_word(w->word[at + 1], "is no command of config", "config print", err);
    else if (!w->help && at == 0)
        return err_set(err, ERR_USAGE, "config: a command is missing: config print");
    return 0;
}

static int choose(struct cli *c, const struct words *w, struct err *err)
{
    size_t used;
    size_t more = 0;
    int rc = find_command(w, 0, &c->command, &used, err);

    if (rc != 0)
        return rc;
    c->help_for = COMMAND_HELP;
    if (c->command == COMMAND_HELP && used < w->n)
        rc = find_command(w, used, &c->help_for, &more, err);
    if (rc == 0 && used + more < w->n)
        rc = refuse_word(w->word[used + more], "is not expected here", NULL, err);
    if (rc != 0)
        return rc;
    if (w->help && c->command != COMMAND_HELP) {
        c->help_for = used > 0 ? c->command : COMMAND_HELP;
        c->command = COMMAND_HELP;
    } else if (w->version && used == 0) {
        c->command = COMMAND_VERSION;
    } else if (w->version && c->command != COMMAND_VERSION && c->command != COMMAND_HELP) {
        return err_set(err, ERR_USAGE, "flag --version: goes with no command");
    }
    if (c->fix && c->command != COMMAND_CHECK && c->command != COMMAND_HELP)
        return err_set(err, ERR_USAGE, "flag --fix: goes with check");
    if (c->json && c->command == COMMAND_RUN)
        return err_set(err, ERR_USAGE,
                       "flag --json: goes with status, check, config print and version; for the "
                       "log of run it is --log-format json");
    return 0;
}

int cli_parse(struct cli *ret, int argc, char *const *argv, char *const *environ_, struct err *err)
{
    struct words w = {0};
    int rc;

    *ret = (struct cli){0};
    w.rest = calloc((size_t)(argc > 0 ? argc : 1) + 1, sizeof *w.rest);
    if (w.rest == NULL)
        return err_set(err, ERR_NOMEM, "command line: out of memory");
    sort_arguments(&w, argc, argv, ret);
    rc = choose(ret, &w, err);
    if (rc != 0 || ret->command == COMMAND_HELP)
        goto out;
    if (ret->command == COMMAND_VERSION) {
        if (w.nrest > 1)
            rc = refuse_word(w.rest[1], "is not expected here", NULL, err);
        goto out;
    }
    rc = config_load(&ret->config, w.nrest, w.rest, environ_, err);
out:
    free(w.rest);
    return rc;
}

void cli_free(struct cli *c)
{
    config_free(c->config);
    c->config = NULL;
}

int cli_fail(const struct err *err)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "outbox-relay: %s\n", err->message);
    return err_exit_code(err->class);
}

int cli_done(void)
{
    struct err err;

    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    (void)err_set(&err, ERR_INTERNAL, "cannot write to standard output: %s", strerror(errno));
    return cli_fail(&err);
}
