"""The relay ends without a word, again and again, or is told to, under load."""

from __future__ import annotations

import signal

import pytest
from support.scene import WINDOW, Scene

ROUNDS = 12
LEASE_MS = 2000  # a killed owner keeps the outbox for so long


def test_killed_under_load(scene: Scene) -> None:
    with scene.load(pause_s=0.005):
        for _ in range(ROUNDS):
            relay = scene.relay({"lease.ttl_ms": LEASE_MS})
            scene.wait_seen(200)
            relay.kill()
        scene.relay({"lease.ttl_ms": LEASE_MS})
        scene.wait_seen(200)
    scene.judge(max_duplicates=ROUNDS * WINDOW)


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
