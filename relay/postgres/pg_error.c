#include "postgres/pg_error.h"

#include "postgres/tls.h"
#include "tls/certificate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LOGIN_REMEDY                                                                               \
    "check that the role may log in, its password and pg_hba.conf; a passfile is read at each "    \
    "login"
#define READ_ONLY_REMEDY                                                                           \
    "rows cannot be acknowledged on a standby, or with default_transaction_read_only: name the "   \
    "primary, or all hosts, in postgres.uri"

static const struct meaning {
    const char *sqlstate; /* a prefix */
    enum err_class class;
    const char *remedy; /* NULL where the text says it, or an inspection will */
} meanings[] = {
    {"42501", ERR_PERMISSION, NULL}, /* insufficient_privilege */
    {"42P01", ERR_CONFIG, NULL},     /* undefined_table */
    {"42703", ERR_CONFIG, NULL},     /* undefined_column */
    {"42883", ERR_CONFIG, NULL},     /* undefined_function */
    {"3F000", ERR_CONFIG, NULL},     /* invalid_schema_name */
    {"28", ERR_PERMISSION, LOGIN_REMEDY},
    {PG_READ_ONLY, ERR_UNAVAILABLE, READ_ONLY_REMEDY},
    {"53100", ERR_UNAVAILABLE, "free space on the server's disk"},
    {"53200", ERR_UNAVAILABLE, "the server is out of memory"},
    {"53300", ERR_UNAVAILABLE,
     "raise max_connections, or the CONNECTION LIMIT of the role or the database"},
    {PG_LOCK_NOT_AVAILABLE, ERR_UNAVAILABLE, "another session holds a lock: see pg_locks"},
};

static const struct meaning *find(const char *sqlstate)
{
    static const struct meaning other = {"", ERR_UNAVAILABLE, NULL};

    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (strncmp(sqlstate, meanings[i].sqlstate, strlen(meanings[i].sqlstate)) == 0)
            return &meanings[i];
    return &other;
}

int pg_error_of_result(struct err *err, const PGresult *res)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const struct meaning *m;

    if (sqlstate == NULL)
        return err_set(err, ERR_UNAVAILABLE, "%s", text != NULL ? text : "the server went away");
    m = find(sqlstate);
    return err_set(err, m->class, "%s (SQLSTATE %s)%s%s", text != NULL ? text : "no message",
                   sqlstate, m->remedy != NULL ? "; " : "", m->remedy != NULL ? m->remedy : "");
}

/* The five characters of "FATAL:  28P01: ...", libpq's verbose way, which is in no other language;
 * NULL for none. */
static const char *find_sqlstate(const char *line)
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (const char *p = line; (p = strstr(p, ":  ")) != NULL; p++)
        if (strspn(p + 3, alphabet) == 5 && p[8] == ':' && p[9] == ' ')
            return p + 3;
    return NULL;
}

/* Copies one line without its SQLSTATE, which it returns (the first, where there was one). */
static size_t copy_line(char *to, size_t room, const char *line, size_t len, char sqlstate[6])
{
    const char *state = find_sqlstate(line);
    size_t n = 0;

    if (state != NULL && (state - line) + 7 > (ptrdiff_t)len)
        state = NULL;
    if (state != NULL && sqlstate[0] == '\0')
        memcpy(sqlstate, state, 5);
    for (size_t i = 0; i < len && n + 1 < room; i++) {
        if (state != NULL && line + i == state)
            i += 7;
        to[n++] = line[i] == '\t' ? ' ' : line[i];
    }
    return n;
}

/* What stands in libpq's text, the first of these, tells more than the server's code. */
static const struct sign {
    const char *words;
    enum err_class class;
    const char *remedy; /* NULL where the words say it */
} signs[] = {
    {"certificate verify failed", ERR_UNAVAILABLE,
     "check " TLS_ROOT_SETTING ", and that the server's certificate is still valid"},
    {"does not match host name", ERR_UNAVAILABLE,
     "name the server in postgres.uri as its certificate does, or have that name added to the "
     "certificate"},
    {"server does not support SSL", ERR_UNAVAILABLE,
     "switch TLS on there (ssl = on, with a certificate), or correct the address or sslmode in "
     "postgres.uri"},
    {"root certificate file", ERR_CONFIG,
     "name a file with the certificate of the server's CA, in PEM, in " TLS_ROOT_SETTING},
    {"certificate present, but not private key file", ERR_CONFIG,
     "name the file of its key in sslkey of postgres.uri (or PGSSLKEY)"},
    {"has group or world access", ERR_CONFIG, NULL},
    {"key values mismatch", ERR_CONFIG, "name files of one pair in sslcert and sslkey"},
    {"could not load private key file", ERR_CONFIG,
     "name a file with the key of sslcert, in PEM, in sslkey; one that is encrypted is opened by "
     "sslpassword"},
    {"could not read certificate file", ERR_CONFIG,
     "name a file with the client's certificate, in PEM, in sslcert of postgres.uri (or "
     "PGSSLCERT)"},
    {"could not open certificate file", ERR_CONFIG, NULL},
    {"invalid sslmode value", ERR_CONFIG, "set it to one that libpq knows, as verify-full"},
    {"requires a valid client certificate", ERR_LOGIN,
     "name the files of one that the server trusts in sslcert and sslkey of postgres.uri (or "
     "PGSSLCERT, PGSSLKEY)"},
    {" alert ", ERR_LOGIN, NULL}, /* see tell_alert */
    {"no password supplied", ERR_LOGIN, "put it into postgres.uri, or into libpq's passfile"},
    {"no encryption", ERR_LOGIN,
     "this role has to come by TLS: set sslmode=verify-full in postgres.uri, or correct "
     "pg_hba.conf"},
};

static const struct sign *find_sign(const char *text)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (strstr(text, signs[i].words) != NULL)
            return &signs[i];
    return NULL;
}

/* In TLS 1.3 the server's refusal of our certificate comes as an alert, behind the handshake. */
static void tell_alert(char *text, size_t size, const char *sslcert)
{
    char description[700] = "";
    size_t n = strlen(text);

    if (sslcert != NULL && sslcert[0] != '\0')
        certificate_describe_file(description, sizeof description, sslcert);
    (void)snprintf(text + n, size - n,
                   ": the server refuses the client certificate%s%s%s; name one that it trusts in "
                   "sslcert and sslkey",
                   description[0] != '\0' ? " (" : "", description,
                   description[0] != '\0' ? ")" : "");
}

/* Puts why into the place of libpq's word for it. */
static bool replace_verify(char *text, size_t size, const char *why)
{
    static const char words[] = "SSL error: certificate verify failed";
    char *found = strstr(text, words);
    char rest[512];

    if (found == NULL || why[0] == '\0')
        return false;
    (void)snprintf(rest, sizeof rest, "%s", found + sizeof words - 1);
    (void)snprintf(found, size - (size_t)(found - text), "%s%s", why, rest);
    return true;
}

/* libpq's lines as one, without what is of no use to an operator. */
static void join_lines(char *text, size_t size, const char *said, char sqlstate[6])
{
    static const char *const left_out[] = {"LOCATION:  " /* in the server's source */,
                                           "Either provide the file"};
    size_t n = 0;

    for (const char *p = said, *end; *p != '\0'; p = end + (*end == '\n')) {
        bool wanted = true;

        end = p + strcspn(p, "\n");
        for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
            wanted = wanted && strncmp(p, left_out[i], strlen(left_out[i])) != 0;
        if (end == p || !wanted)
            continue;
        if (n > 0 && n + 3 < size) {
            text[n++] = ';';
            text[n++] = ' ';
        }
        n += copy_line(text + n, size - n, p, (size_t)(end - p), sqlstate);
    }
    text[n] = '\0';
}

int pg_error_of_text(struct err *err, const char *said, const char *certificate,
                     const char *sslcert)
{
    char text[960];
    char sqlstate[6] = "";
    enum err_class class = ERR_UNAVAILABLE;
    const struct sign *sign;
    const char *remedy;

    join_lines(text, sizeof text, said, sqlstate);
    /* libpq's words where target_session_attrs is not met. */
    if (strstr(text, "session is read-only") != NULL)
        (void)snprintf(sqlstate, sizeof sqlstate, "%s", PG_READ_ONLY);
    sign = replace_verify(text, sizeof text, certificate) ? NULL : find_sign(text);
    remedy = sign != NULL ? sign->remedy : find(sqlstate)->remedy;
    if (sign != NULL)
        class = sign->class;
    else if (strncmp(sqlstate, "28", 2) == 0)
        class = ERR_LOGIN;
    if (class == ERR_LOGIN && remedy == NULL)
        tell_alert(text, sizeof text, sslcert);
    return err_set(err, class, "%s%s%s%s%s%s", text[0] != '\0' ? text : "the connection was closed",
                   sqlstate[0] != '\0' ? " (SQLSTATE " : "", sqlstate,
                   sqlstate[0] != '\0' ? ")" : "", remedy != NULL ? "; " : "",
                   remedy != NULL ? remedy : "");
}

int pg_error_of_conn(struct err *err, PGconn *conn, const char *certificate)
{
    PQconninfoOption *options = PQconninfo(conn);
    const char *sslcert = NULL;
    int rc;

    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, "sslcert") == 0)
            sslcert = o->val;
    rc = pg_error_of_text(err, PQerrorMessage(conn), certificate, sslcert);
    PQconninfoFree(options);
    return rc;
}

bool pg_error_is(const PGresult *res, const char *sqlstate)
{
    const char *s = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    return s != NULL && strcmp(s, sqlstate) == 0;
}
