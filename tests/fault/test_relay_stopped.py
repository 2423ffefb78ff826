"""The relay is told to end, again and again, under load."""

from __future__ import annotations

import signal

import pytest
from support.scene import Scene


def test_stopped_under_load_repeats_nothing(scene: Scene) -> None:
    with scene.load():
        for _ in range(10):
            relay = scene.relay()
            scene.wait_seen(200)
            relay.stop()
        scene.relay()
        scene.wait_seen(200)
    scene.judge()


@pytest.mark.parametrize("ack_mode", ["delete"])
def test_interrupted_as_at_a_terminal(scene: Scene, ack_mode: str) -> None:
    relay = scene.relay()
    with scene.load():
        scene.wait_seen(200)
        relay.process.signal(signal.SIGINT)
        assert relay.wait_exit() == 0
        relay.check()
        scene.relay()
        scene.wait_seen(200)
    scene.judge()
