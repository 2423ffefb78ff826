/* Takes the command and its switches out of the command line; what is left are settings, which
 * config_load reads. */
#include "cli/commands.h"

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
    const char *own[COMMAND_HELP]; /* by command: the first flag that it alone has */
    const char *without;           /* one of them that wants a value and has none */
    char **rest;                   /* argv[0] and the settings; the strings are argv's */
    int nrest;
};

static void note_flag(struct words *w, const struct command_flag *f)
{
    for (unsigned i = 0; i < COMMAND_HELP; i++)
        if (f->commands == COMMAND_BIT(i) && w->own[i] == NULL)
            w->own[i] = f->name;
}

/* A flag of the table; true if it was one. *at moves on to its value. */
static bool take_flag(struct words *w, struct cli *ret, int argc, char *const *argv, int *at)
{
    const char *arg = argv[*at];

    for (size_t i = 0; i < COMMAND_FLAGS; i++) {
        const struct command_flag *f = &command_flags[i];
        void *field = (char *)ret + f->offset;
        size_t len = strlen(f->name);

        if (strncmp(arg, f->name, len) != 0 ||
            (arg[len] != '\0' && (arg[len] != '=' || f->value == NULL)))
            continue;
        note_flag(w, f);
        if (f->value == NULL)
            *(bool *)field = true;
        else if (arg[len] == '=')
            *(const char **)field = arg + len + 1;
        else if (*at + 1 < argc)
            *(const char **)field = argv[++*at];
        else
            w->without = f->name;
        return true;
    }
    return false;
}

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
        } else if (take_flag(w, ret, argc, argv, &i)) {
            continue;
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
    const char *names[COMMAND_HELP + 1];
    const size_t n = sizeof names / sizeof *names;
    size_t i = 0;

    for (size_t k = 0; k < n; k++)
        names[k] = command_table[k].name;
    *ret = COMMAND_RUN;
    *ret_used = 0;
    if (at >= w->n)
        return 0;
    while (i < n && strcmp(names[i], w->word[at]) != 0)
        i++;
    if (i == n)
        return refuse_word(w->word[at], "is no command", suggest(w->word[at], names, n), err);
    *ret = (enum command)i;
    *ret_used = 1;
    if (*ret != COMMAND_CONFIG_PRINT)
        return 0;
    if (at + 1 < w->n && strcmp(w->word[at + 1], command_table[*ret].verbs[0]) == 0)
        *ret_used = 2;
    else if (at + 1 < w->n)
        return refuse_word(w->word[at + 1], "is no command of config", "config print", err);
    else if (!w->help && at == 0)
        return err_set(err, ERR_USAGE, "config: a command is missing: config print");
    return 0;
}

static bool is_uuid(const char *text)
{
    static const char hex[] = "0123456789abcdefABCDEF";

    for (int i = 0; i < 36; i++)
        if (i == 8 || i == 13 || i == 18 || i == 23
                ? text[i] != '-'
                : text[i] == '\0' || strchr(hex, text[i]) == NULL)
            return false;
    return text[36] == '\0';
}

/* The verb of the command's second word: its place in verbs. *ret_used: how many words. */
static int find_verb(const struct words *w, enum command command, const char *missing, size_t *ret,
                     size_t *ret_used, struct err *err)
{
    const struct command_entry *e = &command_table[command];
    char why[64];
    size_t n = 0;

    if (w->n < 2)
        return err_set(err, ERR_USAGE, "%s: a command is missing: %s", e->name, missing);
    *ret_used = 2;
    for (; e->verbs[n] != NULL; n++) {
        if (strcmp(e->verbs[n], w->word[1]) == 0) {
            *ret = n;
            return 0;
        }
    }
    (void)snprintf(why, sizeof why, "is no command of %s", e->name);
    return refuse_word(w->word[1], why, suggest(w->word[1], e->verbs, n), err);
}

/* dead VERB [ID]; *ret_used: how many words. */
static int choose_dead(struct cli *c, const struct words *w, size_t *ret_used, struct err *err)
{
    size_t verb = 0;
    bool any = c->all || c->dead.filter.key != NULL || c->dead.filter.topic != NULL ||
               c->dead.filter.error != NULL;
    int rc = find_verb(w, COMMAND_DEAD, "list, show, retry or discard", &verb, ret_used, err);

    if (rc != 0)
        return rc;
    c->dead.verb = (enum dead_verb)verb;
    if (w->n > 2 && c->dead.filter.id == NULL) {
        c->dead.filter.id = w->word[2];
        *ret_used = 3;
    }
    if (w->without != NULL)
        return 0; /* check_flags says so */
    if (c->dead.filter.id != NULL && !is_uuid(c->dead.filter.id))
        return err_set(err, ERR_USAGE, "dead %s: an event's id is a uuid, as dead list shows it",
                       w->word[1]);
    if (c->dead.verb != DEAD_LIST && c->dead.filter.id == NULL && !any)
        return err_set(err, ERR_USAGE,
                       "dead %s: which? An id, --key, --topic, --error (a part of it) or --all",
                       w->word[1]);
    if (c->dead.verb == DEAD_DISCARD && (c->dead.reason == NULL || *c->dead.reason == '\0'))
        return err_set(err, ERR_USAGE, "dead discard: --reason is missing; it is kept");
    return 0;
}

static int choose_schema(struct cli *c, const struct words *w, size_t *ret_used, struct err *err)
{
    size_t verb = 0;
    int rc = find_verb(w, COMMAND_SCHEMA, "print or check", &verb, ret_used, err);

    c->schema.check = verb == 1;
    return rc;
}

/* Flags that are another command's, or have no value. */
static int check_flags(const struct cli *c, const struct words *w, struct err *err)
{
    static const char *const names[COMMAND_HELP] = {[COMMAND_CHECK] = "check",
                                                    [COMMAND_DEAD] = "dead",
                                                    [COMMAND_SCHEMA] = "schema print",
                                                    [COMMAND_ADOPT] =
                                                        "adopt; for run it is --source-slot"};

    for (enum command i = 0; i < COMMAND_HELP; i++)
        if (w->own[i] != NULL && (c->command != i || (i == COMMAND_SCHEMA && c->schema.check)))
            return err_set(err, ERR_USAGE, "flag %s: goes with %s", w->own[i], names[i]);
    if (w->without != NULL)
        return err_set(err, ERR_USAGE, "flag %s: a value is missing", w->without);
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
    if (c->command == COMMAND_DEAD && !w->help)
        rc = choose_dead(c, w, &used, err);
    else if (c->command == COMMAND_SCHEMA && !w->help)
        rc = choose_schema(c, w, &used, err);
    else if (c->command == COMMAND_DEAD || c->command == COMMAND_SCHEMA)
        used = w->n;
    if (rc == 0 && c->command != COMMAND_HELP && !w->help)
        rc = check_flags(c, w, err);
    if (rc != 0)
        return rc;
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
    if (c->json && c->command == COMMAND_RUN)
        return err_set(
            err, ERR_USAGE,
            "flag --json: goes with status, doctor, check, dead, adopt, config print and version; "
            "for the log of run it is --log-format json");
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

int cli_sink_options(const struct config *config, struct sink_options *ret,
                     struct sink_property **ret_properties, struct err *err)
{
    struct sink_property *properties = calloc(config->nkafka + 1, sizeof *properties);

    if (properties == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < config->nkafka; i++)
        properties[i] = (struct sink_property){config->kafka[i].name, config->kafka[i].value};
    *ret = (struct sink_options){
        .properties = properties,
        .nproperties = config->nkafka,
        .window_events = (uint32_t)config->window_events,
        .window_bytes = (uint64_t)config->window_bytes,
    };
    *ret_properties = properties;
    return 0;
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
