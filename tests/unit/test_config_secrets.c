/* No password, key or token is ever shown by `config print`. */
#include "config_case.h"

/* What `config print` makes of a postgres.uri. */
static void expect_uri(const char *uri, const char *shown)
{
    char *flag = assignment("--postgres-uri", uri);
    struct loaded l = load(NULL, LIST(flag));
    char *json;
    char *text;
    struct buf line = {0};

    expect_ok(&l);
    buf_printf(&line, "postgres.uri = %s  (flag --postgres-uri)", shown);
    expect_line(l.config, buf_cstr(&line));
    text = printed(l.config, false);
    json = printed(l.config, true);
    assert_null(strstr(text, "hunter2"));
    assert_null(strstr(json, "hunter2"));
    free(text);
    free(json);
    free(flag);
    buf_free(&line);
    config_free(l.config);
}

static void test_uri_passwords(void **state)
{
    (void)state;
    expect_uri("postgres://u:hunter2@h:5432/db", "postgres://u:***@h:5432/db");
    expect_uri("postgresql://u:hunter2@h1,h2:6/db?sslmode=require&sslpassword=hunter2&user=x",
               "postgresql://u:***@h1,h2:6/db?sslmode=require&sslpassword=***&user=x");
    expect_uri("postgres://u@h/db", "postgres://u@h/db");
    expect_uri("postgres://:hunter2@h", "postgres://:***@h");
    expect_uri("postgres:///db?host=/run/pg&password=hunter2",
               "postgres:///db?host=/run/pg&password=***");
    expect_uri("postgres://[::1]:5432/db", "postgres://[::1]:5432/db");
    /* in doubt all of it */
    expect_uri("postgres://u:hunt@hunter2@h/db", "(hidden)");
    expect_uri("postgres://u:a/hunter2@h/db", "(hidden)");
    expect_uri("postgres://u:a?hunter2@h/db", "(hidden)");
    expect_uri("postgres://u:a#hunter2@h/db", "(hidden)");
    expect_uri("postgres://h/db?p%61ssword=hunter2", "(hidden)");
    expect_uri("postgres://h/db?password", "(hidden)");
    expect_uri("postgres://h/db?a=b&", "(hidden)");
    expect_uri("mysql://u:hunter2@h/db", "(hidden)");
    expect_uri("hunter2", "(hidden)");
    expect_uri("host=h password=hunter2 user=u", "host=h password=*** user=u");
    expect_uri("host = h  password = 'hunter2 it''s'", "(hidden)");
    expect_uri("host = h  password = 'hunter2 it\\'s' user=u", "host=h password=*** user=u");
    expect_uri("password=a\\ hunter2 user=u", "password=*** user=u");
    expect_uri("password=my hunter2", "(hidden)");
    expect_uri("password='hunter2", "(hidden)");
    expect_uri("PASSWORD=hunter2", "(hidden)");
    expect_uri("dbname=postgres://u:hunter2@h/db user=u", "dbname=*** user=u");
    expect_uri("dbname='host=h password=hunter2' user=u", "dbname=*** user=u");
    expect_uri("sslkey=/k sslpassword=hunter2", "sslkey=*** sslpassword=***");
    expect_uri("", "\"\"");
}

static void test_secret_names(void **state)
{
    static const char *const secrets[] = {
        "sasl.password",         "ssl.key.password",    "ssl.key.pem",
        "ssl.keystore.password", "ssl.key.location",    "sasl.oauthbearer.client.secret",
        "sasl.jaas.config",      "ssl.certificate.pem", "sasl.oauthbearer.token.endpoint.url",
        "postgres.uri",          "postgres.direct_uri", "my.key",
    };
    static const char *const open_names[] = {"sasl.username", "bootstrap.servers",
                                             "linger.ms",     "compression.type",
                                             "source.table",  "ssl.ca.location"};

    (void)state;
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
        if (!config_is_secret(secrets[i]))
            fail_msg("%s would be shown", secrets[i]);
    for (size_t i = 0; i < sizeof open_names / sizeof open_names[0]; i++)
        if (config_is_secret(open_names[i]))
            fail_msg("%s would be hidden", open_names[i]);
}

static void test_print_json(void **state)
{
    struct loaded l = load(LIST("OUTBOX_KAFKA_SASL_PASSWORD=hunter2", "OUTBOX_KAFKA_CLIENT_ID=\xff",
                                "OUTBOX_ROUTE_TOPIC=\"q\"\x1b"),
                           NULL);
    char *text;

    (void)state;
    expect_ok(&l);
    text = printed(l.config, true);
    assert_non_null(strstr(text, "\"kafka.sasl.password\": {\n    \"value\": \"(hidden)\""));
    assert_non_null(strstr(text, "\"(not UTF-8)\""));
    assert_non_null(strstr(text, "\"\\\"q\\\"\\u001B\""));
    assert_non_null(strstr(text, "\"from\": \"default\""));
    assert_null(strstr(text, "hunter2"));
    free(text);
    text = printed(l.config, false);
    assert_non_null(strstr(text, "kafka.client.id = \\xff  ("));
    assert_non_null(strstr(text, "route.topic = \"q\"\\x1b  ("));
    free(text);
    config_free(l.config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uri_passwords),
        cmocka_unit_test(test_secret_names),
        cmocka_unit_test(test_print_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
