/* The settings: a row here is all it takes to have a flag, a variable, a file key, a default, its
 * line in the help and in `config print`. */
#include "ops/config_table.h"

#include "ops/address.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KIB INT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define IDENTIFIER_MAX 63 /* PostgreSQL's NAMEDATALEN - 1: it would cut a longer one silently */

static const char *const source_modes[] = {"auto", "table", "wal", NULL};
static const char *const ack_modes[] = {"delete", "mark", NULL};
static const char *const policies[] = {"park", "dead-letter", "halt", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"auto", "text", "json", NULL};

#define FIELD(name) offsetof(struct config, name)

const struct setting setting_table[SETTINGS] = {
    {.key = "postgres.uri",
     .type = SETTING_STRING,
     .offset = FIELD(postgres_uri),
     .default_text = "",
     .secret = true,
     .help = "Database of the outbox, URI or key=value; empty: libpq's PG* variables."},
    {.key = "postgres.direct_uri",
     .type = SETTING_STRING,
     .offset = FIELD(postgres_direct_uri),
     .default_text = "",
     .secret = true,
     .help = "The same past a pooler, for LISTEN, its lock, decoding; empty: postgres.uri."},
    {.key = "source.mode",
     .type = SETTING_WORD,
     .offset = FIELD(source_mode),
     .default_text = "auto",
     .words = source_modes,
     .help = "How events are read; auto takes the best way that works."},
    {.key = "source.table",
     .type = SETTING_IDENTIFIER,
     .offset = FIELD(source_table),
     .default_text = "outbox",
     .help = "The outbox table; may be schema-qualified."},
    {.key = "source.poll_interval_ms",
     .type = SETTING_INTEGER,
     .offset = FIELD(source_poll_interval_ms),
     .default_text = "1000",
     .min = 10,
     .max = 60000,
     .help = "How often to look when nothing notifies."},
    {.key = "source.slot",
     .type = SETTING_SLOT,
     .offset = FIELD(source_slot),
     .default_text = "",
     .help = "A replication slot that stays, for logical messages and for services that delete "
             "their own event rows; empty: a temporary one where it is needed."},
    {.key = "source.publication",
     .type = SETTING_STRING,
     .offset = FIELD(source_publication),
     .default_text = "outbox_relay",
     .help = "The publication that logical decoding reads; made where the role may."},
    {.key = "source.message_prefix",
     .type = SETTING_STRING,
     .offset = FIELD(source_message_prefix),
     .default_text = "outbox",
     .help = "The prefix of logical messages that are events; they come by source.slot alone."},
    {.key = "source.wal_budget",
     .type = SETTING_BYTES,
     .offset = FIELD(source_wal_budget),
     .default_text = "1GiB",
     .min = 16 * MIB,
     .max = 1024 * GIB,
     .help = "WAL that a slot may hold back before it is given up; source.slot only warns."},
    {.key = "lease.ttl_ms",
     .type = SETTING_INTEGER,
     .offset = FIELD(lease_ttl_ms),
     .default_text = "8000",
     .min = 2000,
     .max = 600000,
     .help = "How long an owner that is not heard of keeps the outbox."},
    {.key = "ack.mode",
     .type = SETTING_WORD,
     .offset = FIELD(ack_mode),
     .default_text = "delete",
     .words = ack_modes,
     .help = "Delete published rows, or mark them by published_at."},
    {.key = "window.events",
     .type = SETTING_INTEGER,
     .offset = FIELD(window_events),
     .default_text = "50000",
     .min = 1,
     .max = 1000000,
     .help = "Events in flight at most."},
    {.key = "window.bytes",
     .type = SETTING_BYTES,
     .offset = FIELD(window_bytes),
     .default_text = "64MiB",
     .min = MIB,
     .max = 16 * GIB,
     .help = "Bytes in flight at most."},
    {.key = "route.topic",
     .type = SETTING_STRING,
     .offset = FIELD(route_topic),
     .default_text = "outbox.event.${aggregatetype}",
     .help = "The topic; ${aggregatetype}, ${aggregateid}, ${type} stand for the columns."},
    {.key = "failure.policy",
     .type = SETTING_WORD,
     .offset = FIELD(failure_policy),
     .default_text = "park",
     .words = policies,
     .help = "What becomes of an event that cannot be published: park, dead-letter or halt."},
    {.key = "http.listen",
     .type = SETTING_ADDRESS,
     .offset = FIELD(http_listen),
     .default_text = "127.0.0.1:9478",
     .help = "Where /livez /readyz /metrics /statusz are served; empty: off."},
    {.key = "log.level",
     .type = SETTING_WORD,
     .offset = FIELD(log_level),
     .default_text = "info",
     .words = log_levels,
     .help = "The least that is logged."},
    {.key = "log.format",
     .type = SETTING_WORD,
     .offset = FIELD(log_format),
     .default_text = "auto",
     .words = log_formats,
     .help = "auto: text on a terminal, JSON otherwise."},
    {.key = "shutdown.timeout_ms",
     .type = SETTING_INTEGER,
     .offset = FIELD(shutdown_timeout_ms),
     .default_text = "10000",
     .min = 0,
     .max = 600000,
     .help = "How long to drain at a stop."},
};

/* Words are stored through an int of the same size. */
_Static_assert(sizeof(enum source_mode) == sizeof(int) && sizeof(enum ack_mode) == sizeof(int) &&
                   sizeof(enum failure_policy) == sizeof(int) &&
                   sizeof(enum log_level) == sizeof(int) && sizeof(enum log_format) == sizeof(int),
               "enums are as wide as int");

void setting_flag(const char *key, char ret_name[SETTING_NAME_MAX])
{
    size_t n = 2;

    memcpy(ret_name, "--", 2);
    for (; *key != '\0' && n < SETTING_NAME_MAX - 1; key++)
        ret_name[n++] = *key == '.' || *key == '_' ? '-' : *key;
    ret_name[n] = '\0';
}

void setting_variable(const char *key, char ret_name[SETTING_NAME_MAX])
{
    size_t n = strlen("OUTBOX_");

    memcpy(ret_name, "OUTBOX_", n);
    for (; *key != '\0' && n < SETTING_NAME_MAX - 1; key++) {
        if (*key == '.')
            ret_name[n++] = '_';
        else
            ret_name[n++] = (char)(*key >= 'a' && *key <= 'z' ? *key - 'a' + 'A' : *key);
    }
    ret_name[n] = '\0';
}

const struct setting *setting_find(const char *key)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (strcmp(setting_table[i].key, key) == 0)
            return &setting_table[i];
    return NULL;
}

const struct setting *setting_find_flag(const char *flag)
{
    char name[SETTING_NAME_MAX];

    for (size_t i = 0; i < SETTINGS; i++) {
        setting_flag(setting_table[i].key, name);
        if (strcmp(name, flag) == 0)
            return &setting_table[i];
    }
    return NULL;
}

const struct setting *setting_find_variable(const char *variable)
{
    char name[SETTING_NAME_MAX];

    for (size_t i = 0; i < SETTINGS; i++) {
        setting_variable(setting_table[i].key, name);
        if (strcmp(name, variable) == 0)
            return &setting_table[i];
    }
    return NULL;
}

static void bytes_text(int64_t v, struct buf *b)
{
    static const struct {
        int64_t factor;
        const char *unit;
    } units[] = {{GIB, "GiB"}, {MIB, "MiB"}, {KIB, "KiB"}};

    for (size_t i = 0; v != 0 && i < sizeof units / sizeof units[0]; i++) {
        if (v % units[i].factor == 0) {
            buf_printf(b, "%" PRId64 "%s", v / units[i].factor, units[i].unit);
            return;
        }
    }
    buf_printf(b, "%" PRId64, v);
}

void setting_allowed(const struct setting *s, struct buf *b)
{
    switch (s->type) {
    case SETTING_STRING:
        buf_printf(b, "a string");
        break;
    case SETTING_IDENTIFIER:
        buf_printf(b,
                   "name or schema.name, each a letter or _ and then letters, digits, _ or $, "
                   "at most %d bytes",
                   IDENTIFIER_MAX);
        break;
    case SETTING_SLOT:
        buf_printf(b, "lower-case letters, digits and _, at most %d of them, or empty",
                   IDENTIFIER_MAX);
        break;
    case SETTING_ADDRESS:
        buf_printf(b, "host:port, [::1]:port, :port for all addresses, or empty for off");
        break;
    case SETTING_INTEGER:
        buf_printf(b, "a whole number from %" PRId64 " to %" PRId64, s->min, s->max);
        break;
    case SETTING_BYTES:
        buf_printf(b, "a size from ");
        bytes_text(s->min, b);
        buf_printf(b, " to ");
        bytes_text(s->max, b);
        buf_printf(b, ", in bytes or with kB, MB, GB, KiB, MiB, GiB");
        break;
    case SETTING_WORD:
        buf_printf(b, s->words[1] == NULL ? "only %s" : "one of %s", s->words[0]);
        for (size_t i = 1; s->words[i] != NULL; i++)
            buf_printf(b, ", %s", s->words[i]);
        break;
    }
}

/* Digits with an optional minus; *ret_end is what follows them. */
static bool parse_number(const char *text, int64_t *ret, const char **ret_end)
{
    const char *digits = *text == '-' ? text + 1 : text;
    char *end;

    if (*digits < '0' || *digits > '9')
        return false;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    *ret_end = end;
    return errno == 0;
}

static bool parse_bytes(const char *text, int64_t *ret)
{
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {{"", 1},      {"B", 1},        {"kB", 1000},
                 {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000},
                 {"KiB", KIB}, {"MiB", MIB},    {"GiB", GIB}};
    const char *unit;

    if (!parse_number(text, ret, &unit))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(unit, units[i].unit) == 0)
            return !__builtin_mul_overflow(*ret, units[i].factor, ret);
    return false;
}

/* One plain identifier; returns what follows it, NULL where there is none. */
static const char *skip_identifier(const char *text)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789$";
    size_t len = strspn(text, rest);

    if (*text == '\0' || strchr(first, *text) == NULL || len > IDENTIFIER_MAX)
        return NULL;
    return text + len;
}

static bool identifier_ok(const char *text)
{
    const char *at = skip_identifier(text);

    if (at != NULL && *at == '.')
        at = skip_identifier(at + 1);
    return at != NULL && *at == '\0';
}

/* As PostgreSQL takes it (slot.c, ReplicationSlotValidateName). */
static bool slot_ok(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");

    return text[len] == '\0' && len <= IDENTIFIER_MAX;
}

static void *field(const struct setting *s, struct config *c)
{
    return (char *)c + s->offset;
}

static enum setting_result store_string(const struct setting *s, const char *text, struct config *c)
{
    char *copy = strdup(text);
    char **to = field(s, c);

    if (copy == NULL)
        return SETTING_NOMEM;
    free(*to);
    *to = copy;
    return SETTING_OK;
}

static enum setting_result store_word(const struct setting *s, const char *text, struct config *c)
{
    for (int i = 0; s->words[i] != NULL; i++) {
        if (strcmp(s->words[i], text) == 0) {
            memcpy(field(s, c), &i, sizeof i);
            return SETTING_OK;
        }
    }
    return SETTING_REFUSED;
}

static enum setting_result store_number(const struct setting *s, const char *text, struct config *c)
{
    const char *end = "";
    int64_t v;

    if (s->type == SETTING_BYTES ? !parse_bytes(text, &v)
                                 : !parse_number(text, &v, &end) || *end != '\0')
        return SETTING_REFUSED;
    if (v < s->min || v > s->max)
        return SETTING_REFUSED;
    memcpy(field(s, c), &v, sizeof v);
    return SETTING_OK;
}

enum setting_result setting_store(const struct setting *s, const char *text, struct config *c)
{
    struct address address;

    switch (s->type) {
    case SETTING_STRING:
        return store_string(s, text, c);
    case SETTING_IDENTIFIER:
        return identifier_ok(text) ? store_string(s, text, c) : SETTING_REFUSED;
    case SETTING_SLOT:
        return slot_ok(text) ? store_string(s, text, c) : SETTING_REFUSED;
    case SETTING_ADDRESS:
        if (*text != '\0' && !address_parse(text, &address))
            return SETTING_REFUSED;
        return store_string(s, text, c);
    case SETTING_INTEGER:
    case SETTING_BYTES:
        return store_number(s, text, c);
    case SETTING_WORD:
        break;
    }
    return store_word(s, text, c);
}

static const void *field_of(const struct setting *s, const struct config *c)
{
    return (const char *)c + s->offset;
}

void setting_text(const struct setting *s, const struct config *c, struct buf *b)
{
    const char *const *string = field_of(s, c);
    int64_t number = 0;
    int word = 0;

    switch (s->type) {
    case SETTING_STRING:
    case SETTING_IDENTIFIER:
    case SETTING_SLOT:
    case SETTING_ADDRESS:
        buf_append(b, *string, strlen(*string));
        return;
    case SETTING_INTEGER:
        memcpy(&number, field_of(s, c), sizeof number);
        buf_printf(b, "%" PRId64, number);
        return;
    case SETTING_BYTES:
        memcpy(&number, field_of(s, c), sizeof number);
        bytes_text(number, b);
        return;
    case SETTING_WORD:
        memcpy(&word, field_of(s, c), sizeof word);
        buf_printf(b, "%s", s->words[word]);
        return;
    }
}

void setting_free_all(struct config *c)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *s = &setting_table[i];

        if (s->type == SETTING_STRING || s->type == SETTING_IDENTIFIER || s->type == SETTING_SLOT ||
            s->type == SETTING_ADDRESS) {
            char **string = field(s, c);

            free(*string);
            *string = NULL;
        }
    }
}
