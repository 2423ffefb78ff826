/* Each known part is taken out of the parsed answer as it is shown; what is left at the end, of a
 * relay that says more, is shown by its name. All text is escaped for a terminal. */
#include "cli/status_show.h"

#include "base/buf.h"
#include "ops/escape.h"

#include <stdlib.h>
#include <string.h>

/* Takes the member out of the object (which may be NULL or no object); the caller owns it. */
static json_t *take(json_t *object, const char *key)
{
    json_t *value = json_incref(json_object_get(object, key));

    (void)json_object_del(object, key);
    return value;
}

static void add_value(struct buf *b, const json_t *value)
{
    char *text;

    if (json_is_string(value)) {
        escape_text(b, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        buf_printf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        buf_printf(b, "%.1f", json_real_value(value));
    } else if (json_is_boolean(value)) {
        buf_printf(b, json_is_true(value) ? "yes" : "no");
    } else if (json_is_null(value)) {
        buf_printf(b, "none");
    } else {
        text = json_dumps(value, JSON_COMPACT);
        if (text != NULL)
            escape_text(b, text, strlen(text));
        free(text);
    }
}

/* Moves object[key] behind what b holds, between before and after; nothing where it is missing,
 * null or empty. True if something was added. */
static bool add(struct buf *b, json_t *object, const char *key, const char *before,
                const char *after)
{
    json_t *value = take(object, key);
    const char *text = json_string_value(value);
    bool there = value != NULL && !json_is_null(value) && (text == NULL || *text != '\0');

    if (there) {
        buf_printf(b, "%s%s", b->len > 0 ? ", " : "", before);
        add_value(b, value);
        buf_printf(b, "%s", after);
    }
    json_decref(value);
    return there;
}

static void add_duration(struct buf *b, double seconds)
{
    long long whole = seconds > 0 && seconds < 1e15 ? (long long)seconds : 0;

    if (seconds < 60)
        buf_printf(b, "%.1f s", seconds);
    else if (whole < 3600)
        buf_printf(b, "%lld min %lld s", whole / 60, whole % 60);
    else if (whole < 86400)
        buf_printf(b, "%lld h %lld min", whole / 3600, whole % 3600 / 60);
    else
        buf_printf(b, "%lld d %lld h", whole / 86400, whole % 86400 / 3600);
}

/* The same for a number of units of a second, as a duration. */
static void add_time(struct buf *b, json_t *object, const char *key, const char *before,
                     double per_second)
{
    json_t *value = json_object_get(object, key);

    if (!json_is_number(value)) {
        (void)add(b, object, key, before, "");
        return;
    }
    buf_printf(b, "%s%s", b->len > 0 ? ", " : "", before);
    add_duration(b, json_number_value(value) / per_second);
    (void)json_object_del(object, key);
}

/* Whatever is left in object: "key value, key value". */
static void add_rest(struct buf *b, json_t *object)
{
    const char *key;
    const json_t *value;

    json_object_foreach(object, key, value)
    {
        buf_printf(b, "%s", b->len > 0 ? ", " : "");
        escape_text(b, key, strlen(key));
        buf_append(b, " ", 1);
        add_value(b, value);
    }
}

static void print_line(FILE *out, const char *label, struct buf *b)
{
    const char *text = buf_cstr(b);

    if (text != NULL && *text != '\0')
        (void)fprintf(out, "  %-14s %s\n", label, text);
    buf_reset(b);
}

/* A part that is not the object it should be is shown as it is. */
static void finish_part(FILE *out, const char *label, struct buf *b, json_t *part)
{
    if (json_is_object(part))
        add_rest(b, part);
    else if (part != NULL)
        add_value(b, part);
    print_line(out, label, b);
    json_decref(part);
}

static void show_head(FILE *out, json_t *root, struct buf *b)
{
    (void)add(b, root, "version", "outbox-relay ", "");
    (void)add(b, root, "state", "", "");
    add_time(b, root, "uptime_s", "up for ", 1);
    if (buf_cstr(b) != NULL)
        (void)fprintf(out, "%s\n", buf_cstr(b));
    buf_reset(b);
}

static void show_lease(FILE *out, json_t *root, struct buf *b)
{
    json_t *lease = take(root, "lease");

    (void)add(b, lease, "owner", "owner ", "");
    (void)add(b, lease, "shard", "shard ", "");
    (void)add(b, lease, "epoch", "epoch ", "");
    add_time(b, lease, "expires_in_ms", "expires in ", 1000);
    finish_part(out, "lease", b, lease);
}

static void add_up(struct buf *b, json_t *object)
{
    json_t *up = take(object, "up");

    if (json_is_boolean(up))
        buf_printf(b, "%s%s", b->len > 0 ? ", " : "", json_is_true(up) ? "up" : "down");
    json_decref(up);
}

static void show_source(FILE *out, json_t *root, struct buf *b)
{
    json_t *source = take(root, "source");
    json_t *slot = take(source, "slot");
    json_t *sleeping;

    (void)add(b, source, "mode", "", "");
    add_up(b, source);
    sleeping = take(source, "sleeping");
    if (json_is_boolean(sleeping))
        buf_printf(b, "%s%s", b->len > 0 ? ", " : "",
                   json_is_true(sleeping) ? "asleep until a commit wakes it" : "awake");
    json_decref(sleeping);
    finish_part(out, "source", b, source);
    if (json_is_object(slot))
        finish_part(out, "slot", b, slot);
    else
        json_decref(slot);
}

static void show_server(FILE *out, json_t *root, const char *name, struct buf *b)
{
    json_t *server = take(root, name);

    add_up(b, server);
    (void)add(b, server, "server", "", "");
    (void)add(b, server, "brokers", "brokers ", "");
    (void)add(b, server, "error", "", "");
    finish_part(out, name, b, server);
}

/* "n of max unit", whichever of both is there. */
static void add_share(struct buf *b, json_t *object, const char *key, const char *max_key,
                      const char *unit)
{
    json_t *max = take(object, max_key);

    if (add(b, object, key, "", "")) {
        if (max != NULL) {
            buf_printf(b, " of ");
            add_value(b, max);
        }
        buf_printf(b, " %s", unit);
    }
    json_decref(max);
}

static void show_window(FILE *out, json_t *root, struct buf *b)
{
    json_t *window = take(root, "window");

    add_share(b, window, "events", "max_events", "events");
    add_share(b, window, "bytes", "max_bytes", "bytes");
    finish_part(out, "in flight", b, window);
}

static void show_topics(FILE *out, json_t *root, struct buf *b)
{
    json_t *topics = take(root, "topics_waiting");
    json_t *topic;
    size_t i;

    if (json_is_array(topics) && json_array_size(topics) == 0) {
        json_decref(topics);
        return;
    }
    if (!json_is_array(topics)) {
        finish_part(out, "topic waits", b, topics);
        return;
    }
    json_array_foreach(topics, i, topic)
    {
        (void)add(b, topic, "topic", "", "");
        (void)add(b, topic, "held", "", " events wait");
        (void)add(b, topic, "error", "", "");
        finish_part(out, i == 0 ? "topic waits" : "", b, json_incref(topic));
    }
    json_decref(topics);
}

void status_show(json_t *root, FILE *out)
{
    struct buf b = {0};
    const char *key;
    const json_t *value;

    show_head(out, root, &b);
    (void)add(&b, root, "table", "", "");
    print_line(out, "table", &b);
    show_lease(out, root, &b);
    show_source(out, root, &b);
    show_server(out, root, "postgres", &b);
    show_server(out, root, "kafka", &b);
    (void)add(&b, root, "backlog", "", " events");
    add_time(&b, root, "oldest_unpublished_s", "the oldest for ", 1);
    print_line(out, "waiting", &b);
    show_window(out, root, &b);
    (void)add(&b, root, "published", "", "");
    print_line(out, "published", &b);
    (void)add(&b, root, "acknowledged", "", "");
    print_line(out, "acknowledged", &b);
    show_topics(out, root, &b);
    (void)add(&b, root, "stall", "", "");
    print_line(out, "stall", &b);
    json_object_foreach(root, key, value)
    {
        struct buf label = {0};

        escape_text(&label, key, strlen(key));
        add_value(&b, value);
        print_line(out, buf_cstr(&label) != NULL ? buf_cstr(&label) : "", &b);
        buf_free(&label);
    }
    buf_free(&b);
}
