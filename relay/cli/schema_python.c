/* The forms that are Python: lists of statements, since drivers take one at a time. */
#include "cli/schema_format.h"

#include <string.h>

/* A raw string: what is within dollar quotes has backslashes. */
static void list(struct buf *b, const struct schema_place *place, const char *name,
                 struct schema_range range)
{
    struct buf body = {0};
    struct slice statement;
    size_t at = 0;

    schema_bodies(&body, place, range, SCHEMA_BARE);
    buf_printf(b, "%s = [\n", name);
    while (schema_statement((struct slice){body.data, body.len}, &at, &statement)) {
        buf_printf(b, "    r\"\"\"\n");
        buf_append(b, statement.data, statement.len);
        buf_printf(b, "\n\"\"\",\n");
    }
    buf_printf(b, "]\n");
    b->failed = b->failed || body.failed;
    buf_free(&body);
}

static void lists(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    list(b, place, "UP", range);
    buf_printf(b, "\n");
    list(b, place, "DOWN", (struct schema_range){range.to, range.from});
}

void schema_alembic(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    buf_printf(b,
               "\"\"\"Outbox Relay, schema version %d.\n\n" SCHEMA_MARK "\n\"\"\"\n\n"
               "from alembic import op\n\n"
               "revision = \"outbox_relay_%04d\"\n",
               range.to, range.to);
    if (range.from == 0)
        buf_printf(b, "down_revision = None\nbranch_labels = (\"outbox_relay\",)\n");
    else
        buf_printf(b, "down_revision = \"outbox_relay_%04d\"\nbranch_labels = None\n", range.from);
    buf_printf(b, "depends_on = None\n\n");
    lists(b, place, range);
    buf_printf(b, "\n\n"
                  "def run(statements):\n"
                  "    for statement in statements:\n"
                  "        # A colon before a word would be a parameter.\n"
                  "        op.execute(statement.replace(\":\", \"\\\\:\"))\n\n\n"
                  "def upgrade():\n    run(UP)\n\n\n"
                  "def downgrade():\n    run(DOWN)\n");
}

void schema_django(struct buf *b, const struct schema_place *place, struct schema_range range)
{
    buf_printf(b,
               "\"\"\"Outbox Relay, schema version %d.\n\n" SCHEMA_MARK "\n\"\"\"\n\n"
               "from django.db import migrations\n\n",
               range.to);
    lists(b, place, range);
    buf_printf(b, "\n\nclass Migration(migrations.Migration):\n    dependencies = [");
    if (range.from > 0)
        buf_printf(b, "(\"outbox_relay\", \"%04d_%s\")", range.from,
                   schema_migrations[range.from - 1].name);
    buf_printf(b, "]\n    operations = [migrations.RunSQL(UP, DOWN)]\n");
}

static int constant(const char *path, const char *text, schema_file_fn file, void *arg,
                    struct err *err)
{
    struct buf b = {0};

    buf_printf(&b, "# " SCHEMA_MARK "\n%s", text);
    return schema_file(&b, path, file, arg, err);
}

int schema_django_app(const struct schema_place *place, struct schema_range range,
                      schema_file_fn file, void *arg, struct err *err)
{
    int rc = constant("outbox_relay/__init__.py", "", file, arg, err);

    (void)place;
    (void)range;
    if (rc == 0)
        rc = constant("outbox_relay/apps.py",
                      "from django.apps import AppConfig\n\n\n"
                      "class OutboxRelayConfig(AppConfig):\n    name = \"outbox_relay\"\n",
                      file, arg, err);
    return rc != 0 ? rc : constant("outbox_relay/migrations/__init__.py", "", file, arg, err);
}
