/* The table of commands, as config_table.h is that of settings: what the parser takes, the help,
 * the manual page and the completion all come from it. */
#ifndef OUTBOX_CLI_COMMANDS_H
#define OUTBOX_CLI_COMMANDS_H

#include "cli/cli.h"

/* A flag that is no setting. */
struct command_flag {
    const char *name;  /* "--key" */
    const char *value; /* what it takes, as the help calls it: "KEY"; NULL: nothing */
    unsigned commands; /* that have it: COMMAND_BIT(...) */
    size_t offset; /* of its field in struct cli: const char *, or bool where it takes nothing */
};

#define COMMAND_BIT(command) (1U << (command))

#define COMMAND_FLAGS 15
extern const struct command_flag command_flags[COMMAND_FLAGS];

struct command_entry {
    const char *name;         /* its first word */
    const char *const *verbs; /* its second word, NULL-terminated; NULL: it has none */
    const char *summary;
    const char *help; /* usage, what it does, an example */
};

/* At the index of enum command. */
extern const struct command_entry command_table[COMMAND_HELP + 1];

/* How a process ends. */
struct command_exit {
    int code;
    const char *meaning;
};

#define COMMAND_EXITS 8
extern const struct command_exit command_exits[COMMAND_EXITS];

/* Parts of the help that stand in the manual page too. */
extern const char command_purpose[];
extern const char command_examples[];
extern const char command_settings_rule[];
extern const char command_signals[];

#endif
