/* Puts the layers on top of each other: defaults, file, environment, flags. Every layer is checked
 * in full, also where a higher one wins. */
#include "ops/config.h"

#include "ops/config_layers.h"
#include "ops/escape.h"
#include "ops/suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_SHOWN 100

int config_refuse(const struct setting *s, const char *text, const struct origin *o,
                  struct err *err)
{
    struct buf b = {0};
    const char *message;
    int rc;

    if (text == NULL || o->hide || s->secret)
        buf_printf(&b, "the value");
    else
        escape_value(&b, text);
    buf_printf(&b, " is not allowed: ");
    setting_allowed(s, &b);
    message = buf_cstr(&b);
    rc = err_set(err, o->class, "%s: %s", o->where, message != NULL ? message : "not allowed");
    buf_free(&b);
    return rc;
}

int config_unknown(const char *where, const char *name, spelling *spell, const char *file_name,
                   enum err_class class, struct err *err)
{
    char names[SETTINGS + 2][SETTING_NAME_MAX];
    const char *candidates[SETTINGS + 2];
    const char *near;
    const char *shown;
    struct buf b = {0};
    size_t n = 0;
    int rc;

    for (; n < SETTINGS; n++)
        spell(setting_table[n].key, names[n]);
    spell(KAFKA_PREFIX "bootstrap.servers", names[n++]);
    if (file_name != NULL)
        (void)snprintf(names[n++], SETTING_NAME_MAX, "%s", file_name);
    for (size_t i = 0; i < n; i++)
        candidates[i] = names[i];
    near = suggest(name, candidates, n);
    escape_text(&b, name, strlen(name) < NAME_SHOWN ? strlen(name) : NAME_SHOWN);
    shown = buf_cstr(&b);
    if (near != NULL)
        rc = err_set(err, class, "%s%s: unknown setting, did you mean %s?", where,
                     shown != NULL ? shown : "", near);
    else
        rc = err_set(err, class, "%s%s: unknown setting, `outbox-relay --help` lists them", where,
                     shown != NULL ? shown : "");
    buf_free(&b);
    return rc;
}

void config_show_path(const char *path, char ret[PATH_SHOWN])
{
    struct buf b = {0};
    const char *shown;

    escape_text(&b, path, strlen(path));
    shown = buf_cstr(&b);
    (void)snprintf(ret, PATH_SHOWN, "%s", shown != NULL ? shown : "?");
    buf_free(&b);
}

bool config_name_plain(const char *name)
{
    while (*name >= 0x20 && *name < 0x7f)
        name++;
    return *name == '\0';
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "settings: out of memory");
}

static int replace(char **at, const char *text, struct err *err)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return no_memory(err);
    free(*at);
    *at = copy;
    return 0;
}

/* librdkafka says which properties exist; here only the form is checked. */
static bool kafka_name_ok(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len + strlen(KAFKA_PREFIX) < SETTING_NAME_MAX - 16 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len && name[0] != '.' &&
           name[len - 1] != '.' && strstr(name, "..") == NULL;
}

/* The property of that name, made where it is not there yet; NULL: out of memory. */
static struct kafka_property *kafka_property(struct config *c, const char *name)
{
    struct kafka_property *grown;
    char *copy;

    for (size_t i = 0; i < c->nkafka; i++)
        if (strcmp(c->kafka[i].name, name) == 0)
            return &c->kafka[i];
    copy = strdup(name);
    grown = copy == NULL ? NULL : realloc(c->kafka, (c->nkafka + 1) * sizeof *grown);
    if (grown == NULL) {
        free(copy);
        return NULL;
    }
    c->kafka = grown;
    grown[c->nkafka] = (struct kafka_property){.name = copy};
    return &grown[c->nkafka++];
}

static int set_kafka(struct config *c, const char *name, const char *value, const struct origin *o,
                     struct err *err)
{
    struct kafka_property *p;
    int rc;

    if (!kafka_name_ok(name))
        return err_set(err, o->class,
                       "%s: not a librdkafka property: its name is of lower-case letters, digits, "
                       "dots, - and _, such as kafka.bootstrap.servers",
                       o->where);
    p = kafka_property(c, name);
    if (p == NULL)
        return no_memory(err);
    rc = replace(&p->value, value, err);
    return rc != 0 ? rc : replace(&p->from, o->from, err);
}

int config_set(struct config *c, const char *key, const char *value, const struct origin *o,
               struct err *err)
{
    const struct setting *s = setting_find(key);

    if (strncmp(key, KAFKA_PREFIX, strlen(KAFKA_PREFIX)) == 0)
        return set_kafka(c, key + strlen(KAFKA_PREFIX), value, o, err);
    if (s == NULL)
        return err_set(err, o->class, "%s: unknown setting", o->where);
    switch (setting_store(s, value, c)) {
    case SETTING_OK:
        return replace(&c->sources->from[s - setting_table], o->from, err);
    case SETTING_REFUSED:
        return config_refuse(s, value, o, err);
    case SETTING_NOMEM:
        break;
    }
    return no_memory(err);
}

int config_read(const char *path, size_t limit, struct buf *b, struct err *err)
{
    char chunk[4096];
    size_t total = 0;
    ssize_t n;
    int rc = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set(err, ERR_CONFIG, "%s", strerror(errno));
    for (;;) {
        n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        total += (size_t)n;
        if (total > limit) {
            rc = err_set(err, ERR_CONFIG, "larger than %zu bytes", limit);
            goto out;
        }
        buf_append(b, chunk, (size_t)n);
    }
    if (n < 0)
        rc = err_set(err, ERR_CONFIG, "%s", strerror(errno));
    else if (buf_cstr(b) == NULL)
        rc = no_memory(err);
out:
    explicit_bzero(chunk, sizeof chunk);
    close(fd);
    return rc;
}

static int set_defaults(struct config *c, struct err *err)
{
    const struct origin o = {.where = "default", .from = "default", .class = ERR_INTERNAL};
    int rc = 0;

    for (size_t i = 0; i < SETTINGS && rc == 0; i++)
        rc = config_set(c, setting_table[i].key, setting_table[i].default_text, &o, err);
    return rc;
}

static const char *file_variable(char *const *environ_)
{
    const size_t len = strlen(CONFIG_VARIABLE "=");

    for (; environ_ != NULL && *environ_ != NULL; environ_++)
        if (strncmp(*environ_, CONFIG_VARIABLE "=", len) == 0)
            return *environ_ + len;
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    const struct kafka_property *x = a;
    const struct kafka_property *y = b;

    return strcmp(x->name, y->name);
}

/* A topic is made of columns that are there, and a copy of a dead event of what says that it is
 * one. */
static int check_columns(const struct config *c, struct err *err)
{
    static const enum column_kind routed[] = {COLUMN_AGGREGATETYPE, COLUMN_TYPE};
    static const enum column_kind copied[] = {COLUMN_HEADERS, COLUMN_TOPIC};

    for (size_t i = 0; i < sizeof routed / sizeof *routed; i++) {
        const char *name = column_own_name(routed[i]);
        char part[32];

        (void)snprintf(part, sizeof part, "${%s}", name);
        if (!columns_has(c->columns, routed[i]) && !columns_has(c->columns, COLUMN_TOPIC) &&
            strstr(c->route_topic, part) != NULL)
            return err_set(err, ERR_CONFIG,
                           "route.topic is \"%s\", and columns.%s and columns.topic name no "
                           "column: set one of the three",
                           c->route_topic, name);
    }
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        if (c->failure_dead_letter_topic[0] != '\0' && !columns_has(c->columns, copied[i]))
            return err_set(err, ERR_CONFIG,
                           "failure.dead_letter_topic is \"%s\", and columns.%s names no column, "
                           "which a copy of a dead event needs: set it, or "
                           "failure.dead_letter_topic to nothing",
                           c->failure_dead_letter_topic, column_own_name(copied[i]));
    return 0;
}

/* What each value alone does not tell. */
static int check_together(struct config *c, struct err *err)
{
    int rc =
        columns_new(&c->columns, (const char *const *)c->column_names, c->columns_additional, err);

    if (rc == 0)
        rc = check_columns(c, err);
    if (rc != 0)
        return rc;
    if (c->source_slot[0] != '\0' && c->source_mode == SOURCE_TABLE)
        return err_set(err, ERR_CONFIG,
                       "source.slot is \"%s\", and source.mode is table, which streams nothing: "
                       "set source.mode to wal or auto, or source.slot to nothing",
                       c->source_slot);
    return 0;
}

int config_load(struct config **ret, int argc, char *const *argv, char *const *environ_,
                struct err *err)
{
    struct config *c = calloc(1, sizeof *c);
    const char *file = NULL;
    int rc;

    if (c == NULL)
        return no_memory(err);
    c->sources = calloc(1, sizeof *c->sources);
    rc = c->sources == NULL ? no_memory(err) : set_defaults(c, err);
    if (rc == 0)
        rc = config_flags(NULL, argc, argv, &file, err);
    if (rc != 0)
        goto out;
    if (file == NULL)
        file = file_variable(environ_);
    if (file != NULL)
        rc = config_file(c, file, err);
    if (rc == 0)
        rc = config_env(c, environ_, err);
    if (rc == 0)
        rc = config_flags(c, argc, argv, &file, err);
    if (rc == 0)
        rc = check_together(c, err);
    if (rc != 0)
        goto out;
    if (c->nkafka > 1)
        qsort(c->kafka, c->nkafka, sizeof *c->kafka, compare_names);
    *ret = c;
    return 0;
out:
    config_free(c);
    return rc;
}

/* Values that may be passwords do not stay behind in freed memory. */
static void free_value(char *value)
{
    if (value != NULL)
        explicit_bzero(value, strlen(value));
    free(value);
}

void config_say_where(const struct config *c, struct err *err)
{
    const char *name = err->message + strlen("kafka.");

    if (strncmp(err->message, "kafka.", strlen("kafka.")) != 0)
        return;
    for (size_t i = 0; i < c->nkafka; i++) {
        size_t len = strlen(c->kafka[i].name);

        if (strncmp(name, c->kafka[i].name, len) == 0 && name[len] == ':') {
            (void)err_prefix(err, "%s: ", c->kafka[i].from);
            return;
        }
    }
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->nkafka; i++) {
        free(c->kafka[i].name);
        free_value(c->kafka[i].value);
        free(c->kafka[i].from);
    }
    free(c->kafka);
    for (size_t i = 0; c->sources != NULL && i < SETTINGS; i++)
        free(c->sources->from[i]);
    free(c->sources);
    setting_free_all(c);
    free(c->columns);
    free(c);
}
