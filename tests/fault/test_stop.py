"""The relay is told to stop, at any moment and whoever is away, or to read its settings again."""

from __future__ import annotations

import json
import pathlib
import signal
import time

import pytest
from support.ports import free_port
from support.relay import Relay
from support.scene import WINDOW, Scene
from support.wait import wait_for

TIMEOUT_MS = 1500
MARGIN_S = 8.0  # for a sanitized program among others on a busy machine


@pytest.fixture
def ack_mode() -> str:
    return "delete"


def _stop_in_time(relay: Relay, number: int = signal.SIGTERM) -> None:
    """Exit code 0, within its time and with no handle left open, whatever is away."""
    began = time.monotonic()
    relay.process.signal(number)
    assert relay.wait_exit() == 0, relay.process.tail()
    assert time.monotonic() - began < TIMEOUT_MS / 1000 + MARGIN_S
    relay.check()
    assert relay.log_match("told to stop")
    assert relay.log_match(r"stopped after \d+ s")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_with_kafka_away(scene: Scene, number: int) -> None:
    """What is in flight cannot be finished: a warning says so, and the rows stay."""
    relay = scene.relay({"shutdown.timeout_ms": TIMEOUT_MS}).wait_ready()
    scene.write(100)
    wait_for(lambda: scene.unacknowledged() == 0, "the first rows to be acknowledged")
    scene.kafka.pause()
    scene.write(300)
    relay.wait_metric("inflight_events", 300)
    _stop_in_time(relay, number)
    warning = relay.wait_log("the drain's time is over with 300 events in flight")
    assert warning
    assert scene.unacknowledged() == 300
    scene.kafka.resume()
    scene.relay()
    scene.judge(max_duplicates=300)


def test_a_drain_finishes_when_kafka_comes_back(scene: Scene) -> None:
    """A full window in flight, told to stop, and all of it confirmed and acknowledged before the
    end: nothing comes twice."""
    relay = scene.relay().wait_ready()
    scene.write(1)
    wait_for(lambda: scene.unacknowledged() == 0, "the first row to be acknowledged")
    scene.kafka.pause()
    scene.write(WINDOW + 500)
    relay.wait_metric("inflight_events", WINDOW)
    since = relay.log_size()
    relay.process.signal(signal.SIGTERM)
    relay.wait_log("told to stop", since=since)
    scene.kafka.resume()
    assert relay.wait_exit() == 0
    assert not relay.log_match("the drain's time is over")
    assert scene.unacknowledged() == 500
    scene.relay()
    scene.judge()


def test_with_postgresql_away(scene: Scene) -> None:
    relay = scene.relay({"shutdown.timeout_ms": TIMEOUT_MS}).wait_ready()
    with scene.load():
        scene.wait_seen(100)
        scene.postgres.stop("immediate")
        relay.wait_metric("postgres_up", 0)
        _stop_in_time(relay)
        scene.postgres.start()
        scene.relay()
        scene.wait_seen(100)
    scene.judge(max_duplicates=WINDOW)


def test_with_postgresql_silent(scene: Scene) -> None:
    relay = scene.relay({"shutdown.timeout_ms": TIMEOUT_MS}).wait_ready()
    scene.write(100)
    wait_for(lambda: scene.unacknowledged() == 0, "the first rows to be acknowledged")
    scene.postgres.pause()
    try:
        _stop_in_time(relay)
    finally:
        scene.postgres.resume()
    scene.write(100)
    scene.relay({"lease.ttl_ms": 2000})
    scene.judge()


@pytest.mark.parametrize("away", ["postgresql", "kafka", "both"])
def test_before_a_server_was_ever_reached(scene: Scene, away: str) -> None:
    nowhere = free_port()
    settings = {"shutdown.timeout_ms": TIMEOUT_MS}
    if away != "kafka":
        settings["postgres.uri"] = f"host=127.0.0.1 port={nowhere}"
    if away != "postgresql":
        settings["kafka.bootstrap.servers"] = f"127.0.0.1:{nowhere}"
    relay = scene.relay(settings)
    relay.wait_log("cannot be reached|cannot be read")
    _stop_in_time(relay)


def test_on_standby(scene: Scene) -> None:
    owner = scene.relay().wait_ready()
    standby = scene.relay()
    wait_for(lambda: standby.get("/readyz")[0] == 200, "the standby to be ready")
    assert standby.metric("owner") == 0
    _stop_in_time(standby)
    scene.write(100)
    scene.judge()
    assert owner.exit_code is None


def test_a_second_signal_ends_at_once(scene: Scene) -> None:
    """The time for the drain is a minute: it is not waited for."""
    relay = scene.relay({"shutdown.timeout_ms": 60_000}).wait_ready()
    scene.write(1)
    wait_for(lambda: scene.unacknowledged() == 0, "the first row to be acknowledged")
    scene.kafka.pause()
    scene.write(100)
    relay.wait_metric("inflight_events", 100)
    relay.process.signal(signal.SIGTERM)
    relay.wait_log("told to stop: finishing")
    assert relay.exit_code is None
    relay.process.signal(signal.SIGTERM)
    assert relay.wait_exit(MARGIN_S) == -signal.SIGTERM
    relay.check()
    assert relay.log_match("told to stop a second time")
    scene.kafka.resume()
    scene.relay({"lease.ttl_ms": 2000})
    scene.judge(max_duplicates=100)


# -- SIGHUP --------------------------------------------------------------------------------------


def _levels(relay: Relay, since: int) -> set[str]:
    lines = relay.log.read_bytes()[since:].decode().splitlines()
    return {json.loads(line)["level"] for line in lines if line.startswith("{")}


def test_reload(scene: Scene, tmp_path: pathlib.Path) -> None:
    """A new log.level applies; a broken file changes nothing; events flow through all of it."""
    file = tmp_path / "relay.json"
    file.write_text('{"log": {"level": "warn"}}')
    relay = scene.relay(env={"OUTBOX_CONFIG": str(file), "OUTBOX_LOG_LEVEL": None})
    relay.wait_ready()
    assert relay.log_lines() == []
    with scene.load():
        scene.wait_seen(100)
        file.write_text('{"log": {"level": "debug"}}')
        relay.process.signal(signal.SIGHUP)
        relay.wait_log("reloaded: log.level applies now")
        scene.wait_seen(100)

        for broken, said in (
            ("{", r"relay\.json:1:1: "),
            ('{"log": {"level": "loud"}}', "log.level"),
            ('{"log": {"levl": "info"}}', "log.levl"),
            ('{"kafka": {"acks": "all"}, "window": {"events": -1}}', "window.events"),
        ):
            since = relay.log_size()
            file.write_text(broken)
            relay.process.signal(signal.SIGHUP)
            relay.wait_log("not reloaded, everything stays as it was: ", since=since)
            assert relay.log_match(said, since), relay.process.tail()
            scene.wait_seen(50)
        file.unlink()
        since = relay.log_size()
        relay.process.signal(signal.SIGHUP)
        relay.wait_log("not reloaded, everything stays as it was: ", since=since)
        assert relay.log_match(str(file), since)

        file.write_text('{"log": {"level": "error"}}')
        since = relay.log_size()
        relay.process.signal(signal.SIGHUP)
        scene.wait_seen(100)
    scene.judge()
    relay.stop()
    assert not _levels(relay, since) & {"debug", "warn"}, relay.process.tail()
