/* What pgoutput never sends: values that are missing or none, messages cut off, or with any of
 * their bits flipped. All is an error or another message, never a crash. */
#include "pgoutput_case.h"

#define UNSENT "\1"
static const char *const names[] = {
    "seq",     "id",    "aggregatetype", "aggregateid", "type", "payload",      "payload_bytes",
    "headers", "topic", "partition",     "created_at",  "xid",  "published_at",
};

/* An Insert of text values, NULL for null, but for one column's. */
static void build(struct buf *ret, size_t column, const char *value)
{
    static const char *const values[LENGTH(names)] = {"1", "00112233-4455-6677-8899-aabbccddeeff",
                                                      "a", "b",
                                                      "c", [10] = "2024-01-01 00:00:00+00"};

    buf_reset(ret);
    buf_append(ret, "I", 1);
    buf_u32(ret, OUTBOX_OID);
    buf_append(ret, "N", 1);
    buf_u16(ret, LENGTH(names));
    for (size_t i = 0; i < LENGTH(names); i++) {
        const char *v = i == column ? value : values[i];

        buf_append(ret, v == NULL ? "n" : strcmp(v, UNSENT) == 0 ? "u" : "t", 1);
        if (v == NULL || strcmp(v, UNSENT) == 0)
            continue;
        buf_u32(ret, (uint32_t)strlen(v));
        buf_append(ret, v, strlen(v));
    }
    assert_false(ret->failed);
}

static void values_that_are_missing(void **state)
{
    struct buf b = {0};
    struct feed f;

    (void)state;
    start(&f, OUTBOX_OID);
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    for (size_t i = 0; i < LENGTH(names); i++) {
        build(&b, i, UNSENT);
        refuse(&f, b.data, b.len, ERR_PROTOCOL, names[i]);
        build(&b, i, NULL);
        if (i < 5)
            refuse(&f, b.data, b.len, ERR_PROTOCOL, names[i]);
        else
            accept(&f, b.data, b.len, PGOUTPUT_INSERT);
    }
    build(&b, 10, NULL);
    accept(&f, b.data, b.len, PGOUTPUT_INSERT);
    assert_true(f.m.event.created_us == 0);
    stop(&f);
    buf_free(&b);
}

static void values_that_do_not_parse(void **state)
{
    static const struct {
        size_t column;
        const char *value;
    } cases[] = {
        {0, "SECRET"},     {1, "00112233-4455-6677-8899-aabbccSECRET"},
        {6, "SECRET"},     {6, "\\xSECRET0"},
        {9, "2147483648"}, {9, "SECRET"},
        {10, "SECRET"},    {11, "SECRET"},
    };
    struct buf b = {0};
    struct feed f;

    (void)state;
    start(&f, OUTBOX_OID);
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        build(&b, cases[i].column, cases[i].value);
        refuse(&f, b.data, b.len, ERR_PROTOCOL, names[cases[i].column]);
    }
    stop(&f);
    buf_free(&b);
}

static void unknown_kinds(void **state)
{
    unsigned char row[sizeof binary_insert_all];
    struct feed f;

    (void)state;
    start(&f, OUTBOX_OID);
    refuse(&f, NULL, 0, ERR_PROTOCOL, "an empty message");
    for (int c = 0; c < 256; c++) {
        unsigned char byte = (unsigned char)c;

        refuse(&f, &byte, 1, ERR_PROTOCOL,
               c != 0 && strchr("BCIUDTMRYO", c) != NULL ? "ends too early" : "unknown type");
    }
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    memcpy(row, binary_insert_all, sizeof row);
    row[5] = 'O';
    refuse(&f, row, sizeof row, ERR_PROTOCOL, "row is of an unknown kind");
    row[5] = 'N';
    row[8] = 'x';
    refuse(&f, row, sizeof row, ERR_PROTOCOL, "value of an unknown kind");
    stop(&f);
}

static void relations_that_no_table_has(void **state)
{
    static const unsigned char head[] = {'R', 0, 0, OUTBOX_OID >> 8, OUTBOX_OID & 255, 0, 0, 'd'};
    struct buf b = {0};
    struct feed f;

    (void)state;
    start(&f, OUTBOX_OID);
    for (uint16_t n = 1600; n <= 1601; n++) {
        buf_reset(&b);
        buf_append(&b, head, sizeof head);
        buf_u16(&b, n);
        for (uint16_t i = 0; i < n; i++)
            buf_append(&b, "\0x\0\0\0\0\x19\xff\xff\xff\xff", 11);
        if (n == 1600)
            accept(&f, b.data, b.len, PGOUTPUT_OTHER);
        else
            refuse(&f, b.data, b.len, ERR_PROTOCOL, "a Relation");
    }
    buf_reset(&b);
    buf_append(&b, head, sizeof head);
    buf_u16(&b, 2);
    for (int i = 0; i < 2; i++)
        buf_append(&b, "\0seq\0\0\0\0\x14\xff\xff\xff\xff", 13);
    refuse(&f, b.data, b.len, ERR_PROTOCOL, "a Relation");
    stop(&f);
    buf_free(&b);
}

/* Calls fn with every capture and a parser that is ready for it. */
static void each_capture(void (*fn)(struct feed *f, const struct capture *c))
{
    struct feed f;

    start(&f, OUTBOX_OID);
    for (size_t i = 0; i < LENGTH(plain); i++)
        fn(&f, &plain[i]);
    for (size_t i = 0; i < FORMS * LENGTH(rows); i++) {
        ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
        fn(&f, &rows[i / FORMS][i % FORMS]);
    }
    pgoutput_set_table(f.p, OTHER_OID);
    for (int form = 0; form < FORMS; form++) {
        feed_description_of_other(&f);
        fn(&f, &insert_other[form]);
    }
    stop(&f);
}

static void cut(struct feed *f, const struct capture *c)
{
    unsigned char longer[1024];

    for (size_t len = 0; len < c->len; len++)
        refuse(f, c->data, len, ERR_PROTOCOL, len == 0 ? "empty" : "ends too early");
    assert_true(c->len < sizeof longer);
    memcpy(longer, c->data, c->len);
    longer[c->len] = 0;
    refuse(f, longer, c->len + 1, ERR_PROTOCOL, "goes on behind its end");
    assert_int_equal(feed(f, c->data, c->len), 0);
}

static void lengths_are_checked(void **state)
{
    (void)state;
    each_capture(cut);
}

static void a_relation_cut_off_changes_nothing(void **state)
{
    struct feed f;

    (void)state;
    start(&f, OUTBOX_OID);
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    for (size_t len = 0; len < sizeof sent_relation_moved; len++) {
        refuse(&f, sent_relation_moved, len, ERR_PROTOCOL, "");
        ACCEPT(&f, binary_insert_all, PGOUTPUT_INSERT);
        is_text(f.m.event.topic, "topic.x");
    }
    stop(&f);
}

/* Reads what a message points to, for the sanitizer. */
static void touch(const struct pgoutput_message *m)
{
    const struct slice all[] = {
        m->prefix,
        m->content,
        m->event.payload,
        m->event.aggregatetype,
        m->event.aggregateid,
        m->event.payload_bytes,
        m->event.type,
        m->event.headers,
        m->event.topic,
    };

    for (size_t i = 0; i < LENGTH(all); i++)
        for (size_t at = 0; at < all[i].len; at++) {
            volatile unsigned char byte = all[i].data[at];

            (void)byte;
        }
}

static void flip(struct feed *f, const struct capture *c)
{
    static const unsigned char masks[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};
    unsigned char bytes[1024];

    assert_true(c->len < sizeof bytes);
    for (size_t i = 0; i < c->len * LENGTH(masks); i++) {
        int rc;

        memcpy(bytes, c->data, c->len);
        bytes[i / LENGTH(masks)] ^= masks[i % LENGTH(masks)];
        rc = feed(f, bytes, c->len);
        assert_true(rc == 0 || rc == -ERR_PROTOCOL || rc == -ERR_CONFIG);
        assert_int_equal(rc, -(int)f->err.class);
        if (rc == 0)
            touch(&f->m);
    }
}

static void flipped_bits_do_no_harm(void **state)
{
    (void)state;
    each_capture(flip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_that_are_missing),
        cmocka_unit_test(values_that_do_not_parse),
        cmocka_unit_test(unknown_kinds),
        cmocka_unit_test(relations_that_no_table_has),
        cmocka_unit_test(lengths_are_checked),
        cmocka_unit_test(a_relation_cut_off_changes_nothing),
        cmocka_unit_test(flipped_bits_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
