"""What end-to-end tests are made of: servers, a database, relays, a load, and the judgement."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from support.kafka import Kafka
from support.oracle import Oracle
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for
from support.writer import Load, insert

WINDOW = 1000  # small: the bound on duplicates is to be sharp


class Scene:
    """One test's own database on these servers, its topics, and its relays, which it ends."""

    def __init__(
        self, postgres: Postgres, kafka: Kafka, folder: pathlib.Path, *, ack_mode: str = "delete"
    ) -> None:
        self.postgres = postgres
        self.kafka = kafka
        self.ack_mode = ack_mode
        self.db = postgres.createdb()
        self.aggregatetype = f"t{uuid.uuid4().hex[:8]}"
        self.topic = f"outbox.event.{self.aggregatetype}"
        self.oracle = Oracle(kafka.bootstrap)
        self.relays: list[Relay] = []
        self._folder = folder

    # -- its parts -------------------------------------------------------------------------------

    def relay(
        self,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str | None] | None = None,
        program: pathlib.Path | None = None,
    ) -> Relay:
        """One more relay; program: another one than that of Relay."""
        every = {
            "postgres.uri": self.postgres.uri(self.db),
            "kafka.bootstrap.servers": self.kafka.bootstrap,
            "ack.mode": self.ack_mode,
            "window.events": WINDOW,
            "failure.policy": "halt",
            **(settings or {}),
        }
        log = self._folder / f"relay-{len(self.relays)}.log"
        self.relays.append(Relay(every, log, env, program))
        return self.relays[-1]

    def load(self, **options: Any) -> Load:
        options = {"aggregatetype": self.aggregatetype, "pause_s": 0.001, **options}
        return Load(lambda: self.postgres.connect(self.db), self.oracle, **options)

    def write(
        self, count: int, *, keys: int = 10, aggregatetype: str | None = None, **columns: Any
    ) -> list[str]:
        """That many events in one transaction, told to the oracle; their ids."""
        connection = self.postgres.connect(self.db)
        try:
            with connection:
                events = self.insert(
                    connection, count, keys=keys, aggregatetype=aggregatetype, **columns
                )
            self.told(events)
        finally:
            connection.close()
        return [event_id for event_id, _, _ in events]

    def insert(
        self,
        connection: Any,
        count: int,
        *,
        keys: int = 10,
        keyed_as: str = "key",
        aggregatetype: str | None = None,
        **columns: Any,
    ) -> list[tuple[str, str, str]]:
        """That many in the connection's transaction; id, topic and key of each."""
        kind = aggregatetype or self.aggregatetype
        columns = {"payload": '{"n": 1}', **columns}
        topic = str(columns.get("topic") or f"outbox.event.{kind}")
        keyed = [f"{keyed_as}-{n % keys}" for n in range(count)]
        return [(insert(connection, kind, key, **columns), topic, key) for key in keyed]

    def told(self, events: Iterable[tuple[str, str, str]]) -> None:
        """The oracle learns that these are committed, in this order."""
        for event_id, topic, key in events:
            self.oracle.committed(event_id, topic, key)

    # -- looking ---------------------------------------------------------------------------------

    def sql(self, text: str, *arguments: Any) -> list[tuple[Any, ...]]:
        connection = self.postgres.connect(self.db, autocommit=True)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text, arguments or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def unacknowledged(self) -> int:
        where = " WHERE published_at IS NULL" if self.ack_mode == "mark" else ""
        return int(self.sql(f"SELECT count(*) FROM outbox{where}")[0][0])

    def wait_seen(self, more: int, timeout: float = 30) -> int:
        """Until that many more events were consumed; how many in all."""
        goal = self.oracle.seen() + more
        return wait_for(
            lambda: (n := self.oracle.seen()) >= goal and n, f"{goal} consumed events", timeout
        )

    # -- ending ----------------------------------------------------------------------------------

    def judge(self, max_duplicates: int = 0, timeout: float = 60) -> None:
        """All that was committed came out, in order, and every row is acknowledged."""
        self.oracle.wait(timeout)
        wait_for(lambda: self.unacknowledged() == 0, "every row to be acknowledged", 30)
        self.oracle.verify(max_duplicates)
        figures = f"{len(self.oracle.events)} events, {self.oracle.duplicates()} duplicates"
        print(f"{figures} of {max_duplicates} allowed")

    def close(self) -> None:
        """Whoever still runs has to end cleanly: nothing left open, nothing leaked."""
        failures: list[BaseException] = []
        for relay in self.relays:
            try:
                if relay.exit_code is None:
                    relay.stop()
                relay.check()
            except (Exception, AssertionError) as error:
                failures.append(error)
                relay.kill()
        self.oracle.close()
        if failures:
            raise failures[0]
