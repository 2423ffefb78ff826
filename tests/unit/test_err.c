/* Errors: one message, cut to fit, with the class that the exit code comes from. */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void sets_class_and_message(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(err_set(&err, ERR_CONFIG, "http.listen: %d is no port", 70000), -ERR_CONFIG);
    assert_int_equal(err.class, ERR_CONFIG);
    assert_string_equal(err.message, "http.listen: 70000 is no port");
    assert_int_equal(err_set(NULL, ERR_NOMEM, "nobody listens"), -ERR_NOMEM);
}

static void a_prefix_goes_in_front(void **state)
{
    struct err err;

    (void)state;
    (void)err_set(&err, ERR_ROW, "too large");
    assert_int_equal(err_prefix(&err, "event %d: ", 7), -ERR_ROW);
    assert_string_equal(err.message, "event 7: too large");
    assert_int_equal(err.class, ERR_ROW);
}

static void what_is_too_long_is_cut(void **state)
{
    char text[3000];
    struct err err;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)err_set(&err, ERR_ROW, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    (void)err_prefix(&err, "before: ");
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_memory_equal(err.message, "before: xxx", 11);
    (void)err_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void classes_have_exit_codes_and_names(void **state)
{
    static const struct {
        enum err_class class;
        int code;
    } want[] = {
        {ERR_NONE, 0},         {ERR_USAGE, 64},    {ERR_CONFIG, 78}, {ERR_PERMISSION, 77},
        {ERR_UNAVAILABLE, 69}, {ERR_ROW, 65},      {ERR_TOPIC, 69},  {ERR_CLUSTER, 69},
        {ERR_FENCED, 70},      {ERR_PROTOCOL, 70}, {ERR_NOMEM, 70},  {ERR_INTERNAL, 70},
    };

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(err_exit_code(want[i].class), want[i].code);
        assert_true(strlen(err_class_name(want[i].class)) > 0);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(err_class_name(want[i].class), err_class_name(want[k].class));
    }
    assert_string_equal(err_class_name(ERR_UNAVAILABLE), "unavailable");
    assert_string_equal(err_class_name(ERR_INTERNAL), "internal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_class_and_message),
        cmocka_unit_test(a_prefix_goes_in_front),
        cmocka_unit_test(what_is_too_long_is_cut),
        cmocka_unit_test(classes_have_exit_codes_and_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
