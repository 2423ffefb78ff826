"""What the relay's sessions do to the server: no transaction stays open, acknowledgements come in
batches, and what was marked is never read again."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.outbox import Outbox
from support.postgres import Postgres
from support.wait import wait_for
from support.writer import Load

# The wait for the wake-up lock is one statement of two seconds; the rest is for a slow machine.
XMIN_HELD_S = 4.0


class Watch:
    """Samples the relay's sessions until it is told to stop."""

    def __init__(self, outbox: Outbox) -> None:
        self.samples = 0
        self.idle_in_transaction: list[str] = []
        self.held_s = 0.0
        self._connection = outbox.server.connect(outbox.db, autocommit=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._connection.cursor() as cursor:
            while not self._stop.wait(0.005):
                cursor.execute(
                    "SELECT application_name, state, query,"
                    " extract(epoch FROM clock_timestamp() - xact_start)::float"
                    " FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name LIKE 'outbox-relay%'"
                    " AND (backend_xmin IS NOT NULL OR state LIKE 'idle in transaction%')"
                )
                for name, state, query, held in cursor.fetchall():
                    if state.startswith("idle in transaction"):
                        self.idle_in_transaction.append(f"{name}: {query[:80]}")
                    self.held_s = max(self.held_s, held or 0.0)
                self.samples += 1

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def check(self) -> None:
        assert self.samples > 100
        assert not self.idle_in_transaction
        assert self.held_s < XMIN_HELD_S, f"a snapshot was held for {self.held_s:.1f} s"


def for_seconds(seconds: float) -> None:
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > seconds, "the time to watch", seconds + 5)


@contextlib.contextmanager
def paused(kafka: Kafka) -> Iterator[None]:
    kafka.pause()
    try:
        yield
    finally:
        kafka.resume()


@pytest.mark.parametrize("ack_mode", ["mark"], indirect=True)
def test_no_transaction_stays_open(outbox: Outbox, kafka: Kafka, ack_mode: str) -> None:
    relay = outbox.relay({"ack.mode": ack_mode})
    with Watch(outbox) as watch:
        load = Load(
            lambda: outbox.server.connect(outbox.db),
            outbox.oracle,
            aggregatetype=outbox.aggregatetype,
            threads=4,
            pause_s=0.001,
        )
        with load:
            wait_for(lambda: load.committed > 1500, "a load", 60)
        outbox.write(20_000, keys="bulk", spread=100)
        outbox.settle()
        wait_for(lambda: relay.status()["source"]["sleeping"], "the relay to sleep")
        for_seconds(2)
        long = outbox.connect()  # the wake-up lock is not granted while it is open
        outbox.write(1, keys="one")
        events = outbox.insert(long, 1, keys="long")
        for_seconds(5)
        long.commit()
        outbox.committed(events)
        outbox.settle()
        with paused(kafka):
            outbox.write(5000, keys="late")
            for_seconds(4)
        outbox.settle(60)
    watch.check()


def test_a_backlog_does_not_hold_a_snapshot(outbox: Outbox, kafka: Kafka) -> None:
    """A page is read to its end whatever Kafka does: none of it waits in the server."""
    outbox.write(60_000, spread=100, fill=500)
    with Watch(outbox) as watch:
        relay = outbox.relay({"window.events": 5000})
        wait_for(lambda: relay.status()["published"] > 10_000, "the backlog to flow", 60)
        with paused(kafka):
            for_seconds(5)
        outbox.settle(90)
    watch.check()


def test_acknowledged_in_batches(outbox: Outbox, postgres: Postgres, ack_mode: str) -> None:
    outbox.one(f"ALTER DATABASE {outbox.db} SET log_statement = 'all'")
    outbox.write(30_000, spread=100)
    since = postgres.log_size()
    relay = outbox.relay({"ack.mode": ack_mode})
    outbox.settle()
    relay.wait_metric("acknowledged_events_total", 30_000)
    with postgres.log_path.open("rb") as log:
        log.seek(since)
        text = log.read().decode(errors="replace")
    verb = "UPDATE" if ack_mode == "mark" else "DELETE FROM"
    acks = re.findall(rf"@{outbox.db}/[^\n]*LOG:  execute [^\n]*{verb} [^\n]*outbox o\b", text)
    assert 0 < len(acks) <= 150, f"{len(acks)} acknowledgements of 30000 rows"


def test_marked_rows_stay_and_never_come_again(outbox: Outbox) -> None:
    settings = {"ack.mode": "mark"}
    relay = outbox.relay(settings)
    outbox.write(20_000, spread=100)
    outbox.settle()
    marked = outbox.rows("SELECT seq, published_at FROM outbox ORDER BY seq")
    assert len(marked) == 20_000
    assert all(at is not None for _, at in marked)
    relay.stop()
    for how in ("stop", "kill"):
        again = outbox.relay(settings)
        outbox.write(10)
        outbox.settle()
        assert again.metric("published_events_total") == 10
        getattr(again, how)()
    assert outbox.rows("SELECT seq, published_at FROM outbox ORDER BY seq LIMIT 20000") == marked
    assert outbox.one("SELECT count(*) FROM outbox") == 20_020
    # Unmarked by hand, as an operator does to send it again: it comes again.
    relay = outbox.relay(settings)
    outbox.settle()
    outbox.one("UPDATE outbox SET published_at = NULL WHERE seq <= 5")
    relay.wait_metric("published_events_total", 5, 30)
    outbox.settle(max_duplicates=5)
