"""source.slot: events that Kafka refuses, or does not take yet. The log is passed over no further
than where all before it has arrived."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay
from support.slot import SlotScene, emit_text
from support.wait import wait_for

HALTED = 65
# Nobody but the broker knows that such a topic refuses such an event.
RECENT_ONLY = {"message.timestamp.before.max.ms": 3_600_000}
OLD = {"created_at": "2020-02-02T00:00:00Z", "payload": json.dumps("xxxx")}
QUICK = {"shutdown.timeout_ms": 500, "lease.ttl_ms": 2000}


@pytest.fixture(scope="module")
def strict_kafka() -> Iterator[Kafka]:
    with Kafka(auto_create=False) as cluster:
        yield cluster


@pytest.fixture
def scene(
    wal_server: Postgres, strict_kafka: Kafka, tmp_path: pathlib.Path
) -> Iterator[SlotScene]:
    made = SlotScene(wal_server, strict_kafka, tmp_path)
    wal_server.unguard(made.db)
    strict_kafka.create_topic(made.topic, 2)
    yield made
    strict_kafka.resume()
    made.close()


def halts(relay: Relay) -> dict[str, Any]:
    """Its one error."""
    assert relay.wait_exit() == HALTED
    relay.check()
    errors = [line for line in relay.log_lines() if line["level"] == "error"]
    assert len(errors) == 1, errors
    assert "xxxx" not in relay.log.read_text(), "no payload in the log"
    return errors[0]


def pass_over(scene: SlotScene, error: dict[str, Any]) -> None:
    """As the error says. A refusal may take back what is in flight before it: then it says first
    to start again, and that one comes to the same event."""
    for _ in range(5):
        found = re.search(r"to pass over its whole transaction: (UPDATE .*)$", error["msg"])
        if found:
            scene.sql(found[1])
            return
        assert "or just start again" in error["msg"], error["msg"]
        again = halts(scene.relay(QUICK))
        for name in ("event_id", "lsn"):
            assert again.get(name) == error.get(name)
        error = again
    raise AssertionError(error["msg"])


def test_rows_that_the_broker_refuses(scene: SlotScene) -> None:
    """Two in flight at a time, and the first of them is not the one with the lower seq."""
    recent = f"{scene.topic}.recent"
    scene.kafka.create_topic(recent, 2, RECENT_ONLY)
    relay = scene.streaming(QUICK)
    scene.send(10, topic=recent)  # it knows both topics by now
    scene.send(10)
    scene.judge()
    scene.wait_stored()
    scene.kafka.pause()
    later, first = scene.connect(), scene.connect()
    ((low, _, _),) = scene.insert(later, 1, topic=recent, partition=1, **OLD)
    ((high, _, _),) = scene.insert(first, 1, topic=recent, partition=0, **OLD)
    first.commit()
    between = scene.connect()
    events = scene.emit(between, 10) + scene.insert(between, 10)
    between.commit()
    scene.told(events)
    later.commit()
    scene.send(10)
    relay.wait_metric("inflight_events", 32)
    scene.kafka.resume()
    error = halts(relay)
    assert error["event_id"] == high and error["topic"] == recent
    assert halts(scene.relay(QUICK))["event_id"] == high, "it is not passed over by itself"
    pass_over(scene, error)
    relay = scene.relay(QUICK)
    error = halts(relay)
    assert error["event_id"] == low
    pass_over(scene, error)
    scene.streaming(QUICK)
    scene.send(10)
    scene.oracle.wait(30)
    scene.oracle.verify(max_duplicates=62)
    ids = {event for (event,) in scene.sql("SELECT id::text FROM outbox")}
    assert ids <= {low, high}


def test_the_older_one_is_refused_later(scene: SlotScene) -> None:
    """The relay halts at a message; what is in flight before it is refused meanwhile."""
    recent = f"{scene.topic}.recent"
    scene.kafka.create_topic(recent, 1, RECENT_ONLY)
    relay = scene.streaming({"lease.ttl_ms": 2000})
    scene.send(1, topic=recent)
    scene.send(10)  # both partitions have answered by now: their first record goes alone
    scene.judge()
    scene.kafka.pause()
    connection = scene.connect()
    ((old, _, _),) = scene.insert(connection, 1, topic=recent, **OLD)
    connection.commit()
    scene.send(5)
    at = emit_text(connection, "no JSON")
    connection.commit()
    scene.send(5)
    wait_for(lambda: relay.status()["state"] == "halted", "it to halt")
    scene.kafka.resume()
    error = halts(relay)
    assert error["event_id"] == old
    pass_over(scene, error)
    error = halts(scene.relay(QUICK))
    assert error["lsn"] == at and "event_id" not in error
    pass_over(scene, error)
    scene.streaming(QUICK)
    scene.oracle.wait(30)
    scene.oracle.verify(max_duplicates=5)


def test_what_is_before_it_has_not_arrived(scene: SlotScene) -> None:
    """When the relay ends: nothing may be passed over yet, or that would be."""
    relay = scene.streaming(QUICK)
    scene.send(5)
    scene.judge()
    scene.kafka.pause()
    scene.send(5)
    connection = scene.connect()
    at = emit_text(connection, "no JSON")
    connection.commit()
    scene.send(5)
    error = halts(relay)
    scene.kafka.resume()
    assert error["lsn"] == at
    assert "UPDATE" not in error["msg"], error["msg"]
    pass_over(scene, halts(scene.relay(QUICK)))
    scene.streaming(QUICK)
    scene.oracle.wait(30)
    scene.oracle.verify(max_duplicates=5)


def test_a_topic_that_goes(scene: SlotScene) -> None:
    """With what was sent to it: the new one gets that, in order, and what is behind it waits."""
    gone = f"{scene.topic}.gone"
    scene.kafka.create_topic(gone)
    relay = scene.streaming()
    scene.send(5)
    scene.judge()
    with scene.connect() as connection:
        scene.emit(connection, 1, topic=gone)  # the relay knows it now
    relay.wait_metric("published_events_total", 1, topic=gone)
    relay.pause()
    scene.kafka.delete_topic(gone)
    for _ in range(10):
        scene.send(2, topic=gone)
    scene.send(10)
    relay.resume()
    wait_for(lambda: f"waits for topic {gone}" in (relay.status()["stall"] or ""), "the stall")
    scene.send(10, topic=gone)
    relay.wait_metric("inflight_events", 0)
    scene.kafka.create_topic(gone, 2)
    scene.judge(max_duplicates=10)
    wait_for(lambda: relay.status()["stall"] is None, "it to flow again")


def test_a_row_from_before_the_slot(scene: SlotScene) -> None:
    """It is in the table, and there it is corrected, and read again."""
    scene.write(5)
    connection = scene.connect()
    events = scene.insert(connection, 1, keys=1, partition=-1)
    connection.commit()
    scene.told(events)
    scene.write(5)
    error = halts(scene.relay(QUICK))
    assert error["event_id"] == events[0][0]
    assert "It stays in public.outbox" in error["msg"], error["msg"]
    assert scene.lease().snapshot is not None
    scene.sql("UPDATE outbox SET partition = NULL WHERE partition < 0")
    scene.streaming(QUICK)
    scene.send(5)
    scene.judge()
