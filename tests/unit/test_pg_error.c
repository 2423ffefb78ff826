/* libpq's texts of connections that came to nothing, as recorded, and what is told of them. */
#include "postgres/pg_error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define AT "connection to server at \"db\" (10.0.0.1), port 5432 failed: "

static void test_texts(void **state)
{
    static const struct {
        const char *said, *certificate;
        enum err_class class;
        const char *told;
    } cases[] = {
        {AT "Connection refused\n\tIs the server running on that host and accepting TCP/IP?\n", "",
         ERR_UNAVAILABLE,
         AT "Connection refused;  Is the server running on that host and accepting TCP/IP?"},
        {AT "SSL error: certificate verify failed\n", "the certificate expired; renew it",
         ERR_UNAVAILABLE, AT "the certificate expired; renew it"},
        {AT "SSL error: certificate verify failed\n", "", ERR_UNAVAILABLE,
         AT "SSL error: certificate verify failed; check sslrootcert of postgres.uri (or "
            "PGSSLROOTCERT), and that the server's certificate is still valid"},
        {AT "SSL error: tlsv1 alert unknown ca\n", "", ERR_LOGIN,
         AT "SSL error: tlsv1 alert unknown ca: the server refuses the client certificate; name "
            "one that it trusts in sslcert and sslkey"},
        {AT
         "root certificate file \"/x\" does not exist\nEither provide the file or change sslmode "
         "to disable server certificate verification.\n",
         "", ERR_CONFIG,
         AT "root certificate file \"/x\" does not exist; name a file with the certificate of the "
            "server's CA, in PEM, in sslrootcert of postgres.uri (or PGSSLROOTCERT)"},
        {AT "FATAL:  28P01: password authentication failed for user \"u\"\nLOCATION:  auth_failed, "
            "auth.c:338\n",
         "", ERR_LOGIN,
         AT "FATAL:  password authentication failed for user \"u\" (SQLSTATE 28P01); check that "
            "the role may log in, its password and pg_hba.conf; a passfile is read at each login"},
        {AT "FATAL:  3D000: database \"d\" does not exist\n", "", ERR_UNAVAILABLE,
         AT "FATAL:  database \"d\" does not exist (SQLSTATE 3D000)"},
        {"", "", ERR_UNAVAILABLE, "the connection was closed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err;

        assert_int_equal(pg_error_of_text(&err, cases[i].said, cases[i].certificate, NULL),
                         -(int)cases[i].class);
        assert_string_equal(err.message, cases[i].told);
    }
}

/* A text of any length is cut, and never written past. */
static void test_long_texts(void **state)
{
    char said[3000];
    char why[3000];
    struct err err;

    (void)state;
    for (size_t n = 0; n + 1 < sizeof said; n += 7) {
        (void)memset(said, 'x', n);
        (void)memcpy(said + n / 2, "\nSSL error: certificate verify failed\n", n / 2 > 40 ? 38 : 0);
        said[n] = '\0';
        (void)memset(why, 'y', n);
        why[n] = '\0';
        assert_int_equal(pg_error_of_text(&err, said, why, "/nowhere"), -(int)ERR_UNAVAILABLE);
        assert_true(strlen(err.message) < sizeof err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_long_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
