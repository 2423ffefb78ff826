/* What turns a setting's text into a checked value, and back. */
#include "ops/address.h"
#include "ops/config_table.h"
#include "ops/failure_topics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KIB INT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define IDENTIFIER_MAX COLUMN_NAME_MAX /* PostgreSQL would cut a longer one silently */

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
    case SETTING_COLUMN:
    case SETTING_COLUMN_OR_NONE:
        buf_printf(b, "a column's name as the catalogue has it, without quotes, at most %d bytes%s",
                   COLUMN_NAME_MAX,
                   s->type == SETTING_COLUMN ? "" : ", or empty: the table has none");
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
    case SETTING_POLICIES:
        buf_printf(b, "PATTERN=POLICY, ... with * and ? in a topic's name as PATTERN, and park, "
                      "dead-letter or halt as POLICY, or empty");
        break;
    case SETTING_DEAD_TOPIC:
        buf_printf(b,
                   "letters, digits, '.', '_', '-', at most %d of them, and ${topic} for the "
                   "event's own topic, or empty",
                   TOPIC_NAME_MAX);
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

/* PostgreSQL takes any text; what would break a line is no name that anybody meant. */
static bool column_ok(const char *text, bool optional)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return len <= COLUMN_NAME_MAX && (len > 0 || optional);
}

/* As PostgreSQL takes it (slot.c, ReplicationSlotValidateName). */
static bool slot_ok(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");

    return text[len] == '\0' && len <= IDENTIFIER_MAX;
}

static bool dead_topic_ok(const char *text)
{
    static const char own[] = "${topic}";
    const char *at = strstr(text, own);
    size_t before = strspn(text, TOPIC_NAME_LETTERS);

    if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0 || strcmp(text, own) == 0)
        return false;
    if (at != NULL && text + before == at)
        before += sizeof own - 1 + strspn(at + sizeof own - 1, TOPIC_NAME_LETTERS);
    return text[before] == '\0' && before <= TOPIC_NAME_MAX;
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
    case SETTING_COLUMN:
    case SETTING_COLUMN_OR_NONE:
        return column_ok(text, s->type == SETTING_COLUMN_OR_NONE) ? store_string(s, text, c)
                                                                  : SETTING_REFUSED;
    case SETTING_SLOT:
        return slot_ok(text) ? store_string(s, text, c) : SETTING_REFUSED;
    case SETTING_ADDRESS:
        if (*text != '\0' && !address_parse(text, &address))
            return SETTING_REFUSED;
        return store_string(s, text, c);
    case SETTING_POLICIES:
        return failure_topics_ok(text) ? store_string(s, text, c) : SETTING_REFUSED;
    case SETTING_DEAD_TOPIC:
        return dead_topic_ok(text) ? store_string(s, text, c) : SETTING_REFUSED;
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
    case SETTING_COLUMN:
    case SETTING_COLUMN_OR_NONE:
    case SETTING_SLOT:
    case SETTING_ADDRESS:
    case SETTING_POLICIES:
    case SETTING_DEAD_TOPIC:
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

        if (s->type != SETTING_INTEGER && s->type != SETTING_BYTES && s->type != SETTING_WORD) {
            char **string = field(s, c);

            free(*string);
            *string = NULL;
        }
    }
}
