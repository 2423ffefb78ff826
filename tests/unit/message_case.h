/* One logical message, parsed from a buffer of exactly its length so that the sanitizer sees a read
 * beyond. */
#ifndef OUTBOX_TESTS_MESSAGE_CASE_H
#define OUTBOX_TESTS_MESSAGE_CASE_H

#include "core/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct message_origin origin = {0x16B3748, 7412345678901234567U, 1700000000123456};

struct parsed {
    struct message m;
    unsigned char *content;
    struct event e;
    struct err err;
    int rc;
};

static inline size_t touch(struct slice s)
{
    size_t sum = 0;

    for (size_t i = 0; i < s.len; i++)
        sum += s.data[i];
    return sum;
}

static inline int parse_from(struct parsed *p, const void *content, size_t len,
                             const struct message_origin *from)
{
    free(p->content);
    p->content = malloc(len == 0 ? 1 : len);
    assert_non_null(p->content);
    memcpy(p->content, content, len);
    p->err = (struct err){ERR_NONE, ""};
    memset(&p->e, 0xA5, sizeof p->e);
    p->rc = message_event(&p->m, (struct slice){p->content, len}, from, &p->e, &p->err);
    if (p->rc != 0) {
        assert_int_equal(p->rc, -ERR_ROW);
        assert_int_equal(p->err.class, ERR_ROW);
        assert_true(p->err.message[0] != '\0');
        return p->rc;
    }
    assert_true(p->e.aggregatetype.data && p->e.aggregateid.data && p->e.type.data);
    assert_true(touch(p->e.aggregatetype) + touch(p->e.aggregateid) + touch(p->e.type) +
                    touch(p->e.payload) + touch(p->e.payload_bytes) + touch(p->e.headers) +
                    touch(p->e.topic) !=
                SIZE_MAX);
    return 0;
}

static inline int parse(struct parsed *p, const char *content)
{
    return parse_from(p, content, strlen(content), &origin);
}

static inline void end(struct parsed *p)
{
    message_free(&p->m);
    free(p->content);
}

static inline void must(struct parsed *p, const char *content)
{
    if (parse(p, content) != 0)
        fail_msg("%s: %s", content, p->err.message);
}

/* want == NULL: null */
static inline void same(struct slice got, const char *want)
{
    if (want == NULL) {
        assert_null(got.data);
        return;
    }
    assert_non_null(got.data);
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static inline void same_id(const struct parsed *p, const char *want)
{
    char text[EVENT_ID_TEXT];

    event_id_text(p->e.id, text);
    assert_string_equal(text, want);
}

#define WITH(members) "{\"aggregatetype\":\"a\",\"aggregateid\":\"1\",\"type\":\"t\"," members "}"

static const char full[] =
    " {\"aggregatetype\": \"order\",\t\"aggregateid\":\"4\\u0037\\ud83d\\ude00\" ,\r\n"
    "\"type\":\"Order\\/Paid \xc3\xa9\","
    "\"id\":\"0190163d-8694-739B-AEA5-966c26f8ad91\",\"payload\" : {\"a\" : [1.50, \"}\\\"\"]} ,"
    "\"payload_bytes\":null,\"headers\":{ \"h\":\"\\u00e9\" },\"topic\":\"t-\\u0031\","
    "\"partition\":12,\"created_at\":\"2024-02-29T23:59:58.25+01:30\"} \n";

#endif
