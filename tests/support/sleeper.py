"""The relay's part in the wake-up by plain SQL: it listens, asks for the lock, and reads."""

from __future__ import annotations

import select
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from support.postgres import Postgres
from support.wait import wait_for

LOCK_CLASS = 1869967992  # 'outx'
INSERT = (
    "INSERT INTO outbox (aggregatetype, aggregateid, type, payload) VALUES ('a', 'k', 't', '{}')"
)


def insert(connection: Any) -> None:
    connection.cursor().execute(INSERT)


def insert_and_commit(connection: Any) -> None:
    insert(connection)
    connection.commit()


class Sleeper:
    """The relay's side: a session that listens and reads, one that asks for the lock and waits."""

    def __init__(self, server: Postgres, db: str) -> None:
        self.listener = server.connect(db, autocommit=True)
        self.side = server.connect(db, autocommit=True)
        self.lock = server.connect(db, autocommit=True)
        self.pool = ThreadPoolExecutor(1)
        self.asked: Future[None] | None = None
        self.oid = self.one("SELECT 'outbox'::regclass::oid::bigint")
        self.key = (LOCK_CLASS << 32) | self.oid
        self.channel = f"outbox_relay_{self.oid}"
        self.marker = f"marker_{self.listener.info.backend_pid}"
        self.listener.cursor().execute(f"LISTEN {self.marker}; LISTEN {self.channel}")

    def close(self) -> None:
        if self.asked is not None and not self.asked.done():
            self.terminate_lock()
        self.pool.shutdown()
        for connection in (self.listener, self.side, self.lock):
            connection.close()

    def one(self, sql: str, *args: Any) -> Any:
        cursor = self.side.cursor()
        cursor.execute(sql, args or None)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def ask(self, lock_timeout: str = "0") -> Future[None]:
        """Ask for the exclusive lock; return once the request is granted or stands in the queue."""

        def wait() -> None:
            with self.lock.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", (lock_timeout,))
                cursor.execute("SELECT pg_advisory_lock(%s)", (self.key,))

        asked = self.asked = self.pool.submit(wait)
        wait_for(lambda: asked.done() or self.waits(), "the request for the lock")
        return asked

    def waits(self) -> bool:
        """Whether the request stands in the queue, not granted."""
        return self.lock_count("NOT granted AND mode = 'ExclusiveLock'", self.lock) == 1

    def granted(self) -> None:
        """Wait for the grant."""
        assert self.asked is not None
        self.asked.result(20)

    def awake(self) -> None:
        """Give the lock back."""
        with self.lock.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (self.key,))
            assert cursor.fetchone()[0] is True

    def asleep(self) -> None:
        """Go to sleep with nobody writing."""
        self.ask()
        self.granted()
        self.notifications()

    def terminate_lock(self) -> None:
        self.one("SELECT pg_terminate_backend(%s, 20000)", self.lock.info.backend_pid)

    def lock_count(self, condition: str, holder: Any = None) -> int:
        """How many of the wake-up locks in pg_locks meet the condition."""
        return self.one(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
            " AND classid::bigint = %s AND objid::bigint = %s AND (%s IS NULL OR pid = %s) AND "
            + condition,
            LOCK_CLASS,
            self.oid,
            *[holder and holder.info.backend_pid] * 2,
        )

    def shared(self) -> int:
        """How many transactions hold the lock in the writers' way."""
        return self.lock_count("granted AND mode = 'ShareLock'")

    def notifications(self) -> int:
        """How many came for what committed before this call, since the last call.

        Notifications arrive in the order of commits, so behind a marker of our own nothing is left.
        """
        self.one("SELECT pg_notify(%s, '')", self.marker)
        count = 0
        while True:
            assert select.select([self.listener], [], [], 20)[0], "the marker does not come"
            self.listener.poll()
            while self.listener.notifies:
                notify = self.listener.notifies.pop(0)
                if notify.channel == self.marker:
                    assert not self.listener.notifies
                    return count
                assert (notify.channel, notify.payload) == (self.channel, "")
                count += 1

    def rows(self) -> int:
        """What a read sees now."""
        return self.one("SELECT count(*) FROM outbox")
