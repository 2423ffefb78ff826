"""Very many events: late in one transaction, waiting at the start, far more than the window."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.oracle import Oracle
from support.relay import release_binary
from support.outbox import Outbox


@pytest.fixture
def oracle(kafka: Kafka) -> Iterator[Oracle]:
    """It keeps no values: there are very many."""
    with Oracle(kafka.bootstrap, keep_values=False) as judge:
        yield judge


@pytest.mark.parametrize("count", [100_000])
def test_bulk_transaction_commits_late(outbox: Outbox, ack_mode: str, count: int) -> None:
    """Twice the window, and all of it below what was published meanwhile."""
    outbox.relay({"ack.mode": ack_mode})
    bulk = outbox.connect()
    events = outbox.insert(bulk, count, keys="bulk", spread=100)
    for _ in range(10):
        outbox.write(200)
    outbox.settle()
    bulk.commit()
    outbox.write(200)
    outbox.committed(events)
    for _ in range(10):
        outbox.write(200)
    outbox.settle(90)


def test_two_bulk_transactions_interleaved(outbox: Outbox) -> None:
    """Their rows alternate in the table; each commits late, the second while the first is read."""
    outbox.relay()
    one, two = outbox.connect(), outbox.connect()
    first, second = [], []
    for _ in range(20):
        first += outbox.insert(one, 1000, keys="one", spread=20)
        second += outbox.insert(two, 1000, keys="two", spread=20)
    outbox.write(100)
    outbox.settle()
    one.commit()
    two.commit()
    outbox.committed(first)
    outbox.committed(second)
    outbox.write(100)
    outbox.settle(60)


@pytest.mark.parametrize("ack_mode", ["mark"], indirect=True)
def test_starts_with_many_waiting(outbox: Outbox, ack_mode: str) -> None:
    events = []
    for _ in range(3):
        events += outbox.write(50_000, spread=200)
    late = outbox.connect()
    mine = outbox.insert(late, 1000, keys="late")
    outbox.relay({"ack.mode": ack_mode})
    for _ in range(20):
        outbox.write(50, keys="new")  # while the backlog is read
    late.commit()
    outbox.committed(mine)
    outbox.settle(120)


@pytest.mark.parametrize("size", [1000])
def test_250000_events_in_one_transaction_in_160_mb(
    outbox: Outbox, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOX_RELAY_BIN", str(release_binary()))
    relay = outbox.relay()
    bulk = outbox.connect()
    events = outbox.insert(bulk, 250_000, keys="bulk", spread=500, fill=size)
    bulk.commit()
    outbox.committed(events)
    outbox.settle(120)
    peak = relay.peak_rss_kib()
    assert peak < 160 * 1024, f"{peak / 1024:.0f} MiB were resident"
