/* `config print`: what would be in effect, and where each value came from. */
#include "cli/cli.h"

int cli_config_print(const struct cli *c)
{
    struct err err;

    if (config_print(c->config, stdout, c->json, &err) != 0)
        return cli_fail(&err);
    return cli_done();
}
