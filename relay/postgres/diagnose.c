#include "postgres/diagnose.h"

#include "base/clock.h"
#include "postgres/conn_params.h"
#include "postgres/diagnose_sql.h"
#include "postgres/named_slot.h"
#include "postgres/once.h"
#include "postgres/pg_error.h"

#include <ctype.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libpq waits so long for each address, and then for the server to answer. */
#define CONNECT_TIMEOUT_S "5"
/* The server ends a statement after 3 s; one that does not say so does not answer. */
static const int answer_timeout_ms = 6000;

static const char begin[] =
    "BEGIN READ ONLY; SET LOCAL statement_timeout = 3000; SET LOCAL lock_timeout = 500;"
    " SET LOCAL jit = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";
static const char names_are_builtin[] = "; SET LOCAL search_path = pg_catalog";

struct diagnosis {
    const struct diagnose_options *options;
    const struct diagnose_callbacks *callbacks;
    void *arg;
    PGconn *conn;
    const char *section; /* told of last */
    bool found;          /* anything in it */
    struct pg_facts facts;
    char oid[16];
    char budget[24];
    const char *parameters[DIAGNOSE_PARAMETERS];
};

/* ---- asking ---- */

static int wait_readable(struct diagnosis *d, int64_t deadline, struct err *err)
{
    struct pollfd p = {.fd = PQsocket(d->conn), .events = POLLIN};
    int64_t left = deadline - clock_boot_ms();

    if (left <= 0 || poll(&p, 1, (int)left) == 0)
        return err_set(err, ERR_UNAVAILABLE, "the server has not answered for %d s",
                       answer_timeout_ms / 1000);
    if (PQconsumeInput(d->conn) == 0)
        return pg_error_of_conn(err, d->conn, "");
    return 0;
}

/* The last result of what was sent, good or bad; the caller clears it. ERR_UNAVAILABLE: there will
 * be none. */
static int receive(struct diagnosis *d, PGresult **ret, struct err *err)
{
    int64_t deadline = clock_boot_ms() + answer_timeout_ms;
    PGresult *last = NULL;
    PGresult *res = NULL;
    int rc = 0;

    do {
        while (rc == 0 && PQisBusy(d->conn))
            rc = wait_readable(d, deadline, err);
        res = rc == 0 ? PQgetResult(d->conn) : NULL;
        if (res != NULL) {
            PQclear(last);
            last = res;
        }
    } while (res != NULL);
    if (rc == 0 && PQstatus(d->conn) == CONNECTION_BAD)
        rc = pg_error_of_conn(err, d->conn, "");
    if (rc != 0)
        PQclear(last);
    *ret = rc == 0 ? last : NULL;
    return rc;
}

static bool is_good(const PGresult *res)
{
    return PQresultStatus(res) == PGRES_TUPLES_OK || PQresultStatus(res) == PGRES_COMMAND_OK;
}

static int run(struct diagnosis *d, const char *sql, struct err *err)
{
    PGresult *res = NULL;
    int rc =
        PQsendQuery(d->conn, sql) == 1 ? receive(d, &res, err) : pg_error_of_conn(err, d->conn, "");

    if (rc != 0)
        return rc;
    if (!is_good(res))
        rc = pg_error_of_result(err, res);
    PQclear(res);
    return rc;
}

/* One statement in a transaction of its own, which a pooler does not cut in two. Its result, good
 * or bad, is the caller's, also after an error. */
static int ask(struct diagnosis *d, bool builtin, const char *sql, int n,
               const char *const *parameters, PGresult **ret, struct err *err)
{
    static const Oid text[DIAGNOSE_PARAMETERS] = {25, 25, 25, 25, 25, 25, 25, 25, 25};
    char first[sizeof begin + sizeof names_are_builtin];
    int rc;

    *ret = NULL;
    (void)snprintf(first, sizeof first, "%s%s", begin, builtin ? names_are_builtin : "");
    rc = run(d, first, err);
    if (rc != 0)
        return rc;
    if (PQsendQueryParams(d->conn, sql, n, text, parameters, NULL, NULL, 0) != 1)
        rc = pg_error_of_conn(err, d->conn, "");
    else
        rc = receive(d, ret, err);
    if (rc == 0)
        rc = run(d, "ROLLBACK", err);
    return rc;
}

/* ---- telling ---- */

static void tell(struct diagnosis *d, enum severity severity, const char *section, const char *what,
                 const char *where, const char *remedy)
{
    struct finding f = {severity, section, what, where, remedy};

    d->found = true;
    d->callbacks->on_finding(d->arg, &f);
}

/* The SQL behind the last colon of an error, into ret; false where it has none. What stands behind
 * it (", or set ...", ", as in ...") is no part of it; where nothing does, the message is cut. */
static bool take_remedy(char *message, char *ret, size_t size)
{
    static const char *const besides[] = {", or ", ", as in ", ", and "};
    char *found = NULL;
    size_t len;

    for (char *p = message; (p = strstr(p, ": ")) != NULL; p += 2)
        if (isupper((unsigned char)p[2]) && isupper((unsigned char)p[3]) &&
            isupper((unsigned char)p[4]))
            found = p;
    if (found == NULL)
        return false;
    len = strlen(found + 2);
    for (size_t i = 0; i < sizeof besides / sizeof *besides; i++) {
        const char *end = strstr(found + 2, besides[i]);

        if (end != NULL && (size_t)(end - found) - 2 < len)
            len = (size_t)(end - found) - 2;
    }
    (void)snprintf(ret, size, "%.*s;", (int)len, found + 2);
    if (found[2 + len] == '\0')
        *found = '\0';
    return true;
}

/* check tries the same, where the error has no SQL that mends it. */
static void tell_error(struct diagnosis *d, const char *section, const struct err *why,
                       const char *where)
{
    struct err split = *why;
    char remedy[sizeof split.message + 1];
    bool has = take_remedy(split.message, remedy, sizeof remedy);

    tell(d, SEVERITY_HOLDS, section, split.message, where, has ? remedy : "outbox-relay check");
}

/* The table is locked for good by somebody: whoever it is by then. */
static void tell_locked(struct diagnosis *d, const char *section, const char *what,
                        const char *where)
{
    char *table = PQescapeLiteral(d->conn, where, strlen(where));
    struct buf remedy = {0};

    if (table != NULL)
        buf_printf(&remedy,
                   "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = %s::regclass"
                   " AND mode = 'AccessExclusiveLock' AND granted;",
                   table);
    tell(d, SEVERITY_HOLDS, section, what, where, buf_cstr(&remedy));
    buf_free(&remedy);
    PQfreemem(table);
}

static void tell_refused(struct diagnosis *d, const char *section, const PGresult *res,
                         const char *where)
{
    char grant[400];
    char what[1200];
    struct err err;

    (void)pg_error_of_result(&err, res);
    (void)snprintf(what, sizeof what, "it cannot be read: %s", err.message);
    (void)snprintf(grant, sizeof grant, "GRANT SELECT ON %s TO \"%s\";", where, d->facts.user);
    if (pg_error_is(res, PG_LOCK_NOT_AVAILABLE))
        tell_locked(d, section, what, where);
    else if (err.class == ERR_PERMISSION)
        tell(d, SEVERITY_UNSEEN, section, what, where, grant);
    else
        tell(d, SEVERITY_WARNS, section, what, where, NULL);
}

static enum severity severity_of(const char *text)
{
    switch (text[0]) {
    case 'h':
        return SEVERITY_HOLDS;
    case 'w':
        return SEVERITY_WARNS;
    case 'u':
        return SEVERITY_UNSEEN;
    default:
        return SEVERITY_OK;
    }
}

static void tell_rows(struct diagnosis *d, const char *section, const PGresult *res,
                      const char *well)
{
    for (int i = 0; i < PQntuples(res); i++) {
        enum severity severity = severity_of(PQgetvalue(res, i, 0));
        bool ok = severity == SEVERITY_OK;

        tell(d, severity, section, PQgetvalue(res, i, 1), ok ? NULL : PQgetvalue(res, i, 2),
             ok ? NULL : PQgetvalue(res, i, 3));
    }
    if (!d->found && well != NULL)
        tell(d, SEVERITY_OK, section, well, NULL, NULL);
}

/* ---- looking ---- */

static int probe(struct diagnosis *d, const char *section, const char *well, const char *sql,
                 const char *where)
{
    PGresult *res;
    struct err err;
    int rc = ask(d, true, sql, DIAGNOSE_PARAMETERS, d->parameters, &res, &err);

    d->found = d->found && d->section != NULL && strcmp(d->section, section) == 0;
    d->section = section;
    if (rc != 0)
        tell_error(d, section, &err, where);
    else if (is_good(res))
        tell_rows(d, section, res, well);
    else
        tell_refused(d, section, res, where);
    PQclear(res);
    return rc;
}

/* Of a table of ours; takes sql. */
static int probe_table(struct diagnosis *d, const char *section, const char *well, struct buf *sql,
                       const char *where)
{
    int rc = 0;

    if (buf_cstr(sql) != NULL)
        rc = probe(d, section, well, buf_cstr(sql), where);
    buf_free(sql);
    return rc;
}

static int find_topics(struct diagnosis *d)
{
    struct buf sql = {0};
    PGresult *res = NULL;
    struct err err;
    int rc = 0;

    diagnose_topics_sql(&sql, &d->facts, d->options->topic_sql);
    if (buf_cstr(&sql) != NULL)
        rc = ask(d, true, buf_cstr(&sql), 0, NULL, &res, &err);
    /* A failure has been told of: the backlog cannot be read either. */
    for (int i = 0; rc == 0 && is_good(res) && i < PQntuples(res); i++)
        d->callbacks->on_topic(d->arg, PQgetvalue(res, i, 0), strtod(PQgetvalue(res, i, 1), NULL));
    PQclear(res);
    buf_free(&sql);
    return rc;
}

/* Whether source.slot and the lease fit together, in the words of `run`. */
static int judge_slot(struct diagnosis *d)
{
    const char *slot = d->options->slot;
    struct wal_start start;
    enum named_step step = NAMED_MAKE;
    struct buf sql = {0};
    PGresult *res = NULL;
    struct err err;
    int rc = 0;
    int judged;

    if (slot[0] == '\0')
        return 0;
    named_slot_sql(&sql, &d->facts);
    if (buf_cstr(&sql) != NULL)
        rc = ask(d, true, buf_cstr(&sql), 1, &slot, &res, &err);
    judged = rc;
    if (rc == 0 && res != NULL && !is_good(res))
        tell_refused(d, "slot", res, d->facts.lease);
    else if (rc == 0 && res != NULL && PQntuples(res) == 1)
        judged = named_slot_judge(res, &d->facts, slot, &step, &start, &err);
    if (judged != 0)
        tell_error(d, "slot", &err, slot);
    else if (!d->found)
        tell(d, SEVERITY_OK, "slot",
             step == NAMED_MAKE || step == NAMED_MAKE_AGAIN
                 ? "not made yet: the relay makes it, or check --fix"
                 : "it fits the lease, and is within its budget",
             NULL, NULL);
    PQclear(res);
    buf_free(&sql);
    return rc;
}

static int look_at_catalogues(struct diagnosis *d)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < diagnose_nprobes; i++) {
        const struct diagnose_probe *p = &diagnose_probes[i];

        rc = probe(d, p->section, p->well, p->sql, d->facts.table);
    }
    return rc;
}

static int look_at_tables(struct diagnosis *d)
{
    const struct pg_facts *f = &d->facts;
    struct buf sql = {0};
    int rc;

    diagnose_lease_sql(&sql, f);
    rc = probe_table(d, "lease", NULL, &sql, f->lease);
    if (rc == 0 && f->parked[0] != '\0') {
        diagnose_parked_sql(&sql, f);
        rc = probe_table(d, "parked", "no event is", &sql, f->parked);
    }
    if (rc == 0 && f->buries) {
        diagnose_dead_sql(&sql, f);
        rc = probe_table(d, "dead", "no event is", &sql, f->dead);
    }
    if (rc == 0) {
        diagnose_backlog_sql(&sql, f, d->options->topic_sql);
        rc = probe_table(d, "backlog", NULL, &sql, f->table);
    }
    return rc == 0 ? find_topics(d) : rc;
}

static void tell_server(struct diagnosis *d)
{
    char text[512];

    (void)snprintf(text, sizeof text, "%s:%s/%s as \"%s\", PostgreSQL %d.%d", PQhost(d->conn),
                   PQport(d->conn), PQdb(d->conn), d->facts.user, d->facts.server_version / 10000,
                   d->facts.server_version % 10000);
    tell(d, SEVERITY_OK, "postgres", text, NULL, NULL);
}

static void fill_parameters(struct diagnosis *d)
{
    (void)snprintf(d->oid, sizeof d->oid, "%" PRIu32, d->facts.oid);
    (void)snprintf(d->budget, sizeof d->budget, "%" PRId64, d->options->wal_budget);
    d->parameters[DIAGNOSE_OID] = d->oid;
    d->parameters[DIAGNOSE_TABLE] = d->facts.table;
    d->parameters[DIAGNOSE_LEASE] = d->facts.lease;
    d->parameters[DIAGNOSE_PARKED] = d->facts.parked;
    d->parameters[DIAGNOSE_DEAD] = d->facts.dead;
    d->parameters[DIAGNOSE_SLOT] = d->options->slot;
    d->parameters[DIAGNOSE_BUDGET] = d->budget;
    d->parameters[DIAGNOSE_XID] = d->facts.columns->names[COLUMN_XID].text;
    d->parameters[DIAGNOSE_PUBLISHED_AT] = d->facts.columns->names[COLUMN_PUBLISHED_AT].text;
}

static int inspect(struct diagnosis *d, struct err *err)
{
    const char *parameters[PG_INSPECT_PARAMETERS];
    PGresult *res;
    int rc;

    pg_inspect_parameters(&d->options->table, parameters);
    rc = ask(d, false, pg_inspect_sql(), PG_INSPECT_PARAMETERS, parameters, &res, err);

    if (rc == 0 && !is_good(res))
        rc = pg_error_of_result(err, res);
    else if (rc == 0)
        rc = pg_inspect_read(&d->facts, res, &d->options->table, err);
    PQclear(res);
    if (rc != 0)
        return rc;
    fill_parameters(d);
    tell_server(d);
    return 0;
}

static int open_connection(struct diagnosis *d, struct err *err)
{
    static const struct pg_conn_options options = {.name = "doctor"};
    static const struct resolved nothing = {NULL, NULL, NULL};
    struct conn_params p;

    conn_params_fill(&p, d->options->uri, &options, &nothing);
    p.keys[p.n] = "connect_timeout";
    p.values[p.n++] = CONNECT_TIMEOUT_S;
    p.keys[p.n] = NULL;
    return once_connect(&d->conn, p.keys, p.values, err);
}

int diagnose(const struct diagnose_options *options, const struct diagnose_callbacks *callbacks,
             void *arg, struct err *err)
{
    struct diagnosis d = {.options = options, .callbacks = callbacks, .arg = arg};
    int rc = open_connection(&d, err);

    if (rc == 0)
        rc = inspect(&d, err);
    if (rc != 0)
        tell_error(&d, "postgres", err, options->table.table);
    else if (look_at_catalogues(&d) != 0 || judge_slot(&d) != 0 || look_at_tables(&d) != 0)
        rc = err_set(err, ERR_UNAVAILABLE, "the server does not answer any more");
    PQfinish(d.conn);
    return rc;
}
