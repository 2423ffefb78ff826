/* HTTP/1.0, so that the answer ends where the connection does. */
#include "cli/status_get.h"

#include "base/clock.h"
#include "ops/address.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)1 << 20)

/* Waits for events on fd until the deadline (clock_boot_ms); 0, or an errno. */
static int wait_for(int fd, short events, int64_t deadline)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = deadline - clock_boot_ms();
        int n = left <= 0 ? 0 : poll(&p, 1, (int)left);

        if (n > 0)
            return 0;
        if (n == 0)
            return ETIMEDOUT;
        if (errno != EINTR)
            return errno;
    }
}

/* 0 and *ret_fd, or an errno. */
static int connect_one(const struct addrinfo *ai, int64_t deadline, int *ret_fd)
{
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
    int failed = 0;
    socklen_t len = sizeof failed;

    if (fd < 0)
        return errno;
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        failed = errno;
        if (failed == EINPROGRESS)
            failed = wait_for(fd, POLLOUT, deadline);
        if (failed == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0)
            failed = errno;
    }
    if (failed != 0)
        close(fd);
    else
        *ret_fd = fd;
    return failed;
}

static int unavailable(const char *listen, const char *why, struct err *err)
{
    return err_set(err, ERR_UNAVAILABLE,
                   "status: no outbox-relay answers at http.listen %s: %s; is it running, with "
                   "these settings?",
                   listen, why);
}

static int connect_to(const char *listen, int64_t deadline, int *ret_fd, struct err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    struct address a;
    int failed = ENOENT;
    int rc;

    if (!address_parse(listen, &a))
        return err_set(err, ERR_CONFIG, "status: http.listen is not an address");
    /* What listens on all addresses listens on this machine's own: no host means just that. */
    if (strcmp(a.host, "0.0.0.0") == 0 || strcmp(a.host, "::") == 0)
        a.host[0] = '\0';
    rc = getaddrinfo(a.host[0] == '\0' ? NULL : a.host, a.port, &hints, &list);
    if (rc != 0)
        return unavailable(listen, gai_strerror(rc), err);
    for (const struct addrinfo *ai = list; ai != NULL && failed != 0; ai = ai->ai_next)
        failed = connect_one(ai, deadline, ret_fd);
    freeaddrinfo(list);
    return failed == 0 ? 0 : unavailable(listen, strerror(failed), err);
}

/* 0, or an errno. */
static int send_all(int fd, const char *text, size_t len, int64_t deadline)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n >= 0) {
            text += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            int failed = wait_for(fd, POLLOUT, deadline);

            if (failed != 0)
                return failed;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

/* Until the other side closes; 0, or an errno. */
static int receive_all(int fd, struct buf *b, int64_t deadline)
{
    char chunk[4096];

    for (;;) {
        int failed = wait_for(fd, POLLIN, deadline);
        ssize_t n;

        if (failed != 0)
            return failed;
        n = recv(fd, chunk, sizeof chunk, 0);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return errno;
        if (n > 0)
            buf_append(b, chunk, (size_t)n);
        if (b->failed)
            return ENOMEM;
        if (b->len > ANSWER_MAX)
            return EMSGSIZE;
    }
}

/* Takes status line and headers off. */
static int take_body(const char *listen, struct buf *raw, struct buf *body, struct err *err)
{
    const char *text = buf_cstr(raw);
    const char *end = text == NULL ? NULL : memmem(text, raw->len, "\r\n\r\n", 4);
    size_t start;
    long status;

    if (text == NULL)
        return err_set(err, ERR_NOMEM, "status: out of memory");
    if (end == NULL || (strncmp(text, "HTTP/1.1 ", 9) != 0 && strncmp(text, "HTTP/1.0 ", 9) != 0))
        return unavailable(listen, "the answer is not HTTP", err);
    status = strtol(text + 9, NULL, 10);
    if (status != 200)
        return err_set(err, ERR_UNAVAILABLE,
                       "status: what listens at http.listen %s answers HTTP status %ld: is it an "
                       "outbox-relay?",
                       listen, status);
    start = (size_t)(end - text) + 4;
    buf_append(body, text + start, raw->len - start);
    return body->failed ? err_set(err, ERR_NOMEM, "status: out of memory") : 0;
}

int status_get(const char *listen, const char *path, int timeout_ms, struct buf *body,
               struct err *err)
{
    const int64_t deadline = clock_boot_ms() + timeout_ms;
    struct buf request = {0};
    struct buf raw = {0};
    int fd = -1;
    int failed;
    int rc = connect_to(listen, deadline, &fd, err);

    if (rc != 0)
        return rc;
    buf_printf(&request, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
    failed =
        request.failed ? ENOMEM : send_all(fd, (const char *)request.data, request.len, deadline);
    if (failed == 0)
        failed = receive_all(fd, &raw, deadline);
    if (failed == 0)
        rc = take_body(listen, &raw, body, err);
    else if (failed == ENOMEM)
        rc = err_set(err, ERR_NOMEM, "status: out of memory");
    else
        rc = unavailable(listen, strerror(failed), err);
    close(fd);
    buf_free(&request);
    buf_free(&raw);
    return rc;
}
