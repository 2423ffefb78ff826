"""A producer that dies for a reason that no real broker can be brought to: rebuilt, and what was not
acknowledged is sent again, in order."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.mock_kafka import (
    INVALID_PRODUCER_EPOCH,
    KAFKA_STORAGE_ERROR,
    NOT_ENOUGH_REPLICAS,
    NOT_LEADER,
    OUT_OF_ORDER_SEQUENCE,
    PRODUCE,
    REQUEST_TIMED_OUT,
    UNKNOWN_PRODUCER_ID,
    MockKafka,
)
from support.postgres import Postgres
from support.relay import Relay
from support.scene import WINDOW, Scene


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockKafka]:
    with MockKafka(tmp_path_factory.mktemp("mock")) as cluster:
        yield cluster


@pytest.fixture(params=["delete", "mark"])
def scene(
    postgres: Postgres, mock: MockKafka, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    made = Scene(postgres, mock, tmp_path, ack_mode=request.param)
    mock.create_topic(made.topic, partitions=3)
    yield made
    mock.set_rtt(0)
    made.close()


def _fail(scene: Scene, mock: MockKafka, relay: Relay, code: int) -> None:
    """Pushed again until a batch has met it at a time when it is fatal."""
    rebuilds = relay.metric("producer_rebuilds_total")
    for _ in range(20):
        mock.push(PRODUCE, code)
        scene.wait_seen(50)
        if relay.metric("producer_rebuilds_total") > rebuilds:
            return
    raise AssertionError("the producer never died")


@pytest.mark.parametrize(
    "code", [OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID]
)
def test_a_dead_producer_is_rebuilt(scene: Scene, mock: MockKafka, code: int) -> None:
    rounds = 3
    relay = scene.relay().wait_ready()
    with scene.load():
        scene.wait_seen(100)
        for _ in range(rounds):
            if code == OUT_OF_ORDER_SEQUENCE:
                _fail(scene, mock, relay, code)
            else:  # the library may get over these by itself
                mock.push(PRODUCE, code)
                scene.wait_seen(100)
    rebuilds = int(relay.metric("producer_rebuilds_total"))
    scene.judge(max_duplicates=rebuilds * WINDOW)
    assert relay.exit_code is None
    if rebuilds:
        relay.wait_log("a new producer is made and goes on at the oldest unacknowledged row")


@pytest.mark.parametrize(
    "code", [NOT_LEADER, NOT_ENOUGH_REPLICAS, REQUEST_TIMED_OUT, KAFKA_STORAGE_ERROR]
)
def test_a_refused_first_record_is_not_believed_delivered(
    scene: Scene, mock: MockKafka, code: int
) -> None:
    """A partition's first record is refused for now, the next one taken: librdkafka counts the
    success of a later request as that of an earlier one too."""
    mock.set_rtt(50)
    scene.relay({"kafka.linger.ms": 0, "kafka.batch.num.messages": 1}).wait_ready()
    mock.push(PRODUCE, code)
    scene.write(20, keys=1)
    scene.judge()
