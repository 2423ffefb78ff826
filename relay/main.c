/* The program: parses, then leads to the command. */
#include "cli/cli.h"
#include "ops/log.h"
#include "relay.h"

#include <unistd.h>

struct command_line {
    int argc;
    char **argv;
};

/* The same command line, file and environment again, for SIGHUP. */
static int reload(void *arg, struct config **ret, struct err *err)
{
    struct command_line *line = arg;
    struct cli cli = {0};
    int rc = cli_parse(&cli, line->argc, line->argv, environ, err);

    if (rc == 0) {
        *ret = cli.config;
        cli.config = NULL;
    }
    cli_free(&cli);
    return rc;
}

static int run(const struct cli *cli, struct command_line *line)
{
    struct log *log = NULL;
    struct err err;
    int exit_code;

    if (log_open(&log, STDERR_FILENO, cli->config->log_level, cli->config->log_format, &err) != 0)
        return cli_fail(&err);
    exit_code = relay_run(cli->config, log, reload, line);
    log_close(log);
    return exit_code;
}

int main(int argc, char **argv)
{
    struct command_line line = {argc, argv};
    struct cli cli = {0};
    struct err err;
    int exit_code = 0;

    if (cli_parse(&cli, argc, argv, environ, &err) != 0) {
        exit_code = cli_fail(&err);
        cli_free(&cli);
        return exit_code;
    }
    switch (cli.command) {
    case COMMAND_RUN:
        exit_code = run(&cli, &line);
        break;
    case COMMAND_CHECK:
        exit_code = cli_check(&cli);
        break;
    case COMMAND_STATUS:
        exit_code = cli_status(&cli);
        break;
    case COMMAND_DOCTOR:
        exit_code = cli_doctor(&cli);
        break;
    case COMMAND_DEAD:
        exit_code = cli_dead(&cli);
        break;
    case COMMAND_SCHEMA:
        exit_code = cli.schema.check ? cli_schema_check(&cli) : cli_schema_print(&cli);
        break;
    case COMMAND_ADOPT:
        exit_code = cli_adopt(&cli);
        break;
    case COMMAND_CONFIG_PRINT:
        exit_code = cli_config_print(&cli);
        break;
    case COMMAND_VERSION:
        exit_code = cli_version(&cli);
        break;
    case COMMAND_HELP:
        exit_code = cli_help(&cli);
        break;
    }
    cli_free(&cli);
    return exit_code;
}
