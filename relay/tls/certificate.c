#include "tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Names of a certificate that are shown; some have a hundred. */
#define NAMES_SHOWN 4
#define NAME_MAX_LEN 64

static void clean(char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

static void common_name(char ret[NAME_MAX_LEN + 1], const X509_NAME *name)
{
    if (X509_NAME_get_text_by_NID(name, NID_commonName, ret, NAME_MAX_LEN + 1) <= 0 &&
        X509_NAME_oneline(name, ret, NAME_MAX_LEN + 1) == NULL)
        ret[0] = '\0';
    clean(ret);
}

static void time_text(char ret[32], const ASN1_TIME *time)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(time, &tm) != 1 || strftime(ret, 32, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        (void)snprintf(ret, 32, "an unknown time");
}

static bool alternative(char ret[NAME_MAX_LEN + 1], const GENERAL_NAME *name)
{
    const ASN1_STRING *text = name->d.dNSName;
    const unsigned char *data;
    int len;

    if (name->type != GEN_DNS && name->type != GEN_IPADD)
        return false;
    data = ASN1_STRING_get0_data(text);
    len = ASN1_STRING_length(text);
    ret[0] = '\0';
    if (name->type == GEN_DNS)
        (void)snprintf(ret, NAME_MAX_LEN + 1, "%.*s", len, (const char *)data);
    else if (len == 4 || len == 16)
        (void)inet_ntop(len == 4 ? AF_INET : AF_INET6, data, ret, NAME_MAX_LEN + 1);
    clean(ret);
    return true;
}

/* Whom it is for: "db.example, 10.0.0.1 and 3 more". */
static void names_text(char *ret, size_t size, const X509 *cert)
{
    GENERAL_NAMES *list = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int n = list == NULL ? 0 : sk_GENERAL_NAME_num(list);
    char one[NAME_MAX_LEN + 1];
    size_t len = 0;
    int found = 0;

    ret[0] = '\0';
    for (int i = 0; i < n; i++) {
        if (!alternative(one, sk_GENERAL_NAME_value(list, i)) || ++found > NAMES_SHOWN)
            continue;
        (void)snprintf(ret + len, size - len, "%s%s", found > 1 ? ", " : "", one);
        len += strlen(ret + len);
    }
    GENERAL_NAMES_free(list);
    if (found > NAMES_SHOWN)
        (void)snprintf(ret + len, size - len, " and %d more", found - NAMES_SHOWN);
    if (found == 0) {
        common_name(one, X509_get_subject_name(cert));
        (void)snprintf(ret, size, "%s", one);
    }
}

static void explain(char *ret, size_t size, const X509 *cert, const struct certificate_fault *f)
{
    char names[NAMES_SHOWN * (NAME_MAX_LEN + 2) + 32];
    char subject[NAME_MAX_LEN + 1];
    char issuer[NAME_MAX_LEN + 1];
    char when[32];

    common_name(subject, X509_get_subject_name(cert));
    switch (f->error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        time_text(when, X509_get0_notAfter(cert));
        (void)snprintf(ret, size,
                       "the certificate of \"%s\" expired on %s; renew it there, or correct this "
                       "machine's clock",
                       subject, when);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        time_text(when, X509_get0_notBefore(cert));
        (void)snprintf(ret, size,
                       "the certificate of \"%s\" is not valid before %s; replace it there, or "
                       "correct this machine's clock",
                       subject, when);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        names_text(names, sizeof names, cert);
        (void)snprintf(ret, size,
                       "the certificate is for %s, not for %s; name the server in %s as its "
                       "certificate does, or have that name added to the certificate",
                       names, f->host, f->address);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        common_name(issuer, X509_get_issuer_name(cert));
        (void)snprintf(
            ret, size,
            "the certificate is from \"%s\", which is not trusted; set %s to a file with "
            "the certificate of that CA",
            issuer, f->trust);
        break;
    default:
        (void)snprintf(ret, size, "the certificate of \"%s\" is refused: %s", subject,
                       X509_verify_cert_error_string(f->error));
        break;
    }
}

void certificate_explain(char *ret, size_t size, const struct certificate_fault *fault)
{
    const unsigned char *der = fault->der;
    X509 *cert;

    (void)ERR_set_mark(); /* whoever verifies looks into this thread's queue of errors */
    cert = d2i_X509(NULL, &der, (long)fault->len);
    if (cert != NULL)
        explain(ret, size, cert, fault);
    else
        (void)snprintf(ret, size, "the certificate is refused: %s",
                       X509_verify_cert_error_string(fault->error));
    X509_free(cert);
    (void)ERR_pop_to_mark();
}

void certificate_describe_file(char *ret, size_t size, const char *path)
{
    FILE *file = fopen(path, "re");
    X509 *cert;
    char subject[NAME_MAX_LEN + 1];
    char issuer[NAME_MAX_LEN + 1];
    char when[32];

    ret[0] = '\0';
    (void)ERR_set_mark();
    cert = file == NULL ? NULL : PEM_read_X509(file, NULL, NULL, NULL);
    if (cert != NULL) {
        bool expired = X509_cmp_current_time(X509_get0_notAfter(cert)) < 0;

        common_name(subject, X509_get_subject_name(cert));
        common_name(issuer, X509_get_issuer_name(cert));
        time_text(when, X509_get0_notAfter(cert));
        (void)snprintf(ret, size, "%s: of \"%s\", issued by \"%s\", %s %s", path, subject, issuer,
                       expired ? "expired on" : "valid until", when);
    }
    X509_free(cert);
    (void)ERR_pop_to_mark();
    if (file != NULL)
        (void)fclose(file);
}
