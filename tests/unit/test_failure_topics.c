/* failure.topics: which policy a topic has, and what is no such list. */
#include "ops/config_table.h"
#include "ops/failure_topics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static enum failure_policy of(const char *topics, const char *topic)
{
    struct config c = {.failure_policy = POLICY_PARK, .failure_topics = (char *)(uintptr_t)topics};

    assert_true(failure_topics_ok(topics));
    return failure_policy_of(&c, topic);
}

static void the_first_that_fits_decides(void **state)
{
    static const char list[] = "audit.*=dead-letter, audit.money=halt,pay?=halt ,*.x=dead-letter";

    (void)state;
    assert_int_equal(of("", "order"), POLICY_PARK);
    assert_int_equal(of(list, "order"), POLICY_PARK);
    assert_int_equal(of(list, "audit.money"), POLICY_DEAD_LETTER);
    assert_int_equal(of(list, "audit"), POLICY_PARK);
    assert_int_equal(of(list, "pays"), POLICY_HALT);
    assert_int_equal(of(list, "payss"), POLICY_PARK);
    assert_int_equal(of(list, "a.b.x"), POLICY_DEAD_LETTER);
    assert_int_equal(of("order=park", "order"), POLICY_PARK);
    assert_int_equal(of("*=halt", ""), POLICY_HALT); /* of an event that has no topic */
}

static void what_is_used(void **state)
{
    char topics[] = "a=halt";
    struct config c = {.failure_policy = POLICY_PARK, .failure_topics = topics};

    (void)state;
    assert_true(failure_policy_used(&c, POLICY_PARK));
    assert_true(failure_policy_used(&c, POLICY_HALT));
    assert_false(failure_policy_used(&c, POLICY_DEAD_LETTER));
}

static void what_is_no_list(void **state)
{
    static const char *const wrong[] = {"order",      "order=",       "=park",
                                        "order=skip", "order=park,",  "order=park,,a=halt",
                                        "a b=park",   "order=parked", "order=park x",
                                        "[ab]=park",  ",order=park",  " "};
    char longest[300];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(failure_topics_ok(wrong[i]));
    memset(longest, 'a', sizeof longest);
    memcpy(longest + 249, "=park", 6);
    assert_true(failure_topics_ok(longest));
    memset(longest, 'a', sizeof longest);
    memcpy(longest + 250, "=park", 6);
    assert_false(failure_topics_ok(longest));
}

static void where_copies_may_go(void **state)
{
    static const char *const good[] = {"", "dead", "${topic}.dead", "x-${topic}", "a.${topic}_b"};
    static const char *const wrong[] = {".",   "..",     "${topic}",   "${topic}${topic}x",
                                        "a/b", "$topic", "dead${type}"};
    const struct setting *s = setting_find("failure.dead_letter_topic");
    struct config c = {0};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(setting_store(s, good[i], &c), SETTING_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(setting_store(s, wrong[i], &c), SETTING_REFUSED);
    setting_free_all(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_fits_decides),
        cmocka_unit_test(what_is_used),
        cmocka_unit_test(what_is_no_list),
        cmocka_unit_test(where_copies_may_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
