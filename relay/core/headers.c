#include "core/headers.h"

#include "core/json_scan.h"

#include <stdlib.h>
#include <string.h>

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

/* One "name": value; offsets into scratch are marked by an impossible length bit until the end. */
struct pending {
    struct slice name, value;
    bool name_scratch, value_scratch;
};

static bool scan_pair(struct json_scan *s, struct pending *p)
{
    if (!scan_take(s, '"'))
        return scan_wrong(s, "a name that is no string");
    if (!scan_string(s, &p->name, &p->name_scratch))
        return false;
    if (!scan_take(s, ':'))
        return scan_wrong(s, "a name without a value");
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
    struct json_scan s = {
        .start = json.data, .at = json.data, .end = json.data + json.len, .scratch = &h->scratch};
    int rc;

    if (!reserve_scratch(&h->scratch, json.len))
        return err_set(err, ERR_NOMEM, "out of memory for headers");
    if (!scan_take(&s, '{')) {
        scan_skip_space(&s);
        if (s.end - s.at >= 4 && memcmp(s.at, "null", 4) == 0) {
            s.at += 4;
            goto tail;
        }
        return err_set(err, ERR_ROW, "its headers are not a JSON object");
    }
    if (scan_take(&s, '}'))
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
    } while (scan_take(&s, ','));
    if (!scan_take(&s, '}')) {
        (void)scan_wrong(&s, "a missing comma or closing brace");
        goto bad;
    }
tail:
    scan_skip_space(&s);
    if (s.at == s.end)
        return 0;
    (void)scan_wrong(&s, "text behind the value");
bad:
    return err_set(err, ERR_ROW, "its headers hold %s at byte %zu", s.wrong, scan_place(&s));
}
