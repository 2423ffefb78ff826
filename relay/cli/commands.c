/* The commands: what they are called, which flags go with them, what they are for. */
#include "cli/commands.h"

static const char *const config_verbs[] = {"print", NULL};
static const char *const dead_verbs[] = {"list", "show", "retry", "discard", NULL};
static const char *const schema_verbs[] = {"print", "check", NULL};

#define FIELD(name) offsetof(struct cli, name)
#define OF_DEAD COMMAND_BIT(COMMAND_DEAD)
#define OF_SCHEMA COMMAND_BIT(COMMAND_SCHEMA)
#define OF_ALL_BUT_RUN                                                                             \
    (COMMAND_BIT(COMMAND_CHECK) | COMMAND_BIT(COMMAND_STATUS) | COMMAND_BIT(COMMAND_DOCTOR) |      \
     COMMAND_BIT(COMMAND_CONFIG_PRINT) | OF_DEAD | OF_SCHEMA | COMMAND_BIT(COMMAND_ADOPT) |        \
     COMMAND_BIT(COMMAND_VERSION))

const struct command_flag command_flags[COMMAND_FLAGS] = {
    {"--json", NULL, OF_ALL_BUT_RUN, FIELD(json)},
    {"--fix", NULL, COMMAND_BIT(COMMAND_CHECK), FIELD(fix)},
    {"--id", "ID", OF_DEAD, FIELD(dead.filter.id)},
    {"--key", "KEY", OF_DEAD, FIELD(dead.filter.key)},
    {"--topic", "TOPIC", OF_DEAD, FIELD(dead.filter.topic)},
    {"--error", "TEXT", OF_DEAD, FIELD(dead.filter.error)},
    {"--all", NULL, OF_DEAD, FIELD(all)},
    {"--reason", "TEXT", OF_DEAD, FIELD(dead.reason)},
    {"--dry-run", NULL, OF_DEAD, FIELD(dead.dry_run)},
    {"--payload", NULL, OF_DEAD, FIELD(dead.payload)},
    {"--format", "FORMAT", OF_SCHEMA, FIELD(schema.format)},
    {"--from", "N", OF_SCHEMA, FIELD(schema.from)},
    {"--to", "N", OF_SCHEMA, FIELD(schema.to)},
    {"--directory", "DIR", OF_SCHEMA, FIELD(schema.directory)},
    {"--slot", "NAME", COMMAND_BIT(COMMAND_ADOPT), FIELD(slot)},
};

static const char run_help[] =
    "Usage: outbox-relay [run] [--setting value ...]\n"
    "\n"
    "Reads committed rows of the outbox in order, publishes them, and deletes (or marks) them "
    "after\n"
    "their delivery reports, until SIGTERM or SIGINT. Several on one outbox are fine: one owns "
    "it,\n"
    "the others stand by and take over.\n"
    "\n"
    "Example:\n"
    "  outbox-relay run --postgres-uri 'host=db dbname=shop user=relay' \\\n"
    "      --kafka-bootstrap-servers kafka:9092 --log-format json\n";

static const char check_help[] =
    "Usage: outbox-relay check [--fix] [--json] [--setting value ...]\n"
    "\n"
    "Tries what run would need: the settings, both servers, the table and its columns, the "
    "rights,\n"
    "the topics. Publishes and changes nothing. Give it the same settings as run. With --fix it "
    "makes\n"
    "the slot that source.slot names, and its publication, where they are missing.\n"
    "\n"
    "Example:\n"
    "  outbox-relay check --config /etc/outbox-relay/relay.json && systemctl start outbox-relay\n";

static const char status_help[] =
    "Usage: outbox-relay status [--json] [--setting value ...]\n"
    "\n"
    "Asks the relay that runs at http.listen how it is: owner or standby, both servers, what "
    "waits,\n"
    "what stalls and why. --json prints its answer as it came. Exit code 69: nothing answers.\n"
    "\n"
    "Example:\n"
    "  outbox-relay status --http-listen 127.0.0.1:9478\n";

static const char doctor_help[] =
    "Usage: outbox-relay doctor [--json] [--setting value ...]\n"
    "\n"
    "Looks at the database, at Kafka and at the relay that runs at http.listen, or without one, "
    "and\n"
    "says what holds events back, by its name: a line for each finding, `what \xe2\x80\x94 where "
    "\xe2\x80\x94 remedy`,\n"
    "the remedy for psql or a shell. HOLDS: events wait for it; WARNS: they come later, or will "
    "wait;\n"
    "UNSEEN: what the role may not see. Changes nothing. --json: the findings as a list of\n"
    "{severity, what, where, remedy}. Exit code 0: nothing holds events back; 75: something does.\n"
    "\n"
    "Example:\n"
    "  outbox-relay doctor --config /etc/outbox-relay/relay.json\n";

static const char config_print_help[] =
    "Usage: outbox-relay config print [--json] [--setting value ...]\n"
    "\n"
    "Shows each setting's effective value and where it came from: a flag, the environment, the "
    "file\n"
    "or the default. Passwords and keys are hidden.\n"
    "\n"
    "Example:\n"
    "  outbox-relay config print --config /etc/outbox-relay/relay.json\n";

static const char dead_help[] =
    "Usage: outbox-relay dead list    [WHICH] [--json]\n"
    "       outbox-relay dead show    WHICH [--payload] [--json]\n"
    "       outbox-relay dead retry   WHICH [--dry-run] [--json]\n"
    "       outbox-relay dead discard WHICH --reason TEXT [--dry-run] [--json]\n"
    "\n"
    "Events that could not be published: parked ones hold up their topic and key in the outbox, "
    "dead\n"
    "ones were taken out of it. WHICH is an id, --key KEY, --topic TOPIC, --error TEXT (a part of "
    "it),\n"
    "several of these, or --all. A parked event that is retried goes on in its place; a dead one "
    "is\n"
    "written to the outbox once more, with its id, behind what is there. Discarding is for good: "
    "who,\n"
    "when and why stays in outbox_discarded. Works beside a running relay, and without one.\n"
    "\n"
    "Example:\n"
    "  outbox-relay dead retry --topic outbox.event.order --dry-run\n";

static const char schema_help[] =
    "Usage: outbox-relay schema print [--format FORMAT] [--from N] [--to N] [--directory DIR]\n"
    "       outbox-relay schema check [--json] [--setting value ...]\n"
    "\n"
    "print writes the migrations from version N (0: nothing is installed) to another one (the "
    "newest),\n"
    "as one text, or with --directory as the files of that framework; with --from above --to it is "
    "the\n"
    "way back. It needs no database. source.table says in which schema, and under which name.\n"
    "Formats: sql, flyway, liquibase, golang-migrate, goose, dbmate, node-pg-migrate, alembic, "
    "django,\n"
    "psql, extension.\n"
    "\n"
    "check compares what is installed with what this program knows: exit code 78 where it "
    "differs.\n"
    "\n"
    "Examples:\n"
    "  outbox-relay schema print | psql -X -v ON_ERROR_STOP=1 shop\n"
    "  outbox-relay schema print --format flyway --from 0 --to 2 > V42__outbox.sql\n"
    "  outbox-relay schema print --format goose --directory migrations --source-table app.events\n";

static const char adopt_help[] =
    "Usage: outbox-relay adopt [--json] [--setting value ...]\n"
    "       outbox-relay adopt --slot NAME [--json] [--setting value ...]\n"
    "\n"
    "Looks at the table that source.table names, Debezium's, goharvest's or any that columns.* "
    "describe,\n"
    "and prints the migration after which the relay reads it, for psql: without a rewrite, without "
    "a\n"
    "long lock, with the inserts of its services as they are. --json: the settings to use. With "
    "--slot\n"
    "it prints the statement after which the relay reads on where Debezium's slot stands. Changes\n"
    "nothing by itself.\n"
    "\n"
    "Example:\n"
    "  outbox-relay adopt --source-table app.outbox | psql -X -v ON_ERROR_STOP=1 \"$DATABASE\"\n";

static const char version_help[] =
    "Usage: outbox-relay version [--json]\n"
    "\n"
    "Shows the version of outbox-relay and of the libraries that it runs with.\n";

const struct command_entry command_table[COMMAND_HELP + 1] = {
    [COMMAND_RUN] = {"run", NULL, "publish until it is stopped (the default)", run_help},
    [COMMAND_CHECK] = {"check", NULL,
                       "try settings, connections, rights, schema and topics; changes nothing",
                       check_help},
    [COMMAND_STATUS] = {"status", NULL, "ask the running relay how it is", status_help},
    [COMMAND_DOCTOR] = {"doctor", NULL, "say what holds events back, and the command that ends it",
                        doctor_help},
    [COMMAND_CONFIG_PRINT] =
        {"config", config_verbs,
         "show the effective settings and where each came from, secrets hidden", config_print_help},
    [COMMAND_DEAD] = {"dead", dead_verbs,
                      "list, show, retry or discard events that could not be published", dead_help},
    [COMMAND_SCHEMA] = {"schema", schema_verbs,
                        "print the outbox's migrations for a framework, or check a database's",
                        schema_help},
    [COMMAND_ADOPT] = {"adopt", NULL,
                       "print what makes an outbox that is there already one that the relay reads",
                       adopt_help},
    [COMMAND_VERSION] = {"version", NULL, "show the version, and those of the libraries",
                         version_help},
    [COMMAND_HELP] = {"help", NULL, "this text; `outbox-relay COMMAND --help` tells more", NULL},
};

const struct command_exit command_exits[COMMAND_EXITS] = {
    {0, "done, or stopped after draining"},
    {64, "a wrong command line"},
    {65, "halted on an event that Kafka refuses"},
    {69, "a server cannot be reached (check, status, doctor)"},
    {70, "a bug in outbox-relay"},
    {75, "something holds events back (doctor)"},
    {77, "a right is missing, or a login is refused (check, doctor)"},
    {78, "a wrong setting, or a table that does not fit"},
};

const char command_purpose[] =
    "Publishes the committed rows of a PostgreSQL outbox table to Apache Kafka, in order, and\n"
    "removes a row only after Kafka's delivery report for it.\n";

const char command_examples[] =
    "  outbox-relay --postgres-uri postgres://relay@db/shop --kafka-bootstrap-servers kafka:9092\n"
    "  OUTBOX_POSTGRES_URI_FILE=/run/secrets/uri outbox-relay --config "
    "/etc/outbox-relay/relay.json\n"
    "  outbox-relay check --config /etc/outbox-relay/relay.json\n"
    "  outbox-relay status --json\n";

const char command_settings_rule[] =
    "A setting is given as a flag, in the environment or in a JSON file; the first of these that\n"
    "has it wins. Setting source.poll_interval_ms is flag --source-poll-interval-ms, variable\n"
    "OUTBOX_SOURCE_POLL_INTERVAL_MS, and {\"source\": {\"poll_interval_ms\": 500}} in the file.\n"
    "OUTBOX_NAME_FILE reads the value of OUTBOX_NAME from a file: for passwords.\n"
    "libpq's own PGHOST, PGUSER, PGPASSWORD, ... work as ever.\n";

const char command_signals[] = "SIGTERM or SIGINT drains and stops, a second one stops at once. "
                               "SIGHUP reads the settings again\n"
                               "and applies log.level.\n";
