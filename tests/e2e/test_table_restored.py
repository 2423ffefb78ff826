"""Rows whose xid is no witness: restored from a dump, inserted again, under a truncated table, and
a table that changes while the relay works."""

from __future__ import annotations

import random
import subprocess
import threading
import time

import pytest
from support.outbox import Events, Outbox
from support.postgres import Postgres
from support.wait import wait_for
from support.writer import insert

SWEPT_S = 25  # the sweep's interval is 10 s; the rest is for a slow machine

FOREIGN_XIDS = {"larger": "1000000000", "smaller": "5", "zero": "0"}


@pytest.fixture(autouse=True)
def unguarded(postgres: Postgres, db: str) -> None:
    postgres.unguard(db)


def restore(
    outbox: Outbox, connection: object, xid: str, first: int, count: int, keys: str = "restored"
) -> Events:
    """Rows as a dump brings them: all columns given, seq and xid included."""
    with connection.cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute(
            "INSERT INTO outbox (seq, aggregatetype, aggregateid, type, payload, xid)"
            " OVERRIDING SYSTEM VALUE"
            " SELECT n, %s, %s || n %% 5, 'Tested', '{}', %s::text::xid8"
            " FROM generate_series(%s, %s) AS n RETURNING id::text, aggregateid",
            (outbox.aggregatetype, keys, xid, first, first + count - 1),
        )
        return cursor.fetchall()


@pytest.mark.parametrize("xid", [*FOREIGN_XIDS, "running"])
def test_restored_before_the_start(outbox: Outbox, ack_mode: str, xid: str) -> None:
    running = outbox.connect()
    own = outbox.insert(running, 5, keys="running")
    with running.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        number = FOREIGN_XIDS.get(xid) or cursor.fetchone()[0]
    restorer = outbox.connect()
    outbox.committed(restore(outbox, restorer, number, 1000, 6000))
    restorer.commit()
    outbox.relay({"ack.mode": ack_mode})
    outbox.write(100)
    outbox.settle()
    running.commit()
    outbox.committed(own)
    outbox.write(100)
    outbox.settle()


@pytest.mark.parametrize("xid", ["larger", "smaller", "running"])
def test_restored_while_running(outbox: Outbox, xid: str) -> None:
    """Below what was published already, where the difference does not look for them."""
    relay = outbox.relay()
    outbox.one("ALTER TABLE outbox ALTER COLUMN seq RESTART WITH 100000")
    outbox.write(200)
    outbox.settle()
    running = outbox.connect()
    own = outbox.insert(running, 5, keys="running")
    with running.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        number = FOREIGN_XIDS.get(xid) or cursor.fetchone()[0]
    restorer = outbox.connect()
    events = restore(outbox, restorer, number, 1000, 300)
    restorer.commit()
    outbox.committed(events)
    outbox.write(50)
    outbox.settle(SWEPT_S)
    alike = xid in ("larger", "running")  # the difference comes upon these, mostly
    if not alike:
        assert relay.metric("swept_events_total") == 300
        assert relay.log_match(r"the sweep found \d+ rows")
    running.commit()
    outbox.committed(own)
    outbox.settle()
    assert alike or relay.metric("swept_events_total") == 300


def test_inserted_again_while_running(outbox: Outbox) -> None:
    """Old events, moved aside and back with all their columns, under the same seqs and new ids."""
    relay = outbox.relay()
    late = outbox.connect()
    with late.cursor() as cursor:
        cursor.execute("CREATE TABLE aside AS SELECT * FROM outbox")
    late.commit()
    outbox.one("INSERT INTO aside SELECT n, gen_random_uuid(), %s, 'again', 'Tested', '{}', null, null,"
        " null, null, now(), pg_current_xact_id() FROM generate_series(1, 50) n", outbox.aggregatetype)
    outbox.write(200)
    outbox.settle()
    outbox.one("INSERT INTO outbox OVERRIDING SYSTEM VALUE SELECT * FROM aside")
    outbox.committed(outbox.rows("SELECT id::text, aggregateid FROM aside ORDER BY seq"))
    outbox.settle(SWEPT_S)
    assert relay.metric("swept_events_total") == 50


def test_a_real_dump_and_restore(outbox: Outbox, ack_mode: str) -> None:
    """pg_dump of a waiting outbox, restored into one that a relay works on."""
    server, other = outbox.server, outbox.server.createdb()
    connection = server.connect(other, autocommit=True)
    events = outbox.insert(connection, 500, keys="dumped")
    connection.close()
    dump = subprocess.run(
        [server.bin / "pg_dump", "--data-only", "--table=outbox", server.uri(other)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    outbox.one("ALTER TABLE outbox ALTER COLUMN seq RESTART WITH 10000")
    relay = outbox.relay({"ack.mode": ack_mode})
    outbox.write(100)
    outbox.settle()
    subprocess.run(
        [server.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", server.uri(outbox.db)],
        input=dump,
        capture_output=True,
        text=True,
        check=True,
    )
    outbox.committed(events)
    outbox.settle(SWEPT_S)
    assert relay.metric("swept_events_total") == 500


# -- TRUNCATE ----------------------------------------------------------------------------------------


def truncate(outbox: Outbox, connection: object) -> None:
    with connection.cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute("TRUNCATE outbox RESTART IDENTITY")


def test_truncate_under_load(outbox: Outbox, ack_mode: str) -> None:
    """What was inserted after it comes, however close: its seqs are those of rows from before."""
    relay = outbox.relay({"ack.mode": ack_mode, "window.events": 2000})
    epoch = outbox.one("SELECT epoch FROM outbox_lease")
    outbox.one("CREATE TABLE generation (n int)")
    outbox.one("INSERT INTO generation VALUES (0)")
    failures: list[BaseException] = []
    counts = [0] * 6
    required = 0

    def write(number: int, stop: threading.Event) -> None:
        try:
            connection = outbox.server.connect(outbox.db)
            while not stop.is_set():
                key = f"key-{number}-{counts[number]}"
                event_id = insert(connection, outbox.aggregatetype, key, payload="{}")
                with connection.cursor() as cursor:  # a snapshot from behind the table's lock
                    cursor.execute("SELECT n FROM generation")
                    after = cursor.fetchone()[0] > required
                connection.commit()
                counts[number] += 1
                outbox.oracle.committed(event_id, outbox.topic, key, required=after)
            connection.close()
        except BaseException as failure:
            failures.append(failure)

    truncating = outbox.connect()
    for turn in range(4):
        required = turn
        stop = threading.Event()
        threads = [threading.Thread(target=write, args=(n, stop)) for n in range(len(counts))]
        for thread in threads:
            thread.start()
        before = sum(counts)
        wait_for(lambda: sum(counts) > before + 400 or failures, "a load")
        truncate(outbox, truncating)
        with truncating.cursor() as cursor:
            cursor.execute("UPDATE generation SET n = n + 1")
        truncating.commit()
        before = sum(counts)
        wait_for(lambda: sum(counts) > before + 400 or failures, "a load")
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        outbox.oracle.wait(30)
    assert outbox.one("SELECT epoch FROM outbox_lease") == epoch + 4
    outbox.settle(max_duplicates=4 * 2000)
    assert relay.exit_code is None
    assert len(relay.log_lines()) > 0
    assert relay.log_match("the table was truncated")


def test_truncate_between_publishing_and_acknowledging(outbox: Outbox, ack_mode: str) -> None:
    """The same seqs at once hold other events, while acknowledgements of the old are on their way."""
    relay = outbox.relay({"ack.mode": ack_mode})
    dice = random.Random(20)
    connection = outbox.connect()
    for turn in range(25):
        for event_id, key in outbox.insert(connection, 100, keys=f"old {turn}"):
            outbox.oracle.committed(event_id, outbox.topic, key, required=False)
        connection.commit()
        time.sleep(dice.random() * 0.06)  # somewhere from the read to the acknowledgement
        truncate(outbox, connection)
        events = outbox.insert(connection, 100, keys=f"new {turn}")
        connection.commit()
        outbox.committed(events)
        outbox.oracle.wait(20)
    outbox.settle(max_duplicates=25 * 200)
    assert relay.exit_code is None
    relay.wait_log(r"\"lease\".*truncated")


def test_truncate_rolled_back(outbox: Outbox) -> None:
    relay = outbox.relay()
    connection = outbox.connect()
    events = outbox.write(2000)
    truncate(outbox, connection)
    connection.rollback()
    outbox.write(100)
    outbox.settle(max_duplicates=0)
    assert events
    assert not relay.log_match("truncated")


# -- changes of the table ----------------------------------------------------------------------------


def test_columns_come_and_go_while_running(outbox: Outbox, ack_mode: str) -> None:
    relay = outbox.relay({"ack.mode": ack_mode})
    outbox.write(500)
    outbox.one("ALTER TABLE outbox ADD COLUMN tenant text")
    outbox.write(500)
    outbox.one("ALTER TABLE outbox ADD COLUMN weight int NOT NULL DEFAULT 7")
    outbox.write(500)
    outbox.settle()
    outbox.one("ALTER TABLE outbox DROP COLUMN tenant")
    outbox.write(500)
    outbox.settle()
    assert not [line for line in relay.log_lines() if line["level"] in ("warn", "error")]


@pytest.mark.parametrize("right", ["SELECT", "DELETE"])
def test_a_right_is_taken_and_given_back(outbox: Outbox, right: str) -> None:
    """It says so, tries again without haste, and goes on by itself."""
    role = f"relay_{outbox.aggregatetype}"
    outbox.one(f"CREATE ROLE {role} LOGIN")
    outbox.one(f"GRANT SELECT, DELETE ON outbox TO {role}")
    outbox.one(f"GRANT SELECT, UPDATE ON outbox_lease TO {role}")
    outbox.one(f"GRANT SELECT, INSERT, DELETE ON outbox_parked TO {role}")
    relay = outbox.relay({"postgres.uri": outbox.server.uri(outbox.db, user=role)})
    outbox.write(50)
    outbox.settle()
    since = relay.log_size()
    outbox.one(f"REVOKE {right} ON outbox FROM {role}")
    outbox.write(50)
    relay.wait_log("permission denied", since=since)
    first = relay.log_match("permission denied", since)
    assert first
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 3, "three seconds", 5)
    told = [line for line in relay.log_lines() if "permission denied" in line["msg"]]
    assert len(told) < 20, f"{len(told)} lines in three seconds"
    outbox.one(f"GRANT {right} ON outbox TO {role}")
    outbox.settle(max_duplicates=0)


def test_locked_table(outbox: Outbox) -> None:
    """Somebody holds the table exclusively: the relay waits, and goes on."""
    outbox.relay()
    outbox.write(100)
    outbox.settle()
    locker = outbox.connect()
    locker.cursor().execute("LOCK TABLE outbox")
    events = outbox.insert(locker, 100, keys="under the lock")
    wait_for(
        lambda: outbox.one(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass"
        ),
        "the relay to wait for the table",
    )
    locker.commit()
    outbox.committed(events)
    outbox.settle()
