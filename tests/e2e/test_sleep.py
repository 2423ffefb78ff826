"""The relay asleep: nothing is slept through, nobody is held up, and next to nothing is asked.

The interval of the backstop is a minute in most of these, so what comes within two seconds came by
a notification or by a read that was due.
"""

from __future__ import annotations

import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from support.outbox import Events, Outbox
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for

BACKSTOP = {"source.poll_interval_ms": 60000}
SOON_S = 2.0


def sleeping(relay: Relay) -> bool:
    return bool(relay.status()["source"]["sleeping"])


def wait_asleep(relay: Relay) -> None:
    wait_for(lambda: sleeping(relay), "the relay to sleep")


def sessions(outbox: Outbox, condition: str) -> list[tuple[Any, ...]]:
    """The relay's, with what they do."""
    return outbox.rows(
        "SELECT pid, state, wait_event, query FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'outbox-relay%%'"
        f" AND {condition}"
    )


def lock_holders(outbox: Outbox) -> list[int]:
    rows = outbox.rows(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return [pid for (pid,) in rows]


def open_writer(outbox: Outbox, keys: str) -> tuple[Any, Events]:
    """A transaction with events that began while the relay was awake: it holds the lock shared,
    and its commit notifies nobody."""
    connection = outbox.connect()

    def took_it() -> Events | None:
        outbox.write(1, keys="wake")
        events = outbox.insert(connection, 2, keys=keys)
        if outbox.one(
            "SELECT 1 FROM pg_locks WHERE pid = %s AND locktype = 'advisory' AND granted",
            connection.info.backend_pid,
        ):
            return events
        connection.rollback()
        outbox.rolled_back(events)
        return None

    return connection, wait_for(took_it, "a writer to find the relay awake")


def wait_asking(outbox: Outbox) -> None:
    wait_for(lambda: sessions(outbox, "wait_event = 'advisory'"), "the relay to ask for the lock")


@pytest.mark.parametrize("seed", range(2))
def test_writers_around_the_falling_asleep(outbox: Outbox, seed: int) -> None:
    """Commits just before, during and just after, each of them in time."""
    relay = outbox.relay(BACKSTOP)
    writer = outbox.connect()
    dice = random.Random(seed)
    outbox.write(1)
    outbox.oracle.wait(20)  # the topic is there
    for _ in range(60):
        how = dice.randrange(3)
        if how == 0:  # inserted while the relay is awake or about to sleep, committed somewhat later
            events = outbox.insert(writer, 1)
            time.sleep(dice.random() * 0.04)
        elif how == 1:  # one transaction, any time around the falling asleep
            time.sleep(dice.random() * 0.04)
            events = outbox.insert(writer, 1)
        else:  # surely asleep
            wait_asleep(relay)
            events = outbox.insert(writer, 1)
        writer.commit()
        outbox.committed(events)
        outbox.oracle.wait(SOON_S)
    outbox.settle()


def test_many_writers_with_pauses(outbox: Outbox) -> None:
    """The relay sleeps whenever it can, and wakes for each."""
    relay = outbox.relay(BACKSTOP)
    slept = 0
    failures: list[BaseException] = []

    def write(seed: int) -> None:
        dice = random.Random(seed)
        try:
            connection = outbox.server.connect(outbox.db)
            for _ in range(40):
                events = outbox.insert(connection, 1, keys=f"writer {seed}")
                time.sleep(dice.random() * 0.01)
                connection.commit()
                outbox.committed(events)
                time.sleep(dice.random() * 0.3)
            connection.close()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        slept += sleeping(relay)
        time.sleep(0.02)
    assert not failures
    outbox.oracle.wait(SOON_S)
    outbox.settle()
    assert slept > 10
    buckets = relay.metrics()["outbox_relay_publish_latency_seconds_bucket"]
    in_time = {dict(labels)["le"]: count for labels, count in buckets.items()}
    assert in_time["2"] == 120, in_time


def test_a_writer_open_for_long(outbox: Outbox) -> None:
    """Others go on in time: those from before it, those from after the relay asked for the lock,
    and those between two of its waits."""
    outbox.relay(BACKSTOP)
    outbox.write(1)
    outbox.oracle.wait(20)
    long, mine = open_writer(outbox, "long")
    earlier, theirs = open_writer(outbox, "earlier")
    began = time.monotonic()
    dice = random.Random(1)
    ended = False
    while time.monotonic() - began < 10:
        outbox.write(1, keys="others")
        outbox.oracle.wait(SOON_S)
        if not ended and time.monotonic() - began > 6:
            ended = True
            earlier.commit()
            outbox.committed(theirs)
            outbox.oracle.wait(SOON_S)
        time.sleep(dice.random() * 0.1)
    outbox.oracle.wait(SOON_S)
    long.commit()
    outbox.committed(mine)
    outbox.oracle.wait(SOON_S)
    outbox.settle()


def test_writers_from_before_end_one_by_one(outbox: Outbox) -> None:
    """Nobody else writes: what ends while the lock is still awaited is found by reads alone."""
    relay = outbox.relay(BACKSTOP)
    outbox.write(1)
    outbox.oracle.wait(20)
    writers = [open_writer(outbox, f"writer {number}") for number in range(2)]
    outbox.oracle.wait(SOON_S)
    wait_asking(outbox)
    for connection, events in writers:
        began = time.monotonic()
        wait_for(lambda began=began: time.monotonic() - began > 4.5, "the reads to grow rare", 6)
        assert not sleeping(relay)
        connection.commit()
        outbox.committed(events)
        outbox.oracle.wait(SOON_S)
    outbox.settle()
    wait_asleep(relay)


def test_two_relays(outbox: Outbox) -> None:
    """One owns and sleeps; the other holds nothing. When the owner is gone, the other sleeps."""
    first = outbox.relay(BACKSTOP)
    outbox.write(5)
    outbox.settle()
    second = outbox.relay(BACKSTOP)
    wait_asleep(first)
    assert second.status()["state"] == "standby"
    assert len(lock_holders(outbox)) == 1
    outbox.write(5)
    outbox.oracle.wait(SOON_S)
    first.stop()
    wait_for(lambda: second.status()["state"] == "owner", "the other to take over", 5)
    wait_asleep(second)
    assert len(lock_holders(outbox)) == 1
    outbox.write(5)
    outbox.oracle.wait(SOON_S)
    outbox.settle()


def test_a_killed_relay_leaves_no_lock(outbox: Outbox) -> None:
    relay = outbox.relay(BACKSTOP)
    wait_asleep(relay)
    (holder,) = lock_holders(outbox)
    relay.kill()
    wait_for(lambda: not lock_holders(outbox), "the lock to be free")
    assert holder not in [pid for (pid, *_) in sessions(outbox, "true")]
    outbox.write(20)
    again = outbox.relay(BACKSTOP)
    outbox.settle()
    wait_asleep(again)
    outbox.write(1)
    outbox.oracle.wait(SOON_S)


@pytest.mark.parametrize("name", ["wakeup", "read", "control", "all"])
def test_a_session_is_terminated_while_it_sleeps(outbox: Outbox, name: str) -> None:
    """Whichever it is: what is written from that moment on comes in time, and it sleeps again."""
    relay = outbox.relay(BACKSTOP)
    for turn in range(3):
        outbox.write(1)
        outbox.settle()
        wait_asleep(relay)
        ended = outbox.rows(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE %s",
            f"outbox-relay%{'' if name == 'all' else name}%",
        )
        assert ended and all(done for (done,) in ended), turn
        outbox.write(1)
        outbox.oracle.wait(5)
    wait_asleep(relay)
    outbox.settle()


@pytest.mark.parametrize("when", ["asleep", "waiting"])
def test_an_index_elsewhere_is_not_held_up(outbox: Outbox, when: str) -> None:
    """CREATE INDEX CONCURRENTLY waits for every snapshot from before it, in any table."""
    relay = outbox.relay(BACKSTOP)
    outbox.one("CREATE TABLE elsewhere AS SELECT n FROM generate_series(1, 100) n")
    outbox.write(1)
    outbox.settle()
    writer = None
    if when == "waiting":
        writer, events = open_writer(outbox, "long")
        wait_asking(outbox)
    else:
        wait_asleep(relay)
    builder = outbox.connect(autocommit=True)

    def build() -> None:
        builder.cursor().execute("CREATE INDEX CONCURRENTLY elsewhere_n ON elsewhere (n)")

    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        pool.submit(build).result(20)
        assert time.monotonic() - began < 10
    if writer is not None:
        writer.commit()
        outbox.committed(events)
    outbox.settle()


def test_prepare_while_it_sleeps(outbox: Outbox) -> None:
    """Where prepared transactions are not allowed at all, it is the server that refuses, not we."""
    relay = outbox.relay(BACKSTOP)
    wait_asleep(relay)
    connection = outbox.connect()
    events = outbox.insert(connection, 1)
    with pytest.raises(psycopg2.Error, match="prepared transactions are disabled|cannot PREPARE"):
        connection.cursor().execute("PREPARE TRANSACTION 'x'")
    connection.rollback()
    outbox.rolled_back(events)
    outbox.write(1)
    outbox.oracle.wait(SOON_S)
    outbox.settle()


def test_idle_it_asks_next_to_nothing(outbox: Outbox, postgres: Postgres) -> None:
    """With the default interval, at most two statements a second, as the server's log counts them."""
    outbox.one(f"ALTER DATABASE {outbox.db} SET log_statement = 'all'")
    relay = outbox.relay()
    outbox.write(1)
    outbox.settle()
    wait_asleep(relay)
    outbox.close()  # so that nobody else asks anything
    since = postgres.log_size()
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 10, "ten seconds", 12)
    took = time.monotonic() - began
    with postgres.log_path.open("rb") as log:
        log.seek(since)
        text = log.read().decode(errors="replace")
    asked = re.findall(rf"@{outbox.db}/[^\n]*? LOG:  (?:statement|execute [^:]*): (.{{0,60}})", text)
    assert asked, "statements are logged"
    assert len(asked) <= 2 * took, f"{len(asked)} in {took:.1f} s:\n" + "\n".join(asked)
