/* Snapshots as pg_current_snapshot() prints them: valid ones, each truncation of them, hostile
 * ones. */
#include "core/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Parses from a buffer of exactly that length, so that a read beyond it is seen. */
static int parse(struct snapshot *s, const char *text, size_t len)
{
    char *exact = malloc(len == 0 ? 1 : len);
    struct err err = {ERR_NONE, ""};
    int rc;

    assert_non_null(exact);
    memcpy(exact, text, len);
    rc = snapshot_parse(s, exact, len, &err);
    if (rc != 0) {
        assert_int_equal(rc, -ERR_PROTOCOL);
        assert_int_equal(err.class, ERR_PROTOCOL);
        assert_true(strlen(err.message) > 0);
        assert_false(snapshot_is_set(s));
        assert_int_equal(s->nxip, 0);
    }
    free(exact);
    return rc;
}

static void valid(void **state)
{
    struct snapshot s = {0};

    (void)state;
    assert_int_equal(parse(&s, "795:799:795,797", 15), 0);
    assert_true(snapshot_is_set(&s));
    assert_string_equal(snapshot_text(&s), "795:799:795,797");
    assert_string_equal(snapshot_xip_text(&s), "795,797");
    assert_true(snapshot_sees(&s, 0));
    assert_true(snapshot_sees(&s, 794));
    assert_false(snapshot_sees(&s, 795));
    assert_true(snapshot_sees(&s, 796));
    assert_false(snapshot_sees(&s, 797));
    assert_true(snapshot_sees(&s, 798));
    assert_false(snapshot_sees(&s, 799));
    assert_false(snapshot_sees(&s, UINT64_MAX));
    assert_int_equal(parse(&s, "10:10:", 6), 0);
    assert_string_equal(snapshot_xip_text(&s), "");
    assert_true(snapshot_sees(&s, 9));
    assert_false(snapshot_sees(&s, 10));
    assert_int_equal(parse(&s, "4294967296:4294967299:4294967298", 32), 0); /* beyond 32 bits */
    assert_false(snapshot_sees(&s, 4294967298));
    assert_true(snapshot_sees(&s, 4294967297));
    snapshot_free(&s);
    assert_false(snapshot_is_set(&s));
    assert_string_equal(snapshot_text(&s), "");
}

/* A truncation is an error, or (behind a whole number of the list) a snapshot that says just that.
 */
static void each_truncation(void **state)
{
    static const char text[] = "100:120:100,107,119";
    struct snapshot s = {0};

    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        bool whole = len == 8 || len == 11 || len == 15;

        assert_int_equal(parse(&s, text, len), whole ? 0 : -ERR_PROTOCOL);
        if (whole)
            assert_memory_equal(snapshot_text(&s), text, len);
    }
    snapshot_free(&s);
}

static void hostile(void **state)
{
    static const char *const texts[] = {
        "",
        ":",
        "::",
        "a:b:c",
        "1",
        "1:",
        "1:2",
        "-1:2:",
        "1:-2:",
        "2:1:",
        "1:5:0",
        "1:5:5",
        "1:5:6",
        "1:5:2,2",
        "1:5:3,2",
        "1:5:2,",
        "1:5:,2",
        "1:5:2,,3",
        "1:5:2;3",
        "1:5:2 ",
        " 1:5:2",
        "1:5: 2",
        "1: 5:2",
        "+1:5:2",
        "1:5:2:",
        "1.0:5:2",
        "0x1:5:2",
        "1::5",
        "1:5:2x",
        "1:99999999999999999999:",
        "99999999999999999999:1:",
        "1:5:99999999999999999999",
    };
    struct snapshot s = {0};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(parse(&s, texts[i], strlen(texts[i])), -ERR_PROTOCOL);
    assert_int_equal(parse(&s, "1:5:\0", 5), -ERR_PROTOCOL);
    snapshot_free(&s);
}

static void a_failed_one_leaves_nothing_of_the_one_before(void **state)
{
    struct snapshot s = {0};

    (void)state;
    assert_int_equal(parse(&s, "5:9:5,6", 7), 0);
    assert_int_equal(parse(&s, "5:9:5,x", 7), -ERR_PROTOCOL);
    assert_int_equal(parse(&s, "7:7:", 4), 0);
    assert_true(snapshot_sees(&s, 5));
    snapshot_free(&s);
}

static void many_in_progress(void **state)
{
    struct snapshot s = {0};
    struct snapshot t = {0};
    struct buf text = {0};

    (void)state;
    buf_printf(&text, "1000:10000:");
    for (unsigned i = 0; i < 3000; i++)
        buf_printf(&text, "%s%u", i == 0 ? "" : ",", 1000 + i * 3);
    assert_int_equal(parse(&s, buf_cstr(&text), text.len), 0);
    assert_int_equal(s.nxip, 3000);
    for (uint64_t xid = 990; xid < 10010; xid++)
        assert_int_equal(snapshot_sees(&s, xid),
                         xid < 1000 || (xid < 10000 && (xid - 1000) % 3 != 0));
    snapshot_swap(&s, &t);
    assert_false(snapshot_is_set(&s));
    assert_int_equal(t.nxip, 3000);
    snapshot_clear(&t);
    assert_false(snapshot_is_set(&t));
    snapshot_free(&s);
    snapshot_free(&t);
    buf_free(&text);
}

static void parsed(struct snapshot *s, const char *text)
{
    assert_int_equal(parse(s, text, strlen(text)), 0);
}

static bool covers(const char *now, const char *past)
{
    struct snapshot a = {0};
    struct snapshot b = {0};
    bool ret;

    parsed(&a, now);
    parsed(&b, past);
    ret = snapshot_covers(&a, &b);
    snapshot_free(&a);
    snapshot_free(&b);
    return ret;
}

static void one_covers_another(void **state)
{
    (void)state;
    assert_true(covers("12:15:13", "12:15:13"));
    assert_true(covers("15:15:", "12:15:13"));
    assert_false(covers("12:15:13,14", "12:15:13")); /* 14 had ended, and now has not: it waits */
    assert_true(covers("13:16:13,15", "12:15:13"));
    assert_false(covers("12:14:13", "12:15:13")); /* 14 lies beyond */
    assert_true(covers("12:14:13", "12:15:13,14"));
    assert_true(covers("12:14:13", "12:17:13,14,15,16"));
    assert_false(covers("12:14:13", "12:17:13,14,16"));
    assert_true(covers("4294967290:4294967300:", "4294967290:4294967299:4294967296"));
    assert_false(covers("3:3:", "4294967290:4294967299:"));
    assert_true(covers("3:3:", "3:3:"));
}

/* A snapshot over a handful of ids. */
static void some_snapshot(struct snapshot *s, uint64_t *rng)
{
    struct buf text = {0};
    unsigned xmin;
    unsigned xmax;
    const char *comma = "";

    *rng = *rng * 6364136223846793005U + 1442695040888963407U;
    xmin = 3 + (unsigned)(*rng >> 33) % 8;
    xmax = xmin + (unsigned)(*rng >> 40) % 6;
    buf_printf(&text, "%u:%u:", xmin, xmax);
    for (unsigned xid = xmin; xid < xmax; xid++) {
        if ((*rng >> (50 + xid - xmin) & 1) == 0)
            continue;
        buf_printf(&text, "%s%u", comma, xid);
        comma = ",";
    }
    assert_int_equal(parse(s, buf_cstr(&text), text.len), 0);
    buf_free(&text);
}

static void covering_is_what_it_says(void **state)
{
    struct snapshot s = {0};
    struct snapshot past = {0};
    uint64_t rng = 11;
    unsigned yes = 0;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        bool all = true;

        some_snapshot(&s, &rng);
        some_snapshot(&past, &rng);
        for (uint64_t xid = 0; xid < 30; xid++)
            all = all && (!snapshot_sees(&past, xid) || snapshot_sees(&s, xid));
        assert_int_equal(snapshot_covers(&s, &past), all);
        yes += all;
    }
    assert_true(yes > 2000 && yes < 18000);
    snapshot_free(&s);
    snapshot_free(&past);
}

static void an_id_is_widened_to_the_nearest(void **state)
{
    static const uint64_t era = UINT64_C(1) << 32;
    static const uint64_t half = UINT64_C(1) << 31;

    (void)state;
    assert_true(xid_widen(700, 650) == 700);
    assert_true(xid_widen(650, 700) == 650);
    assert_true(xid_widen(7, 7) == 7);
    /* over the wrap, both ways, in any era */
    for (uint64_t e = era; e <= 5 * era; e += 2 * era) {
        assert_true(xid_widen(5, e - 10) == e + 5);
        assert_true(xid_widen(UINT32_MAX - 3, e + 5) == e - 4);
        assert_true(xid_widen(0, e - 1) == e);
        assert_true(xid_widen(UINT32_MAX, e) == e - 1);
        assert_true(xid_widen((uint32_t)(e + half - 1), e) == e + half - 1);
        assert_true(xid_widen((uint32_t)(e - half + 1), e) == e - half + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid),
        cmocka_unit_test(each_truncation),
        cmocka_unit_test(hostile),
        cmocka_unit_test(a_failed_one_leaves_nothing_of_the_one_before),
        cmocka_unit_test(many_in_progress),
        cmocka_unit_test(one_covers_another),
        cmocka_unit_test(covering_is_what_it_says),
        cmocka_unit_test(an_id_is_widened_to_the_nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
