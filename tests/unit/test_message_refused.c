/* Logical messages that are refused: each error by its whole text, each truncation, each byte
 * flipped, mutations, and values without end. */
#include "message_case.h"

#define BASE64_AT ", at byte 67 of the content"

static const struct {
    const char *content, *message;
} errors[] = {
    {"", "its content holds no JSON object at byte 1"},
    {" \n", "its content holds no JSON object at byte 3"},
    {"null", "its content holds no JSON object at byte 1"},
    {" [{}]", "its content holds no JSON object at byte 2"},
    {"secret", "its content holds no JSON object at byte 1"},
    {"\"{}\"", "its content holds no JSON object at byte 1"},
    {"{}", "its content has no aggregatetype"},
    {"{\"aggregatetype\":\"a\",\"type\":\"t\"}", "its content has no aggregateid"},
    {"{\"aggregatetype\":\"a\",\"aggregateid\":1,\"type\":null}", "its content has no type"},
    {"{", "its content holds a name that is no string at byte 2"},
    {"{type:1}", "its content holds a name that is no string at byte 2"},
    {"{\"type\":1,}", "its content holds a name that is no string at byte 11"},
    {"{\"type\" 1}", "its content holds a name without a value at byte 9"},
    {"{\"type\":}", "its content holds a missing value at byte 9"},
    {"{\"type\":1 \"id\":2}", "its content holds a missing comma or closing brace at byte 11"},
    {"{\"type\":1]", "its content holds a missing comma or closing brace at byte 10"},
    {"{} {}", "its content holds text behind the object at byte 4"},
    {WITH("\"topic\":\"x\"") "\1", "its content holds text behind the object at byte 63"},
    {"{\"type\":secret}", "its content holds a value that is no JSON at byte 9"},
    {"{\"type\":01}", "its content holds a value that is no JSON at byte 9"},
    {"{\"type\":1", "its content holds a value that does not end at byte 10"},
    {"{\"payload\":[1", "its content holds a value that does not end at byte 14"},
    {"{\"payload\":[1}", "its content holds a missing comma or closing bracket at byte 14"},
    {"{\"payload\":{1:2}}", "its content holds a name that is no string at byte 13"},
    {"{\"payload\":\"secret", "its content holds a string that does not end at byte 19"},
    {"{\"payload\":\"secret\n\"}", "its content holds a control character in a string at byte 19"},
    {"{\"payload\":\"\\secret\"}",
     "its content holds an escape that JSON does not know at byte 14"},
    {"{\"payload\":\"\\u00", "its content holds a \\u escape that is cut short at byte 15"},
    {"{\"payload\":\"\\u00x0\"}",
     "its content holds a \\u escape with a character that is no hex digit at byte 17"},
    {WITH("\"topic\":\"\\ud800\""), "its content holds half of a surrogate pair at byte 66"},
    {WITH("\"topic\":\"\\udc00\""), "its content holds half of a surrogate pair at byte 66"},
    {WITH("\"topic\":\"\\ud800\\ue000\""), "its content holds half of a surrogate pair at byte 72"},
    {WITH("\"topic\":\"\\ud800\\u0041\""), "its content holds half of a surrogate pair at byte 72"},
    {"{\"type\":1,\"typ\\u0065\":2}", "its content names type twice, again at byte 11"},
    {"{\"topic\":null,\"topic\":null}", "its content names topic twice, again at byte 15"},
    {"{\"seq\":1}", "its content names seq at byte 2, which belongs to the table"},
    {"{\"type\":1, \"xid\":1}", "its content names xid at byte 12, which belongs to the table"},
    {"{\"published_at\":null}",
     "its content names published_at at byte 2, which belongs to the table"},
    {"{\"Type\":1}", "its content names \"Type\" at byte 2, which is no column"},
    {"{\"\":1}", "its content names \"\" at byte 2, which is no column"},
    {"{\"a\\u0000\\n\xc3\xa9\xf0\x9f\x98\x80~\x7f\":1}",
     "its content names \"a????~?\" at byte 2, which is no column"},
    {"{\"a123456789b123456789c123456789d123456789e123456789f123456789g1234secret\":1}",
     "its content names \"a123456789b123456789c123456789d123456789e123456789f123456789g123\" at "
     "byte "
     "2, which is no column"},
    {"{\"aggregatetype\":1,\"aggregateid\":1,\"type\":\"t\"}",
     "its aggregatetype is no string, at byte 18 of the content"},
    {"{\"aggregatetype\":\"a\",\"aggregateid\":true,\"type\":\"t\"}",
     "its aggregateid is neither a string nor a number, at byte 36 of the content"},
    {"{\"aggregatetype\":\"a\",\"aggregateid\":1,\"type\":{}}",
     "its type is no string, at byte 45 of the content"},
    {"{\"aggregatetype\":\"a\\u0000b\",\"aggregateid\":1,\"type\":\"t\"}",
     "its aggregatetype holds \\u0000, which a text cannot, at byte 18 of the content"},
    {"{\"aggregatetype\":\"a\",\"aggregateid\":\"\\u0000\",\"type\":\"t\"}",
     "its aggregateid holds \\u0000, which a text cannot, at byte 36 of the content"},
    {WITH("\"topic\":\"\\u0000\""),
     "its topic holds \\u0000, which a text cannot, at byte 59 of the content"},
    {WITH("\"topic\":7"), "its topic is no string, at byte 59 of the content"},
    {WITH("\"id\":7"), "its id is no string, at byte 56 of the content"},
    {WITH("\"created_at\":0"), "its created_at is no string, at byte 64 of the content"},
    {WITH("\"created_at\":\"secret\""),
     "its created_at is no time as in "
     "2006-01-02T15:04:05.123456+00:00, at byte 64 of the content"},
    {WITH("\"headers\":[]"), "its headers is no object, at byte 61 of the content"},
    {WITH("\"headers\":\"{}\""), "its headers is no object, at byte 61 of the content"},
    {WITH("\"payload\":1,\"payload_bytes\":\"\""),
     "it has both a payload and payload_bytes; set one of them"},
    {WITH("\"payload_bytes\":{}"), "its payload_bytes is no string" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zg\""),
     "its payload_bytes is base64 that is cut short or lacks its padding" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zg=\""),
     "its payload_bytes is base64 that is cut short or lacks its padding" BASE64_AT},
    {WITH("\"payload_bytes\":\"=\""),
     "its payload_bytes is base64 that is cut short or lacks its padding" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zm9vA\""),
     "its payload_bytes is base64 that is cut short or lacks its padding" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zg===\""),
     "its payload_bytes has a character that is not base64" BASE64_AT},
    {WITH("\"payload_bytes\":\"====\""),
     "its payload_bytes has a character that is not base64" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zg==Zg==\""),
     "its payload_bytes has a character that is not base64" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zm-_\""),
     "its payload_bytes has a character that is not base64" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zm 9\""),
     "its payload_bytes has a character that is not base64" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zm9\xc3\xa9\""),
     "its payload_bytes has a character that is not base64" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zm9v\\nZg==\""),
     "its payload_bytes has a line break: take out those that encode() writes" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zh==\""),
     "its payload_bytes is base64 with bits behind the last byte" BASE64_AT},
    {WITH("\"payload_bytes\":\"Zm9=\""),
     "its payload_bytes is base64 with bits behind the last byte" BASE64_AT},
    {WITH("\"topic\":\"\xff\""), "its content is not UTF-8 at byte 60"},
};

static void each_error_tells_what_and_where(void **state)
{
    struct parsed p = {0};

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (parse(&p, errors[i].content) == 0)
            fail_msg("taken: %s", errors[i].content);
        assert_string_equal(p.err.message, errors[i].message);
        assert_null(strstr(p.err.message, "secret"));
    }
    assert_int_equal(parse_from(&p, "{\0}", 3, &origin), -ERR_ROW);
    assert_int_equal(message_event(&p.m, (struct slice){NULL, 0}, &origin, &p.e, NULL), -ERR_ROW);
    end(&p);
}

static void a_payload_that_is_no_json(void **state)
{
    static const char *const payloads[] = {"",
                                           "[1,]",
                                           "[,1]",
                                           "[1 2]",
                                           "[1}",
                                           "{\"a\":1]",
                                           "{\"a\"}",
                                           "{\"a\":}",
                                           "{,}",
                                           "{1:2}",
                                           "{\"a\" 1}",
                                           "{\"a\":1,}",
                                           "[\"\\x\"]",
                                           "[\"\\u12g4\"]",
                                           "\"\\u00\"",
                                           "[\"\t\"]",
                                           "01",
                                           "1.",
                                           ".5",
                                           "1e",
                                           "1e+",
                                           "+1",
                                           "--1",
                                           "-",
                                           "1.2.3",
                                           "0x1",
                                           "NaN",
                                           "Infinity",
                                           "nul",
                                           "nullx",
                                           "True",
                                           "'a'",
                                           "[1]]",
                                           "{}}",
                                           "[[1]",
                                           "1 2",
                                           "[truefalse]",
                                           "[1\"a\"]",
                                           "[{\"a\":1:2}]",
                                           "[\"a\":1]",
                                           "[\"a\"\"b\"]",
                                           "\"a\\\""};
    struct parsed p = {0};
    char content[512];

    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        (void)snprintf(content, sizeof content, WITH("\"payload\":%s"), payloads[i]);
        if (parse(&p, content) == 0)
            fail_msg("taken: %s", payloads[i]);
    }
    end(&p);
}

static void only_utf8(void **state)
{
    static const char *const good[] = {"\x7f",         "\xc2\x80",         "\xdf\xbf",
                                       "\xe0\xa0\x80", "\xed\x9f\xbf",     "\xee\x80\x80",
                                       "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xe2\x82\xc0",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf0\x9f\x98",
                                      "\xf0\x9f\x98\x41",
                                      "\xfe"};
    static const char padding[] = "12345678"; /* each place within a word */
    struct parsed p = {0};
    char content[160];

    (void)state;
    for (int shift = 0; shift < 8; shift++) {
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
            (void)snprintf(content, sizeof content, WITH("\"topic\":\"%.*s%s\""), shift, padding,
                           good[i]);
            must(&p, content);
        }
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            char want[64];

            (void)snprintf(content, sizeof content, WITH("\"topic\":\"%.*s%s\""), shift, padding,
                           bad[i]);
            (void)snprintf(want, sizeof want, "its content is not UTF-8 at byte %d", 60 + shift);
            assert_int_equal(parse(&p, content), -ERR_ROW);
            assert_string_equal(p.err.message, want);
        }
    }
    end(&p);
}

static void each_truncation_is_refused(void **state)
{
    static const char bytes[] = WITH("\"payload_bytes\":\"\\u005am9vYg==\",\"partition\":-1");
    struct parsed p = {0};

    (void)state;
    for (size_t len = 0; len < sizeof full - 3; len++) /* up to the closing brace */
        assert_int_equal(parse_from(&p, full, len, &origin), -ERR_ROW);
    assert_int_equal(parse_from(&p, full, sizeof full - 3, &origin), 0);
    for (size_t len = 0; len < sizeof bytes - 1; len++)
        assert_int_equal(parse_from(&p, bytes, len, &origin), -ERR_ROW);
    end(&p);
}

static void each_byte_flipped(void **state)
{
    static const char bytes[] = WITH("\"payload_bytes\":\"\\u005am9vYg==\",\"headers\":{}");
    const char *const contents[] = {full, bytes};
    struct parsed p = {0};
    int taken = 0;
    int refused = 0;

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        size_t len = strlen(contents[k]);

        for (size_t at = 0; at < len; at++) {
            for (int v = 1; v < 256; v++) {
                char text[sizeof full + sizeof bytes];

                memcpy(text, contents[k], len);
                text[at] = (char)(text[at] ^ v);
                if (parse_from(&p, text, len, &origin) == 0)
                    taken++;
                else
                    refused++;
            }
        }
    }
    assert_true(taken > 1000 && refused > 1000);
    end(&p);
}

static void mutations_neither_crash_nor_read_beyond(void **state)
{
    static const char alphabet[] = "\"\\{}[]:,u0dD8c9 nulltrue=-TZ\x01\x80\xff";
    struct parsed p = {0};
    uint64_t rng = 7;

    (void)state;
    for (int i = 0; i < 30000; i++) {
        char text[sizeof full];
        size_t len = sizeof full - 1;

        memcpy(text, full, sizeof full);
        for (int k = 0; k <= i % 4 && len > 0; k++) {
            size_t at;

            rng = rng * 6364136223846793005U + 1442695040888963407U;
            at = (rng >> 33) % len;
            if (rng >> 62 == 0) {
                memmove(text + at, text + at + 1, len - at - 1);
                len--;
            } else {
                text[at] = alphabet[(rng >> 12) % (sizeof alphabet - 1)];
            }
        }
        (void)parse_from(&p, text, len, &origin);
    }
    end(&p);
}

static void nested(struct buf *content, int depth, bool closed)
{
    buf_reset(content);
    buf_printf(content, "{\"aggregatetype\":\"a\",\"aggregateid\":1,\"type\":\"t\",\"payload\":");
    for (int i = 0; i < depth; i++)
        buf_printf(content, i % 2 == 0 ? "[" : "{\"a\":");
    buf_append(content, "1", 1);
    for (int i = depth - 1; closed && i >= 0; i--)
        buf_append(content, i % 2 == 0 ? "]" : "}", 1);
    buf_append(content, "}", 1);
}

static void depth_is_bounded(void **state)
{
    struct parsed p = {0};
    struct buf content = {0};

    (void)state;
    nested(&content, 1024, true);
    assert_int_equal(parse_from(&p, content.data, content.len, &origin), 0);
    assert_int_equal(p.e.payload.len, 512 + 512 * 5 + 1 + 1024);
    nested(&content, 1025, true);
    assert_int_equal(parse_from(&p, content.data, content.len, &origin), -ERR_ROW);
    assert_non_null(strstr(p.err.message, "a value nested too deeply at byte 3131"));
    nested(&content, 200000, false);
    assert_int_equal(parse_from(&p, content.data, content.len, &origin), -ERR_ROW);
    assert_non_null(strstr(p.err.message, "a value nested too deeply at byte 3131"));
    buf_free(&content);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_error_tells_what_and_where),
        cmocka_unit_test(a_payload_that_is_no_json),
        cmocka_unit_test(only_utf8),
        cmocka_unit_test(each_truncation_is_refused),
        cmocka_unit_test(each_byte_flipped),
        cmocka_unit_test(mutations_neither_crash_nor_read_beyond),
        cmocka_unit_test(depth_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
