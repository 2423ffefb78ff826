"""What the tests of logical decoding are made of: a scene that knows of slots and walsenders."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

import psycopg2
from support.relay import Relay
from support.scene import Scene
from support.wait import wait_for
from support.writer import Load, insert

SERVER = {
    "wal_level": "logical",
    "max_prepared_transactions": "50",
    "log_replication_commands": "on",
}

_SLOTS = """
SELECT slot_name, active_pid, confirmed_flush_lsn IS NOT NULL FROM pg_replication_slots
WHERE database = current_database()
"""
_WALSENDERS = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = current_database()
"""
_BEHIND = """
SELECT pg_wal_lsn_diff(%s, {column}) FROM pg_replication_slots
WHERE database = current_database()
"""


class WalScene(Scene):
    """Its relays stream; source.mode is wal."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._open: list[Any] = []
        self._named = False

    # -- its parts -------------------------------------------------------------------------------

    def relay(
        self, settings: Mapping[str, Any] | None = None, env: Mapping[str, str | None] | None = None
    ) -> Relay:
        return super().relay({"source.mode": "wal", **(settings or {})}, env)

    def streaming(self, settings: Mapping[str, Any] | None = None) -> Relay:
        """One more relay, that streams by now."""
        relay = self.relay(settings).wait_ready()
        self.wait_streaming(relay)
        return relay

    def connect(self, db: str | None = None, **options: Any) -> Any:
        """A connection that is closed at the end."""
        connection = self.postgres.connect(db or self.db, **options)
        self._open.append(connection)
        return connection

    def blocker(self) -> Any:
        """An open transaction that has written, in another database: no slot is ready before it
        has ended."""
        connection = self.connect("postgres")
        connection.cursor().execute("SELECT pg_current_xact_id()")
        return connection

    def mixed_load(self, **options: Any) -> MixedLoad:
        options = {"aggregatetype": self.aggregatetype, **options}
        return MixedLoad(lambda: self.postgres.connect(self.db), self.oracle, **options)

    # -- looking ---------------------------------------------------------------------------------

    def slots(self) -> list[tuple[str, int, bool]]:
        """Name, walsender and whether it is ready, of this database's."""
        return self.sql(_SLOTS)

    def walsenders(self) -> list[int]:
        return [pid for (pid,) in self.sql(_WALSENDERS)]

    def wait_streaming(self, relay: Relay, *, after: int = 0, timeout: float = 60) -> int:
        """Until it streams, from another walsender than after; that one's pid."""

        def streams() -> int:
            found = self.slots()
            if len(found) != 1 or not found[0][2] or found[0][1] in (None, after):
                return 0
            if relay.get("/livez")[0] != 200:
                return 0  # it has just been started, and the slot was another one's
            return found[0][1] if self.mode(relay) == "wal" else 0

        return relay_wait(relay, streams, "it to stream", timeout)

    def wait_making(self, relay: Relay, timeout: float = 60) -> int:
        """Until a slot is being made; its walsender."""

        def being_made() -> int:
            found = self.slots()
            return found[0][1] if found and not found[0][2] and found[0][1] else 0

        return relay_wait(relay, being_made, "a slot to be made", timeout)

    def slot_settings(self) -> dict[str, Any]:
        """source.slot, of a name of this scene's own, dropped at its end."""
        self._named = True
        return {"source.slot": self.db}

    def wait_no_slot(self, timeout: float = 30) -> None:
        wait_for(lambda: not self.slots(), "the slot to be gone", timeout)

    def end_walsender(self) -> None:
        assert self.sql(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
            " WHERE database = current_database() AND active_pid IS NOT NULL"
        )

    def lsn(self) -> str:
        return self.sql("SELECT pg_current_wal_lsn()::text")[0][0]

    def wait_position(
        self, lsn: str, *, column: str = "confirmed_flush_lsn", timeout: float = 20
    ) -> None:
        """Until the slot has come so far."""
        query = _BEHIND.format(column=column)
        wait_for(
            lambda: [behind for (behind,) in self.sql(query, lsn) if behind <= 0],
            f"{column} to reach {lsn}",
            timeout,
        )

    def mode(self, relay: Relay) -> str:
        return str(relay.status()["source"]["mode"])

    # -- ending ----------------------------------------------------------------------------------

    def close(self) -> None:
        """What a failed test left open would hold up the next one's slot."""
        for connection in self._open:
            with contextlib.suppress(Exception):
                connection.close()
        with contextlib.suppress(psycopg2.Error):
            for (gid,) in self.sql(
                "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
            ):
                self.sql(f"ROLLBACK PREPARED '{gid}'")
        super().close()
        if self._named:
            wait_for(self._drop_slot, "the slot to be free", 30)

    def forget_slot(self) -> None:
        """Begin anew, in the words of the relay's errors."""
        wait_for(self._drop_slot, "the slot to be free", 30)
        self.sql("UPDATE outbox_lease SET slot = NULL")

    def _drop_slot(self) -> bool:
        with contextlib.suppress(psycopg2.errors.ObjectInUse):
            self.sql(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = %s",
                self.db,
            )
            return True
        return False


class MixedLoad(Load):
    """Every third event is written in a savepoint, beside one of another that is undone; every
    fifth transaction is prepared before it commits."""

    def _write(self, connection: Any, key: str, turn: int) -> tuple[str, str, int] | None:
        nested = turn % 3 == 0
        if nested:
            connection.cursor().execute("SAVEPOINT kept")
        written = super()._write(connection, key, turn)
        if nested and written is not None:
            connection.cursor().execute("SAVEPOINT undone")
            self._oracle.rolled_back(insert(connection, self._aggregatetype, key, payload="{}"))
            connection.cursor().execute("ROLLBACK TO undone")
        return written

    def _commit(self, connection: Any, turn: int) -> None:
        if turn % 5 != 0:
            connection.commit()
            return
        gid = str(uuid.uuid4())
        connection.cursor().execute(f"PREPARE TRANSACTION '{gid}'")
        connection.commit()  # there is no transaction any more; the client learns it by this
        connection.autocommit = True
        connection.cursor().execute(f"COMMIT PREPARED '{gid}'")
        connection.autocommit = False


def relay_wait(relay: Relay, condition: Any, what: str, timeout: float) -> Any:
    """wait_for, that ends with the relay and shows its log."""
    found: list[Any] = []

    def check() -> bool:
        found[:] = [condition()]
        return bool(found[0])

    relay.process.wait_until(check, what, timeout)
    return found[0]
