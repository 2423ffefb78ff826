"""The soak: one relay at half of what it can do here, for a long time, while its servers fail in turn.

It ends with how much memory and how many descriptors the relay had, calm, in the first third and in
the last one, and with what a consumer saw: each key's events are numbered, so a gap is a loss or a
disorder, and a number seen before is a duplicate.
"""

from __future__ import annotations

import os
import pathlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg2
from bench import Bench, median
from confluent_kafka import Consumer, TopicPartition
from support.relay import Relay
from support.wait import wait_for

BATCH = 500
KEYS = 100
WINDOW = 10_000
CALIBRATION_S = 30.0
FAULT_EVERY_S = 30.0
SAMPLE_EVERY_S = 2.0
CALM_S = 10.0  # after a fault, until a sample counts

_INSERT = """
INSERT INTO outbox (aggregatetype, aggregateid, type, payload)
SELECT %s, n %% {keys}, 'Tested',
    ('{{"n":' || (%s::bigint * {batch} + n) / {keys} || ',"pad":"' || repeat('x', 170) || '"}}')::json
FROM generate_series(0, {batch} - 1) AS n ORDER BY n
""".format(keys=KEYS, batch=BATCH)


class Writer(threading.Thread):
    """Transactions of BATCH events, one after the other, so many a second (0: as many as go); each is
    written until it is known to be committed, and no other has its number."""

    def __init__(self, bench: Bench, kind: str) -> None:
        super().__init__(daemon=True)
        self.batches = 0
        self.rate = 0.0
        self.ending = False
        self._bench, self._kind = bench, kind

    def run(self) -> None:
        due = time.monotonic()
        connection = None
        while not self.ending:
            due = max(due + BATCH / self.rate if self.rate else 0, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                connection = connection or self._connect()
                with connection, connection.cursor() as cursor:
                    cursor.execute("UPDATE soak SET batches = %s", (self.batches + 1,))
                    cursor.execute(_INSERT, (self._kind, self.batches))
                self.batches += 1
            except psycopg2.Error:
                connection = None
                time.sleep(0.2)

    def _connect(self) -> psycopg2.extensions.connection:
        """And what became of the last transaction."""
        connection = self._bench.postgres.connect(self._bench.db)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT batches FROM soak")
            self.batches = cursor.fetchone()[0]
        return connection


class Reader(threading.Thread):
    """Every record of the topic: how many, which twice, and where a number is missing before one."""

    def __init__(self, bench: Bench, topic: str, partitions: int) -> None:
        super().__init__(daemon=True)
        self.events = self.duplicates = 0
        self.gaps: list[str] = []
        self.ending = False
        self._next = [0] * KEYS
        self._consumer = Consumer(
            {
                "bootstrap.servers": bench.kafka.bootstrap,
                "group.id": "soak",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 100,
                "log_level": 2,
            }
        )
        self._consumer.assign([TopicPartition(topic, each, 0) for each in range(partitions)])

    def run(self) -> None:
        while not self.ending:
            for message in self._consumer.consume(5000, 0.2):
                if message.error() is None:
                    self._take(int(message.key()), int(message.value()[5:].partition(b",")[0]))
        self._consumer.close()

    def _take(self, key: int, number: int) -> None:
        if number < self._next[key]:
            self.duplicates += 1
            return
        if number > self._next[key]:
            self.gaps.append(f"key {key}: {number} where {self._next[key]} was due")
        self._next[key] = number + 1
        self.events += 1


@dataclass
class Samples:
    rss_kib: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def take(self, relay: Relay) -> None:
        self.rss_kib.append(relay.rss_kib())
        self.descriptors.append(len(os.listdir(pathlib.Path("/proc") / str(relay.process.pid) / "fd")))

    def third(self, which: int) -> str:
        n = len(self.rss_kib) // 3
        part = slice(which * n, (which + 1) * n)
        memory, descriptors = self.rss_kib[part], self.descriptors[part]
        return (
            f"resident {median(memory) / 1024:.1f} MiB ({min(memory) / 1024:.1f} to {max(memory) / 1024:.1f}),"
            f" descriptors {median(descriptors):.0f} ({min(descriptors)} to {max(descriptors)})"
        )


def _sessions_end(bench: Bench) -> None:
    bench.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay%'"
    )


def _broker_stands_still(bench: Bench) -> None:
    bench.kafka.pause()
    time.sleep(4)
    bench.kafka.resume()


def _broker_is_killed(bench: Bench) -> None:
    bench.kafka.kill()
    bench.kafka.start()


def _postgres_restarts(bench: Bench) -> None:
    bench.postgres.restart("immediate")


def _postgres_stands_still(bench: Bench) -> None:
    bench.postgres.pause()
    time.sleep(4)
    bench.postgres.resume()


FAULTS: tuple[Callable[[Bench], None], ...] = (
    _sessions_end,
    _broker_stands_still,
    _postgres_restarts,
    _broker_is_killed,
    _postgres_stands_still,
)


def _rate(relay: Relay, seconds: float) -> float:
    begin, before = time.monotonic(), relay.metric("acknowledged_events_total")
    time.sleep(seconds)
    return (relay.metric("acknowledged_events_total") - before) / (time.monotonic() - begin)


def _endure(bench: Bench, relay: Relay, minutes: float) -> tuple[Samples, int]:
    samples, faults = Samples(), 0
    end = time.monotonic() + minutes * 60
    fault_at = time.monotonic() + FAULT_EVERY_S
    while time.monotonic() < end:
        time.sleep(SAMPLE_EVERY_S)
        if time.monotonic() >= fault_at:
            FAULTS[faults % len(FAULTS)](bench)
            faults += 1
            time.sleep(CALM_S)
            fault_at = time.monotonic() + FAULT_EVERY_S - CALM_S
        samples.take(relay)
    return samples, faults


def soak(bench: Bench, minutes: float, say: Callable[[str], None]) -> bool:
    """True if nothing is missing or out of order, and the last third's memory within a tenth of the
    first's."""
    bench.empty()
    bench.sql("CREATE TABLE soak AS SELECT 0::bigint AS batches")
    with bench.topic() as (kind, topic):
        bench.kafka.set_topic(topic, {"retention.bytes": 400_000_000, "segment.bytes": 50_000_000})
        reader = Reader(bench, topic, 4)
        writer = Writer(bench, kind)
        reader.start()
        with bench.relay({"window.events": WINDOW}) as relay:
            relay.wait_ready()
            writer.start()
            time.sleep(5)
            most = _rate(relay, CALIBRATION_S)
            writer.rate = most / 2
            say(f"soak: {most:,.0f} events/s at most, {writer.rate:,.0f} for {minutes:g} minutes")
            wait_for(lambda: relay.status()["source"]["caught_up"], "the first rush", 120)
            samples, faults = _endure(bench, relay, minutes)
            writer.ending = True
            writer.join()
            committed = int(bench.sql("SELECT batches FROM soak")) * BATCH
            wait_for(lambda: reader.events >= committed or reader.gaps, "every event", 120)
            rebuilds = relay.metric("producer_rebuilds_total")
        reader.ending = True
        reader.join()
    first, last = (median(samples.rss_kib[:len(samples.rss_kib) // 3]), median(samples.rss_kib[-(len(samples.rss_kib) // 3):]))
    say(f"  {faults} faults; {committed:,} events committed, {reader.events:,} consumed,"
        f" {reader.duplicates:,} duplicates in {rebuilds:.0f} rebuilds, {len(reader.gaps)} gaps")
    say(f"  first third: {samples.third(0)}")
    say(f"  last third:  {samples.third(2)}")
    for gap in reader.gaps[:10]:
        say(f"  {gap}")
    return not reader.gaps and reader.events == committed and last <= first * 1.1
