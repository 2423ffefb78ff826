/* The table of settings, and what turns a text into a checked value. Private to ops/config*.c and
 * cli/manual*.c. */
#ifndef OUTBOX_OPS_CONFIG_TABLE_H
#define OUTBOX_OPS_CONFIG_TABLE_H

#include "base/buf.h"
#include "ops/config.h"

enum setting_type {
    SETTING_STRING,
    SETTING_IDENTIFIER, /* name or schema.name */
    SETTING_COLUMN,     /* a column's name */
    SETTING_COLUMN_OR_NONE,
    SETTING_SLOT,    /* a replication slot's name, or empty */
    SETTING_ADDRESS, /* host:port or empty */
    SETTING_INTEGER,
    SETTING_BYTES,
    SETTING_WORD,
    SETTING_POLICIES,   /* failure_topics.h */
    SETTING_DEAD_TOPIC, /* a topic's name that may hold ${topic}, or empty */
};

struct setting {
    const char *key;
    enum setting_type type;
    size_t offset; /* of its field in struct config */
    const char *default_text;
    int64_t min; /* SETTING_INTEGER, SETTING_BYTES */
    int64_t max;
    const char *const *words; /* SETTING_WORD: NULL-terminated, at the index of the enum's value */
    bool secret;              /* may carry a password: never in an error, cut when printed */
    const char *help;
};

#define SETTINGS 36
extern const struct setting setting_table[SETTINGS];

#define KAFKA_PREFIX "kafka."
#define SETTING_NAME_MAX 192 /* of a key, flag or variable, with its NUL */

/* The three names of one setting: key a.b_c, flag --a-b-c, variable OUTBOX_A_B_C. */
void setting_flag(const char *key, char ret_name[SETTING_NAME_MAX]);
void setting_variable(const char *key, char ret_name[SETTING_NAME_MAX]);

/* NULL where no setting has that key (kafka.* has no row). */
const struct setting *setting_find(const char *key);
/* The same by flag or variable. */
const struct setting *setting_find_flag(const char *flag);
const struct setting *setting_find_variable(const char *variable);

/* What is allowed, as a phrase: "one of delete, mark", "a whole number from 10 to 60000". */
void setting_allowed(const struct setting *s, struct buf *b);

enum setting_result { SETTING_OK, SETTING_REFUSED, SETTING_NOMEM };

/* Checks text and stores it in its field of c, in place of what was there. */
enum setting_result setting_store(const struct setting *s, const char *text, struct config *c);

/* The field's value as text, such that setting_store would take it again. */
void setting_text(const struct setting *s, const struct config *c, struct buf *b);

/* Ends the strings of c's table fields. */
void setting_free_all(struct config *c);

#endif
