/* `schema check`: what a database has, against what the migrations make. */
#include "cli/cli.h"
#include "cli/schema_catalog.h"
#include "ops/escape.h"
#include "postgres/catalog.h"
#include "postgres/conn.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct checking {
    const char *setting; /* source.table */
    struct catalog_facts facts;
    struct schema_shape shape;
    struct schema_objects found;
    struct schema_objects *versions; /* of version n: [n - 1] */
    int version;                     /* which one it is judged by; 0: none is there */
    json_t *findings;
    bool differs;
    bool cut; /* there was no memory to tell all of it */
};

/* ---- findings ---- */

/* Takes remedy. `differs`: the relay cannot do with it. */
static void tell(struct checking *k, bool differs, const char *what, const char *kind,
                 const char *name, struct buf *remedy)
{
    const char *text = remedy->len == 0 && !remedy->failed ? "" : buf_cstr(remedy);
    json_t *one = text == NULL ? NULL
                               : json_pack("{ss ss ss ss}", "what", what, "kind", kind, "name",
                                           name, "remedy", text);

    k->differs = k->differs || differs;
    k->cut = k->cut || one == NULL || json_array_append_new(k->findings, one) != 0;
    buf_free(remedy);
}

static void say_print(const struct checking *k, struct buf *b, int from, int to, bool run)
{
    buf_printf(b, "outbox-relay schema print --from %d --to %d", from, to);
    if (strcmp(k->setting, "outbox") != 0)
        buf_printf(b, " --source-table %s", k->setting);
    if (run)
        buf_printf(b, " | psql -X -v ON_ERROR_STOP=1");
}

/* Since which version it has been as it is to be now. */
static int since(const struct checking *k, const struct schema_object *expected)
{
    int version = k->version;

    while (version > 1) {
        const struct schema_object *before =
            schema_object_find(&k->versions[version - 2], expected);

        if (before == NULL || strcmp(before->definition, expected->definition) != 0)
            break;
        version--;
    }
    return version;
}

/* A trigger that is there, but sleeps. */
static bool is_disabled(const struct schema_object *expected, const struct schema_object *found)
{
    size_t len = strlen(expected->definition);

    return strcmp(expected->kind, "trigger") == 0 &&
           strncmp(expected->definition, found->definition, len) == 0 &&
           (strcmp(found->definition + len, " (disabled)") == 0 ||
            strcmp(found->definition + len, " (replica only)") == 0);
}

static void tell_object(struct checking *k, const struct schema_object *expected,
                        enum schema_difference difference)
{
    const struct schema_object *found = schema_object_find(&k->found, expected);
    const bool bodies = strcmp(expected->kind, "function") == 0;
    int version = since(k, expected);
    struct buf remedy = {0};

    if (found != NULL && is_disabled(expected, found)) {
        buf_printf(&remedy, "ALTER TABLE %s ENABLE TRIGGER %s;", k->facts.name,
                   strchr(expected->name, '.') + 1);
        tell(k, true, "disabled", expected->kind, expected->name, &remedy);
        return;
    }
    if (found != NULL && !bodies)
        buf_printf(&remedy, "is: %s; is to be: %s", found->definition, expected->definition);
    if (difference != SCHEMA_OTHERWISE) {
        buf_printf(&remedy, "%sas in: ", remedy.len > 0 ? "; " : "");
        say_print(k, &remedy, version - 1, version, false);
    }
    tell(k, difference != SCHEMA_OTHERWISE,
         difference == SCHEMA_MISSING     ? "missing"
         : difference == SCHEMA_DIFFERENT ? "different"
                                          : "otherwise",
         expected->kind, expected->name, &remedy);
}

/* ---- judging ---- */

/* The version that most of it looks like; 0: none. */
static int likeliest(const struct checking *k)
{
    int best = 0;
    int most = 0;

    for (int version = 1; version <= schema_newest; version++) {
        int score = schema_objects_score(&k->versions[version - 1], &k->found, &k->shape);

        if (score > most) {
            most = score;
            best = version;
        }
    }
    return best;
}

static void judge_version(struct checking *k)
{
    const struct catalog_facts *f = &k->facts;
    int likely = likeliest(k);
    struct buf remedy = {0};

    k->version = f->version > 0 ? f->version : likely;
    if (k->version > schema_newest)
        k->version = schema_newest;
    if (f->version > schema_newest) {
        buf_printf(&remedy, "a newer outbox-relay made it; this one knows %d", schema_newest);
        tell(k, false, "newer", "version", f->table, &remedy);
    } else if (k->version == 0) {
        buf_printf(&remedy, "it is none that the migrations made: outbox-relay adopt, or another "
                            "source.table");
        tell(k, true, "foreign", "table", f->table, &remedy);
    } else if (f->versions[0] != '\0' && !f->unseen && f->version < likely) {
        k->version = likely;
        buf_printf(&remedy, "INSERT INTO %s (version) SELECT * FROM generate_series(%d, %d);",
                   f->versions, f->version + 1, likely);
        tell(k, true, "not recorded", "version", f->table, &remedy);
    }
}

static void judge_objects(struct checking *k)
{
    const struct schema_objects *expected = &k->versions[k->version - 1];
    struct buf remedy = {0};

    for (size_t i = 0; i < expected->n; i++) {
        enum schema_difference d = schema_object_differs(&expected->list[i], &k->found, &k->shape);

        if (d != SCHEMA_SAME)
            tell_object(k, &expected->list[i], d);
    }
    for (size_t i = 0; i < k->found.n; i++) {
        const struct schema_object *o = &k->found.list[i];

        if (schema_object_find(&k->versions[schema_newest - 1], o) == NULL &&
            schema_object_find(expected, o) == NULL)
            tell(k, false, "additional", o->kind, o->name, &remedy);
    }
    if (k->version < schema_newest) {
        say_print(k, &remedy, k->version, schema_newest, true);
        tell(k, true, "older", "version", k->facts.table, &remedy);
    }
}

static int load_versions(struct checking *k, struct err *err)
{
    int rc = 0;

    k->shape.schema = k->facts.schema;
    k->shape.table = k->facts.table;
    k->versions = calloc((size_t)schema_newest, sizeof *k->versions);
    if (k->versions == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (int i = 0; rc == 0 && i < schema_newest; i++)
        rc = schema_objects_of(&k->versions[i], i + 1, &k->shape, err);
    return rc;
}

static int look(struct checking *k, const char *uri, struct err *err)
{
    struct buf lines = {0};
    struct buf remedy = {0};
    int rc = catalog_read(uri, k->setting, schema_catalog_query, &k->facts, &lines, err);

    if (rc == 0 && !k->facts.found) {
        say_print(k, &remedy, 0, schema_newest, true);
        tell(k, true, "missing", "table", k->setting, &remedy);
        goto out;
    }
    if (rc == 0 && buf_cstr(&lines) == NULL)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    if (rc == 0)
        rc = schema_objects_read(&k->found, buf_cstr(&lines), k->facts.schema, err);
    if (rc == 0)
        rc = load_versions(k, err);
    if (rc != 0)
        goto out;
    judge_version(k);
    if (k->version > 0)
        judge_objects(k);
out:
    buf_free(&lines);
    return rc;
}

/* ---- showing ---- */

/* Names and definitions are the database's: whatever they are, it stays one line. */
static void show(struct checking *k, const char *text)
{
    struct buf b = {0};

    escape_text(&b, text, strlen(text));
    k->cut = k->cut || buf_cstr(&b) == NULL;
    (void)fputs(buf_cstr(&b) != NULL ? buf_cstr(&b) : "?", stdout);
    buf_free(&b);
}

static void show_text(struct checking *k)
{
    const char *name = k->facts.found ? k->facts.name : k->setting;
    const char *key;
    const char *last;
    json_t *one;
    size_t i;

    show(k, name);
    printf(": version %d of %d, %s\n",
           k->facts.version > schema_newest ? k->facts.version : k->version, schema_newest,
           k->differs ? "but not as it is to be" : "as it is to be");
    json_array_foreach(k->findings, i, one)
    {
        key = json_string_value(json_object_get(one, "what"));
        last = json_string_value(json_object_get(one, "remedy"));
        printf("%-12s  %s ", key, json_string_value(json_object_get(one, "kind")));
        show(k, json_string_value(json_object_get(one, "name")));
        printf("%s", *last != '\0' ? " \xe2\x80\x94 " : "");
        show(k, last);
        printf("\n");
    }
}

static void show_json(struct checking *k)
{
    json_t *all =
        json_pack("{ss si si sb sO}", "table", k->facts.found ? k->facts.name : k->setting,
                  "version", k->facts.version > schema_newest ? k->facts.version : k->version,
                  "newest", schema_newest, "fits", !k->differs, "findings", k->findings);

    k->cut = k->cut || all == NULL || json_dumpf(all, stdout, JSON_INDENT(2)) != 0;
    printf("\n");
    json_decref(all);
}

static void free_checking(struct checking *k)
{
    for (int i = 0; k->versions != NULL && i < schema_newest; i++)
        schema_objects_free(&k->versions[i]);
    free(k->versions);
    schema_objects_free(&k->found);
    json_decref(k->findings);
}

int cli_schema_check(const struct cli *c)
{
    struct checking k = {.setting = c->config->source_table,
                         .shape = {.columns = c->config->columns},
                         .findings = json_array()};
    struct err err;
    int code;
    int rc = pg_conn_check_uri(c->config->postgres_uri, "postgres.uri", &err);

    if (rc == 0)
        rc = look(&k, c->config->postgres_uri, &err);
    if (rc == 0 && c->json)
        show_json(&k);
    else if (rc == 0)
        show_text(&k);
    if (rc == 0 && k.cut)
        rc = err_set(&err, ERR_NOMEM, "schema check: out of memory");
    code = rc != 0 ? cli_fail(&err) : cli_done();
    if (code == 0 && k.differs)
        code = err_exit_code(ERR_CONFIG);
    free_checking(&k);
    return code;
}
