"""The slot: made, lost, made again under any load, given up; and nothing of it stays behind."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for
from support.wal import SERVER, WalScene

LEASE = {"lease.ttl_ms": 2000}  # a killed owner keeps the outbox for so long
GIVEN_UP = r"the slot held back \d+ MiB of WAL, over source\.wal_budget \(16 MiB\), and was given up"


def said(relay: Relay, pattern: str) -> list[str]:
    lines = [str(line["msg"]) for line in relay.log_lines()]
    return [line for line in lines if re.search(pattern, line)]


def fill(wal: WalScene, mebibytes: int) -> None:
    """So much WAL by a neighbour."""
    wal.sql("CREATE TABLE IF NOT EXISTS neighbour (fill text)")
    wal.sql(
        "INSERT INTO neighbour SELECT repeat('x', 1000) FROM generate_series(1, %s)",
        mebibytes * 1000,
    )


# -- seams ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ack_mode", ["mark"], indirect=True)
def test_walsenders_end_under_full_load(wal: WalScene, ack_mode: str) -> None:
    """From the stream to the table and back, with all kinds of transactions under way."""
    wal.ack_mode = ack_mode
    relay = wal.streaming()
    with wal.mixed_load(threads=8, keys=40):
        walsender = wal.wait_streaming(relay)
        for _ in range(8):
            wal.wait_seen(200)
            wal.end_walsender()
            walsender = wal.wait_streaming(relay, after=walsender)
        wal.wait_seen(200)
    wal.judge(timeout=120)
    assert relay.metric("swept_events_total") == 0


@pytest.mark.parametrize("session", ["wal", "slot"])
def test_a_slot_that_is_being_made_is_lost(wal: WalScene, session: str) -> None:
    """Either of its two sessions ends, while it waits for a transaction."""
    blocker = wal.blocker()
    relay = wal.relay().wait_ready()
    with wal.load(pause_s=0.01):
        walsender = wal.wait_making(relay)
        for _ in range(2):
            wal.wait_seen(50)
            ended = wal.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE %s",
                f"outbox-relay {session}%",
            )
            assert ended == [(True,)]
            gone = walsender
            wait_for(lambda: gone not in wal.walsenders(), "the walsender to end")
            walsender = wal.wait_making(relay)
        blocker.rollback()
        wal.wait_streaming(relay)
        wal.wait_seen(50)
    wal.judge()


# -- nothing stays behind --------------------------------------------------------------------------


def test_killed_while_it_streams(wal: WalScene) -> None:
    wal.write(50)
    relay = wal.streaming()
    wal.write(50)
    wal.judge()
    relay.kill()
    wal.wait_no_slot()
    wait_for(lambda: not wal.walsenders(), "the walsender to end")


@pytest.fixture(scope="module")
def small_server() -> Iterator[Postgres]:
    with Postgres({**SERVER, "max_wal_senders": "3"}) as server:
        yield server


def test_killed_while_its_slot_is_made(
    small_server: Postgres, kafka: Kafka, tmp_path: pathlib.Path
) -> None:
    """Its walsender waits on and sees no dead client: the next relay ends it."""
    wal = WalScene(small_server, kafka, tmp_path)
    most = 0

    def one_made() -> bool:
        nonlocal most
        most = max(most, len(wal.walsenders()))
        found = [pid for _, pid, _ in wal.slots() if pid not in left]
        left.extend(found)
        return bool(found)

    try:
        blocker = wal.blocker()
        left: list[int] = []
        for _ in range(5):
            relay = wal.relay(LEASE)
            wait_for(one_made, "a slot to be made", 60)
            wal.write(20)
            wal.oracle.wait(30)
            relay.kill()
            assert wal.slots(), "nobody has told the server"
        relay = wal.relay(LEASE)
        wait_for(one_made, "a slot to be made", 60)
        blocker.rollback()
        wal.wait_streaming(relay)
        assert len(wal.walsenders()) == 1
        wal.write(20)
        wal.judge(max_duplicates=5 * 20)
        assert most <= 2, f"{most} walsenders at a time"
    finally:
        wal.close()


# -- transactions that stay open -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["session", "prepared"])
def test_an_open_transaction_is_waited_for(wal: WalScene, kind: str) -> None:
    blocker = wal.connect(None if kind == "prepared" else "postgres", application_name="nightly job")
    blocker.cursor().execute("SELECT pg_current_xact_id()")
    names = rf"process {blocker.info.backend_pid} \(nightly job\), in a transaction since"
    if kind == "prepared":
        blocker.cursor().execute("PREPARE TRANSACTION 'forgotten'")
        names = "prepared transaction 'forgotten'"
    relay = wal.relay().wait_ready()
    with wal.load(pause_s=0.005):
        relay.wait_log(rf"logical decoding: the slot waits for {names}", 60)
        assert wal.mode(relay) != "wal"
        wal.wait_seen(200)
        if kind == "prepared":
            wal.sql("COMMIT PREPARED 'forgotten'")
        else:
            blocker.rollback()
        wal.wait_streaming(relay)
        wal.wait_seen(200)
    wal.judge()
    assert len(said(relay, "the slot waits for")) == 1


# -- the budget ------------------------------------------------------------------------------------


def asked_for(wal: WalScene) -> int:
    """Slots of this database that were ever asked for."""
    text = wal.postgres.log_path.read_text(errors="replace")
    return len(re.findall(rf"@{wal.db}/.*replication command: CREATE_REPLICATION_SLOT", text))


def test_over_the_budget_while_it_is_made(wal: WalScene) -> None:
    """Given up, and not made again for as long as it would only wait for the same transaction."""
    blocker = wal.blocker()
    relay = wal.relay({"source.wal_budget": "16MiB"}).wait_ready()
    wal.wait_making(relay)
    fill(wal, 60)
    relay.wait_log(GIVEN_UP + rf"; it waited for process {blocker.info.backend_pid} ", 60)
    wal.wait_no_slot()
    count = asked_for(wal)
    relay.wait_log(r"transaction \d+ is still open, which the last slot waited for", 60)
    wal.write(100)
    wal.judge()
    assert asked_for(wal) == count == 1
    assert not wal.walsenders()
    blocker.rollback()
    wal.wait_streaming(relay, timeout=90)
    assert asked_for(wal) == 2
    wal.write(100)
    wal.judge()
    assert len(said(relay, GIVEN_UP)) == 1
