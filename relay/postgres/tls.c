#include "postgres/tls.h"

#include "tls/certificate.h"

#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>

#define FIND_OUT_MS 5000

static int verify(X509_STORE_CTX *store, void *arg)
{
    struct tls_why *why = arg;
    int ok = X509_verify_cert(store);
    const X509 *cert = X509_STORE_CTX_get_current_cert(store);
    unsigned char *der = NULL;
    int len;

    if (ok > 0)
        return ok;
    len = cert == NULL ? 0 : i2d_X509(cert, &der);
    certificate_explain(why->text, sizeof why->text,
                        &(struct certificate_fault){
                            .error = X509_STORE_CTX_get_error(store),
                            .der = der,
                            .len = len > 0 ? (size_t)len : 0,
                            .host = PQhost(why->conn),
                            .trust = "sslrootcert of postgres.uri (or PGSSLROOTCERT)",
                            .address = "postgres.uri",
                        });
    OPENSSL_free(der);
    return ok;
}

void tls_watch(PGconn *conn, struct tls_why *why)
{
    SSL *ssl = PQsslStruct(conn, "OpenSSL");

    why->conn = conn;
    if (ssl != NULL) /* its context is of this connection alone */
        SSL_CTX_set_cert_verify_callback(SSL_get_SSL_CTX(ssl), verify, why);
}

bool tls_is_unknown(const PGconn *failed, const struct tls_why *why)
{
    return why->text[0] == '\0' && strstr(PQerrorMessage(failed), "certificate verify failed");
}

/* False where the server takes too long. */
static bool wait_for(const PGconn *conn, short events)
{
    struct pollfd p = {.fd = PQsocket(conn), .events = events};

    return poll(&p, 1, FIND_OUT_MS) > 0;
}

void tls_find_out(const char *const *keys, const char *const *values, struct tls_why *why)
{
    PGconn *conn = PQconnectStartParams(keys, values, 1);
    bool goes_on = conn != NULL && wait_for(conn, POLLOUT);

    while (goes_on && why->text[0] == '\0') {
        tls_watch(conn, why);
        switch (PQconnectPoll(conn)) {
        case PGRES_POLLING_READING:
            goes_on = wait_for(conn, POLLIN);
            break;
        case PGRES_POLLING_WRITING:
            goes_on = wait_for(conn, POLLOUT);
            break;
        default:
            goes_on = false;
            break;
        }
    }
    PQfinish(conn);
}

void tls_never_ask(void)
{
    PQsetSSLKeyPassHook_OpenSSL(PQdefaultSSLKeyPassHook_OpenSSL);
}
