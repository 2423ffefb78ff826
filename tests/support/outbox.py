"""One outbox, its topic and its judge: what the tests of the table source are written with.

    outbox.relay({"ack.mode": "mark"})             # a relay, ready
    late = outbox.connect()
    events = outbox.insert(late, 50, keys="late")  # (id, key) of each, in the order of seq
    late.commit()
    outbox.committed(events)
    outbox.settle()                                # all consumed, judged, none left to publish
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from support.oracle import Oracle
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for

Events = list[tuple[str, str]]

_INSERT = """
INSERT INTO outbox (aggregatetype, aggregateid, type, payload)
SELECT %s, %s || '-' || n %% %s, 'Tested',
    ('{"n": ' || n || ', "fill": "' || repeat('x', %s) || '"}')::json
FROM generate_series(1, %s) AS n
RETURNING id::text, aggregateid
"""


class Outbox:
    def __init__(
        self,
        server: Postgres,
        db: str,
        aggregatetype: str,
        oracle: Oracle,
        start: Callable[..., Relay],
    ) -> None:
        self.server = server
        self.db = db
        self.aggregatetype = aggregatetype
        self.topic = f"outbox.event.{aggregatetype}"
        self.oracle = oracle
        self.mark = False
        self._start = start
        self._open: list[Any] = []
        self._own: Any = None

    def close(self) -> None:
        for connection in self._open:
            with contextlib.suppress(Exception):
                connection.close()
        self._open.clear()
        self._own = None

    # -- the relay -------------------------------------------------------------------------------

    def relay(self, settings: dict[str, Any] | None = None, *, ready: bool = True) -> Relay:
        """Started on this outbox; the fixture ends it."""
        settings = {"postgres.uri": self.server.uri(self.db), **(settings or {})}
        self.mark = settings.get("ack.mode") == "mark"
        relay = self._start(settings)
        return relay.wait_ready() if ready else relay

    # -- the database ----------------------------------------------------------------------------

    def connect(self, **options: Any) -> Any:
        """A connection that is closed at the test's end."""
        connection = self.server.connect(self.db, **options)
        self._open.append(connection)
        return connection

    def one(self, sql: str, *arguments: Any) -> Any:
        """The first value of the first row, outside of any transaction; None without one."""
        with self._plain().cursor() as cursor:
            cursor.execute(sql, arguments or None)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with self._plain().cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return cursor.fetchall()

    def waiting(self) -> int:
        """How many rows are still to be published or acknowledged."""
        return self.one("SELECT count(*) FROM outbox WHERE published_at IS NULL")

    # -- events ----------------------------------------------------------------------------------

    def insert(
        self,
        connection: Any,
        count: int = 1,
        *,
        keys: str = "key",
        spread: int = 10,
        fill: int = 50,
    ) -> Events:
        """count events in one statement, under spread keys that begin with keys."""
        with connection.cursor() as cursor:
            cursor.execute(_INSERT, (self.aggregatetype, keys, spread, fill, count))
            return cursor.fetchall()

    def write(self, count: int = 1, **options: Any) -> Events:
        """The same in a transaction of its own, committed and told to the judge."""
        events = self.insert(self._plain(), count, **options)
        self.committed(events)
        return events

    def committed(self, events: Iterable[tuple[str, str]], **options: Any) -> None:
        for event_id, key in events:
            self.oracle.committed(event_id, self.topic, key, **options)

    def rolled_back(self, events: Iterable[tuple[str, str]]) -> None:
        for event_id, _ in events:
            self.oracle.rolled_back(event_id)

    # -- judging ---------------------------------------------------------------------------------

    def settle(self, timeout: float = 30, *, max_duplicates: int = 0) -> None:
        """Every committed event came, in order, and its row is gone or marked."""
        try:
            self.oracle.wait(timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._waiting_text()}") from None
        self.oracle.verify(max_duplicates)
        wait_for(lambda: self.waiting() == 0, "every row to be acknowledged", timeout)
        kept = self.one("SELECT count(*) FROM outbox")
        assert (kept > 0) == (self.mark and bool(self.oracle.events)), f"{kept} rows are kept"

    # -- inside ----------------------------------------------------------------------------------

    def _waiting_text(self) -> str:
        rows = self.rows(
            "SELECT seq, id, xid, pg_current_snapshot() FROM outbox"
            " WHERE published_at IS NULL ORDER BY seq LIMIT 10"
        )
        lines = [f"  seq {seq} id {id_} xid {xid}, as of {now}" for seq, id_, xid, now in rows]
        return "\n".join([f"{self.waiting()} rows wait in the table:", *lines])

    def _plain(self) -> Any:
        if self._own is None:
            self._own = self.connect(autocommit=True)
        return self._own
