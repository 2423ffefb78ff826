#include "postgres/resolve.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct resolve {
    uv_getaddrinfo_t request;
    uv_loop_t *loop;
    resolve_fn done; /* NULL once abandoned */
    void (*ended)(void *arg);
    void *arg;
    char *hosts; /* comma-separated, as configured */
    char *ports;
    size_t index; /* of the host that is looked up */
    struct buf host_list, addr_list, port_list;
    bool found;
    struct err why;
};

/* The index'th entry of a comma-separated list; a list of one serves all (libpq's rule for ports).
 */
static struct slice entry(const char *list, size_t index)
{
    const char *p = list;
    bool single = strchr(list, ',') == NULL;

    for (size_t i = 0; i < index && !single; i++) {
        p = strchr(p, ',');
        if (p == NULL)
            return (struct slice){NULL, 0};
        p++;
    }
    return (struct slice){(const unsigned char *)p, strcspn(p, ",")};
}

static size_t entries(const char *list)
{
    size_t n = 1;

    for (const char *p = list; *p != '\0'; p++)
        n += *p == ',';
    return n;
}

static void append(struct resolve *r, struct slice host, const char *addr)
{
    struct slice port = entry(r->ports, r->index);
    const char *comma = r->found ? "," : "";

    r->found = true;
    buf_printf(&r->host_list, "%s%.*s", comma, (int)host.len, (const char *)host.data);
    buf_printf(&r->addr_list, "%s%s", comma, addr);
    buf_printf(&r->port_list, "%s%.*s", comma, (int)port.len, (const char *)port.data);
}

static void end(struct resolve *r)
{
    struct resolved result = {0};

    if (r->done != NULL) {
        if (r->hosts[0] != '\0' && r->found) {
            result.host = buf_cstr(&r->host_list);
            result.hostaddr = buf_cstr(&r->addr_list);
            result.port = buf_cstr(&r->port_list);
        }
        if (r->hosts[0] != '\0' && !r->found)
            r->done(r->arg, NULL, &r->why);
        else
            r->done(r->arg, &result, NULL);
    }
    r->ended(r->arg);
    buf_free(&r->host_list);
    buf_free(&r->addr_list);
    buf_free(&r->port_list);
    free(r->hosts);
    free(r->ports);
    free(r);
}

static bool needs_no_lookup(const char *host)
{
    unsigned char addr[sizeof(struct in6_addr)];

    return host[0] == '\0' || host[0] == '/' || host[0] == '@' ||
           inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *list);

/* Goes on with the next host that has to be looked up; ends when there is none. */
static void next(struct resolve *r)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

    for (; r->hosts[0] != '\0' && r->index < entries(r->hosts); r->index++) {
        struct slice host = entry(r->hosts, r->index);
        char name[256];

        if (host.data == NULL || host.len >= sizeof name)
            continue;
        memcpy(name, host.data, host.len);
        name[host.len] = '\0';
        if (needs_no_lookup(name)) {
            append(r, host, "");
            continue;
        }
        if (uv_getaddrinfo(r->loop, &r->request, looked_up, name, NULL, &hints) == 0)
            return;
    }
    end(r);
}

static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct resolve *r = request->data;
    struct slice host = entry(r->hosts, r->index);
    char text[INET6_ADDRSTRLEN];

    for (const struct addrinfo *a = list; status == 0 && a != NULL; a = a->ai_next)
        if ((a->ai_family == AF_INET || a->ai_family == AF_INET6) &&
            getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
            append(r, host, text);
    if (status != 0)
        (void)err_set(&r->why, ERR_UNAVAILABLE, "the host name \"%.*s\" has no address: %s",
                      (int)host.len, (const char *)host.data, uv_strerror(status));
    uv_freeaddrinfo(list);
    r->index++;
    if (r->done == NULL)
        end(r);
    else
        next(r);
}

/* What the uri says, else the environment; a service file or given addresses need nothing of us. */
static int read_hosts(struct resolve *r, const char *uri)
{
    PQconninfoOption *options = uri[0] == '\0' ? NULL : PQconninfoParse(uri, NULL);
    const char *host = getenv("PGHOST");         /* NOLINT(concurrency-mt-unsafe) */
    const char *port = getenv("PGPORT");         /* NOLINT(concurrency-mt-unsafe) */
    bool given = getenv("PGHOSTADDR") != NULL || /* NOLINT(concurrency-mt-unsafe) */
                 getenv("PGSERVICE") != NULL;    /* NOLINT(concurrency-mt-unsafe) */

    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        if (o->val == NULL)
            continue;
        if (strcmp(o->keyword, "host") == 0)
            host = o->val;
        else if (strcmp(o->keyword, "port") == 0)
            port = o->val;
        else if (strcmp(o->keyword, "hostaddr") == 0 || strcmp(o->keyword, "service") == 0)
            given = true;
    }
    r->hosts = strdup(given || host == NULL ? "" : host);
    r->ports = strdup(port == NULL ? "" : port);
    PQconninfoFree(options);
    return r->hosts == NULL || r->ports == NULL ? -1 : 0;
}

int resolve_start(struct resolve **ret, uv_loop_t *loop, const char *uri, resolve_fn done,
                  void (*ended)(void *arg), void *arg, struct err *err)
{
    struct resolve *r = calloc(1, sizeof *r);

    if (r == NULL || read_hosts(r, uri) != 0) {
        if (r != NULL) {
            free(r->hosts);
            free(r->ports);
        }
        free(r);
        return err_set(err, ERR_NOMEM, "out of memory for a connection");
    }
    r->loop = loop;
    r->done = done;
    r->ended = ended;
    r->arg = arg;
    r->request.data = r;
    (void)err_set(&r->why, ERR_UNAVAILABLE, "no host of the connection string has an address");
    *ret = r;
    next(r);
    return 0;
}

void resolve_abandon(struct resolve *r)
{
    r->done = NULL;
    (void)uv_cancel((uv_req_t *)&r->request);
}
