/* What adopt makes of tables of other shapes. */
#include "cli/adopt_sql.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct adopt_column debezium[] = {{"id", "uuid"},
                                         {"aggregatetype", "character varying"},
                                         {"aggregateid", "character varying"},
                                         {"type", "character varying"},
                                         {"payload", "jsonb"}};

static struct adopt_column goharvest[] = {{"id", "bigint"},
                                          {"create_time", "timestamp with time zone"},
                                          {"kafka_topic", "character varying"},
                                          {"kafka_key", "character varying"},
                                          {"kafka_value", "character varying"},
                                          {"kafka_header_keys", "text[]"},
                                          {"kafka_header_values", "text[]"},
                                          {"leader_id", "uuid"}};

static struct adopt_table table_of(struct adopt_column *columns, size_t n)
{
    return (struct adopt_table){.schema = "app",
                                .name = "events",
                                .quoted = "app.events",
                                .columns = columns,
                                .ncolumns = n,
                                .decodes = true};
}

static struct adopt_request request(void)
{
    struct adopt_request r = {.table = "app.events", .publication = "outbox_relay"};

    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        r.names[k] = column_own_name(k);
    return r;
}

static struct adopt_plan plan_of(const struct adopt_table *table, const struct adopt_request *r)
{
    struct adopt_plan plan;
    struct err err;

    if (adopt_plan(&plan, table, r, &err) != 0)
        fail_msg("%s", err.message);
    return plan;
}

/* The caller frees it. */
static char *sql_of(const struct adopt_table *table, const struct adopt_request *r)
{
    struct adopt_plan plan = plan_of(table, r);
    struct buf sql = {0};
    struct err err;
    char *text;

    if (adopt_sql(&sql, table, &plan, r, &err) != 0)
        fail_msg("%s", err.message);
    text = strdup(buf_cstr(&sql));
    buf_free(&sql);
    return text;
}

static void expect_in_order(const char *text, const char *const *parts)
{
    for (; *parts != NULL; parts++) {
        const char *found = strstr(text, *parts);

        if (found == NULL)
            fail_msg("not there, or not in this order: %s", *parts);
        text = found + strlen(*parts);
    }
}

static void test_debeziums_columns_are_used_and_the_others_added(void **state)
{
    struct adopt_table table = table_of(debezium, 5);
    struct adopt_request r = request();
    struct adopt_plan plan = plan_of(&table, &r);

    (void)state;
    assert_int_equal(plan.shape, ADOPT_DEBEZIUM);
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++) {
        bool there = k == COLUMN_ID || k == COLUMN_AGGREGATETYPE || k == COLUMN_AGGREGATEID ||
                     k == COLUMN_TYPE || k == COLUMN_PAYLOAD;

        assert_string_equal(plan.names[k], column_own_name(k));
        assert_int_equal(plan.adds[k], !there);
    }
}

static void test_a_payload_of_bytes_is_one(void **state)
{
    struct adopt_column columns[5];
    struct adopt_table table = table_of(columns, 5);
    struct adopt_request r = request();
    struct adopt_plan plan;

    (void)state;
    memcpy(columns, debezium, sizeof columns);
    columns[4].type = "bytea";
    plan = plan_of(&table, &r);
    assert_string_equal(plan.names[COLUMN_PAYLOAD], "");
    assert_string_equal(plan.names[COLUMN_PAYLOAD_BYTES], "payload");
    assert_false(plan.adds[COLUMN_PAYLOAD] || plan.adds[COLUMN_PAYLOAD_BYTES]);
}

static void test_what_is_set_wins(void **state)
{
    struct adopt_table table = table_of(debezium, 5);
    struct adopt_request r = request();
    struct adopt_plan plan;

    (void)state;
    r.names[COLUMN_TOPIC] = "";
    r.names[COLUMN_SEQ] = "place";
    plan = plan_of(&table, &r);
    assert_false(plan.adds[COLUMN_TOPIC]);
    assert_true(plan.adds[COLUMN_SEQ]);
    assert_string_equal(plan.names[COLUMN_SEQ], "place");
}

static void test_a_key_has_to_be_named(void **state)
{
    struct adopt_column columns[] = {{"id", "uuid"}, {"body", "jsonb"}, {"kind", "text"}};
    struct adopt_table table = table_of(columns, 3);
    struct adopt_request r = request();
    struct adopt_plan plan;
    struct err err;

    (void)state;
    r.names[COLUMN_AGGREGATETYPE] = "";
    assert_int_equal(adopt_plan(&plan, &table, &r, &err), -ERR_CONFIG);
    assert_string_equal(err.message,
                        "table app.events has no column \"aggregateid\": name the one that holds "
                        "the record's key in columns.aggregateid");
    r.names[COLUMN_AGGREGATEID] = "id";
    assert_int_equal(adopt_plan(&plan, &table, &r, &err), -ERR_CONFIG);
    assert_non_null(strstr(err.message, "columns.type, or set it to \"\""));
    r.names[COLUMN_TYPE] = "kind";
    assert_int_equal(adopt_plan(&plan, &table, &r, &err), 0);
    assert_int_equal(plan.shape, ADOPT_OTHER);
}

static void test_the_migration_in_its_order(void **state)
{
    struct adopt_table table = table_of(debezium, 5);
    struct adopt_request r = request();
    char *sql = sql_of(&table, &r);

    (void)state;
    expect_in_order(sql,
                    (const char *const[]){
                        "--   seq            is added: column seq\n",
                        "\nBEGIN;\n",
                        "SET LOCAL search_path = \"app\";\n",
                        "SET LOCAL lock_timeout = '1s';\n",
                        "%I.\"events_schema_version\"",
                        "CREATE TABLE \"events_schema_version\"",
                        "ADD COLUMN seq bigint NOT NULL DEFAULT 0",
                        "ADD COLUMN xid xid8 NOT NULL DEFAULT '0'",
                        "ADD COLUMN published_at timestamptz DEFAULT now()",
                        "ALTER COLUMN seq DROP DEFAULT",
                        "ALTER COLUMN xid SET DEFAULT pg_current_xact_id()",
                        "ALTER COLUMN published_at DROP DEFAULT",
                        "ADD GENERATED ALWAYS AS IDENTITY (CACHE 1)",
                        "CREATE TABLE \"events_lease\"",
                        "CREATE FUNCTION \"events_wake\"()",
                        "'outbox_relay_'",
                        "CREATE TRIGGER \"events_truncated\"",
                        "\nCOMMIT;\n",
                        "\nBEGIN;\n",
                        "CREATE TABLE \"events_parked\"",
                        "\nCOMMIT;\n",
                        "\nBEGIN;\n",
                        "ALTER TABLE \"events_parked\"",
                        "\nCOMMIT;\n",
                        "CREATE INDEX CONCURRENTLY events_seq ON app.events (seq);\n",
                        "events_unpublished_seq ON app.events (seq) WHERE published_at IS NULL;\n",
                        "events_unpublished_xid ON app.events (xid) WHERE published_at IS NULL;\n",
                        "CREATE PUBLICATION outbox_relay FOR TABLE app.events",
                        "UPDATE \"app\".events_lease SET confirmed_lsn",
                        NULL});
    assert_null(strstr(sql, "CREATE TABLE \"events\" ("));
    assert_null(strstr(sql, "another relation"));
    free(sql);
}

static void test_goharvests_rows_are_a_backlog(void **state)
{
    struct adopt_table table = table_of(goharvest, 8);
    struct adopt_request r = request();
    char *sql = sql_of(&table, &r);

    (void)state;
    expect_in_order(
        sql, (const char *const[]){"--   seq            column id\n", "--   aggregatetype  none\n",
                                   "ADD COLUMN \"event_id\" uuid NOT NULL DEFAULT",
                                   "ADD COLUMN published_at timestamptz;\n",
                                   "ALTER COLUMN \"event_id\" SET DEFAULT gen_random_uuid()",
                                   "CREATE TRIGGER \"events_headers\" BEFORE INSERT ON \"events\"",
                                   "UPDATE app.events SET \"event_id\" = gen_random_uuid()",
                                   "FOR UPDATE SKIP LOCKED", NULL});
    free(sql);
}

static void test_only_what_is_missing(void **state)
{
    struct adopt_column columns[COLUMN_KINDS];
    struct adopt_table table = table_of(columns, COLUMN_KINDS);
    struct adopt_request r = request();
    char *sql;

    (void)state;
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        columns[k] = (struct adopt_column){column_own_name(k), "text"};
    table.version = 2;
    table.publication = true;
    table.indexed[ADOPT_SEQ] = true;
    table.broken[ADOPT_UNPUBLISHED_SEQ] = true;
    sql = sql_of(&table, &r);
    assert_null(strstr(sql, "\"events_dead\" ("));
    assert_null(strstr(sql, "events_seq "));
    expect_in_order(
        sql, (const char *const[]){"Version 3", "\nBEGIN;\n", "ALTER TABLE \"events_parked\"",
                                   "DROP INDEX CONCURRENTLY \"app\".events_unpublished_seq",
                                   "CREATE INDEX CONCURRENTLY events_unpublished_seq",
                                   "ALTER PUBLICATION outbox_relay ADD TABLE app.events", NULL});
    free(sql);
    table.version = 3;
    table.publishes = true;
    table.marked = true;
    for (enum adopt_index i = 0; i < ADOPT_INDEXES; i++)
        table.indexed[i] = true;
    sql = sql_of(&table, &r);
    assert_non_null(strstr(sql, "\n-- Nothing is missing.\n"));
    free(sql);
}

static void test_refused(void **state)
{
    struct adopt_table table = table_of(debezium, 5);
    struct adopt_request r = request();
    struct adopt_plan plan = plan_of(&table, &r);
    struct buf sql = {0};
    struct err err;

    (void)state;
    table.version = 1;
    assert_int_equal(adopt_sql(&sql, &table, &plan, &r, &err), -ERR_CONFIG);
    assert_non_null(strstr(err.message, "adopted already, and has no column \"seq\""));
    table.version = 0;
    table.name = "a_name_of_forty_eight_bytes_in_all_which_is_long";
    assert_int_equal(adopt_sql(&sql, &table, &plan, &r, &err), -ERR_CONFIG);
    assert_non_null(strstr(err.message, "more than 47 bytes"));
    buf_free(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_debeziums_columns_are_used_and_the_others_added),
        cmocka_unit_test(test_a_payload_of_bytes_is_one),
        cmocka_unit_test(test_what_is_set_wins),
        cmocka_unit_test(test_a_key_has_to_be_named),
        cmocka_unit_test(test_the_migration_in_its_order),
        cmocka_unit_test(test_goharvests_rows_are_a_backlog),
        cmocka_unit_test(test_only_what_is_missing),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
