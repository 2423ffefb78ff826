/*
 * Clients of the HTTP end points, over loopback. libmicrohttpd parses the requests and cannot be
 * had without sockets; ours are the routes, the slots and the loop around it, and those are only
 * whole with it. So each input has a server of its own, up to four clients, and this is what they
 * do: a byte that names client and deed, and for a deed of sending a byte of length and the bytes.
 *
 * Each client gets one answer at most. At the end a well-behaved one gets its own, and everything
 * closes.
 */
#include "fuzz.h"

#include "ops/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS 4
#define STEPS_MAX 100
#define PATIENCE_S 20 /* of a busy machine; ten thousand times what it takes */

struct client {
    int fd; /* -1: has not connected yet */
    bool done;
    struct buf answer;
};

struct scene {
    uv_loop_t loop;
    struct http *http;
    int calls;
    int closed;
    struct client clients[CLIENTS];
};

static int answer(void *arg, struct buf *body)
{
    struct scene *s = arg;

    s->calls++;
    buf_printf(body, "ok\n");
    return 200;
}

static int answer_ready(void *arg, bool verbose, struct buf *body)
{
    (void)answer(arg, body);
    return verbose ? 503 : 200;
}

static void on_closed(void *arg)
{
    struct scene *s = arg;

    s->closed++;
}

static void turn(struct scene *s)
{
    (void)uv_run(&s->loop, UV_RUN_NOWAIT);
}

/* -- clients ----------------------------------------------------------------------------------- */

static void connect_to(const struct scene *s, struct client *c)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)http_port(s->http)),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};

    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    CHECK(c->fd >= 0);
    while (connect(c->fd, (const struct sockaddr *)&to, sizeof to) != 0 && errno != EISCONN)
        CHECK(errno == EINTR); /* by libFuzzer's timer */
}

static void receive(struct client *c)
{
    char chunk[1024];
    ssize_t n;

    while ((n = recv(c->fd, chunk, sizeof chunk, MSG_DONTWAIT)) > 0)
        buf_append(&c->answer, chunk, (size_t)n);
    c->done = n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

/* With a reset, so that no port stays behind: a thousand of these run in a second. */
static void hang_up(struct client *c)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (c->fd < 0)
        return;
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)close(c->fd);
    buf_free(&c->answer);
    *c = (struct client){.fd = -1};
}

/* Takes what it is answered. What is no whole request has to wait for its deadline, which is not
 * waited for here. */
static void finish(struct scene *s, struct client *c)
{
    size_t len;

    for (int idle = 0; !c->done && idle < 8; idle++) {
        len = c->answer.len;
        turn(s);
        receive(c);
        if (c->answer.len > len)
            idle = 0;
    }
}

/* Ours tells caches to keep nothing; libmicrohttpd has answers of its own, to what is no request,
 * and some of those (0.9.75) have two heads. */
static void check_answer(struct client *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    static const char ours[] = "Cache-Control: no-store\r\n";
    const char *text = buf_cstr(&c->answer);
    const char *found = strstr(text, ours);
    int status = 0;

    CHECK(*text == '\0' || strncmp(text, "HTTP/1.", 7) == 0);
    if (found == NULL)
        return;
    CHECK(strstr(found + 1, ours) == NULL);
    text = strncmp(text, go_on, strlen(go_on)) == 0 ? text + strlen(go_on) : text;
    CHECK(sscanf(text, "HTTP/1.%*1[01] %d ", &status) == 1);
    CHECK(status == 200 || status == 404 || status == 405 || status == 503);
}

/* ---------------------------------------------------------------------------------------------- */

/* None ends its side in good order: each time would leave a port behind. */
enum { SEND, TURN, RESET, DEEDS };

static void step(struct scene *s, struct reader *in)
{
    uint8_t byte = read_u8(in);
    struct client *c = &s->clients[byte % CLIENTS];
    struct slice bytes;

    if (c->fd < 0)
        connect_to(s, c);
    switch (byte / CLIENTS % DEEDS) {
    case SEND:
        bytes = some_bytes(in, read_u8(in));
        (void)send(c->fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case TURN:
        turn(s);
        break;
    default:
        hang_up(c);
        break;
    }
}

static void serves_another(struct scene *s)
{
    static const char request[] = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    time_t start = time(NULL);
    struct client c;
    int calls = s->calls;

    connect_to(s, &c);
    CHECK(send(c.fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request));
    for (receive(&c); !c.done; receive(&c)) {
        turn(s);
        CHECK(time(NULL) - start < PATIENCE_S);
    }
    CHECK(s->calls == calls + 1 && strncmp(buf_cstr(&c.answer), "HTTP/1.1 200 ", 13) == 0);
    hang_up(&c);
}

static void close_all(struct scene *s)
{
    http_close(s->http, on_closed, s);
    CHECK(uv_run(&s->loop, UV_RUN_DEFAULT) == 0 && s->closed == 1);
    CHECK(uv_loop_close(&s->loop) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_routes routes = {answer, answer_ready, answer, answer};
    struct reader in = reader_of(data, size);
    struct scene s = {.clients = {{.fd = -1}, {.fd = -1}, {.fd = -1}, {.fd = -1}}};
    struct err err;

    CHECK(uv_loop_init(&s.loop) == 0);
    CHECK(http_open(&s.http, &s.loop, "127.0.0.1:0", &routes, &s, &err) == 0);
    for (int i = 0; i < STEPS_MAX && in.at < in.end && !in.failed; i++)
        step(&s, &in);
    for (size_t i = 0; i < CLIENTS; i++) {
        if (s.clients[i].fd < 0)
            continue;
        finish(&s, &s.clients[i]);
        check_answer(&s.clients[i]);
        hang_up(&s.clients[i]);
    }
    serves_another(&s);
    close_all(&s);
    return 0;
}
