#include "core/headers.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 128 /* of values inside a header's value; more is nobody's header */

struct scan {
    const unsigned char *start;
    const unsigned char *at;
    const unsigned char *end;
    struct buf *scratch;
    const char *wrong; /* what is wrong, once something is */
};

void headers_reset(struct headers *h)
{
    h->n = 0;
    buf_reset(&h->scratch);
}

void headers_free(struct headers *h)
{
    free(h->list);
    buf_free(&h->scratch);
    *h = (struct headers){0};
}

int headers_add(struct headers *h, struct slice name, struct slice value, struct err *err)
{
    if (h->n == h->cap) {
        size_t cap = h->cap == 0 ? 16 : h->cap * 2;
        struct header *grown = realloc(h->list, cap * sizeof *grown);

        if (grown == NULL)
            return err_set(err, ERR_NOMEM, "out of memory for headers");
        h->list = grown;
        h->cap = cap;
    }
    h->list[h->n++] = (struct header){name, value};
    return 0;
}

static bool wrong(struct scan *s, const char *what)
{
    if (s->wrong == NULL)
        s->wrong = what;
    return false;
}

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct scan *s)
{
    while (s->at < s->end && is_space(*s->at))
        s->at++;
}

static bool take(struct scan *s, unsigned char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool hex4(struct scan *s, uint32_t *ret)
{
    uint32_t v = 0;

    if (s->end - s->at < 4)
        return wrong(s, "a \\u escape that is cut short");
    for (int i = 0; i < 4; i++) {
        unsigned char c = *s->at++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0)
            return wrong(s, "a \\u escape with a character that is no hex digit");
        v = v << 4 | (uint32_t)digit;
    }
    *ret = v;
    return true;
}

static void append_utf8(struct buf *b, uint32_t c)
{
    unsigned char out[4];
    size_t n = 0;

    if (c < 0x80) {
        out[n++] = (unsigned char)c;
    } else if (c < 0x800) {
        out[n++] = (unsigned char)(0xC0 | c >> 6);
        out[n++] = (unsigned char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        out[n++] = (unsigned char)(0xE0 | c >> 12);
        out[n++] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
        out[n++] = (unsigned char)(0x80 | (c & 0x3F));
    } else {
        out[n++] = (unsigned char)(0xF0 | c >> 18);
        out[n++] = (unsigned char)(0x80 | (c >> 12 & 0x3F));
        out[n++] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
        out[n++] = (unsigned char)(0x80 | (c & 0x3F));
    }
    buf_append(b, out, n);
}

/* Behind "\u": one code point, a surrogate pair included. */
static bool unescape_unicode(struct scan *s)
{
    uint32_t c;
    uint32_t low;

    if (!hex4(s, &c))
        return false;
    if (c >= 0xDC00 && c <= 0xDFFF)
        return wrong(s, "half of a surrogate pair");
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u')
            return wrong(s, "half of a surrogate pair");
        s->at += 2;
        if (!hex4(s, &low))
            return false;
        if (low < 0xDC00 || low > 0xDFFF)
            return wrong(s, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(s->scratch, c);
    return true;
}

static bool unescape(struct scan *s)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (s->at == s->end)
        return wrong(s, "a string that does not end");
    if (*s->at == 'u') {
        s->at++;
        return unescape_unicode(s);
    }
    found = *s->at == '\0' ? NULL : strchr(from, *s->at);
    if (found == NULL)
        return wrong(s, "an escape that JSON does not know");
    s->at++;
    buf_append(s->scratch, &to[found - from], 1);
    return true;
}

/*
 * A string behind its opening quote. Without escapes the slice points into the JSON. With them it
 * is an offset into scratch, whose memory may still move: the caller turns it into a pointer at the
 * end.
 */
static bool scan_string(struct scan *s, struct slice *ret, bool *ret_scratch)
{
    const unsigned char *begin = s->at;
    size_t offset = s->scratch->len;

    *ret_scratch = false;
    while (s->at < s->end && *s->at != '"') {
        if (*s->at < 0x20)
            return wrong(s, "a control character in a string");
        if (*s->at != '\\') {
            if (*ret_scratch)
                buf_append(s->scratch, s->at, 1);
            s->at++;
            continue;
        }
        if (!*ret_scratch)
            buf_append(s->scratch, begin, (size_t)(s->at - begin));
        *ret_scratch = true;
        s->at++;
        if (!unescape(s))
            return false;
    }
    if (s->at == s->end)
        return wrong(s, "a string that does not end");
    *ret = *ret_scratch ? (struct slice){NULL, s->scratch->len - offset}
                        : (struct slice){begin, (size_t)(s->at - begin)};
    s->at++;
    return true;
}

/* A number by its characters only: PostgreSQL has looked at their order. */
static bool scalar_parses(const struct slice *v)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (v->len == strlen(words[i]) && memcmp(v->data, words[i], v->len) == 0)
            return true;
    if (v->data[0] != '-' && (v->data[0] < '0' || v->data[0] > '9'))
        return false;
    for (size_t i = 0; i < v->len; i++)
        if (v->data[i] == '\0' || strchr("0123456789+-.eE", v->data[i]) == NULL)
            return false;
    return true;
}

static bool scan_scalar(struct scan *s, struct slice *ret)
{
    const unsigned char *begin = s->at;

    while (s->at < s->end && !is_space(*s->at) && *s->at != ',' && *s->at != '}' && *s->at != ']')
        s->at++;
    if (s->at == s->end)
        return wrong(s, "a value that does not end");
    *ret = (struct slice){begin, (size_t)(s->at - begin)};
    if (ret->len == 0)
        return wrong(s, "a name without a value");
    return scalar_parses(ret) || wrong(s, "a value that is no JSON");
}

/* An object or array, whose bytes go out as they stand: only its end has to be found. */
static bool scan_nested(struct scan *s, struct slice *ret)
{
    unsigned char closers[DEPTH_MAX];
    const unsigned char *begin = s->at;
    size_t depth = 0;

    do {
        unsigned char c;

        if (s->at == s->end)
            return wrong(s, "a value that does not end");
        c = *s->at++;
        if (c == '{' || c == '[') {
            if (depth == DEPTH_MAX)
                return wrong(s, "a value nested too deeply");
            closers[depth++] = c == '{' ? '}' : ']';
        } else if (c == '}' || c == ']') {
            if (closers[--depth] != c)
                return wrong(s, "brackets that do not match");
        } else if (c == '"') {
            while (s->at < s->end && *s->at != '"')
                s->at += *s->at == '\\' && s->end - s->at > 1 ? 2 : 1;
            if (s->at == s->end)
                return wrong(s, "a string that does not end");
            s->at++;
        }
    } while (depth > 0);
    *ret = (struct slice){begin, (size_t)(s->at - begin)};
    return true;
}

static bool is_null(const struct slice *v)
{
    return v->len == 4 && memcmp(v->data, "null", 4) == 0;
}

static bool scan_value(struct scan *s, struct slice *ret, bool *ret_scratch)
{
    *ret_scratch = false;
    if (take(s, '"'))
        return scan_string(s, ret, ret_scratch);
    skip_space(s);
    if (s->at < s->end && (*s->at == '{' || *s->at == '['))
        return scan_nested(s, ret);
    if (!scan_scalar(s, ret))
        return false;
    if (is_null(ret))
        *ret = (struct slice){NULL, 0};
    return true;
}

/* One "name": value; offsets into scratch are marked by an impossible length bit until the end. */
struct pending {
    struct slice name, value;
    bool name_scratch, value_scratch;
};

static bool scan_pair(struct scan *s, struct pending *p)
{
    if (!take(s, '"'))
        return wrong(s, "a name that is no string");
    if (!scan_string(s, &p->name, &p->name_scratch))
        return false;
    if (!take(s, ':'))
        return wrong(s, "a name without a value");
    return scan_value(s, &p->value, &p->value_scratch);
}

/* Makes room so that scratch does not move while slices point into it: unescaping only ever
 * shrinks. */
static bool reserve_scratch(struct buf *b, size_t len)
{
    size_t keep = b->len;
    static const unsigned char zero[64] = {0};

    while (b->len < keep + len && !b->failed)
        buf_append(b, zero, sizeof zero);
    b->len = keep;
    return !b->failed;
}

int headers_add_json(struct headers *h, struct slice json, struct err *err)
{
    struct scan s = {
        .start = json.data, .at = json.data, .end = json.data + json.len, .scratch = &h->scratch};
    int rc;

    if (!reserve_scratch(&h->scratch, json.len))
        return err_set(err, ERR_NOMEM, "out of memory for headers");
    if (!take(&s, '{')) {
        skip_space(&s);
        if (s.end - s.at >= 4 && memcmp(s.at, "null", 4) == 0)
            return 0;
        return err_set(err, ERR_ROW, "its headers are not a JSON object");
    }
    if (take(&s, '}'))
        goto tail;
    do {
        struct pending p = {0};
        const unsigned char *before = h->scratch.data + h->scratch.len;

        if (!scan_pair(&s, &p))
            goto bad;
        if (p.name_scratch)
            p.name.data = before;
        if (p.value_scratch)
            p.value.data = before + (p.name_scratch ? p.name.len : 0);
        rc = headers_add(h, p.name, p.value, err);
        if (rc != 0)
            return rc;
    } while (take(&s, ','));
    if (!take(&s, '}')) {
        (void)wrong(&s, "a missing comma or closing brace");
        goto bad;
    }
tail:
    skip_space(&s);
    if (s.at == s.end)
        return 0;
    (void)wrong(&s, "text behind the object");
bad:
    return err_set(err, ERR_ROW, "its headers hold %s at byte %zu", s.wrong,
                   (size_t)(s.at - s.start) + 1);
}
