/* host:port, read strictly, and bound. */
#include "ops/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 512

static bool copy_part(char *to, size_t size, const char *from, size_t len)
{
    if (len >= size)
        return false;
    memcpy(to, from, len);
    to[len] = '\0';
    return true;
}

static bool port_ok(const char *port)
{
    size_t len = strlen(port);

    return len >= 1 && len <= 5 && strspn(port, "0123456789") == len &&
           strtol(port, NULL, 10) <= 65535;
}

bool address_parse(const char *text, struct address *ret)
{
    const char *colon = strrchr(text, ':');
    struct in6_addr any;

    if (colon == NULL || !port_ok(colon + 1) ||
        !copy_part(ret->port, sizeof ret->port, colon + 1, strlen(colon + 1)))
        return false;
    if (text[0] == '[')
        return colon > text + 1 && colon[-1] == ']' &&
               copy_part(ret->host, sizeof ret->host, text + 1, (size_t)(colon - text) - 2) &&
               inet_pton(AF_INET6, ret->host, &any) == 1;
    if (!copy_part(ret->host, sizeof ret->host, text, (size_t)(colon - text)))
        return false;
    return strspn(ret->host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789.-_") == strlen(ret->host);
}

/* A bound and listening socket, or -1 with errno. */
static int bind_one(const struct addrinfo *ai)
{
    const int on = 1;
    const int off = 0;
    int saved;
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Tries what the name stands for in order, IPv6 first where it is all addresses: that socket takes
 * IPv4 too, and hosts without IPv6 fall to 0.0.0.0. */
static int bind_first(const struct addrinfo *list, bool any)
{
    int fd = -1;

    for (int want_v6 = any ? 1 : 0; want_v6 >= 0 && fd < 0; want_v6--)
        for (const struct addrinfo *ai = list; ai != NULL && fd < 0; ai = ai->ai_next)
            if (!any || (ai->ai_family == AF_INET6) == (want_v6 == 1))
                fd = bind_one(ai);
    return fd;
}

static int bound_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name;
    socklen_t len = sizeof name;

    memset(&name, 0, sizeof name);
    if (getsockname(fd, &name.any, &len) != 0)
        return 0;
    return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

int address_listen(const char *text, int *ret_fd, int *ret_port, struct err *err)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    struct address a;
    int fd;
    int rc;

    if (!address_parse(text, &a))
        return err_set(err, ERR_CONFIG,
                       "http.listen: not an address: host:port, [::1]:port, :port");
    rc = getaddrinfo(a.host[0] == '\0' ? NULL : a.host, a.port, &hints, &list);
    if (rc != 0)
        return err_set(err, ERR_UNAVAILABLE, "http.listen %s: cannot find the address: %s", text,
                       rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    fd = bind_first(list, a.host[0] == '\0');
    if (fd < 0)
        rc = err_set(err, ERR_UNAVAILABLE,
                     "http.listen %s: cannot listen: %s; choose another port, or switch HTTP off "
                     "with an empty http.listen",
                     text, strerror(errno));
    else
        *ret_fd = fd;
    if (fd >= 0 && ret_port != NULL)
        *ret_port = bound_port(fd);
    freeaddrinfo(list);
    return rc;
}
