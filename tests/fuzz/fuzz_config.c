/*
 * Lines of flags (those that begin with a dash; a dash and a blank are in front of a flag's value)
 * and of environment variables, an empty line, a file's content. Names of files all lead to that
 * one, so that nothing else is read; where none does, it is the settings' own.
 *
 * What is loaded is printed; given again as it was printed, it has to print the same.
 */
#include "json_oracle.h"

#include "ops/config.h"

#include <sys/mman.h>
#include <unistd.h>

#define LIST_MAX 64

struct list {
    char *items[LIST_MAX + 1]; /* NULL-terminated */
    int n;
};

/* Takes text over. */
static void add(struct list *l, char *text)
{
    CHECK(text != NULL);
    if (l->n < LIST_MAX)
        l->items[l->n++] = text;
    else
        free(text);
}

static void add_assignment(struct list *l, const char *name, const char *value)
{
    char *text;

    CHECK(asprintf(&text, "%s=%s", name, value) > 0);
    add(l, text);
}

static void free_list(struct list *l)
{
    for (int i = 0; i < l->n; i++)
        free(l->items[i]);
}

static bool ends_with(const char *text, size_t len, const char *end)
{
    return len >= strlen(end) && memcmp(text + len - strlen(end), end, strlen(end)) == 0;
}

/* Empty, or with an escape in it. */
static bool is_no_file(const char *path)
{
    return *path == '\0' || (strchr(path, '\x1b') != NULL && strchr(path, '/') == NULL);
}

/* The name as it stands, behind it the one file, or what is none. */
static char *lead_to(char *line, const char *path)
{
    char *equals = strchr(line, '=');
    size_t len = equals == NULL ? 0 : (size_t)(equals - line);
    bool names_a_file = ends_with(line, len, "_FILE") || ends_with(line, len, "OUTBOX_CONFIG") ||
                        (len == strlen("--config") && ends_with(line, len, "--config"));
    char *text;

    if (!names_a_file || is_no_file(equals + 1))
        return line;
    CHECK(asprintf(&text, "%.*s=%s", (int)len, line, path) > 0);
    free(line);
    return text;
}

static bool is_named(const struct list *l, const char *path)
{
    for (int i = 0; i < l->n; i++)
        if (strstr(l->items[i], path) != NULL)
            return true;
    return false;
}

static void add_line(struct list *flags, struct list *variables, char *line, const char *path)
{
    bool value = flags->n > 1 && strcmp(flags->items[flags->n - 1], "--config") == 0;

    if (*line != '-') {
        add(variables, lead_to(line, path));
    } else if (*line == '-' && line[1] == ' ') { /* a flag's value, or one too many */
        char *text = strdup(value && !is_no_file(line + 2) ? path : line + 2);

        free(line);
        add(flags, text);
    } else {
        add(flags, lead_to(line, path));
    }
}

/* -- what comes of it -------------------------------------------------------------------------- */

/* The caller frees. */
static char *print(const struct config *c, bool json)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct err err;

    CHECK(out != NULL);
    CHECK(config_print(c, out, json, &err) == 0);
    CHECK(fclose(out) == 0 && strlen(text) == len);
    return text;
}

/* The caller owns it. */
static json_t *printed(const struct config *c)
{
    char *text = print(c, true);
    json_error_t e;
    json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, &e);

    CHECK(all != NULL);
    free(text);
    return all;
}

static const char *value_of(const json_t *all, const char *key)
{
    const char *value = json_string_value(json_object_get(json_object_get(all, key), "value"));

    CHECK(value != NULL);
    return value;
}

static bool can_go_back(const char *key, const char *value)
{
    return strstr(key, "_uri") == NULL && strcmp(key, "postgres.uri") != 0 &&
           strcmp(value, "(hidden)") != 0 && strcmp(value, "(not UTF-8)") != 0;
}

static void add_again(struct list *l, const char *key, const char *value)
{
    char name[256] = "--";
    size_t n = 2;

    for (; *key != '\0' && n < sizeof name - 1; key++)
        name[n++] = *key == '.' || *key == '_' ? '-' : *key;
    name[n] = '\0';
    add_assignment(l, name, value);
}

/* As flags. A property whose name has more than letters and dots has none that is its own. */
static void load_again(json_t *all)
{
    struct list flags = {.items = {strdup("outbox-relay")}, .n = 1};
    struct config *again = NULL;
    struct err err = {ERR_NONE, ""};
    const char *key;
    json_t *entry;
    json_t *own;

    json_object_foreach(all, key, entry)
    {
        if (strncmp(key, "kafka.", 6) == 0 && strpbrk(key, "-_") != NULL)
            continue;
        if (can_go_back(key, value_of(all, key)))
            add_again(&flags, key, value_of(all, key));
    }
    CHECK(config_load(&again, flags.n, flags.items, NULL, &err) == 0);
    own = printed(again);
    for (int i = 1; i < flags.n; i++)
        CHECK(strchr(flags.items[i], '=') != NULL);
    json_object_foreach(own, key, entry)
    {
        if (can_go_back(key, value_of(all, key)))
            CHECK(strcmp(value_of(own, key), value_of(all, key)) == 0);
    }
    json_decref(own);
    config_free(again);
    free_list(&flags);
}

/* Whatever librdkafka says of a property, it is told where that was set. */
static void says_where(const struct config *c)
{
    for (size_t i = 0; i < c->nkafka; i++) {
        struct err err;

        (void)err_set(&err, ERR_CONFIG, "kafka.%s: no", c->kafka[i].name);
        config_say_where(c, &err);
        CHECK(strncmp(err.message, c->kafka[i].from, strlen(c->kafka[i].from)) == 0);
    }
}

static void check_loaded(const struct config *c)
{
    char *text = print(c, false);
    json_t *all = printed(c);

    says_where(c);
    for (const char *p = text; *p != '\0'; p++)
        CHECK((unsigned char)*p >= 0x20 || *p == '\n');
    CHECK(json_object_size(all) > 0);
    if (json_object_size(all) < LIST_MAX)
        load_again(all);
    json_decref(all);
    free(text);
}

static void load_all(const struct list *flags, const struct list *variables)
{
    struct config *c = NULL;
    struct err err = {ERR_NONE, ""};
    int rc = config_load(&c, flags->n, flags->items, variables->items, &err);

    if (rc == 0) {
        check_loaded(c);
    } else {
        check_err(rc, &err);
        CHECK(c == NULL && (err.class == ERR_CONFIG || err.class == ERR_USAGE));
    }
    config_free(c);
}

/* The descriptor; the caller closes it. */
static int make_file(struct slice content, char ret_path[32])
{
    int fd = memfd_create("config", MFD_CLOEXEC);

    CHECK(fd >= 0 && write(fd, content.data, content.len) == (ssize_t)content.len);
    (void)snprintf(ret_path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

/* A line in memory of its own; NULL at the empty line or the end. */
static char *next_line(struct reader *in)
{
    struct slice line = until(in, '\n');

    return line.len == 0 ? NULL : string_of(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader ahead = reader_of(data, size);
    struct reader in = ahead;
    struct list flags = {.items = {strdup("outbox-relay")}, .n = 1};
    struct list variables = {.n = 0};
    char path[32];
    char *line;
    bool has_file;
    int fd;

    while (until(&ahead, '\n').len > 0)
        continue;
    has_file = ahead.at < ahead.end;
    fd = make_file(some_bytes(&ahead, size), path);
    while ((line = next_line(&in)) != NULL)
        add_line(&flags, &variables, line, path);
    if (has_file && !is_named(&flags, path) && !is_named(&variables, path))
        add_assignment(&variables, "OUTBOX_CONFIG", path);
    load_all(&flags, &variables);
    (void)close(fd);
    free_list(&flags);
    free_list(&variables);
    return 0;
}
