"""What each of Kafka's refusals comes to: of one batch in the middle of a stream of several keys,
some delivered before it, some after. A real broker gives few of these when asked to."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.mock_kafka import PRODUCE, MockKafka
from support.postgres import Postgres
from support.relay import Relay, command
from support.scene import Scene
from support.wait import wait_for

# By what a report with it is counted as; each with the protocol's number, or librdkafka's own.
CODES = {
    "row": {
        "MSG_SIZE_TOO_LARGE": 10,
        "RECORD_LIST_TOO_LARGE": 18,
        "INVALID_TIMESTAMP": 32,
        "POLICY_VIOLATION": 44,
        "INVALID_RECORD": 87,
    },
    "topic": {
        "TOPIC_EXCEPTION": 17,
        "TOPIC_AUTHORIZATION_FAILED": 29,
    },
    "cluster": {
        "INVALID_REQUIRED_ACKS": 21,
        "CLUSTER_AUTHORIZATION_FAILED": 31,
        "UNSUPPORTED_COMPRESSION_TYPE": 76,
        "UNKNOWN": -1,
        "INVALID_MSG": 2,
    },
    "lost": {
        "OUT_OF_ORDER_SEQUENCE_NUMBER": 45,
        "INVALID_PRODUCER_EPOCH": 47,
        "UNKNOWN_PRODUCER_ID": 59,
        "PRODUCER_FENCED": 90,
    },
    "retried": {
        "UNKNOWN_TOPIC_OR_PART": 3,
        "LEADER_NOT_AVAILABLE": 5,
        "NOT_LEADER_FOR_PARTITION": 6,
        "REQUEST_TIMED_OUT": 7,
        "NOT_ENOUGH_REPLICAS": 19,
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND": 20,
        "KAFKA_STORAGE_ERROR": 56,
        "_TRANSPORT": -195,
    },
}
# Some versions of librdkafka retry these by themselves, at least where nothing else is in flight.
SOMETIMES_RETRIED = {"INVALID_MSG", "INVALID_PRODUCER_EPOCH", "UNKNOWN_PRODUCER_ID"}
# One run each, but for those of a row, after which batches stay small.
RUNS = [("row", {name: number}) for name, number in CODES["row"].items()]
RUNS += [(class_, codes) for class_, codes in CODES.items() if class_ != "row"]
BATCH = 100


@pytest.fixture
def scene(postgres: Postgres, mock: MockKafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(postgres, mock, tmp_path)
    mock.create_topic(made.topic, 3)
    yield made
    made.close()


@pytest.fixture
def relay(scene: Scene) -> Relay:
    made = scene.relay({"failure.policy": "park", "kafka.linger.ms": 50}).wait_ready()
    scene.write(BATCH, keys=7)
    scene.oracle.wait(20)
    return made


def errors(relay: Relay, **labels: str) -> int:
    try:
        return int(relay.metric("delivery_errors_total", **labels))
    except KeyError:  # none so far
        return 0


@pytest.mark.parametrize("class_, codes", RUNS)
def test_a_batch_in_the_middle(
    scene: Scene, mock: MockKafka, relay: Relay, class_: str, codes: dict[str, int]
) -> None:
    """No event is blamed for what was said of many, none is lost, none overtakes another."""
    for name, number in codes.items():
        scene.write(BATCH, keys=7)  # a new producer's first record of a partition goes alone
        rebuilds = relay.metric("producer_rebuilds_total")
        allowed = 2 * BATCH if rebuilds else 0
        scene.judge(allowed)
        before = errors(relay)
        mock.push(PRODUCE, number)
        scene.write(BATCH, keys=7)
        scene.write(BATCH, keys=7)
        scene.judge(allowed)
        counted = "lost" if class_ == "row" else class_
        if class_ == "retried" or (name in SOMETIMES_RETRIED and errors(relay) == before):
            assert errors(relay) == before, name
        else:
            assert errors(relay, error=name, **{"class": counted}) > 1, name
            assert relay.metric("producer_rebuilds_total") == rebuilds + 1, name
        assert relay.metric("parked_events") == 0, name
        assert relay.metric("topics_away") == 0, name


@pytest.mark.parametrize("code", CODES["row"])
def test_one_that_is_refused_alone(
    scene: Scene, mock: MockKafka, relay: Relay, code: str
) -> None:
    """It is at fault, and holds up its key, while all others go on."""
    mock.push(PRODUCE, CODES["row"][code])
    (wrong,) = scene.write(1, keys=1)
    relay.wait_metric("parked_events", 1)
    scene.write(70, keys=7)
    wait_for(lambda: scene.unacknowledged() == 11, "the other keys to go on")
    assert errors(relay, error=code, **{"class": "row"}) == 1
    server = {"postgres.uri": relay.settings["postgres.uri"]}
    done = command("dead", "discard", wrong, "--reason", "refused", settings=server)
    assert done.returncode == 0, done
    scene.oracle.forget(wrong)
    scene.judge()


def test_one_that_was_there_already(scene: Scene, mock: MockKafka, relay: Relay) -> None:
    """DUPLICATE_SEQUENCE_NUMBER is a success to librdkafka, but no broker says where the records
    are; so they are sent again, all of that batch."""
    mock.push(PRODUCE, 46)
    scene.write(BATCH, keys=1)
    scene.judge()
    assert errors(relay, error="_NO_OFFSET", **{"class": "lost"}) == BATCH
