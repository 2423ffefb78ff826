#include "cli/doctor_relay.h"

#include "cli/status_get.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 2000

struct asked {
    const char *listen;
    const struct doctor_relay_callbacks *callbacks;
    void *arg;
};

static void tell(const struct asked *a, enum severity severity, const char *what,
                 const char *remedy)
{
    char where[300];
    struct finding f = {severity, "relay", what, where, remedy};

    (void)snprintf(where, sizeof where, "http.listen %s", a->listen);
    if (severity == SEVERITY_OK)
        f.where = NULL;
    a->callbacks->on_finding(a->arg, &f);
}

/* ---- /statusz ---- */

static void tell_topics(const struct asked *a, const json_t *root)
{
    const json_t *topic;
    size_t i;

    json_array_foreach(json_object_get(root, "topics_waiting"), i, topic)
    {
        const char *name = json_string_value(json_object_get(topic, "topic"));
        const char *error = json_string_value(json_object_get(topic, "error"));
        json_int_t held = json_integer_value(json_object_get(topic, "held"));
        char what[1600];

        if (name == NULL)
            continue;
        (void)snprintf(what, sizeof what,
                       "topic %s is paused, %" JSON_INTEGER_FORMAT " events passed over: %s", name,
                       held, error != NULL ? error : "it is being asked for again");
        tell(a, SEVERITY_HOLDS, what, "outbox-relay status");
        a->callbacks->on_topic(a->arg, name);
    }
}

static void tell_state(const struct asked *a, const json_t *root)
{
    const char *state = json_string_value(json_object_get(root, "state"));
    const char *stall = json_string_value(json_object_get(root, "stall"));
    const char *table = json_string_value(json_object_get(root, "table"));
    const char *mode = json_string_value(json_object_get(json_object_get(root, "source"), "mode"));
    bool works = state != NULL && (strcmp(state, "owner") == 0 || strcmp(state, "standby") == 0);
    char text[1200];

    if (state == NULL) {
        tell(a, SEVERITY_WARNS, "what answers is no outbox-relay", "outbox-relay status");
        return;
    }
    (void)snprintf(text, sizeof text, "%s of %s, finds events by %s", state,
                   table != NULL ? table : "?", mode != NULL ? mode : "?");
    if (works)
        tell(a, SEVERITY_OK, text, NULL);
    if (!works) {
        (void)snprintf(text, sizeof text, "it does not publish: %s", state);
        tell(a, SEVERITY_HOLDS, text, "outbox-relay status");
    }
    if (stall != NULL) {
        (void)snprintf(text, sizeof text, "stalled: %s", stall);
        tell(a, SEVERITY_HOLDS, text, "outbox-relay status");
    }
}

static int get(const struct asked *a, const char *path, struct buf *body, struct err *err)
{
    return status_get(a->listen, path, TIMEOUT_MS, body, err);
}

/* False where nobody answers. */
static bool look_at_status(const struct asked *a)
{
    static const char command[] = "status: "; /* whose words they are otherwise */
    struct buf body = {0};
    json_t *root = NULL;
    struct err err;
    bool answers = get(a, "/statusz", &body, &err) == 0;

    if (answers) {
        root = json_loadb((const char *)body.data, body.len, 0, NULL);
        tell_state(a, root);
        tell_topics(a, root);
    } else {
        bool known = strncmp(err.message, command, sizeof command - 1) == 0;

        tell(a, SEVERITY_WARNS, err.message + (known ? sizeof command - 1 : 0), "outbox-relay run");
    }
    json_decref(root);
    buf_free(&body);
    return answers;
}

/* ---- /readyz and /metrics ---- */

static void look_at_readiness(const struct asked *a)
{
    struct buf body = {0};
    struct err err;

    if (get(a, "/readyz", &body, &err) == 0)
        tell(a, SEVERITY_OK, "ready", NULL);
    else
        tell(a, SEVERITY_HOLDS, "not ready: it neither publishes nor stands by for one that does",
             "outbox-relay status");
    buf_free(&body);
}

/* What was not delivered since it began; no finding, since it may be over. */
static void look_at_errors(const struct asked *a)
{
    static const char family[] = "\noutbox_relay_delivery_errors_total{";
    struct buf body = {0};
    struct err err;
    const char *at = get(a, "/metrics", &body, &err) == 0 ? buf_cstr(&body) : NULL;
    char text[300];

    while (at != NULL && (at = strstr(at, family)) != NULL) {
        at += sizeof family - 1;
        (void)snprintf(text, sizeof text, "not delivered so far: %.*s", (int)strcspn(at, "\n"), at);
        tell(a, SEVERITY_OK, text, NULL);
    }
    buf_free(&body);
}

void doctor_relay(const char *listen, const struct doctor_relay_callbacks *callbacks, void *arg)
{
    struct asked a = {listen, callbacks, arg};

    if (listen[0] == '\0') {
        tell(&a, SEVERITY_OK, "not asked: http.listen is empty", NULL);
        return;
    }
    if (!look_at_status(&a))
        return;
    look_at_readiness(&a);
    look_at_errors(&a);
}
