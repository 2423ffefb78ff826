/*
 * X.509 certificates in words for an operator: why a server's was refused, what one of ours is.
 * Their names are another's words: only what is printable of them is shown.
 */
#ifndef OUTBOX_TLS_CERTIFICATE_H
#define OUTBOX_TLS_CERTIFICATE_H

#include <stddef.h>

struct certificate_fault {
    int error;                /* OpenSSL's X509_V_ERR_ of its verification */
    const unsigned char *der; /* the certificate at fault, borrowed */
    size_t len;
    const char *host;    /* name or address that was connected to */
    const char *trust;   /* the setting that names the trusted CA */
    const char *address; /* the setting that names the host */
};

/* Writes what is wrong and what to do, "the certificate of "db" expired on ...; renew it ...", cut
 * to fit. A certificate that does not parse is told of by OpenSSL's words for the error alone. */
void certificate_explain(char *ret, size_t size, const struct certificate_fault *fault);

/* Writes whose the first certificate of a PEM file is, by whom, and until when, or since when not:
 * why another may refuse it. "" where the file cannot be read or has none. */
void certificate_describe_file(char *ret, size_t size, const char *path);

#endif
