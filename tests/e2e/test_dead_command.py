"""outbox-relay dead: parked and dead events are listed, shown, retried in order and discarded, beside
a running relay and without one."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import command
from support.scene import WINDOW, Scene
from support.wait import wait_for

BAD = {"headers": "[1]", "payload": '{"secret": 4711}'}
KEYS = 3


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(postgres, kafka, tmp_path)
    postgres.unguard(made.db)
    kafka.create_topic(made.topic, partitions=3)
    yield made
    made.close()


def dead(scene: Scene, *arguments: str, code: int = 0) -> str:
    done = command("dead", *arguments, settings={"postgres.uri": scene.postgres.uri(scene.db)})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def listed(scene: Scene, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(dead(scene, "list", "--json", *arguments))


def write_bad(scene: Scene) -> list[tuple[str, str, str]]:
    """One bad event of each key, and five good ones behind each."""
    connection = scene.postgres.connect(scene.db)
    with connection:
        bad = scene.insert(connection, KEYS, keys=KEYS, **BAD)
        good = scene.insert(connection, 5 * KEYS, keys=KEYS)
    connection.close()
    return bad + good


def correct(scene: Scene, table: str = "outbox") -> None:
    scene.sql(f"UPDATE {table} SET headers = NULL WHERE headers IS NOT NULL")


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_parked_ones_are_retried_in_order(scene: Scene, running: bool) -> None:
    relay = scene.relay({"failure.policy": "park"}).wait_ready()
    events = write_bad(scene)
    wait_for(lambda: len(listed(scene)) == KEYS, "parked events", 30)
    scene.write(10, aggregatetype=f"{scene.aggregatetype}-other")
    scene.oracle.wait(30)
    if not running:
        relay.stop()
    first = listed(scene)[0]
    assert (first["state"], first["id"], first["key"]) == ("parked", events[0][0], "key-0")
    assert "headers are not a JSON object" in first["error"]
    text = dead(scene, "list")
    assert events[0][0] in text and scene.topic in text and "4711" not in text
    assert "4711" not in dead(scene, "show", events[0][0])
    assert "4711" in dead(scene, "show", events[0][0], "--payload")
    assert [each["key"] for each in listed(scene, "--key", "key-1")] == ["key-1"]
    assert listed(scene, "--topic", "other") == []
    assert len(listed(scene, "--error", "not a JSON object")) == KEYS
    correct(scene)
    assert "would be retried" in dead(scene, "retry", "--all", "--dry-run")
    assert len(listed(scene)) == KEYS
    assert "1 event retried" in dead(scene, "retry", "--key", "key-2")
    scene.told([event for event in events if event[2] == "key-2"])
    if running:
        scene.oracle.wait(30)
    assert "2 events retried" in dead(scene, "retry", "--all")
    scene.told([event for event in events if event[2] != "key-2"])
    if not running:
        relay = scene.relay({"failure.policy": "park"}).wait_ready()
    scene.judge()
    assert listed(scene) == []
    relay.wait_metric("parked_events", 0)


def test_one_that_is_retried_too_soon_is_parked_again(scene: Scene) -> None:
    relay = scene.relay({"failure.policy": "park"}).wait_ready()
    events = write_bad(scene)
    wait_for(lambda: len(listed(scene)) == KEYS, "parked events", 30)
    since = listed(scene)[0]["since"]
    for _ in range(3):
        dead(scene, "retry", "--all")
        wait_for(lambda: len(listed(scene)) == KEYS, "the same again", 30)
    assert listed(scene)[0]["since"] > since
    relay.wait_metric("parked_events", KEYS)
    assert scene.unacknowledged() == len(events)
    correct(scene)
    dead(scene, "retry", "--all")
    scene.told(events)
    scene.judge()


def test_discarded(scene: Scene) -> None:
    scene.relay({"failure.policy": "park"}).wait_ready()
    events = write_bad(scene)
    wait_for(lambda: len(listed(scene)) == KEYS, "parked events", 30)
    assert "would be discarded" in dead(
        scene, "discard", "--all", "--reason", "x", "--dry-run"
    )
    dead(scene, "discard", events[0][0], "--reason", "no such order")
    scene.told([event for event in events[KEYS:] if event[2] == "key-0"])
    scene.oracle.wait(30)
    dead(scene, "discard", "--all", "--reason", "sorry")
    scene.told([event for event in events[KEYS:] if event[2] != "key-0"])
    scene.judge()
    found = scene.sql("SELECT id::text, reason, type, discarded_by FROM outbox_discarded ORDER BY number")
    assert found == [
        (events[n][0], reason, "Tested", "postgres")
        for n, reason in enumerate(["no such order", "sorry", "sorry"])
    ]


def test_dead_ones_are_written_again(scene: Scene) -> None:
    relay = scene.relay({"failure.policy": "dead-letter"}).wait_ready()
    events = write_bad(scene)
    scene.told(events[KEYS:])
    scene.judge()
    found = listed(scene)
    assert [(each["state"], each["id"]) for each in found] == [
        ("dead", event[0]) for event in events[:KEYS]
    ]
    assert "4711" in dead(scene, "show", "--key", "key-1", "--payload")
    correct(scene, "outbox_dead")
    dead(scene, "retry", "--all")
    scene.told(events[:KEYS])
    scene.judge()
    assert listed(scene) == []
    records = scene.oracle.records_of(events[0][0])
    assert json.loads(records[0].value or b"") == {"secret": 4711}
    relay.stop()


def test_a_relay_killed_while_events_are_retried(scene: Scene) -> None:
    settings = {"failure.policy": "park", "lease.ttl_ms": 2000}
    relay = scene.relay(settings).wait_ready()
    events = write_bad(scene)
    wait_for(lambda: len(listed(scene)) == KEYS, "parked events", 30)
    correct(scene)
    dead(scene, "retry", "--all")
    relay.kill()
    scene.relay(settings).wait_ready()
    scene.told(events)
    scene.judge(max_duplicates=WINDOW)


def test_what_it_refuses(scene: Scene) -> None:
    assert "a command is missing" in dead(scene, code=64)
    assert "which?" in dead(scene, "retry", code=64)
    assert "--reason is missing" in dead(scene, "discard", "--all", code=64)
    assert "is a uuid" in dead(scene, "show", "4711", code=64)
    assert "none" in dead(scene, "list")
    scene.sql("DROP TABLE outbox_dead")
    assert "schema print --from 1 " in dead(scene, "list", code=78)
