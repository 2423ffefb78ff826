/* Routes: templates that compile, those that are refused at their place, names that Kafka does not
 * take. */
#include "core/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct slice of(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

static struct event order(void)
{
    return (struct event){
        .aggregatetype = of("Order"), .aggregateid = of("o-17"), .type = of("Placed")};
}

static void expect(const char *text, const struct event *e, const char *want)
{
    char name[ROUTE_TOPIC_MAX];
    struct route *r;
    struct err err;
    size_t len;

    assert_int_equal(route_new(&r, text, &err), 0);
    assert_int_equal(route_apply(r, e, name, &len, &err), 0);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(name, want, len);
    route_free(r);
}

static void templates(void **state)
{
    struct event e = order();

    (void)state;
    expect("outbox.event.${aggregatetype}", &e, "outbox.event.Order");
    expect("all", &e, "all");
    expect("${type}", &e, "Placed");
    expect("a_${aggregatetype}-${type}.${aggregateid}${aggregateid}z", &e,
           "a_Order-Placed.o-17o-17z");
}

static void an_event_may_name_its_topic(void **state)
{
    struct event e = order();

    (void)state;
    e.topic = of("elsewhere");
    expect("outbox.event.${aggregatetype}", &e, "elsewhere");
}

static void wrong_templates_are_refused_at_their_place(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } wrong[] = {
        {"", "empty"},
        {"a b", "' '"},
        {"a/b", "'/'"},
        {"$x", "'$'"},
        {"a${", "closing brace"},
        {"a${aggregatetype", "closing brace"},
        {"${}", "${}"},
        {"${aggregate}", "${aggregate}"},
        {"${payload}", "${payload}"},
        {"${AggregateType}", "${AggregateType}"},
        {"x}", "'}'"},
        {"\xc3\xa4", "'?'"},
        {"a\n", "'?'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct route *r = NULL;
        struct err err;

        assert_int_equal(route_new(&r, wrong[i].text, &err), -ERR_CONFIG);
        assert_int_equal(err.class, ERR_CONFIG);
        assert_non_null(strstr(err.message, "route.topic"));
        assert_non_null(strstr(err.message, wrong[i].says));
    }
    route_free(NULL);
}

static void refused(const char *text, const struct event *e, const char *says)
{
    char name[ROUTE_TOPIC_MAX];
    struct route *r;
    struct err err;
    size_t len;

    assert_int_equal(route_new(&r, text, &err), 0);
    assert_int_equal(route_apply(r, e, name, &len, &err), -ERR_ROW);
    assert_non_null(strstr(err.message, says));
    route_free(r);
}

static void names_that_kafka_does_not_take(void **state)
{
    struct event e = order();

    (void)state;
    e.aggregatetype = of("Big Order");
    refused("${aggregatetype}", &e, "place 4");
    refused("x.${aggregatetype}", &e, "place 6");
    e.aggregatetype = of("");
    refused("${aggregatetype}", &e, "empty");
    e.aggregatetype = of(".");
    refused("${aggregatetype}", &e, "\".\"");
    refused("${aggregatetype}.", &e, "\"..\"");
    e.aggregatetype = (struct slice){(const unsigned char *)"a\0b", 3};
    refused("${aggregatetype}", &e, "place 2");
    e.aggregatetype = of("caf\xc3\xa9");
    refused("${aggregatetype}", &e, "place 4");
    e.topic = of("no/slash");
    refused("fine", &e, "place 3");
    e.topic = of("");
    refused("fine", &e, "empty");
}

static void two_dots_inside_are_fine(void **state)
{
    struct event e = order();

    (void)state;
    e.aggregatetype = of("..a");
    expect("${aggregatetype}", &e, "..a");
    e.aggregatetype = of("a.");
    expect("${aggregatetype}", &e, "a.");
}

static void the_longest_name(void **state)
{
    char text[ROUTE_TOPIC_MAX + 2];
    struct event e = order();

    (void)state;
    memset(text, 'a', sizeof text);
    text[ROUTE_TOPIC_MAX] = '\0';
    e.aggregatetype = of(text);
    expect("${aggregatetype}", &e, text);
    refused("x${aggregatetype}", &e, "longer than 249");
    refused("${aggregatetype}x", &e, "longer than 249");
    e.aggregatetype.len = SIZE_MAX / 2; /* whatever a length says, nothing is copied beyond */
    refused("${aggregatetype}", &e, "longer than 249");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates),
        cmocka_unit_test(an_event_may_name_its_topic),
        cmocka_unit_test(wrong_templates_are_refused_at_their_place),
        cmocka_unit_test(names_that_kafka_does_not_take),
        cmocka_unit_test(two_dots_inside_are_fine),
        cmocka_unit_test(the_longest_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
