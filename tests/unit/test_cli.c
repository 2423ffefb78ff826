/* The command line: which command it says, help and version, and `status` against a server that
 * answers as the relay, as something else, or not at all. */
#include "cli/cli.h"
#include "cli/status_get.h"

#include "base/clock.h"
#include "ops/http.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define ARGS(...) ((const char *const[]){"outbox-relay", __VA_ARGS__, NULL})

static int parse(struct cli *ret, const char *const *args, struct err *err)
{
    char *argv[16];
    int argc = 0;
    int rc;

    for (; args[argc] != NULL; argc++) {
        assert_true(argc < 15);
        argv[argc] = strdup(args[argc]);
    }
    argv[argc] = NULL;
    rc = cli_parse(ret, argc, argv, NULL, err);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return rc;
}

static void expect(const char *const *args, enum command command, enum command help_for, bool json)
{
    struct cli c;
    struct err err;

    if (parse(&c, args, &err) != 0)
        fail_msg("refused: %s", err.message);
    assert_int_equal(c.command, command);
    if (command == COMMAND_HELP)
        assert_int_equal(c.help_for, help_for);
    assert_int_equal(c.json, json);
    assert_true((c.config != NULL) == (command != COMMAND_HELP && command != COMMAND_VERSION));
    cli_free(&c);
}

static void refuse(const char *const *args, enum err_class class, const char *message)
{
    struct cli c;
    struct err err;

    assert_int_equal(parse(&c, args, &err), -(int)class);
    assert_int_equal(err.class, class);
    assert_string_equal(err.message, message);
    cli_free(&c);
}

static void test_commands(void **state)
{
    (void)state;
    expect((const char *const[]){"outbox-relay", NULL}, COMMAND_RUN, 0, false);
    expect(ARGS("run"), COMMAND_RUN, 0, false);
    expect(ARGS("--ack-mode", "mark"), COMMAND_RUN, 0, false);
    expect(ARGS("--ack-mode", "mark", "check"), COMMAND_CHECK, 0, false);
    expect(ARGS("--kafka-client-id", "status"), COMMAND_RUN, 0, false);
    expect(ARGS("status", "--json"), COMMAND_STATUS, 0, true);
    expect(ARGS("--json", "--http-listen=:1", "status"), COMMAND_STATUS, 0, true);
    expect(ARGS("doctor", "--json", "--source-slot=s"), COMMAND_DOCTOR, 0, true);
    expect(ARGS("config", "print"), COMMAND_CONFIG_PRINT, 0, false);
    expect(ARGS("config", "print", "--json", "--ack-mode=mark"), COMMAND_CONFIG_PRINT, 0, true);
    expect(ARGS("adopt", "--json", "--slot=debezium"), COMMAND_ADOPT, 0, true);
    expect(ARGS("version"), COMMAND_VERSION, 0, false);
    expect(ARGS("--version"), COMMAND_VERSION, 0, false);
    expect(ARGS("version", "--json"), COMMAND_VERSION, 0, true);
    expect(ARGS("--help"), COMMAND_HELP, COMMAND_HELP, false);
    expect(ARGS("-h"), COMMAND_HELP, COMMAND_HELP, false);
    expect(ARGS("help"), COMMAND_HELP, COMMAND_HELP, false);
    expect(ARGS("help", "status"), COMMAND_HELP, COMMAND_STATUS, false);
    expect(ARGS("help", "config", "print"), COMMAND_HELP, COMMAND_CONFIG_PRINT, false);
    expect(ARGS("help", "config"), COMMAND_HELP, COMMAND_CONFIG_PRINT, false);
    expect(ARGS("run", "--help"), COMMAND_HELP, COMMAND_RUN, false);
    expect(ARGS("config", "--help"), COMMAND_HELP, COMMAND_CONFIG_PRINT, false);
    /* help is given whatever else is wrong */
    expect(ARGS("check", "-h", "--ack-mode=wrong", "--nonsense"), COMMAND_HELP, COMMAND_CHECK,
           false);
}

static void test_refused(void **state)
{
    (void)state;
    refuse(ARGS("chekc"), ERR_USAGE, "\"chekc\" is no command, did you mean check?");
    refuse(ARGS("docter"), ERR_USAGE, "\"docter\" is no command, did you mean doctor?");
    refuse(ARGS("dead"), ERR_USAGE, "dead: a command is missing: list, show, retry or discard");
    refuse(ARGS("dead", "retry"), ERR_USAGE,
           "dead retry: which? An id, --key, --topic, --error (a part of it) or --all");
    refuse(ARGS("dead", "show", "4711"), ERR_USAGE,
           "dead show: an event's id is a uuid, as dead list shows it");
    refuse(ARGS("dead", "discard", "--all"), ERR_USAGE,
           "dead discard: --reason is missing; it is kept");
    refuse(ARGS("dead", "list", "--key"), ERR_USAGE, "flag --key: a value is missing");
    refuse(ARGS("run", "--dry-run"), ERR_USAGE, "flag --dry-run: goes with dead");
    refuse(ARGS("postgres://u:hunter2@h/db"), ERR_USAGE,
           "the value is no command, see `outbox-relay --help`");
    refuse(ARGS("run", "now"), ERR_USAGE,
           "\"now\" is not expected here, see `outbox-relay --help`");
    refuse(ARGS("run", "-x"), ERR_USAGE, "\"-x\" is not expected here, see `outbox-relay --help`");
    refuse(ARGS("config"), ERR_USAGE, "config: a command is missing: config print");
    refuse(ARGS("config", "show"), ERR_USAGE,
           "\"show\" is no command of config, did you mean config print?");
    refuse(ARGS("config", "print", "x"), ERR_USAGE,
           "\"x\" is not expected here, see `outbox-relay --help`");
    refuse(ARGS("help", "x"), ERR_USAGE, "\"x\" is no command, see `outbox-relay --help`");
    refuse(ARGS(""), ERR_USAGE, "\"\" is no command, see `outbox-relay --help`");
    refuse(ARGS("--"), ERR_USAGE, "\"--\" is no command, see `outbox-relay --help`");
    refuse(ARGS("--json"), ERR_USAGE,
           "flag --json: goes with status, doctor, check, dead, adopt, config print and version; "
           "for the "
           "log of run it is --log-format json");
    refuse(ARGS("run", "--slot", "s"), ERR_USAGE,
           "flag --slot: goes with adopt; for run it is --source-slot");
    refuse(ARGS("adopt", "--slot"), ERR_USAGE, "flag --slot: a value is missing");
    refuse(ARGS("run", "--fix"), ERR_USAGE, "flag --fix: goes with check");
    refuse(ARGS("status", "--fix"), ERR_USAGE, "flag --fix: goes with check");
    refuse(ARGS("run", "--version"), ERR_USAGE, "flag --version: goes with no command");
    refuse(ARGS("version", "--ack-mode"), ERR_USAGE,
           "\"--ack-mode\" is not expected here, see `outbox-relay --help`");
    refuse(ARGS("check", "--ack-mode=keep"), ERR_USAGE,
           "flag --ack-mode: \"keep\" is not allowed: one of delete, mark");
    refuse(ARGS("--config=/does/not/exist"), ERR_CONFIG,
           "file /does/not/exist: cannot read it: No such file or directory");
}

/* stdout and stderr of one command, into text. */
struct capture {
    int code;
    char out[65536];
    char err[4096];
};

static void read_back(FILE *f, char *text, size_t size)
{
    size_t n;

    rewind(f);
    n = fread(text, 1, size - 1, f);
    text[n] = '\0';
    (void)fclose(f);
}

static void capture(struct capture *ret, int (*command)(const struct cli *c), const struct cli *c)
{
    FILE *out = tmpfile();
    FILE *err = tmpfile();
    int saved_out;
    int saved_err;

    assert_non_null(out);
    assert_non_null(err);
    (void)fflush(stdout);
    (void)fflush(stderr);
    saved_out = dup(STDOUT_FILENO);
    saved_err = dup(STDERR_FILENO);
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(err), STDERR_FILENO);
    ret->code = command(c);
    (void)fflush(stdout);
    (void)fflush(stderr);
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved_err, STDERR_FILENO);
    close(saved_out);
    close(saved_err);
    read_back(out, ret->out, sizeof ret->out);
    read_back(err, ret->err, sizeof ret->err);
}

static void test_help_text(void **state)
{
    static struct capture got;

    (void)state;
    for (int command = COMMAND_RUN; command <= COMMAND_HELP; command++) {
        const struct cli c = {.command = COMMAND_HELP, .help_for = (enum command)command};

        capture(&got, cli_help, &c);
        assert_int_equal(got.code, 0);
        assert_string_equal(got.err, "");
        assert_int_equal(strncmp(got.out, "Usage: outbox-relay ", 20), 0);
        if (command == COMMAND_VERSION)
            continue;
        assert_non_null(strstr(got.out, "\n  --window-bytes\n"));
        assert_non_null(strstr(got.out, "\n  78  a wrong setting"));
    }
}

static void test_version_text(void **state)
{
    static const char *const libraries[] = {"librdkafka", "libpq", "libuv", "jansson",
                                            "libmicrohttpd"};
    static struct capture got;
    struct cli c = {.command = COMMAND_VERSION};

    (void)state;
    capture(&got, cli_version, &c);
    assert_int_equal(got.code, 0);
    assert_int_equal(strncmp(got.out, "outbox-relay " OUTBOX_VERSION "\n", 14), 0);
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        assert_non_null(strstr(got.out, libraries[i]));
    c.json = true;
    capture(&got, cli_version, &c);
    assert_int_equal(strncmp(got.out, "{\"outbox-relay\": \"" OUTBOX_VERSION "\", ", 20), 0);
}

static void test_config_print_text(void **state)
{
    static struct capture got;
    struct cli c;
    struct err err;

    (void)state;
    assert_int_equal(parse(&c, ARGS("config", "print", "--kafka-sasl-password=hunter2"), &err), 0);
    capture(&got, cli_config_print, &c);
    assert_int_equal(got.code, 0);
    assert_non_null(
        strstr(got.out, "kafka.sasl.password = (hidden)  (flag --kafka-sasl-password)"));
    assert_null(strstr(got.out, "hunter2"));
    cli_free(&c);
}

/* A real server of our own end points on a thread, since `status` blocks. */
struct server {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    uv_barrier_t ready;
    struct http *http;
    const char *statusz;
    int status;
    int port;
};

static int on_text(void *arg, struct buf *body)
{
    const struct server *s = arg;

    buf_printf(body, "%s", s->statusz);
    return s->status;
}

static int on_readyz(void *arg, bool verbose, struct buf *body)
{
    (void)verbose;
    return on_text(arg, body);
}

static void on_stop(uv_async_t *stop)
{
    struct server *s = stop->data;

    http_close(s->http, NULL, NULL);
    uv_close((uv_handle_t *)stop, NULL);
}

static void serve(void *arg)
{
    static const struct http_routes routes = {on_text, on_readyz, on_text, on_text};
    struct server *s = arg;
    struct err err;

    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(uv_async_init(&s->loop, &s->stop, on_stop), 0);
    s->stop.data = s;
    if (http_open(&s->http, &s->loop, "127.0.0.1:0", &routes, s, &err) == 0)
        s->port = http_port(s->http);
    uv_barrier_wait(&s->ready);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    s->status = uv_loop_close(&s->loop);
}

/* Runs `status` against a relay that answers so. */
static void status_of(struct capture *ret, const char *statusz, int status, bool json)
{
    struct server s = {.statusz = statusz, .status = status};
    struct cli c;
    struct err err;
    char listen[64];

    assert_int_equal(uv_barrier_init(&s.ready, 2), 0);
    assert_int_equal(uv_thread_create(&s.thread, serve, &s), 0);
    uv_barrier_wait(&s.ready);
    assert_true(s.port > 0);
    (void)snprintf(listen, sizeof listen, "--http-listen=:%d", s.port);
    assert_int_equal(
        parse(&c, json ? ARGS("status", listen, "--json") : ARGS("status", listen), &err), 0);
    capture(ret, cli_status, &c);
    cli_free(&c);
    uv_async_send(&s.stop);
    uv_thread_join(&s.thread);
    uv_barrier_destroy(&s.ready);
    assert_int_equal(s.status, 0);
}

static const char full[] =
    "{\"version\":\"0.1.0\",\"state\":\"owner\",\"uptime_s\":93784,\"table\":\"public.outbox\","
    "\"lease\":{\"shard\":0,\"epoch\":12,\"owner\":\"host:42\",\"expires_in_ms\":7900},"
    "\"source\":{\"mode\":\"notify\",\"up\":true,\"sleeping\":true},"
    "\"postgres\":{\"up\":true,\"server\":\"db:5432\",\"error\":null},"
    "\"kafka\":{\"up\":false,\"brokers\":3,\"error\":\"all brokers \\u001b[31m down\"},"
    "\"window\":{\"events\":120,\"bytes\":4096,\"max_events\":50000,\"max_bytes\":67108864},"
    "\"published\":123,\"acknowledged\":100,\"backlog\":7,\"oldest_unpublished_s\":1.25,"
    "\"stall\":\"Kafka is away\",\"topics_waiting\":[{\"topic\":\"orders\",\"error\":\"unknown\","
    "\"held\":3}],\"shards\":{\"mine\":2},\"mood\":\"fine\"}";

static void test_status(void **state)
{
    static struct capture got;

    (void)state;
    status_of(&got, full, 200, false);
    assert_string_equal(got.err, "");
    assert_int_equal(got.code, 0);
    assert_string_equal(got.out,
                        "outbox-relay 0.1.0, owner, up for 1 d 2 h\n"
                        "  table          public.outbox\n"
                        "  lease          owner host:42, shard 0, epoch 12, expires in 7.9 s\n"
                        "  source         notify, up, asleep until a commit wakes it\n"
                        "  postgres       up, db:5432\n"
                        "  kafka          down, brokers 3, all brokers \\x1b[31m down\n"
                        "  waiting        7 events, the oldest for 1.2 s\n"
                        "  in flight      120 of 50000 events, 4096 of 67108864 bytes\n"
                        "  published      123\n"
                        "  acknowledged   100\n"
                        "  topic waits    orders, 3 events wait, unknown\n"
                        "  stall          Kafka is away\n"
                        "  shards         {\"mine\":2}\n"
                        "  mood           fine\n");
    status_of(&got, full, 200, true);
    assert_int_equal(got.code, 0);
    assert_int_equal(strncmp(got.out, full, strlen(full)), 0);
    assert_string_equal(got.out + strlen(full), "\n");
}

/* Missing parts, and parts of another type than known. */
static void test_status_of_another_version(void **state)
{
    static struct capture got;

    (void)state;
    status_of(&got, "{}", 200, false);
    assert_int_equal(got.code, 0);
    status_of(&got,
              "{\"state\":5,\"lease\":\"none\",\"postgres\":[1],\"window\":{\"bytes\":9},"
              "\"stall\":null,\"topics_waiting\":\"x\",\"uptime_s\":\"long\"}",
              200, false);
    assert_int_equal(got.code, 0);
    assert_string_equal(got.out, "5, up for long\n"
                                 "  lease          none\n"
                                 "  postgres       [1]\n"
                                 "  in flight      9 bytes\n"
                                 "  topic waits    x\n");
}

static void test_status_of_something_else(void **state)
{
    static struct capture got;

    (void)state;
    status_of(&got, "<html>", 200, false);
    assert_int_equal(got.code, 69);
    assert_string_equal(got.out, "");
    assert_non_null(strstr(got.err, "does not answer as an outbox-relay\n"));
    status_of(&got, "<html>", 200, true);
    assert_int_equal(got.code, 69);
    status_of(&got, "[]", 200, false);
    assert_int_equal(got.code, 69);
    status_of(&got, full, 404, false);
    assert_int_equal(got.code, 69);
    assert_non_null(strstr(got.err, "answers HTTP status 404: is it an outbox-relay?\n"));
}

/* A listening socket that is never read, or a port where nothing listens. */
static int silent_port(int *ret_fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;

    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*ret_fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(*ret_fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

static void test_status_without_answer(void **state)
{
    static struct capture got;
    struct cli c;
    struct err err;
    struct buf body = {0};
    char listen_flag[64];
    char address[32];
    int64_t start;
    int fd;
    int port = silent_port(&fd);

    (void)state;
    (void)snprintf(listen_flag, sizeof listen_flag, "--http-listen=127.0.0.1:%d", port);
    assert_int_equal(parse(&c, ARGS("status", listen_flag), &err), 0);
    capture(&got, cli_status, &c); /* bound, but nothing listens */
    assert_int_equal(got.code, 69);
    assert_non_null(
        strstr(got.err, "outbox-relay: status: no outbox-relay answers at http.listen "));
    assert_non_null(strstr(got.err, "Connection refused"));
    cli_free(&c);

    assert_int_equal(listen(fd, 4), 0); /* connects, then nothing comes */
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", port);
    start = clock_boot_ms();
    assert_int_equal(status_get(address, "/statusz", 300, &body, &err), -ERR_UNAVAILABLE);
    assert_in_range(clock_boot_ms() - start, 295, 3000);
    assert_non_null(strstr(err.message, "timed out"));
    buf_free(&body);
    close(fd);

    assert_int_equal(parse(&c, ARGS("status", "--http-listen="), &err), 0);
    capture(&got, cli_status, &c);
    assert_int_equal(got.code, 78);
    assert_non_null(strstr(got.err, "http.listen is empty"));
    cli_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_help_text),
        cmocka_unit_test(test_version_text),
        cmocka_unit_test(test_config_print_text),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_status_of_another_version),
        cmocka_unit_test(test_status_of_something_else),
        cmocka_unit_test(test_status_without_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
