/* The forms that are SQL. */
#include "cli/schema_format.h"

#include <stdio.h>
#include <string.h>

static void mark(struct buf *b)
{
    buf_printf(b, "-- " SCHEMA_MARK "\n");
}

static struct schema_range back(struct schema_range range)
{
    return (struct schema_range){range.to, range.from};
}

void schema_sql(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    mark(b);
    schema_bodies(b, place, range, SCHEMA_TRANSACTION);
}

void schema_plain(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    mark(b);
    schema_bodies(b, place, range, SCHEMA_BARE);
}

void schema_goose(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    mark(b);
    buf_printf(b, "\n-- +goose Up\n-- +goose StatementBegin\n");
    schema_bodies(b, place, range, SCHEMA_BARE);
    buf_printf(b, "-- +goose StatementEnd\n\n-- +goose Down\n-- +goose StatementBegin\n");
    schema_bodies(b, place, back(range), SCHEMA_BARE);
    buf_printf(b, "-- +goose StatementEnd\n");
}

static void both(struct buf *b, const struct schema_place *place, struct schema_range range,
                 const char *up, const char *down)
{
    buf_printf(b, "-- %s\n", up);
    mark(b);
    schema_bodies(b, place, range, SCHEMA_BARE);
    buf_printf(b, "\n-- %s\n", down);
    schema_bodies(b, place, back(range), SCHEMA_BARE);
}

void schema_dbmate(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    both(b, place, range, "migrate:up", "migrate:down");
}

void schema_node(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    both(b, place, range, "Up Migration", "Down Migration");
}

/* Its block comment "liquibase rollback" is skipped in silence once a comment stands in it. */
void schema_liquibase(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    buf_printf(b, "--liquibase formatted sql\n");
    mark(b);
    for (int v = range.from; v < range.to; v++) {
        struct buf down = {0};
        struct slice line;
        size_t at = 0;

        buf_printf(b,
                   "\n--changeset outbox-relay:%d splitStatements:false stripComments:false"
                   " rollbackSplitStatements:false\n",
                   v + 1);
        schema_body(b, schema_migrations[v].up, place, SCHEMA_BARE);
        schema_body(&down, schema_migrations[v].down, place, SCHEMA_BARE);
        while (schema_line((struct slice){down.data, down.len}, &at, &line))
            buf_printf(b, "--rollback%s%.*s\n", line.len > 0 ? " " : "", (int)line.len,
                       (const char *)line.data);
        b->failed = b->failed || down.failed;
        buf_free(&down);
    }
}

/* ---- psql ---- */

static const char look[] =
    "SELECT pg_catalog.to_regclass(pg_catalog.format('%I.outbox_schema_version',\n"
    "    pg_catalog.current_schema())) IS NOT NULL AS outbox_relay_installed \\gset\n"
    "\\if :outbox_relay_installed\n"
    "SELECT coalesce(max(version), 0) AS outbox_relay_version FROM outbox_schema_version \\gset\n"
    "\\else\n"
    "\\set outbox_relay_version 0\n"
    "\\endif\n";

void schema_psql(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    bool up = range.from < range.to;
    struct schema_place here = *place; /* the session's search_path */

    here.schema[0] = '\0';
    mark(b);
    buf_printf(
        b, "--\n"
           "--     psql -X -f outbox_relay.sql \"$DATABASE\"\n"
           "--\n"
           "-- Runs what has not been run yet, as outbox_schema_version says, each version in a\n"
           "-- transaction of its own; once more, it does nothing.\n\n"
           "\\set ON_ERROR_STOP on\n");
    if (place->schema[0] != '\0')
        buf_printf(b, "SET search_path = \"%s\";\n", place->schema);
    schema_named(b, place, look);
    for (int v = range.from; v != range.to; v += up ? 1 : -1) {
        buf_printf(b,
                   "\nSELECT :outbox_relay_version %s %d AS outbox_relay_wanted \\gset\n"
                   "\\if :outbox_relay_wanted\n",
                   up ? "<" : ">=", up ? v + 1 : v);
        schema_body(b, up ? schema_migrations[v].up : schema_migrations[v - 1].down, &here,
                    SCHEMA_TRANSACTION);
        buf_printf(b, "\\endif\n");
    }
}

/* ---- extension ---- */

/* pg_dump leaves an extension's rows out unless it is told of each table and sequence. Rows that
 * the scripts insert come with CREATE EXTENSION, and would collide. */
static const char dumped[] =
    "DO $outbox$\n"
    "DECLARE\n"
    "    relation regclass;\n"
    "    filled   boolean;\n"
    "BEGIN\n"
    "    FOREACH relation IN ARRAY ARRAY(SELECT c.oid::regclass FROM pg_catalog.pg_extension e\n"
    "            JOIN pg_catalog.pg_depend d ON d.refclassid = "
    "'pg_catalog.pg_extension'::regclass\n"
    "                AND d.refobjid = e.oid AND d.deptype = 'e'\n"
    "                AND d.classid = 'pg_catalog.pg_class'::regclass\n"
    "            JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'S')\n"
    "            WHERE e.extname = 'outbox_relay'\n"
    "                AND (e.extconfig IS NULL OR c.oid <> ALL (e.extconfig))\n"
    "            ORDER BY c.relname) LOOP\n"
    "        filled := false;\n"
    "        IF (SELECT relkind <> 'S' FROM pg_catalog.pg_class WHERE oid = relation) THEN\n"
    "            EXECUTE pg_catalog.format('SELECT EXISTS (SELECT FROM %s)', relation) INTO "
    "filled;\n"
    "        END IF;\n"
    "        PERFORM pg_catalog.pg_extension_config_dump(relation,\n"
    "            CASE WHEN filled THEN 'WHERE false' ELSE '' END);\n"
    "    END LOOP;\n"
    "END\n"
    "$outbox$;\n";

/* The word behind a prefix at which a line begins, or behind one within it. */
static bool word_after(struct slice line, const char *prefix, struct slice *ret)
{
    const unsigned char *p = memmem(line.data, line.len, prefix, strlen(prefix));
    const unsigned char *end = line.data + line.len;

    if (p == NULL)
        return false;
    ret->data = p += strlen(prefix);
    while (p < end && *p != ' ' && *p != '(' && *p != ';')
        p++;
    ret->len = (size_t)(p - ret->data);
    return true;
}

/* Sequences of columns that the version adds to a table: they go with their columns, and would stay
 * in the extension's list. */
static void leave_sequences(struct buf *b, const struct schema_place *place, struct slice up)
{
    struct slice table = {NULL, 0};
    struct slice column;
    struct slice line;
    char text[256];
    size_t at = 0;

    while (schema_line(up, &at, &line)) {
        if (line.len > 12 && memcmp(line.data, "ALTER TABLE ", 12) == 0)
            (void)word_after(line, "ALTER TABLE ", &table);
        if (table.data == NULL || memmem(line.data, line.len, "AS IDENTITY", 11) == NULL ||
            !word_after(line, "ADD COLUMN ", &column))
            continue;
        (void)snprintf(
            text, sizeof text, "ALTER EXTENSION outbox_relay DROP SEQUENCE %.*s_%.*s_seq;\n",
            (int)table.len, (const char *)table.data, (int)column.len, (const char *)column.data);
        schema_named(b, place, text);
    }
}

static bool begins(struct slice text, const char *with)
{
    return text.len > strlen(with) && memcmp(text.data, with, strlen(with)) == 0;
}

/* Where the code of a statement begins, behind its comments. */
static size_t code_at(struct slice statement)
{
    struct slice line;
    size_t at = 0;
    size_t from = 0;

    while (schema_line(statement, &at, &line)) {
        if (line.len > 0 && !begins(line, "--"))
            return from;
        from = at;
    }
    return statement.len;
}

/* What is to be dropped leaves the extension first, and its list of tables to dump. */
static void downgrade(struct buf *b, const struct schema_place *place, int version)
{
    struct buf body = {0};
    struct slice statement;
    size_t at = 0;

    leave_sequences(b, place, schema_migrations[version - 1].up);
    schema_body(&body, schema_migrations[version - 1].down, place, SCHEMA_EXTENSION);
    while (schema_statement((struct slice){body.data, body.len}, &at, &statement)) {
        size_t from = code_at(statement);
        struct slice code = {statement.data + from, statement.len - from};

        buf_append(b, statement.data, from);
        if (begins(code, "DROP TABLE ") || begins(code, "DROP FUNCTION ")) {
            buf_printf(b, "ALTER EXTENSION outbox_relay ");
            buf_append(b, code.data, code.len);
            buf_append(b, "\n", 1);
        }
        buf_append(b, code.data, code.len);
        buf_append(b, "\n", 1);
    }
    b->failed = b->failed || body.failed;
    buf_free(&body);
}

void schema_extension(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    mark(b);
    buf_printf(b, "\\echo Use \"%s EXTENSION outbox_relay%s\" to load this file. \\quit\n\n",
               range.from == 0 ? "CREATE" : "ALTER", range.from == 0 ? "" : " UPDATE");
    for (int v = range.from; v > range.to; v--)
        downgrade(b, place, v);
    if (range.from > range.to)
        return;
    schema_bodies(b, place, range, SCHEMA_EXTENSION);
    buf_append(b, "\n", 1);
    schema_named(b, place, dumped);
}

static int script(const struct schema_place *place, int from, int to, schema_file_fn file,
                  void *arg, struct err *err)
{
    struct buf b = {0};
    char path[80];

    if (from == 0)
        (void)snprintf(path, sizeof path, "outbox_relay--%d.sql", to);
    else
        (void)snprintf(path, sizeof path, "outbox_relay--%d--%d.sql", from, to);
    schema_extension(&b, place, (struct schema_range){from, to});
    return schema_file(&b, path, file, arg, err);
}

int schema_control(const struct schema_place *place, struct schema_range range, schema_file_fn file,
                   void *arg, struct err *err)
{
    struct buf b = {0};
    int rc;

    buf_printf(&b,
               "# " SCHEMA_MARK "\n"
               "comment = 'Outbox Relay: events to publish, written in the transaction that they "
               "tell of'\n"
               "default_version = '%d'\n"
               "relocatable = false\n"
               "superuser = false\n",
               range.to);
    if (place->schema[0] != '\0')
        buf_printf(&b, "schema = '%s'\n", place->schema);
    rc = schema_file(&b, "outbox_relay.control", file, arg, err);
    for (int v = range.from; v < range.to && rc == 0; v++) {
        rc = script(place, v, v + 1, file, arg, err);
        if (rc == 0 && v > 0)
            rc = script(place, v + 1, v, file, arg, err);
    }
    return rc;
}
