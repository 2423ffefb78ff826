#include "cli/adopt_sql.h"

#include "cli/schema_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define NIL_UUID "'00000000-0000-0000-0000-000000000000'"

/* That an adopted table is brought to; later ones are for tables with the schema's own names. */
static const int versions_max = 3;

/* The longest of the names that are derived from the table's. */
static const size_t suffix_max = sizeof "_unpublished_seq" - 1;

static const char *const suffixes[ADOPT_INDEXES] = {
    [ADOPT_SEQ] = "_seq",
    [ADOPT_UNPUBLISHED_SEQ] = "_unpublished_seq",
    [ADOPT_UNPUBLISHED_XID] = "_unpublished_xid",
};

/* ---- names ---- */

static bool is_plain(const char *name)
{
    if (!islower((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (const char *p = name; *p != '\0'; p++)
        if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '_')
            return false;
    return true;
}

/* name and suffix as one identifier. Of a column quoted in any case: it may be a keyword. */
static void identifier(struct buf *sql, const char *name, const char *suffix, bool always)
{
    if (!always && is_plain(name)) {
        buf_printf(sql, "%s%s", name, suffix);
        return;
    }
    buf_append(sql, "\"", 1);
    for (const char *p = name; *p != '\0'; p++)
        buf_append(sql, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
    buf_printf(sql, "%s\"", suffix);
}

static void column(struct buf *sql, const struct adopt_plan *plan, enum column_kind kind)
{
    const char *name = plan->names[kind];

    identifier(sql, name, "", strcmp(name, column_own_name(kind)) != 0);
}

/* A relation beside the table, with its schema. */
static void beside(struct buf *sql, const struct adopt_table *table, const char *suffix)
{
    identifier(sql, table->schema, "", true);
    buf_printf(sql, ".");
    identifier(sql, table->name, suffix, false);
}

/* ---- the schema's own text ---- */

static int changed(int version, struct err *err)
{
    return err_set(err, ERR_INTERNAL, "adopt: version %d of the schema has another shape", version);
}

/* What stands behind it; data NULL: it is not there, or text.data was NULL. */
static struct slice behind(struct slice text, const char *what)
{
    size_t len = strlen(what);
    const unsigned char *found = text.data == NULL ? NULL : memmem(text.data, text.len, what, len);

    if (found == NULL)
        return (struct slice){NULL, 0};
    found += len;
    return (struct slice){found, text.len - (size_t)(found - text.data)};
}

static void append_until(struct buf *b, struct slice from, const unsigned char *end)
{
    buf_append(b, from.data, (size_t)(end - from.data));
}

/* Version 1, where `alter` stands in for the making of the table. */
static int first_version(struct buf *b, const struct buf *alter, struct err *err)
{
    static const char lease[] = "\n-- The lease --";
    struct slice guard = behind(schema_migrations[0].up, "SET LOCAL lock_timeout = '5s';\n");
    struct slice other = behind(guard, "version.';\n    END IF;\n");
    struct slice rest = behind(other, "another relation");
    struct slice tables = behind(rest, "END IF;\n");
    struct slice table = behind(tables, "\n-- The outbox --");
    struct slice end = behind(table, lease);

    if (end.data == NULL)
        return changed(1, err);
    buf_printf(b, "BEGIN;\n\nSET LOCAL lock_timeout = '1s';\n");
    append_until(b, guard, other.data);
    append_until(b, tables, table.data);
    buf_append(b, alter->data, alter->len);
    buf_append(b, end.data - (sizeof lease - 1), end.len + sizeof lease - 1);
    return 0;
}

/* A version's own text, without what it says of how to run it. */
static int later_version(struct buf *b, int version, struct err *err)
{
    static const char begins[] = "\nBEGIN;\n";
    struct slice text = behind(schema_migrations[version - 1].up, begins);

    if (text.data == NULL)
        return changed(version, err);
    buf_printf(b, "\n-- Version %d of the schema\n", version);
    buf_append(b, text.data - (sizeof begins - 1), text.len + sizeof begins - 1);
    return 0;
}

/* ---- the table ---- */

/* What a column begins with in the rows that are there, and what it is from then on. The first is
 * a constant in each case, which the catalog keeps, so that no row is touched. */
static const struct {
    const char *definition;
    const char *then; /* of ALTER COLUMN; NULL: stays as it is */
} additions[COLUMN_KINDS] = {
    [COLUMN_SEQ] = {"bigint NOT NULL DEFAULT 0", "DROP DEFAULT"},
    [COLUMN_ID] = {"uuid NOT NULL DEFAULT " NIL_UUID, "SET DEFAULT gen_random_uuid()"},
    [COLUMN_XID] = {"xid8 NOT NULL DEFAULT '0'", "SET DEFAULT pg_current_xact_id()"},
    [COLUMN_PAYLOAD] = {"json", NULL},
    [COLUMN_PAYLOAD_BYTES] = {"bytea", NULL},
    [COLUMN_HEADERS] = {"json", NULL},
    [COLUMN_TOPIC] = {"text", NULL},
    [COLUMN_PARTITION] = {"integer", NULL},
    [COLUMN_CREATED_AT] = {"timestamptz NOT NULL DEFAULT now()", "SET DEFAULT clock_timestamp()"},
    [COLUMN_PUBLISHED_AT] = {"timestamptz DEFAULT now()", "DROP DEFAULT"},
};

/* goharvest deletes what it has published: what is there is still to be. */
static bool is_backlog(const struct adopt_plan *plan, enum column_kind kind)
{
    return kind == COLUMN_PUBLISHED_AT && plan->shape == ADOPT_GOHARVEST;
}

static void add_columns(struct buf *sql, const struct adopt_plan *plan)
{
    const char *between = "ALTER TABLE outbox\n    ";

    for (enum column_kind k = 0; k < COLUMN_KINDS; k++) {
        if (!plan->adds[k])
            continue;
        buf_printf(sql, "%sADD COLUMN ", between);
        column(sql, plan, k);
        buf_printf(sql, " %s", is_backlog(plan, k) ? "timestamptz" : additions[k].definition);
        between = ",\n    ";
    }
    if (between[0] == ',')
        buf_printf(sql, ";\n");
}

static void set_defaults(struct buf *sql, const struct adopt_plan *plan)
{
    const char *between = "ALTER TABLE outbox\n    ";

    for (enum column_kind k = 0; k < COLUMN_KINDS; k++) {
        if (!plan->adds[k] || additions[k].then == NULL || is_backlog(plan, k))
            continue;
        buf_printf(sql, "%sALTER COLUMN ", between);
        column(sql, plan, k);
        buf_printf(sql, " %s", additions[k].then);
        between = ",\n    ";
    }
    if (between[0] == ',')
        buf_printf(sql, ";\n");
    if (plan->adds[COLUMN_SEQ]) {
        buf_printf(sql, "ALTER TABLE outbox ALTER COLUMN ");
        column(sql, plan, COLUMN_SEQ);
        buf_printf(sql, " ADD GENERATED ALWAYS AS IDENTITY (CACHE 1);\n");
    }
}

static bool adds_any(const struct adopt_plan *plan)
{
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        if (plan->adds[k])
            return true;
    return false;
}

/* goharvest's two arrays as the one object that the relay reads. */
static void header_trigger(struct buf *sql, const struct adopt_plan *plan)
{
    buf_printf(sql, "\nCREATE FUNCTION outbox_headers() RETURNS trigger LANGUAGE plpgsql AS "
                    "$outbox$\nBEGIN\n    NEW.");
    column(sql, plan, COLUMN_HEADERS);
    buf_printf(sql, " := pg_catalog.json_object(NEW.kafka_header_keys, NEW.kafka_header_values);\n"
                    "    RETURN NEW;\nEND\n$outbox$;\n"
                    "CREATE TRIGGER outbox_headers BEFORE INSERT ON outbox\n"
                    "    FOR EACH ROW EXECUTE FUNCTION outbox_headers();\n");
}

static void alteration(struct buf *text, const struct adopt_plan *plan)
{
    buf_printf(text, "\n\n");
    if (adds_any(plan))
        buf_printf(text, "-- Changes of the catalog alone: no row is read or written. From here "
                         "to the COMMIT writers\n-- wait, for some milliseconds.\n");
    if (plan->adds[COLUMN_PUBLISHED_AT] && plan->shape != ADOPT_GOHARVEST)
        buf_printf(text, "-- What is in the table now counts as published.\n");
    add_columns(text, plan);
    set_defaults(text, plan);
    if (plan->shape == ADOPT_GOHARVEST && plan->adds[COLUMN_HEADERS])
        header_trigger(text, plan);
}

/* ---- behind the transaction ---- */

static void fill_backlog(struct buf *sql, const struct adopt_table *table,
                         const struct adopt_plan *plan)
{
    struct buf condition = {0};
    const char *unfilled;

    column(&condition, plan, COLUMN_ID);
    buf_printf(&condition, " = " NIL_UUID);
    unfilled = buf_cstr(&condition);
    if (unfilled == NULL) {
        buf_free(&condition);
        sql->failed = true;
        return;
    }
    buf_printf(
        sql,
        "\n-- What waits gets its ids and headers, beside a goharvest that runs: never waiting "
        "for a row\n-- that it holds, and never holding many.\n"
        "DO $outbox$\nBEGIN\n    LOOP\n        UPDATE %s SET ",
        table->quoted);
    column(sql, plan, COLUMN_ID);
    buf_printf(sql, " = gen_random_uuid(),\n            ");
    column(sql, plan, COLUMN_HEADERS);
    buf_printf(sql,
               " = json_object(kafka_header_keys, kafka_header_values)\n"
               "            WHERE id IN (SELECT id FROM %s WHERE %s\n"
               "                LIMIT 1000 FOR UPDATE SKIP LOCKED);\n"
               "        IF NOT FOUND THEN\n            PERFORM pg_sleep(0.05);\n        END IF;\n"
               "        COMMIT;\n"
               "        EXIT WHEN NOT EXISTS (SELECT FROM %s WHERE %s);\n"
               "    END LOOP;\nEND\n$outbox$;\n",
               table->quoted, unfilled, table->quoted, unfilled);
    buf_free(&condition);
}

static void create_index(struct buf *sql, const struct adopt_table *table,
                         const struct adopt_plan *plan, enum adopt_index i)
{
    if (table->indexed[i])
        return;
    if (table->broken[i]) {
        buf_printf(sql, "DROP INDEX CONCURRENTLY ");
        beside(sql, table, suffixes[i]);
        buf_printf(sql, ";\n");
    }
    buf_printf(sql, "CREATE INDEX CONCURRENTLY ");
    identifier(sql, table->name, suffixes[i], false);
    buf_printf(sql, " ON %s (", table->quoted);
    column(sql, plan, i == ADOPT_UNPUBLISHED_XID ? COLUMN_XID : COLUMN_SEQ);
    buf_printf(sql, ")");
    if (i != ADOPT_SEQ) {
        buf_printf(sql, " WHERE ");
        column(sql, plan, COLUMN_PUBLISHED_AT);
        buf_printf(sql, " IS NULL");
    }
    buf_printf(sql, ";\n");
}

static void create_indexes(struct buf *sql, const struct adopt_table *table,
                           const struct adopt_plan *plan)
{
    if (table->indexed[ADOPT_SEQ] && table->indexed[ADOPT_UNPUBLISHED_SEQ] &&
        table->indexed[ADOPT_UNPUBLISHED_XID])
        return;
    buf_printf(sql, "\n-- Each in no transaction, while writers go on.\n");
    for (enum adopt_index i = 0; i < ADOPT_INDEXES; i++)
        create_index(sql, table, plan, i);
}

static void decoding(struct buf *sql, const struct adopt_table *table, const char *publication)
{
    if (!table->decodes)
        return;
    if (!table->publishes) {
        buf_printf(sql, table->publication ? "\nALTER PUBLICATION " : "\nCREATE PUBLICATION ");
        identifier(sql, publication, "", false);
        buf_printf(sql,
                   table->publication ? " ADD TABLE %s;\n"
                                      : " FOR TABLE %s WITH (publish = 'insert, truncate');\n",
                   table->quoted);
    }
    if (table->publishes && table->marked)
        return;
    buf_printf(sql,
               "\n-- For adopt --slot: what comes behind here in the log has all columns, and is "
               "published.\nUPDATE ");
    beside(sql, table, "_lease");
    buf_printf(sql, " SET confirmed_lsn = pg_current_wal_insert_lsn() WHERE slot IS NULL;\n");
}

/* ---- the whole ---- */

static void introduction(struct buf *sql, const struct adopt_table *table,
                         const struct adopt_plan *plan)
{
    static const char *const shapes[] = {
        [ADOPT_OTHER] = "",
        [ADOPT_DEBEZIUM] = " of Debezium's shape",
        [ADOPT_GOHARVEST] = " of goharvest's shape",
    };

    buf_printf(sql,
               "-- Outbox Relay: what makes table %s%s one that the relay reads.\n"
               "-- The inserts of its services stay as they are. For psql, as the table's owner:\n"
               "--\n--     outbox-relay adopt | psql -X -v ON_ERROR_STOP=1 \"$DATABASE\"\n"
               "--\n"
               "-- Where the lock of the table is not had within 1 s nothing is done: run it "
               "again. What was done\n-- already is left out then.\n--\n",
               table->quoted, shapes[plan->shape]);
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        buf_printf(sql, "--   %-14s %s%s\n", column_own_name(k),
                   plan->names[k][0] == '\0' ? "none"
                   : plan->adds[k]           ? "is added: column "
                                             : "column ",
                   plan->names[k]);
}

static int versions(struct buf *sql, const struct adopt_table *table, const struct adopt_plan *plan,
                    struct err *err)
{
    struct schema_place place = {0};
    struct buf alter = {0};
    struct buf text = {0};
    int rc = 0;

    (void)snprintf(place.schema, sizeof place.schema, "%s", table->schema);
    (void)snprintf(place.table, sizeof place.table, "%s", table->name);
    if (table->version == 0) {
        alteration(&alter, plan);
        rc = first_version(&text, &alter, err);
    }
    for (int v = table->version > 1 ? table->version + 1 : 2; rc == 0 && v <= versions_max; v++)
        rc = later_version(&text, v, err);
    if (rc == 0 && text.len > 0) {
        buf_printf(sql, "\n");
        schema_body(sql, (struct slice){text.data, text.len}, &place, SCHEMA_TRANSACTION);
    }
    if (rc == 0 && (alter.failed || text.failed))
        rc = err_set(err, ERR_NOMEM, "out of memory");
    buf_free(&alter);
    buf_free(&text);
    return rc;
}

static int check(const struct adopt_table *table, const struct adopt_plan *plan, struct err *err)
{
    if (strlen(table->name) + suffix_max > SCHEMA_NAME_MAX)
        return err_set(err, ERR_CONFIG,
                       "table %s: a name of more than %zu bytes leaves no room for those of the "
                       "tables beside it",
                       table->quoted, SCHEMA_NAME_MAX - suffix_max);
    for (enum column_kind k = 0; k < COLUMN_KINDS; k++)
        if (table->version > 0 && plan->adds[k])
            return err_set(
                err, ERR_CONFIG,
                "table %s is adopted already, and has no column \"%s\": set columns.%s as "
                "it was set then",
                table->quoted, plan->names[k], column_own_name(k));
    return 0;
}

static int migration(struct buf *sql, const struct adopt_table *table,
                     const struct adopt_plan *plan, const struct adopt_request *request,
                     struct err *err)
{
    size_t before;
    int rc = check(table, plan, err);

    if (rc != 0)
        return rc;
    introduction(sql, table, plan);
    before = sql->len;
    rc = versions(sql, table, plan, err);
    if (rc != 0)
        return rc;
    if (plan->shape == ADOPT_GOHARVEST)
        fill_backlog(sql, table, plan);
    create_indexes(sql, table, plan);
    decoding(sql, table, request->publication);
    if (sql->len == before)
        buf_printf(sql, "\n-- Nothing is missing.\n");
    return 0;
}

static void take_over(struct buf *sql, const struct adopt_table *table, const char *slot)
{
    buf_printf(sql,
               "-- Outbox Relay: reads on where slot %s stands. Whoever read it has to be gone for "
               "good.\n-- What it had published and not confirmed comes twice; nothing is lost.\n"
               "DO $outbox$\nBEGIN\n    UPDATE ",
               slot);
    beside(sql, table, "_lease");
    buf_printf(
        sql,
        " AS l SET slot = s.slot_name, slot_snapshot = NULL,\n"
        "        confirmed_lsn = s.confirmed_flush_lsn,\n"
        "        slot_server = (SELECT system_identifier FROM pg_control_system()) || '/' ||\n"
        "            ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::"
        "bit(32)::int\n"
        "    FROM pg_replication_slots AS s\n"
        "    WHERE l.shard = 0 AND l.slot IS NULL AND s.slot_name = '%s' AND NOT s.active\n"
        "        AND s.confirmed_flush_lsn >= l.confirmed_lsn;\n"
        "    IF NOT FOUND THEN\n"
        "        RAISE EXCEPTION 'outbox: slot %s is not there, is being read, or has not "
        "passed the migration'\n"
        "            USING HINT = 'outbox-relay adopt --slot %s says which.';\n"
        "    END IF;\nEND\n$outbox$;\n",
        slot, slot, slot);
}

int adopt_sql(struct buf *sql, const struct adopt_table *table, const struct adopt_plan *plan,
              const struct adopt_request *request, struct err *err)
{
    if (request->slot == NULL)
        return migration(sql, table, plan, request, err);
    take_over(sql, table, request->slot);
    return 0;
}
