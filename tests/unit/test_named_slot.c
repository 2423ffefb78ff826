/* What the lease and the server say of a named slot, and what follows: each way in which the two do
 * not fit stops the relay with the commands for each way on. */
#include "postgres/named_slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COLUMNS 13
#define FORGET "UPDATE public.outbox_lease SET slot = NULL"
#define DROP "SELECT pg_drop_replication_slot('orders')"

static const struct pg_facts facts = {
    .table = "public.outbox",
    .lease = "public.outbox_lease",
    .server_version = 150000,
    .identity = {.system_identifier = 77, .timeline = 2},
};

/* In the order of the statement. */
struct answer {
    const char *lease_slot, *lease_server, *lease_snapshot, *lease_lsn;
    const char *slot, *plugin, *database, *ours, *pid, *lsn, *status;
    const char *server_lsn, *now;
};

/* A slot that is read up to 0/200, and whose server has saved 0/100 of that. */
static const struct answer sound = {
    .lease_slot = "orders",
    .lease_server = "77/2",
    .lease_lsn = "0/200",
    .slot = "orders",
    .plugin = "pgoutput",
    .database = "shop",
    .ours = "t",
    .lsn = "0/100",
    .status = "reserved",
    .server_lsn = "0/300",
    .now = "9:12:10",
};

struct judged {
    int rc;
    enum named_step step;
    uint64_t lsn;
    bool table;
    char snapshot[32];
    struct err err;
};

static struct judged judge(const struct answer *a)
{
    const char *const values[COLUMNS] = {a->lease_slot, a->lease_server, a->lease_snapshot,
                                         a->lease_lsn,  a->slot,         a->plugin,
                                         a->database,   a->ours,         a->pid,
                                         a->lsn,        a->status,       a->server_lsn,
                                         a->now};
    PGresAttDesc columns[COLUMNS] = {0};
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    struct judged j = {0};
    struct wal_start start = {0};
    char name[] = "c";

    for (int i = 0; i < COLUMNS; i++)
        columns[i].name = name;
    assert_true(PQsetResultAttrs(res, COLUMNS, columns));
    for (int i = 0; i < COLUMNS; i++) {
        char value[64] = "";

        if (values[i] != NULL)
            strcpy(value, values[i]);
        assert_true(PQsetvalue(res, 0, i, values[i] == NULL ? NULL : value, (int)strlen(value)));
    }
    j.rc = named_slot_judge(res, &facts, "orders", &j.step, &start, &j.err);
    j.lsn = start.lsn;
    j.table = start.table;
    if (start.snapshot.len > 0)
        memcpy(j.snapshot, start.snapshot.data, start.snapshot.len);
    PQclear(res);
    return j;
}

static void expect_step(const struct answer *a, enum named_step step)
{
    struct judged j = judge(a);

    assert_int_equal(j.rc, 0);
    assert_int_equal(j.step, step);
}

/* Refused, for a reason and with commands that its text has. */
static void expect_refused(const struct answer *a, const char *why, const char *const *commands)
{
    struct judged j = judge(a);

    assert_int_equal(j.rc, -ERR_CONFIG);
    if (strstr(j.err.message, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", j.err.message, why);
    for (; *commands != NULL; commands++)
        if (strstr(j.err.message, *commands) == NULL)
            fail_msg("\"%s\" does not name \"%s\"", j.err.message, *commands);
}

#define REFUSED(a, why, ...) expect_refused(a, why, (const char *const[]){__VA_ARGS__, NULL})

static void one_that_nobody_knows_is_made(void **state)
{
    struct answer a = {.server_lsn = "0/300", .now = "9:12:10"};

    (void)state;
    expect_step(&a, NAMED_MAKE);
    a.lease_slot = "orders"; /* it was to be made, and was not */
    a.lease_server = "77/2";
    expect_step(&a, NAMED_MAKE);
}

static void one_that_was_half_made_is_made_again(void **state)
{
    struct answer a = sound;

    (void)state;
    a.lease_lsn = NULL;
    expect_step(&a, NAMED_MAKE_AGAIN);
    a.lease_server = "77/1"; /* nothing was read from it, wherever that was */
    expect_step(&a, NAMED_MAKE_AGAIN);
}

static void one_that_fits_is_resumed_where_the_lease_says(void **state)
{
    struct answer a = sound;
    struct judged j = judge(&a);

    (void)state;
    assert_int_equal(j.rc, 0);
    assert_int_equal(j.step, NAMED_RESUME);
    assert_int_equal(j.lsn, 0x200);
    assert_false(j.table);
    assert_string_equal(j.snapshot, "9:12:10");
    a.lsn = "0/200";
    expect_step(&a, NAMED_RESUME);
}

static void what_came_before_it_is_read_until_that_is_done(void **state)
{
    struct answer a = sound;
    struct judged j;

    (void)state;
    a.lease_snapshot = "5:7:6";
    j = judge(&a);
    assert_int_equal(j.step, NAMED_RESUME);
    assert_true(j.table);
    assert_string_equal(j.snapshot, "5:7:6");
}

static void one_that_is_read_is_waited_for(void **state)
{
    struct answer a = sound;

    (void)state;
    a.pid = "4711";
    expect_step(&a, NAMED_BUSY);
    a.lease_lsn = NULL; /* it is being made */
    expect_step(&a, NAMED_BUSY);
}

static void a_stranger_is_not_read(void **state)
{
    struct answer a = sound;

    (void)state;
    a.lease_slot = a.lease_server = a.lease_lsn = NULL;
    REFUSED(&a, "says nothing of it", DROP, "UPDATE public.outbox_lease SET slot = 'orders'",
            "slot_server = '77/2'");
    a = sound;
    a.ours = "f";
    a.plugin = "test_decoding";
    REFUSED(&a, "plugin test_decoding and database shop", DROP);
}

static void another_name_is_not_taken_for_the_same(void **state)
{
    struct answer a = sound;

    (void)state;
    a.lease_slot = "invoices";
    REFUSED(&a, "set source.slot to that", "SELECT pg_drop_replication_slot('invoices')", FORGET);
    a.slot = a.ours = a.lsn = a.lease_lsn = NULL;
    REFUSED(&a, "up to nothing", FORGET);
}

static void another_server_or_timeline_is_told(void **state)
{
    struct answer a = sound;

    (void)state;
    a.lease_server = "77/1";
    REFUSED(&a, "on server 77/1, and this is 77/2",
            "UPDATE public.outbox_lease SET slot_server = '77/2'", DROP, FORGET);
    a.lease_server = NULL;
    REFUSED(&a, "on server unknown", FORGET);
    a.lease_server = "78/2";
    a.slot = a.ours = a.lsn = NULL; /* it did not come along */
    REFUSED(&a, "on server 78/2", FORGET);
    assert_null(strstr(judge(&a).err.message, "slot_server"));
    assert_null(strstr(judge(&a).err.message, "pg_drop"));
}

static void a_lost_slot_is_told(void **state)
{
    struct answer a = sound;

    (void)state;
    a.status = "lost";
    REFUSED(&a, "has lost WAL behind 0/200", DROP, FORGET);
    a.slot = a.ours = a.lsn = a.status = NULL;
    REFUSED(&a, "is gone, which was read up to 0/200", FORGET);
}

static void positions_that_do_not_fit_are_told(void **state)
{
    struct answer a = sound;

    (void)state;
    a.server_lsn = "0/1FF";
    REFUSED(&a, "the server's log ends at 0/1FF",
            "UPDATE public.outbox_lease SET confirmed_lsn = '0/100'", DROP, FORGET);
    a = sound;
    a.lsn = "0/201";
    REFUSED(&a, "stands at 0/201, and was read up to 0/200 only",
            "UPDATE public.outbox_lease SET confirmed_lsn = '0/201'", DROP, FORGET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_nobody_knows_is_made),
        cmocka_unit_test(one_that_was_half_made_is_made_again),
        cmocka_unit_test(one_that_fits_is_resumed_where_the_lease_says),
        cmocka_unit_test(what_came_before_it_is_read_until_that_is_done),
        cmocka_unit_test(one_that_is_read_is_waited_for),
        cmocka_unit_test(a_stranger_is_not_read),
        cmocka_unit_test(another_name_is_not_taken_for_the_same),
        cmocka_unit_test(another_server_or_timeline_is_told),
        cmocka_unit_test(a_lost_slot_is_told),
        cmocka_unit_test(positions_that_do_not_fit_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
