"""`outbox-relay adopt`: what it prints makes an outbox of Debezium's or goharvest's one of the relay's,
beside writers, without a rewrite."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg2
import pytest
from support.adopted import DEBEZIUM, GOHARVEST, migrate, printed, run
from support.postgres import MIGRATIONS, Postgres, PostgresError
from support.relay import command

VERSIONS = 3  # that an adopted table is brought to
ROWS = 200_000
# A writer's insert, with the migration in between: 141 ms with a million rows on two busy cores.
LONGEST_INSERT_S = 3.0

_FILL = """
INSERT INTO outbox SELECT gen_random_uuid(), 'old', n::text, 'Old', '{"n": 1}'
FROM generate_series(1, %s) AS n
"""
_INSERT = """
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload)
VALUES (gen_random_uuid(), 'order', '1', 'Placed', '{"n": 1}')
"""

# Of everything beside the table, and its triggers, as text.
_CATALOG = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
    pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum), c.reloptions::text
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind = 'r' AND c.relname = ANY (%(tables)s)
UNION ALL SELECT c.relname, pg_get_constraintdef(k.oid), NULL, NULL, NULL, NULL, NULL, NULL
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE c.relname = ANY (%(tables)s)
UNION ALL SELECT tablename, indexdef, NULL, NULL, NULL, NULL, NULL, NULL
FROM pg_indexes WHERE tablename = ANY (%(tables)s)
UNION ALL SELECT 'trigger', pg_get_triggerdef(t.oid), NULL, NULL, NULL, NULL, NULL, NULL
FROM pg_trigger t WHERE t.tgrelid = 'outbox'::regclass
UNION ALL SELECT 'function', pg_get_functiondef(p.oid), p.proacl::text, NULL, NULL, NULL, NULL, NULL
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY (%(functions)s)
ORDER BY 1, 2
"""
_BESIDE = ["lease", "parked", "dead", "discarded"]


def rows(postgres: Postgres, db: str, sql: str, arguments: Any = None) -> list[tuple[Any, ...]]:
    connection = postgres.connect(db, autocommit=True)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def a_database(postgres: Postgres, table: str = DEBEZIUM, name: str = "outbox") -> str:
    db = postgres.createdb(migrated=False)
    rows(postgres, db, table.format(table=name))
    return db


class Writer(threading.Thread):
    """One session, one row a transaction, by a role that may insert and nothing else."""

    def __init__(self, postgres: Postgres, db: str) -> None:
        super().__init__(daemon=True)
        rows(
            postgres,
            db,
            "DO $$ BEGIN IF to_regrole('old_service') IS NULL THEN CREATE ROLE old_service LOGIN;"
            " END IF; END $$; GRANT INSERT ON outbox TO old_service",
        )
        self._connection = postgres.connect(db, user="old_service", autocommit=True)
        self._ended = threading.Event()
        self.written = 0
        self.longest_s = 0.0
        self.failure: psycopg2.Error | None = None

    def run(self) -> None:
        try:
            with self._connection.cursor() as cursor:
                while not self._ended.is_set():
                    start = time.monotonic()
                    cursor.execute(_INSERT)
                    self.longest_s = max(self.longest_s, time.monotonic() - start)
                    self.written += 1
        except psycopg2.Error as error:
            self.failure = error

    def __enter__(self) -> Writer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join(30)
        self._connection.close()


def test_rows_are_not_rewritten_and_writers_go_on(postgres: Postgres) -> None:
    db = a_database(postgres)
    rows(postgres, db, _FILL, (ROWS,))
    file = "SELECT pg_relation_filenode('outbox')"
    before = rows(postgres, db, file)
    with Writer(postgres, db) as writer:
        migrate(postgres, db)
        during = writer.written
    assert writer.failure is None
    assert writer.written > during > 0
    assert rows(postgres, db, file) == before
    assert writer.longest_s < LONGEST_INSERT_S
    print(f"{ROWS} rows, {writer.written} inserts, the longest {1000 * writer.longest_s:.0f} ms")
    ((old, new, distinct),) = rows(
        postgres,
        db,
        "SELECT count(*) FILTER (WHERE published_at IS NOT NULL),"
        " count(*) FILTER (WHERE published_at IS NULL),"
        " count(DISTINCT (seq, xid)) FILTER (WHERE published_at IS NULL AND seq > 0 AND xid <> '0')"
        " FROM outbox",
    )
    assert old >= ROWS and old + new == ROWS + writer.written
    assert distinct == new


def test_what_is_beside_the_table_is_the_schemas_own(postgres: Postgres) -> None:
    db = a_database(postgres)
    migrate(postgres, db)
    names = {
        "tables": [f"outbox_{each}" for each in _BESIDE],
        "functions": ["outbox_wake", "outbox_truncated"],
    }
    adopted = rows(postgres, db, _CATALOG, names)
    other = postgres.createdb(migrated=False)
    for migration in sorted(MIGRATIONS.glob("*.up.sql"))[:VERSIONS]:
        postgres.psql(other, file=migration)
    assert adopted == rows(postgres, other, _CATALOG, names)
    assert {row[0] for row in adopted} == {*names["tables"], "trigger", "function"}


def test_a_table_may_be_named_by_a_keyword_in_a_schema(postgres: Postgres) -> None:
    db = postgres.createdb(migrated=False)
    rows(postgres, db, "CREATE SCHEMA app")
    rows(postgres, db, DEBEZIUM.format(table='app."order"'))
    assert migrate(postgres, db, source_table="app.order") == {
        "source.table": "app.order",
        "record.type_header": "",
    }
    assert rows(postgres, db, "SELECT to_regclass('app.order_parked') IS NOT NULL") == [(True,)]


def test_later_versions_of_the_schema_go_on_top(postgres: Postgres) -> None:
    """All columns are there, under the schema's own names."""
    db = a_database(postgres)
    migrate(postgres, db)
    later = command("schema", "print", "--from", str(VERSIONS))
    assert later.returncode == 0, later.stderr
    run(postgres, db, later.stdout)
    rows(postgres, db, _INSERT)
    rows(postgres, db, "SELECT outbox_emit('order', '1', 'Placed', '{}'::jsonb)")
    assert rows(postgres, db, "SELECT count(*) FROM outbox WHERE published_at IS NULL") == [(2,)]


def test_a_second_run_finds_nothing_missing(postgres: Postgres) -> None:
    db = a_database(postgres, name="events")
    migrate(postgres, db, source_table="events")
    assert "-- Nothing is missing." in printed(postgres, db, source_table="events")
    versions = rows(postgres, db, "SELECT version FROM events_schema_version ORDER BY version")
    assert len(versions) == VERSIONS
    rows(postgres, db, "DROP INDEX events_unpublished_xid")
    assert "-- Nothing is missing." not in printed(postgres, db, source_table="events")
    migrate(postgres, db, source_table="events")
    assert "-- Nothing is missing." in printed(postgres, db, source_table="events")


def test_a_lock_that_is_not_had_leaves_all_as_it_was(postgres: Postgres) -> None:
    db = a_database(postgres)
    migration = printed(postgres, db)
    blocker = postgres.connect(db)
    blocker.cursor().execute(_INSERT)
    with pytest.raises(PostgresError, match="lock timeout"):
        run(postgres, db, migration)
    blocker.commit()
    blocker.close()
    assert rows(postgres, db, "SELECT to_regclass('outbox_lease')") == [(None,)]
    migrate(postgres, db)


def test_goharvests_backlog_has_ids_and_headers(postgres: Postgres) -> None:
    db = a_database(postgres, GOHARVEST)
    insert = (
        "INSERT INTO outbox (create_time, kafka_topic, kafka_key, kafka_value, kafka_header_keys,"
        " kafka_header_values) SELECT now(), 't', 'k', 'v', {} FROM generate_series(1, 2)"
    )
    rows(postgres, db, insert.format("ARRAY['a', 'b'], ARRAY['1', 'x \"y\"']"))
    settings = migrate(postgres, db)
    rows(postgres, db, insert.format("'{}', '{}'"))
    assert settings["columns.seq"] == "id" and settings["columns.aggregatetype"] == ""
    ((count, ids),) = rows(
        postgres,
        db,
        "SELECT count(*), count(DISTINCT event_id) FROM outbox WHERE published_at IS NULL",
    )
    assert (count, ids) == (4, 4)
    found = rows(postgres, db, "SELECT headers FROM outbox ORDER BY id")
    assert found == [({"a": "1", "b": 'x "y"'},)] * 2 + [({},)] * 2


def test_what_it_cannot_know_it_asks_for(postgres: Postgres) -> None:
    db = postgres.createdb(migrated=False)
    rows(postgres, db, "CREATE TABLE outbox (id uuid NOT NULL, body jsonb, subject text NOT NULL)")
    uri = {"postgres.uri": postgres.uri(db)}
    done = command("adopt", settings=uri)
    assert done.returncode == 78 and not done.stdout
    assert "columns.aggregatetype" in done.stderr
    settings = migrate(
        postgres,
        db,
        columns_aggregatetype="",
        columns_type="",
        columns_aggregateid="subject",
        columns_payload="body",
    )
    assert settings["columns.aggregateid"] == "subject"
    done = command("adopt", settings={**uri, "source.table": "nothing"})
    assert (done.returncode, done.stderr) == (
        78,
        'outbox-relay: there is no table "nothing": set source.table\n',
    )
