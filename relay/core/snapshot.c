#include "core/snapshot.h"

#include <stdlib.h>
#include <string.h>

/* Reads digits up to a stop character; false on anything else or on overflow. */
static bool parse_number(const char **at, const char *end, uint64_t *ret)
{
    const char *p = *at;
    uint64_t v = 0;

    while (p < end && *p >= '0' && *p <= '9') {
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p++ - '0'), &v))
            return false;
    }
    if (p == *at)
        return false;
    *at = p;
    *ret = v;
    return true;
}

static bool parse_colon(const char **at, const char *end)
{
    if (*at == end || **at != ':')
        return false;
    (*at)++;
    return true;
}

static int push_xip(struct snapshot *s, uint64_t xid)
{
    if (s->nxip == s->cap) {
        size_t cap = s->cap == 0 ? 64 : s->cap * 2;
        uint64_t *grown = realloc(s->xip, cap * sizeof *grown);

        if (grown == NULL)
            return -1;
        s->xip = grown;
        s->cap = cap;
    }
    s->xip[s->nxip++] = xid;
    return 0;
}

int snapshot_parse(struct snapshot *s, const char *text, size_t len, struct err *err)
{
    const char *at = text;
    const char *end = text + len;
    uint64_t last = 0;
    uint64_t xid;

    snapshot_clear(s);
    if (!parse_number(&at, end, &s->xmin) || !parse_colon(&at, end) ||
        !parse_number(&at, end, &s->xmax) || !parse_colon(&at, end) || s->xmax < s->xmin)
        goto malformed;
    while (at < end) {
        if (s->nxip > 0 && *at++ != ',')
            goto malformed;
        if (!parse_number(&at, end, &xid) || xid <= last || xid < s->xmin || xid >= s->xmax)
            goto malformed;
        last = xid;
        if (push_xip(s, xid) != 0)
            goto nomem;
    }
    buf_append(&s->text, text, len);
    if (buf_cstr(&s->text) == NULL)
        goto nomem;
    return 0;

malformed:
    snapshot_clear(s);
    return err_set(err, ERR_PROTOCOL, "the server sent a snapshot that does not parse");
nomem:
    snapshot_clear(s);
    return err_set(err, ERR_NOMEM, "out of memory for a snapshot");
}

bool snapshot_sees(const struct snapshot *s, uint64_t xid)
{
    size_t lo = 0;
    size_t hi = s->nxip;

    if (xid < s->xmin)
        return true;
    if (xid >= s->xmax)
        return false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->xip[mid] == xid)
            return false;
        if (s->xip[mid] < xid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return true;
}

bool snapshot_covers(const struct snapshot *s, const struct snapshot *past)
{
    uint64_t open = 0; /* of those that began after s, how many past leaves out */

    for (size_t i = 0; i < past->nxip; i++)
        open += past->xip[i] >= s->xmax && past->xip[i] < past->xmax;
    if (past->xmax > s->xmax && past->xmax - s->xmax > open)
        return false;
    for (size_t i = 0; i < s->nxip; i++)
        if (snapshot_sees(past, s->xip[i]))
            return false;
    return true;
}

uint64_t xid_widen(uint32_t xid, uint64_t near)
{
    return near + (uint64_t)(int64_t)(int32_t)(xid - (uint32_t)near);
}

bool snapshot_is_set(const struct snapshot *s)
{
    return s->text.len > 0;
}

const char *snapshot_text(const struct snapshot *s)
{
    return s->text.len > 0 ? (const char *)s->text.data : "";
}

const char *snapshot_xip_text(const struct snapshot *s)
{
    const char *colon = strrchr(snapshot_text(s), ':');

    return colon == NULL ? "" : colon + 1;
}

void snapshot_clear(struct snapshot *s)
{
    s->xmin = 0;
    s->xmax = 0;
    s->nxip = 0;
    buf_reset(&s->text);
}

void snapshot_swap(struct snapshot *a, struct snapshot *b)
{
    struct snapshot t = *a;

    *a = *b;
    *b = t;
}

void snapshot_free(struct snapshot *s)
{
    free(s->xip);
    buf_free(&s->text);
    *s = (struct snapshot){0};
}
