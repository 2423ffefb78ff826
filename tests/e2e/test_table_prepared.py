"""Two-phase writers: PREPARE TRANSACTION, and its end late, never, or after a restart of the relay."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg2
import pytest
from support.postgres import Postgres
from support.relay import Relay
from support.outbox import Events, Outbox
from support.wait import wait_for


@pytest.fixture(scope="module")
def two_phase_server() -> Iterator[Postgres]:
    with Postgres({"max_prepared_transactions": "20"}) as server:
        yield server


@pytest.fixture
def two_phase(
    two_phase_server: Postgres, outbox_on: Callable[[Postgres], Outbox]
) -> Iterator[Outbox]:
    outbox = outbox_on(two_phase_server)
    yield outbox
    # What a failed test left prepared would hold up every other database's vacuum.
    connection = outbox.connect(autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
        for (gid,) in cursor.fetchall():
            cursor.execute(f"ROLLBACK PREPARED '{gid}'")


def prepare(outbox: Outbox, gid: str, count: int = 20, *, notify: str | None = None) -> Events:
    """Its session ends: what is prepared needs none."""
    connection = outbox.connect()
    if notify is not None:
        connection.cursor().execute(f"SET outbox_relay.notify = '{notify}'")
        connection.commit()
    events = outbox.insert(connection, count, keys=gid)
    connection.cursor().execute(f"PREPARE TRANSACTION '{gid}'")
    connection.close()
    return events


def sleeping(relay: Relay) -> bool:
    return relay.status()["source"]["sleeping"]


def test_ends_late_or_never(two_phase: Outbox, ack_mode: str) -> None:
    relay = two_phase.relay({"ack.mode": ack_mode})
    assert relay.log_match("outbox_relay.notify = 'on'"), "it says why it polls, and the remedy"
    first = prepare(two_phase, "first")
    second = prepare(two_phase, "second")
    for _ in range(20):
        two_phase.write(100)
    two_phase.settle()
    two_phase.one("ROLLBACK PREPARED 'first'")
    two_phase.rolled_back(first)
    two_phase.one("COMMIT PREPARED 'second'")
    two_phase.committed(second)
    two_phase.settle()
    assert relay.metric("swept_events_total") == 0


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_across_a_restart_of_the_relay(two_phase: Outbox, ack_mode: str, how: str) -> None:
    settings = {"ack.mode": ack_mode}
    relay = two_phase.relay(settings)
    before = prepare(two_phase, "before")
    two_phase.write(500)
    two_phase.settle()
    getattr(relay, how)()
    absent = prepare(two_phase, "absent")
    gone = prepare(two_phase, "gone")
    two_phase.write(500)
    two_phase.one("COMMIT PREPARED 'before'")
    two_phase.committed(before)
    two_phase.relay(settings)
    two_phase.settle()
    two_phase.one("COMMIT PREPARED 'absent'")
    two_phase.committed(absent)
    two_phase.one("ROLLBACK PREPARED 'gone'")
    two_phase.rolled_back(gone)
    two_phase.settle()


def test_across_a_restart_of_the_server(outbox_on: Callable[[Postgres], Outbox]) -> None:
    """No snapshot from before tells of it, and its xid is older than all that came since."""
    with Postgres({"max_prepared_transactions": "5"}) as server:
        outbox = outbox_on(server)
        outbox.relay()
        events = prepare(outbox, "two")
        outbox.write(300)
        outbox.settle()
        outbox.close()
        server.restart()
        connection = server.connect(outbox.db, autocommit=True)
        later = outbox.insert(connection, 300)
        outbox.committed(later)
        outbox.oracle.wait(30)
        outbox.oracle.verify()
        connection.cursor().execute("COMMIT PREPARED 'two'")
        outbox.committed(events)
        outbox.oracle.wait(30)
        outbox.oracle.verify()
        connection.close()


def test_while_the_relay_polls(two_phase: Outbox) -> None:
    """notify off: nothing notifies, so every form is seen within the interval."""
    relay = two_phase.relay({"source.poll_interval_ms": 100})
    wait_for(lambda: relay.status()["source"]["caught_up"], "the relay to be idle")
    for number in range(20):
        events = prepare(two_phase, f"g{number}", 3)
        two_phase.write(2)
        two_phase.one(f"COMMIT PREPARED 'g{number}'")
        two_phase.committed(events)
        two_phase.oracle.wait(2)
    two_phase.settle()
    assert not sleeping(relay)


def test_while_the_relay_sleeps(two_phase: Outbox) -> None:
    """notify on for the database, off for the one writer that prepares: it never fails, and what
    it commits is found by the interval's poll, or with the next event."""
    two_phase.one(f"ALTER DATABASE {two_phase.db} SET outbox_relay.notify = 'on'")
    two_phase.close()  # sessions from before do not know of it
    relay = two_phase.relay({"source.poll_interval_ms": 1500})
    for number in range(3):
        wait_for(lambda: sleeping(relay), "the relay to sleep")
        events = prepare(two_phase, f"g{number}", 3, notify="off")
        wait_for(lambda: sleeping(relay), "the relay to sleep")
        two_phase.one(f"COMMIT PREPARED 'g{number}'")
        two_phase.committed(events)
        two_phase.oracle.wait(5)
    wait_for(lambda: sleeping(relay), "the relay to sleep")
    events = prepare(two_phase, "with another", 3, notify="off")
    wait_for(lambda: sleeping(relay), "the relay to sleep")
    two_phase.one("COMMIT PREPARED 'with another'")
    two_phase.committed(events)
    two_phase.write(1)
    two_phase.settle(5)


def test_notifying_writers_are_refused_to_prepare_and_lose_nothing(two_phase: Outbox) -> None:
    """Who says that nobody prepares, and does: PREPARE fails, the transaction is undone."""
    two_phase.one(f"ALTER DATABASE {two_phase.db} SET outbox_relay.notify = 'on'")
    two_phase.close()  # sessions from before do not know of it
    relay = two_phase.relay({"source.poll_interval_ms": 60000})
    wait_for(lambda: sleeping(relay), "the relay to sleep")
    connection = two_phase.connect()
    events = two_phase.insert(connection, 3)
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        connection.cursor().execute("PREPARE TRANSACTION 'refused'")
    connection.rollback()
    two_phase.rolled_back(events)
    two_phase.write(5)
    two_phase.settle(5)
