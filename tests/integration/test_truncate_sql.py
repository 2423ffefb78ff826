"""TRUNCATE fences the acknowledgements of rows that it took away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.postgres import Postgres
from support.sleeper import Sleeper, insert, insert_and_commit
from support.wait import wait_for


@pytest.fixture
def relay(postgres: Postgres, db: str) -> Iterator[Sleeper]:
    with contextlib.closing(Sleeper(postgres, db)) as sleeper:
        yield sleeper


@pytest.fixture
def writer(postgres: Postgres, db: str) -> Iterator[Any]:
    with contextlib.closing(postgres.connect(db)) as connection:
        yield connection


@pytest.fixture
def other(postgres: Postgres, db: str) -> Iterator[Any]:
    with contextlib.closing(postgres.connect(db)) as connection:
        yield connection


@pytest.mark.parametrize("how", ["", " RESTART IDENTITY", " CASCADE"])
def test_truncate_advances_every_epoch(relay: Sleeper, writer: Any, how: str) -> None:
    relay.one("INSERT INTO outbox_lease (shard, epoch) VALUES (1, 41)")
    insert_and_commit(writer)
    writer.cursor().execute("TRUNCATE outbox" + how)
    writer.commit()
    assert relay.one("SELECT array_agg(epoch ORDER BY shard) FROM outbox_lease") == [1, 42]


def test_a_truncate_that_is_rolled_back_does_not(relay: Sleeper, writer: Any) -> None:
    insert_and_commit(writer)
    writer.cursor().execute("TRUNCATE outbox RESTART IDENTITY")
    writer.rollback()
    assert relay.one("SELECT epoch FROM outbox_lease") == 0
    assert relay.rows() == 1


@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "late"])
def test_an_acknowledgement_from_before_deletes_nothing(
    relay: Sleeper, writer: Any, other: Any, waits: bool
) -> None:
    """Its seq comes again behind TRUNCATE ... RESTART IDENTITY, for another event."""
    ack = (
        "DELETE FROM outbox USING outbox_lease AS lease WHERE outbox.seq = ANY ('{1}')"
        " AND lease.shard = 0 AND lease.epoch = 0"
    )
    insert_and_commit(writer)
    writer.cursor().execute("TRUNCATE outbox RESTART IDENTITY")
    insert(writer)
    with ThreadPoolExecutor(1) as pool:
        if waits:
            acked = pool.submit(other.cursor().execute, ack)
            wait_for(
                lambda: relay.one(
                    "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass"
                ),
                "the acknowledgement to wait for the TRUNCATE",
            )
            writer.commit()
            acked.result(20)
        else:
            writer.commit()
            other.cursor().execute(ack)
    other.commit()
    assert relay.one("SELECT seq FROM outbox") == 1
