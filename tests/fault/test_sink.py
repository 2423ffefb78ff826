"""What Kafka does not take: unknown topics wait, an event that is refused halts the relay, settings
that would break a guarantee are not accepted."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay, command
from support.scene import WINDOW, Scene
from support.wait import wait_for

TOPIC_LIMIT = 20_000  # bytes; far below what the relay's producer would put into a batch


@pytest.fixture(scope="module")
def strict_kafka() -> Iterator[Kafka]:
    """Its topics exist only when somebody makes them."""
    with Kafka(auto_create=False) as cluster:
        yield cluster


@pytest.fixture
def ack_mode() -> str:
    return "delete"


@pytest.fixture
def scene(
    postgres: Postgres, strict_kafka: Kafka, tmp_path: pathlib.Path, ack_mode: str
) -> Iterator[Scene]:
    made = Scene(postgres, strict_kafka, tmp_path, ack_mode=ack_mode)
    yield made
    made.close()


# -- topics that are not there -------------------------------------------------------------------


@pytest.mark.parametrize("ack_mode", ["delete", "mark"])
def test_rows_of_an_unknown_topic_wait(scene: Scene) -> None:
    """More of them than the window holds: they must not take it from the others."""
    absent = f"{scene.aggregatetype}-absent"
    topic = f"outbox.event.{absent}"
    scene.kafka.create_topic(scene.topic, partitions=3)
    waiting = 0
    for _ in range(3):
        scene.write(WINDOW // 2, aggregatetype=absent)
        scene.write(100)
        waiting += WINDOW // 2
    relay = scene.relay()
    wait_for(lambda: scene.unacknowledged() == waiting, "the other topic's rows to be acknowledged")
    listed = wait_for(lambda: relay.status()["topics_waiting"], "the topic to be listed")
    assert [each["topic"] for each in listed] == [topic]
    assert topic in listed[0]["error"]
    assert "create the topic" in listed[0]["error"]
    assert relay.metric("topics_away") == 1
    assert relay.get("/readyz")[0] == 200

    since = relay.log_size()
    scene.write(1, aggregatetype=absent)
    scene.write(100)
    wait_for(lambda: scene.unacknowledged() == waiting + 1, "the other topic to go on")
    scene.kafka.create_topic(topic, partitions=3)
    scene.judge()
    relay.wait_log(f"{topic} is there again", since=since)
    assert relay.status()["topics_waiting"] == []
    assert relay.metric("topics_away") == 0
    assert relay.metric("producer_rebuilds_total") == 0


def test_a_topic_comes_while_its_rows_are_written(scene: Scene) -> None:
    absent = f"{scene.aggregatetype}-absent"
    topic = f"outbox.event.{absent}"
    scene.kafka.create_topic(scene.topic, partitions=3)
    relay = scene.relay().wait_ready()
    with scene.load(), scene.load(aggregatetype=absent) as late:
        scene.wait_seen(200)
        wait_for(lambda: late.committed > 200, "rows of the topic that is not there")
        wait_for(lambda: relay.metric("topics_away") == 1, "the topic to be away")
        scene.kafka.create_topic(topic, partitions=3)
        wait_for(lambda: scene.oracle.count(topic) > 400, "its rows to flow")
    scene.judge()


# -- an event that is refused --------------------------------------------------------------------


def _expect_halt(scene: Scene, relay: Relay, event_id: str, before: list[str], *said: str) -> str:
    """65, with one error that names it and says this; what came before it is delivered and
    acknowledged, nothing of its key behind it is published. Returns what was said."""
    assert relay.wait_exit() == 65, relay.process.tail()
    relay.check()
    errors = [line for line in relay.log_lines() if line["level"] == "error"]
    assert len(errors) == 1, errors
    text = str(errors[0]["msg"])
    assert event_id in text
    for each in said:
        assert each in text, text
    assert "start again" in text
    left = {str(row[0]) for row in scene.sql(f"SELECT id FROM outbox{_unpublished(scene)}")}
    assert event_id in left
    assert not left & set(before), "what came before it is not acknowledged"

    scene.oracle.read_to_end()
    refused = scene.oracle.events[event_id]
    for record in scene.oracle.records:
        event = scene.oracle.events[record.id or ""]
        if (event.topic, event.key) == (refused.topic, refused.key):
            assert event.order < refused.order, f"{event} is published"
    return text


def _unpublished(scene: Scene) -> str:
    return " WHERE published_at IS NULL" if scene.ack_mode == "mark" else ""


def _correct(scene: Scene, event_id: str) -> None:
    """What an operator does; the event then goes out where it would have gone."""
    scene.sql(
        """UPDATE outbox SET payload = '{"corrected": true}', payload_bytes = NULL, headers = NULL,
           partition = NULL, created_at = now() WHERE id = %s""",
        event_id,
    )


@pytest.mark.parametrize("ack_mode", ["delete", "mark"])
def test_too_large_for_the_producer(scene: Scene) -> None:
    """kafka.message.max.bytes, a million by default."""
    scene.kafka.create_topic(scene.topic, partitions=3)
    before = scene.write(30)
    (large,) = scene.write(1, payload_bytes=bytes(1_100_000), payload=None)
    scene.write(30)
    relay = scene.relay()
    _expect_halt(scene, relay, large, before, scene.topic, "message.max.bytes")
    again = scene.relay()
    _expect_halt(scene, again, large, [], scene.topic, "message.max.bytes")
    _correct(scene, large)
    scene.relay()
    scene.judge()


@pytest.mark.parametrize("place", ["alone", "in a batch"])
def test_too_large_for_the_topic(scene: Scene, place: str) -> None:
    """The broker refuses the whole batch that it is in, and does not say which one it was."""
    scene.kafka.create_topic(scene.topic, 3, {"max.message.bytes": TOPIC_LIMIT})
    before = scene.write(10)
    settings = {"kafka.linger.ms": 50}
    relay = scene.relay(settings)
    wait_for(lambda: scene.unacknowledged() == 0, "the first rows to be acknowledged")
    large = {"payload": f'"{"x" * 2 * TOPIC_LIMIT}"'}
    if place == "alone":
        (refused,) = scene.write(1, **large)
    else:
        refused = _write_around(scene, **large)
    _expect_halt(scene, relay, refused, before, scene.topic, "max.message.bytes")
    _correct(scene, refused)
    scene.relay(settings)
    scene.judge()


def _write_around(scene: Scene, **columns: Any) -> str:
    """In one transaction ten events of a key with this one as the third, and other keys between."""
    connection = scene.postgres.connect(scene.db)
    try:
        with connection:
            early = scene.insert(connection, 20, keys=10)
            (wrong,) = scene.insert(connection, 1, **columns)
            late = scene.insert(connection, 80, keys=10)
        scene.told([*early, wrong, *late])
    finally:
        connection.close()
    return wrong[0]


def test_a_batch_too_large_for_the_topic_is_nobodys_fault(scene: Scene) -> None:
    """Each event fits, together they do not."""
    scene.kafka.create_topic(scene.topic, 1, {"max.message.bytes": TOPIC_LIMIT})
    fill = "x" * 1000
    scene.write(500, payload=f'"{fill}"')
    relay = scene.relay()
    scene.judge(max_duplicates=WINDOW)
    assert relay.exit_code is None
    assert not [line for line in relay.log_lines() if line["level"] == "error"]


INVALID = {
    "both payloads": ({"payload": "1", "payload_bytes": b"1"}, "payload_bytes"),
    "no such partition": ({"partition": 99}, "partition 99"),
    "a negative partition": ({"partition": -1}, "partition"),
    "headers no object": ({"headers": "[1]"}, "headers"),
    "a time without end": ({"created_at": "infinity"}, "created_at"),
    "a time before Kafka's": ({"created_at": "1960-01-01"}, "created_at"),
    "a time in the future": ({"created_at": "2199-01-01"}, "created_at"),
}


@pytest.mark.parametrize("what", INVALID)
def test_an_event_that_no_record_can_say(scene: Scene, what: str) -> None:
    columns, said = INVALID[what]
    scene.kafka.create_topic(scene.topic, partitions=3)
    before = scene.write(30)
    relay = scene.relay({"kafka.linger.ms": 50})
    wait_for(lambda: scene.unacknowledged() == 0, "the first rows to be acknowledged")
    wrong = _write_around(scene, **columns)
    _expect_halt(scene, relay, wrong, before, said)
    _correct(scene, wrong)
    scene.relay()
    scene.judge()


@pytest.mark.parametrize("name", ["not allowed", "", "..", "x" * 250, "täglich"])
def test_a_name_that_no_topic_can_have(scene: Scene, name: str) -> None:
    scene.kafka.create_topic(scene.topic)
    before = scene.write(30, keys=3)
    (wrong,) = scene.write(1, topic=name)
    scene.write(30, keys=3)
    _expect_halt(scene, scene.relay(), wrong, before, "topic")
    scene.sql("DELETE FROM outbox WHERE id = %s", wrong)
    scene.oracle.forget(wrong)
    scene.relay()
    scene.judge()


# -- settings that would break a guarantee -------------------------------------------------------

REFUSED = {
    "enable.idempotence": "false",
    "acks": "1",
    "request.required.acks": "0",
    "message.timeout.ms": "30000",
    "delivery.timeout.ms": "30000",
    "retries": "3",
    "message.send.max.retries": "0",
    "enable.gapless.guarantee": "false",
    "max.in.flight": "6",
    "max.in.flight.requests.per.connection": "1000000",
    "queuing.strategy": "lifo",
    "delivery.report.only.error": "true",
    "partitioner": "random",
    "transactional.id": "mine",
    "plugin.library.paths": "libx",
    "test.mock.num.brokers": "3",
    "queue.buffering.max.messages": "10",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_breaks_a_guarantee_is_refused(name: str) -> None:
    """Before any server is asked: there is none. As a flag and as a variable."""
    nowhere = {"postgres.uri": "host=127.0.0.1 port=1", "kafka.bootstrap.servers": "127.0.0.1:1"}
    flag = f"--kafka-{name.replace('.', '-')}={REFUSED[name]}"
    variable = {**nowhere, f"kafka.{name}": REFUSED[name]}
    for arguments, settings in (((flag,), nowhere), ((), variable)):
        done = command("run", *arguments, settings=settings)
        assert done.returncode == 78, done
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        where = "flag --kafka-" if arguments else "environment OUTBOX_KAFKA_"
        assert re.search(rf"{where}[^ ]*: kafka\.{re.escape(name)}: refused: ", done.stderr), done
