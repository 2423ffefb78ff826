/* `status`: asks the running relay over HTTP. */
#include "cli/cli.h"

#include "cli/status_get.h"
#include "cli/status_show.h"

#define TIMEOUT_MS 3000

int cli_status(const struct cli *c)
{
    const char *listen = c->config->http_listen;
    struct buf body = {0};
    json_t *root = NULL;
    struct err err;
    int code;

    if (*listen == '\0') {
        (void)err_set(&err, ERR_CONFIG,
                      "status: http.listen is empty, so the relay cannot be asked; give it the "
                      "address that the relay listens on");
        return cli_fail(&err);
    }
    if (status_get(listen, "/statusz", TIMEOUT_MS, &body, &err) != 0) {
        code = cli_fail(&err);
        goto out;
    }
    root = json_loadb((const char *)body.data, body.len, 0, NULL);
    if (!json_is_object(root)) {
        (void)err_set(&err, ERR_UNAVAILABLE,
                      "status: what listens at http.listen %s does not answer as an outbox-relay",
                      listen);
        code = cli_fail(&err);
        goto out;
    }
    if (!c->json)
        status_show(root, stdout);
    else
        (void)fwrite(body.data, 1, body.len, stdout);
    if (c->json && body.data[body.len - 1] != '\n')
        (void)fputc('\n', stdout);
    code = cli_done();
out:
    json_decref(root);
    buf_free(&body);
    return code;
}
