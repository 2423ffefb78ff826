#include "postgres/conn_params.h"

#include <stdio.h>
#include <stdlib.h>

/* A dead peer is noticed by the kernel in about this time, where our own deadlines do not come
 * first. */
static const struct {
    const char *key;
    const char *value;
    const char *variable; /* where libpq would look; set there, ours is left out */
} defaults[] = {
    {"keepalives_idle", "10", NULL},
    {"keepalives_interval", "5", NULL},
    {"keepalives_count", "3", NULL},
    {"tcp_user_timeout", "15000", NULL},
    /* With several hosts: the one that takes writes. With one: a standby says so at once. */
    {"target_session_attrs", "read-write", "PGTARGETSESSIONATTRS"},
};

static void add(struct conn_params *p, const char *key, const char *value)
{
    p->keys[p->n] = key;
    p->values[p->n++] = value;
    p->keys[p->n] = NULL;
    p->values[p->n] = NULL;
}

void conn_params_fill(struct conn_params *p, const char *uri, const struct pg_conn_options *options,
                      const struct resolved *resolved)
{
    p->n = 0;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (defaults[i].variable == NULL || getenv(defaults[i].variable) == NULL)
            add(p, defaults[i].key, defaults[i].value);
    (void)snprintf(p->application_name, sizeof p->application_name, "outbox-relay %s",
                   options->name != NULL ? options->name : "");
    if (options->session == NULL)
        add(p, "fallback_application_name", p->application_name);
    if (uri[0] != '\0')
        add(p, "dbname", uri); /* expanded: what it says wins over the above */
    if (resolved->host != NULL) {
        add(p, "host", resolved->host);
        add(p, "hostaddr", resolved->hostaddr);
        add(p, "port", resolved->port);
    }
    add(p, "client_encoding", "UTF8");
    if (options->session != NULL)
        add(p, "application_name", options->session);
    if (options->replication) {
        add(p, "replication", "database");
        add(p, "options", "-c datestyle=ISO -c bytea_output=hex"); /* as pgoutput.h needs it */
    }
}

int pg_conn_check_uri(const char *uri, const char *setting, struct err *err)
{
    char *text = NULL;
    PQconninfoOption *options;

    if (uri[0] == '\0')
        return 0;
    options = PQconninfoParse(uri, &text);
    PQconninfoFree(options);
    /* libpq's text may quote the whole string, password included: it is not shown. */
    PQfreemem(text);
    if (options == NULL)
        return err_set(err, ERR_CONFIG,
                       "%s does not parse; it is a URI (postgresql://user@host:port/database) or a "
                       "list of key=value",
                       setting);
    return 0;
}
