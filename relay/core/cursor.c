#include "core/cursor.h"

static void open_difference(struct cursor *c)
{
    c->kind = READ_DIFFERENCE;
    c->opened = false;
    c->late = true;
    c->range = false;
    c->after = INT64_MIN;
    c->upto = c->high;
    c->beyond = c->high;
    snapshot_clear(&c->until);
}

void cursor_start_over(struct cursor *c)
{
    if (c->kind == READ_DIFFERENCE && snapshot_is_set(&c->since))
        snapshot_swap(&c->before, &c->since);
    else
        snapshot_clear(&c->before);
    c->kind = READ_START;
    c->opened = false;
    c->after = INT64_MIN;
    c->upto = INT64_MIN;
    snapshot_clear(&c->since);
    snapshot_clear(&c->until);
}

void cursor_start_given(struct cursor *c)
{
    cursor_start_over(c);
    c->opened = true;
    c->upto = INT64_MAX;
}

void cursor_free(struct cursor *c)
{
    snapshot_free(&c->since);
    snapshot_free(&c->until);
    snapshot_free(&c->before);
    snapshot_free(&c->swept);
}

void cursor_next(const struct cursor *c, uint32_t limit, struct read_request *ret)
{
    *ret = (struct read_request){
        .kind = c->kind,
        .opens = !c->opened,
        .late = c->kind == READ_DIFFERENCE && c->late,
        .range = c->range,
        .after = c->after,
        .upto = c->upto,
        .beyond = c->beyond,
        .since = &c->since,
        .until = &c->until,
        .limit = limit,
    };
}

int cursor_header(struct cursor *c, const struct slice *snapshot, bool has_max, int64_t max_seq,
                  struct err *err)
{
    int rc = snapshot_parse(&c->until, (const char *)snapshot->data, snapshot->len, err);

    if (rc != 0)
        return rc;
    c->opened = true;
    /* An empty table has nothing to page through: everything later comes from the difference. */
    if (c->kind == READ_START)
        c->upto = has_max ? max_seq : INT64_MIN;
    return 0;
}

void cursor_advance(struct cursor *c, int64_t seq)
{
    if (c->kind == READ_START || seq <= c->upto) {
        c->after = seq;
        return;
    }
    c->late = false;
    c->beyond = seq;
}

bool cursor_page_end(struct cursor *c, bool exhausted)
{
    int64_t seen;

    if (!c->opened)
        return false;
    if (!exhausted) {
        /* A page full of late rows: gathering and sorting them again for each page would be
         * quadratic in a bulk transaction that commits late. */
        c->range = c->kind == READ_DIFFERENCE && c->late;
        return false;
    }
    seen = c->kind == READ_START ? c->upto : c->beyond;
    if (seen > c->high)
        c->high = seen;
    snapshot_swap(&c->since, &c->until);
    open_difference(c);
    return true;
}

void cursor_sweep_begin(struct cursor *c)
{
    cursor_start_over(c);
    if (snapshot_is_set(&c->swept))
        snapshot_swap(&c->before, &c->swept);
}

void cursor_sweep_end(struct cursor *c)
{
    snapshot_swap(&c->swept, &c->since);
    snapshot_swap(&c->since, &c->before);
}

void cursor_sweep_forget(struct cursor *c)
{
    snapshot_clear(&c->swept);
}

bool cursor_is_stray(const struct cursor *c, uint64_t xid)
{
    if (c->kind != READ_START || !c->opened || !snapshot_is_set(&c->before))
        return false;
    return snapshot_sees(&c->before, xid) || !snapshot_sees(&c->until, xid);
}
