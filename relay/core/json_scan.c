#include "core/json_scan.h"

#include <string.h>

bool scan_wrong(struct json_scan *s, const char *what)
{
    if (s->wrong == NULL)
        s->wrong = what;
    return false;
}

size_t scan_place(const struct json_scan *s)
{
    return (size_t)(s->at - s->start) + 1;
}

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void scan_skip_space(struct json_scan *s)
{
    while (s->at < s->end && is_space(*s->at))
        s->at++;
}

bool scan_take(struct json_scan *s, unsigned char c)
{
    scan_skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

int scan_hex_digit(unsigned char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool hex4(struct json_scan *s, uint32_t *ret)
{
    uint32_t v = 0;

    if (s->end - s->at < 4)
        return scan_wrong(s, "a \\u escape that is cut short");
    for (int i = 0; i < 4; i++) {
        int digit = scan_hex_digit(*s->at);

        if (digit < 0)
            return scan_wrong(s, "a \\u escape with a character that is no hex digit");
        s->at++;
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
static bool unescape_unicode(struct json_scan *s)
{
    uint32_t c;
    uint32_t low;

    if (!hex4(s, &c))
        return false;
    if (c >= 0xDC00 && c <= 0xDFFF)
        return scan_wrong(s, "half of a surrogate pair");
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u')
            return scan_wrong(s, "half of a surrogate pair");
        s->at += 2;
        if (!hex4(s, &low))
            return false;
        if (low < 0xDC00 || low > 0xDFFF)
            return scan_wrong(s, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(s->scratch, c);
    return true;
}

/* Behind a backslash: what it escapes, 'u' for a code point that follows; 0 if something is wrong.
 */
static char escaped(struct json_scan *s)
{
    static const char from[] = "\"\\/bfnrtu";
    static const char to[] = "\"\\/\b\f\n\r\tu";
    const char *found;

    if (s->at == s->end) {
        (void)scan_wrong(s, "a string that does not end");
        return 0;
    }
    found = *s->at == '\0' ? NULL : strchr(from, *s->at);
    if (found == NULL) {
        (void)scan_wrong(s, "an escape that JSON does not know");
        return 0;
    }
    s->at++;
    return to[found - from];
}

static bool unescape(struct json_scan *s)
{
    char c = escaped(s);

    if (c == 'u')
        return unescape_unicode(s);
    buf_append(s->scratch, &c, c != 0);
    return c != 0;
}

/* To the next quote or escape. */
static bool skip_plain(struct json_scan *s)
{
    const unsigned char *at = s->at;

    while (at < s->end && *at != '"' && *at != '\\' && *at >= 0x20)
        at++;
    s->at = at;
    if (at == s->end)
        return scan_wrong(s, "a string that does not end");
    return *at >= 0x20 || scan_wrong(s, "a control character in a string");
}

bool scan_string(struct json_scan *s, struct slice *ret, bool *ret_scratch)
{
    const unsigned char *begin = s->at;
    size_t offset = s->scratch->len;

    *ret_scratch = false;
    for (;;) {
        const unsigned char *plain = s->at;

        if (!skip_plain(s))
            return false;
        if (*s->at == '"' && !*ret_scratch)
            break;
        buf_append(s->scratch, plain, (size_t)(s->at - plain));
        if (*s->at == '"')
            break;
        *ret_scratch = true;
        s->at++;
        if (!unescape(s))
            return false;
    }
    *ret = *ret_scratch ? (struct slice){NULL, s->scratch->len - offset}
                        : (struct slice){begin, (size_t)(s->at - begin)};
    s->at++;
    return true;
}

/* As PostgreSQL's json does: an escape is looked at for its form, not for what it stands for. */
static bool skip_string(struct json_scan *s)
{
    for (;;) {
        uint32_t code;
        char c;

        if (!skip_plain(s))
            return false;
        if (*s->at++ == '"')
            return true;
        c = escaped(s);
        if (c == 0 || (c == 'u' && !hex4(s, &code)))
            return false;
    }
}

static bool some_digits(const unsigned char **p, const unsigned char *end)
{
    const unsigned char *begin = *p;

    while (*p < end && **p >= '0' && **p <= '9')
        ++*p;
    return *p > begin;
}

static bool is_number(const struct slice *v)
{
    const unsigned char *p = v->data;
    const unsigned char *end = p + v->len;

    if (p < end && *p == '-')
        p++;
    if (p < end && *p == '0')
        p++;
    else if (!some_digits(&p, end))
        return false;
    if (p < end && *p == '.') {
        p++;
        if (!some_digits(&p, end))
            return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        if (!some_digits(&p, end))
            return false;
    }
    return p == end;
}

static bool is_word(const struct slice *v, const char *word)
{
    return v->len == strlen(word) && memcmp(v->data, word, v->len) == 0;
}

static bool scan_scalar(struct json_scan *s, struct slice *ret)
{
    const unsigned char *begin = s->at;

    while (s->at < s->end && !is_space(*s->at) && *s->at != ',' && *s->at != '}' && *s->at != ']')
        s->at++;
    if (s->at == s->end)
        return scan_wrong(s, "a value that does not end");
    *ret = (struct slice){begin, (size_t)(s->at - begin)};
    if (ret->len == 0)
        return scan_wrong(s, "a missing value");
    if (is_number(ret) || is_word(ret, "true") || is_word(ret, "false") || is_word(ret, "null"))
        return true;
    s->at = begin;
    return scan_wrong(s, "a value that is no JSON");
}

struct nesting {
    unsigned char closers[JSON_DEPTH_MAX];
    size_t depth;
    bool empty; /* nothing is in the innermost yet */
};

static bool at_bracket(const struct json_scan *s)
{
    return s->at < s->end && (*s->at == '{' || *s->at == '[');
}

static bool open_nested(struct json_scan *s, struct nesting *n)
{
    if (n->depth == JSON_DEPTH_MAX)
        return scan_wrong(s, "a value nested too deeply");
    n->closers[n->depth++] = *s->at++ == '{' ? '}' : ']';
    n->empty = true;
    return true;
}

static bool skip_name(struct json_scan *s)
{
    if (!scan_take(s, '"'))
        return scan_wrong(s, "a name that is no string");
    return skip_string(s) && (scan_take(s, ':') || scan_wrong(s, "a name without a value"));
}

/* The innermost ends, or what is next in it is opened or passed. */
static bool step_nested(struct json_scan *s, struct nesting *n)
{
    unsigned char closer = n->closers[n->depth - 1];
    struct slice scalar;

    if (scan_take(s, closer)) {
        n->depth--;
        n->empty = false;
        return true;
    }
    if (s->at == s->end)
        return scan_wrong(s, "a value that does not end");
    if (!n->empty && !scan_take(s, ','))
        return scan_wrong(s, "a missing comma or closing bracket");
    n->empty = false;
    if (closer == '}' && !skip_name(s))
        return false;
    scan_skip_space(s);
    if (at_bracket(s))
        return open_nested(s, n);
    return scan_take(s, '"') ? skip_string(s) : scan_scalar(s, &scalar);
}

/* An object or array, whose bytes go out as they stand: only its end has to be found. */
static bool scan_nested(struct json_scan *s, struct slice *ret)
{
    struct nesting n;
    const unsigned char *begin = s->at;

    n.depth = 0;
    if (!open_nested(s, &n))
        return false;
    while (n.depth > 0)
        if (!step_nested(s, &n))
            return false;
    *ret = (struct slice){begin, (size_t)(s->at - begin)};
    return true;
}

/* What is no string. */
static bool scan_other(struct json_scan *s, struct slice *ret)
{
    scan_skip_space(s);
    if (at_bracket(s))
        return scan_nested(s, ret);
    if (!scan_scalar(s, ret))
        return false;
    if (is_word(ret, "null"))
        *ret = (struct slice){NULL, 0};
    return true;
}

bool scan_value(struct json_scan *s, struct slice *ret, bool *ret_scratch)
{
    *ret_scratch = false;
    return scan_take(s, '"') ? scan_string(s, ret, ret_scratch) : scan_other(s, ret);
}

bool scan_text(struct json_scan *s, struct slice *ret)
{
    const unsigned char *begin;

    if (!scan_take(s, '"'))
        return scan_other(s, ret);
    begin = s->at - 1;
    if (!skip_string(s))
        return false;
    *ret = (struct slice){begin, (size_t)(s->at - begin)};
    return true;
}
