/* `adopt`: an outbox that is there already becomes one that the relay reads. Prints what to run. */
#include "postgres/adopt.h"
#include "cli/adopt_sql.h"
#include "cli/cli.h"
#include "postgres/conn.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* ---- the settings to use ---- */

static void set(json_t *settings, const char *group, const char *name, const char *value)
{
    json_t *object = json_object_get(settings, group);

    if (object == NULL) {
        object = json_object();
        (void)json_object_set_new(settings, group, object);
    }
    (void)json_object_set_new(object, name, json_string(value));
}

static json_t *settings_of(const struct config *config, const struct adopt_plan *plan,
                           const char *slot)
{
    json_t *settings = json_object();

    if (settings == NULL)
        return NULL;
    set(settings, "source", "table", config->source_table);
    if (slot != NULL)
        set(settings, "source", "slot", slot);
    if (slot != NULL)
        set(settings, "source", "publication", config->source_publication);
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        if (strcmp(plan->names[k], column_own_name(k)) != 0)
            set(settings, "columns", column_own_name(k), plan->names[k]);
    if (config->columns_additional[0] != '\0')
        set(settings, "columns", "additional", config->columns_additional);
    /* Neither of them writes the type, unless it is placed as one of the additional columns. */
    if (plan->shape != ADOPT_OTHER)
        set(settings, "record", "type_header", "");
    return settings;
}

static void print_comment(const char *text)
{
    printf("\n-- Settings, as `outbox-relay adopt --json` prints them for the file:\n-- ");
    for (const char *p = text; *p != '\0'; p++)
        printf(*p == '\n' ? "\n-- " : "%c", *p);
    printf("\n");
}

/* ---- the command ---- */

static int print(const struct cli *c, const struct adopt_plan *plan, struct buf *sql,
                 struct err *err)
{
    json_t *settings = settings_of(c->config, plan, c->slot);
    char *text = settings == NULL ? NULL : json_dumps(settings, JSON_INDENT(2));
    const char *statements = buf_cstr(sql);
    int rc = 0;

    if (text == NULL || statements == NULL) {
        rc = err_set(err, ERR_NOMEM, "adopt: out of memory");
    } else if (c->json) {
        printf("%s\n", text);
    } else {
        printf("%s", statements);
        print_comment(text);
    }
    free(text);
    json_decref(settings);
    return rc;
}

int cli_adopt(const struct cli *c)
{
    struct adopt_request request = {
        .uri = c->config->postgres_uri,
        .table = c->config->source_table,
        .publication = c->config->source_publication,
        .slot = c->slot,
    };
    struct adopt_plan plan;
    struct buf sql = {0};
    struct err err;
    int rc = pg_conn_check_uri(c->config->postgres_uri, "postgres.uri", &err);

    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        request.names[k] = c->config->column_names[k];
    if (rc == 0)
        rc = adopt(&request, adopt_sql, &sql, &plan, &err);
    if (rc == 0)
        rc = print(c, &plan, &sql, &err);
    buf_free(&sql);
    return rc != 0 ? cli_fail(&err) : cli_done();
}
