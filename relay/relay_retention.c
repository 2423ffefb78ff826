/* What has become of old partitions. Whether the relay sees to them the grants decide; what is
 * kept, the table outbox_retention. */
#include "relay_state.h"

#include <stdio.h>
#include <string.h>

static const int64_t interval_ms = 60000;

/* Said once, until it is another one. */
static void note(struct relay *r, enum log_level level, const char *text)
{
    struct relay_retention *t = &r->retention;

    if (strncmp(t->why, text, sizeof t->why - 1) == 0)
        return;
    (void)snprintf(t->why, sizeof t->why, "%.*s", (int)sizeof t->why - 1, text);
    if (text[0] != '\0')
        log_write(r->log, level, "retention", NULL, 0, "%s", text);
}

static bool begins(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

static void on_answer(void *arg, bool ours, const PGresult *res, const struct err *why)
{
    struct relay *r = arg;
    struct relay_retention *t = &r->retention;
    struct buf left = {0};

    t->ours = ours;
    t->failing = why != NULL;
    for (int i = 0; res != NULL && i < PQntuples(res); i++) {
        const char *line = PQgetvalue(res, i, 0);

        if (begins(line, "kept ") || begins(line, "not made ")) {
            buf_printf(&left, "%s%s", left.len > 0 ? "; " : "", line);
        } else {
            t->dropped += begins(line, "dropped ");
            log_info(r->log, "retention", "%s", line);
        }
    }
    if (why != NULL)
        note(r, LOG_WARN, why->message);
    else
        note(r, LOG_INFO, left.len > 0 && buf_cstr(&left) != NULL ? buf_cstr(&left) : "");
    buf_free(&left);
}

int relay_retention_open(struct relay *r, struct err *err)
{
    return retention_new(&r->retainer, on_answer, r, err);
}

void relay_retention_tick(struct relay *r, int64_t now)
{
    struct relay_retention *t = &r->retention;

    if (!r->joined || !r->owning || (t->asked_at != 0 && now - t->asked_at < interval_ms))
        return;
    t->asked_at = now;
    retention_call(r->retainer, control_conn(r->control), &r->facts);
}
