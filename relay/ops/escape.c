/* One UTF-8 walk, and three ways to write what it finds. */
#include "ops/escape.h"

#include <stdio.h>
#include <string.h>

#define VALUE_SHOWN 60

/* The length of the character at p and its code point; 0 where the bytes are not valid UTF-8
 * (truncated, overlong, a surrogate, above U+10FFFF). */
static size_t utf8_next(const unsigned char *p, size_t left, uint32_t *ret_code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len;
    uint32_t code;

    if (p[0] < 0x80) {
        *ret_code = p[0];
        return 1;
    }
    if ((p[0] & 0xe0) == 0xc0) {
        len = 2;
        code = p[0] & 0x1fU;
    } else if ((p[0] & 0xf0) == 0xe0) {
        len = 3;
        code = p[0] & 0x0fU;
    } else if ((p[0] & 0xf8) == 0xf0) {
        len = 4;
        code = p[0] & 0x07U;
    } else {
        return 0;
    }
    if (len > left)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fU);
    }
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *ret_code = code;
    return len;
}

/* Characters that change what a terminal or an editor shows instead of being shown. */
static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0x200e || code == 0x200f;
}

enum style { STYLE_JSON, STYLE_TEXT, STYLE_LABEL };

static void write_control(struct buf *b, enum style style, uint32_t code)
{
    if (code == '\n')
        buf_append(b, "\\n", 2);
    else if (code == '\t')
        buf_append(b, "\\t", 2);
    else if (code == '\r')
        buf_append(b, "\\r", 2);
    else if (style == STYLE_TEXT && code < 0x80)
        buf_printf(b, "\\x%02x", (unsigned)code);
    else
        buf_printf(b, "\\u%04x", (unsigned)code);
}

static void write_character(struct buf *b, enum style style, const unsigned char *p, size_t n,
                            uint32_t code)
{
    if (style == STYLE_LABEL && code == '\n')
        buf_append(b, "\\n", 2);
    else if (style != STYLE_LABEL && is_control(code))
        write_control(b, style, code);
    else if (style != STYLE_TEXT && (code == '"' || code == '\\'))
        buf_printf(b, "\\%c", (char)code);
    else
        buf_append(b, p, n);
}

static void escape(struct buf *b, enum style style, const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    uint32_t code = 0;

    for (size_t at = 0; at < len;) {
        size_t n = utf8_next(p + at, len - at, &code);

        if (n > 0) {
            write_character(b, style, p + at, n, code);
            at += n;
            continue;
        }
        if (style == STYLE_JSON)
            buf_append(b, "\\ufffd", 6);
        else if (style == STYLE_TEXT)
            buf_printf(b, "\\x%02x", p[at]);
        else
            buf_append(b, "\xef\xbf\xbd", 3);
        at++;
    }
}

void escape_json(struct buf *b, const char *text, size_t len)
{
    escape(b, STYLE_JSON, text, len);
}

void escape_text(struct buf *b, const char *text, size_t len)
{
    escape(b, STYLE_TEXT, text, len);
}

void escape_label(struct buf *b, const char *text, size_t len)
{
    escape(b, STYLE_LABEL, text, len);
}

void escape_value(struct buf *b, const char *text)
{
    size_t len = strlen(text);

    if (strchr(text, '@') != NULL || strstr(text, "://") != NULL ||
        strcasestr(text, "pass") != NULL || strcasestr(text, "secret") != NULL) {
        buf_append(b, "the value", 9);
        return;
    }
    buf_append(b, "\"", 1);
    escape_text(b, text, len < VALUE_SHOWN ? len : VALUE_SHOWN);
    buf_printf(b, "%s\"", len > VALUE_SHOWN ? "..." : "");
}
