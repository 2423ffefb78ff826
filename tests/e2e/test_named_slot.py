"""source.slot: a slot that outlives the relay, for logical messages and for services that delete
their own event rows. Its position is in the lease; the table is read for what came before it."""

from __future__ import annotations

import base64
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.messages import LogLoad, emit
from support.postgres import Postgres
from support.scene import WINDOW
from support.wait import wait_for
from support.wal import SERVER, WalScene
from support.writer import insert

LEASE = {"lease.ttl_ms": 2000}  # a killed owner keeps the outbox for so long


@pytest.fixture(scope="module")
def frail_server() -> Iterator[Postgres]:
    with Postgres(SERVER, fsync=True) as server:
        yield server


@pytest.fixture
def frail(
    frail_server: Postgres, kafka: Kafka, tmp_path: pathlib.Path
) -> Iterator[WalScene]:
    made = WalScene(frail_server, kafka, tmp_path)
    yield made
    made.close()


def log_load(wal: WalScene, **options: Any) -> LogLoad:
    options = {"aggregatetype": wal.aggregatetype, "pause_s": 0.002, **options}
    return LogLoad(lambda: wal.postgres.connect(wal.db), wal.oracle, **options)


def message(wal: WalScene, key: str = "k", **fields: Any) -> str:
    """One in a transaction of its own, told to the oracle."""
    connection = wal.connect()
    with connection, connection.cursor() as cursor:
        event_id = emit(cursor, wal.aggregatetype, key, **fields)
    wal.oracle.committed(event_id, str(fields.get("topic") or wal.topic), key)
    return event_id


def confirmed(wal: WalScene) -> str | None:
    return wal.sql("SELECT confirmed_lsn::text FROM outbox_lease")[0][0]


# -- what is an event ------------------------------------------------------------------------------


def test_messages_and_rows_come_in_the_order_of_commits(wal: WalScene) -> None:
    """Also with source.mode=auto, where NOTIFY would work: the slot is never left."""
    relay = wal.streaming({**wal.slot_settings(), "source.mode": "auto"})
    one, other = wal.connect(), wal.connect()
    for turn in range(10):
        with one.cursor() as cursor, other.cursor() as later:
            first = emit(later, wal.aggregatetype, "k")
            second = emit(cursor, wal.aggregatetype, "k")
            third = insert(one, wal.aggregatetype, "k")
            cursor.execute("SAVEPOINT s")
            wal.oracle.rolled_back(emit(cursor, wal.aggregatetype, "k"))
            cursor.execute("ROLLBACK TO s")
            one.commit()
            later.execute("DELETE FROM outbox WHERE aggregateid = 'k'")
            if turn % 3 == 0:
                other.rollback()
                wal.oracle.rolled_back(first)
            else:
                other.commit()
        wal.oracle.committed(second, wal.topic, "k")
        wal.oracle.committed(third, wal.topic, "k")
        if turn % 3 != 0:
            wal.oracle.committed(first, wal.topic, "k")
    with log_load(wal):
        wal.wait_seen(300)
    wal.judge()
    assert wal.mode(relay) == "wal"
    assert relay.status()["source"]["slot"]["name"] == wal.db


def test_what_a_message_holds(wal: WalScene) -> None:
    relay = wal.streaming(wal.slot_settings())
    topic = f"{wal.topic}.other"
    wal.kafka.create_topic(topic, partitions=3)
    raw = bytes(range(256))
    large = "ö" * 400_000
    before = time.time()
    ids = [
        message(wal, payload={"large": large}),
        message(wal, payload=None, payload_bytes=base64.b64encode(raw).decode()),
        message(wal, topic=topic, partition=2, headers={"a": "x", "b": None, "c": 1.5}),
        message(wal, payload=None),
        message(wal, payload="text", created_at="2024-02-29T12:00:00.25+01:00"),
    ]
    wal.judge()
    found = [wal.oracle.records_of(event_id)[0] for event_id in ids]
    assert json.loads(found[0].value or b"") == {"large": large}
    assert found[1].value == raw
    assert (found[2].topic, found[2].partition) == (topic, 2)
    assert dict(found[2].headers or [])["a"] == b"x"
    assert dict(found[2].headers or [])["c"] == b"1.5"
    assert found[3].value is None
    assert found[4].value == b'"text"'
    assert found[4].timestamp_ms == 1709204400250
    assert before - 1 <= found[0].timestamp_ms / 1000 <= time.time() + 1
    relay.stop()


def test_an_id_of_its_own_is_the_same_each_time(wal: WalScene) -> None:
    """Of a message without one, which the relay cannot store as done before it is killed."""
    settings = {**wal.slot_settings(), **LEASE}
    relay = wal.streaming(settings)
    lock, writer = wal.connect(), wal.connect()
    lock.cursor().execute("SELECT FROM outbox_lease FOR UPDATE")
    with writer, writer.cursor() as cursor:
        emit(cursor, wal.aggregatetype, "k", id=None)
    wal.oracle.watch(wal.topic)
    wait_for(lambda: wal.oracle.count(wal.topic) == 1, "its record", 30)
    relay.kill()
    lock.rollback()
    wal.streaming(settings)
    wait_for(lambda: wal.oracle.count(wal.topic) == 2, "its record, again", 30)
    one, other = (record.id for record in wal.oracle.records)
    assert one == other
    assert (one or "")[14] == "8", "a uuid of version 8"


def test_prefixes(wal: WalScene) -> None:
    relay = wal.streaming({**wal.slot_settings(), "source.message_prefix": "orders"})
    connection = wal.connect()
    with connection, connection.cursor() as cursor:
        wal.oracle.rolled_back(emit(cursor, wal.aggregatetype, "k", prefix="outbox"))
        cursor.execute("SELECT pg_logical_emit_message(true, 'orders.x', 'not ours')")
        cursor.execute("SELECT pg_logical_emit_message(false, 'orders', '{}')")
        mine = emit(cursor, wal.aggregatetype, "k", prefix="orders")
    wal.oracle.committed(mine, wal.topic, "k")
    wal.judge()
    relay.wait_log(
        r'"warn".*logical message at [0-9A-F]+/[0-9A-F]+ has the prefix .*part of no transaction'
    )
    assert relay.exit_code is None


# -- the seam --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ack_mode", ["delete"], indirect=True)
def test_the_seam_under_full_load(wal: WalScene, ack_mode: str) -> None:
    """What waits is read, the rest is streamed, whoever deletes what; nothing twice."""
    wal.ack_mode = ack_mode
    settings = wal.slot_settings()
    with wal.mixed_load(threads=6, pause_s=0.0005, keys=40) as load:
        wait_for(lambda: load.committed >= 500, "rows to wait", 30)
        relay = wal.relay(settings)
        wait_for(lambda: confirmed(wal), "the slot to stand", 60)
        with log_load(wal, threads=6, pause_s=0.0005, keys=40):
            wal.wait_streaming(relay)
            wal.wait_seen(600)
    wal.judge()


def test_a_slot_that_is_made_again_and_again(wal: WalScene) -> None:
    """Rows alone, which wait in the table while there is none."""
    settings = wal.slot_settings()
    with wal.mixed_load(threads=6, keys=40, pause_s=0.0005):
        for turn in range(5):
            relay = wal.streaming(settings)
            wal.wait_seen(200)
            relay.stop()
            if turn < 4:
                wal.forget_slot()
        wal.streaming(settings)
        wal.wait_seen(200)
    wal.judge()


def test_killed_while_the_slot_is_made(wal: WalScene) -> None:
    settings = {**wal.slot_settings(), **LEASE}
    wal.write(50)
    blocker = wal.blocker()
    relay = wal.relay(settings)
    walsender = wal.wait_making(relay)
    relay.kill()
    assert confirmed(wal) is None
    relay = wal.relay(settings)
    wait_for(
        lambda: (found := wal.slots()) and found[0][1] not in (None, walsender),
        "another walsender to make it",
        60,
    )
    blocker.rollback()
    wal.wait_streaming(relay)
    message(wal)
    wal.judge()


def test_killed_while_the_table_is_read(wal: WalScene) -> None:
    """The half of it that is not acknowledged is read again, and then the stream."""
    settings = {**wal.slot_settings(), **LEASE}
    for _ in range(8):
        wal.write(WINDOW)
    relay = wal.relay(settings)
    wal.wait_seen(WINDOW)
    relay.kill()
    message(wal)
    wal.streaming(settings)
    message(wal)
    wal.judge(max_duplicates=WINDOW)
    assert wal.sql("SELECT slot_snapshot FROM outbox_lease") == [(None,)]


# -- restarts --------------------------------------------------------------------------------------


def test_stopped_and_started_under_load(wal: WalScene) -> None:
    """A stop stores the position of all that it has drained."""
    settings = wal.slot_settings()
    wal.streaming(settings).stop()
    with log_load(wal):
        for _ in range(4):
            relay = wal.streaming(settings)
            wal.wait_seen(150)
            relay.stop()
        wal.streaming(settings)
        wal.wait_seen(150)
    wal.judge()


@pytest.mark.parametrize("ack_mode", ["mark"], indirect=True)
def test_killed_under_load(wal: WalScene, ack_mode: str) -> None:
    wal.ack_mode = ack_mode
    settings = {**wal.slot_settings(), **LEASE}
    rounds = 3
    wal.streaming(settings).stop()
    with log_load(wal):
        for _ in range(rounds):
            relay = wal.relay(settings)
            wal.wait_seen(200)
            relay.kill()
        wal.streaming(settings)
        wal.wait_seen(200)
    wal.judge(max_duplicates=rounds * WINDOW)


def test_the_other_relay_takes_over(wal: WalScene) -> None:
    settings = {**wal.slot_settings(), **LEASE}
    owner = wal.streaming(settings)
    standby = wal.relay(settings).wait_ready()
    with log_load(wal):
        walsender = wal.wait_streaming(owner)
        wal.wait_seen(150)
        owner.stop()
        walsender = wal.wait_streaming(standby, after=walsender)
        heir = wal.relay(settings).wait_ready()
        wal.wait_seen(150)
        standby.pause()  # past its lease: its walsender still reads the slot
        wal.wait_streaming(heir, after=walsender)
        wal.wait_seen(150)
        standby.resume()
        wal.wait_seen(150)
    wal.judge(max_duplicates=WINDOW)


def test_walsenders_end_under_load(wal: WalScene) -> None:
    """Neither what is held is sent again nor what was done ahead of the position."""
    relay = wal.streaming(wal.slot_settings())
    rounds = 4
    with log_load(wal, threads=6, keys=40):
        walsender = wal.wait_streaming(relay)
        for _ in range(rounds):
            wal.wait_seen(150)
            wal.end_walsender()
            walsender = wal.wait_streaming(relay, after=walsender)
        wal.wait_seen(150)
    wal.judge()


def test_the_server_crashes_under_load(frail: WalScene) -> None:
    relay = frail.streaming(frail.slot_settings())
    rounds = 2
    with log_load(frail, pause_s=0.005, prepares=False):
        for _ in range(rounds):
            frail.wait_seen(150)
            frail.postgres.restart("immediate")
            frail.wait_streaming(relay)
        frail.wait_seen(150)
    frail.judge()


def test_a_crash_repeats_nothing_that_was_stored(frail: WalScene) -> None:
    """The server saves the slot at checkpoints only; the lease knows better."""
    relay = frail.streaming(frail.slot_settings())
    frail.sql("CHECKPOINT")
    for _ in range(20):
        message(frail)
    frail.judge()
    frail.wait_position(str(confirmed(frail)))
    relay.kill()
    stored = confirmed(frail)
    frail.postgres.restart("immediate")
    ((behind,),) = frail.sql(
        "SELECT confirmed_flush_lsn < %s FROM pg_replication_slots WHERE slot_name = %s",
        stored,
        frail.db,
    )
    assert behind, "the crash took the slot back"
    frail.streaming(frail.slot_settings())
    message(frail)
    frail.judge()


# -- what holds it up ------------------------------------------------------------------------------


def test_kafka_stands_still_for_longer_than_the_server_waits(
    frail_server: Postgres, tmp_path: pathlib.Path
) -> None:
    with Kafka() as broker:
        wal = WalScene(frail_server, broker, tmp_path)
        try:
            wal.sql(f"ALTER DATABASE {wal.db} SET wal_sender_timeout = '3s'")
            relay = wal.streaming({**wal.slot_settings(), "source.wal_budget": "16MiB"})
            walsender = wal.wait_streaming(relay)
            wal.sql("CREATE TABLE neighbour (fill text)")
            message(wal)
            wal.judge()
            broker.pause()
            message(wal)
            wal.sql(
                "INSERT INTO neighbour SELECT repeat('x', 1000) FROM generate_series(1, 30000)"
            )
            relay.wait_log(r"\"warn\".*holds back \d+ MiB of WAL, over source\.wal_budget", 30)
            relay.wait_metric("slot_over_budget", 1)
            assert relay.status()["source"]["slot"]["over_budget"]
            relay.wait_metric("kafka_up", 0, timeout=40)
            assert wal.walsenders() == [walsender]
            broker.resume()
            message(wal)
            wal.judge()
            relay.wait_log("is within source.wal_budget again", 40)
            relay.wait_metric("slot_over_budget", 0)
        finally:
            wal.close()


def test_an_idle_outbox_with_busy_neighbours(wal: WalScene) -> None:
    wal.streaming(wal.slot_settings())
    wal.sql("CREATE TABLE neighbour (fill text)")
    wal.sql("INSERT INTO neighbour SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
    wal.wait_position(wal.lsn(), timeout=30)
