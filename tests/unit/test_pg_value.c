/* Values in text, as no row that was captured has them: the edges, and what is no value at all. */
#include "postgres/pg_value.h"

#include "core/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

/* In memory of exactly its size, so that the sanitizer sees a read behind it; the caller frees it.
 */
static struct pg_value text(const char *type, const char *text)
{
    struct slice name = {(const unsigned char *)type, strlen(type)};
    size_t len = strlen(text);
    unsigned char *bytes = malloc(len == 0 ? 1 : len);

    assert_non_null(bytes);
    memcpy(bytes, text, len);
    return (struct pg_value){.type = pg_type_by_name(name), .bytes = {bytes, len}};
}

static void release(const struct pg_value *v)
{
    union {
        const unsigned char *borrowed;
        void *owned;
    } bytes = {v->bytes.data};

    free(bytes.owned);
}

static void integers(void **state)
{
    static const char *const wrong[] = {"",
                                        "-",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1.0",
                                        "0x1",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "99999999999999999999"};
    static const struct {
        const char *text;
        int64_t value;
    } right[] = {
        {"0", 0},
        {"-1", -1},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    int64_t n;

    (void)state;
    for (size_t i = 0; i < LENGTH(right); i++) {
        struct pg_value v = text("int8", right[i].text);

        assert_true(pg_integer(&v, &n));
        assert_true(n == right[i].value);
        release(&v);
    }
    for (size_t i = 0; i < LENGTH(wrong); i++) {
        struct pg_value v = text("int8", wrong[i]);

        assert_false(pg_integer(&v, &n));
        release(&v);
    }
}

static void transaction_ids(void **state)
{
    static const char *const wrong[] = {"", "-1", "x", "18446744073709551616"};
    struct pg_value most = text("xid8", "18446744073709551615");
    uint64_t n;

    (void)state;
    assert_true(pg_xid8(&most, &n));
    assert_true(n == UINT64_MAX);
    release(&most);
    for (size_t i = 0; i < LENGTH(wrong); i++) {
        struct pg_value v = text("xid8", wrong[i]);

        assert_false(pg_xid8(&v, &n));
        release(&v);
    }
}

static void uuids(void **state)
{
    static const char *const wrong[] = {
        "",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeeff0",
        "00112233+4455-6677-8899-aabbccddeeff",
        "0011223-34455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeefg",
    };
    struct pg_value upper = text("uuid", "00112233-4455-6677-8899-AABBCCDDEEFF");
    unsigned char id[16];

    (void)state;
    assert_true(pg_uuid(&upper, id));
    assert_int_equal(id[15], 0xff);
    release(&upper);
    for (size_t i = 0; i < LENGTH(wrong); i++) {
        struct pg_value v = text("uuid", wrong[i]);

        assert_false(pg_uuid(&v, id));
        release(&v);
    }
}

/* bytea_output escape does not parse, rather than being taken for the bytes. */
static void hex(void **state)
{
    static const char *const wrong[] = {"", "\\", "x", "\\x0", "\\x0g", "abcd", "\\\\x00"};
    struct pg_value right = text("bytea", "\\x00fF7f");
    struct buf scratch = {0};
    struct slice s;

    (void)state;
    assert_true(pg_bytes(&right, &scratch, &s));
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.data, "\x00\xff\x7f", 3);
    release(&right);
    for (size_t i = 0; i < LENGTH(wrong); i++) {
        struct pg_value v = text("bytea", wrong[i]);

        assert_false(pg_bytes(&v, &scratch, &s));
        release(&v);
    }
    buf_free(&scratch);
}

static void times(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } right[] = {
        {"1970-01-01 00:00:00+00", 0},
        {"2000-01-01 00:00:00+00", 946684800000000},
        {"1970-01-01 00:00:00.000001", 1},
        {"1970-01-01 00:00:00.5+00", 500000},
        {"1970-01-01 01:00:00+01", 0},
        {"1969-12-31 18:30:00-05:30", 0},
        {"1970-01-01 00:00:01+00:00:01", 0},
        {"2000-02-29 23:59:59+00", 951868799000000},
        {"1900-03-01 00:00:00+00", -2203891200000000},
        {"0001-01-01 00:00:00+00", -62135596800000000},
        {"0001-12-31 00:00:00+00 BC", -62135683200000000},
        {"4714-11-24 00:00:00+00 BC", -210866803200000000}, /* a timestamp's first */
        {"10000-01-01 00:00:00+00", 253402300800000000},
        {"294247-01-10 04:00:54.775807+00", EVENT_TIME_MAX}, /* all that 64 bits hold */
        {"294247-01-10 04:00:54.775806+00", EVENT_TIME_MAX - 1},
        {"294277-01-01 15:59:58.999999+15:59:59", EVENT_TIME_MAX}, /* a timestamp's last */
        {"infinity", EVENT_TIME_MAX},
        {"-infinity", EVENT_TIME_MIN},
    };
    int64_t us;

    (void)state;
    for (size_t i = 0; i < LENGTH(right); i++) {
        struct pg_value v = text("timestamptz", right[i].text);

        if (!pg_time(&v, &us) || us != right[i].us)
            fail_msg("%s", right[i].text);
        release(&v);
    }
}

static void no_times(void **state)
{
    static const char *const wrong[] = {
        "",
        " BC",
        "now",
        "infinity ",
        "1970-01-01",
        "1970-01-01 00:00",
        "1970-01-01 00:00:00.",
        "1970-01-01 00:00:00.1234567",
        "1970-01-01 00:00:00+",
        "1970-01-01 00:00:00+1",
        "1970-01-01 00:00:00+16",
        "1970-01-01 00:00:00 UTC",
        "1970-13-01 00:00:00+00",
        "1970-00-01 00:00:00+00",
        "1970-01-32 00:00:00+00",
        "1970-01-01 25:00:00+00",
        "1970-01-01 00:60:00+00",
        "970-01-01 00:00:00+00",
        "0000-01-01 00:00:00+00",
        "294277-02-01 00:00:00+00",
        "999999-12-31 00:00:00+00",
        "999999-12-31 00:00:00+00 BC",
        "9999999-01-01 00:00:00+00",
        "01/02/1970 00:00:00 UTC",
        "Thu Jan 01 00:00:00 1970 UTC",
    };
    int64_t us;

    (void)state;
    for (size_t i = 0; i < LENGTH(wrong); i++) {
        struct pg_value v = text("timestamptz", wrong[i]);

        if (pg_time(&v, &us))
            fail_msg("%s", wrong[i]);
        release(&v);
    }
}

static void positions(void **state)
{
    static const char *const wrong[] = {"",      "/",           "1/",          "/1",  "1",
                                        "1/1/1", "100000000/0", "0/100000000", "x/1", "1/1 "};
    uint64_t lsn = 0;

    (void)state;
    assert_true(pg_lsn("16/B374D848", &lsn));
    assert_int_equal(lsn, UINT64_C(0x16B374D848));
    assert_true(pg_lsn("FFFFFFFF/FFFFFFFF", &lsn));
    assert_true(lsn == UINT64_MAX);
    for (size_t i = 0; i < LENGTH(wrong); i++)
        if (pg_lsn(wrong[i], &lsn))
            fail_msg("%s", wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),  cmocka_unit_test(transaction_ids), cmocka_unit_test(uuids),
        cmocka_unit_test(hex),       cmocka_unit_test(times),           cmocka_unit_test(no_times),
        cmocka_unit_test(positions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
