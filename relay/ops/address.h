/* The form of http.listen, and the socket that listens on it. */
#ifndef OUTBOX_OPS_ADDRESS_H
#define OUTBOX_OPS_ADDRESS_H

#include "base/err.h"

#include <stdbool.h>

struct address {
    char host[256]; /* a name or an address without brackets; "": all addresses */
    char port[6];
};

/* Takes "host:port", "[::1]:port" and ":port"; false for anything else, *ret is then undefined. */
bool address_parse(const char *text, struct address *ret);

/* A listening TCP socket, close-on-exec and non-blocking; port 0 takes a free one. ":port" takes
 * IPv6 and IPv4. Errors: ERR_CONFIG where text does not parse, ERR_UNAVAILABLE where it cannot be
 * resolved or bound. The caller owns *ret_fd. */
int address_listen(const char *text, int *ret_fd, int *ret_port, struct err *err);

#endif
