#include "postgres/pg_value.h"

#include "core/event.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Those of lower oids are PostgreSQL's own. */
#define FIRST_USER_OID 16384

#define DAY_S INT64_C(86400)
#define US_PER_S INT64_C(1000000)

/* Between PostgreSQL's epoch, 2000-01-01, and 1970. */
#define EPOCH_DAYS INT64_C(10957)
static const int64_t epoch_us = EPOCH_DAYS * DAY_S * US_PER_S;

/* By pg_type.dat. Each has a send function that pg_bytes and the others know. */
static const struct pg_type types[] = {
    {20, PG_INTEGER, 8, "int8"},     {23, PG_INTEGER, 4, "int4"}, {21, PG_INTEGER, 2, "int2"},
    {2950, PG_UUID, 16, "uuid"},     {5069, PG_XID8, 8, "xid8"},  {1184, PG_TIME, 8, "timestamptz"},
    {1114, PG_TIME, 8, "timestamp"}, {25, PG_TEXT, 0, "text"},    {1043, PG_TEXT, 0, "varchar"},
    {1042, PG_TEXT, 0, "bpchar"},    {19, PG_TEXT, 0, "name"},    {PG_OID_JSON, PG_TEXT, 0, "json"},
    {3802, PG_JSONB, 0, "jsonb"},    {17, PG_BYTEA, 0, "bytea"},  {16, PG_BOOL, 1, "bool"},
};
static const struct pg_type user_type = {0, PG_TEXT, 0, ""};
static const struct pg_type other_type = {0, PG_OTHER, 0, ""};

const struct pg_type *pg_type_by_oid(uint32_t oid)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].oid == oid)
            return &types[i];
    return oid >= FIRST_USER_OID ? &user_type : &other_type;
}

static bool equals(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

const struct pg_type *pg_type_by_name(struct slice name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (equals(name, types[i].name))
            return &types[i];
    return &other_type;
}

struct reader pg_fixed(struct slice s, size_t len)
{
    struct reader r = reader_of(s.data, s.data == NULL ? 0 : s.len);

    r.failed = s.data == NULL || s.len != len;
    return r;
}

/* -- numbers ----------------------------------------------------------------------------------- */

bool pg_digits(struct slice s, int64_t *ret)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    int64_t v = 0;

    for (size_t i = negative; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, s.data[i] - '0', &v))
            return false;
    }
    if (!negative && v == INT64_MIN)
        return false;
    *ret = negative ? v : -v;
    return s.len > (size_t)negative;
}

bool pg_integer(const struct pg_value *v, int64_t *ret)
{
    struct reader r;

    if (!v->binary)
        return pg_digits(v->bytes, ret);
    r = pg_fixed(v->bytes, v->type->width);
    if (v->type->width == 2)
        *ret = (int16_t)read_u16(&r);
    else if (v->type->width == 4)
        *ret = (int32_t)read_u32(&r);
    else
        *ret = (int64_t)read_u64(&r);
    return !r.failed;
}

bool pg_xid8(const struct pg_value *v, uint64_t *ret)
{
    struct reader r = pg_fixed(v->bytes, 8);
    uint64_t n = 0;

    if (v->binary) {
        *ret = read_u64(&r);
        return !r.failed;
    }
    for (size_t i = 0; i < v->bytes.len; i++) {
        unsigned char c = v->bytes.data[i];

        if (c < '0' || c > '9' || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(c - '0'), &n))
            return false;
    }
    *ret = n;
    return v->bytes.len > 0;
}

/* -- bytes ------------------------------------------------------------------------------------- */

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that two digits make, or -1. */
static int hex_byte(const unsigned char *at)
{
    int high = hex_digit(at[0]);
    int low = hex_digit(at[1]);

    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool pg_uuid(const struct pg_value *v, unsigned char ret[16])
{
    const unsigned char *at = v->bytes.data;

    if (v->bytes.len != (v->binary ? 16 : 36))
        return false;
    if (v->binary) {
        memcpy(ret, at, 16);
        return true;
    }
    for (int i = 0; i < 16; i++, at += 2) {
        int byte;

        if ((i == 4 || i == 6 || i == 8 || i == 10) && *at++ != '-')
            return false;
        byte = hex_byte(at);
        if (byte < 0)
            return false;
        ret[i] = (unsigned char)byte;
    }
    return true;
}

static bool bytea_of_text(struct slice s, struct buf *scratch, struct slice *ret)
{
    size_t len = s.len / 2 - 1;

    buf_reset(scratch);
    if (s.len < 2 || s.len % 2 != 0 || s.data[0] != '\\' || s.data[1] != 'x')
        return false;
    buf_append(scratch, s.data, s.len); /* whole, so that an empty value has memory too */
    for (size_t i = 0; i < len && !scratch->failed; i++) {
        int byte = hex_byte(s.data + 2 + 2 * i);

        if (byte < 0)
            return false;
        scratch->data[i] = (unsigned char)byte;
    }
    *ret = (struct slice){scratch->data, len};
    return !scratch->failed;
}

bool pg_bytes(const struct pg_value *v, struct buf *scratch, struct slice *ret)
{
    *ret = v->bytes;
    if (v->type->family == PG_BYTEA && !v->binary)
        return bytea_of_text(v->bytes, scratch, ret);
    if (v->type->family == PG_JSONB && v->binary) {
        if (v->bytes.len == 0 || v->bytes.data[0] != 1)
            return false;
        *ret = (struct slice){v->bytes.data + 1, v->bytes.len - 1};
    }
    return true;
}

static bool bool_text(const struct pg_value *v, struct slice *ret)
{
    bool value;

    if (v->bytes.len != 1)
        return false;
    value = v->bytes.data[0] == (v->binary ? 1 : 't');
    *ret = (struct slice){(const unsigned char *)(value ? "true" : "false"), value ? 4 : 5};
    return true;
}

bool pg_text(const struct pg_value *v, struct buf *scratch, struct slice *ret)
{
    char uuid[EVENT_ID_TEXT];
    unsigned char id[EVENT_ID_LEN];
    int64_t n;

    *ret = v->bytes;
    if (v->type->family == PG_BOOL)
        return bool_text(v, ret);
    if (!v->binary)
        return true;
    buf_reset(scratch);
    switch (v->type->family) {
    case PG_TEXT:
    case PG_JSONB:
        return pg_bytes(v, scratch, ret);
    case PG_INTEGER:
        if (!pg_integer(v, &n))
            return false;
        buf_printf(scratch, "%" PRId64, n);
        break;
    case PG_UUID:
        if (!pg_uuid(v, id))
            return false;
        event_id_text(id, uuid);
        buf_append(scratch, uuid, EVENT_ID_TEXT - 1);
        break;
    default:
        return false;
    }
    *ret = (struct slice){scratch->data, scratch->len};
    return !scratch->failed;
}

/* -- time -------------------------------------------------------------------------------------- */

int64_t pg_time_to_unix(int64_t us)
{
    if (us == INT64_MIN || us == INT64_MAX)
        return us; /* -infinity, infinity */
    return us > INT64_MAX - epoch_us ? EVENT_TIME_MAX : us + epoch_us;
}

int64_t pg_time_of_unix(int64_t us)
{
    return us - epoch_us;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar, year 0 being 1 BC. Years are counted
 * from March, so that the leap day is the last of its year. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* At least min digits and no more than max, of a number within low and high; else r has failed. */
static int64_t number(struct reader *r, int min, int max, int64_t low, int64_t high)
{
    int64_t v = 0;
    int n = 0;

    for (; n < max && r->at < r->end && *r->at >= '0' && *r->at <= '9'; n++)
        v = v * 10 + (*r->at++ - '0');
    if (n < min || v < low || v > high)
        r->failed = true;
    return v;
}

static bool take(struct reader *r, char c)
{
    if (r->at == r->end || *r->at != (unsigned char)c)
        return false;
    r->at++;
    return true;
}

static void expect(struct reader *r, char c)
{
    if (!take(r, c))
        r->failed = true;
}

/* "2024-02-29", in days since 2000. */
static int64_t date(struct reader *r, bool bc)
{
    int64_t year = number(r, 4, 6, 1, 999999);
    int64_t month;

    expect(r, '-');
    month = number(r, 2, 2, 1, 12);
    expect(r, '-');
    return days_of(bc ? 1 - year : year, month, number(r, 2, 2, 1, 31)) - EPOCH_DAYS;
}

/* ":34:56", or as many of the two as there are, in seconds. */
static int64_t minutes_and_seconds(struct reader *r, int min_parts)
{
    int64_t s = 0;
    int n = 0;

    for (int64_t unit = 60; unit > 0 && take(r, ':'); unit /= 60, n++)
        s += unit * number(r, 2, 2, 0, unit == 1 ? 60 : 59);
    if (n < min_parts)
        r->failed = true;
    return s;
}

/* ".5", in microseconds. */
static int64_t fraction(struct reader *r)
{
    const unsigned char *begin;
    int64_t us;

    if (!take(r, '.'))
        return 0;
    begin = r->at;
    us = number(r, 1, 6, 0, US_PER_S);
    for (long digits = r->at - begin; digits < 6; digits++)
        us *= 10;
    return us;
}

/* "+05:30", in seconds east. */
static int64_t zone(struct reader *r)
{
    bool west = r->at < r->end && *r->at == '-';
    int64_t s;

    if (!take(r, '-') && !take(r, '+'))
        return 0;
    s = number(r, 2, 2, 0, 15) * 3600;
    s += minutes_and_seconds(r, 0);
    return west ? -s : s;
}

static bool time_of_text(struct slice text, int64_t *ret)
{
    static const char before_christ[] = {' ', 'B', 'C'};
    bool bc = text.len > 3 && memcmp(text.data + text.len - 3, before_christ, 3) == 0;
    struct reader r = reader_of(text.data, text.len - (bc ? 3 : 0));
    int64_t s;
    int64_t us;

    s = date(&r, bc) * DAY_S;
    expect(&r, ' ');
    s += number(&r, 2, 2, 0, 24) * 3600;
    s += minutes_and_seconds(&r, 2);
    us = fraction(&r);
    s -= zone(&r);
    if (r.failed || r.at != r.end || __builtin_mul_overflow(s, US_PER_S, &s) ||
        __builtin_add_overflow(s, us, &us))
        return false;
    *ret = pg_time_to_unix(us);
    return true;
}

bool pg_time(const struct pg_value *v, int64_t *ret)
{
    struct reader r = pg_fixed(v->bytes, 8);

    if (v->binary) {
        *ret = pg_time_to_unix((int64_t)read_u64(&r));
        return !r.failed;
    }
    if (equals(v->bytes, "infinity") || equals(v->bytes, "-infinity")) {
        *ret = v->bytes.data[0] == '-' ? EVENT_TIME_MIN : EVENT_TIME_MAX;
        return true;
    }
    return time_of_text(v->bytes, ret);
}

bool pg_lsn(const char *text, uint64_t *ret)
{
    char *end;
    unsigned long high = strtoul(text, &end, 16);
    unsigned long low;

    if (end == text || *end != '/' || high > UINT32_MAX)
        return false;
    text = end + 1;
    low = strtoul(text, &end, 16);
    if (end == text || *end != '\0' || low > UINT32_MAX)
        return false;
    *ret = (uint64_t)high << 32 | low;
    return true;
}
