/* The metrics' text: its exact form, escapes, numbers, and that promtool takes it. */
#include "ops/metrics_text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void test_form(void **state)
{
    static const double bounds[] = {0.005, 0.1, 2.5};
    static const uint64_t cumulative[] = {1, 3, 3};
    struct buf b = {0};

    (void)state;
    metrics_family(&b, "x_total", METRIC_COUNTER, "How many.");
    metrics_sample_u64(&b, "x_total", NULL, UINT64_MAX);
    metrics_sample_u64(&b, "x_total", METRIC_LABEL("topic", "a\"b\\c\nd\xff"), 1);
    metrics_sample_double(&b, "g",
                          (const struct metric_label[]){{"a", "1"}, {"b", ""}, {NULL, NULL}}, 0.1);
    metrics_sample_double(&b, "g", NULL, 1e300);
    metrics_sample_double(&b, "g", NULL, -INFINITY);
    metrics_sample_double(&b, "g", NULL, NAN);
    metrics_sample_double(&b, "g", NULL, 1.0 / 3);
    metrics_histogram(&b, "h", METRIC_LABEL("k", "v"), bounds, cumulative, 3, 4, 7.25);
    assert_string_equal(buf_cstr(&b), "# HELP x_total How many.\n"
                                      "# TYPE x_total counter\n"
                                      "x_total 18446744073709551615\n"
                                      "x_total{topic=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\"} 1\n"
                                      "g{a=\"1\",b=\"\"} 0.1\n"
                                      "g 1e+300\n"
                                      "g -Inf\n"
                                      "g NaN\n"
                                      "g 0.3333333333333333\n"
                                      "h_bucket{k=\"v\",le=\"0.005\"} 1\n"
                                      "h_bucket{k=\"v\",le=\"0.1\"} 3\n"
                                      "h_bucket{k=\"v\",le=\"2.5\"} 3\n"
                                      "h_bucket{k=\"v\",le=\"+Inf\"} 4\n"
                                      "h_count{k=\"v\"} 4\n"
                                      "h_sum{k=\"v\"} 7.25\n");
    buf_free(&b);
}

/* The value of a sample without labels. */
static double value_of(struct buf *b, const char *name)
{
    char start[128];
    const char *text;
    const char *at;

    (void)snprintf(start, sizeof start, "\n%s ", name);
    text = buf_cstr(b);
    at = text == NULL ? NULL : strstr(text, start);
    if (at == NULL)
        fail_msg("no %s", name);
    return at == NULL ? 0 : strtod(at + strlen(start), NULL);
}

static void test_process(void **state)
{
    struct buf b = {0};
    double files;
    int fds[2];

    (void)state;
    metrics_process(&b);
    assert_true(value_of(&b, "process_cpu_seconds_total") >= 0);
    assert_true(value_of(&b, "process_resident_memory_bytes") > 100000);
    assert_true(value_of(&b, "process_virtual_memory_bytes") >
                value_of(&b, "process_resident_memory_bytes"));
    assert_true(fabs(value_of(&b, "process_start_time_seconds") - (double)time(NULL)) < 600);
    assert_true(value_of(&b, "process_max_fds") > 0);
    files = value_of(&b, "process_open_fds");
    assert_int_equal(pipe(fds), 0);
    buf_reset(&b);
    metrics_process(&b);
    assert_true(value_of(&b, "process_open_fds") == files + 2);
    close(fds[0]);
    close(fds[1]);
    buf_free(&b);
}

/* Runs `promtool check metrics` on text; its exit code. */
static int promtool(const char *text, size_t len)
{
    int fds[2];
    int status;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[0], STDIN_FILENO);
        close(fds[0]);
        close(fds[1]);
        execlp("promtool", "promtool", "check", "metrics", (char *)NULL);
        _exit(127);
    }
    close(fds[0]);
    assert_int_equal(write(fds[1], text, len), (ssize_t)len);
    close(fds[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 127)
        fail_msg("promtool is not installed (Debian's prometheus has it)");
    return WEXITSTATUS(status);
}

static void test_promtool(void **state)
{
    static const double bounds[] = {0.001, 1, 60};
    static const uint64_t cumulative[] = {0, 2, 5};
    static const char bad[] = "# TYPE x counter\nx{ 1\n";
    struct buf b = {0};

    (void)state;
    metrics_process(&b);
    metrics_family(&b, "outbox_relay_published_events_total", METRIC_COUNTER, "Events published.");
    metrics_sample_u64(&b, "outbox_relay_published_events_total",
                       METRIC_LABEL("topic", "a\"\\\n\xff"), 3);
    metrics_family(&b, "outbox_relay_publish_latency_seconds", METRIC_HISTOGRAM, "How long.");
    metrics_histogram(&b, "outbox_relay_publish_latency_seconds", NULL, bounds, cumulative, 3, 6,
                      12.5);
    assert_int_equal(promtool(buf_cstr(&b), b.len), 0);
    assert_int_not_equal(promtool(bad, strlen(bad)), 0);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_promtool),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
