"""What a transaction may do to its events: commit late, roll back, in savepoints, among hundreds."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Callable, Iterator

import pytest
from support.postgres import Postgres
from support.outbox import Outbox


def test_late_commit_delays_its_own_events_only(outbox: Outbox, ack_mode: str) -> None:
    relay = outbox.relay({"ack.mode": ack_mode})
    late = outbox.connect()
    first = outbox.insert(late, 40, keys="late")
    for _ in range(30):
        outbox.write(100)
    outbox.settle()  # the open transaction's events would be phantoms
    more = outbox.insert(late, 40, keys="late")
    outbox.write(500)
    outbox.settle()
    late.commit()
    outbox.committed(first + more)
    outbox.settle()
    relay.wait_metric("acknowledged_events_total", 3580)
    assert relay.metric("swept_events_total") == 0


def test_many_late_commits_in_any_order(outbox: Outbox, ack_mode: str) -> None:
    """Transactions that overlap and end in the reverse order of their beginnings."""
    outbox.relay({"ack.mode": ack_mode})
    open_ones = []
    for number in range(30):
        connection = outbox.connect()
        open_ones.append((connection, outbox.insert(connection, 20, keys=f"late {number}")))
        outbox.write(50)
    outbox.settle()
    for number, (connection, events) in enumerate(reversed(open_ones)):
        if number % 5 == 4:
            connection.rollback()
            outbox.rolled_back(events)
        else:
            connection.commit()
            outbox.committed(events)
        outbox.write(1)
    outbox.settle()


def test_rolled_back_events_never_come(outbox: Outbox, ack_mode: str) -> None:
    outbox.relay({"ack.mode": ack_mode})
    connection = outbox.connect()
    for number in range(60):
        events = outbox.insert(connection, 25, keys=f"writer {number % 3}")
        if number % 2:
            connection.rollback()
            outbox.rolled_back(events)
        else:
            connection.commit()
            outbox.committed(events)
    lost = outbox.connect()
    gone = outbox.insert(lost, 25, keys="its session dies")
    outbox.one("SELECT pg_terminate_backend(%s, 10000)", lost.info.backend_pid)
    outbox.rolled_back(gone)
    outbox.write(10)
    outbox.settle()


def test_savepoints(outbox: Outbox, ack_mode: str) -> None:
    outbox.relay({"ack.mode": ack_mode})
    connection = outbox.connect()

    def run(sql: str) -> None:
        connection.cursor().execute(sql)

    kept = outbox.insert(connection, 5)
    run("SAVEPOINT a")
    gone = outbox.insert(connection, 5)
    run("ROLLBACK TO a")
    kept += outbox.insert(connection, 5)
    run("SAVEPOINT b")
    kept += outbox.insert(connection, 5)
    run("RELEASE b")
    run("SAVEPOINT c")
    kept += outbox.insert(connection, 5)
    run("SAVEPOINT d")
    gone += outbox.insert(connection, 5)
    run("SAVEPOINT e")
    gone += outbox.insert(connection, 5)
    run("RELEASE e")
    run("ROLLBACK TO d")
    run("RELEASE c")
    kept += outbox.insert(connection, 5)
    outbox.write(2000, keys="meanwhile")
    outbox.oracle.wait(20)
    outbox.oracle.verify()
    connection.commit()
    outbox.committed(kept)
    outbox.rolled_back(gone)
    run("SAVEPOINT f")
    outbox.rolled_back(outbox.insert(connection, 5))
    run("ROLLBACK TO f")
    connection.commit()
    outbox.settle()


def test_exception_blocks(outbox: Outbox, ack_mode: str) -> None:
    """More subtransactions than a backend's cache holds; every third one is undone by its handler."""
    outbox.relay({"ack.mode": ack_mode})
    outbox.one("CREATE TABLE written (n int, id uuid, key text)")
    connection = outbox.connect()
    connection.cursor().execute(
        f"""
        DO $$
        DECLARE event uuid;
        BEGIN
            FOR n IN 1..300 LOOP
                BEGIN
                    INSERT INTO outbox (aggregatetype, aggregateid, type, payload)
                        VALUES ('{outbox.aggregatetype}', 'key', 'Tested', '{{}}')
                        RETURNING id INTO event;
                    INSERT INTO written VALUES (n, event, 'key');
                    IF n % 3 = 0 THEN RAISE division_by_zero; END IF;
                EXCEPTION WHEN division_by_zero THEN NULL;
                END;
            END LOOP;
        END $$
        """
    )
    outbox.write(1000, keys="meanwhile")
    outbox.oracle.wait(20)
    connection.commit()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id::text, key FROM written ORDER BY n")
        events = cursor.fetchall()
    assert len(events) == 200
    outbox.committed(events)
    outbox.settle()


@pytest.fixture(scope="module")
def busy_server() -> Iterator[Postgres]:
    with Postgres({"max_connections": "300"}) as server:
        yield server


_COMMIT = """
\\set k random(0, 99)
BEGIN;
UPDATE aggregate SET version = version + 1 WHERE id = text(:k) RETURNING version \\gset
WITH e AS (
    INSERT INTO outbox (aggregatetype, aggregateid, type, payload)
    VALUES ('@TYPE@', text(:k), 'Tested', '{"n": 1}') RETURNING id, aggregateid)
INSERT INTO written (id, key, version) SELECT id, aggregateid, :version FROM e;
@END@;
"""


def test_several_hundred_writers(
    busy_server: Postgres,
    outbox_on: Callable[[Postgres], Outbox],
    ack_mode: str,
    tmp_path: pathlib.Path,
) -> None:
    """220 connections at once, serialised per key by the aggregate's row; some roll back."""
    outbox = outbox_on(busy_server)
    outbox.one("CREATE TABLE aggregate (id text PRIMARY KEY, version bigint NOT NULL DEFAULT 0)")
    outbox.one("INSERT INTO aggregate (id) SELECT n::text FROM generate_series(0, 99) n")
    outbox.one("CREATE TABLE written (id uuid, key text, version bigint)")
    outbox.relay({"ack.mode": ack_mode})
    scripts = []
    for end, weight in (("COMMIT", 9), ("ROLLBACK", 1)):
        path = tmp_path / end
        path.write_text(
            _COMMIT.replace("@TYPE@", outbox.aggregatetype).replace("@END@", end)
        )
        scripts += ["-f", f"{path}@{weight}"]
    done = subprocess.run(
        [busy_server.bin / "pgbench", "-n", "-c", "220", "-j", "2", "-t", "15", *scripts]
        + [busy_server.uri(outbox.db)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    connection = outbox.connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id::text, key, version FROM written")
        written = cursor.fetchall()
    assert len(written) > 2500
    for event_id, key, version in written:
        outbox.oracle.committed(event_id, outbox.topic, key, order=version)
    outbox.settle()
