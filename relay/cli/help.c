/* `--help`, for the whole and for each command. */
#include "cli/cli.h"

static const char overview[] =
    "Usage: outbox-relay [COMMAND] [--setting value ...]\n"
    "\n"
    "Publishes the committed rows of a PostgreSQL outbox table to Apache Kafka, in order, and\n"
    "removes a row only after Kafka's delivery report for it.\n"
    "\n"
    "Commands:\n"
    "  run            publish until it is stopped (the default)\n"
    "  check          try settings, connections, rights, schema and topics; changes nothing\n"
    "  status         ask the running relay how it is\n"
    "  doctor         say what holds events back, and the command that ends it\n"
    "  config print   show the effective settings and where each came from, secrets hidden\n"
    "  dead           list, show, retry or discard events that could not be published\n"
    "  schema         print the outbox's migrations for a framework, or check a database's\n"
    "  adopt          print what makes an outbox that is there already one that the relay reads\n"
    "  version        show the version, and those of the libraries\n"
    "  help           this text; `outbox-relay COMMAND --help` tells more\n"
    "\n"
    "Examples:\n"
    "  outbox-relay --postgres-uri postgres://relay@db/shop --kafka-bootstrap-servers kafka:9092\n"
    "  OUTBOX_POSTGRES_URI_FILE=/run/secrets/uri outbox-relay --config /etc/outbox-relay.json\n"
    "  outbox-relay check --config /etc/outbox-relay.json\n"
    "  outbox-relay status --json\n";

static const char settings_rule[] =
    "\n"
    "A setting is given as a flag, in the environment or in a JSON file; the first of these that\n"
    "has it wins. Setting source.poll_interval_ms is flag --source-poll-interval-ms, variable\n"
    "OUTBOX_SOURCE_POLL_INTERVAL_MS, and {\"source\": {\"poll_interval_ms\": 500}} in the file.\n"
    "OUTBOX_NAME_FILE reads the value of OUTBOX_NAME from a file: for passwords.\n"
    "libpq's own PGHOST, PGUSER, PGPASSWORD, ... work as ever.\n"
    "\n"
    "Settings:\n"
    "  --config\n"
    "      The JSON file of settings; variable OUTBOX_CONFIG.\n"
    "      default: none is read\n";

static const char exits[] = "\n"
                            "Exit codes:\n"
                            "  0   done, or stopped after draining\n"
                            "  64  a wrong command line\n"
                            "  65  halted on an event that Kafka refuses\n"
                            "  69  a server cannot be reached (check, status, doctor)\n"
                            "  70  a bug in outbox-relay\n"
                            "  75  something holds events back (doctor)\n"
                            "  77  a right is missing\n"
                            "  78  a wrong setting, or a table that does not fit\n"
                            "\n"
                            "SIGTERM or SIGINT drains and stops, a second one stops at once.\n";

static const char run_text[] =
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

static const char check_text[] =
    "Usage: outbox-relay check [--fix] [--json] [--setting value ...]\n"
    "\n"
    "Tries what run would need: the settings, both servers, the table and its columns, the "
    "rights,\n"
    "the topics. Publishes and changes nothing. Give it the same settings as run. With --fix it "
    "makes\n"
    "the slot that source.slot names, and its publication, where they are missing.\n"
    "\n"
    "Example:\n"
    "  outbox-relay check --config /etc/outbox-relay.json && systemctl start outbox-relay\n";

static const char status_text[] =
    "Usage: outbox-relay status [--json] [--setting value ...]\n"
    "\n"
    "Asks the relay that runs at http.listen how it is: owner or standby, both servers, what "
    "waits,\n"
    "what stalls and why. --json prints its answer as it came. Exit code 69: nothing answers.\n"
    "\n"
    "Example:\n"
    "  outbox-relay status --http-listen 127.0.0.1:9478\n";

static const char doctor_text[] =
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
    "  outbox-relay doctor --config /etc/outbox-relay.json\n";

static const char config_print_text[] =
    "Usage: outbox-relay config print [--json] [--setting value ...]\n"
    "\n"
    "Shows each setting's effective value and where it came from: a flag, the environment, the "
    "file\n"
    "or the default. Passwords and keys are hidden.\n"
    "\n"
    "Example:\n"
    "  outbox-relay config print --config /etc/outbox-relay.json\n";

static const char dead_text[] =
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

static const char schema_text[] =
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

static const char adopt_text[] =
    "Usage: outbox-relay adopt [--json] [--setting value ...]\n"
    "       outbox-relay adopt --slot NAME [--json] [--setting value ...]\n"
    "\n"
    "Looks at the table that source.table names, Debezium's, goharvest's or any that columns.* "
    "describe,\n"
    "and prints the migration after which the relay reads it, for psql: without a rewrite, "
    "without a\n"
    "long lock, with the inserts of its services as they are. --json: the settings to use. With "
    "--slot\n"
    "it prints the statement after which the relay reads on where Debezium's slot stands. Changes\n"
    "nothing by itself.\n"
    "\n"
    "Example:\n"
    "  outbox-relay adopt --source-table app.outbox | psql -X -v ON_ERROR_STOP=1 \"$DATABASE\"\n";

static const char version_text[] =
    "Usage: outbox-relay version [--json]\n"
    "\n"
    "Shows the version of outbox-relay and of the libraries that it runs with.\n";

int cli_help(const struct cli *c)
{
    struct err err;

    switch (c->help_for) {
    case COMMAND_HELP:
        (void)fputs(overview, stdout);
        break;
    case COMMAND_RUN:
        (void)fputs(run_text, stdout);
        break;
    case COMMAND_CHECK:
        (void)fputs(check_text, stdout);
        break;
    case COMMAND_STATUS:
        (void)fputs(status_text, stdout);
        break;
    case COMMAND_DOCTOR:
        (void)fputs(doctor_text, stdout);
        break;
    case COMMAND_CONFIG_PRINT:
        (void)fputs(config_print_text, stdout);
        break;
    case COMMAND_DEAD:
        (void)fputs(dead_text, stdout);
        break;
    case COMMAND_SCHEMA:
        (void)fputs(schema_text, stdout);
        break;
    case COMMAND_ADOPT:
        (void)fputs(adopt_text, stdout);
        break;
    case COMMAND_VERSION:
        (void)fputs(version_text, stdout);
        return cli_done();
    }
    (void)fputs(settings_rule, stdout);
    if (config_help(stdout, &err) != 0)
        return cli_fail(&err);
    (void)fputs(exits, stdout);
    return cli_done();
}
