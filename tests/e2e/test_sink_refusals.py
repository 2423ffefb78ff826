"""Events that cannot be published: the relay halts at them with 65, names them, and goes on once
they are corrected."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay, command
from support.scene import WINDOW, Scene

HALTED = 65


@pytest.fixture(params=["delete", "mark"])
def scene(
    postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    made = Scene(postgres, kafka, tmp_path, ack_mode=request.param)
    postgres.unguard(made.db)
    kafka.create_topic(made.topic, partitions=3)
    yield made
    made.close()


def _halts(scene: Scene, relay: Relay, event_id: str, *says: str) -> dict[str, Any]:
    """One error, and it tells all that is needed; returns it."""
    assert relay.wait_exit() == HALTED
    relay.check()
    errors = [line for line in relay.log_lines() if line["level"] == "error"]
    assert len(errors) == 1, errors
    error = errors[0]
    assert error["event_id"] == event_id
    for text in (event_id, *says, "It stays in", "start again"):
        assert text in error["msg"], error["msg"]
    assert not relay.log_match("a handle was left open")
    return error


def _around(scene: Scene, **bad: Any) -> tuple[list[str], str, list[str]]:
    """In one transaction: events of two keys, the bad one of key-0, events of both keys again. Only
    the good ones of before are told to the oracle so far."""
    before = scene.write(20, keys=2)
    connection = scene.postgres.connect(scene.db)
    with connection:
        events = scene.insert(connection, 1, keys=1, **bad)
        events += scene.insert(connection, 20, keys=2)
    connection.close()
    return before, events[0][0], [event_id for event_id, _, _ in events[1:]]


def _tell(scene: Scene, first: str, later: list[str]) -> None:
    scene.oracle.committed(first, scene.topic, "key-0")
    for number, event_id in enumerate(later):
        scene.oracle.committed(event_id, scene.topic, f"key-{number % 2}")


def _acknowledged(scene: Scene, ids: list[str]) -> bool:
    condition = " AND published_at IS NULL" if scene.ack_mode == "mark" else ""
    sql = f"SELECT count(*) FROM outbox WHERE id = ANY(%s::uuid[]){condition}"
    return scene.sql(sql, ids)[0][0] == 0


def _correct(scene: Scene, event_id: str, change: str) -> None:
    scene.sql(f"UPDATE outbox SET {change} WHERE id = %s", event_id)


BAD = {
    "both payloads": ({"payload_bytes": b"x"}, "payload_bytes = NULL", "both a payload"),
    "negative partition": ({"partition": -1}, "partition = NULL", "partition is negative"),
    "no such partition": ({"partition": 77}, "partition = NULL", "no partition 77"),
    "headers an array": ({"headers": "[1]"}, "headers = NULL", "headers are not a JSON object"),
    "headers a text": ({"headers": '"x"'}, "headers = NULL", "headers are not a JSON object"),
    "infinity": ({"created_at": "infinity"}, "created_at = now()", "created_at is infinite"),
    "-infinity": ({"created_at": "-infinity"}, "created_at = now()", "created_at is infinite"),
    "before 1970": ({"created_at": "1969-12-31Z"}, "created_at = now()", "not after 1970"),
    "illegal topic": ({"topic": "no good"}, "topic = NULL", "does not allow at place 3"),
    "topic of dots": ({"topic": ".."}, "topic = NULL", ".."),
    "long topic": ({"topic": "x" * 250}, "topic = NULL", "249"),
    "no topic": ({"topic": ""}, "topic = NULL", "topic"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("scene", ["delete"], indirect=True)
def test_an_event_that_can_be_no_record(scene: Scene, what: str) -> None:
    columns, change, says = BAD[what]
    before, bad, later = _around(scene, **columns)
    relay = scene.relay()
    _halts(scene, relay, bad, says)
    assert _acknowledged(scene, before), "what stood before it is out"
    scene.oracle.wait(20)
    scene.oracle.verify()  # and nothing of behind it: these were not told yet
    again = scene.relay()
    _halts(scene, again, bad, says)
    _correct(scene, bad, change)
    _tell(scene, bad, later)
    scene.relay()
    scene.judge()


def test_larger_than_the_producer_takes(scene: Scene) -> None:
    """message.max.bytes of our own: known before anything is sent."""
    big = json.dumps("x" * 20000)
    before, bad, later = _around(scene, payload=big)
    settings = {"kafka.message.max.bytes": 10000}
    relay = scene.relay(settings)
    error = _halts(scene, relay, bad, scene.topic, "max.message.bytes")
    assert error["bytes"] > 20000
    assert "xxxx" not in relay.log.read_text(), "no payload in the log"
    assert _acknowledged(scene, before)
    scene.oracle.wait(20)
    scene.oracle.verify()
    _tell(scene, bad, later)
    scene.relay()  # with the default of 1 MB it goes
    scene.judge()


@pytest.fixture
def small(scene: Scene, kafka: Kafka) -> str:
    """The aggregate type of a topic that takes little."""
    kind = f"{scene.aggregatetype}-small"
    kafka.create_topic(f"outbox.event.{kind}", configs={"max.message.bytes": 10000})
    return kind


BATCHING = {
    "as they come": {},
    "gathered": {"kafka.linger.ms": 50},
    "one by one": {"kafka.batch.num.messages": 1},
}


@pytest.mark.parametrize("batching", BATCHING)
def test_larger_than_the_topic_takes(scene: Scene, small: str, batching: str) -> None:
    """Alone, or in the middle of a batch that is refused with it. At the second start it is the
    first record of its partition that the broker gets from that producer: it must not be overtaken
    by what follows it, for which there is no number missing then."""
    topic = f"outbox.event.{small}"
    connection = scene.postgres.connect(scene.db)
    with connection:
        first = scene.insert(connection, 4, keys=2, aggregatetype=small)
        bad = scene.insert(
            connection, 1, keys=1, aggregatetype=small, payload=json.dumps("x" * 20000)
        )
        rest = scene.insert(connection, 40, keys=2, aggregatetype=small)
    connection.close()
    scene.oracle.watch(topic)
    settings = BATCHING[batching]
    for _ in range(2):
        relay = scene.relay(settings)
        _halts(scene, relay, bad[0][0], topic, "max.message.bytes")
    _correct(scene, bad[0][0], "payload = '1'")
    scene.told(first + bad + rest)
    scene.relay(settings)
    scene.judge()


@pytest.mark.parametrize("scene", ["delete"], indirect=True)
def test_a_batch_too_large_for_the_topic_is_nobodys_fault(scene: Scene, small: str) -> None:
    """Each event fits, together they do not."""
    scene.write(500, aggregatetype=small, payload=json.dumps("x" * 1000))
    relay = scene.relay()
    scene.judge(max_duplicates=WINDOW)
    assert relay.exit_code is None
    assert not relay.log_match('"level":"error"')


def test_larger_than_the_topic_takes_among_others_under_load(scene: Scene, small: str) -> None:
    """What is in flight to other topics is finished and acknowledged before the end."""
    topic = f"outbox.event.{small}"
    relay = scene.relay().wait_ready()
    with scene.load():
        scene.wait_seen(200)
        connection = scene.postgres.connect(scene.db)
        with connection:
            bad = scene.insert(
                connection, 1, keys=1, aggregatetype=small, payload=json.dumps("x" * 20000)
            )
        _halts(scene, relay, bad[0][0], topic)
        _correct(scene, bad[0][0], "payload = '1'")
        scene.told(bad)
        connection.close()
        scene.relay()
        scene.wait_seen(200)
    scene.judge()


# -- settings that would break a guarantee -------------------------------------------------------

UNSAFE = {
    "enable.idempotence": "false",
    "acks": "1",
    "request.required.acks": "0",
    "message.timeout.ms": "30000",
    "enable.gapless.guarantee": "false",
    "max.in.flight.requests.per.connection": "6",
    "max.in.flight": "6",
    "delivery.timeout.ms": "30000",
    "retries": "3",
    "message.send.max.retries": "3",
    "queuing.strategy": "lifo",
    "partitioner": "random",
    "transactional.id": "relay",
    "plugin.library.paths": "x",
    "test.mock.num.brokers": "1",
    "delivery.report.only.error": "true",
    "queue.buffering.max.messages": "10",
}


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("how", ["environment", "flag"])
def test_a_setting_that_breaks_a_guarantee_is_refused(name: str, how: str) -> None:
    """Before anything is touched: no server is there."""
    nowhere = {
        "postgres.uri": "postgresql://127.0.0.1:1/x",
        "kafka.bootstrap.servers": "127.0.0.1:1",
    }
    if how == "environment":
        done = command("run", settings={**nowhere, f"kafka.{name}": UNSAFE[name]})
    else:
        flag = "--kafka-" + name.replace(".", "-")
        done = command("run", flag, UNSAFE[name], settings=nowhere)
    assert done.returncode == 78, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert f"kafka.{name}" in done.stderr
    assert "refused" in done.stderr
