#include "postgres/pg_error.h"

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

int pg_error_of_conn(struct err *err, const PGconn *conn)
{
    static const char location[] = "LOCATION:  "; /* in the server's source */
    char text[512];
    char sqlstate[6] = "";
    const char *remedy;
    size_t n = 0;

    for (const char *p = PQerrorMessage(conn), *end; *p != '\0'; p = end + (*end == '\n')) {
        end = p + strcspn(p, "\n");
        if (end == p || strncmp(p, location, sizeof location - 1) == 0)
            continue;
        if (n > 0 && n + 3 < sizeof text) {
            text[n++] = ';';
            text[n++] = ' ';
        }
        n += copy_line(text + n, sizeof text - n, p, (size_t)(end - p), sqlstate);
    }
    text[n] = '\0';
    /* libpq's words where target_session_attrs is not met. */
    if (strstr(text, "session is read-only") != NULL)
        (void)snprintf(sqlstate, sizeof sqlstate, "%s", PG_READ_ONLY);
    remedy = find(sqlstate)->remedy;
    return err_set(err, ERR_UNAVAILABLE, "%s%s%s%s%s%s", n > 0 ? text : "the connection was closed",
                   sqlstate[0] != '\0' ? " (SQLSTATE " : "", sqlstate,
                   sqlstate[0] != '\0' ? ")" : "", remedy != NULL ? "; " : "",
                   remedy != NULL ? remedy : "");
}

bool pg_error_is(const PGresult *res, const char *sqlstate)
{
    const char *s = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    return s != NULL && strcmp(s, sqlstate) == 0;
}
