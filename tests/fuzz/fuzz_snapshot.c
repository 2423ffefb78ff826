/* Two snapshots, a line each, then uint32 and uint64 for xid_widen. Parsed, written and compared a
 * second time in the simplest way. */
#include "fuzz.h"

#include "core/snapshot.h"

#include <errno.h>
#include <inttypes.h>

static int parse(struct snapshot *s, struct slice text)
{
    struct slice copy = exact(text);
    struct err err = {ERR_NONE, ""};
    int rc = snapshot_parse(s, (const char *)copy.data, copy.len, &err);

    if (rc != 0) {
        check_err(rc, &err);
        CHECK(err.class == ERR_PROTOCOL && !snapshot_is_set(s) && s->nxip == 0);
    } else {
        CHECK(snapshot_is_set(s) && strlen(snapshot_text(s)) == copy.len &&
              memcmp(snapshot_text(s), copy.data, copy.len) == 0);
    }
    free_slice(copy);
    return rc;
}

/* -- parsing, the simple way ------------------------------------------------------------------- */

/* A number and what follows it, or a stop that no text has. */
static uint64_t number(const char **at, char *ret_stop)
{
    char *end;
    uint64_t v;

    *ret_stop = '?';
    if (**at < '0' || **at > '9') /* strtoull takes signs and blanks too */
        return 0;
    errno = 0;
    v = strtoull(*at, &end, 10);
    if (errno != 0)
        return 0;
    *ret_stop = *end;
    *at = end + (*end != '\0');
    return v;
}

/* Is this a snapshot? Then checks what s says of its list. */
static bool is_snapshot(const char *text, const struct snapshot *s)
{
    char stop;
    uint64_t xmin = number(&text, &stop);
    uint64_t xmax = stop == ':' ? number(&text, &stop) : 0;
    uint64_t last = 0;
    size_t n = 0;

    if (stop != ':' || xmax < xmin)
        return false;
    while (*text != '\0' || stop == ',') {
        uint64_t xid = number(&text, &stop);

        if ((stop != ',' && stop != '\0') || xid <= last || xid < xmin || xid >= xmax)
            return false;
        if (s != NULL)
            CHECK(n < s->nxip && s->xip[n] == xid);
        last = xid;
        n++;
    }
    if (s != NULL)
        CHECK(s->xmin == xmin && s->xmax == xmax && s->nxip == n);
    return true;
}

/* Without the zeros in front, the one text that a snapshot has. */
static void written_again(const struct snapshot *s)
{
    struct snapshot again = {0};
    struct buf b = {0};
    size_t list;

    buf_printf(&b, "%" PRIu64 ":%" PRIu64 ":", s->xmin, s->xmax);
    list = b.len;
    for (size_t i = 0; i < s->nxip; i++)
        buf_printf(&b, "%s%" PRIu64, i == 0 ? "" : ",", s->xip[i]);
    CHECK(parse(&again, (struct slice){b.data, b.len}) == 0);
    CHECK(again.xmin == s->xmin && again.xmax == s->xmax && again.nxip == s->nxip);
    CHECK(s->nxip == 0 || memcmp(again.xip, s->xip, s->nxip * sizeof *s->xip) == 0);
    CHECK(strcmp(snapshot_xip_text(&again), snapshot_text(&again) + list) == 0);
    snapshot_free(&again);
    buf_free(&b);
}

/* -- what it says, the simple way -------------------------------------------------------------- */

static bool sees(const struct snapshot *s, uint64_t xid)
{
    bool found = false;

    for (size_t i = 0; i < s->nxip; i++)
        found = found || s->xip[i] == xid;
    return xid < s->xmax && !found;
}

/* The least that past sees and s does not is in s's list, or s's xmax, or behind one of past's
 * list.
 */
static bool covers(const struct snapshot *s, const struct snapshot *past)
{
    bool all = !sees(past, s->xmax);

    for (size_t i = 0; i < s->nxip; i++)
        all = all && !sees(past, s->xip[i]);
    for (size_t i = 0; i < past->nxip; i++)
        all = all && (sees(s, past->xip[i] + 1) || !sees(past, past->xip[i] + 1));
    return all;
}

static void check_sees(const struct snapshot *s, const struct snapshot *other)
{
    uint64_t edges[] = {0, s->xmin, s->xmax, other->xmin, other->xmax, UINT64_MAX};

    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        for (uint64_t d = 0; d < 3; d++)
            CHECK(snapshot_sees(s, edges[i] + d - 1) == sees(s, edges[i] + d - 1));
    for (size_t i = 0; i < s->nxip; i++)
        for (uint64_t d = 0; d < 3; d++)
            CHECK(snapshot_sees(s, s->xip[i] + d - 1) == sees(s, s->xip[i] + d - 1));
}

static void check_widen(uint32_t xid, uint64_t near)
{
    uint64_t wide = xid_widen(xid, near);

    CHECK((uint32_t)wide == xid);
    CHECK(wide - near <= UINT64_C(1) << 31 || near - wide <= UINT64_C(1) << 31);
}

static void check_one(struct snapshot *s, struct slice text)
{
    char *copy = string_of(text);
    bool ok = parse(s, text) == 0;

    CHECK(ok == (strlen(copy) == text.len && is_snapshot(copy, ok ? s : NULL)));
    if (ok)
        written_again(s);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(data, size);
    struct snapshot a = {0};
    struct snapshot b = {0};
    uint32_t xid;

    check_one(&a, until(&in, '\n'));
    check_one(&b, until(&in, '\n'));
    if (snapshot_is_set(&a) && snapshot_is_set(&b)) {
        check_sees(&a, &b);
        check_sees(&b, &a);
        CHECK(snapshot_covers(&a, &b) == covers(&a, &b));
        CHECK(snapshot_covers(&b, &a) == covers(&b, &a));
        CHECK(snapshot_covers(&a, &a) && snapshot_covers(&b, &b));
    }
    xid = read_u32(&in);
    check_widen(xid, read_u64(&in));
    snapshot_free(&a);
    snapshot_free(&b);
    return 0;
}
