/* `--help`, for the whole and for each command. */
#include "cli/commands.h"

static void print_overview(void)
{
    (void)printf("Usage: outbox-relay [COMMAND] [--setting value ...]\n\n%s\nCommands:\n",
                 command_purpose);
    for (size_t i = 0; i < sizeof command_table / sizeof *command_table; i++) {
        const struct command_entry *e = &command_table[i];
        char name[32];

        /* The one verb of a command is a part of its name. */
        (void)snprintf(name, sizeof name, "%s%s%s", e->name, i == COMMAND_CONFIG_PRINT ? " " : "",
                       i == COMMAND_CONFIG_PRINT ? e->verbs[0] : "");
        (void)printf("  %-15s%s\n", name, e->summary);
    }
    (void)printf("\nExamples:\n%s", command_examples);
}

int cli_help(const struct cli *c)
{
    struct err err;

    if (c->help_for == COMMAND_HELP)
        print_overview();
    else
        (void)fputs(command_table[c->help_for].help, stdout);
    if (c->help_for == COMMAND_VERSION)
        return cli_done();
    (void)printf("\n%s\nSettings:\n", command_settings_rule);
    (void)fputs("  --config\n      The JSON file of settings; variable OUTBOX_CONFIG.\n"
                "      default: none is read\n",
                stdout);
    if (config_help(stdout, &err) != 0)
        return cli_fail(&err);
    (void)fputs("\nExit codes:\n", stdout);
    for (size_t i = 0; i < COMMAND_EXITS; i++)
        (void)printf("  %-4d%s\n", command_exits[i].code, command_exits[i].meaning);
    (void)printf("\n%s", command_signals);
    return cli_done();
}
