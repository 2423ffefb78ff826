/* The columns of the outbox: names and their quoting, additional ones as Debezium writes them, what
 * contradicts itself; and headers with the additional ones among them. */
#include "core/columns.h"
#include "core/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

static struct slice of(const char *text)
{
    return (struct slice){(const unsigned char *)text, text == NULL ? 0 : strlen(text)};
}

/* The schema's own but one. */
static int with(struct columns **ret, enum column_kind kind, const char *name,
                const char *additional, struct err *err)
{
    const char *names[COLUMN_KINDS];

    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        names[k] = k == kind ? name : column_own_name(k);
    return columns_new(ret, names, additional, err);
}

static struct columns *additional(const char *text)
{
    struct columns *c;
    struct err err;

    assert_int_equal(columns_new(&c, NULL, text, &err), 0);
    return c;
}

static void names_are_quoted(void **state)
{
    static const struct {
        const char *name;
        const char *quoted;
    } cases[] = {
        {"payload", "payload"},         {"Payload", "\"Payload\""}, {"order", "\"order\""},
        {"a \"b\"", "\"a \"\"b\"\"\""}, {"größe", "\"größe\""},     {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct columns *c;
        struct err err;

        assert_int_equal(with(&c, COLUMN_PAYLOAD, cases[i].name, "", &err), 0);
        assert_string_equal(c->names[COLUMN_PAYLOAD].text, cases[i].name);
        assert_string_equal(c->names[COLUMN_PAYLOAD].quoted, cases[i].quoted);
        assert_int_equal(c->renamed, i > 0);
        free(c);
    }
}

static void additional_ones(void **state)
{
    struct columns *c = additional(
        "type:header:eventType, tenant:HEADER ,\ttenant : header : t2,shard:partition,a b:header");

    (void)state;
    assert_int_equal(c->nadditional, 4);
    assert_string_equal(c->additional[0].header, "eventType");
    assert_int_equal(c->additional[0].slot, COLUMN_TYPE);
    assert_string_equal(c->additional[1].header, "tenant");
    assert_int_equal(c->additional[1].slot, COLUMN_KINDS + 1);
    assert_string_equal(c->additional[2].header, "t2");
    assert_int_equal(c->additional[2].slot, COLUMN_KINDS + 1);
    assert_string_equal(c->additional[3].name.quoted, "\"a b\"");
    assert_int_equal(c->additional[3].slot, COLUMN_KINDS + 3);
    assert_string_equal(c->names[COLUMN_PARTITION].text, "shard");
    free(c);
}

static void what_is_refused(void **state)
{
    static const struct {
        enum column_kind kind;
        const char *name;
        const char *additional;
        const char *says;
    } cases[] = {
        {COLUMN_SEQ, "id", "", "columns.seq and columns.id both name \"id\""},
        {COLUMN_TYPE, "aggregatetype", "", "set one of them to another column, or to nothing"},
        {COLUMN_SEQ, "", "", "columns.seq: has to name a column"},
        {COLUMN_PARTITION, "p", "q:partition", "and columns.partition or an earlier entry names"},
        {COLUMN_KINDS, "", "id:partition", "columns.partition"},
        {COLUMN_KINDS, "", "a:partition,b:partition", "\"b\" is to be the partition"},
        {COLUMN_KINDS, "", "a:envelope", "\"a:envelope\" wants an envelope around the value"},
        {COLUMN_KINDS, "", "a:body", "a placement that is neither header nor partition"},
        {COLUMN_KINDS, "", "a", "\"a\" is not column:header"},
        {COLUMN_KINDS, "", "a:header,", "\"\" is not column:header"},
        {COLUMN_KINDS, "", ":header", "\":header\" is not column:header"},
        {COLUMN_KINDS, "", "a:header:", "a header's name that is empty"},
        {COLUMN_KINDS, "", "a:header:b\"c", "with a quote"},
        {COLUMN_KINDS, "", "a:header:\xff", "no UTF-8"},
        {COLUMN_KINDS, "", "a:header:x,b:header:x", "\"x\" is the header of two columns"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct columns *c = NULL;
        struct err err;

        assert_int_equal(with(&c, cases[i].kind, cases[i].name, cases[i].additional, &err),
                         -ERR_CONFIG);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        assert_null(c);
    }
}

static void at_most_so_many(void **state)
{
    char text[32 * (EVENT_ADDITIONAL_MAX + 1)] = "";
    struct columns *c = NULL;
    struct err err;

    (void)state;
    for (int i = 0; i < EVENT_ADDITIONAL_MAX + 1; i++) {
        size_t len = strlen(text);

        (void)snprintf(text + len, sizeof text - len, "%sc%d:header", i > 0 ? "," : "", i);
        assert_int_equal(columns_new(&c, NULL, text, &err),
                         i < EVENT_ADDITIONAL_MAX ? 0 : -ERR_CONFIG);
        if (i < EVENT_ADDITIONAL_MAX)
            free(c);
    }
}

/* ---- the record's headers ---- */

static void expect_headers(const struct format_options *options, const struct event *e,
                           const char *want)
{
    struct buf got = {0};
    struct record record;
    struct format *f;
    struct err err;

    assert_int_equal(format_new(&f, options, &err), 0);
    assert_int_equal(format_event(f, e, &record, &err), 0);
    for (size_t i = 1; i < record.nheaders; i++) {
        const struct header *h = &record.headers[i];

        buf_printf(&got, "%.*s=%.*s;", (int)h->name.len, (const char *)h->name.data,
                   h->value.data == NULL ? 4 : (int)h->value.len,
                   h->value.data == NULL ? "null" : (const char *)h->value.data);
    }
    assert_string_equal(buf_cstr(&got), want);
    buf_free(&got);
    format_free(f);
}

static void headers_in_their_order(void **state)
{
    struct columns *c = additional("tenant:header,type:header:kind");
    struct slice values[] = {of("acme"), of(NULL)};
    struct event e = {.aggregatetype = of("a"),
                      .aggregateid = of("k"),
                      .type = of("T"),
                      .headers = of("{\"h\":1}"),
                      .created_us = 1,
                      .additional = values,
                      .nadditional = 2};
    struct format_options options = {"t", "eventType", c};

    (void)state;
    expect_headers(&options, &e, "eventType=T;tenant=acme;kind=null;h=1;");
    options.type_header = "kind"; /* said once */
    expect_headers(&options, &e, "tenant=acme;kind=null;h=1;");
    options.type_header = "";
    expect_headers(&options, &e, "tenant=acme;kind=null;h=1;");
    options.type_header = "eventType";
    e.type = of(NULL); /* no such column */
    expect_headers(&options, &e, "tenant=acme;kind=null;h=1;");
    e.type = of("T");
    e.nadditional = 0;
    expect_headers(&options, &e, "eventType=T;h=1;");
    free(c);
}

static void no_topic_of_what_is_not_there(void **state)
{
    struct event e = {.aggregateid = of("k"), .created_us = 1};
    struct format_options options = {"events.${aggregatetype}", "", NULL};
    struct record record;
    struct format *f;
    struct err err;

    (void)state;
    assert_int_equal(format_new(&f, &options, &err), 0);
    assert_int_equal(format_event(f, &e, &record, &err), -ERR_ROW);
    assert_non_null(strstr(err.message, "no topic of its own"));
    e.topic = of("t");
    assert_int_equal(format_event(f, &e, &record, &err), 0);
    format_free(f);
}

/* ---- folded ---- */

static void folded_headers(void **state)
{
    static const struct {
        const char *headers;
        const char *folded;
    } cases[] = {
        {NULL, "{\"a\":\"x\\\"\\\\\\u000a\",\"b\":null}"},
        {"null", "{\"a\":\"x\\\"\\\\\\u000a\",\"b\":null}"},
        {" { } ", "{\"a\":\"x\\\"\\\\\\u000a\",\"b\":null}"},
        {" {\"h\" : 1.0} ", "{\"a\":\"x\\\"\\\\\\u000a\",\"b\":null,\"h\" : 1.0} "},
        {"[1]", "[{\"a\":\"x\\\"\\\\\\u000a\",\"b\":null},[1]]"},
        {"{\"outbox.error\":\"e\"} ",
         "{\"outbox.error\":\"e\",\"a\":\"x\\\"\\\\\\u000a\",\"b\":null}"},
    };
    struct columns *c = additional("a:header,b:header");
    struct slice values[] = {of("x\"\\\n"), of(NULL)};
    struct buf scratch = {0};

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct event e = {.headers = of(cases[i].headers), .additional = values, .nadditional = 2};
        struct slice got = columns_folded_headers(c, &e, &scratch);

        assert_int_equal(got.len, strlen(cases[i].folded));
        assert_memory_equal(got.data, cases[i].folded, got.len);
        e.nadditional = 0;
        assert_ptr_equal(columns_folded_headers(c, &e, &scratch).data, e.headers.data);
    }
    buf_free(&scratch);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_quoted),       cmocka_unit_test(additional_ones),
        cmocka_unit_test(what_is_refused),        cmocka_unit_test(at_most_so_many),
        cmocka_unit_test(headers_in_their_order), cmocka_unit_test(no_topic_of_what_is_not_there),
        cmocka_unit_test(folded_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
