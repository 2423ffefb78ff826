"""What tests of source.slot are made of: events that no table keeps, and the slot's position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from support.messages import LogLoad, emit
from support.relay import Relay
from support.wait import wait_for
from support.wal import WalScene
from support.writer import insert

LEASE = {"lease.ttl_ms": 2000}  # a killed owner keeps the outbox for so long

_LEASE = """
SELECT slot, slot_server, slot_snapshot, confirmed_lsn::text FROM outbox_lease WHERE shard = 0
"""
_STANDS = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
_LOSE_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'outbox-relay%'
    AND backend_type = 'client backend'
"""


def emit_text(
    connection: Any, content: str, *, prefix: str = "outbox", transactional: bool = True
) -> str:
    """A logical message of that content; its LSN."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_logical_emit_message(%s, %s, %s)::text", (transactional, prefix, content)
        )
        return str(cursor.fetchone()[0])


def insert_and_delete(connection: Any, aggregatetype: str, aggregateid: str, **columns: Any) -> str:
    """One event whose row its own transaction takes away again; its id."""
    event_id = insert(connection, aggregatetype, aggregateid, **columns)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM outbox WHERE id = %s", (event_id,))
    return event_id


@dataclass(frozen=True)
class Lease:
    """What it says of the slot."""

    slot: str | None
    server: str | None
    snapshot: str | None
    confirmed: str | None


class SlotScene(WalScene):
    """Its relays read a slot of the scene's own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sent = "0/0"  # the last transaction of send(), before its commit

    def relay_settings(self) -> dict[str, Any]:
        """What a command needs to know of the same outbox."""
        return {
            "postgres.uri": self.postgres.uri(self.db),
            "kafka.bootstrap.servers": self.kafka.bootstrap,
            **self.slot_settings(),
        }

    def relay(
        self, settings: Mapping[str, Any] | None = None, env: Mapping[str, str | None] | None = None
    ) -> Relay:
        return super().relay({**self.slot_settings(), **(settings or {})}, env)

    def emit(
        self, connection: Any, count: int = 1, *, keys: int = 10, **columns: Any
    ) -> list[tuple[str, str, str]]:
        """That many messages in the connection's transaction; id, topic and key of each."""
        keyed = [f"key-{n % keys}" for n in range(count)]
        topic = str(columns.get("topic") or self.topic)
        with connection.cursor() as cursor:
            return [
                (emit(cursor, self.aggregatetype, key, **columns), topic, key) for key in keyed
            ]

    def send(self, count: int = 1, **options: Any) -> list[str]:
        """The same in a transaction of its own, committed and told to the oracle; their ids."""
        connection = self.postgres.connect(self.db)
        try:
            with connection:
                events = self.emit(connection, count, **options)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
                    self._sent = cursor.fetchone()[0]
            self.told(events)
        finally:
            connection.close()
        return [event_id for event_id, _, _ in events]

    def log_load(self, **options: Any) -> LogLoad:
        options = {"aggregatetype": self.aggregatetype, "pause_s": 0.002, **options}
        return LogLoad(lambda: self.postgres.connect(self.db), self.oracle, **options)

    # -- the slot --------------------------------------------------------------------------------

    def lease(self) -> Lease:
        return Lease(*self.sql(_LEASE)[0])

    def stands(self) -> str:
        """Up to where the server's slot was confirmed."""
        return str(self.sql(_STANDS, self.db)[0][0])

    def wait_stored(self, timeout: float = 20) -> str:
        """Until the lease's position is behind the last transaction of send(); that position."""
        wait_for(
            lambda: self.sql("SELECT confirmed_lsn > %s FROM outbox_lease", self._sent)[0][0],
            f"confirmed_lsn to pass {self._sent}",
            timeout,
        )
        return str(self.lease().confirmed)

    def expire_lease(self) -> None:
        """As if a killed owner's time had passed."""
        self.sql("UPDATE outbox_lease SET renewed_at = renewed_at - interval '1 hour'")

    def lose_sessions(self) -> None:
        """Of a relay that was killed: what they still wait for is not carried out."""
        self.sql(_LOSE_SESSIONS)
        wait_for(lambda: not self.sql(_LOSE_SESSIONS), "the killed relay's sessions to end")
