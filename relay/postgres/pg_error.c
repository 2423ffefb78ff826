#include "postgres/pg_error.h"

#include <string.h>

static const struct {
    const char *sqlstate; /* a prefix */
    enum err_class class;
} classes[] = {
    {"42501", ERR_PERMISSION}, /* insufficient_privilege */
    {"42P01", ERR_CONFIG},     /* undefined_table */
    {"42703", ERR_CONFIG},     /* undefined_column */
    {"42883", ERR_CONFIG},     /* undefined_function */
    {"3F000", ERR_CONFIG},     /* invalid_schema_name */
    {"28", ERR_PERMISSION},    /* invalid authorisation */
};

int pg_error_of_result(struct err *err, const PGresult *res)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    enum err_class class = ERR_UNAVAILABLE;

    if (sqlstate == NULL)
        return err_set(err, ERR_UNAVAILABLE, "%s", text != NULL ? text : "the server went away");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strncmp(sqlstate, classes[i].sqlstate, strlen(classes[i].sqlstate)) == 0)
            class = classes[i].class;
    return err_set(err, class, "%s (SQLSTATE %s)", text != NULL ? text : "no message", sqlstate);
}

int pg_error_of_conn(struct err *err, const PGconn *conn)
{
    char text[512];
    size_t n = 0;

    for (const char *p = PQerrorMessage(conn); *p != '\0' && n + 3 < sizeof text; p++) {
        if (*p != '\n') {
            text[n++] = *p == '\t' ? ' ' : *p;
        } else if (p[1] != '\0') {
            text[n++] = ';';
            text[n++] = ' ';
        }
    }
    text[n] = '\0';
    /* libpq's words where target_session_attrs is not met. */
    if (strstr(text, "session is read-only") != NULL)
        return err_set(err, ERR_UNAVAILABLE,
                       "%s (a standby? rows cannot be acknowledged there; name the primary, or all "
                       "hosts, in postgres.uri)",
                       text);
    return err_set(err, ERR_UNAVAILABLE, "%s", n > 0 ? text : "the connection was closed");
}

bool pg_error_is(const PGresult *res, const char *sqlstate)
{
    const char *s = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    return s != NULL && strcmp(s, sqlstate) == 0;
}
