"""Three brokers: partitions change their leaders under load."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.scene import WINDOW, Scene


@pytest.fixture
def three() -> Iterator[Kafka]:
    # Who is away is given up soon, so that another leads.
    soon = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    with Kafka(brokers=3, settings=soon) as kafka:
        yield kafka


def test_leaders_come_and_go(postgres: Postgres, three: Kafka, tmp_path: pathlib.Path) -> None:
    scene = Scene(postgres, three, tmp_path)
    relay = scene.relay({"kafka.socket.timeout.ms": 5000}).wait_ready()
    try:
        with scene.load(pause_s=0.01):
            for node in range(2):
                scene.wait_seen(200, 60)
                three.kill(node)
                scene.wait_seen(200, 60)
                three.start(node)
            scene.wait_seen(200, 60)
            three.pause(0)
            scene.wait_seen(200, 60)
            three.resume(0)
            three.stop(2)
            scene.wait_seen(200, 60)
            three.start(2)
            scene.wait_seen(200, 60)
        scene.judge(max_duplicates=4 * WINDOW)
        assert relay.exit_code is None
    finally:
        three.resume(0)
        scene.close()
