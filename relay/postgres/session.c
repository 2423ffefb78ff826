#include "postgres/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum column {
    COL_BACKEND,
    COL_ISOLATION,
    COL_USER,
};

/* Plans must use the indexes whatever the statistics of a table that is empty one minute and holds
 * millions the next; a role's own limits must not end our statements. synchronous_commit: what is
 * lost in a crash is published again, so acknowledgements wait for the local disk, and for no
 * standby. */
static const struct {
    const char *name;
    const char *value;
    bool lasting; /* says nothing within a transaction */
} settings[] = {
    {"jit", "off", false},
    {"enable_seqscan", "off", false},
    {"enable_bitmapscan", "off", false},
    {"max_parallel_workers_per_gather", "0", false},
    {"statement_timeout", "0", false},
    {"synchronous_commit", "local", false},
    {"idle_session_timeout", "0", true},
    {"default_transaction_isolation", "read committed", true},
};

void session_sql(struct buf *sql, int backend_pid, int64_t lock_timeout_ms)
{
    buf_printf(sql, "SELECT pg_catalog.pg_backend_pid(),"
                    " pg_catalog.current_setting('default_transaction_isolation'), CURRENT_USER,"
                    " ARRAY(");
    /* Of what the server knows: some came with later versions. */
    buf_printf(sql, "SELECT pg_catalog.set_config(name, value, false) FROM (VALUES");
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        buf_printf(sql, " ('%s', '%s'),", settings[i].name, settings[i].value);
    buf_printf(sql,
               " ('lock_timeout', '%" PRId64 "')) AS s(name, value)"
               " WHERE pg_catalog.current_setting(name, true) IS NOT NULL"
               " AND pg_catalog.pg_backend_pid() = %d)",
               lock_timeout_ms, backend_pid);
}

bool session_pooled(const PGresult *res, int backend_pid)
{
    return strtol(PQgetvalue(res, 0, COL_BACKEND), NULL, 10) != backend_pid;
}

int session_check(const PGresult *res, struct err *err)
{
    const char *isolation = PQgetvalue(res, 0, COL_ISOLATION);
    const char *user = PQgetvalue(res, 0, COL_USER);

    if (strcmp(isolation, "read committed") == 0)
        return 0;
    return err_set(err, ERR_CONFIG,
                   "the transactions of role \"%s\" are %s by default, which the relay cannot "
                   "change through a pooler: ALTER ROLE \"%s\" SET default_transaction_isolation = "
                   "'read committed'",
                   user, isolation, user);
}

void session_transaction_sql(struct buf *sql, int64_t lock_timeout_ms)
{
    buf_printf(sql, "SELECT pg_catalog.set_config('lock_timeout', '%" PRId64 "', true)",
               lock_timeout_ms);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (!settings[i].lasting)
            buf_printf(sql, ", pg_catalog.set_config('%s', '%s', true)", settings[i].name,
                       settings[i].value);
    /* Refused where it is another one already: a statement has to see what was committed while it
     * waited for its locks. */
    buf_printf(sql, ", pg_catalog.set_config('transaction_isolation', 'read committed', true)");
}
