#include "core/checkpoint.h"

#include <stdlib.h>
#include <string.h>

struct checkpoint_tx {
    uint64_t end; /* where the next one may begin; 0 while it is being streamed */
    uint32_t rows;
};

static struct checkpoint_tx *at(const struct checkpoint *c, uint64_t tx)
{
    return &c->ring[tx & (c->cap - 1)];
}

void checkpoint_free(struct checkpoint *c)
{
    free(c->ring);
    memset(c, 0, sizeof *c);
}

void checkpoint_reset(struct checkpoint *c)
{
    if (c->next == 0)
        c->next = 1;
    c->first = c->begun = c->next;
    c->open = c->lost = c->stored = false;
    c->lsn = c->reached = 0;
}

static bool grow(struct checkpoint *c)
{
    size_t cap = c->cap == 0 ? 64 : c->cap * 2;
    struct checkpoint_tx *ring = calloc(cap, sizeof *ring);

    if (ring == NULL)
        return false;
    for (uint64_t tx = c->first; tx < c->next; tx++)
        ring[tx & (cap - 1)] = *at(c, tx);
    free(c->ring);
    c->ring = ring;
    c->cap = cap;
    return true;
}

int checkpoint_open(struct checkpoint *c, struct err *err)
{
    if (c->open)
        return 0;
    if (c->next == 0)
        c->first = c->next = 1; /* what an idle server has said stands */
    if (c->next - c->first == c->cap && !grow(c))
        return err_set(err, ERR_NOMEM, "out of memory for a transaction in flight");
    *at(c, c->next++) = (struct checkpoint_tx){0};
    c->open = true;
    return 0;
}

int checkpoint_enter(struct checkpoint *c, uint64_t *ret_tx, struct err *err)
{
    int rc = checkpoint_open(c, err);

    if (rc != 0)
        return rc;
    *ret_tx = c->next - 1;
    at(c, *ret_tx)->rows++;
    return 0;
}

static void advance(struct checkpoint *c)
{
    while (c->first < c->next && at(c, c->first)->end != 0 && at(c, c->first)->rows == 0)
        c->lsn = c->reached = at(c, c->first++)->end;
}

bool checkpoint_has(const struct checkpoint *c, uint64_t tx)
{
    return tx >= c->first && tx < c->next && at(c, tx)->rows > 0;
}

bool checkpoint_passed(const struct checkpoint *c, uint64_t tx)
{
    return c->stored && tx >= c->begun && tx < c->first;
}

uint64_t checkpoint_end_of(const struct checkpoint *c, uint64_t tx)
{
    return checkpoint_has(c, tx) ? at(c, tx)->end : 0;
}

bool checkpoint_done_before(const struct checkpoint *c, uint64_t lsn)
{
    uint64_t end = c->first == c->next ? 0 : at(c, c->first)->end;

    return end == 0 || end >= lsn;
}

void checkpoint_leave(struct checkpoint *c, uint64_t tx)
{
    if (!checkpoint_has(c, tx))
        return;
    at(c, tx)->rows--;
    if (tx == c->first)
        advance(c);
}

void checkpoint_lose(struct checkpoint *c, uint64_t tx)
{
    if (!c->strict)
        checkpoint_leave(c, tx);
    else if (checkpoint_has(c, tx))
        c->lost = true; /* its row counts for ever */
}

void checkpoint_end(struct checkpoint *c, uint64_t lsn)
{
    /* Positions only grow, whatever an idle server says of itself. */
    if (c->first == c->next)
        c->lsn = lsn > c->lsn ? lsn : c->lsn;
    else if (lsn > at(c, c->next - 1)->end)
        at(c, c->next - 1)->end = lsn;
    c->open = false;
    advance(c);
}
