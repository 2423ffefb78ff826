/* The cursor against a naive model of MVCC: transactions that take seq and xid long before they
 * commit, pages of any size, rounds that start over. Whatever is committed is read once, and in an
 * order in which no row follows one of a later transaction that knew it. */
#include "core/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROWS 4000
#define TXNS 6

struct row {
    uint64_t xid;
    uint64_t committed; /* when, 0: not */
    uint32_t read;      /* how often since it was forgotten */
};

/* seq is the index. */
struct model {
    struct row rows[ROWS];
    int64_t next_seq;
    uint64_t next_xid, last_ended;
    uint64_t open[TXNS]; /* xid, 0: none */
    uint64_t clock;
    uint64_t rng;
    struct cursor cursor;
};

static uint32_t below(struct model *m, uint32_t n)
{
    m->rng = m->rng * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)((m->rng >> 33) % n);
}

static bool running(const struct model *m, uint64_t xid)
{
    for (int i = 0; i < TXNS; i++)
        if (m->open[i] == xid)
            return true;
    return false;
}

static void write_some(struct model *m)
{
    uint32_t slot = below(m, TXNS);

    if (m->open[slot] == 0)
        m->open[slot] = m->next_xid++;
    for (uint32_t n = 1 + below(m, below(m, 10) == 0 ? 60 : 3); n > 0 && m->next_seq < ROWS; n--)
        m->rows[m->next_seq++].xid = m->open[slot];
}

static void end_some(struct model *m, bool commit)
{
    uint32_t slot = below(m, TXNS);
    uint64_t xid = m->open[slot];

    if (xid == 0)
        return;
    m->open[slot] = 0;
    m->last_ended = xid > m->last_ended ? xid : m->last_ended;
    m->clock++;
    for (int64_t i = 1; i < m->next_seq && commit; i++)
        if (m->rows[i].xid == xid)
            m->rows[i].committed = m->clock;
}

static size_t snapshot_of(const struct model *m, char *text, size_t cap)
{
    uint64_t xmin = m->last_ended + 1;
    char list[200] = "";
    size_t len = 0;

    for (uint64_t xid = 1; xid <= m->last_ended; xid++) {
        if (!running(m, xid))
            continue;
        xmin = xid < xmin ? xid : xmin;
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%llu", len > 0 ? "," : "",
                                (unsigned long long)xid);
    }
    return (size_t)snprintf(text, cap, "%llu:%llu:%s", (unsigned long long)xmin,
                            (unsigned long long)m->last_ended + 1, list);
}

/* The statement of one page, as postgres/read_sql writes it; returns how many rows. */
static uint32_t page(const struct model *m, const struct read_request *q, int64_t *rows)
{
    uint32_t n = 0;

    for (int branch = q->kind == READ_DIFFERENCE && q->late ? 0 : 1; branch < 2; branch++) {
        bool start = q->kind == READ_START;
        int64_t after = start || branch == 0 ? q->after : q->beyond;
        int64_t upto = (start && !q->opens) || branch == 0 ? q->upto : INT64_MAX;

        for (int64_t i = 1; i < m->next_seq && n < q->limit; i++) {
            const struct row *r = &m->rows[i];

            if (r->committed == 0 || i <= after || i > upto)
                continue;
            if (!q->opens && !snapshot_sees(q->until, r->xid))
                continue;
            if (branch == 0 && snapshot_sees(q->since, r->xid))
                continue;
            rows[n++] = i;
        }
    }
    return n;
}

/* One page, of which perhaps not all rows are dealt with; true when it ended a round. */
static bool read_page(struct model *m, int64_t *last_seq)
{
    struct read_request q;
    int64_t rows[64];
    uint32_t n;
    uint32_t taken;
    bool ended;

    cursor_next(&m->cursor, 1 + below(m, 60), &q);
    n = page(m, &q, rows);
    if (q.opens) {
        char text[300];
        struct slice s = {(const unsigned char *)text, snapshot_of(m, text, sizeof text)};
        int64_t max_seq = 0;
        struct err err;

        for (int64_t i = 1; i < m->next_seq; i++)
            max_seq = m->rows[i].committed != 0 ? i : max_seq;
        assert_int_equal(cursor_header(&m->cursor, &s, max_seq > 0, max_seq, &err), 0);
        *last_seq = 0;
    }
    taken = below(m, 4) == 0 ? below(m, n + 1) : n;
    for (uint32_t i = 0; i < taken; i++) {
        struct row *r = &m->rows[rows[i]];

        assert_true(rows[i] > *last_seq); /* seq order within a round */
        *last_seq = rows[i];
        assert_int_equal(r->read++, 0);
        cursor_advance(&m->cursor, rows[i]);
    }
    ended = cursor_page_end(&m->cursor, taken == n && n < q.limit);
    return ended;
}

/* At the end of a round all that had committed when it opened has been read. */
static void expect_read(const struct model *m, uint64_t by)
{
    for (int64_t i = 1; i < m->next_seq; i++)
        if (m->rows[i].committed != 0 && m->rows[i].committed <= by)
            assert_int_equal(m->rows[i].read, 1);
}

static void run(uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);
    uint64_t opened_at = 0;
    int64_t last_seq = 0;
    int rounds = 0;

    assert_non_null(m);
    m->rng = seed;
    m->next_seq = 1;
    m->next_xid = 5;
    m->last_ended = 4;
    for (int i = 0; i < 40; i++) { /* a backlog to begin with */
        write_some(m);
        end_some(m, below(m, 4) > 0);
    }
    cursor_start_over(&m->cursor);
    for (int i = 0; i < 1500; i++) {
        struct read_request q;

        for (uint32_t n = below(m, 4); n > 0; n--) {
            write_some(m);
            end_some(m, below(m, 4) > 0);
        }
        cursor_next(&m->cursor, 1, &q);
        if (q.opens)
            opened_at = m->clock;
        if (read_page(m, &last_seq)) {
            expect_read(m, opened_at);
            rounds++;
        } else if (below(m, 200) == 0) { /* connected anew: what is unpublished comes again */
            cursor_start_over(&m->cursor);
            for (int64_t k = 1; k < m->next_seq; k++)
                m->rows[k].read = 0;
        }
    }
    assert_true(rounds > 20);
    cursor_free(&m->cursor);
    free(m);
}

static void reads_each_committed_row_once_and_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        run(seed * 77);
}

static void header(struct cursor *c, const char *text, int64_t max_seq)
{
    struct slice s = {(const unsigned char *)text, strlen(text)};
    struct err err;

    assert_int_equal(cursor_header(c, &s, max_seq > 0, max_seq, &err), 0);
}

static void an_empty_table_needs_one_page(void **state)
{
    struct cursor c = {0};
    struct read_request q;

    (void)state;
    cursor_start_over(&c);
    cursor_next(&c, 5, &q);
    assert_int_equal(q.kind, READ_START);
    assert_true(q.opens);
    header(&c, "10:10:", 0);
    assert_true(cursor_page_end(&c, true));
    cursor_next(&c, 5, &q);
    assert_int_equal(q.kind, READ_DIFFERENCE);
    assert_true(q.opens && q.late && !q.range);
    assert_string_equal(snapshot_text(q.since), "10:10:");
    cursor_free(&c);
}

static void a_page_without_its_header_is_asked_for_again(void **state)
{
    struct cursor c = {0};
    struct read_request q;

    (void)state;
    cursor_start_over(&c);
    assert_false(cursor_page_end(&c, true));
    cursor_next(&c, 5, &q);
    assert_true(q.opens);
    header(&c, "10:10:", 9);
    cursor_advance(&c, 4);
    assert_false(cursor_page_end(&c, false));
    cursor_next(&c, 5, &q);
    assert_false(q.opens);
    assert_int_equal(q.after, 4);
    assert_int_equal(q.upto, 9);
    cursor_free(&c);
}

static void many_late_rows_are_walked_by_seq(void **state)
{
    struct cursor c = {0};
    struct read_request q;

    (void)state;
    cursor_start_over(&c);
    header(&c, "10:20:12", 100);
    assert_true(cursor_page_end(&c, true));
    header(&c, "20:20:", 100);
    cursor_advance(&c, 50);
    assert_false(cursor_page_end(&c, false));
    cursor_next(&c, 5, &q);
    assert_true(q.late && q.range);
    assert_int_equal(q.after, 50);
    assert_int_equal(q.upto, 100);
    assert_int_equal(q.beyond, 100);
    cursor_advance(&c, 101); /* the first of the new ones: the late branch is through */
    assert_false(cursor_page_end(&c, false));
    cursor_next(&c, 5, &q);
    assert_false(q.late);
    assert_int_equal(q.beyond, 101);
    assert_true(cursor_page_end(&c, true));
    cursor_next(&c, 5, &q);
    assert_true(q.opens && q.late);
    assert_int_equal(q.upto, 101);
    cursor_free(&c);
}

static void strays_are_what_no_difference_brings(void **state)
{
    struct cursor c = {0};

    (void)state;
    cursor_start_over(&c);
    header(&c, "10:20:12", 100);
    assert_false(cursor_is_stray(&c, 5)); /* nothing was complete before it */
    assert_true(cursor_page_end(&c, true));
    cursor_start_over(&c);
    header(&c, "25:25:", 100);
    assert_true(cursor_is_stray(&c, 5));
    assert_true(cursor_is_stray(&c, 15));
    assert_false(cursor_is_stray(&c, 12)); /* was running */
    assert_false(cursor_is_stray(&c, 22)); /* began since */
    assert_true(cursor_is_stray(&c, 25));  /* has not begun here */
    cursor_free(&c);
}

/* Another place's snapshot bounds it, which its caller knows. */
static void a_start_that_was_given_its_snapshot_does_not_open(void **state)
{
    struct cursor c = {0};
    struct read_request q;

    (void)state;
    cursor_start_over(&c);
    header(&c, "10:20:12", 100);
    assert_true(cursor_page_end(&c, true));
    cursor_start_given(&c);
    for (int again = 0; again < 2; again++) {
        cursor_next(&c, 5, &q);
        assert_int_equal(q.kind, READ_START);
        assert_false(q.opens);
        assert_true(q.after == INT64_MIN);
        assert_true(q.upto == INT64_MAX);
        cursor_advance(&c, 7);
        assert_false(cursor_page_end(&c, false));
        cursor_next(&c, 5, &q);
        assert_false(q.opens);
        assert_int_equal(q.after, 7);
        assert_true(q.upto == INT64_MAX);
        cursor_start_given(&c);
    }
    assert_true(cursor_page_end(&c, true));
    cursor_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_each_committed_row_once_and_in_order),
        cmocka_unit_test(an_empty_table_needs_one_page),
        cmocka_unit_test(a_page_without_its_header_is_asked_for_again),
        cmocka_unit_test(many_late_rows_are_walked_by_seq),
        cmocka_unit_test(strays_are_what_no_difference_brings),
        cmocka_unit_test(a_start_that_was_given_its_snapshot_does_not_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
