/* Takes passwords out of what is shown. Where a connection string does not read in one way only, it
 * is hidden as a whole. */
#include "ops/config_layers.h"

#include <string.h>

#define STARS "***"
#define HIDDEN "(hidden)"

bool config_is_secret(const char *key)
{
    static const char *const parts[] = {"pass", "secret", ".key.",     "pem",
                                        "jaas", "token",  "credential"};
    const struct setting *s = setting_find(key);
    size_t len = strlen(key);

    if (s != NULL)
        return s->secret;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(key, parts[i]) != NULL)
            return true;
    return len >= 4 && strcmp(key + len - 4, ".key") == 0;
}

static bool parameter_is_secret(const char *name, size_t len)
{
    static const char *const parts[] = {"pass", "secret", "token", "key"};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (memmem(name, len, parts[i], strlen(parts[i])) != NULL)
            return true;
    return false;
}

static size_t name_length(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyz_");
}

/* ?name=value&...; false where a name is not plain (libpq also decodes %70assword). */
static bool redact_query(const char *query, struct buf *b)
{
    char mark = '?';

    while (*query != '\0') {
        size_t name = name_length(query);
        size_t value;

        if (name == 0 || query[name] != '=')
            return false;
        value = strcspn(query + name + 1, "&");
        buf_printf(b, "%c%.*s=", mark, (int)name, query);
        if (parameter_is_secret(query, name))
            buf_printf(b, STARS);
        else
            buf_append(b, query + name + 1, value);
        query += name + 1 + value;
        if (*query == '&' && *++query == '\0')
            return false;
        mark = '&';
    }
    return true;
}

/* Behind "scheme://": [user[:password]@]hosts[/database][?query]. */
static bool redact_uri(const char *rest, struct buf *b)
{
    const char *at = strchr(rest, '@');
    size_t authority = strcspn(rest, "/?");
    const char *query = strchr(rest, '?');

    if (strpbrk(rest, "# \t\r\n\"'\\") != NULL)
        return false;
    if (at != NULL) {
        const char *colon = memchr(rest, ':', (size_t)(at - rest));

        /* An @ further on, or a / or ? before it, may stand inside a password. */
        if (strchr(at + 1, '@') != NULL || (size_t)(at - rest) >= authority)
            return false;
        if (colon != NULL)
            buf_printf(b, "%.*s:" STARS "@", (int)(colon - rest), rest);
        else
            buf_printf(b, "%.*s@", (int)(at - rest), rest);
        rest = at + 1;
    }
    buf_append(b, rest, query != NULL ? (size_t)(query - rest) : strlen(rest));
    return query == NULL || redact_query(query + 1, b);
}

/* The end of a value of key=value as libpq reads it; NULL where a quote is not closed. */
static const char *skip_value(const char *p)
{
    bool quoted = *p == '\'';

    if (quoted)
        p++;
    for (; *p != '\0'; p++) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        else if (quoted && *p == '\'')
            return p + 1;
        else if (!quoted && strchr(" \t\r\n\f\v", *p) != NULL)
            return p;
    }
    return quoted ? NULL : p;
}

static bool redact_pairs(const char *text, struct buf *b)
{
    static const char blanks[] = " \t\r\n\f\v";
    const char *between = "";

    for (text += strspn(text, blanks); *text != '\0'; text += strspn(text, blanks)) {
        const char *name = text;
        size_t len = name_length(name);
        const char *value;

        text = name + len + strspn(name + len, blanks);
        if (len == 0 || *text != '=')
            return false;
        text++;
        text += strspn(text, blanks);
        value = text;
        text = skip_value(text);
        if (text == NULL || (*text != '\0' && strchr(blanks, *text) == NULL))
            return false;
        buf_printf(b, "%s%.*s=", between, (int)len, name);
        /* dbname may be a URI again */
        if (parameter_is_secret(name, len) ||
            memmem(value, (size_t)(text - value), "://", 3) != NULL ||
            memchr(value, '=', (size_t)(text - value)) != NULL)
            buf_printf(b, STARS);
        else
            buf_append(b, value, (size_t)(text - value));
        between = " ";
    }
    return true;
}

void config_redact_uri(const char *uri, struct buf *b)
{
    static const char *const schemes[] = {"postgresql://", "postgres://"};
    const size_t start = b->len;
    bool sure = false;
    bool is_uri = false;

    for (size_t i = 0; i < 2 && !is_uri; i++) {
        size_t len = strlen(schemes[i]);

        if (strncmp(uri, schemes[i], len) == 0) {
            is_uri = true;
            buf_append(b, schemes[i], len);
            sure = redact_uri(uri + len, b);
        }
    }
    if (!is_uri)
        sure = redact_pairs(uri, b);
    if (sure)
        return;
    b->len = start;
    buf_printf(b, HIDDEN);
}
