"""A service's side: inserts into the outbox, alone or as a load, reported to the oracle."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extras import Json

from support.oracle import Oracle

AGGREGATES = """
CREATE TABLE IF NOT EXISTS aggregate (
    id      text   PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0  -- counts its committed events
);
CREATE TABLE IF NOT EXISTS written (id uuid PRIMARY KEY)
"""

_COLUMNS = (
    "id",
    "aggregatetype",
    "aggregateid",
    "type",
    "payload",
    "payload_bytes",
    "headers",
    "topic",
    "partition",
    "created_at",
)


def insert(
    connection: Any,
    aggregatetype: str,
    aggregateid: str,
    *,
    table: str = "outbox",
    **columns: Any,
) -> str:
    """One event in the connection's transaction; its id. payload is JSON's text exactly as it is
    to be written; columns that are not named keep their defaults, type is "Tested"."""
    row = {
        "id": str(uuid.uuid4()),
        "aggregatetype": aggregatetype,
        "aggregateid": aggregateid,
        "type": "Tested",
        **columns,
    }
    unknown = row.keys() - set(_COLUMNS)
    if unknown:
        raise ValueError(f"no columns of the outbox: {sorted(unknown)}")
    if isinstance(row.get("headers"), dict):
        row["headers"] = Json(row["headers"])
    if isinstance(row.get("payload_bytes"), bytes):
        row["payload_bytes"] = psycopg2.Binary(row["payload_bytes"])
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
            list(row.values()),
        )
    return str(row["id"])


class Load:
    """Threads that write events until stop(), through lost connections and crashes of the server.

    The writers of one key are serialised by its row in the table aggregate, which also counts: so
    the order of each event is known. What a commit came to, where its answer was lost, is asked of
    the table written afterwards; so every event ends as committed or rolled back for certain.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        oracle: Oracle,
        *,
        aggregatetype: str,
        topic: str | None = None,
        threads: int = 4,
        keys: int = 20,
        rollback_every: int = 10,
        payload: str = '{"n": 1}',
        pause_s: float = 0.0,
    ) -> None:
        """topic is where the events are expected; every rollback_every-th is rolled back (0: none)."""
        self._connect = connect
        self._oracle = oracle
        self._aggregatetype = aggregatetype
        self._topic = topic or f"outbox.event.{aggregatetype}"
        self._keys = keys
        self._rollback_every = rollback_every
        self._payload = payload
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self.committed = 0
        self.rolled_back = 0
        self.reconnects = 0
        connection = connect()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(AGGREGATES)
                cursor.execute(
                    "INSERT INTO aggregate (id) SELECT 'key-' || n FROM generate_series(0, %s) n"
                    " ON CONFLICT DO NOTHING",
                    (keys - 1,),
                )
        finally:
            connection.close()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(threads)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, timeout: float = 60) -> None:
        """Returns when what each event came to is known; the server has to be up for that."""
        self._stop.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            raise AssertionError(f"a writer did not end in {timeout:g} s: is the server up?")
        if self._failure is not None:
            raise self._failure

    # -- inside ----------------------------------------------------------------------------------

    def _run(self, number: int) -> None:
        connection = None
        pending: tuple[str, str, int] | None = None  # a commit whose answer was lost
        turn = number
        try:
            while pending is not None or not self._stop.is_set():
                try:
                    if connection is None:
                        connection = self._connect()
                    if pending is not None:
                        self._resolve(connection, *pending)
                        pending = None
                        continue
                    turn += 1
                    key = f"key-{(turn * 7919 + number) % self._keys}"
                    pending = self._write(connection, key, turn)
                    if pending is not None:
                        self._commit(connection, turn)
                        self._count(*pending, committed=True)
                        pending = None
                    if self._pause_s:
                        self._stop.wait(self._pause_s)
                except (psycopg2.OperationalError, psycopg2.InterfaceError):
                    if connection is not None:
                        connection.close()
                        connection = None
                        with self._lock:
                            self.reconnects += 1
                    self._stop.wait(0.05)  # the server is away: not in a tight loop
        except BaseException as error:
            self._failure = error
        finally:
            if connection is not None:
                connection.close()

    def _write(self, connection: Any, key: str, turn: int) -> tuple[str, str, int] | None:
        """The transaction up to its commit, or rolled back to its end (None)."""
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE aggregate SET version = version + 1 WHERE id = %s RETURNING version", (key,)
            )
            version = cursor.fetchone()[0]
            event_id = insert(connection, self._aggregatetype, key, payload=self._payload)
            if self._rollback_every and turn % self._rollback_every == 0:
                connection.rollback()
                self._count(event_id, key, version, committed=False)
                return None
            cursor.execute("INSERT INTO written (id) VALUES (%s)", (event_id,))
        return event_id, key, version

    def _commit(self, connection: Any, turn: int) -> None:
        connection.commit()

    def _resolve(self, connection: Any, event_id: str, key: str, version: int) -> None:
        with connection, connection.cursor() as cursor:
            # Its transaction may still be ending: it holds this row until it has.
            cursor.execute("SELECT FROM aggregate WHERE id = %s FOR UPDATE", (key,))
            # A second statement, so that its snapshot is from after that.
            cursor.execute("SELECT FROM written WHERE id = %s", (event_id,))
            committed = cursor.fetchone() is not None
        self._count(event_id, key, version, committed=committed)

    def _count(self, event_id: str, key: str, version: int, *, committed: bool) -> None:
        if committed:
            self._oracle.committed(event_id, self._topic, key, order=version)
        else:
            self._oracle.rolled_back(event_id)
        with self._lock:
            if committed:
                self.committed += 1
            else:
                self.rolled_back += 1
