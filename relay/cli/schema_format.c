#include "cli/schema_format.h"

#include <stdio.h>
#include <string.h>

static const struct schema_format formats[] = {
    {"sql", false, schema_sql, "%04d_%s.up.sql", "%04d_%s.down.sql", false, NULL},
    {"flyway", false, schema_plain, "V%d__%s.sql", "U%d__%s.sql", false, NULL},
    {"liquibase", true, schema_liquibase, "outbox_relay.sql", NULL, true, NULL},
    {"golang-migrate", false, schema_plain, "%06d_%s.up.sql", "%06d_%s.down.sql", false, NULL},
    {"goose", true, schema_goose, "%05d_%s.sql", NULL, false, NULL},
    {"dbmate", true, schema_dbmate, "%04d_%s.sql", NULL, false, NULL},
    {"node-pg-migrate", true, schema_node, "%04d_%s.sql", NULL, false, NULL},
    {"alembic", true, schema_alembic, "outbox_relay_%04d.py", NULL, false, NULL},
    {"django", true, schema_django, "outbox_relay/migrations/%04d_%s.py", NULL, false,
     schema_django_app},
    {"psql", false, schema_psql, "outbox_relay.sql", "outbox_relay.down.sql", true, NULL},
    {"extension", false, schema_extension, NULL, NULL, false, schema_control},
};

size_t schema_format_names(const char *ret[SCHEMA_FORMATS_MAX])
{
    const size_t n = sizeof formats / sizeof *formats;

    _Static_assert(sizeof formats / sizeof *formats <= SCHEMA_FORMATS_MAX, "room for each name");
    for (size_t i = 0; i < n; i++)
        ret[i] = formats[i].name;
    return n;
}

const struct schema_format *schema_format_find(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

void schema_bodies(struct buf *b, const struct schema_place *place, struct schema_range range,
                   enum schema_wrap wrap)
{
    bool up = range.from < range.to;

    for (int v = range.from; v != range.to; v += up ? 1 : -1) {
        if (v != range.from)
            buf_append(b, "\n", 1);
        schema_body(b, up ? schema_migrations[v].up : schema_migrations[v - 1].down, place, wrap);
    }
}

void schema_named(struct buf *b, const struct schema_place *place, const char *text)
{
    struct slice all = {(const unsigned char *)text, strlen(text)};

    schema_body(b, all, place, SCHEMA_EXTENSION);
}

int schema_file(struct buf *b, const char *path, schema_file_fn file, void *arg, struct err *err)
{
    int rc =
        b->failed ? err_set(err, ERR_NOMEM, "out of memory for %s", path) : file(arg, path, b, err);

    buf_free(b);
    return rc;
}

static int one(const struct schema_format *format, const struct schema_place *place,
               struct schema_range range, const char *pattern, schema_file_fn file, void *arg,
               struct err *err)
{
    int version = range.from < range.to ? range.to : range.from;
    struct buf b = {0};
    char path[160];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(path, sizeof path, pattern, version, schema_migrations[version - 1].name);
#pragma GCC diagnostic pop
    format->text(&b, place, range);
    return schema_file(&b, path, file, arg, err);
}

/* A range, and the way back. */
static int pair(const struct schema_format *format, const struct schema_place *place,
                struct schema_range range, schema_file_fn file, void *arg, struct err *err)
{
    struct schema_range back = {range.to, range.from};
    int rc = one(format, place, range, format->up, file, arg, err);

    return rc != 0 || format->down == NULL ? rc
                                           : one(format, place, back, format->down, file, arg, err);
}

int schema_files(const struct schema_format *format, const struct schema_place *place,
                 struct schema_range range, schema_file_fn file, void *arg, struct err *err)
{
    int rc = format->more == NULL ? 0 : format->more(place, range, file, arg, err);

    if (format->up != NULL && format->whole && rc == 0)
        return pair(format, place, range, file, arg, err);
    for (int v = range.from; format->up != NULL && v < range.to && rc == 0; v++)
        rc = pair(format, place, (struct schema_range){v, v + 1}, file, arg, err);
    return rc;
}
