/*
 * What libpq does not say of TLS: why a server's certificate was refused. libpq 15 reports no more
 * than that it was; OpenSSL, whose object PQsslStruct hands out, knows.
 */
#ifndef OUTBOX_POSTGRES_TLS_H
#define OUTBOX_POSTGRES_TLS_H

#include <libpq-fe.h>
#include <stdbool.h>

struct tls_why {
    char text[640]; /* why the certificate was refused and what to do, "" where it was not */
    const PGconn *conn;
};

/* Before each PQconnectPoll: has a refusal that it may come to written to why, which has to live
 * as long as conn. The verification itself is left as it is. */
void tls_watch(PGconn *conn, struct tls_why *why);

/* Whether a certificate was refused and why does not know: its verification was not seen. */
bool tls_is_unknown(const PGconn *failed, const struct tls_why *why);

/* Blocking: connects once more with these parameters, and for no more than finding that out. */
void tls_find_out(const char *const *keys, const char *const *values, struct tls_why *why);

/* Makes a key that is encrypted, without sslpassword, an error. libpq would ask the terminal for
 * it, with the loop waiting. */
void tls_never_ask(void);

#endif
