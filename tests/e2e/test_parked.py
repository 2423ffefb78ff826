"""failure.policy=park: an event that cannot be published waits, and later ones of its topic and key
behind it, in order; all others flow."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay
from support.scene import WINDOW, Scene
from support.wait import wait_for

BAD = {"headers": "[1]"}  # known before it is sent
LARGE = {"payload": '"' + "x" * 3_000_000 + '"'}  # refused by librdkafka
REFUSED = {"payload": '"' + "x" * 300_000 + '"'}  # refused by the broker, by its topic's limit


@pytest.fixture(params=["delete", "mark"])
def scene(
    postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    made = Scene(postgres, kafka, tmp_path, ack_mode=request.param)
    postgres.unguard(made.db)
    kafka.create_topic(made.topic, partitions=3, configs={"max.message.bytes": "100000"})
    yield made
    made.close()


def around(scene: Scene, **bad: Any) -> tuple[str, list[tuple[str, str, str]]]:
    """In one transaction: 10 events of each of two keys, the bad one of key-0, 10 again. What waits
    behind the bad one is returned, and not told to the oracle yet; the bad one first."""
    connection = scene.postgres.connect(scene.db)
    with connection:
        before = scene.insert(connection, 20, keys=2)
        first = scene.insert(connection, 1, keys=1, **bad)
        after = scene.insert(connection, 20, keys=2)
    connection.close()
    scene.told(before + [event for event in after if event[2] == "key-1"])
    return first[0][0], [event for event in after if event[2] == "key-0"]


def parked(scene: Scene) -> list[tuple[str, str, str]]:
    return scene.sql("SELECT id::text, topic, aggregateid FROM outbox_parked ORDER BY seq")


def wait_parked(scene: Scene, relay: Relay, count: int) -> None:
    wait_for(lambda: len(parked(scene)) == count, f"{count} parked events", 30)
    relay.wait_metric("parked_events", count)


def release(scene: Scene, event_id: str, correction: str) -> None:
    """By hand: corrected, and no longer parked."""
    scene.sql(f"UPDATE outbox SET {correction} WHERE id = %s", event_id)
    scene.sql("DELETE FROM outbox_parked WHERE id = %s", event_id)
    scene.sql("SELECT pg_notify('outbox_relay_' || 'outbox'::regclass::oid, 'parked')")


@pytest.mark.parametrize("bad", [BAD, LARGE, REFUSED], ids=["invalid", "too large", "refused"])
def test_parked_and_released(scene: Scene, bad: dict[str, Any]) -> None:
    relay = scene.relay({"failure.policy": "park"}).wait_ready()
    event_id, behind = around(scene, **bad)
    wait_parked(scene, relay, 1)
    scene.oracle.wait(30)
    assert parked(scene) == [(event_id, scene.topic, "key-0")]
    with scene.load(aggregatetype=f"{scene.aggregatetype}-load"):
        scene.wait_seen(200)
    wait_for(lambda: scene.unacknowledged() >= 11, "what waits")
    relay.wait_log(f'"error".*event {event_id} cannot be published.*is parked')
    more = scene.postgres.connect(scene.db)
    with more:
        behind += scene.insert(more, 5, keys=1)
    more.close()
    relay.stop()
    relay = scene.relay({"failure.policy": "park"}).wait_ready()
    relay.wait_metric("parked_events", 1)
    release(scene, event_id, "headers = NULL, payload = '1'")
    scene.oracle.committed(event_id, scene.topic, "key-0")
    scene.told(behind)
    scene.judge(max_duplicates=WINDOW)
    assert parked(scene) == []
    relay.wait_metric("parked_events", 0)
    relay.stop()


def test_dead_letter(scene: Scene) -> None:
    scene.ack_mode = "delete"
    relay = scene.relay({"failure.policy": "dead-letter"}).wait_ready()
    dead = []
    for bad in (BAD, LARGE, REFUSED):
        event_id, behind = around(scene, **bad)
        scene.told(behind)
        dead.append(event_id)
    with scene.load(aggregatetype=f"{scene.aggregatetype}-load"):
        scene.wait_seen(200)
    scene.judge(max_duplicates=3 * WINDOW)
    found = scene.sql("SELECT id::text, routed_topic, class FROM outbox_dead ORDER BY seq")
    assert found == [(event_id, scene.topic, "row") for event_id in dead]
    relay.wait_metric("dead_events", 3, timeout=30)


@pytest.mark.parametrize("scene", ["delete"], indirect=True)
def test_a_limit_that_is_raised(scene: Scene) -> None:
    """What the topic takes is known before anything is sent, and learnt anew: no producer dies."""
    relay = scene.relay({"failure.policy": "park"}).wait_ready()
    scene.write(10)
    scene.oracle.wait(30)
    event_id, behind = around(scene, **REFUSED)
    wait_parked(scene, relay, 1)
    (error,) = scene.sql("SELECT error FROM outbox_parked")[0]
    assert "max.message.bytes is 100000" in error
    assert relay.metric("producer_rebuilds_total") == 0
    scene.kafka.set_topic(scene.topic, {"max.message.bytes": "500000"})
    until = relay.status()["uptime_s"] + 11  # so long one answer is good for
    wait_for(lambda: relay.status()["uptime_s"] >= until, "the limit to be old", 30)
    scene.sql("DELETE FROM outbox_parked")
    scene.sql("SELECT pg_notify('outbox_relay_' || 'outbox'::regclass::oid, 'parked')")
    scene.oracle.committed(event_id, scene.topic, "key-0")
    scene.told(behind)
    scene.judge()
    assert relay.metric("producer_rebuilds_total") == 0


@pytest.mark.parametrize("scene", ["delete"], indirect=True)
def test_records_that_outlast_the_lease(scene: Scene) -> None:
    """They wait for a lock, one behind the other, and the lease's renewal behind them. Once they
    are answered, they are sent again, and so is what fails later."""
    settings = {"failure.policy": "park", "lease.ttl_ms": 2000}
    relay = scene.relay(settings).wait_ready()
    scene.write(20, keys=20)
    scene.oracle.wait(30)
    with scene.postgres.connect(scene.db) as lock:
        lock.cursor().execute("LOCK TABLE outbox_parked IN EXCLUSIVE MODE")
        scene.write(10, **BAD)
        relay.wait_log("standing by")
        relay.wait_log("owning again")
    wait_parked(scene, relay, 10)
    scene.write(20, keys=20, **BAD)
    wait_parked(scene, relay, 20)
    scene.sql("UPDATE outbox SET headers = NULL")
    scene.sql("DELETE FROM outbox_parked")
    scene.sql("SELECT pg_notify('outbox_relay_' || 'outbox'::regclass::oid, 'parked')")
    scene.judge(max_duplicates=WINDOW)


def test_compressed_it_may_fit(scene: Scene) -> None:
    relay = scene.relay({"failure.policy": "park", "kafka.compression.type": "gzip"}).wait_ready()
    scene.write(5, keys=1, **REFUSED)
    scene.judge()
    assert relay.metric("parked_events") == 0
