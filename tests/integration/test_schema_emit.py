"""outbox_emit(): every call finds its function, and the trace that a service is in comes along."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from psycopg2.extras import Json
from support.postgres import Postgres
from support.schema import query

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OBJECT = {"total": 12.5, "no": "ä"}
COLUMNS = (
    "aggregatetype, aggregateid, type, payload::text, payload_bytes, headers::text, topic, partition"
)


@pytest.fixture
def writer(postgres: Postgres, db: str) -> Iterator[Any]:
    """Of a role that may do nothing but insert, as before there were kinds of roles."""
    role = f"shop_{db}"
    postgres.psql(db, f"CREATE ROLE {role} LOGIN; GRANT INSERT ON outbox TO {role}")
    connection = postgres.connect(db, user=role)
    yield connection
    connection.close()


def emit(writer: Any, call: str, *arguments: Any) -> str:
    """In a transaction that goes on; the id that it says."""
    cursor = writer.cursor()
    cursor.execute(f"SELECT outbox_emit({call})", arguments or None)
    return str(cursor.fetchone()[0])


def written(postgres: Postgres, db: str) -> tuple[Any, ...]:
    ((event, *columns),) = query(postgres, db, f"SELECT id::text, {COLUMNS} FROM outbox")
    value = columns[4]
    return event, *columns[:4], None if value is None else bytes(value), *columns[5:]


# What is called, with which parameters of the driver's; payload, payload_bytes and headers of it.
CALLS: dict[str, tuple[str, list[Any], tuple[Any, Any, Any]]] = {
    "a literal": ("""'{"a": 1}'""", [], ('{"a": 1}', None, None)),
    "null": ("NULL", [], (None, None, None)),
    "text": ("""'{"a" :1}'::text""", [], ('{"a" :1}', None, None)),
    "varchar": ("""'{"a" :1}'::varchar""", [], ('{"a" :1}', None, None)),
    "json": ("json_build_object('a', 1)", [], ('{"a" : 1}', None, None)),
    "jsonb": ("jsonb_build_object('a', 1)", [], ('{"a": 1}', None, None)),
    "bytea": (r"'\x0001ff'::bytea", [], (None, b"\0\1\xff", None)),
    "a parameter": ("%s", [json.dumps(OBJECT)], (json.dumps(OBJECT), None, None)),
    "a driver's json": ("%s", [Json(OBJECT)], (json.dumps(OBJECT), None, None)),
    "a driver's bytes": ("%s", [psycopg2.Binary(b"\0x")], (None, b"\0x", None)),
    "a driver's None": ("%s", [None], (None, None, None)),
    "literals": ("""'1', '{"h": 2}'""", [], ("1", None, '{"h": 2}')),
    "text, headers json": ("""'1', headers => '{"h" :2}'::json""", [], ("1", None, '{"h" :2}')),
    "text, headers jsonb": (
        "'1', headers => jsonb_build_object('h', 2)", [], ("1", None, '{"h": 2}')
    ),
    "jsonb, headers a literal": (
        """to_jsonb(1), headers => '{"h":2}'""", [], ("1", None, '{"h":2}')
    ),
    "json, headers text": ("""'1'::json, '{"h":2}'::text""", [], ("1", None, '{"h":2}')),
    "bytea, headers jsonb": (
        "'a'::bytea, headers => to_jsonb('{\"h\": 2}'::json)", [], (None, b"a", '{"h": 2}')
    ),
    "parameters": ("%s, %s", ["1", Json({"h": 2})], ("1", None, '{"h": 2}')),
    "headers null": ("'1', headers => NULL", [], ("1", None, None)),
}


@pytest.mark.parametrize("what", CALLS)
def test_every_call_finds_its_function(
    postgres: Postgres, db: str, writer: Any, what: str
) -> None:
    call, arguments, expected = CALLS[what]
    event = emit(writer, f"'order', '7', 'Paid', {call}", *arguments)
    writer.commit()
    assert written(postgres, db) == (event, "order", "7", "Paid", *expected, None, None)


def test_the_other_columns(postgres: Postgres, db: str, writer: Any) -> None:
    call = "'order', %s, type => 'Paid', payload => '1', topic => %s, partition => %s"
    event = emit(writer, call, "7", "other", 3)
    writer.commit()
    assert written(postgres, db) == (event, "order", "7", "Paid", "1", None, None, "other", 3)


def test_it_is_of_the_callers_transaction(postgres: Postgres, db: str, writer: Any) -> None:
    emit(writer, "'order', '7', 'Paid', '1'")
    writer.rollback()
    assert query(postgres, db, "SELECT count(*) FROM outbox") == [(0,)]


@pytest.mark.parametrize("payload", ["'{'", "'{'::text"])
def test_what_is_no_json_fails(writer: Any, payload: str) -> None:
    with pytest.raises(psycopg2.errors.InvalidTextRepresentation):
        emit(writer, f"'order', '7', 'Paid', {payload}")


def test_the_guard_applies(writer: Any) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation, match="aggregatetype"):
        emit(writer, "'or der', '7', 'Paid', '1'")


def test_any_search_path(postgres: Postgres, db: str, writer: Any) -> None:
    """It finds its table, and none of the caller's names gets in between; the guard's likewise."""
    role = writer.info.user
    query(postgres, db, f"CREATE SCHEMA trap AUTHORIZATION {role}")
    cursor = writer.cursor()
    cursor.execute(
        "CREATE FUNCTION trap.trap(text, text) RETURNS boolean LANGUAGE plpgsql"
        " AS 'BEGIN RAISE ''trapped''; END';"
        "CREATE TABLE trap.outbox ();"
        "CREATE DOMAIN trap.text AS pg_catalog.text CHECK (false);"
        "CREATE DOMAIN trap.json AS pg_catalog.json CHECK (false);"
        "CREATE DOMAIN trap.uuid AS pg_catalog.uuid CHECK (false)"
    )
    for operator in ("=", "<>", "~", "!~", "||", ">", "<"):
        cursor.execute(
            f"CREATE OPERATOR trap.{operator}"
            " (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.trap)"
        )
    for function in (
        "gen_random_uuid()",
        "current_setting(text, boolean)",
        "length(text)",
        "strpos(text, text)",
        "json_typeof(pg_catalog.json)",
        "pg_column_size(pg_catalog.json)",
        "outbox_traced(pg_catalog.json)",
        "format(text, text)",
    ):
        cursor.execute(
            f"CREATE FUNCTION trap.{function} RETURNS integer LANGUAGE plpgsql"
            " AS 'BEGIN RAISE ''trapped''; END'"
        )
    cursor.execute("SET search_path = trap, pg_catalog")
    cursor.execute("SET outbox_relay.traceparent = %s", (TRACE,))
    emitting = "SELECT public.outbox_emit('%s', '7', 'Paid', '1', headers => '{}'::pg_catalog.json)"
    cursor.execute(emitting % "order")
    writer.commit()
    with pytest.raises(psycopg2.errors.CheckViolation, match="at place 16"):
        cursor.execute(emitting % "or der")
    assert query(postgres, db, "SELECT count(*) FROM public.outbox") == [(1,)]


def test_after_its_schema_was_renamed(postgres: Postgres) -> None:
    """Rows are guarded all along; outbox_bind() shows outbox_emit() the way."""
    db = postgres.createdb()
    query(postgres, db, 'ALTER SCHEMA public RENAME TO "App one"')
    insert = 'INSERT INTO "App one".outbox (aggregatetype, aggregateid, type) VALUES (%s, %s, %s)'
    query(postgres, db, insert, "a", "k", "t")
    with pytest.raises(psycopg2.errors.CheckViolation):
        query(postgres, db, insert, "a a", "k", "t")
    query(postgres, db, 'SELECT "App one".outbox_bind(), "App one".outbox_guard(5)')
    query(postgres, db, """SELECT "App one".outbox_emit('a', 'k', 't', '1')""")
    assert query(postgres, db, 'SELECT count(*) FROM "App one".outbox') == [(2,)]


# -- the trace -------------------------------------------------------------------------------------


def traced(
    postgres: Postgres, db: str, writer: Any, headers: str, parent: str, state: str | None = None
) -> str | None:
    """The text of the headers that come of these."""
    cursor = writer.cursor()
    cursor.execute("SET LOCAL outbox_relay.traceparent = %s", (parent,))
    if state is not None:
        cursor.execute("SET LOCAL outbox_relay.tracestate = %s", (state,))
    emit(writer, "'order', '7', 'Paid', '1', headers => %s", headers or None)
    writer.commit()
    return written(postgres, db)[6]


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ("", "{"),
        ("null", "{"),
        (" { } ", "{"),
        ('{"a": "}" }\n', '{"a": "}",'),
        ('{"traceparent_": 1}', '{"traceparent_": 1,'),
        (r'{"a": "\u0000"}', r'{"a": "\u0000",'),
        (r'{"a": "\"traceparent\":"}', r'{"a": "\"traceparent\":",'),
    ],
)
def test_the_trace_comes_last(
    postgres: Postgres, db: str, writer: Any, headers: str, text: str
) -> None:
    """And leaves the headers before it as they were written."""
    state = "vendor=a:b, other@tenant=x y"
    found = traced(postgres, db, writer, headers, TRACE, state)
    assert found == f'{text}"traceparent":"{TRACE}","tracestate":"{state}"}}'


@pytest.mark.parametrize(
    "headers", ['{"traceparent": "mine"}', '{"TraceParent" : null}', '{"a":1,"traceparent":"x"}']
)
def test_headers_that_have_a_trace_keep_it(
    postgres: Postgres, db: str, writer: Any, headers: str
) -> None:
    assert traced(postgres, db, writer, headers, TRACE, "a=b") == headers


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        TRACE + "-more",
        TRACE + "\n",
        TRACE.upper(),
        "ff" + TRACE[2:],
        TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        TRACE.replace("00f067aa0ba902b7", "0" * 16),
        f'{TRACE}", "x": "',
    ],
)
def test_a_trace_that_has_not_the_form_is_left_out(
    postgres: Postgres, db: str, writer: Any, parent: str
) -> None:
    assert traced(postgres, db, writer, '{"a": 1}', parent, "a=b") == '{"a": 1}'


@pytest.mark.parametrize("state", ["", "nonsense", "a=b,,c", "A=b", "a=é", "a=" + "x" * 511])
def test_so_is_its_state_alone(postgres: Postgres, db: str, writer: Any, state: str) -> None:
    found = traced(postgres, db, writer, "", TRACE, state)
    assert found == f'{{"traceparent":"{TRACE}"}}'


def test_the_trace_ends_with_its_transaction(postgres: Postgres, db: str, writer: Any) -> None:
    traced(postgres, db, writer, "", TRACE, "a=b")
    query(postgres, db, "DELETE FROM outbox")
    emit(writer, "'order', '7', 'Paid', '1'")
    writer.commit()
    assert written(postgres, db)[6] is None


def test_headers_that_are_none_are_left_to_the_guard(writer: Any) -> None:
    writer.cursor().execute("SET LOCAL outbox_relay.traceparent = %s", (TRACE,))
    with pytest.raises(psycopg2.errors.CheckViolation, match="no JSON object"):
        emit(writer, "'order', '7', 'Paid', '1', '[1]'")
