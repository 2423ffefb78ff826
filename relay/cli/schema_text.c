#include "cli/schema_text.h"

#include <ctype.h>
#include <string.h>

static const char own_name[] = "outbox";
/* Settings and channels, which are the same whatever the table is called. */
static const char kept[] = "outbox_relay";
static const char quote[] = "$outbox$";

static bool in_name(unsigned char c)
{
    return isalnum(c) || c == '_';
}

/* Text that only begins with the word: a message ('outbox: ...'), a topic or header of the relay's
 * ('outbox.event.', "outbox.error"), or prose. */
static bool is_word(const unsigned char *start, const unsigned char *p, const unsigned char *after,
                    const unsigned char *end)
{
    bool opens = p > start && (p[-1] == '\'' || p[-1] == '"');

    return (opens && after < end && (*after == '.' || *after == ':')) ||
           (p - start >= 4 && memcmp(p - 4, "the ", 4) == 0);
}

/* The identifier at p, if one that is named after the table begins there; else 0. */
static size_t own_identifier(const unsigned char *start, const unsigned char *p,
                             const unsigned char *end)
{
    size_t len = 0;

    if (p > start && (in_name(p[-1]) || p[-1] == '$'))
        return 0;
    while (p + len < end && in_name(p[len]))
        len++;
    if (len < sizeof own_name - 1 || memcmp(p, own_name, sizeof own_name - 1) != 0 ||
        (len > sizeof own_name - 1 && p[sizeof own_name - 1] != '_') ||
        (len >= sizeof kept - 1 && memcmp(p, kept, sizeof kept - 1) == 0))
        return 0;
    if (len == sizeof own_name - 1 && is_word(start, p, p + len, end))
        return 0;
    return len;
}

/* The longest name that is made out of the table's. */
static size_t longest_suffix(void)
{
    size_t longest = 0;

    for (int i = 0; i < schema_newest; i++) {
        struct slice sql = schema_migrations[i].up;
        const unsigned char *end = sql.data + sql.len;

        for (const unsigned char *p = sql.data; p < end; p++) {
            size_t len = own_identifier(sql.data, p, end);

            if (len > longest + sizeof own_name - 1)
                longest = len - (sizeof own_name - 1);
        }
    }
    return longest;
}

static void small(char *to, const char *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (char)tolower((unsigned char)from[i]);
    to[len] = '\0';
}

int schema_place_of(struct schema_place *ret, const char *source_table, struct err *err)
{
    const char *dot = strchr(source_table, '.');
    const char *table = dot == NULL ? source_table : dot + 1;
    size_t room = SCHEMA_NAME_MAX - longest_suffix();

    *ret = (struct schema_place){0};
    if (strlen(table) > room)
        return err_set(err, ERR_USAGE,
                       "source.table: the name %s has %zu letters, but %zu at most leave room for "
                       "the names that are made out of it",
                       table, strlen(table), room);
    if (dot != NULL)
        small(ret->schema, source_table, (size_t)(dot - source_table));
    small(ret->table, table, strlen(table));
    return 0;
}

bool schema_line(struct slice text, size_t *at, struct slice *ret)
{
    const unsigned char *from = text.data + *at;
    const unsigned char *end;

    if (*at >= text.len)
        return false;
    end = memchr(from, '\n', text.len - *at);
    ret->data = from;
    ret->len = end == NULL ? text.len - *at : (size_t)(end - from);
    *at += ret->len + 1;
    return true;
}

static bool is(struct slice line, const char *text)
{
    return line.len == strlen(text) && memcmp(line.data, text, line.len) == 0;
}

static bool is_comment(struct slice line)
{
    size_t n = 0;

    while (n < line.len && line.data[n] == ' ')
        n++;
    return line.len - n >= 2 && memcmp(line.data + n, "--", 2) == 0;
}

/* One line, with the names of the place. Renamed ones are quoted: they may be key words. */
static void append_line(struct buf *b, struct slice line, const struct schema_place *place)
{
    const unsigned char *end = line.data + line.len;
    const unsigned char *from = line.data;
    bool renamed = strcmp(place->table, own_name) != 0 && !is_comment(line);

    for (const unsigned char *p = line.data; renamed && p < end; p++) {
        size_t len = own_identifier(line.data, p, end);

        if (len == 0)
            continue;
        buf_append(b, from, (size_t)(p - from));
        buf_printf(b, "\"%s%.*s\"", place->table, (int)(len - (sizeof own_name - 1)),
                   (const char *)p + sizeof own_name - 1);
        from = p + len;
        p = from - 1;
    }
    buf_append(b, from, (size_t)(end - from));
    buf_append(b, "\n", 1);
}

static void begin(struct buf *b, const struct schema_place *place, enum schema_wrap wrap)
{
    if (place->schema[0] == '\0' || wrap == SCHEMA_EXTENSION)
        return;
    if (wrap == SCHEMA_TRANSACTION)
        buf_printf(b, "\nSET LOCAL search_path = \"%s\";\n", place->schema);
    else
        buf_printf(b,
                   "DO $outbox$\nBEGIN\n"
                   "    PERFORM pg_catalog.set_config('outbox_relay.search_path',\n"
                   "        pg_catalog.current_setting('search_path'), true),\n"
                   "        pg_catalog.set_config('search_path', '\"%s\"', true);\n"
                   "END\n$outbox$;\n\n",
                   place->schema);
}

/* The framework may go on to write its own table. */
static void end_of(struct buf *b, const struct schema_place *place, enum schema_wrap wrap)
{
    if (place->schema[0] == '\0' || wrap != SCHEMA_BARE)
        return;
    buf_printf(b, "\nDO $outbox$\nBEGIN\n"
                  "    PERFORM pg_catalog.set_config('search_path',\n"
                  "        pg_catalog.current_setting('outbox_relay.search_path'), true);\n"
                  "END\n$outbox$;\n");
}

void schema_body(struct buf *b, struct slice sql, const struct schema_place *place,
                 enum schema_wrap wrap)
{
    struct slice line;
    bool blank = false;
    size_t at = 0;

    if (wrap != SCHEMA_TRANSACTION)
        begin(b, place, wrap);
    while (schema_line(sql, &at, &line)) {
        if (wrap != SCHEMA_TRANSACTION && (is(line, "BEGIN;") || is(line, "COMMIT;")))
            continue;
        /* No second empty line where one of those stood, and none at the end. */
        if (line.len == 0) {
            blank = true;
            continue;
        }
        if (blank)
            buf_append(b, "\n", 1);
        blank = false;
        append_line(b, line, place);
        if (wrap == SCHEMA_TRANSACTION && is(line, "BEGIN;"))
            begin(b, place, wrap);
    }
    end_of(b, place, wrap);
}

/* Whether it stands in the line once; it may twice, but not oftener. */
static bool toggles(struct slice line)
{
    const size_t len = sizeof quote - 1;
    const unsigned char *end = line.data + line.len;
    const unsigned char *first = memmem(line.data, line.len, quote, len);

    return first != NULL && memmem(first + len, (size_t)(end - first) - len, quote, len) == NULL;
}

bool schema_statement(struct slice text, size_t *at, struct slice *ret)
{
    size_t from = *at;
    bool quoted = false;
    struct slice line;

    while (from < text.len && text.data[from] == '\n')
        from++;
    *at = from;
    while (schema_line(text, at, &line)) {
        bool code = !is_comment(line);

        if (code && toggles(line))
            quoted = !quoted;
        if (code && !quoted && line.len > 0 && line.data[line.len - 1] == ';') {
            *ret = (struct slice){text.data + from, *at - from - 1};
            return true;
        }
    }
    return false;
}
