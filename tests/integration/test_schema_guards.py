"""The guard: what an INSERT is refused, by what words, and what it has to let through."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from support.guard import ALLOWED, PAYLOAD, REFUSED, SECRET
from support.postgres import Postgres, PostgresError
from support.schema import query
from support.sleeper import INSERT
from support.writer import insert

@pytest.fixture
def connection(postgres: Postgres, db: str) -> Iterator[Any]:
    made = postgres.connect(db)
    yield made
    made.close()


def write(connection: Any, columns: dict[str, Any]) -> str:
    return insert(connection, **{"aggregatetype": "order", "aggregateid": "k"} | columns)


@pytest.mark.parametrize("what", REFUSED)
def test_refused(connection: Any, what: str) -> None:
    """By one error, which names what and what to do, and shows nothing of the payload."""
    columns, column, says = REFUSED[what]
    with pytest.raises(psycopg2.errors.CheckViolation) as refused:
        write(connection, {"payload": PAYLOAD, **columns})
    said = refused.value.diag
    assert said.message_primary.startswith("outbox: the event's ")
    assert (said.schema_name, said.table_name) == ("public", "outbox")
    assert (said.column_name, said.constraint_name) == (column, "outbox_guard")
    assert says in f"{said.message_primary} {said.message_detail}"
    assert said.message_hint
    assert SECRET not in str(refused.value) and "xxx" not in str(refused.value)


@pytest.mark.parametrize("what", ALLOWED)
def test_let_through(connection: Any, what: str) -> None:
    write(connection, {"payload": PAYLOAD, **ALLOWED[what]})
    connection.commit()


def test_a_payload_is_as_large_as_it_will_be(postgres: Postgres, db: str) -> None:
    """Stored compressed, it is measured as it was written; what only was large is not refused."""
    copy = "INSERT INTO outbox (aggregatetype, aggregateid, type, payload) SELECT 'a', 'k', 't', v"
    query(postgres, db, "CREATE TABLE stored (n integer, v json)")
    query(
        postgres,
        db,
        "INSERT INTO stored SELECT n, to_json(repeat('x', n)) FROM (VALUES (900000), (1100000))"
        " AS sizes(n)",
    )
    ((size,),) = query(postgres, db, "SELECT max(pg_column_size(v)) FROM stored")
    assert size < 50_000, "it is compressed"
    query(postgres, db, f"{copy} FROM stored WHERE n < 1000000")
    with pytest.raises(psycopg2.errors.CheckViolation, match="1100002 bytes"):
        query(postgres, db, f"{copy} FROM stored")


def test_a_refusal_undoes_no_more_than_its_statement(connection: Any) -> None:
    """Nor is anything left of what the guard sets for its words."""
    cursor = connection.cursor()
    cursor.execute("SET search_path = public, pg_temp")
    cursor.execute("SAVEPOINT before")
    with pytest.raises(psycopg2.errors.CheckViolation):
        write(connection, {"topic": ""})
    cursor.execute("ROLLBACK TO before")
    cursor.execute("SHOW search_path")
    assert cursor.fetchone() == ("public, pg_temp",)
    write(connection, {})
    connection.commit()


def test_many_rows_and_copies(connection: Any) -> None:
    """Of a statement with one bad row nothing is written, however it comes."""
    cursor = connection.cursor()
    into = "outbox (aggregatetype, aggregateid, type)"
    cursor.execute("SAVEPOINT before")
    with pytest.raises(psycopg2.errors.CheckViolation):
        cursor.execute(
            f"INSERT INTO {into} SELECT CASE n WHEN 50 THEN ' ' ELSE 'a' END, 'k', 't'"
            " FROM generate_series(1, 100) n"
        )
    cursor.execute("ROLLBACK TO before")
    with pytest.raises(psycopg2.errors.CheckViolation):
        cursor.copy_expert(
            f"COPY {into} FROM STDIN", io.StringIO("a\tk\tt\n" * 50 + " \tk\tt\n")
        )
    cursor.execute("ROLLBACK TO before; SELECT count(*) FROM outbox")
    assert cursor.fetchone() == (0,)


def test_an_insert_whose_expressions_insert(connection: Any) -> None:
    """Numbers are drawn in another order than rows are written: nothing is wrong with that."""
    cursor = connection.cursor()
    cursor.execute(
        "CREATE FUNCTION also() RETURNS text LANGUAGE sql AS 'SELECT"
        " outbox_emit(''inner'', ''k'', ''t'', ''1'')::text';"
        "INSERT INTO outbox (aggregatetype, aggregateid, type)"
        " SELECT 'outer', also(), 't' FROM generate_series(1, 3)"
    )
    cursor.execute("SELECT count(*) FROM outbox")
    assert cursor.fetchone() == (6,)


# -- restoring -------------------------------------------------------------------------------------


def test_an_xid_by_hand(postgres: Postgres, db: str) -> None:
    """The error's own words are the way round it."""
    query(postgres, db, "CREATE TABLE aside AS SELECT * FROM outbox WITH NO DATA")
    query(postgres, db, INSERT)
    query(
        postgres, db, "WITH o AS (DELETE FROM outbox RETURNING *) INSERT INTO aside SELECT * FROM o"
    )
    again = "INSERT INTO outbox OVERRIDING SYSTEM VALUE SELECT * FROM aside"
    with pytest.raises(psycopg2.errors.CheckViolation) as refused:
        query(postgres, db, again)
    hint = str(refused.value.diag.message_hint)
    remedy = hint[hint.index("ALTER TABLE") : hint.index(";")]
    assert remedy == "ALTER TABLE public.outbox DISABLE TRIGGER outbox_guard"
    query(postgres, db, remedy)
    query(postgres, db, again)
    query(postgres, db, remedy.replace("DISABLE", "ENABLE"))
    assert query(postgres, db, "SELECT count(*) FROM outbox") == [(1,)]


def test_a_dump_is_restored_whole(postgres: Postgres, db: str) -> None:
    """With the guard and its limits as they were, and with rows of old transactions."""
    query(postgres, db, "SELECT outbox_guard(max_payload_bytes => 20, route => '${type}')")
    insert_ = (
        "INSERT INTO outbox (aggregatetype, aggregateid, type, payload) VALUES ('a', 'k', %s, %s)"
    )
    query(postgres, db, insert_, "fits", '"1234567890"')
    dump = subprocess.run(
        [postgres.bin / "pg_dump", postgres.uri(db)], capture_output=True, text=True, check=True
    ).stdout
    other = postgres.createdb(migrated=False)
    subprocess.run(
        [postgres.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", postgres.uri(other)],
        input=dump,
        capture_output=True,
        text=True,
        check=True,
    )
    assert query(postgres, other, "SELECT count(*) FROM outbox") == [(1,)]
    query(postgres, other, insert_, "fits", '"1234567890"')
    for kind, payload in (("fits", '"1234567890123456789"'), ("does not", "1")):
        with pytest.raises(psycopg2.errors.CheckViolation):
            query(postgres, other, insert_, kind, payload)
    query(postgres, other, "SELECT outbox_guard(), outbox_bind()")
    query(postgres, other, insert_, "does now", f'"{"x" * 100}"')
    query(postgres, other, "SELECT outbox_emit('a', 'k', 't', '1')")


# -- its limits ------------------------------------------------------------------------------------


def test_limits_reach_an_open_session_at_once(postgres: Postgres, db: str, connection: Any) -> None:
    """And wait for no writer: one has its transaction open meanwhile."""
    write(connection, {"payload": f'"{"x" * 100}"'})
    query(postgres, db, "SET lock_timeout = '2s'; SELECT outbox_guard(max_payload_bytes => 50)")
    with pytest.raises(psycopg2.errors.CheckViolation, match="larger than 50 bytes"):
        write(connection, {"payload": f'"{"x" * 100}"'})
    connection.rollback()
    query(postgres, db, "SELECT outbox_guard(max_payload_bytes => NULL)")
    write(connection, {"payload": f'"{"x" * 2_000_000}"'})
    write(connection, {"payload": None, "payload_bytes": b"x" * 2_000_000})
    connection.commit()


@pytest.mark.parametrize(
    ("route", "good", "bad"),
    [
        ("${aggregatetype}", {"aggregatetype": "..."}, {"aggregatetype": ".."}),
        ("a.${type}-${aggregateid}", {"type": "t", "aggregateid": "7"}, {"aggregateid": "7 7"}),
        ("${type}${type}", {"type": ".."}, {"type": "."}),
        ("fixed", {"aggregatetype": "any thing"}, {"topic": "any thing"}),
        (None, {"aggregatetype": "any thing"}, {"topic": "any thing"}),
    ],
)
def test_another_route(
    postgres: Postgres,
    db: str,
    connection: Any,
    route: str | None,
    good: dict[str, str],
    bad: dict[str, str],
) -> None:
    query(postgres, db, "SELECT outbox_guard(route => %s)", route)
    write(connection, good)
    with pytest.raises(psycopg2.errors.CheckViolation):
        write(connection, bad)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("max_payload_bytes => 0", "max_payload_bytes is 0, but has to be 1 to"),
        ("max_payload_bytes => -5", "max_payload_bytes is -5"),
        ("max_payload_bytes => 1000000001", "max_payload_bytes is 1000000001"),
        ("route => ''", "no setting route.topic"),
        ("route => 'a b'", "no setting route.topic"),
        ("route => '${payload}'", "no setting route.topic"),
        ("route => 'x'' || pg_sleep(9) || '''", "no setting route.topic"),
    ],
)
def test_limits_that_make_no_sense(postgres: Postgres, db: str, call: str, says: str) -> None:
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match=says):
        query(postgres, db, f"SELECT outbox_guard({call})")


def test_writers_set_no_limits(postgres: Postgres, db: str) -> None:
    role = f"shop_{db}"
    postgres.psql(db, f"CREATE ROLE {role} LOGIN; GRANT INSERT ON outbox TO {role}")
    for call in ("guard()", "bind()", f"grant('relay', '{role}')", f"revoke('writer', '{role}')"):
        with pytest.raises(PostgresError, match="permission denied for function"):
            postgres.psql(db, f"SELECT outbox_{call}", user=role)


def test_a_partitioned_table_is_guarded_too(postgres: Postgres, db: str) -> None:
    """Its trigger is that of each partition, and the hint names the table that people know."""
    query(
        postgres,
        db,
        "CREATE TABLE parts (LIKE outbox INCLUDING DEFAULTS) PARTITION BY RANGE (created_at);"
        "CREATE TABLE part PARTITION OF parts DEFAULT;"
        "CREATE TRIGGER outbox_guard BEFORE INSERT ON parts"
        " FOR EACH ROW EXECUTE FUNCTION outbox_refuse()",
    )
    good = "INSERT INTO parts (seq, aggregatetype, aggregateid, type) VALUES (1, 'a', 'k', 't')"
    query(postgres, db, good)
    with pytest.raises(psycopg2.errors.CheckViolation, match="ALTER TABLE public.parts DISABLE"):
        query(postgres, db, "INSERT INTO parts SELECT * FROM parts")
