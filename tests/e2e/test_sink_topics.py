"""A broker that makes no topics by itself: a topic's rows wait for it, all others flow."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.scene import Scene
from support.wait import wait_for


@pytest.fixture(scope="module")
def strict_kafka() -> Iterator[Kafka]:
    with Kafka(auto_create=False) as cluster:
        yield cluster


@pytest.fixture(params=["delete", "mark"])
def scene(
    postgres: Postgres,
    strict_kafka: Kafka,
    tmp_path: pathlib.Path,
    request: pytest.FixtureRequest,
) -> Iterator[Scene]:
    made = Scene(postgres, strict_kafka, tmp_path, ack_mode=request.param)
    strict_kafka.create_topic(made.topic, partitions=2)
    yield made
    made.close()


def test_an_unknown_topic_holds_up_its_own_events_only(
    scene: Scene, strict_kafka: Kafka
) -> None:
    """Twice as many as the window takes: they leave memory, or the others would stand still."""
    relay = scene.relay({"window.events": 100}).wait_ready()
    late = f"{scene.aggregatetype}-late"
    with scene.load():
        for _ in range(4):
            scene.write(50, aggregatetype=late)
            scene.wait_seen(100)
    topic = f"outbox.event.{late}"
    wait_for(lambda: scene.unacknowledged() == 200, "only the late topic's rows to be left")
    waiting = relay.status()["topics_waiting"]
    assert [each["topic"] for each in waiting] == [topic]
    assert relay.metric("topics_away") == 1
    relay.wait_log(f'"level":"warn".*{topic}')
    wait_for(lambda: "topics" in (relay.status()["stall"] or ""), "the stall to show")
    assert relay.get("/readyz")[0] == 200
    strict_kafka.create_topic(topic, partitions=2)
    scene.write(50, aggregatetype=late)
    scene.judge()
    relay.wait_metric("topics_away", 0)
    assert relay.status()["topics_waiting"] == []
    relay.wait_log("is there again: its events flow")


def test_topics_come_one_by_one(scene: Scene, strict_kafka: Kafka) -> None:
    scene.relay().wait_ready()
    kinds = [f"{scene.aggregatetype}-{n}" for n in range(6)]
    for kind in kinds * 2:
        scene.write(20, aggregatetype=kind, keys=3)
    with scene.load():
        for kind in kinds:
            strict_kafka.create_topic(f"outbox.event.{kind}")
            scene.write(20, aggregatetype=kind, keys=3)
            scene.wait_seen(50)
    scene.judge()


def test_a_restart_while_a_topic_is_away(scene: Scene, strict_kafka: Kafka) -> None:
    late = f"{scene.aggregatetype}-late"
    relay = scene.relay().wait_ready()
    scene.write(30, aggregatetype=late)
    scene.write(30)
    relay.wait_metric("topics_away", 1)
    wait_for(lambda: scene.unacknowledged() == 30, "the other topic's rows to be acknowledged")
    relay.stop()
    relay = scene.relay().wait_ready()
    scene.write(30, aggregatetype=late)
    relay.wait_metric("topics_away", 1)
    strict_kafka.create_topic(f"outbox.event.{late}")
    scene.judge()
