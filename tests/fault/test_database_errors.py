"""Errors that PostgreSQL answers with, each by its own meaning, to a relay with its own role and
the rights of the README: it says what is wrong and what helps, tries again, and goes on."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import re
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay
from support.scene import WINDOW, Scene
from support.wait import wait_for

GRANTS = """
GRANT SELECT, DELETE, UPDATE (published_at) ON outbox TO "{role}";
GRANT SELECT, UPDATE ON outbox_lease TO "{role}";
GRANT SELECT, INSERT, DELETE ON outbox_parked TO "{role}";
"""


class Guarded:
    """A scene whose relay logs in as a role of its own."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.role = f"relay_{uuid.uuid4().hex[:8]}"
        self.do(f'CREATE ROLE "{self.role}" LOGIN;' + GRANTS)

    def do(self, sql: str) -> None:
        """SQL of an administrator, statement by statement; {role} is the relay's."""
        connection = self.scene.postgres.connect(self.scene.db, autocommit=True)
        try:
            with connection.cursor() as cursor:
                for statement in sql.replace("{role}", self.role).split(";\n"):
                    if statement.strip():
                        cursor.execute(statement)
        finally:
            connection.close()

    def uri(self) -> str:
        return self.scene.postgres.uri(self.scene.db, user=self.role)

    def relay(self, settings: dict[str, Any] | None = None, **options: Any) -> Relay:
        every = {"postgres.uri": self.uri(), "lease.ttl_ms": 2000, **(settings or {})}
        return self.scene.relay(every, **options).wait_ready()

    def write(self, count: int = 20) -> None:
        """Also where the server is read-only for others."""
        connection = self.scene.postgres.connect(self.scene.db)
        try:
            with connection:
                connection.cursor().execute("SET TRANSACTION READ WRITE")
                # Not the keys of a load, which counts its own order.
                events = self.scene.insert(connection, count, keyed_as="own")
            self.scene.told(events)
        finally:
            connection.close()

    def end_sessions(self) -> None:
        self.scene.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", self.role
        )


@pytest.fixture
def ack_mode() -> str:
    return "delete"


@pytest.fixture
def guarded(scene: Scene) -> Guarded:
    return Guarded(scene)


def expect_trouble(relay: Relay, says: str, since: int) -> None:
    """Said, once, as a warning with the cause; shown in status and metrics; and it lives on."""
    relay.wait_log(says, since=since)
    wait_for(lambda: re.search(says, str(relay.status()["postgres"]["error"])), "status to tell")
    wait_for(lambda: re.search(says, str(relay.status()["stall"])), "the stall to tell")
    relay.wait_metric("stalled", 1)
    assert relay.exit_code is None
    said = [str(line["msg"]) for line in relay.log_lines() if re.search(says, str(line["msg"]))]
    assert len(said) == len(set(said)), said


def expect_recovery(scene: Scene, relay: Relay, max_duplicates: int = 0) -> None:
    relay.wait_ready()
    scene.judge(max_duplicates)
    relay.wait_metric("stalled", 0)
    assert relay.status()["postgres"]["error"] is None


# -- what an administrator does ------------------------------------------------------------------


@dataclass(frozen=True)
class Deed:
    """undone by mends. ends: it only shows at the next login."""

    breaks: str
    mends: str
    says: str
    ends: bool = False


_READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on;\nSELECT pg_reload_conf()"
_READ_WRITE = "ALTER SYSTEM RESET default_transaction_read_only;\nSELECT pg_reload_conf()"

DEEDS = {
    "read-only": Deed(_READ_ONLY, _READ_WRITE, "read-only.*name the primary"),
    "no right to read": Deed(
        "REVOKE SELECT ON outbox FROM {role}", GRANTS, "may not read: GRANT SELECT ON"
    ),
    "no right to delete": Deed(
        "REVOKE DELETE ON outbox FROM {role}", GRANTS, "may not delete published rows: GRANT DELETE"
    ),
    "no right to the lease": Deed(
        "REVOKE UPDATE ON outbox_lease FROM {role}", GRANTS, "may not hold the lease: GRANT SELECT"
    ),
    "no right to the schema": Deed(
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "may not use schema public.*GRANT USAGE",
    ),
    "table renamed": Deed(
        "ALTER TABLE outbox RENAME TO away",
        "ALTER TABLE away RENAME TO outbox",
        r"there is no table \S+ in database.*install it",
    ),
    "lease renamed": Deed(
        "ALTER TABLE outbox_lease RENAME TO away",
        "ALTER TABLE away RENAME TO outbox_lease",
        "there is no lease table",
    ),
    "column renamed": Deed(
        "ALTER TABLE outbox RENAME COLUMN type TO kind",
        "ALTER TABLE outbox RENAME COLUMN kind TO type",
        "has no column .*ALTER TABLE public.outbox ADD COLUMN type text",
    ),
    "password changed": Deed(
        "ALTER ROLE {role} PASSWORD 'an0ther-secret'",
        "ALTER ROLE {role} PASSWORD 'r1ght-secret'",
        "password authentication failed.*28P01.*check .* its password",
        ends=True,
    ),
    "no login": Deed(
        "ALTER ROLE {role} NOLOGIN",
        "ALTER ROLE {role} LOGIN",
        "28000.*check that the role may log in",
        ends=True,
    ),
    "connection limit": Deed(
        "ALTER ROLE {role} CONNECTION LIMIT 0",
        "ALTER ROLE {role} CONNECTION LIMIT -1",
        "too many connections.*53300.*CONNECTION LIMIT",
        ends=True,
    ),
}


@pytest.mark.parametrize("what", DEEDS)
def test_what_an_administrator_does(guarded: Guarded, what: str) -> None:
    deed, scene = DEEDS[what], guarded.scene
    rules, kept = _ask_password(guarded)
    relay = guarded.relay({"postgres.uri": guarded.uri().replace("@", ":r1ght-secret@")})
    try:
        guarded.write()
        scene.oracle.wait(20)
        since = relay.log_size()
        guarded.do(deed.breaks)
        if deed.ends:
            guarded.write()  # a session that stands goes on
            scene.oracle.wait(20)
            guarded.end_sessions()
        if "renamed" not in what:
            guarded.write()
        expect_trouble(relay, deed.says, since)
    finally:
        guarded.do(deed.mends)
        rules.write_text(kept)
    guarded.write()
    expect_recovery(scene, relay)
    assert relay.metric("reconnects_total", server="postgres") > 0
    assert "secret" not in relay.log.read_text()


def _ask_password(guarded: Guarded) -> tuple[pathlib.Path, str]:
    """The server's rules, and what they were."""
    rules = guarded.scene.postgres.data / "pg_hba.conf"
    kept = rules.read_text()
    rules.write_text(f"host all {guarded.role} 127.0.0.1/32 scram-sha-256\n{kept}")
    guarded.do("ALTER ROLE {role} PASSWORD 'r1ght-secret';\nSELECT pg_reload_conf()")
    return rules, kept


def test_a_password_that_is_changed_in_the_file_too(
    guarded: Guarded, tmp_path: pathlib.Path
) -> None:
    """A passfile is read at each login."""
    scene = guarded.scene
    rules, kept = _ask_password(guarded)
    passfile = tmp_path / "pass"

    def write(password: str) -> None:
        passfile.write_text(f"*:*:*:{guarded.role}:{password}\n")
        passfile.chmod(0o600)

    try:
        write("r1ght-secret")
        relay = guarded.relay({"postgres.uri": f"{guarded.uri()}?passfile={passfile}"})
        guarded.do("ALTER ROLE {role} PASSWORD 'an0ther-secret'")
        guarded.write()
        scene.oracle.wait(20)
        since = relay.log_size()
        guarded.end_sessions()
        expect_trouble(relay, "28P01.*a passfile is read at each login", since)
        write("an0ther-secret")
        guarded.write()
        expect_recovery(scene, relay)
        relay.stop()
    finally:
        rules.write_text(kept)


def test_too_many_connections(handed_over: Scene) -> None:
    """Others hold all that the server has when the relay's are lost."""
    guarded, scene = Guarded(handed_over), handed_over
    relay = guarded.relay()
    guarded.write()
    scene.oracle.wait(20)
    since = relay.log_size()
    held: list[Any] = []
    with contextlib.closing(scene.postgres.connect(scene.db, autocommit=True)) as own:
        with own.cursor() as cursor, contextlib.ExitStack() as stack:
            cursor.execute(_END, (guarded.role,))
            with contextlib.suppress(psycopg2.OperationalError):
                while True:
                    held.append(scene.postgres.connect(scene.db))
                    stack.callback(held[-1].close)
            cursor.execute(_END, (guarded.role,))
            expect_trouble(relay, "53300.*raise max_connections", since)
    guarded.write()
    expect_recovery(scene, relay)


_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"


@pytest.fixture
def handed_over(frail_kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    """On a server with few connections."""
    with Postgres({"max_connections": "20"}) as server:
        made = Scene(server, frail_kafka, tmp_path)
        yield made
        made.close()


@pytest.mark.parametrize("where", ["idle", "at work"])
def test_ended_by_an_administrator(guarded: Guarded, where: str) -> None:
    """Its words are passed on, also where no statement was running."""
    scene = guarded.scene
    relay = guarded.relay()
    guarded.write()
    scene.oracle.wait(20)
    since = relay.log_size()
    with scene.load() if where == "at work" else contextlib.nullcontext():
        guarded.end_sessions()
        relay.wait_log("57P01", since=since)
        guarded.write()
    expect_recovery(scene, relay)


def test_shutting_down(guarded: Guarded) -> None:
    """57P03: a smart shutdown waits for another session, and takes no new one."""
    scene = guarded.scene
    relay = guarded.relay()
    guarded.write()
    scene.oracle.wait(20)
    since = relay.log_size()
    own = scene.postgres.connect(scene.db, autocommit=True)
    os.kill(scene.postgres.pid, signal.SIGTERM)
    try:
        own.cursor().execute(_END, (guarded.role,))
        expect_trouble(relay, "shutting down.*57P03", since)
    finally:
        own.close()
        scene.postgres.stop()
        scene.postgres.start()
    guarded.write()
    expect_recovery(scene, relay)


@pytest.mark.parametrize("in_flight", [True, False])
def test_another_table_takes_the_name(guarded: Guarded, in_flight: bool) -> None:
    """Without any error in between, while an acknowledgement waits for the change to commit: the
    new rows carry the numbers of those that were published."""
    scene = guarded.scene
    scene.kafka.create_topic(scene.topic)
    relay = guarded.relay({"lease.ttl_ms": 20000})
    guarded.write(1)
    scene.oracle.wait(20)
    wait_for(lambda: scene.unacknowledged() == 0, "it to be acknowledged")
    if in_flight:
        scene.kafka.pause()
        guarded.write(100)
        relay.wait_metric("inflight_events", 100)
    connection = scene.postgres.connect(scene.db)
    with contextlib.closing(connection), connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE outbox RENAME TO outbox_old")
        if in_flight:
            scene.kafka.resume()
            scene.oracle.wait(20)
            wait_for(lambda: scene.sql(_WAITS, guarded.role), "the acknowledgement to wait")
        cursor.execute("CREATE TABLE outbox (LIKE outbox_old INCLUDING ALL)")
        cursor.execute(f"GRANT SELECT, DELETE ON outbox TO {guarded.role}")
        events = scene.insert(connection, 101)
    scene.told(events)
    guarded.write()
    expect_recovery(scene, relay, WINDOW)
    relay.wait_log("the table is another one than before")


# -- what a statement is answered with -----------------------------------------------------------

TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'made by the test' USING ERRCODE = '{code}'; END$$;
CREATE TRIGGER refuse BEFORE {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse()
"""

WORK = {
    "acknowledging": ("DELETE", "outbox"),
    "the lease": ("UPDATE", "outbox_lease"),
    "parking": ("INSERT", "outbox_parked"),
}

# Serialization failure, deadlock, disk, memory, statement timeout, lock; a right or a table that is
# missing, though the inspection finds it; a bug of the server's.
CODES = ["40001", "40P01", "53100", "53200", "57014", "55P03", "42501", "42P01", "XX000"]


_EACH = [(code, "acknowledging") for code in CODES]
_EACH += [(code, work) for code in ("40001", "42501") for work in WORK if work != "acknowledging"]


@pytest.mark.parametrize("code, work", _EACH)
def test_a_statement_that_fails_again_and_again(guarded: Guarded, code: str, work: str) -> None:
    """Raised by a trigger: tried again with growing pauses, said once."""
    scene = guarded.scene
    event, table = WORK[work]
    relay = guarded.relay({"failure.policy": "park"})
    guarded.write()
    scene.oracle.wait(20)
    since = relay.log_size()
    guarded.do(TRIGGER.replace("{code}", code).replace("{event}", event).replace("{table}", table))
    errors = scene.postgres.log_size()
    if work == "parking":
        scene.postgres.unguard(scene.db)
        (wrong,) = scene.write(1, topic="not allowed")
    else:
        guarded.write()
    expect_trouble(relay, f"made by the test.*SQLSTATE {code}", since)
    tried = re.findall(f"{code}|made by the test", _log_since(scene.postgres, errors))
    assert len(tried) < 60, "tried again without a pause"
    guarded.do(f"DROP TRIGGER refuse ON {table};\nDROP FUNCTION refuse()")
    guarded.write()
    if work == "parking":
        relay.wait_metric("parked_events", 1)
        scene.sql("DELETE FROM outbox WHERE id = %s", wrong)
        scene.oracle.forget(wrong)
    expect_recovery(scene, relay, WINDOW if work == "the lease" else 0)


def _log_since(server: Postgres, position: int) -> str:
    with server.log_path.open() as log:
        log.seek(position)
        return log.read()


def test_it_loses_a_deadlock(guarded: Guarded) -> None:
    """A real one: the other session holds a later row and asks for an earlier one."""
    scene = guarded.scene
    # A session looks once, after that time, and less than its lock_timeout.
    guarded.do("ALTER ROLE {role} SET deadlock_timeout = '1500ms'")
    with contextlib.closing(scene.postgres.connect(scene.db)) as other:
        with other.cursor() as cursor:
            cursor.execute("SET deadlock_timeout = '1min'")
            guarded.write(2)
            cursor.execute("SELECT seq FROM outbox ORDER BY seq DESC LIMIT 1 FOR UPDATE")
            since = scene.postgres.log_size()
            relay = guarded.relay({"lease.ttl_ms": 8000})
            scene.oracle.wait(20)
            wait_for(lambda: scene.sql(_WAITS, guarded.role), "the acknowledgement to wait")
            cursor.execute("SELECT seq FROM outbox ORDER BY seq LIMIT 1 FOR UPDATE")
            assert scene.postgres.log_contains("deadlock detected", since=since)
        relay.wait_log("an acknowledgement failed: deadlock detected .SQLSTATE 40P01")
        other.rollback()
    expect_recovery(scene, relay)


_WAITS = "SELECT 1 FROM pg_stat_activity WHERE usename = %s AND wait_event_type = 'Lock'"


@pytest.mark.parametrize("how", ["it waits in vain", "it is cancelled"])
def test_rows_that_another_session_holds(guarded: Guarded, how: str) -> None:
    """The lease, renewed behind that statement, is kept: lock_timeout is a quarter of its time."""
    scene = guarded.scene
    cancelled = how == "it is cancelled"
    guarded.write()
    with contextlib.closing(scene.postgres.connect(scene.db)) as other:
        other.cursor().execute("SELECT 1 FROM outbox FOR UPDATE")
        relay = guarded.relay({"lease.ttl_ms": 8000 if cancelled else 2000})
        scene.oracle.wait(20)
        wait_for(lambda: scene.sql(_WAITS, guarded.role), "the acknowledgement to wait")
        if cancelled:
            scene.sql(_WAITS.replace("1", "pg_cancel_backend(pid)", 1), guarded.role)
        expect_trouble(relay, "57014" if cancelled else "55P03.*see pg_locks", 0)
        assert relay.metric("owner") == 1
        other.rollback()
    expect_recovery(scene, relay)
    assert not relay.log_match("standing by")


# -- a disk without room -------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: pathlib.Path, scene: Scene) -> Iterator[pathlib.Path]:
    """A file system of its own for the table, or none of this runs: that takes root."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="outbox-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("no file system can be mounted here")
    account = pwd.getpwnam("postgres")
    space = folder / "space"
    space.mkdir()
    os.chown(space, account.pw_uid, account.pw_gid)
    try:
        scene.sql(f"CREATE TABLESPACE small LOCATION '{space}'")
        scene.sql("ALTER TABLE outbox SET TABLESPACE small")
        yield folder
        for relay in scene.relays:
            relay.stop()
        scene.sql("ALTER TABLE outbox SET TABLESPACE pg_default")
        scene.sql("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


@pytest.mark.parametrize("ack_mode", ["mark"])
def test_a_full_disk(scene: Scene, small_disk: pathlib.Path, ack_mode: str) -> None:
    """To mark a row takes room, as writing one does; the services' commits fail, not the relay."""
    guarded = Guarded(scene)
    filler = small_disk / "filler"
    guarded.write(500)
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    relay = guarded.relay()
    with pytest.raises(psycopg2.errors.DiskFull):
        guarded.write(10000)
    scene.oracle.wait(20)
    expect_trouble(relay, "No space left.*53100.*free space on the server's disk", 0)
    assert scene.unacknowledged() > 0
    filler.unlink()
    guarded.write()
    expect_recovery(scene, relay)
