#include "core/value_text.h"

#include "core/json_scan.h"

#include <string.h>

void text_show(struct slice text, char ret[TEXT_SHOWN + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < text.len && n < TEXT_SHOWN; i++) {
        unsigned char c = text.data[i];

        if ((c & 0xC0) != 0x80)
            ret[n++] = (char)(c >= 0x20 && c < 0x7F ? c : '?');
    }
    ret[n] = '\0';
}

/* Of the character at p; 0 if it is none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
    size_t n = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    unsigned char low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4 || left < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xBF)
            return 0;
    return n;
}

size_t text_utf8(struct slice text)
{
    size_t at = 0;

    while (at < text.len) {
        size_t left = text.len - at;
        uint64_t ascii = UINT64_MAX;
        size_t n = 8;

        if (left >= 8)
            memcpy(&ascii, text.data + at, sizeof ascii);
        if ((ascii & UINT64_C(0x8080808080808080)) != 0)
            n = utf8_len(text.data + at, left);
        if (n == 0)
            return at;
        at += n;
    }
    return at;
}

bool text_uuid(struct slice text, unsigned char ret[EVENT_ID_LEN])
{
    size_t n = 0;

    if (text.len != EVENT_ID_TEXT - 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = scan_hex_digit(text.data[i]);

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text.data[i] != '-')
                return false;
            continue;
        }
        if (digit < 0)
            return false;
        ret[n / 2] = (unsigned char)(ret[n / 2] << 4 | digit);
        n++;
    }
    return true;
}

bool text_int32(struct slice text, int32_t *ret)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    int32_t v = 0;

    for (size_t i = negative; i < text.len; i++) {
        unsigned char c = text.data[i];

        if (c < '0' || c > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, c - '0', &v))
            return false;
    }
    if (text.len == (size_t)negative || (!negative && v == INT32_MIN))
        return false;
    *ret = negative ? v : -v;
    return true;
}

/* -- Time ------------------------------------------------------------------------------------- */

static bool take_digits(struct slice *s, size_t n, int least, int most, int *ret)
{
    int v = 0;

    if (s->len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s->data[i] < '0' || s->data[i] > '9')
            return false;
        v = v * 10 + (s->data[i] - '0');
    }
    *s = (struct slice){s->data + n, s->len - n};
    *ret = v;
    return v >= least && v <= most;
}

/* One character of these; 0: none. */
static char take_any(struct slice *s, const char *of)
{
    char c = s->len > 0 ? (char)s->data[0] : '\0';

    if (c == '\0' || strchr(of, c) == NULL)
        return '\0';
    *s = (struct slice){s->data + 1, s->len - 1};
    return c;
}

static bool take_date(struct slice *s, int *ret_year, int *ret_month, int *ret_day)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap;

    if (!take_digits(s, 4, 0, 9999, ret_year) || !take_any(s, "-") ||
        !take_digits(s, 2, 1, 12, ret_month) || !take_any(s, "-") ||
        !take_digits(s, 2, 1, days[*ret_month - 1], ret_day))
        return false;
    leap = *ret_year % 4 == 0 && (*ret_year % 100 != 0 || *ret_year % 400 == 0);
    return leap || *ret_month != 2 || *ret_day < 29;
}

static bool take_clock(struct slice *s, int64_t *ret_us)
{
    int hour;
    int minute;
    int second;
    int64_t us = 0;

    if (!take_digits(s, 2, 0, 23, &hour) || !take_any(s, ":") ||
        !take_digits(s, 2, 0, 59, &minute) || !take_any(s, ":") ||
        !take_digits(s, 2, 0, 59, &second))
        return false;
    if (take_any(s, ".")) {
        int digit;
        int n = 0;

        for (; n < 6 && take_digits(s, 1, 0, 9, &digit); n++)
            us = us * 10 + digit;
        if (n == 0)
            return false;
        for (; n < 6; n++)
            us *= 10;
    }
    *ret_us = (hour * INT64_C(3600) + minute * INT64_C(60) + second) * 1000000 + us;
    return true;
}

static bool take_zone(struct slice *s, int64_t *ret_us)
{
    char sign = take_any(s, "Z+-");
    int hour = 0;
    int minute = 0;

    if (sign == '\0')
        return false;
    if (sign != 'Z' && (!take_digits(s, 2, 0, 23, &hour) || !take_any(s, ":") ||
                        !take_digits(s, 2, 0, 59, &minute)))
        return false;
    *ret_us = (hour * INT64_C(3600) + minute * INT64_C(60)) * (sign == '-' ? -1000000 : 1000000);
    return true;
}

/* Since 1970-01-01, for a year from 0. A year begins in March here, so that a leap day is its last;
 * 719468 days lie between 0000-03-01 and 1970-01-01. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = y < 0 ? -1 : y / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool text_time(struct slice text, int64_t *ret_us)
{
    int year;
    int month;
    int day;
    int64_t clock;
    int64_t zone;

    if (!take_date(&text, &year, &month, &day) || !take_any(&text, "T ") ||
        !take_clock(&text, &clock) || !take_zone(&text, &zone) || text.len > 0)
        return false;
    *ret_us = days_since_1970(year, month, day) * INT64_C(86400000000) + clock - zone;
    return true;
}

/* -- Base64 ----------------------------------------------------------------------------------- */

static int base64_value(unsigned char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

const char *text_base64(unsigned char *text, size_t *len)
{
    size_t n = *len;
    size_t out = 0;
    uint32_t bits = 0;
    unsigned have = 0;

    for (int pad = 0; pad < 2 && n > 0 && text[n - 1] == '='; pad++)
        n--;
    for (size_t i = 0; i < n; i++) {
        int v = base64_value(text[i]);

        if (v < 0)
            return text[i] == '\n' || text[i] == '\r'
                       ? "has a line break: take out those that encode() writes"
                       : "has a character that is not base64";
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            text[out++] = (unsigned char)(bits >> have);
            bits &= (1U << have) - 1;
        }
    }
    if (*len % 4 != 0)
        return "is base64 that is cut short or lacks its padding";
    if (bits != 0)
        return "is base64 with bits behind the last byte";
    *len = out;
    return NULL;
}
