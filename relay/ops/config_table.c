/* The settings: a row here is all it takes to have a flag, a variable, a file key, a default, its
 * line in the help and in `config print`. */
#include "ops/config_table.h"

#include "ops/failure_topics.h"

#include <string.h>

#define MIB (INT64_C(1024) * 1024)
#define GIB (MIB * 1024)

static const char *const source_modes[] = {"auto", "table", "wal", NULL};
static const char *const ack_modes[] = {"delete", "mark", NULL};
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
    {.key = "columns.seq",
     .type = SETTING_COLUMN,
     .offset = FIELD(column_names[COLUMN_SEQ]),
     .default_text = "seq",
     .help = "The column of the order of insertion."},
    {.key = "columns.id",
     .type = SETTING_COLUMN,
     .offset = FIELD(column_names[COLUMN_ID]),
     .default_text = "id",
     .help = "The column of the event's id, a uuid."},
    {.key = "columns.xid",
     .type = SETTING_COLUMN,
     .offset = FIELD(column_names[COLUMN_XID]),
     .default_text = "xid",
     .help = "The column of the transaction that wrote the row."},
    {.key = "columns.aggregatetype",
     .type = SETTING_COLUMN_OR_NONE,
     .offset = FIELD(column_names[COLUMN_AGGREGATETYPE]),
     .default_text = "aggregatetype",
     .help = "The column to route by; empty: the table has none."},
    {.key = "columns.aggregateid",
     .type = SETTING_COLUMN,
     .offset = FIELD(column_names[COLUMN_AGGREGATEID]),
     .default_text = "aggregateid",
     .help = "The column of the record's key."},
    {.key = "columns.type",
     .type = SETTING_COLUMN_OR_NONE,
     .offset = FIELD(column_names[COLUMN_TYPE]),
     .default_text = "type",
     .help = "The column of the event's type; empty: the table has none."},
    {.key = "columns.payload",
     .type = SETTING_COLUMN_OR_NONE,
     .offset = FIELD(column_names[COLUMN_PAYLOAD]),
     .default_text = "payload",
     .help = "The column of the record's value; empty: payload_bytes alone."},
    {.key = "columns.payload_bytes",
     .type = SETTING_COLUMN_OR_NONE,
     .offset = FIELD(column_names[COLUMN_PAYLOAD_BYTES]),
     .default_text = "payload_bytes",
     .help = "The column of a value that is no text; empty: the table has none."},
    {.key = "columns.headers",
     .type = SETTING_COLUMN_OR_NONE,
     .offset = FIELD(column_names[COLUMN_HEADERS]),
     .default_text = "headers",
     .help = "The column of more headers; empty: the table has none."},
    {.key = "columns.topic",
     .type = SETTING_COLUMN_OR_NONE,
     .offset = FIELD(column_names[COLUMN_TOPIC]),
     .default_text = "topic",
     .help = "The column that overrides the topic; empty: the table has none."},
    {.key = "columns.partition",
     .type = SETTING_COLUMN_OR_NONE,
     .offset = FIELD(column_names[COLUMN_PARTITION]),
     .default_text = "partition",
     .help = "The column that overrides the partition; empty: the table has none."},
    {.key = "columns.created_at",
     .type = SETTING_COLUMN,
     .offset = FIELD(column_names[COLUMN_CREATED_AT]),
     .default_text = "created_at",
     .help = "The column of the record's timestamp."},
    {.key = "columns.published_at",
     .type = SETTING_COLUMN,
     .offset = FIELD(column_names[COLUMN_PUBLISHED_AT]),
     .default_text = "published_at",
     .help = "The column that is null until the event is published."},
    {.key = "columns.additional",
     .type = SETTING_STRING,
     .offset = FIELD(columns_additional),
     .default_text = "",
     .help = "More columns as headers: \"tenant:header, trace:header:traceparent\"."},
    {.key = "record.type_header",
     .type = SETTING_STRING,
     .offset = FIELD(record_type_header),
     .default_text = "eventType",
     .help = "The header that holds the event's type; empty: none."},
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
     .words = failure_policies,
     .help = "What becomes of an event that cannot be published: park, dead-letter or halt."},
    {.key = "failure.topics",
     .type = SETTING_POLICIES,
     .offset = FIELD(failure_topics),
     .default_text = "",
     .help = "The same for some topics: \"audit.*=dead-letter, pay*=halt\", the first that fits."},
    {.key = "failure.dead_letter_topic",
     .type = SETTING_DEAD_TOPIC,
     .offset = FIELD(failure_dead_letter_topic),
     .default_text = "",
     .help = "Where a copy of each dead event goes; ${topic} stands for its own topic."},
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
