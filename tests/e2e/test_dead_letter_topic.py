"""failure.topics and failure.dead_letter_topic: each topic's own policy, and copies of what died."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.oracle import Record
from support.postgres import Postgres
from support.scene import WINDOW, Scene
from support.wait import wait_for

REFUSED = '"' + "x" * 300_000 + '"'  # by the broker, by its topic's limit
DEAD = {"failure.policy": "dead-letter", "failure.dead_letter_topic": "${topic}.dead"}


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(postgres, kafka, tmp_path)
    postgres.unguard(made.db)
    kafka.create_topic(made.topic, partitions=3, configs={"max.message.bytes": "100000"})
    yield made
    made.close()


def dead(scene: Scene) -> list[tuple[str, str]]:
    return scene.sql("SELECT id::text, routed_topic FROM outbox_dead ORDER BY seq")


def copies(scene: Scene, count: int, topic: str) -> list[Record]:
    """So many came to that topic, and no more."""
    scene.oracle.watch(topic)

    def there() -> list[Record]:
        scene.oracle.seen()
        return [record for record in scene.oracle.records if record.topic == topic]

    wait_for(lambda: len(there()) >= count, f"{count} copies", 30)
    wait_for(lambda: scene.unacknowledged() == 0, "every row to be acknowledged", 30)
    found = there()
    assert len(found) == count
    for copy in found:  # an event as any other, which the relay wrote
        scene.oracle.committed(copy.id, topic, (copy.key or b"").decode())
    return found


def headers(record: Record) -> dict[str, str | None]:
    return {name: value and value.decode() for name, value in record.headers or []}


def test_each_topic_has_its_own_policy(scene: Scene) -> None:
    """A pattern's events die, another's are parked, the last one's end it; all others flow."""
    first, second, third = (f"{scene.topic}.{name}" for name in ("audit.a", "audit.b", "pay"))
    policies = f"{scene.topic}.audit.b=park, {scene.topic}.audit.*=dead-letter, *.pay=halt"
    relay = scene.relay({"failure.policy": "park", "failure.topics": policies}).wait_ready()
    (died,) = scene.sql(_INSERT, first)[0]
    (parked,) = scene.sql(_INSERT, second)[0]
    (by_default,) = scene.sql(_INSERT, scene.topic)[0]
    scene.write(20)
    scene.oracle.wait(30)
    on_record = "SELECT id::text FROM outbox_parked ORDER BY seq"
    wait_for(lambda: scene.sql(on_record) == [(parked,), (by_default,)], "two parked events")
    assert dead(scene) == [(died, first)]
    (halting,) = scene.sql(_INSERT, third)[0]
    assert relay.wait_exit(65)
    relay.wait_log(f"event {halting} cannot be published")
    assert scene.sql("SELECT id::text FROM outbox ORDER BY seq") == [
        (parked,), (by_default,), (halting,)
    ]


_INSERT = """
INSERT INTO outbox (aggregatetype, aggregateid, type, payload, headers, topic)
VALUES ('a', 'bad', 'x', '1', '[]', %s) RETURNING id::text
"""


def test_a_copy_of_what_the_broker_refused(scene: Scene) -> None:
    """It has the event's key, value and headers, and says what was wrong; its key goes on."""
    relay = scene.relay(DEAD).wait_ready()
    written = {"payload": REFUSED, "headers": '{"n": 1.50, "tenant": "ä\\u00e4"}'}
    with scene.load():
        scene.wait_seen(50)
        connection = scene.postgres.connect(scene.db)
        with connection:
            ((event_id, _, key),) = scene.insert(connection, 1, **written)
        connection.close()
        scene.wait_seen(50)
    (copy,) = copies(scene, 1, f"{scene.topic}.dead")
    scene.judge(max_duplicates=WINDOW)
    assert dead(scene) == [(event_id, scene.topic)]
    assert (copy.key, copy.value) == (key.encode(), REFUSED.encode())
    found = headers(copy)
    assert found.pop("id") != event_id
    assert "max.message.bytes is 100000" in str(found.pop("outbox.error"))
    assert found == {
        "eventType": "Tested",
        "outbox.error_class": "row",
        "outbox.topic": scene.topic,
        "outbox.id": event_id,
        "n": "1.50",
        "tenant": "ää",
    }
    relay.wait_metric("dead_events", 1)


@pytest.mark.parametrize(
    "columns",
    [
        {"headers": "[1]"},
        {"headers": '{"a": "\\ud800"}'},
        {"payload_bytes": b"\x00"},
        {"partition": -1},
        {"created_at": "infinity"},
        {"topic": "no such name", "headers": " { } "},
    ],
    ids=str,
)
def test_what_is_at_fault_is_left_out(scene: Scene, columns: dict[str, object]) -> None:
    settings = {**DEAD, "failure.dead_letter_topic": f"{scene.topic}.letters"}
    scene.relay(settings).wait_ready()
    connection = scene.postgres.connect(scene.db)
    with connection:
        ((event_id, topic, _),) = scene.insert(connection, 1, **columns)
    connection.close()
    (copy,) = copies(scene, 1, f"{scene.topic}.letters")
    assert dead(scene) == [(event_id, topic)]
    assert json.loads(copy.value or b"") == {"n": 1}
    assert set(headers(copy)) == {
        "id", "eventType", "outbox.error", "outbox.error_class", "outbox.topic", "outbox.id"
    }


def test_a_copy_that_dies(scene: Scene) -> None:
    """It is no less dead than the event, and has no copy of its own."""
    scene.kafka.create_topic(f"{scene.topic}.dead", configs={"max.message.bytes": "100000"})
    scene.relay(DEAD).wait_ready()
    scene.sql(_INSERT.replace("'1'", "%s").replace("'[]'", "NULL"), REFUSED, scene.topic)
    wait_for(lambda: len(dead(scene)) == 2, "both to be dead", 30)
    wait_for(lambda: scene.unacknowledged() == 0, "the outbox to be empty")
    assert [topic for _, topic in dead(scene)] == [scene.topic, f"{scene.topic}.dead"]
    scene.write(10)
    scene.judge(max_duplicates=WINDOW)
