/*
 * What libpq does not say of TLS: why a server's certificate was refused. libpq 15 reports no more
 * than that it was; OpenSSL, whose object PQsslStruct hands out, knows.
 */
#ifndef OUTBOX_POSTGRES_TLS_H
#define OUTBOX_POSTGRES_TLS_H

#include <libpq-fe.h>

/* What names the authorities that vouch for a server, as an operator sets it. */
#define TLS_ROOT_SETTING "sslrootcert of postgres.uri (or PGSSLROOTCERT)"

struct tls_why {
    char text[640]; /* why the certificate was refused and what to do, "" where it was not */
    const PGconn *conn;
};

/* PQconnectPoll, which has a refusal of a certificate that it may come to written to why, which has
 * to live as long as conn. The verification itself is left as it is. */
PostgresPollingStatusType tls_connect_poll(PGconn *conn, struct tls_why *why);

/* Blocking: connects once more with these parameters, and for no more than finding that out. */
void tls_find_out(const char *const *keys, const char *const *values, struct tls_why *why);

/* Makes a key that is encrypted, without sslpassword, an error. libpq would ask the terminal for
 * it, with the loop waiting. */
void tls_never_ask(void);

#endif
