"""`adopt --slot`: what has to be so before the relay reads on where another's slot stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.adopted import DEBEZIUM, migrate, printed, run
from support.postgres import Postgres, PostgresError
from support.relay import command

_MAKE = "SELECT pg_create_logical_replication_slot(%s, %s)"
_INSERT = """
INSERT INTO outbox (id, aggregatetype, aggregateid, type)
VALUES (gen_random_uuid(), 'order', '1', 'Placed')
"""
_DROP = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"


class Adopted:
    """An outbox of Debezium's, and slots beside it."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.db = server.createdb(migrated=False)
        self.slot = f"debezium_{self.db}"
        self._connection = server.connect(self.db, autocommit=True)
        self.sql(DEBEZIUM.format(table="outbox"))

    def sql(self, text: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(text, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def refused(self, code: int, slot: str | None = None) -> str:
        settings = {"postgres.uri": self.server.uri(self.db)}
        done = command("adopt", "--slot", slot or self.slot, settings=settings)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        return done.stderr

    def close(self) -> None:
        self.sql(_DROP, self.db)
        self._connection.close()


@pytest.fixture
def adopted(wal_server: Postgres) -> Iterator[Adopted]:
    made = Adopted(wal_server)
    yield made
    made.close()


def test_a_slot_has_to_have_passed_the_migration(adopted: Adopted) -> None:
    adopted.sql(_MAKE, adopted.slot, "pgoutput")
    adopted.sql(_INSERT)
    assert "is not adopted yet" in adopted.refused(78)
    migrate(adopted.server, adopted.db)
    assert "and the migration ended at" in adopted.refused(69)
    adopted.sql(_INSERT)
    adopted.sql("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", adopted.slot)
    statement = printed(adopted.server, adopted.db, "--slot", adopted.slot)
    run(adopted.server, adopted.db, statement)
    ((slot, same, snapshot),) = adopted.sql(
        "SELECT slot, l.confirmed_lsn = s.confirmed_flush_lsn, slot_snapshot"
        " FROM outbox_lease l, pg_replication_slots s WHERE slot_name = %s",
        adopted.slot,
    )
    assert (slot, same, snapshot) == (adopted.slot, True, None)
    assert f'reads slot "{adopted.slot}" already' in adopted.refused(78)
    with pytest.raises(PostgresError, match="is not there, is being read, or has not passed"):
        run(adopted.server, adopted.db, statement)


def test_another_slot_is_refused(adopted: Adopted) -> None:
    migrate(adopted.server, adopted.db)
    assert "there is no slot" in adopted.refused(78)
    adopted.sql(_MAKE, adopted.slot, "test_decoding")
    assert "not of this database and of plugin pgoutput" in adopted.refused(78)
    other = adopted.server.createdb()
    connection = adopted.server.connect(other, autocommit=True)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_MAKE, (f"of_{other}", "pgoutput"))
            assert "not of this database" in adopted.refused(78, f"of_{other}")
            cursor.execute("SELECT pg_drop_replication_slot(%s)", (f"of_{other}",))
    finally:
        connection.close()


def test_the_migration_has_to_have_come_to_its_end(adopted: Adopted) -> None:
    """Its last statement: a position behind all others."""
    migrate(adopted.server, adopted.db)
    adopted.sql(_MAKE, adopted.slot, "pgoutput")
    adopted.sql("UPDATE outbox_lease SET confirmed_lsn = NULL")
    assert "has not been run to its end" in adopted.refused(78)
    migrate(adopted.server, adopted.db)
    adopted.sql("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", adopted.slot)
    printed(adopted.server, adopted.db, "--slot", adopted.slot)
