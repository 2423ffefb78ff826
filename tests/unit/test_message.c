/* Logical messages: each form of each column, text that is unescaped or left as it stands, and the
 * ids that are derived. */
#include "message_case.h"

static void every_column(void **state)
{
    struct parsed p = {0};

    (void)state;
    must(&p, full);
    same(p.e.aggregatetype, "order");
    same(p.e.aggregateid, "47\xf0\x9f\x98\x80");
    same(p.e.type, "Order/Paid \xc3\xa9");
    same_id(&p, "0190163d-8694-739b-aea5-966c26f8ad91");
    same(p.e.payload, "{\"a\" : [1.50, \"}\\\"\"]}");
    same(p.e.payload_bytes, NULL);
    same(p.e.headers, "{ \"h\":\"\\u00e9\" }");
    same(p.e.topic, "t-1");
    assert_true(p.e.has_partition);
    assert_int_equal(p.e.partition, 12);
    assert_int_equal(p.e.created_us, 1709245798250000); /* 22:29:58.25 in UTC */
    assert_true(p.e.seq == 0 && p.e.xid == 0);
    end(&p);
}

static void what_is_absent_or_null(void **state)
{
    static const char *const contents[] = {
        "{\"type\":\"\",\"aggregateid\":\"\",\"aggregatetype\":\"\"}",
        "{\"id\":null,\"payload\":null,\"payload_bytes\":null,\"headers\":null,\"topic\":null,"
        "\"partition\":null,\"created_at\":null,\"type\":\"\",\"aggregateid\":\"\","
        "\"aggregatetype\":\"\"}",
    };
    struct parsed p = {0};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        must(&p, full); /* of which nothing stays */
        must(&p, contents[i]);
        same(p.e.aggregatetype, "");
        same(p.e.aggregateid, "");
        same(p.e.type, "");
        same(p.e.payload, NULL);
        same(p.e.payload_bytes, NULL);
        same(p.e.headers, NULL);
        same(p.e.topic, NULL);
        assert_false(p.e.has_partition);
        assert_int_equal(p.e.created_us, origin.committed_us);
        assert_true(p.e.seq == 0 && p.e.xid == 0);
    }
    end(&p);
}

static void a_payload_goes_out_as_written(void **state)
{
    static const char *const payloads[] = {"{}",
                                           "[]",
                                           "{ \"a\" : 1 , \"a\":2,\"b\":[ {} ,[ ] , null ] }",
                                           "\"text\"",
                                           "\"\"",
                                           "\"\\u0000 \\ud800 \\u00e9\\/\"",
                                           "true",
                                           "false",
                                           "0",
                                           "-0",
                                           "-1.50e+03",
                                           "1E5",
                                           "0.10",
                                           "123456789012345678901234567890",
                                           "[\"]\",\"\\\"\",\"\\\\\"]",
                                           "\"null\"",
                                           "[null]",
                                           "{\"\":\"\\b\\f\\n\\r\\t\"}",
                                           "\"\x7f\xc3\xa9\xf0\x9f\x98\x80\""};
    struct parsed p = {0};
    char content[512];

    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        (void)snprintf(content, sizeof content, WITH("\"payload\": \t%s \n"), payloads[i]);
        must(&p, content);
        same(p.e.payload, payloads[i]);
    }
    end(&p);
}

static void a_large_payload_is_not_copied(void **state)
{
    struct parsed p = {0};
    struct buf content = {0};
    size_t begin;
    size_t end_of;

    (void)state;
    buf_printf(&content, "{\"aggregatetype\":\"\\u0061\",\"payload\": ");
    begin = content.len;
    buf_append(&content, "[", 1);
    for (int i = 0; i < 60000; i++)
        buf_printf(&content, "{\"n\" : %d, \"t\":\"\\u00e9\\\"]}\xc3\xa9\"} ,", i);
    buf_printf(&content, "null]");
    end_of = content.len;
    buf_printf(&content, " ,\"aggregateid\":\"\\u0031\",\"type\":\"\\u0074\"}");
    assert_true(end_of - begin > 1000000);
    assert_int_equal(parse_from(&p, content.data, content.len, &origin), 0);
    assert_ptr_equal(p.e.payload.data, p.content + begin);
    assert_int_equal(p.e.payload.len, end_of - begin);
    assert_memory_equal(p.e.payload.data, content.data + begin, end_of - begin);
    assert_true(p.m.scratch.cap < 1024);
    same(p.e.aggregatetype, "a");
    same(p.e.aggregateid, "1");
    same(p.e.type, "t");
    buf_free(&content);
    end(&p);
}

static void aggregateid_as_a_number(void **state)
{
    static const char *const numbers[] = {"4711", "-1", "0", "1.50e+3", "12345678901234567890123"};
    struct parsed p = {0};
    char content[128];

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        (void)snprintf(content, sizeof content,
                       "{\"aggregatetype\":\"a\",\"type\":\"t\",\"aggregateid\": %s }", numbers[i]);
        must(&p, content);
        same(p.e.aggregateid, numbers[i]);
    }
    end(&p);
}

static void escapes_wherever_a_string_is(void **state)
{
    struct parsed p = {0};

    (void)state;
    must(&p, "{\"\\u0061ggregatetype\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\","
             "\"aggregate\\u0069d\":\"\\uD83D\\uDE00\\u20ac\\u00DF\\u007f\","
             "\"typ\\u0065\":\"\\ud800\\udc00\\udbff\\udfff\",\"topic\":\"\\u0061\","
             "\"i\\u0064\":\"\\u003019016\\u0033d-8694-739b-aea5-966c26f8ad91\","
             "\"payload_bytes\":\"\\/\\/\\u0038\\u003d\","
             "\"created_at\":\"2024-01-01T00\\u003a00:00\\u005a\"}");
    same(p.e.aggregatetype, "\"\\/\b\f\n\r\t");
    same(p.e.aggregateid, "\xf0\x9f\x98\x80\xe2\x82\xac\xc3\x9f\x7f");
    same(p.e.type, "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
    same(p.e.topic, "a");
    same(p.e.payload_bytes, "\xff\xff");
    same_id(&p, "0190163d-8694-739b-aea5-966c26f8ad91");
    assert_int_equal(p.e.created_us, 1704067200000000);
    end(&p);
}

static void scratch_that_grows(void **state)
{
    struct parsed p = {0};
    struct buf content = {0};

    (void)state;
    buf_printf(&content, "{\"aggregatetype\":\"\\u0061b\",\"aggregateid\":\"");
    for (int i = 0; i < 5000; i++)
        buf_printf(&content, "\\u0078");
    buf_printf(&content, "\",\"type\":\"\\u0074y\",\"payload_bytes\":\"");
    for (int i = 0; i < 50000; i++)
        buf_printf(&content, "QUJD");
    buf_printf(&content, "\",\"topic\":\"\\u0074opic\"}");
    for (int round = 0; round < 2; round++) {
        assert_int_equal(parse_from(&p, content.data, content.len, &origin), 0);
        same(p.e.aggregatetype, "ab");
        assert_int_equal(p.e.aggregateid.len, 5000);
        for (size_t i = 0; i < 5000; i++)
            assert_int_equal(p.e.aggregateid.data[i], 'x');
        same(p.e.type, "ty");
        same(p.e.topic, "topic");
        assert_int_equal(p.e.payload_bytes.len, 150000);
        for (size_t i = 0; i < 150000; i++)
            assert_int_equal(p.e.payload_bytes.data[i], 'A' + i % 3);
        assert_int_equal(p.m.scratch.len,
                         2 + 5000 + 2 + 5 + 200000); /* nothing of a round before */
    }
    buf_free(&content);
    end(&p);
}

static void payload_bytes(void **state)
{
    static const struct {
        const char *text, *bytes;
    } vectors[] = {
        {"", ""},
        {"Zg==", "f"},
        {"Zm8=", "fo"},
        {"Zm9v", "foo"},
        {"Zm9vYg==", "foob"},
        {"Zm9vYmE=", "fooba"},
        {"Zm9vYmFy", "foobar"},
        {"+/+/", "\xfb\xff\xbf"},
        {"\\/\\/\\/\\/", "\xff\xff\xff"},
    };
    static const char zeros[] = WITH("\"payload_bytes\":\"AAAAAA==\"");
    struct parsed p = {0};
    char content[128];

    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        (void)snprintf(content, sizeof content, WITH("\"payload_bytes\":\"%s\",\"payload\":null"),
                       vectors[i].text);
        must(&p, content);
        same(p.e.payload_bytes, vectors[i].bytes);
        same(p.e.payload, NULL);
    }
    must(&p, zeros);
    assert_int_equal(p.e.payload_bytes.len, 4);
    assert_memory_equal(p.e.payload_bytes.data, "\0\0\0\0", 4);
    end(&p);
}

static void partitions(void **state)
{
    static const struct {
        const char *text;
        int32_t want;
    } good[] = {{"0", 0},
                {"-0", 0},
                {"7", 7},
                {"-1", -1},
                {"2147483647", INT32_MAX},
                {"-2147483648", INT32_MIN}};
    static const char *const bad[] = {"2147483648", "-2147483649", "1.0", "1e1",
                                      "\"1\"",      "true",        "[]",  "99999999999999999999"};
    struct parsed p = {0};
    char content[128];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        (void)snprintf(content, sizeof content, WITH("\"partition\":%s"), good[i].text);
        must(&p, content);
        assert_true(p.e.has_partition);
        assert_int_equal(p.e.partition, good[i].want);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(content, sizeof content, WITH("\"partition\":%s"), bad[i]);
        assert_int_equal(parse(&p, content), -ERR_ROW);
        assert_string_equal(p.err.message,
                            "its partition is no integer of 32 bits, at byte 63 of the content");
    }
    end(&p);
}

static void times(void **state)
{
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01 00:00:00.000001Z", 1},
        {"1969-12-31T23:59:59.9Z", -100000},
        {"2000-02-29T12:00:00+00:00", 951825600000000},
        {"2000-03-01T00:00:00-00:00", 951868800000000},
        {"2024-12-31T23:59:59.999999-23:59", 1735775939999999},
        {"2024-06-15T08:30:15.12+05:45", 1718419515120000},
        {"2100-03-01T00:00:00Z", 4107542400000000},
        {"0000-01-01T00:00:00Z", -62167219200000000},
        {"9999-12-31T23:59:59.999999Z", 253402300799999999},
    };
    static const char *const bad[] = {"",
                                      "2024-01-01",
                                      "2024-01-01T00:00:00",
                                      "2024-01-01T00:00Z",
                                      "2024-01-01t00:00:00Z",
                                      "2024-01-01T00:00:00z",
                                      "2024-01-01T00:00:00+00",
                                      "2024-01-01T00:00:00+0000",
                                      "2024-01-01T00:00:00.Z",
                                      "2024-01-01T00:00:00.1234567Z",
                                      "2024-01-01T00:00:00,5Z",
                                      "2024-00-01T00:00:00Z",
                                      "2024-13-01T00:00:00Z",
                                      "2024-01-00T00:00:00Z",
                                      "2024-04-31T00:00:00Z",
                                      "2023-02-29T00:00:00Z",
                                      "2100-02-29T00:00:00Z",
                                      "2024-01-01T24:00:00Z",
                                      "2024-01-01T00:60:00Z",
                                      "2024-01-01T23:59:60Z",
                                      "2024-01-01T00:00:00+24:00",
                                      "2024-01-01T00:00:00+00:60",
                                      "2024-01-01T00:00:00Z ",
                                      " 2024-01-01T00:00:00Z",
                                      "2024-1-1T00:00:00Z",
                                      "20240101T000000Z",
                                      "infinity",
                                      "12024-01-01T00:00:00Z",
                                      "-024-01-01T00:00:00Z",
                                      "2024-01-01T00:00:00 Z",
                                      "2024-01-01  00:00:00Z",
                                      "2024-01-01T00:00:00+01:00:00",
                                      "now"};
    struct parsed p = {0};
    char content[160];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        (void)snprintf(content, sizeof content, WITH("\"created_at\":\"%s\""), good[i].text);
        must(&p, content);
        assert_int_equal(p.e.created_us, good[i].want);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(content, sizeof content, WITH("\"created_at\":\"%s\""), bad[i]);
        if (parse(&p, content) == 0)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strstr(p.err.message, "its created_at is no time as in 2006-"));
    }
    end(&p);
}

static void an_id_in_either_case(void **state)
{
    static const char *const bad[] = {"",
                                      "0190163d8694739baea5966c26f8ad91",
                                      "{0190163d-8694-739b-aea5-966c26f8ad91}",
                                      "0190163d-8694-739b-aea5-966c26f8ad9",
                                      "0190163d-8694-739b-aea5-966c26f8ad911",
                                      "0190163d-8694-739b-aea5-966c26f8ad9g",
                                      "0190163d08694-739b-aea5-966c26f8ad91",
                                      "0190163-d8694-739b-aea5-966c26f8ad91",
                                      "------------------------------------"};
    struct parsed p = {0};
    char content[160];

    (void)state;
    must(&p, WITH("\"id\":\"ABCDEF01-2345-6789-abcd-EF0123456789\""));
    same_id(&p, "abcdef01-2345-6789-abcd-ef0123456789");
    must(&p, WITH("\"id\":\"00000000-0000-0000-0000-000000000000\""));
    same_id(&p, "00000000-0000-0000-0000-000000000000");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(content, sizeof content, WITH("\"id\":\"%s\""), bad[i]);
        if (parse(&p, content) == 0)
            fail_msg("taken: %s", bad[i]);
        assert_string_equal(p.err.message,
                            "its id is no uuid of 36 characters, at byte 56 of the content");
    }
    end(&p);
}

static void a_derived_id_stays(void **state)
{
    static const struct message_origin nowhere = {0};
    static const struct message_origin last = {UINT64_MAX, UINT64_MAX, 0};
    static const char other[] = WITH("\"id\":null,\"payload\":1");
    static const char none[] = WITH("\"topic\":\"x\"");
    struct message_origin later = origin;
    struct parsed p = {0};

    (void)state;
    must(&p, none);
    same_id(&p, "66ddf11f-674f-84b8-9c00-0000016b3748");
    later.committed_us++; /* neither the time nor the content has a part in it */
    assert_int_equal(parse_from(&p, other, strlen(other), &later), 0);
    same_id(&p, "66ddf11f-674f-84b8-9c00-0000016b3748");
    assert_int_equal(parse_from(&p, none, strlen(none), &nowhere), 0);
    same_id(&p, "00000000-0000-8000-8000-000000000000");
    assert_int_equal(parse_from(&p, none, strlen(none), &last), 0);
    same_id(&p, "ffffffff-ffff-8fff-bfff-ffffffffffff");
    end(&p);
}

static void derived_ids_are_distinct(void **state)
{
    static const char content[] = WITH("\"topic\":null");
    unsigned char all[EVENT_ID_LEN] = {0};
    struct parsed p = {0};

    (void)state;
    for (int bit = 0; bit < 64 + 58; bit++) {
        struct message_origin from = {bit < 64 ? 0 : UINT64_C(1) << (bit - 64),
                                      bit < 64 ? UINT64_C(1) << bit : 0, 0};
        int fresh = 0;

        assert_int_equal(parse_from(&p, content, strlen(content), &from), 0);
        assert_int_equal(p.e.id[6] >> 4, 8);
        assert_int_equal(p.e.id[8] >> 6, 2);
        p.e.id[6] &= 0x0F;
        p.e.id[8] &= 0x3F;
        for (int i = 0; i < EVENT_ID_LEN; i++) {
            fresh += __builtin_popcount(p.e.id[i] & ~all[i] & 0xFF);
            assert_int_equal(p.e.id[i] & all[i], 0);
            all[i] |= p.e.id[i];
        }
        assert_int_equal(fresh, 1);
    }
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_column),
        cmocka_unit_test(what_is_absent_or_null),
        cmocka_unit_test(a_payload_goes_out_as_written),
        cmocka_unit_test(a_large_payload_is_not_copied),
        cmocka_unit_test(aggregateid_as_a_number),
        cmocka_unit_test(escapes_wherever_a_string_is),
        cmocka_unit_test(scratch_that_grows),
        cmocka_unit_test(payload_bytes),
        cmocka_unit_test(partitions),
        cmocka_unit_test(times),
        cmocka_unit_test(an_id_in_either_case),
        cmocka_unit_test(a_derived_id_stays),
        cmocka_unit_test(derived_ids_are_distinct),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
