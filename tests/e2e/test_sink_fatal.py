"""A producer that dies for a reason that no real broker can be brought to: rebuilt, and what was
not acknowledged is sent again, in order."""

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
    MockKafka,
)
from support.postgres import Postgres
from support.scene import WINDOW, Scene
from support.wait import wait_for


@pytest.fixture(params=["delete", "mark"])
def scene(
    postgres: Postgres, mock: MockKafka, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    made = Scene(postgres, mock, tmp_path, ack_mode=request.param)
    mock.create_topic(made.topic)
    yield made
    mock.set_rtt(0)
    made.close()


@pytest.mark.parametrize("code", [OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH])
def test_a_dead_producer_is_rebuilt(scene: Scene, mock: MockKafka, code: int) -> None:
    rounds = 3
    relay = scene.relay().wait_ready()
    with scene.load():
        scene.wait_seen(100)
        for number in range(rounds):
            # Twice: the mock cluster would take what follows, which a broker refuses too.
            mock.push(PRODUCE, code, code)
            if code == OUT_OF_ORDER_SEQUENCE:  # the library gets over the other one by itself
                wait_for(lambda: relay.metric("producer_rebuilds_total") > number, "a rebuild")
            scene.wait_seen(100)
    rebuilds = int(relay.metric("producer_rebuilds_total"))
    scene.judge(max_duplicates=rebuilds * WINDOW)
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
