#include "base/buf.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader reader_of(const void *data, size_t len)
{
    const unsigned char *p = data;

    return (struct reader){.at = p, .end = p == NULL ? NULL : p + len};
}

struct slice read_bytes(struct reader *r, size_t len)
{
    struct slice s = {NULL, 0};

    if (r->failed || (size_t)(r->end - r->at) < len) {
        r->failed = true;
        return s;
    }
    s.data = r->at;
    s.len = len;
    r->at += len;
    return s;
}

static void read_into(struct reader *r, void *to, size_t len)
{
    struct slice s = read_bytes(r, len);

    if (s.data != NULL)
        memcpy(to, s.data, len);
}

uint8_t read_u8(struct reader *r)
{
    uint8_t v = 0;

    read_into(r, &v, sizeof v);
    return v;
}

uint16_t read_u16(struct reader *r)
{
    uint16_t v = 0;

    read_into(r, &v, sizeof v);
    return be16toh(v);
}

uint32_t read_u32(struct reader *r)
{
    uint32_t v = 0;

    read_into(r, &v, sizeof v);
    return be32toh(v);
}

uint64_t read_u64(struct reader *r)
{
    uint64_t v = 0;

    read_into(r, &v, sizeof v);
    return be64toh(v);
}

/* Makes room for len more bytes and one NUL behind them. */
static bool buf_reserve(struct buf *b, size_t len)
{
    size_t want = b->cap == 0 ? 256 : b->cap;
    unsigned char *grown;

    if (b->failed)
        return false;
    if (b->cap - b->len > len)
        return true;
    while (want - b->len <= len) {
        if (want > SIZE_MAX / 2) {
            b->failed = true;
            return false;
        }
        want *= 2;
    }
    grown = realloc(b->data, want);
    if (grown == NULL) {
        b->failed = true;
        return false;
    }
    b->data = grown;
    b->cap = want;
    return true;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0 || !buf_reserve(b, len))
        return;
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

void buf_u16(struct buf *b, uint16_t v)
{
    v = htobe16(v);
    buf_append(b, &v, sizeof v);
}

void buf_u32(struct buf *b, uint32_t v)
{
    v = htobe32(v);
    buf_append(b, &v, sizeof v);
}

void buf_u64(struct buf *b, uint64_t v)
{
    v = htobe64(v);
    buf_append(b, &v, sizeof v);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !buf_reserve(b, (size_t)n)) {
        b->failed = true;
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

const char *buf_cstr(struct buf *b)
{
    if (!buf_reserve(b, 0))
        return NULL;
    b->data[b->len] = '\0';
    return (const char *)b->data;
}
