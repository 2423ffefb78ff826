"""Signals at awkward moments."""

from __future__ import annotations

import pathlib
import signal
import time

import pytest
from support.scene import WINDOW, Scene


def test_stop_with_kafka_away_ends_in_time(scene: Scene) -> None:
    """What is in flight cannot be finished: a warning, exit 0, and it is all published later."""
    relay = scene.relay({"shutdown.timeout_ms": 1500}).wait_ready()
    scene.write(10)
    scene.oracle.wait(20)
    scene.kafka.pause()
    scene.write(50)
    relay.wait_metric("inflight_events", 50)
    begun = time.monotonic()
    assert relay.terminate() == 0
    took = time.monotonic() - begun
    print(f"ended after {took:.2f} s")
    assert 1.4 < took < 5
    relay.check()
    relay.wait_log('"level":"warn".*the drain\'s time is over with 50 events in flight')
    scene.kafka.resume()
    scene.relay()
    scene.judge(max_duplicates=50)


@pytest.mark.parametrize("ack_mode", ["delete"])
def test_stop_with_kafka_and_nothing_in_flight_is_quick(scene: Scene, ack_mode: str) -> None:
    scene.kafka.kill()
    relay = scene.relay()
    relay.wait_log("Kafka cannot be reached")
    scene.write(10)
    relay.wait_metric("owner", 1)
    begun = time.monotonic()
    relay.stop()
    assert time.monotonic() - begun < 5
    scene.kafka.start()
    scene.relay()
    scene.judge()


@pytest.mark.parametrize("ack_mode", ["delete"])
def test_stop_with_postgresql_away_ends(scene: Scene, ack_mode: str) -> None:
    """Delivered but not acknowledged: it may be published again, and nothing is lost."""
    relay = scene.relay({"shutdown.timeout_ms": 1500}).wait_ready()
    with scene.load():
        scene.wait_seen(200)
        scene.postgres.kill()
        relay.wait_metric("postgres_up", 0)
        assert relay.terminate() == 0
        relay.check()
        scene.postgres.start()
        scene.relay()
        scene.wait_seen(200)
    scene.judge(max_duplicates=WINDOW)


@pytest.mark.parametrize("ack_mode", ["delete"])
def test_a_second_signal_ends_at_once(scene: Scene, ack_mode: str) -> None:
    relay = scene.relay({"shutdown.timeout_ms": 60000}).wait_ready()
    scene.write(10)
    scene.oracle.wait(20)
    scene.kafka.pause()
    scene.write(50)
    relay.wait_metric("inflight_events", 50)
    relay.process.signal(signal.SIGTERM)
    relay.wait_log("told to stop: finishing what is in flight")
    assert relay.exit_code is None
    relay.process.signal(signal.SIGINT)
    assert relay.wait_exit(3) == -signal.SIGINT
    relay.wait_log("told to stop a second time: ending at once")
    scene.kafka.resume()
    scene.relay({"lease.ttl_ms": 2000})
    scene.judge(max_duplicates=50)


def test_hangup_reloads(scene: Scene, tmp_path: pathlib.Path) -> None:
    """A changed level holds at once, a broken file changes nothing; neither disturbs the work."""
    path = tmp_path / "relay.json"
    path.write_text('{"log": {"level": "error"}}')
    relay = scene.relay(env={"OUTBOX_CONFIG": str(path), "OUTBOX_LOG_LEVEL": None}).wait_ready()
    assert relay.log_size() == 0

    def reload(answer: str) -> None:
        since = relay.log_size()
        relay.process.signal(signal.SIGHUP)
        relay.wait_log(answer, since=since)

    refused = '"level":"error".*not reloaded, everything stays as it was: .*'
    with scene.load():
        scene.wait_seen(100)
        path.write_text('{"log": {"level": "loud"}}')
        reload(refused + "log.level.*loud")
        path.write_text('{"log": {"level": "info"}')
        reload(refused + path.name)
        path.unlink()
        reload(refused + path.name)
        assert not relay.log_match('"level":"info"')
        path.write_text('{"log": {"level": "info"}}')
        reload('"level":"info".*reloaded: log.level applies now')
        scene.wait_seen(100)
    scene.judge()
    relay.stop()
    relay.wait_log('"level":"info".*stopped after')
