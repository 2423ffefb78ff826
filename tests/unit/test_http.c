/* The HTTP end points over loopback: what each answers, and that no client, however broken, slow or
 * numerous, keeps the next one from its answer or a handle from closing. */
#include "base/clock.h"
#include "ops/http.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 15000

struct fixture {
    uv_loop_t loop;
    uv_timer_t tick; /* so that a run of the loop comes back, also when nothing happens */
    struct http *http;
    int calls;
    int closed;
};

static int on_livez(void *arg, struct buf *body)
{
    struct fixture *f = arg;

    f->calls++;
    buf_printf(body, "ok\n");
    return 200;
}

static int on_readyz(void *arg, bool verbose, struct buf *body)
{
    (void)arg;
    buf_printf(body, verbose ? "kafka: down\n" : "no\n");
    return 503;
}

static int on_metrics(void *arg, struct buf *body)
{
    (void)arg;
    for (int i = 0; i < 20000; i++) /* more than a socket buffer takes at once */
        buf_printf(body, "x{n=\"%d\"} 1\n", i);
    return 200;
}

static int on_statusz(void *arg, struct buf *body)
{
    (void)arg;
    body->failed = true; /* as when memory ran out */
    return 200;
}

static const struct http_routes routes = {on_livez, on_readyz, on_metrics, on_statusz};

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;

    f->closed++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err err;

    assert_non_null(f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->tick);
    uv_timer_start(&f->tick, on_tick, 5, 5);
    if (http_open(&f->http, &f->loop, "127.0.0.1:0", &routes, f, &err) != 0)
        fail_msg("%s", err.message);
    assert_true(http_port(f->http) > 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    http_close(f->http, on_closed, f);
    uv_close((uv_handle_t *)&f->tick, NULL);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(f->closed, 1);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static int connected(const struct fixture *f)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_port(f->http)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Turns the loop until the server has closed fd; what it sent, NUL-terminated. The caller frees it.
 */
static char *answer_of(struct fixture *f, int fd)
{
    const int64_t until = clock_boot_ms() + PATIENCE_MS;
    struct buf b = {0};
    char chunk[8192];
    char *text;

    for (;;) {
        ssize_t n = recv(fd, chunk, sizeof chunk, MSG_DONTWAIT);

        if (n > 0)
            buf_append(&b, chunk, (size_t)n);
        else if (n == 0 || errno != EAGAIN)
            break;
        else
            (void)uv_run(&f->loop, UV_RUN_ONCE);
        if (clock_boot_ms() > until)
            fail_msg("no end of the answer after %d ms", PATIENCE_MS);
    }
    close(fd);
    text = strdup(buf_cstr(&b));
    buf_free(&b);
    return text;
}

static char *ask(struct fixture *f, const char *request)
{
    int fd = connected(f);

    send_text(fd, request);
    return answer_of(f, fd);
}

/* Asks, and expects the status and, where it is not NULL, the exact body. */
static void expect(struct fixture *f, const char *request, int status, const char *body)
{
    char *text = ask(f, request);
    const char *end = strstr(text, "\r\n\r\n");

    assert_int_equal(strncmp(text, "HTTP/1.", 7), 0);
    assert_int_equal(strtol(text + 9, NULL, 10), status);
    assert_non_null(end);
    if (body != NULL)
        assert_string_equal(end + 4, body);
    free(text);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void test_routes(void **state)
{
    struct fixture *f = *state;
    char *text;

    expect(f, GET("/livez"), 200, "ok\n");
    expect(f, GET("/healthz"), 200, "ok\n");
    expect(f, "GET /livez HTTP/1.0\r\n\r\n", 200, "ok\n");
    expect(f, GET("/readyz"), 503, "no\n");
    expect(f, GET("/readyz?verbose"), 503, "kafka: down\n");
    expect(f, GET("/readyz?verbose=1"), 503, "kafka: down\n");
    expect(f, GET("/readyz?x=verbose"), 503, "no\n");
    expect(f, GET("/statusz"), 500, "");
    expect(f, GET("/"), 404, NULL);
    expect(f, GET("/livez/"), 404, NULL);
    expect(f, GET("//livez"), 404, NULL);
    text = ask(f, GET("/metrics"));
    assert_non_null(strstr(text, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(text, "\nx{n=\"19999\"} 1\n"));
    free(text);
    text = ask(f, GET("/statusz"));
    assert_non_null(strstr(text, "Content-Type: application/json\r\n"));
    free(text);
}

static void test_methods(void **state)
{
    struct fixture *f = *state;
    char *text;

    expect(f, "HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n", 200, "");
    expect(f, "HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n", 404, "");
    f->calls = 0;
    text = ask(f, "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(strncmp(text + 9, "405", 3), 0);
    assert_non_null(strstr(text, "Allow: GET, HEAD\r\n"));
    free(text);
    expect(f, "DELETE /livez HTTP/1.1\r\nHost: x\r\n\r\n", 405, NULL);
    expect(f, "BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n", 405, NULL);
    assert_int_equal(f->calls, 0);
}

static void test_garbage(void **state)
{
    static const char *const requests[] = {
        "\r\n\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "\x16\x03\x01\x02 a TLS hello\r\n\r\n",
        "GET /livez HTTP/9.9\r\n\r\n",
        "GET /livez HTTP/1.1\r\nno colon here\r\n\r\n",
        "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /%00%ff?%zz&verbose&& HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        int fd = connected(f);

        send_text(fd, requests[i]);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        free(answer_of(f, fd)); /* whatever it says, it ends */
    }
    expect(f, GET("/livez"), 200, "ok\n");
}

/* A header without an end is cut off by the connection's memory, not by ours. */
static void test_large_request(void **state)
{
    struct fixture *f = *state;
    char *large = malloc(200001);
    int fd = connected(f);

    memset(large, 'a', 200000);
    large[200000] = '\0';
    memcpy(large, "GET /", 5);
    (void)send(fd, large, 200000, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(answer_of(f, fd));
    free(large);
    expect(f, GET("/livez"), 200, "ok\n");
}

/* Clients that leave in the middle: of the request, of the answer. */
static void test_leaving_clients(void **state)
{
    const struct linger at_once = {1, 0}; /* a reset */
    struct fixture *f = *state;

    for (int i = 0; i < 100; i++) {
        int fd = connected(f);

        send_text(fd, i % 2 == 0 ? "GET /livez HT" : GET("/metrics"));
        for (int turn = 0; turn < i % 5; turn++)
            (void)uv_run(&f->loop, UV_RUN_NOWAIT);
        if (i % 3 == 0)
            assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
        close(fd);
    }
    expect(f, GET("/livez"), 200, "ok\n");
}

/* More at once than are served at a time: each gets its answer. */
static void test_many_clients(void **state)
{
    enum { MANY = 120 };
    struct fixture *f = *state;
    int64_t start = clock_boot_ms();
    int fds[MANY];

    for (int i = 0; i < MANY; i++) {
        fds[i] = connected(f);
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    for (int i = 0; i < MANY; i++)
        send_text(fds[i], GET("/livez"));
    for (int i = 0; i < MANY; i++) {
        char *text = answer_of(f, fds[i]);

        assert_int_equal(strncmp(text + 9, "200", 3), 0);
        free(text);
    }
    assert_int_equal(f->calls, MANY);
    assert_true(clock_boot_ms() - start < 3000); /* none waited for another's deadline */
}

/* Dripping clients take every slot: they are closed at their deadline, byte by byte or not, and
 * whoever queued behind them is then answered. */
static void test_slow_clients(void **state)
{
    enum { SLOW = 64 };
    static const char request[] =
        "GET /livez HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct fixture *f = *state;
    int64_t start = clock_boot_ms();
    int fds[SLOW];
    struct pollfd last;
    char *text;
    size_t sent = 0;

    for (int i = 0; i < SLOW; i++)
        fds[i] = connected(f);
    last = (struct pollfd){.fd = connected(f), .events = POLLIN};
    send_text(last.fd, GET("/livez"));
    while (poll(&last, 1, 0) == 0) {
        if (clock_boot_ms() - start > (int64_t)sent * 200 && sent < sizeof request - 1) {
            for (int i = 0; i < SLOW; i++)
                (void)send(fds[i], &request[sent], 1, MSG_NOSIGNAL);
            sent++;
        }
        (void)uv_run(&f->loop, UV_RUN_ONCE);
        assert_true(clock_boot_ms() - start < PATIENCE_MS);
    }
    assert_in_range(clock_boot_ms() - start, 3000, 9000);
    text = answer_of(f, last.fd);
    assert_non_null(strstr(text, "\r\n\r\nok\n"));
    free(text);
    for (int i = 0; i < SLOW; i++)
        free(answer_of(f, fds[i]));
    assert_true(clock_boot_ms() - start < 9000);
}

static size_t open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static void test_close_with_open_connections(void **state)
{
    size_t before = open_files();
    void *own = NULL;
    struct fixture *f;
    int fds[3];

    (void)state;
    assert_int_equal(setup(&own), 0);
    f = own;
    for (int i = 0; i < 3; i++)
        fds[i] = connected(f);
    send_text(fds[1], "GET /liv");
    send_text(fds[2], GET("/metrics"));
    for (int i = 0; i < 10; i++)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(teardown(&own), 0); /* uv_loop_close() == 0 */
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    assert_int_equal(open_files(), before);
}

static void test_addresses(void **state)
{
    static const char *const wrong[] = {
        "",      "x",      "127.0.0.1", "127.0.0.1:",  ":-1",  "[::1:80",
        "[]:80", "::1:80", "a b:1",     "host:123456", "h:80x"};
    struct fixture *f = *state;
    char taken[64];
    struct http *other = NULL;
    struct err err;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(http_open(&other, &f->loop, wrong[i], &routes, f, &err), -ERR_CONFIG);
        assert_null(other);
    }
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%d", http_port(f->http));
    assert_int_equal(http_open(&other, &f->loop, taken, &routes, f, &err), -ERR_UNAVAILABLE);
    assert_null(other);
    assert_non_null(strstr(err.message, taken));
    assert_non_null(strstr(err.message, "Address already in use"));
    assert_int_equal(http_open(&other, &f->loop, "no-such-host.invalid:0", &routes, f, &err),
                     -ERR_UNAVAILABLE);
    assert_int_equal(http_open(&other, &f->loop, ":0", &routes, f, &err), 0);
    http_close(other, NULL, NULL);
    http_close(NULL, on_closed, f);
    assert_int_equal(f->closed, 1);
    f->closed = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_methods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaving_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_clients, setup, teardown),
        cmocka_unit_test(test_close_with_open_connections),
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
