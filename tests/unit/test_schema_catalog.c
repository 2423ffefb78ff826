/* What a version is made of, under the names of an outbox, and how a database's objects differ. */
#include "cli/schema_catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct columns *columns;
    struct schema_shape shape;
    struct schema_objects expected;
    struct schema_objects found;
};

/* Version 1 of a table, against the lines. */
static void begin(struct fixture *f, const char *table, const char *const *names, const char *lines)
{
    struct err err;

    *f = (struct fixture){0};
    if (columns_new(&f->columns, names, "", &err) != 0)
        fail_msg("%s", err.message);
    f->shape = (struct schema_shape){"app", table, f->columns};
    if (schema_objects_of(&f->expected, 1, &f->shape, &err) != 0 ||
        schema_objects_read(&f->found, lines, "app", &err) != 0)
        fail_msg("%s", err.message);
}

static void end(struct fixture *f)
{
    schema_objects_free(&f->expected);
    schema_objects_free(&f->found);
    free(f->columns);
}

static const struct schema_object *expected(const struct fixture *f, const char *kind,
                                            const char *name)
{
    return schema_object_find(&f->expected, &(struct schema_object){kind, name, NULL});
}

static void differs(const char *kind, const char *name, const char *lines,
                    enum schema_difference difference)
{
    struct fixture f;

    begin(&f, "events", NULL, lines);
    assert_non_null(expected(&f, kind, name));
    assert_int_equal(schema_object_differs(expected(&f, kind, name), &f.found, &f.shape),
                     difference);
    end(&f);
}

static void test_differences(void **state)
{
    static const struct {
        const char *kind;
        const char *name;
        const char *line;
        enum schema_difference difference;
    } cases[] = {
        {"column", "events.topic", "column\tevents.topic\ttext\n", SCHEMA_SAME},
        {"column", "events.topic", "", SCHEMA_MISSING},
        {"column", "events.topic", "column\tevents.topic\tuuid\n", SCHEMA_OTHERWISE},
        {"column", "events.topic", "column\tevents.topic\tpoint\n", SCHEMA_DIFFERENT},
        {"column", "events.topic", "column\tevents.topic\ttext NOT NULL\n", SCHEMA_OTHERWISE},
        {"column", "events.id", "column\tevents.id\tuuid NOT NULL\n", SCHEMA_OTHERWISE},
        {"column", "events.id", "column\tevents.id\tuuid\n", SCHEMA_DIFFERENT},
        {"column", "events.xid", "column\tevents.xid\txid8 NOT NULL\n", SCHEMA_DIFFERENT},
        {"column", "events_lease.owner", "column\tevents_lease.owner\ttext\n", SCHEMA_DIFFERENT},
        {"index", "events.events_unpublished_seq",
         "index\tevents.events_unpublished_seq\tCREATE INDEX events_unpublished_seq ON app.events"
         " USING btree (seq) WHERE (published_at IS NULL)\n",
         SCHEMA_SAME},
        {"trigger", "events.events_wake",
         "trigger\tevents.events_wake\tCREATE TRIGGER events_wake AFTER INSERT ON "
         "\"app\".\"events\""
         " FOR EACH STATEMENT EXECUTE FUNCTION events_wake() (disabled)\n",
         SCHEMA_DIFFERENT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        differs(cases[i].kind, cases[i].name, cases[i].line, cases[i].difference);
}

static void test_columns_of_other_names(void **state)
{
    const char *names[COLUMN_KINDS];
    struct fixture f;

    (void)state;
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        names[k] = column_own_name(k);
    names[COLUMN_SEQ] = "number";
    names[COLUMN_TOPIC] = "";
    begin(&f, "outbox", names, "");
    assert_non_null(expected(&f, "column", "outbox.number"));
    assert_null(expected(&f, "column", "outbox.seq"));
    assert_null(expected(&f, "column", "outbox.topic"));
    assert_non_null(
        strstr(expected(&f, "index", "outbox.outbox_unpublished_seq")->definition, "(number)"));
    end(&f);
}

static void test_a_version_is_most_like_itself(void **state)
{
    struct schema_objects of[2];
    struct fixture f;
    struct err err;

    (void)state;
    begin(&f, "outbox", NULL, "");
    for (int v = 1; v <= schema_newest; v++) {
        int best = 0;

        for (int other = 1; other <= schema_newest; other++) {
            assert_int_equal(schema_objects_of(&of[0], v, &f.shape, &err), 0);
            assert_int_equal(schema_objects_of(&of[1], other, &f.shape, &err), 0);
            assert_true(of[0].n > 0);
            if (other == v)
                best = schema_objects_score(&of[1], &of[0], &f.shape);
            else
                assert_true(schema_objects_score(&of[1], &of[0], &f.shape) < (int)of[0].n);
            schema_objects_free(&of[0]);
            schema_objects_free(&of[1]);
        }
        assert_true(best > 0);
    }
    end(&f);
}

static void test_what_are_no_objects(void **state)
{
    struct schema_objects o;
    struct err err;

    (void)state;
    assert_int_equal(schema_objects_read(&o, "table\toutbox\n", "app", &err), -ERR_INTERNAL);
    schema_objects_free(&o);
    assert_int_equal(schema_objects_read(&o, "", "app", &err), 0);
    assert_int_equal(o.n, 0);
    schema_objects_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_columns_of_other_names),
        cmocka_unit_test(test_a_version_is_most_like_itself),
        cmocka_unit_test(test_what_are_no_objects),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
