"""Logical decoding while something dies, stands still or is far behind."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay
from support.scene import WINDOW
from support.wait import wait_for
from support.wal import SERVER, WalScene

LEASE = {"lease.ttl_ms": 2000}  # a killed owner keeps the outbox for so long


@pytest.fixture(scope="module")
def frail_server() -> Iterator[Postgres]:
    with Postgres(SERVER, fsync=True) as server:
        yield server


@pytest.fixture(scope="module")
def frail_broker() -> Iterator[Kafka]:
    # A killed broker may come back only when the controller has given up its last life.
    quick = {"broker.session.timeout.ms": "1500", "broker.heartbeat.interval.ms": "300"}
    with Kafka(settings=quick) as cluster:
        yield cluster


@pytest.fixture
def frail(
    frail_server: Postgres, frail_broker: Kafka, tmp_path: pathlib.Path
) -> Iterator[WalScene]:
    """Whole again at the start of each test."""
    if not frail_server.running:
        frail_server.start()
    if not frail_broker.running():
        frail_broker.start()
    frail_broker.resume()
    made = WalScene(frail_server, frail_broker, tmp_path)
    yield made
    frail_broker.resume()
    made.close()


def wait_uptime(relay: Relay, seconds: int) -> None:
    """So long from now, by its own clock."""
    until = relay.status()["uptime_s"] + seconds
    wait_for(lambda: relay.status()["uptime_s"] >= until, f"{seconds} s to pass", 60)


# -- the relay -----------------------------------------------------------------------------------


def test_the_other_relay_takes_over(frail: WalScene) -> None:
    """Only the owner has a slot; nothing comes twice where it was told to stop."""
    owner = frail.streaming(LEASE)
    standby = frail.relay(LEASE).wait_ready()
    with frail.load(pause_s=0.005):
        for number in range(4):
            assert frail.mode(standby) != "wal"
            walsender = frail.wait_streaming(owner)
            assert frail.walsenders() == [walsender]
            frail.wait_seen(200)
            if number == 3:
                owner.kill()
            else:
                owner.stop()
            heir = frail.relay(LEASE) if number < 3 else None
            frail.wait_streaming(standby, after=walsender)
            frail.wait_seen(200)
            if heir is not None:
                owner, standby = standby, heir.wait_ready()
    frail.judge(max_duplicates=WINDOW)


# -- Kafka ---------------------------------------------------------------------------------------


def test_the_broker_stands_still_for_longer_than_the_server_waits(frail: WalScene) -> None:
    """The stream is held back, and the server is told of it, so that it never ends it."""
    frail.sql(f"ALTER DATABASE {frail.db} SET wal_sender_timeout = '3s'")
    relay = frail.streaming()
    with frail.load():
        walsender = frail.wait_streaming(relay)
        frail.wait_seen(200)
        frail.kafka.pause()
        wait_uptime(relay, 9)
        assert relay.metric("inflight_events") <= WINDOW
        assert frail.walsenders() == [walsender]
        frail.kafka.resume()
        frail.wait_seen(200)
    frail.judge()
    assert frail.walsenders() == [walsender]
    assert frail.mode(relay) == "wal"


def test_a_transaction_larger_than_the_window(frail: WalScene) -> None:
    """It streams through it, with the server's patience as short."""
    frail.sql(f"ALTER DATABASE {frail.db} SET wal_sender_timeout = '3s'")
    relay = frail.streaming()
    walsender = frail.wait_streaming(relay)
    connection = frail.connect()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox (aggregatetype, aggregateid, type, payload)"
            " SELECT %s, 'key-' || n %% 10, 'Tested', ('{\"n\": ' || n || '}')::json"
            " FROM generate_series(1, %s) AS n RETURNING id::text, aggregateid",
            (frail.aggregatetype, 20 * WINDOW),
        )
        events = cursor.fetchall()
    connection.commit()
    frail.told((event_id, frail.topic, key) for event_id, key in events)
    frail.write(100)
    frail.judge(timeout=90)
    assert frail.walsenders() == [walsender]
    frail.wait_position(frail.lsn())


def test_over_the_budget_while_kafka_is_away(frail: WalScene) -> None:
    """The slot is given up, and with it the log; the table keeps all that waits."""
    relay = frail.streaming({"source.wal_budget": "16MiB"})
    frail.write(100)
    frail.judge()
    frail.sql("CREATE TABLE neighbour (fill text)")
    frail.kafka.pause()
    frail.write(2 * WINDOW)
    relay.wait_metric("kafka_up", 0, timeout=40)
    assert frail.slots()
    frail.sql(
        "INSERT INTO neighbour SELECT repeat('x', 1000) FROM generate_series(1, 60000)"
    )
    relay.wait_log(r"\"warn\".*over source\.wal_budget \(16 MiB\), and was given up", 60)
    frail.wait_no_slot()
    relay.wait_metric("slot_retained_wal_bytes", 0)
    frail.write(100)
    frail.kafka.resume()
    frail.oracle.wait(60)
    frail.wait_streaming(relay)
    frail.write(100)
    frail.judge()
    told = [line for line in relay.log_lines() if "over source.wal_budget" in line["msg"]]
    assert len(told) == 1
