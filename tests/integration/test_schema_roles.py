"""Who may do what with the schema: the service's, the relay's and everybody's rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from support.postgres import MIGRATIONS, Postgres
from support.schema import block, blocks, query
from support.sleeper import INSERT


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        for role in ("orders", "relay", "janitor"):
            running.psql("postgres", f"CREATE ROLE {role} LOGIN")
        yield running


@pytest.fixture
def db(server: Postgres) -> str:
    return server.createdb()


# -- kinds of roles --------------------------------------------------------------------------------

EVENT = (
    "id aggregatetype aggregateid type payload payload_bytes headers topic partition created_at"
).split()
WRITES = {f"INSERT outbox.{column}" for column in EVENT}
RELAYS = {
    "SELECT outbox",
    "DELETE outbox",
    "UPDATE outbox.published_at",
    "SELECT outbox_lease",
    "UPDATE outbox_lease",
    *(f"{verb} outbox_parked" for verb in ("SELECT", "INSERT", "UPDATE", "DELETE")),
    "SELECT outbox_dead",
    "INSERT outbox_dead",
    "SELECT outbox_schema_version",
}
# What a role may do by itself; of a table, or of one column of it.
MAY = {
    "writer": WRITES,
    "relay": RELAYS,
    "admin": RELAYS
    | WRITES
    | {"DELETE outbox_dead", "SELECT outbox_discarded", "INSERT outbox_discarded"},
}
COLUMN_VERBS = {
    "SELECT": "SELECT {column} FROM {table} WHERE false",
    "INSERT": "INSERT INTO {table} ({column}) VALUES (DEFAULT)",
    "UPDATE": "UPDATE {table} SET {column} = DEFAULT WHERE false",
}
TABLE_VERBS = {
    "DELETE": "DELETE FROM {table} WHERE false",
    "TRUNCATE": "TRUNCATE {table}",
    "DROP": "DROP TABLE {table}",
    "ALTER": "ALTER TABLE {table} ADD COLUMN more integer",
    "DISABLE": "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "INDEX": "CREATE INDEX ON {table} ((1))",
    "LISTEN IN": "CREATE TRIGGER mine BEFORE INSERT ON {table} EXECUTE FUNCTION outbox_wake()",
}
# Nobody's but the owner's.
FORBIDDEN = [
    "SELECT outbox_guard()",
    "SELECT outbox_bind()",
    "SELECT outbox_grant('admin', current_user)",
    "SELECT outbox_revoke('writer', current_user)",
    "CREATE OR REPLACE FUNCTION outbox_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE TABLE outbox_more ()",
    "DROP FUNCTION outbox_wake() CASCADE",
    "INSERT INTO outbox (seq, aggregatetype, aggregateid, type)"
    " OVERRIDING SYSTEM VALUE VALUES (1, 'a', 'k', 't')",
]


def permitted(connection: Any, sql: str) -> bool:
    """Whether the statement fails for a missing right, and not for anything else."""
    try:
        connection.cursor().execute(sql)
    except psycopg2.errors.InsufficientPrivilege:
        return False
    except psycopg2.Error:  # rights are looked at first
        return True
    finally:
        connection.rollback()
    return True


def allowed(server: Postgres, db: str, connection: Any) -> set[str]:
    """What works of all that can be tried; of all columns alike, it is the table."""
    found: set[str] = set()
    tables = query(
        server,
        db,
        "SELECT c.relname::text, array_agg(a.attname::text) FROM pg_class c JOIN pg_attribute a"
        " ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped WHERE c.relkind IN ('r', 'p')"
        " AND c.relnamespace = 'public'::regnamespace GROUP BY 1",
    )
    for table, columns in tables:
        for verb, sql in COLUMN_VERBS.items():
            these = {
                column
                for column in columns
                if permitted(connection, sql.format(table=table, column=column))
            }
            whole = these == set(columns)
            found |= {f"{verb} {table}"} if whole else {f"{verb} {table}.{c}" for c in these}
        for verb, sql in TABLE_VERBS.items():
            if permitted(connection, sql.format(table=table)):
                found.add(f"{verb} {table}")
    sequences = query(server, db, "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S'")
    for (sequence,) in sequences:
        for sql in (f"SELECT nextval('{sequence}')", f"SELECT * FROM {sequence}"):
            if permitted(connection, sql):
                found.add(sql)
    return found


@pytest.fixture
def role(server: Postgres, db: str) -> str:
    name = f"Some one of {db}"
    server.psql("postgres", f'CREATE ROLE "{name}" LOGIN')
    return name


@pytest.mark.parametrize("kind", MAY)
def test_what_a_kind_of_role_may_do(server: Postgres, db: str, role: str, kind: str) -> None:
    """Everything is tried in a session of its own; what is not in the list is refused."""
    query(server, db, INSERT)
    connection = server.connect(db, user=role)
    assert allowed(server, db, connection) == set()
    for turn in range(2):  # as after an upgrade
        query(server, db, "SELECT outbox_grant(%s, %s)", kind, role)
        assert allowed(server, db, connection) == MAY[kind]
        for sql in FORBIDDEN:
            assert not permitted(connection, sql), sql
    if kind == "writer":
        assert permitted(connection, "SELECT outbox_emit('a', 'k', 't', '1')")
    query(server, db, "SELECT outbox_revoke(%s, %s)", kind, role)
    assert allowed(server, db, connection) == set()
    connection.close()


def test_granting_narrows_a_writer_of_before(server: Postgres, db: str, role: str) -> None:
    """Who has INSERT alone, on all of it, writes as ever, and has its columns after that."""
    server.psql(db, f'GRANT INSERT ON outbox TO "{role}"')
    connection = server.connect(db, user=role)
    assert allowed(server, db, connection) == {"INSERT outbox"}
    assert permitted(connection, INSERT)
    assert permitted(connection, "SELECT outbox_emit('a', 'k', 't', '1')")
    query(server, db, "SELECT outbox_grant('writer', %s)", role)
    assert allowed(server, db, connection) == WRITES
    connection.close()


def test_a_schema_of_its_own(server: Postgres, role: str) -> None:
    """USAGE on it comes along, and stays; the owner need not be a superuser."""
    db = server.createdb(migrated=False)
    query(server, db, "CREATE SCHEMA app AUTHORIZATION janitor")
    for file in sorted(MIGRATIONS.glob("*.up.sql")):
        server.psql(db, file=file, user="janitor", env={"PGOPTIONS": "-csearch_path=app"})
    emit = "SELECT app.outbox_emit('a', 'k', 't', '1')"
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="schema app"):
        query(server, db, emit, user=role)
    query(server, db, "SELECT app.outbox_grant('writer', %s)", role, user="janitor")
    query(server, db, emit, user=role)
    query(server, db, "SELECT app.outbox_revoke('writer', %s)", role, user="janitor")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="table outbox"):
        query(server, db, emit, user=role)
    query(server, db, "REVOKE USAGE ON SCHEMA app FROM janitor, %s" % f'"{role}"')
    query(server, db, "ALTER SCHEMA app OWNER TO postgres; GRANT USAGE ON SCHEMA app TO janitor")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="may not use schema app"):
        query(server, db, "SELECT app.outbox_grant('relay', %s)", role, user="janitor")


@pytest.mark.parametrize("function", ["grant", "revoke"])
def test_kinds_and_roles_that_there_are_not(server: Postgres, db: str, function: str) -> None:
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="no kind of role 'owner'"):
        query(server, db, f"SELECT outbox_{function}('owner', 'relay')")
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="no kind of role null"):
        query(server, db, f"SELECT outbox_{function}(NULL, 'relay')")
    for role in ("nobody here", "public"):
        with pytest.raises(psycopg2.errors.UndefinedObject, match=f"there is no role .*{role}"):
            query(server, db, f"SELECT outbox_{function}('relay', '{role}')")


# -- the snippets ----------------------------------------------------------------------------------


def test_readme_has_no_snippet_that_is_not_run_here(server: Postgres, db: str) -> None:
    assert len(blocks()) == 5
    server.psql(db, block("outbox_grant("))
    for words in ("INSERT INTO outbox", "outbox_emit("):
        server.psql(db, block(words), user="orders")
    written = query(server, db, "SELECT aggregateid, payload::text, headers::text FROM outbox")
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert written == [
        ("4711", '{"total": 12.30}', None),
        ("4711", '{"total": 12.30}', f'{{"tenant": "7","traceparent":"{trace}"}}'),
    ]
    server.psql(db, block("outbox_guard("))
    query(server, db, INSERT)


def test_notify_setting_reaches_new_sessions(server: Postgres, db: str) -> None:
    server.psql(db, block("outbox_relay.notify"))
    sql = "SELECT current_setting('outbox_relay.notify', true)"
    assert query(server, db, sql, user="orders") == [("on",)]
    assert query(server, server.createdb(), sql, user="orders") == [(None,)]


def test_truncate_needs_no_right_on_the_lease(server: Postgres, db: str) -> None:
    query(server, db, "GRANT TRUNCATE ON outbox TO janitor")
    query(server, db, "SET search_path = pg_temp; TRUNCATE public.outbox", user="janitor")
    assert query(server, db, "SELECT epoch FROM outbox_lease") == [(1,)]


def test_nobody_borrows_the_owners_rights(server: Postgres, db: str) -> None:
    """The trigger that runs as its owner can be put on no table of somebody else's."""
    query(server, db, "CREATE SCHEMA trap AUTHORIZATION janitor")
    query(server, db, "CREATE TABLE trap.t (a int)", user="janitor")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(
            server,
            db,
            "CREATE TRIGGER x BEFORE TRUNCATE ON trap.t EXECUTE FUNCTION outbox_truncated()",
            user="janitor",
        )
    # Nor does it act on a lease that was given away, whose new owner could attach code to it.
    query(server, db, "ALTER TABLE outbox_lease OWNER TO janitor")
    with pytest.raises(psycopg2.errors.RaiseException, match="does not own function"):
        query(server, db, "TRUNCATE outbox")
    query(server, db, "GRANT CREATE ON SCHEMA public TO janitor")
    query(server, db, "ALTER FUNCTION outbox_truncated() OWNER TO janitor")
    query(server, db, "TRUNCATE outbox")
    assert query(server, db, "SELECT epoch FROM outbox_lease") == [(1,)]


def test_a_role_without_privileges_installs_and_uses_it(server: Postgres) -> None:
    db = server.createdb(migrated=False)
    query(server, db, "GRANT CREATE ON SCHEMA public TO janitor")
    for file in sorted(MIGRATIONS.glob("*.up.sql")):
        server.psql(db, file=file, user="janitor")
    query(server, db, INSERT, user="janitor")
    query(server, db, "SELECT outbox_grant('relay', 'relay')", user="janitor")
    query(server, db, "TRUNCATE outbox", user="janitor")
    for file in sorted(MIGRATIONS.glob("*.down.sql"), reverse=True):
        server.psql(db, file=file, user="janitor")
