/* What an operator types: the commands other than `run`, and the parsing that leads to all of them.
 */
#ifndef OUTBOX_CLI_CLI_H
#define OUTBOX_CLI_CLI_H

#include "base/err.h"
#include "kafka/sink.h"
#include "ops/config.h"
#include "postgres/dead_letters.h"

enum command {
    COMMAND_RUN,
    COMMAND_CHECK,
    COMMAND_STATUS,
    COMMAND_DOCTOR,
    COMMAND_CONFIG_PRINT,
    COMMAND_DEAD,
    COMMAND_SCHEMA,
    COMMAND_ADOPT,
    COMMAND_VERSION,
    COMMAND_HELP,
};

/* Of schema; strings are argv's, NULL where they are not given. */
struct schema_request {
    bool check;
    const char *format;
    const char *from;
    const char *to;
    const char *directory;
};

struct cli {
    enum command command;
    enum command
        help_for; /* COMMAND_HELP: the command asked about, COMMAND_HELP itself for the whole */
    bool json;    /* --json of status, doctor, check, config print, dead, adopt, version */
    bool fix;     /* --fix of check */
    bool all;     /* --all of dead */
    struct dead_request dead; /* of dead, but for uri and table; strings are argv's */
    struct schema_request schema;
    const char *slot;      /* --slot of adopt, argv's; NULL: none */
    struct config *config; /* loaded for all but version and help; else NULL */
};

/* Parses the command line, environment and file. `--help` after a command becomes COMMAND_HELP,
 * `--version` COMMAND_VERSION. Errors: ERR_USAGE, ERR_CONFIG. The caller ends ret by cli_free, also
 * after an error. */
int cli_parse(struct cli *ret, int argc, char *const *argv, char *const *environ_, struct err *err);
void cli_free(struct cli *c);

/* Each prints its result to stdout, a failure as one line to stderr, and returns the exit code. */
int cli_help(const struct cli *c);
int cli_version(const struct cli *c);
int cli_config_print(const struct cli *c);
int cli_status(const struct cli *c);
int cli_check(const struct cli *c);
int cli_doctor(const struct cli *c);
int cli_dead(const struct cli *c);
int cli_schema_print(const struct cli *c);
int cli_schema_check(const struct cli *c);
int cli_adopt(const struct cli *c);

/* What the settings say of Kafka, borrowed from config; the caller frees *ret_properties, which
 * *ret points to. ERR_NOMEM. */
int cli_sink_options(const struct config *config, struct sink_options *ret,
                     struct sink_property **ret_properties, struct err *err);

/* Prints "outbox-relay: message" to stderr; returns the exit code of the class. */
int cli_fail(const struct err *err);
/* Flushes stdout: 0, or the exit code for what could not be written (said on stderr). */
int cli_done(void);

#endif
