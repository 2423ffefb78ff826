/* The text of the migrations: what becomes of it for another table, and on the way into a
 * framework. */
#include "cli/schema_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct schema_place place_of(const char *table)
{
    struct schema_place place;
    struct err err;

    if (schema_place_of(&place, table, &err) != 0)
        fail_msg("refused: %s", err.message);
    return place;
}

static struct slice slice_of(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

static void renamed(const char *table, const char *text, const char *expected)
{
    struct schema_place place = place_of(table);
    struct buf b = {0};

    schema_body(&b, slice_of(text), &place, SCHEMA_EXTENSION);
    assert_string_equal(buf_cstr(&b), expected);
    buf_free(&b);
}

static void test_names(void **state)
{
    (void)state;
    renamed("events", "DROP TABLE outbox;\n", "DROP TABLE \"events\";\n");
    renamed("events", "DROP TABLE outbox_lease;\n", "DROP TABLE \"events_lease\";\n");
    renamed("Order", "DROP TABLE outbox;\n", "DROP TABLE \"order\";\n");
    renamed("events", "x := to_regclass(format('%I.outbox_parked', s));\n",
            "x := to_regclass(format('%I.\"events_parked\"', s));\n");
    renamed("events", "COMMENT ON COLUMN outbox.seq IS 'Its seq.';\n",
            "COMMENT ON COLUMN \"events\".seq IS 'Its seq.';\n");
    renamed("outbox", "DROP TABLE outbox;\n", "DROP TABLE outbox;\n");
}

static void test_what_is_no_name_stays(void **state)
{
    static const char *const kept[] = {
        "DO $outbox$\n",
        "END $outbox$;\n",
        "PERFORM pg_notify('outbox_relay_1', '');\n",
        "SET outbox_relay.notify = 'on';\n",
        "route text DEFAULT 'outbox.event.$' || '{aggregatetype}',\n",
        "starts_with(headers, '{\"outbox.error\":')\n",
        "RAISE EXCEPTION 'outbox: it is not to be';\n",
        "IS 'As in the outbox.';\n",
        "my_outbox outboxes outbox1\n",
        "-- outbox, and outbox_lease\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        renamed("events", kept[i], kept[i]);
}

static void test_places(void **state)
{
    static const char longest[] = "a_name_that_is_so_long_that_nothing_can_be_made_of_it_anymore";
    struct schema_place place = place_of("App.Events");
    struct err err;

    (void)state;
    assert_string_equal(place.schema, "app");
    assert_string_equal(place.table, "events");
    assert_int_equal(schema_place_of(&place, longest, &err), -ERR_USAGE);
    assert_non_null(strstr(err.message, "source.table"));
}

/* The framework's own table is written in the same transaction, with its own search_path. */
static void test_the_search_path_is_put_back(void **state)
{
    struct schema_place place = place_of("app.outbox");
    struct buf b = {0};
    const char *text;

    (void)state;
    schema_body(&b, slice_of("-- Title\n\nBEGIN;\n\nDROP TABLE outbox;\n\nCOMMIT;\n"), &place,
                SCHEMA_BARE);
    text = buf_cstr(&b);
    assert_null(strstr(text, "BEGIN;"));
    assert_null(strstr(text, "COMMIT;"));
    assert_true(strstr(text, "\"app\"") < strstr(text, "DROP TABLE outbox;"));
    assert_true(strstr(strstr(text, "DROP TABLE outbox;"), "set_config('search_path'") != NULL);
    buf_free(&b);
}

static void test_statements(void **state)
{
    static const char text[] = "-- What it's for; and why.\nSELECT 1;\n\nDO $outbox$\nBEGIN\n"
                               "    PERFORM ';';\nEND\n$outbox$;\n-- the end\n";
    static const char *const expected[] = {
        "-- What it's for; and why.\nSELECT 1;",
        "DO $outbox$\nBEGIN\n    PERFORM ';';\nEND\n$outbox$;",
    };
    struct slice one;
    size_t at = 0;
    size_t n = 0;

    (void)state;
    for (; schema_statement(slice_of(text), &at, &one); n++) {
        assert_true(n < 2);
        assert_int_equal(one.len, strlen(expected[n]));
        assert_memory_equal(one.data, expected[n], one.len);
    }
    assert_int_equal(n, 2);
}

/* No statement is lost or cut: each begins with a word, and all of them are the text again. */
static void test_the_migrations_fall_into_statements(void **state)
{
    struct schema_place place = place_of("outbox");

    (void)state;
    assert_true(schema_newest >= 5);
    for (int i = 0; i < 2 * schema_newest; i++) {
        const struct migration *m = &schema_migrations[i / 2];
        struct buf body = {0};
        struct slice one;
        size_t at = 0;
        size_t length = 0;

        schema_body(&body, i % 2 == 0 ? m->up : m->down, &place, SCHEMA_BARE);
        while (schema_statement((struct slice){body.data, body.len}, &at, &one)) {
            assert_int_equal(one.data[one.len - 1], ';');
            length += one.len;
        }
        assert_true(length > body.len * 9 / 10);
        assert_true(at == body.len);
        buf_free(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_what_is_no_name_stays),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_the_search_path_is_put_back),
        cmocka_unit_test(test_statements),
        cmocka_unit_test(test_the_migrations_fall_into_statements),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
