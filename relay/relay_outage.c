/* What does not work, outages and refusals: each cause is said once, and shown until it is gone. */
#include "relay_state.h"

#include <stdio.h>
#include <string.h>

/* An outage whose cause does not change is logged again after this. */
static const int64_t repeat_ms = 60000;

/* Returns true if this is to be logged. */
static bool goes_down(struct outage *o, int64_t now, const char *why)
{
    if (!o->down)
        o->since = now;
    if (o->down && strncmp(o->why, why, sizeof o->why - 1) == 0 && now - o->logged_at < repeat_ms)
        return false;
    o->down = true;
    o->logged_at = now;
    (void)snprintf(o->why, sizeof o->why, "%.*s", (int)sizeof o->why - 1, why);
    return true;
}

void relay_outage(struct relay *r, enum relay_server server, int64_t now, const struct err *why)
{
    static const char *const what[SERVERS] = {
        "PostgreSQL cannot be read",
        "PostgreSQL cannot be reached for acknowledgements and the lease",
        "the wake-up lock cannot be asked for",
        "postgres.direct_uri cannot be listened to",
        "Kafka cannot be reached",
    };
    const char *text = why != NULL ? why->message : "no cause given";

    if (goes_down(&r->outages[server], now, text))
        log_warn(r->log, server == SERVER_KAFKA ? "kafka" : "postgres",
                 "%s: %s. Events %s; tried again", what[server], text,
                 server == SERVER_LISTEN ? "are found without notifications" : "wait in the table");
}

bool relay_recovered(struct relay *r, enum relay_server server)
{
    struct outage *o = &r->outages[server];
    bool was_down = o->down;

    if (o->was_up)
        o->reconnects++;
    o->was_up = true;
    o->down = false;
    o->why[0] = '\0';
    return was_down;
}

void relay_work_failed(struct relay *r, enum relay_work work, int64_t now, const struct err *why)
{
    static const char *const what[WORKS] = {
        "a read failed",
        "an acknowledgement failed",
        "the lease could not be asked for",
        "events that cannot be published could not be recorded or listed",
    };
    struct outage *o = &r->failing[work];
    bool told = why->class == ERR_CONFIG || why->class == ERR_PERMISSION;
    bool inspect = told && !r->outages[SERVER_READ].down &&
                   (o->inspected_at == 0 || now - o->inspected_at >= repeat_ms);
    bool news = goes_down(o, now, why->message) && !(told && r->outages[SERVER_READ].down);

    /* The schema or the rights have changed: what is missing the table's inspection finds out,
     * which comes with a new connection, and is under way where that is down already. Not again and
     * again: it may be of another mind. */
    if (inspect) {
        o->inspected_at = now;
        table_source_lose(r->source, why); /* and this is logged */
    } else if (news) {
        log_warn(r->log, "postgres", "%s: %s. Events wait in the table; tried again", what[work],
                 why->message);
    }
}

void relay_work_done(struct relay *r, enum relay_work work)
{
    r->failing[work].down = false;
    r->failing[work].inspected_at = 0;
}

const char *relay_work_error(const struct relay *r)
{
    for (size_t i = 0; i < WORKS; i++)
        if (r->failing[i].down)
            return r->failing[i].why;
    return "";
}
