/* `version`: our own and that of each library that is loaded. */
#include "cli/cli.h"

#include "kafka/sink.h"
#include "ops/versions.h"
#include "postgres/conn.h"

int cli_version(const struct cli *c)
{
    const struct {
        const char *name;
        const char *version;
    } libraries[] = {
        {"librdkafka", sink_library_version()},
        {"libpq", pg_library_version()},
        {"libuv", version_libuv()},
        {"jansson", version_jansson()},
        {"libmicrohttpd", version_microhttpd()},
    };

    printf(c->json ? "{\"outbox-relay\": \"%s\"" : "outbox-relay %s\n", OUTBOX_VERSION);
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        printf(c->json ? ", \"%s\": \"%s\"" : "%s %s\n", libraries[i].name, libraries[i].version);
    if (c->json)
        printf("}\n");
    return cli_done();
}
