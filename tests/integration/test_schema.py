"""The schema: what it holds and how it is installed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support.postgres import MIGRATIONS, Postgres, PostgresError
from support.schema import dump, query
from support.sleeper import INSERT
from support.wait import wait_for

UP = MIGRATIONS / "0001_outbox.up.sql"
DOWN = MIGRATIONS / "0001_outbox.down.sql"
ALL = sorted(MIGRATIONS.glob("*.up.sql"))
DOWN_3 = MIGRATIONS / "0003_parked_events.down.sql"
ALL_DOWN = sorted(MIGRATIONS.glob("*.down.sql"), reverse=True)

# name, type, not null, default or identity: the public contract.
COLUMNS = [
    ("seq", "bigint", True, "always as identity"),
    ("id", "uuid", True, "gen_random_uuid()"),
    ("aggregatetype", "text", True, None),
    ("aggregateid", "text", True, None),
    ("type", "text", True, None),
    ("payload", "json", False, None),
    ("payload_bytes", "bytea", False, None),
    ("headers", "json", False, None),
    ("topic", "text", False, None),
    ("partition", "integer", False, None),
    ("created_at", "timestamp with time zone", True, "clock_timestamp()"),
    ("xid", "xid8", True, "pg_current_xact_id()"),
    ("published_at", "timestamp with time zone", False, None),
]
LEASE_COLUMNS = [
    ("shard", "integer", True, "0"),
    ("epoch", "bigint", True, "0"),
    ("owner", "uuid", False, None),
    ("owner_name", "text", False, None),
    ("renewed_at", "timestamp with time zone", False, None),
    ("ttl_ms", "integer", False, None),
    ("slot", "text", False, None),
    ("slot_server", "text", False, None),
    ("slot_snapshot", "text", False, None),
    ("confirmed_lsn", "pg_lsn", False, None),
]
# Everything in a schema that is not the system's own.
OBJECTS = """
    SELECT 'relation', relname::text FROM pg_class WHERE relnamespace = '{0}'::regnamespace
    UNION ALL SELECT 'function', proname::text FROM pg_proc WHERE pronamespace = '{0}'::regnamespace
    UNION ALL SELECT 'type', typname::text FROM pg_type WHERE typnamespace = '{0}'::regnamespace
    ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres({"autovacuum": "off"}) as running:
        yield running


@pytest.fixture
def db(server: Postgres) -> str:
    return server.createdb()


def install(server: Postgres, db: str, **options: Any) -> None:
    for file in ALL:
        server.psql(db, file=file, **options)


def remove(server: Postgres, db: str, to: int = 0, **options: Any) -> None:
    """Down to that version."""
    for file in ALL_DOWN[: len(ALL) - to]:
        server.psql(db, file=file, **options)


def columns(server: Postgres, db: str, table: str) -> list[tuple[str, str, bool, str | None]]:
    return query(
        server,
        db,
        "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull,"
        " CASE attidentity WHEN 'a' THEN 'always as identity'"
        "  ELSE pg_get_expr(adbin, adrelid) END"
        " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        table,
    )


def catalog(server: Postgres, db: str) -> str:
    """The schema as pg_dump writes it, and the list of objects, with what a dump leaves out."""
    return dump(server, db) + "\n".join(map(str, query(server, db, OBJECTS.format("public"))))


# -- what it holds ---------------------------------------------------------------------------------


def test_columns_are_the_contract(server: Postgres, db: str) -> None:
    assert columns(server, db, "outbox") == COLUMNS
    assert columns(server, db, "outbox_lease") == LEASE_COLUMNS
    assert columns(server, db, "outbox_schema_version") == [
        ("version", "integer", True, None),
        ("installed_at", "timestamp with time zone", True, "clock_timestamp()"),
    ]


def test_keys_sequence_and_first_rows(server: Postgres, db: str) -> None:
    keys = query(
        server,
        db,
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype = 'p' ORDER BY 1",
    )
    assert keys == [
        ("outbox", "PRIMARY KEY (seq)"),
        ("outbox_dead", "PRIMARY KEY (seq, id)"),
        ("outbox_discarded", "PRIMARY KEY (number)"),
        ("outbox_lease", "PRIMARY KEY (shard)"),
        ("outbox_parked", "PRIMARY KEY (seq, id)"),
        ("outbox_retention", "PRIMARY KEY (only_row)"),
        ("outbox_schema_version", "PRIMARY KEY (version)"),
    ]
    assert query(server, db, "SELECT DISTINCT seqcache FROM pg_sequence") == [(1,)]
    assert query(server, db, "SELECT * FROM outbox_lease") == [(0, 0, *[None] * 8)]
    versions = query(server, db, "SELECT version FROM outbox_schema_version ORDER BY 1")
    assert versions == [(number,) for number in range(1, len(ALL) + 1)]


def test_everything_carries_a_comment(server: Postgres, db: str) -> None:
    bare = query(
        server,
        db,
        "SELECT c.relname, a.attname FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
        " AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL)"
        " UNION ALL SELECT proname, NULL FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL"
        " UNION ALL SELECT tgname, NULL FROM pg_trigger"
        " WHERE NOT tgisinternal AND obj_description(oid, 'pg_trigger') IS NULL",
    )
    assert bare == []


def test_storage_is_a_queues(server: Postgres, db: str) -> None:
    ((table, toast),) = query(
        server,
        db,
        "SELECT c.reloptions, t.reloptions FROM pg_class c"
        " JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = 'outbox'::regclass",
    )
    for options in (table, toast):
        assert "autovacuum_vacuum_scale_factor=0" in options
        assert "autovacuum_vacuum_insert_scale_factor=0" in options
        assert "autovacuum_vacuum_cost_delay=0" in options
        assert "vacuum_truncate=false" in options


def test_renewing_the_lease_is_a_hot_update(server: Postgres, db: str) -> None:
    query(server, db, "INSERT INTO outbox_lease (shard) SELECT generate_series(1, 63)")
    for _ in range(20):
        query(server, db, "UPDATE outbox_lease SET renewed_at = now(), epoch = epoch + 1")

    def counted() -> Any:
        return query(
            server,
            db,
            "SELECT n_tup_hot_upd FROM pg_stat_user_tables"
            " WHERE relname = 'outbox_lease' AND n_tup_upd = 20 * 64",
        )

    ((hot,),) = wait_for(counted, "the statistics of the lease's updates")
    assert hot >= 0.9 * 20 * 64


# -- installing ------------------------------------------------------------------------------------


def test_up_down_up_leaves_the_same_catalog(server: Postgres) -> None:
    db = server.createdb(migrated=False)
    empty = catalog(server, db)
    install(server, db)
    installed = catalog(server, db)
    remove(server, db)
    assert catalog(server, db) == empty
    install(server, db)
    assert catalog(server, db) == installed
    assert "CREATE TABLE public.outbox " in installed


def test_down_takes_nothing_else(server: Postgres, db: str) -> None:
    query(server, db, "CREATE TABLE outbox_archive (LIKE outbox)")
    query(server, db, INSERT)
    remove(server, db)
    left = query(server, db, OBJECTS.format("public"))
    assert [name for kind, name in left if kind == "relation"] == ["outbox_archive"]


def test_down_stops_at_what_others_built_on_it(server: Postgres, db: str) -> None:
    query(server, db, "CREATE VIEW waiting AS SELECT count(*) FROM outbox")
    before = catalog(server, db)
    with pytest.raises(PostgresError, match="view waiting depends on table outbox"):
        remove(server, db)
    for file in ALL[1:]:
        server.psql(db, file=file)
    assert catalog(server, db) == before


def test_a_second_install_says_so_and_changes_nothing(server: Postgres, db: str) -> None:
    query(server, db, INSERT)
    before = catalog(server, db)
    with pytest.raises(PostgresError) as refused:
        server.psql(db, file=UP)
    assert str(refused.value).count("ERROR") == 1
    assert "outbox: installed already in schema public" in str(refused.value)
    assert catalog(server, db) == before
    assert query(server, db, "SELECT count(*) FROM outbox") == [(1,)]


@pytest.mark.parametrize("number", range(2, len(ALL) + 1))
def test_a_version_needs_the_one_before_and_comes_once(
    server: Postgres, db: str, number: int
) -> None:
    bare = server.createdb(migrated=False)
    for file in ALL[: number - 2]:
        server.psql(bare, file=file)
    with pytest.raises(PostgresError, match=f"version {number - 1} is not installed in schema"):
        server.psql(bare, file=ALL[number - 1])
    before = catalog(server, db)
    with pytest.raises(PostgresError, match=f"version {number} is installed already"):
        server.psql(db, file=ALL[number - 1])
    assert catalog(server, db) == before


def test_version_3_keeps_what_is_parked(server: Postgres, db: str) -> None:
    """In the order of parking; and does not go before what it alone has."""
    remove(server, db, to=2)
    parked = (
        "INSERT INTO outbox_parked (seq, id, topic, aggregateid, class, error)"
        " VALUES ({}, gen_random_uuid(), 't', 'k', 'row', 'x')"
    )
    for seq in (7, 5):
        query(server, db, parked.format(seq))
    server.psql(db, file=ALL[2])
    query(server, db, parked.format(6))
    assert query(server, db, "SELECT seq FROM outbox_parked ORDER BY place") == [(7,), (5,), (6,)]
    query(server, db, "UPDATE outbox_parked SET aggregatetype = 'order' WHERE seq = 6")
    with pytest.raises(PostgresError, match="that are in no other table"):
        server.psql(db, file=DOWN_3)
    query(server, db, "DELETE FROM outbox_parked WHERE seq = 6")
    server.psql(db, file=DOWN_3)


def test_two_installs_at_a_time(server: Postgres) -> None:
    """The one that comes second waits for the first, and then says that it is installed."""
    db = server.createdb(migrated=False)
    first = server.connect(db)
    first.cursor().execute(UP.read_text().replace("BEGIN;", "", 1).replace("COMMIT;", "", 1))
    second = subprocess.Popen(
        [server.bin / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-f", UP, server.uri(db)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(
            lambda: query(server, db, "SELECT 1 FROM pg_locks WHERE NOT granted"),
            "the second to wait",
        )
        first.commit()
        assert "installed already" in second.communicate(timeout=20)[1]
        assert second.returncode == 3
    finally:
        first.close()
        if second.poll() is None:
            second.kill()
            second.wait()


def test_another_table_of_that_name_is_not_touched(server: Postgres) -> None:
    db = server.createdb(migrated=False)
    query(server, db, "CREATE TABLE outbox (id uuid)")
    with pytest.raises(PostgresError, match="schema public has another relation of that name"):
        server.psql(db, file=UP)
    assert columns(server, db, "outbox") == [("id", "uuid", False, None)]


def test_a_search_path_of_nothing_is_refused(server: Postgres) -> None:
    db = server.createdb(migrated=False)
    with pytest.raises(PostgresError, match="no schema of the search_path exists"):
        server.psql(db, file=UP, env={"PGOPTIONS": "-csearch_path=nowhere"})


def test_another_schema(server: Postgres, db: str) -> None:
    """Beside the one in public, in one whose name wants quotes; the triggers find their way."""
    public = query(server, db, OBJECTS.format("public"))
    query(server, db, 'CREATE SCHEMA "App one"')
    path = {"PGOPTIONS": '-csearch_path="App\\ one",public'}
    install(server, db, env=path)
    assert query(server, db, OBJECTS.format('"App one"')) == public
    assert columns(server, db, '"App one".outbox') == COLUMNS
    query(server, db, INSERT.replace("outbox", '"App one".outbox'))
    query(server, db, 'TRUNCATE "App one".outbox')
    assert query(server, db, 'SELECT epoch FROM "App one".outbox_lease') == [(1,)]
    assert query(server, db, "SELECT epoch FROM public.outbox_lease") == [(0,)]
    query(server, db, 'ALTER SCHEMA "App one" RENAME TO app')
    query(server, db, "TRUNCATE app.outbox")
    assert query(server, db, "SELECT epoch FROM app.outbox_lease") == [(2,)]
    remove(server, db, env={"PGOPTIONS": "-csearch_path=app"})
    assert query(server, db, OBJECTS.format("app")) == []
    assert query(server, db, OBJECTS.format("public")) == public


@pytest.mark.parametrize("file", [*ALL, *ALL_DOWN], ids=lambda file: file.name)
def test_text_suits_every_migration_tool(file: Any) -> None:
    """No placeholder of Flyway, psql or JDBC, and nothing that a transaction cannot hold."""
    code = re.sub(r"--.*", "", file.read_text())
    assert "${" not in code
    assert not re.search(r"(?<![:\w]):[A-Za-z_]", code)
    assert "?" not in code
    assert "CONCURRENTLY" not in code.upper()
    assert "SET LOCAL lock_timeout" in code
    if file in ALL:  # what its functions do they do when they are called
        at_once = re.sub(r"CREATE FUNCTION.*?\$outbox\$.*?\$outbox\$", "", code, flags=re.DOTALL)
        assert not re.search(r"\bDROP\b", at_once, re.IGNORECASE)
    else:
        assert not re.search(r"\bCASCADE\b", code, re.IGNORECASE)
