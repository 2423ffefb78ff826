"""The campaign's writers: transactions of every sort, through crashes of the server."""

from __future__ import annotations

import contextlib
import random
import threading
import uuid
from collections.abc import Callable
from typing import Any

import psycopg2
from support.messages import emit
from support.oracle import Oracle
from support.writer import Load, insert

LARGE = 30_000  # characters; no ordinary payload has as many
REFUSED = (
    {"payload": f'"{"x" * 600_000}"'},  # by the topic's max.message.bytes
    {"payload": f'"{"x" * 1_100_000}"'},  # by the producer's
    {"payload": f'"{"x" * LARGE}"', "headers": "[1]"},  # no record can say it
)
# So that an event which is put right is the one that was refused.
CORRECTED = "payload = '\"corrected\"', headers = NULL"
WRONG = f"length(payload::text) >= {LARGE}"
_BATCH = (1, 1, 1, 1, 2, 3, 5, 12)
_HELD_S = (0.1, 1.0)

_VERSION = """
INSERT INTO aggregate (id, version) VALUES (%s, %s)
ON CONFLICT (id) DO UPDATE SET version = aggregate.version + excluded.version RETURNING version
"""


class CampaignLoad(Load):
    """One to twelve events of one key a transaction. Some are written in savepoints, beside others
    that are undone; some transactions are prepared first, some are held open for a while, some
    are rolled back. With messages, some events are logical messages and some rows are deleted again
    by their own transaction."""

    def __init__(
        self,
        connect: Callable[[], Any],
        oracle: Oracle,
        *,
        seed: str,
        prepares: bool,
        messages: bool,
        shared_key_waits: bool,
        **options: Any,
    ) -> None:
        """shared_key_waits: what is refused holds up its key; otherwise it has one of its own."""
        super().__init__(connect, oracle, **options)
        self._dice = random.Random(seed)
        self._prepares = prepares
        self._messages = messages
        self._shared_key_waits = shared_key_waits
        self._refused: list[int] = []
        self._batches: dict[str, list[str]] = {}  # by their last event: all of a transaction
        self._writing = threading.local()

    def refuse(self, which: int) -> None:
        """Some transaction from now on commits an event that cannot be published."""
        with self._lock:
            self._refused.append(which)

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, connection: Any, key: str, turn: int) -> tuple[str, str, int] | None:
        refused = self._take_refused()
        if refused is not None:
            try:
                return self._write_refused(connection, key, refused)
            except psycopg2.Error:
                self.refuse(refused)  # not written yet
                raise
        events: list[str] = []
        count = self._dice.choice(_BATCH)
        version = self._next_version(connection, key, count)
        # Not both: PostgreSQL may swap a message with what stands behind it in another
        # subtransaction, since it sorts a message by its end and a row by its beginning.
        messages = self._messages and self._dice.random() < 0.6
        for _ in range(count):
            events.append(self._write_one(connection, key, messages))
        if self._dice.random() < 0.05:
            self._stop.wait(self._dice.uniform(*_HELD_S))
        self._batches[events[-1]] = events
        if self._dice.random() < 0.1:
            connection.rollback()
            self._count(events[-1], key, version, committed=False)
            return None
        return self._written(connection, events[-1], key, version)

    def _write_refused(self, connection: Any, key: str, which: int) -> tuple[str, str, int]:
        if not self._shared_key_waits:
            key = f"refused-{uuid.uuid4().hex[:8]}"
        version = self._next_version(connection, key, 1)
        event_id = insert(connection, self._aggregatetype, key, **REFUSED[which % len(REFUSED)])
        self._batches[event_id] = [event_id]
        return self._written(connection, event_id, key, version)

    def _take_refused(self) -> int | None:
        with self._lock:
            return self._refused.pop() if self._refused else None

    def _next_version(self, connection: Any, key: str, count: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute(_VERSION, (key, count))
            return int(cursor.fetchone()[0])

    def _written(
        self, connection: Any, event_id: str, key: str, version: int
    ) -> tuple[str, str, int]:
        connection.cursor().execute("INSERT INTO written (id) VALUES (%s)", (event_id,))
        self._writing.event_id = event_id
        return event_id, key, version

    def _write_one(self, connection: Any, key: str, messages: bool) -> str:
        cursor = connection.cursor()
        nested = not messages and self._dice.random() < 0.3
        if nested:
            cursor.execute("SAVEPOINT undone")
            self._oracle.rolled_back(self._event(connection, key, self._messages))
            cursor.execute("ROLLBACK TO undone; SAVEPOINT kept")
        event_id = self._event(connection, key, messages)
        if nested:
            cursor.execute("RELEASE kept")
        return event_id

    def _event(self, connection: Any, key: str, messages: bool) -> str:
        cursor = connection.cursor()
        if messages and self._dice.random() < 0.6:
            return emit(cursor, self._aggregatetype, key)
        event_id = insert(connection, self._aggregatetype, key, payload=self._payload)
        if self._messages and self._dice.random() < 0.3:
            cursor.execute("DELETE FROM outbox WHERE id = %s", (event_id,))
        return event_id

    # -- ending ----------------------------------------------------------------------------------

    def _commit(self, connection: Any, turn: int) -> None:
        if not self._prepares or self._dice.random() >= 0.2:
            connection.commit()
            return
        gid = self._writing.event_id
        connection.cursor().execute(f"PREPARE TRANSACTION '{gid}'")
        connection.commit()  # there is no transaction any more; the client learns it by this
        if self._dice.random() < 0.3:
            self._stop.wait(self._dice.uniform(*_HELD_S))
        _end_prepared(connection, gid, "COMMIT")

    def _resolve(self, connection: Any, event_id: str, key: str, version: int) -> None:
        _end_prepared(connection, event_id, "COMMIT" if version % 2 else "ROLLBACK")
        # Its session may prepare it only now: looked for again then.
        connection.cursor().execute("SET LOCAL lock_timeout = '500ms'")
        super()._resolve(connection, event_id, key, version)

    def _count(self, event_id: str, key: str, version: int, *, committed: bool) -> None:
        for back, each in enumerate(reversed(self._batches.pop(event_id))):
            super()._count(each, key, version - back, committed=committed)


def _end_prepared(connection: Any, gid: str, how: str) -> None:
    """Where there is such a transaction; who has just been disconnected does not know."""
    connection.autocommit = True
    with contextlib.suppress(psycopg2.errors.UndefinedObject):
        connection.cursor().execute(f"{how} PREPARED '{gid}'")
    connection.autocommit = False
