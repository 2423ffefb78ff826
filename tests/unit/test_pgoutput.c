/* What PostgreSQL sent, decoded: both forms of a row make the same event, however the columns
 * change. */
#include "pgoutput_case.h"

static void same_slice(struct slice a, struct slice b)
{
    assert_int_equal(a.data == NULL, b.data == NULL);
    assert_int_equal(a.len, b.len);
    if (a.len > 0)
        assert_memory_equal(a.data, b.data, a.len);
}

static void same_message(const struct pgoutput_message *a, const struct pgoutput_message *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->published, b->published);
    assert_true(a->event.seq == b->event.seq);
    assert_memory_equal(a->event.id, b->event.id, EVENT_ID_LEN);
    assert_true(a->event.xid == b->event.xid);
    same_slice(a->event.aggregatetype, b->event.aggregatetype);
    same_slice(a->event.aggregateid, b->event.aggregateid);
    same_slice(a->event.type, b->event.type);
    same_slice(a->event.payload, b->event.payload);
    same_slice(a->event.payload_bytes, b->event.payload_bytes);
    same_slice(a->event.headers, b->event.headers);
    same_slice(a->event.topic, b->event.topic);
    assert_int_equal(a->event.has_partition, b->event.has_partition);
    assert_int_equal(a->event.partition, b->event.partition);
    assert_true(a->event.created_us == b->event.created_us);
}

/* Both forms, which have to agree; the caller stops ret. */
static void insert(struct feed *ret, const unsigned char *relation, size_t len,
                   const struct capture *capture)
{
    struct feed text;

    start(ret, OUTBOX_OID);
    start(&text, OUTBOX_OID);
    accept(ret, relation, len, PGOUTPUT_OTHER);
    accept(&text, relation, len, PGOUTPUT_OTHER);
    accept(ret, capture[BINARY].data, capture[BINARY].len, PGOUTPUT_INSERT);
    accept(&text, capture[TEXT].data, capture[TEXT].len, PGOUTPUT_INSERT);
    same_message(&ret->m, &text.m);
    stop(&text);
}
#define INSERT(f, relation, capture) insert(f, relation, sizeof(relation), capture)

/* -- what is what ------------------------------------------------------------------------------ */

static void transactions_and_messages(void **state)
{
    struct feed f;

    (void)state;
    start(&f, OUTBOX_OID);
    ACCEPT(&f, sent_begin, PGOUTPUT_BEGIN);
    assert_true(f.m.final_lsn == 0x1d68218);
    assert_int_equal(f.m.xid, 0x2d9);
    assert_true(f.m.committed_us == INT64_C(1795614203327131)); /* 25 November 2026 */
    ACCEPT(&f, sent_message_inside, PGOUTPUT_MESSAGE);
    assert_true(f.m.transactional);
    assert_true(f.m.lsn == 0x1d68218);
    is_text(f.m.prefix, "outbox");
    is_text(f.m.content, "inside");
    ACCEPT(&f, sent_commit, PGOUTPUT_COMMIT);
    assert_true(f.m.end_lsn == 0x1d68248);
    ACCEPT(&f, sent_message_alone, PGOUTPUT_MESSAGE);
    assert_false(f.m.transactional);
    assert_true(f.m.lsn == 0x1d68280);
    is_text(f.m.prefix, "");
    is_text(f.m.content, "");
    ACCEPT(&f, sent_origin, PGOUTPUT_OTHER);
    stop(&f);
}

static void a_row_with_everything(void **state)
{
    const struct event *e;
    struct feed f;

    (void)state;
    INSERT(&f, sent_relation, insert_all);
    e = &f.m.event;
    assert_true(f.m.published);
    assert_true(e->seq == 9007199254740993);
    assert_memory_equal(e->id, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
                        EVENT_ID_LEN);
    assert_true(e->xid == 4294967301);
    is_text(e->aggregatetype, "order");
    is_text(e->aggregateid, "42");
    is_text(e->type, "OrderPlaced");
    is_text(e->payload, "{\"a\": 1}");
    assert_int_equal(e->payload_bytes.len, 3);
    assert_memory_equal(e->payload_bytes.data, "\x00\xff\x10", 3);
    is_text(e->headers, "{\"h\":\"v\"}");
    is_text(e->topic, "topic.x");
    assert_true(e->has_partition);
    assert_int_equal(e->partition, 7);
    assert_true(e->created_us == 1709210096789012);
    stop(&f);
}

static void a_row_with_nulls(void **state)
{
    const struct event *e;
    struct feed f;

    (void)state;
    INSERT(&f, sent_relation, insert_nulls);
    e = &f.m.event;
    assert_false(f.m.published);
    assert_true(e->seq == -3);
    assert_true(e->xid == UINT64_MAX);
    is_text(e->aggregatetype, "");
    is_text(e->aggregateid, "");
    is_text(e->type, "");
    assert_null(e->payload.data);
    assert_null(e->payload_bytes.data);
    assert_null(e->headers.data);
    assert_null(e->topic.data);
    assert_false(e->has_partition);
    assert_true(e->created_us == -500000);
    stop(&f);
}

static void times_at_the_edges(void **state)
{
    struct feed f;

    (void)state;
    INSERT(&f, sent_relation, insert_infinity);
    assert_true(f.m.event.created_us == EVENT_TIME_MAX);
    is_text(f.m.event.payload_bytes, "");
    is_text(f.m.event.topic, "");
    assert_int_equal(f.m.event.partition, -1);
    stop(&f);
    INSERT(&f, sent_relation, insert_minus_infinity);
    assert_true(f.m.event.created_us == EVENT_TIME_MIN);
    stop(&f);
    INSERT(&f, sent_relation, insert_bc);
    assert_true(f.m.event.created_us == -63517780800000000);
    stop(&f);
    INSERT(&f, sent_relation, insert_last);
    assert_true(f.m.event.created_us == EVENT_TIME_MAX); /* what 64 bits since 1970 cannot hold */
    stop(&f);
}

static void the_rest_is_passed_over(void **state)
{
    struct feed f;

    (void)state;
    start(&f, OUTBOX_OID);
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    ACCEPT(&f, sent_relation_other, PGOUTPUT_OTHER); /* the outbox's is kept */
    for (int form = 0; form < FORMS; form++) {
        const struct capture *const others[] = {update, update_full, delete, delete_full,
                                                insert_other};

        for (size_t i = 0; i < LENGTH(others); i++)
            accept(&f, others[i][form].data, others[i][form].len, PGOUTPUT_OTHER);
        accept(&f, insert_all[form].data, insert_all[form].len, PGOUTPUT_INSERT);
    }
    stop(&f);
}

static void truncates_of_the_outbox(void **state)
{
    struct feed f;

    (void)state;
    start(&f, OUTBOX_OID);
    ACCEPT(&f, sent_truncate, PGOUTPUT_TRUNCATE);
    ACCEPT(&f, sent_truncate_both, PGOUTPUT_TRUNCATE);
    ACCEPT(&f, sent_truncate_other, PGOUTPUT_OTHER);
    pgoutput_set_table(f.p, OTHER_OID);
    ACCEPT(&f, sent_truncate_other, PGOUTPUT_TRUNCATE);
    ACCEPT(&f, sent_truncate, PGOUTPUT_OTHER);
    stop(&f);
}

/* -- columns ----------------------------------------------------------------------------------- */

static void columns_come_go_and_move(void **state)
{
    struct feed f;

    (void)state;
    INSERT(&f, sent_relation_added, insert_added);
    is_text(f.m.event.payload, "{}");
    is_text(f.m.event.topic, "t");
    for (int form = 0; form < FORMS; form++) {
        const struct capture *moved = &insert_moved[form];
        const struct capture *renamed = &insert_renamed[form];

        ACCEPT(&f, sent_relation_moved, PGOUTPUT_OTHER);
        accept(&f, moved->data, moved->len, PGOUTPUT_INSERT);
        assert_true(f.m.event.seq == 8);
        is_text(f.m.event.aggregatetype, "moved");
        is_text(f.m.event.aggregateid, "b");
        is_text(f.m.event.topic, "t");
        assert_null(f.m.event.payload_bytes.data);
        refuse(&f, insert_all[form].data, insert_all[form].len, ERR_PROTOCOL, "13 columns");
        ACCEPT(&f, sent_relation_renamed, PGOUTPUT_OTHER);
        refuse(&f, renamed->data, renamed->len, ERR_CONFIG, "\"aggregateid\"");
    }
    stop(&f);
}

static void relations_come_first(void **state)
{
    const struct capture *row = &insert_all[BINARY];
    struct feed f;

    (void)state;
    start(&f, 0);
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    accept(&f, row->data, row->len, PGOUTPUT_OTHER);
    pgoutput_set_table(f.p, OUTBOX_OID);
    refuse(&f, row->data, row->len, ERR_PROTOCOL, "an Insert");
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    pgoutput_set_table(f.p, OTHER_OID);
    accept(&f, row->data, row->len, PGOUTPUT_OTHER);
    pgoutput_set_table(f.p, OUTBOX_OID);
    accept(&f, row->data, row->len, PGOUTPUT_INSERT);
    pgoutput_reset(f.p);
    refuse(&f, row->data, row->len, ERR_PROTOCOL, "an Insert");
    stop(&f);
}

/* Its oid before it was partitioned, or afterwards: the stream says which. */
static void a_relation_of_the_name_is_the_outbox(void **state)
{
    const struct capture *row = &insert_all[BINARY];
    struct feed f;

    (void)state;
    start(&f, OTHER_OID);
    pgoutput_set_name(f.p, "public", "outbox_elsewhere");
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    accept(&f, row->data, row->len, PGOUTPUT_OTHER);
    pgoutput_set_name(f.p, "elsewhere", "outbox");
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    accept(&f, row->data, row->len, PGOUTPUT_OTHER);
    pgoutput_set_name(f.p, "public", "outbox");
    ACCEPT(&f, sent_relation, PGOUTPUT_OTHER);
    accept(&f, row->data, row->len, PGOUTPUT_INSERT);
    ACCEPT(&f, sent_truncate, PGOUTPUT_TRUNCATE);
    stop(&f);
}

/* Domains over integer, jsonb and bytea, an enum, varchar, char(n), smallint, a timestamp without
 * time zone, jsonb itself; no xid. */
static void other_types_of_columns(void **state)
{
    struct feed f[FORMS];

    (void)state;
    for (int form = 0; form < FORMS; form++) {
        const struct event *e = &f[form].m.event;

        start(&f[form], OTHER_OID);
        feed_description_of_other(&f[form]);
        accept(&f[form], insert_other[form].data, insert_other[form].len, PGOUTPUT_INSERT);
        assert_true(e->seq == 11);
        assert_true(e->xid == 0);
        is_text(e->aggregatetype, "wide");
        is_text(e->aggregateid, "ab   ");
        is_text(e->type, "cross");
        is_text(e->payload, "{\"k\": [1, 2]}");
        is_text(e->payload_bytes, "\xde\xad\xbe\xef");
        is_text(e->headers, "{\"h\": \"v\"}");
        assert_int_equal(e->partition, 3);
        assert_true(e->created_us == 1709210096000001);
    }
    same_message(&f[BINARY].m, &f[TEXT].m);
    stop(&f[BINARY]);
    stop(&f[TEXT]);
}

/* A jsonb that begins with another version of its form. */
static void an_unknown_jsonb(void **state)
{
    unsigned char row[sizeof binary_insert_other];
    unsigned char *version;
    struct feed f;

    (void)state;
    memcpy(row, binary_insert_other, sizeof row);
    version = memmem(row, sizeof row, "\1{\"k\"", 5);
    assert_non_null(version);
    *version = 2;
    start(&f, OTHER_OID);
    feed_description_of_other(&f);
    refuse(&f, row, sizeof row, ERR_PROTOCOL, "\"payload\"");
    stop(&f);
}

static void types_that_do_not_fit(void **state)
{
    static const struct {
        const char *column;
        uint32_t type;
        const char *wanted;
    } cases[] = {
        {"seq", 25, "bigint"},
        {"seq", 99999, "bigint"},
        {"id", 25, "uuid"},
        {"xid", 20, "xid8"},
        {"partition", 20, "integer"},
        {"created_at", 1082, "timestamp with time zone"},
        {"aggregateid", 1700, "text"},
        {"aggregatetype", 1700, "text"},
        {"payload", 2950, "json"},
        {"payload_bytes", 5069, "bytea"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        size_t len = strlen(cases[i].column) + 1;
        unsigned char relation[sizeof sent_relation];
        unsigned char *at;
        struct feed f;

        memcpy(relation, sent_relation, sizeof relation);
        at = memmem(relation, sizeof relation, cases[i].column, len);
        assert_non_null(at);
        for (int b = 0; b < 4; b++)
            at[len + (size_t)b] = (unsigned char)(cases[i].type >> (24 - 8 * b));
        start(&f, OUTBOX_OID);
        ACCEPT(&f, relation, PGOUTPUT_OTHER);
        refuse(&f, binary_insert_all, sizeof binary_insert_all, ERR_CONFIG, cases[i].wanted);
        assert_non_null(strstr(f.err.message, cases[i].column));
        stop(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions_and_messages),
        cmocka_unit_test(a_row_with_everything),
        cmocka_unit_test(a_row_with_nulls),
        cmocka_unit_test(times_at_the_edges),
        cmocka_unit_test(the_rest_is_passed_over),
        cmocka_unit_test(truncates_of_the_outbox),
        cmocka_unit_test(columns_come_go_and_move),
        cmocka_unit_test(relations_come_first),
        cmocka_unit_test(a_relation_of_the_name_is_the_outbox),
        cmocka_unit_test(other_types_of_columns),
        cmocka_unit_test(an_unknown_jsonb),
        cmocka_unit_test(types_that_do_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
