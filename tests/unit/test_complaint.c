/* What librdkafka says of brokers, as it was recorded, and what becomes of it. */
#include "kafka/complaint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define VERIFY_ERROR                                                                               \
    "ssl://[::1]:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate "  \
    "verify failed: broker certificate could not be verified, verify that ssl.ca.location is "     \
    "correctly configured or root CA certificates are installed (install ca-certificates "         \
    "package) (after 7ms in state SSL_HANDSHAKE)"
#define VERIFY_LOG                                                                                 \
    "[thrd:ssl://[::1]:9093/bootstrap]: ssl://[::1]:9093/bootstrap: Certificate "                  \
    "(subject=/CN=server, issuer=/CN=Test CA) verification callback failed: it is too old"

static int set_up(void **state)
{
    *state = rd_kafka_conf_new();
    return 0;
}

static int tear_down(void **state)
{
    rd_kafka_conf_destroy(*state);
    return 0;
}

static void test_texts(void **state)
{
    static const struct {
        rd_kafka_resp_err_t code;
        const char *text;
        enum err_class class;
        const char *begins, *has;
    } cases[] = {
        {RD_KAFKA_RESP_ERR__AUTHENTICATION,
         "sasl_ssl://k:9/1: SASL authentication error: Authentication failed during authentication "
         "due to invalid credentials with SASL mechanism PLAIN (after 48ms in state AUTH_REQ)",
         ERR_LOGIN, "k:9: SASL authentication error: ", "; check kafka.sasl.username"},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION,
         "sasl_ssl://k:9/1: SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported "
         "SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512 (after 7ms in state "
         "AUTH_HANDSHAKE, 1 identical error(s) suppressed)",
         ERR_CONFIG, "k:9: SASL SCRAM-SHA-256", ": SCRAM-SHA-512; set kafka.sasl.mechanism"},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION,
         "sasl_plaintext://k:9/1: SASL PLAIN mechanism handshake failed: Broker: Request not valid "
         "in current SASL state: broker's supported mechanisms:  (after 3ms in state "
         "AUTH_HANDSHAKE)",
         ERR_CONFIG, "k:9: this listener takes no SASL login; ", "kafka.security.protocol"},
        {RD_KAFKA_RESP_ERR__TRANSPORT,
         "ssl://k:9/1: Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: "
         "SSL alert number 42 (after 0ms in state APIVERSION_QUERY)",
         ERR_LOGIN, "k:9: the broker asks for a client certificate, and none is set; ",
         "kafka.ssl.certificate.location"},
        {RD_KAFKA_RESP_ERR__SSL,
         "ssl://k:9/1: SSL handshake failed: error:0A000126:SSL routines::unexpected eof while "
         "reading (after 3ms in state SSL_HANDSHAKE)",
         ERR_UNAVAILABLE, "k:9: the connection ends before TLS", "kafka.security.protocol"},
        {RD_KAFKA_RESP_ERR__TRANSPORT,
         "ssl://k:9/1: Receive failed: error:0A000126:SSL routines::unexpected eof while reading "
         "(after 9ms in state UP)",
         ERR_UNAVAILABLE, "k:9: Receive failed: ", "; check kafka.bootstrap.servers"},
        {RD_KAFKA_RESP_ERR__TRANSPORT,
         "k:9/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect "
         "security.protocol configuration (connecting to a SSL listener?) or broker version is < "
         "0.10 (see api.version.request) (after 1ms in state APIVERSION_QUERY)",
         ERR_UNAVAILABLE, "k:9: the connection ends before the first answer", "(ssl, sasl_ssl)"},
        {RD_KAFKA_RESP_ERR__TRANSPORT,
         "k:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused (after 0ms in "
         "state CONNECT)",
         ERR_UNAVAILABLE, "k:9: Connect to ipv4#127.0.0.1:9 failed: Connection refused; check",
         "kafka.bootstrap.servers"},
        {RD_KAFKA_RESP_ERR__RESOLVE, "what is no broker's: of no known form", ERR_UNAVAILABLE,
         "what is no broker's: of no known form; ", "kafka.bootstrap.servers"},
        {RD_KAFKA_RESP_ERR__FAIL, "", ERR_UNAVAILABLE, "", ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct complaint c = {.class = ERR_NONE};

        complaint_error(&c, cases[i].code, cases[i].text, *state);
        assert_int_equal(c.class, cases[i].class);
        assert_memory_equal(c.text, cases[i].begins, strlen(cases[i].begins));
        assert_non_null(strstr(c.text, cases[i].has));
        assert_null(strstr(c.text, "(after "));
        assert_int_equal(complaint_is_final(&c), c.class != ERR_UNAVAILABLE);
    }
}

/* Why a certificate is refused comes by the log, before the error that says no more than that. */
static void test_a_certificate(void **state)
{
    struct complaint c = {.class = ERR_NONE};

    complaint_error(&c, RD_KAFKA_RESP_ERR__SSL, VERIFY_ERROR, *state);
    assert_string_equal(c.text, "[::1]:9093: the broker's certificate is refused; check "
                                "kafka.ssl.ca.location, and that the certificate is valid for this "
                                "host");
    assert_false(complaint_is_final(&c));
    complaint_log(&c, "SSLCERTVRFY", VERIFY_LOG);
    complaint_error(&c, RD_KAFKA_RESP_ERR__SSL, VERIFY_ERROR, *state);
    assert_string_equal(c.text, "[::1]:9093: it is too old");
    assert_int_equal(c.class, ERR_UNAVAILABLE);
    assert_true(complaint_is_final(&c));
    complaint_error(&c, RD_KAFKA_RESP_ERR__TRANSPORT,
                    "ssl://k:9/1: error:0A000086:SSL routines::certificate verify failed", *state);
    assert_memory_equal(c.text, "k:9: the broker's", 17); /* another broker's is not known */
    complaint_log(&c, "FAIL", VERIFY_LOG);
    assert_string_equal(c.certificate, "");
}

/* Each text cut short, and with a scheme, a slash or a colon where none is expected. */
static void test_any_text(void **state)
{
    char text[sizeof VERIFY_LOG];
    struct complaint c = {.class = ERR_NONE};

    for (size_t n = 0; n < sizeof VERIFY_LOG; n++) {
        (void)memcpy(text, VERIFY_LOG, n);
        text[n] = '\0';
        complaint_error(&c, RD_KAFKA_RESP_ERR__SSL, text, *state);
        assert_int_not_equal(c.class, ERR_NONE);
        complaint_log(&c, "SSLCERTVRFY", text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_any_text, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
