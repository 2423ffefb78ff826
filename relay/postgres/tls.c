#include "postgres/tls.h"

#include "tls/certificate.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

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
                            .trust = TLS_ROOT_SETTING,
                            .address = "postgres.uri",
                        });
    OPENSSL_free(der);
    return ok;
}

static void cork(int fd, int on)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

PostgresPollingStatusType tls_connect_poll(PGconn *conn, struct tls_why *why)
{
    /* One call makes OpenSSL's object, sends the first message and looks for the answer. Held back
     * in the kernel, that message has none before the object is watched. */
    bool begins = PQstatus(conn) == CONNECTION_SSL_STARTUP && PQsslStruct(conn, "OpenSSL") == NULL;
    int fd = PQsocket(conn);
    PostgresPollingStatusType status;
    SSL *ssl;

    if (begins)
        cork(fd, 1);
    status = PQconnectPoll(conn);
    ssl = PQsslStruct(conn, "OpenSSL");
    why->conn = conn;
    if (ssl != NULL) /* its context is of this connection alone */
        SSL_CTX_set_cert_verify_callback(SSL_get_SSL_CTX(ssl), verify, why);
    if (begins && PQsocket(conn) == fd)
        cork(fd, 0);
    return status;
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
        switch (tls_connect_poll(conn, why)) {
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
