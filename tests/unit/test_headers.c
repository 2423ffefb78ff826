/* The headers column: every form of JSON value, escapes and surrogates; then everything that is not
 * an object, each truncation, and mutations by the ten thousand, in buffers of exactly their length
 * so that the sanitizer sees a read beyond. */
#include "core/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int parse(struct headers *h, const char *json, size_t len, struct err *err)
{
    unsigned char *exact = malloc(len == 0 ? 1 : len);
    size_t sum = 0;
    int rc;

    assert_non_null(exact);
    memcpy(exact, json, len);
    headers_reset(h);
    *err = (struct err){ERR_NONE, ""};
    rc = headers_add_json(h, (struct slice){exact, len}, err);
    if (rc == 0) /* touch each byte */
        for (size_t i = 0; i < h->n; i++) {
            for (size_t k = 0; k < h->list[i].name.len; k++)
                sum += h->list[i].name.data[k];
            for (size_t k = 0; k < h->list[i].value.len; k++)
                sum += h->list[i].value.data[k];
            assert_true(h->list[i].name.data != NULL);
        }
    else
        assert_true(rc == -ERR_ROW && err->class == ERR_ROW && err->message[0] != '\0');
    assert_true(sum != SIZE_MAX);
    free(exact);
    return rc;
}

struct want {
    const char *name;
    const char *value; /* NULL: a null header */
    size_t len;        /* of a value with NUL bytes, else 0 */
};

static void expect(const char *json, const struct want *want, size_t n)
{
    struct headers h = {0};
    struct err err;

    headers_reset(&h);
    assert_int_equal(
        headers_add_json(&h, (struct slice){(const unsigned char *)json, strlen(json)}, &err), 0);
    assert_int_equal(h.n, n);
    for (size_t i = 0; i < n; i++) {
        const struct header *got = &h.list[i];
        size_t len = want[i].len > 0 ? want[i].len : strlen(want[i].value ? want[i].value : "");

        assert_int_equal(got->name.len, strlen(want[i].name));
        assert_memory_equal(got->name.data, want[i].name, got->name.len);
        if (want[i].value == NULL) {
            assert_null(got->value.data);
            continue;
        }
        assert_non_null(got->value.data);
        assert_int_equal(got->value.len, len);
        assert_memory_equal(got->value.data, want[i].value, len);
    }
    headers_free(&h);
}

static void every_form_of_value(void **state)
{
    static const struct want want[] = {
        {"string", "as it is", 0},
        {"empty", "", 0},
        {"number", "-1.50e+3", 0},
        {"big", "123456789012345678901234567890", 0},
        {"yes", "true", 0},
        {"no", "false", 0},
        {"nothing", NULL, 0},
        {"text null", "null", 0},
        {"object", "{\"a\": [1, {\"b\":\"}\\\"\"}]}", 0},
        {"array", "[1, 2 ,\"]\"]", 0},
        {"", "empty name", 0},
        {"string", "again", 0},
    };

    (void)state;
    expect(" {\"string\":\"as it is\", \"empty\" : \"\" ,\"number\":-1.50e+3\t,\n"
           "\"big\":123456789012345678901234567890,\"yes\":true,\"no\":false ,\"nothing\": null ,"
           "\"text null\":\"null\",\"object\": {\"a\": [1, {\"b\":\"}\\\"\"}]},"
           "\"array\":[1, 2 ,\"]\"],\"\":\"empty name\",\"string\":\"again\"} \r\n",
           want, sizeof want / sizeof *want);
    expect("{}", NULL, 0);
    expect(" { } ", NULL, 0);
    expect("null", NULL, 0);
}

static void escapes(void **state)
{
    static const struct want want[] = {
        {"q\"\\/", "\"\\/\b\f\n\r\t", 0},
        {"A\xc3\xa9", "\xe2\x82\xac\xf0\x9f\x98\x80", 0},
        {"nul", "a\0b", 3},
        {"plain", "\xc3\xa9\xf0\x9f\x98\x80", 0},
        {"ends", "\xf4\x8f\xbf\xbf\xf0\x90\x80\x80\xef\xbf\xbf\xdf\xbf\x7f", 0},
    };

    (void)state;
    expect("{\"q\\\"\\\\\\/\":\"\\\"\\\\\\/"
           "\\b\\f\\n\\r\\t\",\"\\u0041\\u00e9\":\"\\u20AC\\uD83D\\uDE00\","
           "\"nul\":\"a\\u0000b\",\"plain\":\"\xc3\xa9\xf0\x9f\x98\x80\","
           "\"ends\":\"\\udbff\\udfff\\ud800\\udc00\\uffff\\u07ff\\u007f\"}",
           want, sizeof want / sizeof *want);
}

static void what_is_no_object_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "[]",
        "[1]",
        "\"a\"",
        "1",
        "true",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":,}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{1:2}",
        "{\"a\" 1}",
        "{\"a\":1}x",
        "{\"a\":1}{}",
        "{\"a\":1",
        "{\"a\":\"b}",
        "{\"a\":[1}",
        "{\"a\":{\"b\":1]",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\ud800\\n\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u",
        "{\"a\":\"line\nbreak\"}",
        "{\"a\":\"tab\tinside\"}",
        "{\"a\\",
        "{\"a\":1,,\"b\":2}",
        "{,\"a\":1}",
        "{\"a\":maybe}",
        "{\"a\":nul}",
        "{\"a\":1f}",
        "{\"a\":+1}",
        "{\"a\":1\"b\"}",
    };
    struct headers h = {0};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (parse(&h, texts[i], strlen(texts[i]), &err) == 0)
            fail_msg("taken: %s", texts[i]);
    }
    headers_free(&h);
}

static void an_error_tells_where_and_quotes_nothing(void **state)
{
    static const char json[] = "{\"secret-name\":\"secret\\xvalue\"}";
    struct headers h = {0};
    struct err err;

    (void)state;
    assert_int_equal(parse(&h, json, sizeof json - 1, &err), -ERR_ROW);
    assert_non_null(strstr(err.message, "escape"));
    assert_non_null(strstr(err.message, "byte"));
    assert_null(strstr(err.message, "secret"));
    headers_free(&h);
}

static const char sample[] =
    "{\"trace\":\"00-4bf92f\\u0041\\ud83d\\ude00\\n-01\",\"n\":[1,{\"a\":\"\\\"}\"},null,-2.5e3],"
    "\"\\u00e9\\t\":{\"k\":[[[]]]} , \"z\" : null,\"last\":\"x\"}";

static void each_truncation_is_refused(void **state)
{
    struct headers h = {0};
    struct err err;

    (void)state;
    assert_int_equal(parse(&h, sample, sizeof sample - 1, &err), 0);
    for (size_t len = 0; len < sizeof sample - 1; len++)
        assert_int_equal(parse(&h, sample, len, &err), -ERR_ROW);
    headers_free(&h);
}

static void mutations_neither_crash_nor_read_beyond(void **state)
{
    static const char alphabet[] = "\"\\{}[]:,u0dD8c9 nulltrue\x01\x80\xff";
    struct headers h = {0};
    struct err err;
    uint64_t rng = 7;
    uint32_t taken = 0;

    (void)state;
    for (int i = 0; i < 60000; i++) {
        char text[sizeof sample];
        size_t len = sizeof sample - 1;

        memcpy(text, sample, sizeof sample);
        for (int k = 0; k <= i % 4; k++) {
            size_t at;

            if (len == 0)
                break;
            rng = rng * 6364136223846793005U + 1442695040888963407U;
            at = (rng >> 33) % len;
            switch (rng >> 61) {
            case 0: /* a byte goes */
                memmove(text + at, text + at + 1, len - at - 1);
                len--;
                break;
            case 1: /* the end goes */
                len = at + 1;
                break;
            case 2: /* any byte */
                text[at] = (char)(rng >> 20);
                break;
            default:
                text[at] = alphabet[(rng >> 12) % (sizeof alphabet - 1)];
            }
        }
        taken += parse(&h, text, len, &err) == 0;
    }
    assert_true(taken > 1000 && taken < 59000); /* both ways were gone */
    headers_free(&h);
}

static void depth_is_bounded(void **state)
{
    struct headers h = {0};
    struct buf text = {0};
    struct err err;

    (void)state;
    buf_printf(&text, "{\"a\":");
    for (int i = 0; i < 100000; i++)
        buf_append(&text, "[", 1);
    assert_int_equal(parse(&h, buf_cstr(&text), text.len, &err), -ERR_ROW);
    assert_non_null(strstr(err.message, "nested"));
    buf_free(&text);
    headers_free(&h);
}

static void many_headers_and_own_ones_in_front(void **state)
{
    struct headers h = {0};
    struct buf text = {0};
    struct err err;
    char name[32];

    (void)state;
    for (int round = 0; round < 3; round++) { /* the memory is used again */
        buf_reset(&text);
        buf_printf(&text, "{\"x\":1");
        for (int i = 0; i < 500; i++)
            buf_printf(&text, ",\"n\\u002d%d\":\"v\\n%d\"", i, i);
        buf_append(&text, "}", 1);
        headers_reset(&h);
        assert_int_equal(headers_add(&h, (struct slice){(const unsigned char *)"id", 2},
                                     (struct slice){(const unsigned char *)"7", 1}, &err),
                         0);
        assert_int_equal(headers_add_json(&h, (struct slice){text.data, text.len}, &err), 0);
        assert_int_equal(h.n, 502);
        assert_memory_equal(h.list[0].name.data, "id", 2);
        for (int i = 0; i < 500; i++) {
            (void)snprintf(name, sizeof name, "n-%d", i);
            assert_int_equal(h.list[i + 2].name.len, strlen(name));
            assert_memory_equal(h.list[i + 2].name.data, name, strlen(name));
            (void)snprintf(name, sizeof name, "v\n%d", i);
            assert_int_equal(h.list[i + 2].value.len, strlen(name));
            assert_memory_equal(h.list[i + 2].value.data, name, strlen(name));
        }
    }
    buf_free(&text);
    headers_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_value),
        cmocka_unit_test(escapes),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(an_error_tells_where_and_quotes_nothing),
        cmocka_unit_test(each_truncation_is_refused),
        cmocka_unit_test(mutations_neither_crash_nor_read_beyond),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(many_headers_and_own_ones_in_front),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
