/* Settings: the valid and invalid files under data/config, precedence, the environment with its
 * files, flags. */
#include "config_case.h"

#include <dirent.h>

/* The whole file with each "FILE" replaced by path; the caller frees it. */
static char *read_expected(const char *file, const char *path)
{
    struct buf b = {0};
    char line[4096];
    char *text;
    FILE *f = fopen(file, "r");

    if (f == NULL)
        fail_msg("%s is missing", file);
    while (fgets(line, sizeof line, f) != NULL) {
        char *at = strstr(line, "FILE");

        if (at == NULL) {
            buf_printf(&b, "%s", line);
        } else {
            *at = '\0';
            buf_printf(&b, "%s%s%s", line, path, at + 4);
        }
    }
    (void)fclose(f);
    text = strdup(buf_cstr(&b) != NULL ? buf_cstr(&b) : "");
    buf_free(&b);
    return text;
}

/* Runs check for each .json of a folder, with what stands in its .expected; returns how many. */
static size_t each_file(const char *folder, void (*check)(char *path, char *expected))
{
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort);
    size_t files = 0;

    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        char path[512];
        char expected_path[512];
        size_t len = strlen(names[i]->d_name);
        char *expected;

        if (len > 5 && strcmp(names[i]->d_name + len - 5, ".json") == 0) {
            (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
            (void)snprintf(expected_path, sizeof expected_path, "%s/%.*s.expected", folder,
                           (int)len - 5, names[i]->d_name);
            expected = read_expected(expected_path, path);
            check(path, expected);
            free(expected);
            files++;
        }
        free(names[i]);
    }
    free(names);
    return files;
}

static void check_valid(char *path, char *expected)
{
    struct loaded l = load(NULL, LIST("--config", path));
    char *save = NULL;

    expect_ok(&l);
    for (char *line = strtok_r(expected, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save))
        expect_line(l.config, line);
    config_free(l.config);
}

static void test_valid_files(void **state)
{
    (void)state;
    assert_true(each_file(TEST_DATA "/config/valid", check_valid) >= 5);
}

static void check_invalid(char *path, char *expected)
{
    struct loaded l = load(NULL, LIST("--config", path));

    expected[strcspn(expected, "\n")] = '\0';
    if (l.rc == 0)
        fail_msg("%s was taken", path);
    assert_int_equal(l.rc, -(int)ERR_CONFIG);
    assert_string_equal(l.err.message, expected);
    assert_null(strstr(l.err.message, "hunter2"));
}

static void test_invalid_files(void **state)
{
    (void)state;
    assert_true(each_file(TEST_DATA "/config/invalid", check_invalid) >= 50);
}

static void test_defaults(void **state)
{
    struct loaded l = load(NULL, NULL);

    (void)state;
    expect_ok(&l);
    assert_string_equal(l.config->postgres_uri, "");
    assert_string_equal(l.config->postgres_direct_uri, "");
    assert_int_equal(l.config->source_mode, SOURCE_AUTO);
    assert_string_equal(l.config->source_table, "outbox");
    assert_int_equal(l.config->source_poll_interval_ms, 1000);
    assert_int_equal(l.config->lease_ttl_ms, 8000);
    assert_int_equal(l.config->ack_mode, ACK_DELETE);
    assert_int_equal(l.config->window_events, 50000);
    assert_int_equal(l.config->window_bytes, 64 * 1024 * 1024);
    assert_string_equal(l.config->route_topic, "outbox.event.${aggregatetype}");
    assert_int_equal(l.config->failure_policy, POLICY_PARK);
    assert_string_equal(l.config->http_listen, "127.0.0.1:9478");
    assert_int_equal(l.config->log_level, LOG_INFO);
    assert_int_equal(l.config->log_format, LOG_AUTO);
    assert_int_equal(l.config->shutdown_timeout_ms, 10000);
    assert_int_equal(l.config->nkafka, 0);
    config_free(l.config);
    config_free(NULL);
}

static void test_precedence(void **state)
{
    static const char json[] = "{\"ack\":{\"mode\":\"mark\"},\"window\":{\"events\":7},"
                               "\"kafka\":{\"linger.ms\":1,\"acks\":\"all\",\"x\":1}}";
    char *path = temporary(json, strlen(json));
    char *config = assignment("OUTBOX_CONFIG", path);
    struct loaded l =
        load(LIST(config, "OUTBOX_WINDOW_EVENTS=8", "OUTBOX_WINDOW_BYTES=2MiB",
                  "OUTBOX_KAFKA_LINGER_MS=2", "OUTBOX_KAFKA_X=2", "PGHOST=x", "OUTBOXES=1"),
             LIST("--window-bytes=3MiB", "--kafka-x", "3", "--lease-ttl-ms", "2500",
                  "--lease-ttl-ms=3000"));
    struct buf line = {0};

    (void)state;
    expect_ok(&l);
    assert_int_equal(l.config->ack_mode, ACK_MARK);
    assert_int_equal(l.config->window_events, 8);
    assert_int_equal(l.config->window_bytes, 3 * 1024 * 1024);
    assert_int_equal(l.config->lease_ttl_ms, 3000);
    assert_int_equal(l.config->nkafka, 3);
    buf_printf(&line, "ack.mode = mark  (file %s)", path);
    expect_line(l.config, buf_cstr(&line));
    expect_line(l.config, "window.events = 8  (environment OUTBOX_WINDOW_EVENTS)");
    expect_line(l.config, "window.bytes = 3MiB  (flag --window-bytes)");
    expect_line(l.config, "kafka.linger.ms = 2  (environment OUTBOX_KAFKA_LINGER_MS)");
    expect_line(l.config, "kafka.x = 3  (flag --kafka-x)");
    config_free(l.config);

    /* --config wins over OUTBOX_CONFIG */
    free(config);
    config = assignment("OUTBOX_CONFIG", "/does/not/exist");
    l = load(LIST(config), LIST("--config", path));
    expect_ok(&l);
    config_free(l.config);
    expect_refused(load(LIST(config), NULL), ERR_CONFIG,
                   "file /does/not/exist: cannot read it: No such file or directory");
    expect_refused(load(NULL, LIST("--config=/tmp")), ERR_CONFIG,
                   "file /tmp: cannot read it: Is a directory");
    unlink(path);
    free(path);
    free(config);
    buf_free(&line);
}

/* Lower layers are checked also where a higher one wins. */
static void test_each_layer_is_checked(void **state)
{
    (void)state;
    expect_refused(load(LIST("OUTBOX_ACK_MODE=keep"), LIST("--ack-mode=mark")), ERR_CONFIG,
                   "environment OUTBOX_ACK_MODE: \"keep\" is not allowed: one of delete, mark");
}

static void test_environment(void **state)
{
    (void)state;
    expect_refused(load(LIST("OUTBOX_ACK_MOD=mark"), NULL), ERR_CONFIG,
                   "environment OUTBOX_ACK_MOD: unknown setting, did you mean OUTBOX_ACK_MODE?");
    expect_refused(load(LIST("OUTBOX_CONFG=x"), NULL), ERR_CONFIG,
                   "environment OUTBOX_CONFG: unknown setting, did you mean OUTBOX_CONFIG?");
    expect_refused(load(LIST("OUTBOX_KAKFA_BOOTSTRAP_SERVERS=x"), NULL), ERR_CONFIG,
                   "environment OUTBOX_KAKFA_BOOTSTRAP_SERVERS: unknown setting, did you mean "
                   "OUTBOX_KAFKA_BOOTSTRAP_SERVERS?");
    expect_refused(load(LIST("OUTBOX_SOURCE_SLOT=x-y"), NULL), ERR_CONFIG,
                   "environment OUTBOX_SOURCE_SLOT: \"x-y\" is not allowed: lower-case letters, "
                   "digits and _, at most 63 of them, or empty");
    expect_refused(load(LIST("OUTBOX_=x"), NULL), ERR_CONFIG,
                   "environment OUTBOX_: unknown setting, `outbox-relay --help` lists them");
    expect_refused(load(LIST("OUTBOX_KAFKA_linger=x"), NULL), ERR_CONFIG,
                   "environment OUTBOX_KAFKA_linger: not a librdkafka property: its name is of "
                   "lower-case letters, digits, dots, - and _, such as kafka.bootstrap.servers");
    expect_refused(load(LIST("OUTBOX_KAFKA_A__B=x"), NULL), ERR_CONFIG,
                   "environment OUTBOX_KAFKA_A__B: not a librdkafka property: its name is of "
                   "lower-case letters, digits, dots, - and _, such as kafka.bootstrap.servers");
    expect_refused(
        load(LIST("OUTBOX_WINDOW_EVENTS="), NULL), ERR_CONFIG,
        "environment OUTBOX_WINDOW_EVENTS: \"\" is not allowed: a whole number from 1 to "
        "1000000");
    expect_refused(load(LIST("OUTBOX_WINDOW_EVENTS=5 "), NULL), ERR_CONFIG,
                   "environment OUTBOX_WINDOW_EVENTS: \"5 \" is not allowed: a whole number from 1 "
                   "to 1000000");
    expect_refused(load(LIST("OUTBOX_HTTP_LISTEN=postgres://u:hunter2@h"), NULL), ERR_CONFIG,
                   "environment OUTBOX_HTTP_LISTEN: the value is not allowed: host:port, "
                   "[::1]:port, :port for all addresses, or empty for off");
}

/* A Service called "outbox", "outbox-relay" or "outbox-kafka" must not stop the relay beside it. */
static void test_kubernetes_service_links(void **state)
{
    struct loaded l =
        load(LIST("OUTBOX_SERVICE_HOST=10.0.0.1", "OUTBOX_SERVICE_PORT=80",
                  "OUTBOX_PORT=tcp://10.0.0.1:80", "OUTBOX_RELAY_SERVICE_HOST=10.0.0.1",
                  "OUTBOX_RELAY_SERVICE_PORT=9478", "OUTBOX_RELAY_SERVICE_PORT_METRICS=9478",
                  "OUTBOX_RELAY_PORT=tcp://10.0.0.1:9478",
                  "OUTBOX_RELAY_PORT_9478_TCP=tcp://10.0.0.1:9478",
                  "OUTBOX_RELAY_PORT_9478_TCP_PROTO=tcp", "OUTBOX_RELAY_PORT_9478_TCP_PORT=9478",
                  "OUTBOX_RELAY_PORT_9478_TCP_ADDR=10.0.0.1", "OUTBOX_KAFKA_SERVICE_HOST=10.0.0.2",
                  "OUTBOX_KAFKA_PORT_9092_TCP_ADDR=10.0.0.2"),
             NULL);

    (void)state;
    expect_ok(&l);
    assert_int_equal(l.config->nkafka, 0);
    config_free(l.config);
    expect_refused(load(LIST("OUTBOX_HTTP_PORT=9478"), NULL), ERR_CONFIG,
                   "environment OUTBOX_HTTP_PORT: unknown setting, `outbox-relay --help` lists "
                   "them");
}

/* One NAME_FILE case: the value that source.table gets out of a file with that content. */
static void expect_from_file(const char *content, size_t len, const char *value)
{
    char *path = temporary(content, len);
    char *variable = assignment("OUTBOX_ROUTE_TOPIC_FILE", path);
    struct loaded l = load(LIST(variable), NULL);

    expect_ok(&l);
    assert_string_equal(l.config->route_topic, value);
    config_free(l.config);
    unlink(path);
    free(path);
    free(variable);
}

static void test_value_files(void **state)
{
    char *path = temporary("hunter2\n", 8);
    char *uri = assignment("OUTBOX_POSTGRES_URI_FILE", path);
    char *password = assignment("OUTBOX_KAFKA_SASL_PASSWORD_FILE", path);
    char *mode = assignment("OUTBOX_ACK_MODE_FILE", path);
    char *unknown = assignment("OUTBOX_ACK_MOD_FILE", path);
    char message[512];
    struct loaded l = load(LIST(uri, password), NULL);

    (void)state;
    expect_ok(&l);
    assert_string_equal(l.config->postgres_uri, "hunter2");
    assert_int_equal(l.config->nkafka, 1);
    assert_string_equal(l.config->kafka[0].name, "sasl.password");
    assert_string_equal(l.config->kafka[0].value, "hunter2");
    expect_line(l.config, "kafka.sasl.password = (hidden)  (environment "
                          "OUTBOX_KAFKA_SASL_PASSWORD_FILE)");
    config_free(l.config);

    expect_from_file("a", 1, "a");
    expect_from_file("a\n", 2, "a");
    expect_from_file("a\n\n", 3, "a\n");
    expect_from_file("a\r\n", 3, "a");
    expect_from_file("a\r", 2, "a\r");
    expect_from_file("", 0, "");

    expect_refused(load(LIST(uri, "OUTBOX_POSTGRES_URI=x"), NULL), ERR_CONFIG,
                   "environment OUTBOX_POSTGRES_URI_FILE: OUTBOX_POSTGRES_URI is set too; set one "
                   "of them");
    expect_refused(load(LIST("OUTBOX_KAFKA_SASL_PASSWORD=", password), NULL), ERR_CONFIG,
                   "environment OUTBOX_KAFKA_SASL_PASSWORD_FILE: OUTBOX_KAFKA_SASL_PASSWORD is set "
                   "too; set one of them");
    expect_refused(load(LIST("OUTBOX_POSTGRES_URI_FILE=/does/not/exist"), NULL), ERR_CONFIG,
                   "environment OUTBOX_POSTGRES_URI_FILE: cannot read /does/not/exist: No such "
                   "file or directory");
    /* the wrong file: what is in it is not quoted */
    expect_refused(load(LIST(mode), NULL), ERR_CONFIG,
                   "environment OUTBOX_ACK_MODE_FILE: the value is not allowed: one of delete, "
                   "mark");
    expect_refused(load(LIST(unknown), NULL), ERR_CONFIG,
                   "environment OUTBOX_ACK_MOD_FILE: unknown setting, did you mean "
                   "OUTBOX_ACK_MODE_FILE?");
    unlink(path);
    free(path);
    path = temporary("a\0b", 3);
    free(uri);
    uri = assignment("OUTBOX_POSTGRES_URI_FILE", path);
    (void)snprintf(message, sizeof message,
                   "environment OUTBOX_POSTGRES_URI_FILE: %s holds a NUL byte", path);
    expect_refused(load(LIST(uri), NULL), ERR_CONFIG, message);
    unlink(path);
    free(path);
    free(uri);
    free(password);
    free(mode);
    free(unknown);
}

static void test_flags(void **state)
{
    char longest[400];
    struct loaded l = load(NULL, LIST("--ack-mode", "mark", "--http-listen=", "--route-topic=a=b",
                                      "--shutdown-timeout-ms", "0", "--kafka-ssl-key-password=--x",
                                      "--source-table=\x24"));

    (void)state;
    expect_refused(l, ERR_USAGE,
                   "flag --source-table: \"$\" is not allowed: name or schema.name, each a letter "
                   "or _ and then letters, digits, _ or $, at most 63 bytes");
    l = load(NULL, LIST("--ack-mode", "mark", "--http-listen=", "--route-topic=a=b",
                        "--shutdown-timeout-ms", "0", "--kafka-ssl-key-password=--x"));
    expect_ok(&l);
    assert_string_equal(l.config->http_listen, "");
    assert_string_equal(l.config->route_topic, "a=b");
    assert_string_equal(l.config->kafka[0].name, "ssl.key.password");
    assert_string_equal(l.config->kafka[0].value, "--x");
    config_free(l.config);

    expect_refused(load(NULL, LIST("--ack-mod=mark")), ERR_USAGE,
                   "flag --ack-mod: unknown setting, did you mean --ack-mode?");
    expect_refused(load(NULL, LIST("--source.table=x")), ERR_USAGE,
                   "flag --source.table: unknown setting, did you mean --source-table?");
    expect_refused(load(NULL, LIST("--postgres-url=postgres://u:hunter2@h/")), ERR_USAGE,
                   "flag --postgres-url: unknown setting, did you mean --postgres-uri?");
    expect_refused(load(NULL, LIST("--verbose")), ERR_USAGE,
                   "flag --verbose: unknown setting, `outbox-relay --help` lists them");
    expect_refused(load(NULL, LIST("--")), ERR_USAGE,
                   "flag --: unknown setting, `outbox-relay --help` lists them");
    expect_refused(load(NULL, LIST("--ack-mode", "--log-level=info")), ERR_USAGE,
                   "flag --ack-mode: a value is missing (--ack-mode=VALUE where it starts with "
                   "--)");
    expect_refused(load(NULL, LIST("--ack-mode")), ERR_USAGE,
                   "flag --ack-mode: a value is missing (--ack-mode=VALUE where it starts with "
                   "--)");
    expect_refused(load(NULL, LIST("postgres://u:hunter2@h/")), ERR_USAGE,
                   "an argument is not expected here: settings are given as --setting value or "
                   "--setting=value");
    expect_refused(load(NULL, LIST("--failure-policy", "skip")), ERR_USAGE,
                   "flag --failure-policy: \"skip\" is not allowed: one of park, dead-letter, "
                   "halt");
    expect_refused(load(NULL, LIST("--failure-topics", "a=skip")), ERR_USAGE,
                   "flag --failure-topics: \"a=skip\" is not allowed: PATTERN=POLICY, ... with * "
                   "and ? in a topic's name as PATTERN, and park, dead-letter or halt as POLICY, "
                   "or empty");
    expect_refused(
        load(NULL, LIST("--failure-dead-letter-topic", "a b")), ERR_USAGE,
        "flag --failure-dead-letter-topic: \"a b\" is not allowed: letters, digits, '.', "
        "'_', '-', at most 249 of them, and ${topic} for the event's own topic, or empty");
    expect_refused(load(NULL, LIST("--kafka-=1")), ERR_USAGE,
                   "flag --kafka-: not a librdkafka property: its name is of lower-case letters, "
                   "digits, dots, - and _, such as kafka.bootstrap.servers");
    memset(longest, 'k', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest, "--kafka-", 8);
    l = load(NULL, LIST(longest, "1"));
    assert_int_equal(l.rc, -(int)ERR_USAGE);
    memcpy(longest, "--kafkaa", 8);
    l = load(NULL, LIST(longest, "1"));
    assert_int_equal(l.rc, -(int)ERR_USAGE);
}

static void test_help_names_each_setting(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct err err;

    (void)state;
    assert_int_equal(config_help(out, &err), 0);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "  --source-poll-interval-ms\n"));
    assert_non_null(strstr(text, "a whole number from 10 to 60000; default: 1000\n"));
    assert_non_null(strstr(text, "one of delete, mark; default: delete\n"));
    assert_non_null(strstr(text, "--kafka-bootstrap-servers"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_files),
        cmocka_unit_test(test_invalid_files),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_each_layer_is_checked),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_kubernetes_service_links),
        cmocka_unit_test(test_value_files),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_help_names_each_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
