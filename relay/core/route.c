#include "core/route.h"

#include "core/value_text.h"

#include <stdlib.h>
#include <string.h>

enum part_kind {
    PART_TEXT,
    PART_AGGREGATETYPE,
    PART_AGGREGATEID,
    PART_TYPE,
};

static const struct {
    const char *name;
    enum part_kind kind;
} columns[] = {
    {"aggregatetype", PART_AGGREGATETYPE},
    {"aggregateid", PART_AGGREGATEID},
    {"type", PART_TYPE},
};

struct part {
    enum part_kind kind;
    struct slice text;
};

struct route {
    char *text;
    struct part *parts;
    size_t n;
};

static bool legal(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

static int parse_column(struct part *part, const char *name, size_t len, struct err *err)
{
    char shown[TEXT_SHOWN + 1];

    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        if (strlen(columns[i].name) == len && memcmp(columns[i].name, name, len) == 0) {
            part->kind = columns[i].kind;
            return 0;
        }
    }
    text_show((struct slice){(const unsigned char *)name, len}, shown);
    return err_set(err, ERR_CONFIG,
                   "route.topic: ${%s} is no column to route by; use ${aggregatetype}, "
                   "${aggregateid} or ${type}",
                   shown);
}

static int parse_part(struct part *part, const char **at, struct err *err)
{
    const char *p = *at;

    if (p[0] == '$' && p[1] == '{') {
        const char *close = strchr(p, '}');

        if (close == NULL)
            return err_set(err, ERR_CONFIG, "route.topic: \"${\" without a closing brace");
        *at = close + 1;
        return parse_column(part, p + 2, (size_t)(close - p - 2), err);
    }
    while (*p != '\0' && legal((unsigned char)*p))
        p++;
    if (p == *at)
        return err_set(err, ERR_CONFIG,
                       "route.topic: the character '%c' is not allowed in a topic's name; allowed "
                       "are letters, digits, '.', '_', '-' and ${column}",
                       *p >= 0x20 && *p < 0x7f ? *p : '?');
    *part = (struct part){PART_TEXT, {(const unsigned char *)*at, (size_t)(p - *at)}};
    *at = p;
    return 0;
}

int route_new(struct route **ret, const char *text, struct err *err)
{
    struct route *r = calloc(1, sizeof *r);
    const char *at;
    int rc;

    if (r == NULL)
        goto nomem;
    r->text = strdup(text);
    r->parts = calloc(strlen(text) + 1, sizeof *r->parts);
    if (r->text == NULL || r->parts == NULL)
        goto nomem;
    if (*text == '\0') {
        rc = err_set(err, ERR_CONFIG, "route.topic: must not be empty");
        goto fail;
    }
    for (at = r->text; *at != '\0';) {
        rc = parse_part(&r->parts[r->n++], &at, err);
        if (rc != 0)
            goto fail;
    }
    *ret = r;
    return 0;

nomem:
    rc = err_set(err, ERR_NOMEM, "out of memory");
fail:
    route_free(r);
    return rc;
}

void route_free(struct route *r)
{
    if (r == NULL)
        return;
    free(r->parts);
    free(r->text);
    free(r);
}

static struct slice part_value(const struct part *part, const struct event *e)
{
    switch (part->kind) {
    case PART_AGGREGATETYPE:
        return e->aggregatetype;
    case PART_AGGREGATEID:
        return e->aggregateid;
    case PART_TYPE:
        return e->type;
    case PART_TEXT:
        break;
    }
    return part->text;
}

static int check_name(const char *name, size_t len, struct err *err)
{
    if (len == 0)
        return err_set(err, ERR_ROW, "its topic's name is empty");
    if (len <= 2 && name[0] == '.' && name[len - 1] == '.')
        return err_set(err, ERR_ROW, "a topic cannot be named \"%.*s\"", (int)len, name);
    for (size_t i = 0; i < len; i++)
        if (!legal((unsigned char)name[i]))
            return err_set(err, ERR_ROW,
                           "its topic's name has a character that Kafka does not allow at place "
                           "%zu; allowed are letters, digits, '.', '_' and '-'",
                           i + 1);
    return 0;
}

int route_apply(const struct route *r, const struct event *e, char ret_name[ROUTE_TOPIC_MAX],
                size_t *ret_len, struct err *err)
{
    size_t len = 0;

    for (size_t i = 0; i < (e->topic.data != NULL ? 1 : r->n); i++) {
        struct slice v = e->topic.data != NULL ? e->topic : part_value(&r->parts[i], e);

        if (v.data == NULL)
            return err_set(err, ERR_ROW,
                           "it has no topic of its own, and no value of a column that route.topic "
                           "names");
        if (v.len > ROUTE_TOPIC_MAX - len)
            return err_set(err, ERR_ROW, "its topic's name is longer than %d characters",
                           ROUTE_TOPIC_MAX);
        if (v.len > 0)
            memcpy(ret_name + len, v.data, v.len);
        len += v.len;
    }
    *ret_len = len;
    return check_name(ret_name, len, err);
}

void route_raw(const struct route *r, const struct event *e, struct buf *b)
{
    for (size_t i = 0; i < (e->topic.data != NULL ? 1 : r->n); i++) {
        struct slice v = e->topic.data != NULL ? e->topic : part_value(&r->parts[i], e);

        buf_append(b, v.data, v.len);
    }
}

void route_sql(const struct route *r, struct buf *b)
{
    buf_printf(b, "coalesce(o.topic, ''");
    for (size_t i = 0; i < r->n; i++) {
        const struct part *part = &r->parts[i];

        /* A text has nothing that would want quoting. */
        if (part->kind == PART_TEXT)
            buf_printf(b, " || '%.*s'", (int)part->text.len, (const char *)part->text.data);
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
            if (columns[c].kind == part->kind)
                buf_printf(b, " || o.%s", columns[c].name);
    }
    buf_printf(b, ")");
}
