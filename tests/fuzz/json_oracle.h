/* jansson as the judge of what is JSON. It and PostgreSQL, whose json type ours follows, differ in
 * three things: jansson has no number beyond a double, no half of a surrogate pair, and no NUL in a
 * name. And it loses a NUL byte behind a word or number. */
#ifndef OUTBOX_TESTS_JSON_ORACLE_H
#define OUTBOX_TESTS_JSON_ORACLE_H

#include "fuzz.h"

#include <jansson.h>

/* NULL: no JSON, or what it differs in; the caller owns the value. */
static inline json_t *load(struct slice text, size_t flags, json_error_t *ret)
{
    memset(ret, 0, sizeof *ret);
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
        return NULL;
    return json_loadb((const char *)text.data, text.len,
                      JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL | flags, ret);
}

static inline bool differs(const json_error_t *e)
{
    return json_error_code(e) == json_error_numeric_overflow ||
           json_error_code(e) == json_error_null_byte_in_key ||
           strstr(e->text, "invalid Unicode") != NULL;
}

static inline bool is_hex4(const unsigned char *p)
{
    for (int i = 0; i < 4; i++)
        if (p[i] == '\0' || strchr("0123456789abcdefABCDEF", p[i]) == NULL)
            return false;
    return true;
}

/* With each \uXXXX that is one turned into \u0041. The caller frees. */
static inline struct slice plain_escapes(struct slice text)
{
    struct slice copy = exact(text);
    unsigned char *p = (unsigned char *)(uintptr_t)copy.data;

    for (size_t i = 0; i + 1 < text.len; i++) {
        if (p[i] != '\\')
            continue;
        i++;
        if (p[i] == 'u' && text.len - i > 4 && is_hex4(p + i + 1))
            memcpy(p + i + 1, "0041", 4);
    }
    return copy;
}

/* Is this one value of JSON, as PostgreSQL sees it? */
static inline bool is_json(struct slice text)
{
    struct slice plain = plain_escapes(text);
    json_error_t e;
    json_t *value = load(plain, 0, &e);
    bool is = value != NULL || json_error_code(&e) == json_error_numeric_overflow;

    json_decref(value);
    free_slice(plain);
    return is;
}

static inline bool is_text(struct slice s, const json_t *string)
{
    return json_is_string(string) && s.data != NULL && s.len == json_string_length(string) &&
           memcmp(s.data, json_string_value(string), s.len) == 0;
}

#endif
