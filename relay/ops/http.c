/* libmicrohttpd without a thread: its epoll descriptor sits in a uv_poll, its timeouts in a
 * uv_timer. Every connection has one deadline from accept to close and is not kept alive, so that
 * a client that drips its request holds a slot for that long and no longer. */
#include "ops/http.h"

#include "ops/address.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 64
#define CONNECTION_MEMORY ((size_t)8 * 1024)
#define DEADLINE_S 5

struct slot {
    int fd;            /* -1: free */
    uint64_t deadline; /* uv_now() */
};

struct http {
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t timer;
    struct MHD_Daemon *daemon;
    struct http_routes routes;
    void *arg;
    int port;
    bool closed_one; /* in this run */
    struct slot slots[CONNECTIONS];
    int handles; /* still open */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void on_timer(uv_timer_t *timer);

/* The timer follows the earliest of what libmicrohttpd and our deadlines want. */
static void arm(struct http *h)
{
    uint64_t now = uv_now(h->loop);
    uint64_t wait = UINT64_MAX;
    MHD_UNSIGNED_LONG_LONG theirs;

    if (MHD_get_timeout(h->daemon, &theirs) == MHD_YES)
        wait = theirs;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        const struct slot *s = &h->slots[i];

        if (s->fd >= 0 && (s->deadline <= now || s->deadline - now < wait))
            wait = s->deadline <= now ? 0 : s->deadline - now;
    }
    /* At its limit libmicrohttpd takes the listening socket out of its epoll set, and puts it back
     * in the run after the one that closed a connection. */
    if (h->closed_one)
        wait = 0;
    h->closed_one = false;
    if (wait == UINT64_MAX)
        uv_timer_stop(&h->timer);
    else
        uv_timer_start(&h->timer, on_timer, wait, 0);
}

static void run(struct http *h)
{
    uint64_t now = uv_now(h->loop);

    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (h->slots[i].fd >= 0 && h->slots[i].deadline <= now) {
            (void)shutdown(h->slots[i].fd, SHUT_RDWR);
            h->slots[i].deadline = now + (uint64_t)DEADLINE_S * 1000;
        }
    }
    (void)MHD_run(h->daemon);
    arm(h);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *h = arg;
    const union MHD_ConnectionInfo *info;
    struct slot *s = *socket_context;

    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        h->closed_one = true;
        if (s != NULL)
            s->fd = -1;
        return;
    }
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    for (size_t i = 0; info != NULL && i < CONNECTIONS; i++) {
        if (h->slots[i].fd < 0) {
            h->slots[i].fd = info->connect_fd;
            h->slots[i].deadline = uv_now(h->loop) + (uint64_t)DEADLINE_S * 1000;
            *socket_context = &h->slots[i];
            return;
        }
    }
}

/* Takes body's memory over. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              struct buf *body)
{
    struct MHD_Response *r;
    enum MHD_Result rc;

    if (body->failed) {
        buf_free(body);
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    r = MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        buf_free(body);
        return MHD_NO;
    }
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    rc = MHD_queue_response(connection, status, r);
    MHD_destroy_response(r);
    return rc;
}

static bool has_verbose(struct MHD_Connection *connection)
{
    const char *value;

    return MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, "verbose",
                                         strlen("verbose"), &value, NULL) == MHD_YES;
}

static int route(struct http *h, struct MHD_Connection *connection, const char *path,
                 const char **ret_type, struct buf *body)
{
    const struct http_routes *r = &h->routes;

    *ret_type = "text/plain; charset=utf-8";
    if (strcmp(path, "/livez") == 0 || strcmp(path, "/healthz") == 0)
        return r->livez(h->arg, body);
    if (strcmp(path, "/readyz") == 0)
        return r->readyz(h->arg, has_verbose(connection), body);
    if (strcmp(path, "/metrics") == 0) {
        *ret_type = "text/plain; version=0.0.4; charset=utf-8";
        return r->metrics(h->arg, body);
    }
    if (strcmp(path, "/statusz") == 0) {
        *ret_type = "application/json";
        return r->statusz(h->arg, body);
    }
    buf_printf(body, "not found; there is /livez /readyz /healthz /metrics /statusz\n");
    return MHD_HTTP_NOT_FOUND;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    struct http *h = arg;
    const char *type = "text/plain; charset=utf-8";
    struct buf body = {0};
    int status;

    (void)version;
    (void)upload;
    if (*request == NULL) { /* only the headers are in */
        *request = h;
        return MHD_YES;
    }
    if (*upload_size >
        0) { /* a body is read off, so that the client sees the answer, and dropped */
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        buf_printf(&body, "method not allowed; GET and HEAD are\n");
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
    } else {
        status = route(h, connection, path, &type, &body);
    }
    return answer(connection, (unsigned)status, type, &body);
}

/* fd is the daemon's from here on. */
static int start_daemon(struct http *h, int fd, struct err *err)
{
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)DEADLINE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
    if (h->daemon != NULL)
        return 0;
    close(fd);
    return err_set(err, ERR_INTERNAL, "http: libmicrohttpd did not start");
}

static int start_handles(struct http *h, struct err *err)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int rc = info == NULL ? UV_EINVAL : uv_poll_init(h->loop, &h->poll, info->epoll_fd);

    if (rc != 0)
        return err_set(err, ERR_INTERNAL, "http: cannot watch the sockets: %s", uv_strerror(rc));
    h->handles = 2;
    (void)uv_timer_init(h->loop, &h->timer);
    h->poll.data = h;
    h->timer.data = h;
    rc = uv_poll_start(&h->poll, UV_READABLE, on_poll);
    if (rc != 0)
        return err_set(err, ERR_INTERNAL, "http: cannot watch the sockets: %s", uv_strerror(rc));
    return 0;
}

int http_open(struct http **ret, uv_loop_t *loop, const char *listen,
              const struct http_routes *routes, void *arg, struct err *err)
{
    struct http *h = calloc(1, sizeof *h);
    int fd = -1;
    int rc;

    if (h == NULL)
        return err_set(err, ERR_NOMEM, "http: out of memory");
    h->loop = loop;
    h->routes = *routes;
    h->arg = arg;
    for (size_t i = 0; i < CONNECTIONS; i++)
        h->slots[i].fd = -1;
    rc = address_listen(listen, &fd, &h->port, err);
    if (rc == 0)
        rc = start_daemon(h, fd, err);
    if (rc == 0)
        rc = start_handles(h, err);
    if (rc != 0)
        goto out;
    *ret = h;
    return 0;
out:
    http_close(h, NULL, NULL);
    return rc;
}

int http_port(const struct http *h)
{
    return h->port;
}

static void finish(struct http *h)
{
    void (*on_closed)(void *arg) = h->on_closed;
    void *arg = h->closed_arg;

    free(h);
    if (on_closed != NULL)
        on_closed(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http *h = handle->data;

    if (--h->handles == 0)
        finish(h);
}

void http_close(struct http *h, void (*on_closed)(void *arg), void *arg)
{
    if (h == NULL) {
        if (on_closed != NULL)
            on_closed(arg);
        return;
    }
    h->on_closed = on_closed;
    h->closed_arg = arg;
    if (h->handles > 0)
        uv_poll_stop(&h->poll); /* before its descriptor closes */
    if (h->daemon != NULL)
        MHD_stop_daemon(h->daemon);
    if (h->handles == 0) {
        finish(h);
        return;
    }
    uv_close((uv_handle_t *)&h->poll, on_handle_closed);
    uv_close((uv_handle_t *)&h->timer, on_handle_closed);
}
