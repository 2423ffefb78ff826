"""What the cases measure with: own servers, the built programs, the kernel's counters of a process."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from support.kafka import Kafka
from support.postgres import Postgres
from support.process import Process
from support.relay import Relay
from support.wait import wait_for

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build" / "release"
PARTITIONS = 4
TICKS = os.sysconf("SC_CLK_TCK")

# What the relay sets by itself (relay/kafka/kafka_conf.c), so that its peer does the same work.
PRODUCER = {
    "enable.idempotence": "true",
    "acks": "all",
    "message.timeout.ms": "0",
    "enable.gapless.guarantee": "true",
    "partitioner": "murmur2_random",
    "linger.ms": "0",
    "socket.nagle.disable": "true",
    "queue.buffering.max.messages": "101000",
    "queue.buffering.max.kbytes": "196608",
    "log_level": "2",
}

# A durable server of a small machine; no checkpoint or vacuum of another case's in the middle.
POSTGRES = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "log_min_messages": "warning",
}


class BenchKafka(Kafka):
    """One broker as it is run for work: the JVM's own collector and compiler, and room."""

    def _java(self) -> list[str]:
        small = super()._java()
        return ["java", "-Xms512m", "-Xmx512m", *(x for x in small[1:] if not x.startswith("-X"))]


class Bench:
    """The servers of one run, and what each case needs of them."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Bench:
        try:
            self.folder = pathlib.Path(
                self._stack.enter_context(tempfile.TemporaryDirectory(prefix="outbox-bench-"))
            )
            # Its own copy of the relay: a build that starts meanwhile takes nothing away.
            relay = os.environ.get("OUTBOX_RELAY_BIN", BUILD / "outbox-relay")
            os.environ["OUTBOX_RELAY_BIN"] = str(
                shutil.copy2(relay, self.folder / "outbox-relay")
            )
            self.postgres = self._stack.enter_context(Postgres(POSTGRES, fsync=True))
            self.kafka = self._stack.enter_context(BenchKafka(auto_create=False))
            self.db = self.postgres.createdb()
            self._warm_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _warm_up(self) -> None:
        """The broker's compiler is busy with its first records: these are nobody's."""
        with self.topic() as (_, topic):
            for records, rate in ((200_000, 0), (3000, 1000)):
                with self.watch(topic, records) as watch:
                    self.producer(topic, records, 200, rate)
                    watch.result()

    @contextlib.contextmanager
    def logical(self) -> Iterator[None]:
        """Meanwhile the server is one of wal_level=logical."""
        usual = self.postgres, self.db
        with Postgres({**POSTGRES, "wal_level": "logical"}, fsync=True) as self.postgres:
            self.db = self.postgres.createdb()
            self.sql("CREATE PUBLICATION outbox_relay FOR TABLE outbox WITH (publish = 'insert')")
            try:
                yield
            finally:
                self.postgres, self.db = usual

    # -- PostgreSQL ------------------------------------------------------------------------------

    def sql(self, text: str) -> str:
        return self.postgres.psql(self.db, text).strip()

    def fill(self, kind: str, rows: int, size: int) -> None:
        """That many waiting events with payloads of that many bytes, 10,000 a transaction."""
        self.sql("TRUNCATE outbox RESTART IDENTITY")
        text = "'{\"n\":' || lpad(n::text, 9, '1') || ',\"pad\":\"' || repeat('x', %d) || '\"}'"
        self.sql(
            "DO $$ BEGIN FOR i IN 0.."
            f"{(rows - 1) // 10000} LOOP"
            " INSERT INTO outbox (aggregatetype, aggregateid, type, payload)"
            f" SELECT '{kind}', 'key-' || n % 10000, 'Tested', ({text % (size - 24)})::json"
            f" FROM generate_series(i * 10000 + 1, least(i * 10000 + 10000, {rows})) n;"
            " COMMIT; END LOOP; END $$"
        )
        self.sql("CHECKPOINT")

    def empty(self) -> None:
        self.sql("TRUNCATE outbox RESTART IDENTITY")

    def pgbench(
        self, script: str, seconds: float, clients: int, threads: int, rate: int = 0
    ) -> dict[str, float]:
        """Runs a script of one transaction; its tps, latency and how many there were."""
        path = self.folder / "script.sql"
        path.write_text(script + "\n")
        length = ["-T", str(int(seconds))]
        if rate:  # an exact number, for whoever counts them at the other end
            length = ["-t", str(self.transactions(seconds, clients, rate) // clients), "-R", str(rate)]
        done = subprocess.run(
            [self.postgres.bin / "pgbench", "-n", "-M", "prepared", "-f", path]
            + ["-c", str(clients), "-j", str(threads), *length, self.postgres.uri(self.db)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=max(seconds * 4 + 30, 300),
            check=False,
        )
        tps = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
        count = re.search(r"actually processed: (\d+)", done.stdout)
        mean = re.search(r"^latency average = ([\d.]+) ms", done.stdout, re.MULTILINE)
        lag = re.search(r"schedule lag: avg ([\d.]+)", done.stdout)
        if done.returncode != 0 or not (tps and count and mean):
            raise RuntimeError(f"pgbench failed:\n{done.stdout}{done.stderr}")
        # Under a rate its latency begins at the time that was due.
        own = float(mean[1]) - (float(lag[1]) if lag else 0.0)
        return {"tps": float(tps[1]), "count": int(count[1]), "commit_ms": own}

    @staticmethod
    def transactions(seconds: float, clients: int, rate: int) -> int:
        return int(seconds * rate) // clients * clients

    # -- Kafka -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def topic(self) -> Iterator[tuple[str, str]]:
        """A topic of its own: the aggregate type that goes there, and its name."""
        kind = f"b{uuid.uuid4().hex[:8]}"
        name = f"outbox.event.{kind}"
        self.kafka.create_topic(name, PARTITIONS, {"file.delete.delay.ms": 100})
        yield kind, name
        self.kafka.delete_topic(name)  # its disk is the next one's

    def producer(self, topic: str, records: int, size: int, rate: int = 0) -> dict[str, Any]:
        properties = {"bootstrap.servers": self.kafka.bootstrap, **PRODUCER}
        done = subprocess.run(
            [BUILD / "tests/bench/bench_pure_producer", topic, str(records), str(size), str(rate)]
            + [f"{name}={value}" for name, value in properties.items()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the pure producer failed: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def watch(
        self, topic: str, records: int, *, skip_s: float = 0, timeout_s: float = 60
    ) -> Iterator[Watch]:
        watch = Watch(self, topic, records, skip_s, timeout_s)
        try:
            yield watch
        finally:
            watch.process.kill()

    # -- the relay -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def relay(self, settings: dict[str, Any] | None = None) -> Iterator[Relay]:
        """Starts one; ends it by SIGTERM, or at once where the case has failed."""
        relay = Relay(
            {
                "postgres.uri": self.postgres.uri(self.db),
                "kafka.bootstrap.servers": self.kafka.bootstrap,
                "log.level": "info",
                **(settings or {}),
            },
            self.folder / f"relay-{uuid.uuid4().hex[:8]}.log",
        )
        try:
            yield relay
            if relay.exit_code is None:
                relay.stop()
        finally:
            if relay.exit_code is None:
                relay.kill()


class Watch:
    """watch_topic, from the moment that it stands at the topic's end."""

    def __init__(
        self, bench: Bench, topic: str, records: int, skip_s: float, timeout_s: float
    ) -> None:
        self.timeout_s = timeout_s
        self.process = Process(
            [BUILD / "tests/bench/bench_watch_topic", bench.kafka.bootstrap, topic, str(records)]
            + [str(int(skip_s * 1000)), str(int(timeout_s))],
            bench.folder / f"watch-{uuid.uuid4().hex[:8]}.log",
            os.environ,
        )
        self.process.wait_until(lambda: "ready" in self.process.tail(), "it watched", 30)

    def result(self) -> dict[str, Any]:
        code = self.process.wait(self.timeout_s + 10)
        if code != 0:
            raise RuntimeError(f"not all records were seen:\n{self.process.tail()}")
        return json.loads(self.process.tail(1))


def cpu_us(pid: int) -> int:
    """User and system time of a process so far, to a tick (10 ms)."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000 // TICKS


def memory_kib(pid: int, name: str) -> int:
    """VmHWM: the most it had resident; VmRSS: what it has."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    assert found, name
    return int(found[1])


def wait_acknowledged(relay: Relay, events: int, timeout: float) -> float:
    """Until so many are published and their rows are gone; the moment when that was seen."""
    wait_for(lambda: relay.metric("acknowledged_events_total") >= events, "the drain", timeout)
    return time.monotonic()


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def quantile(relay: Relay, q: float) -> float:
    """Of the relay's own publish latency, in seconds: the upper bound of its bucket."""
    samples = relay.metrics()["outbox_relay_publish_latency_seconds_bucket"]
    bounds = sorted((float(dict(labels)["le"]), count) for labels, count in samples.items())
    return next(le for le, count in bounds if count >= q * bounds[-1][1])
