/* The bounded reader and the growing writer: what was written is read back, and every underflow
 * sticks. */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void written_is_read(void **state)
{
    struct buf b = {0};
    struct reader r;
    struct slice s;

    (void)state;
    buf_u16(&b, 0x1234);
    buf_u32(&b, 0x89abcdef);
    buf_u64(&b, 0x0123456789abcdefU);
    buf_append(&b, "x\0y", 3);
    buf_append(&b, "\xff", 1);
    assert_int_equal(b.len, 18);
    assert_memory_equal(b.data, "\x12\x34\x89\xab\xcd\xef\x01", 7); /* big-endian */
    r = reader_of(b.data, b.len);
    assert_int_equal(read_u16(&r), 0x1234);
    assert_int_equal(read_u32(&r), 0x89abcdef);
    assert_true(read_u64(&r) == 0x0123456789abcdefU);
    s = read_bytes(&r, 3);
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.data, "x\0y", 3);
    assert_int_equal(read_u8(&r), 0xff);
    assert_false(r.failed);
    assert_int_equal(read_bytes(&r, 0).len, 0);
    assert_false(r.failed);
    assert_int_equal(read_u8(&r), 0);
    assert_true(r.failed);
    buf_free(&b);
}

/* Whichever field the bytes end in: it and all later ones are 0, and one look at the end tells. */
static void each_underflow_sticks(void **state)
{
    (void)state;
    for (size_t len = 0; len < 16; len++) {
        unsigned char *exact = malloc(len == 0 ? 1 : len);
        struct reader r;
        struct slice s;

        assert_non_null(exact);
        memset(exact, 1, len);
        r = reader_of(exact, len);
        assert_int_equal(read_u8(&r), len >= 1 ? 1 : 0);
        assert_int_equal(read_u16(&r), len >= 3 ? 0x0101 : 0);
        assert_int_equal(read_u32(&r), len >= 7 ? 0x01010101 : 0);
        assert_true(read_u64(&r) == (len >= 15 ? 0x0101010101010101U : 0));
        s = read_bytes(&r, 1);
        assert_null(s.data);
        assert_int_equal(s.len, 0);
        assert_true(r.failed);
        assert_int_equal(read_u8(&r), 0);
        free(exact);
    }
}

static void absurd_lengths_fail(void **state)
{
    unsigned char four[4] = {1, 2, 3, 4};
    struct reader r = reader_of(four, sizeof four);

    (void)state;
    assert_null(read_bytes(&r, SIZE_MAX).data);
    assert_true(r.failed);
    assert_null(read_bytes(&r, 1).data); /* though it is there */
    r = reader_of(NULL, 0);
    assert_int_equal(read_u32(&r), 0);
    assert_true(r.failed);
}

static void grows_and_is_used_again(void **state)
{
    struct buf b = {0};

    (void)state;
    for (int i = 0; i < 10000; i++)
        buf_printf(&b, "%d,", i);
    assert_false(b.failed);
    assert_int_equal(b.len, 48890);
    assert_memory_equal(buf_cstr(&b) + b.len - 5, "9999,", 5);
    assert_int_equal(strlen(buf_cstr(&b)), b.len);
    buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(buf_cstr(&b), "");
    buf_append(&b, "", 0);
    assert_int_equal(b.len, 0);
    buf_free(&b);
    assert_null(b.data);
    assert_string_equal(buf_cstr(&b), "");
    buf_free(&b);
}

/* A length that no memory holds fails, sticks until the next reset, and spoils nothing. */
static void a_failed_append_sticks(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_append(&b, "ok", 2);
    buf_append(&b, "x", SIZE_MAX - 8);
    assert_true(b.failed);
    buf_append(&b, "y", 1);
    assert_null(buf_cstr(&b));
    assert_int_equal(b.len, 2);
    buf_reset(&b);
    buf_append(&b, "z", 1);
    assert_string_equal(buf_cstr(&b), "z");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read),        cmocka_unit_test(each_underflow_sticks),
        cmocka_unit_test(absurd_lengths_fail),    cmocka_unit_test(grows_and_is_used_again),
        cmocka_unit_test(a_failed_append_sticks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
