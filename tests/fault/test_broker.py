"""Kafka stands still, dies, is cut off, or goes down together with PostgreSQL, under load."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.proxied_kafka import ProxiedKafka
from support.scene import WINDOW, Scene


def test_stands_still(scene: Scene) -> None:
    """SIGSTOP: connections stay open, nothing is answered. The window fills, rows wait."""
    relay = scene.relay().wait_ready()
    with scene.load():
        scene.wait_seen(200)
        scene.kafka.pause()
        relay.wait_metric("kafka_up", 0)
        assert relay.exit_code is None
        assert relay.metric("inflight_events") <= WINDOW
        assert relay.get("/livez")[0] == 200
        assert relay.get("/readyz")[0] == 503
        scene.kafka.resume()
        relay.wait_metric("kafka_up", 1)
        scene.wait_seen(200)
    scene.judge()
    assert relay.metric("producer_rebuilds_total") == 0


@pytest.mark.parametrize("ack_mode", ["delete"])
def test_killed(scene: Scene, ack_mode: str) -> None:
    rounds = 3
    relay = scene.relay().wait_ready()
    with scene.load(pause_s=0.02):
        for _ in range(rounds):
            scene.wait_seen(200)
            since = relay.log_size()
            scene.kafka.kill()
            relay.wait_log("Kafka cannot be reached", since=since)
            assert relay.metric("kafka_up") == 0
            scene.kafka.start()
            relay.wait_metric("kafka_up", 1)
        scene.wait_seen(200)
    scene.judge(max_duplicates=rounds * WINDOW)
    assert relay.metric("reconnects_total", server="kafka") == rounds


def test_away_at_the_start(frail_postgres: Postgres, tmp_path: pathlib.Path) -> None:
    with Kafka() as kafka:
        scene = Scene(frail_postgres, kafka, tmp_path)
        try:
            kafka.stop()
            relay = scene.relay()
            relay.wait_log("Kafka cannot be reached")
            scene.write(50)
            relay.wait_metric("owner", 1)
            assert relay.metric("kafka_up") == 0
            assert relay.status()["kafka"]["error"]
            assert relay.status()["stall"] is None or "Kafka" in relay.status()["stall"]
            assert scene.unacknowledged() == 50
            kafka.start()
            scene.judge()
            relay.wait_ready()
        finally:
            if not kafka.running():
                kafka.start()
            scene.close()


# No quarantine: memory that was freed is not to look like memory in use.
_MEASURED = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=0"}
_GROWTH_KIB = 16 * 1024


@pytest.mark.parametrize("ack_mode", ["delete"])
def test_both_servers_down_again_and_again(scene: Scene, ack_mode: str) -> None:
    """Neither memory nor duplicates grow with the number of outages."""
    relay = scene.relay(env=_MEASURED).wait_ready()
    sizes = []
    with scene.load(pause_s=0.02):
        for number in range(5):
            scene.wait_seen(200)
            if number % 2:
                scene.postgres.stop("immediate")
                scene.kafka.kill()
            else:
                scene.kafka.kill()
                scene.postgres.kill()
            relay.wait_metric("kafka_up", 0)
            relay.wait_metric("postgres_up", 0)
            scene.postgres.start()
            scene.kafka.start()
            relay.wait_metric("kafka_up", 1)
            relay.wait_metric("postgres_up", 1)
            scene.wait_seen(200)
            sizes.append(relay.rss_kib())
    scene.judge(max_duplicates=WINDOW)
    print("resident KiB after each round:", sizes)
    assert max(sizes[1:]) - sizes[0] < _GROWTH_KIB


# -- a network that fails ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxied_kafka() -> Iterator[ProxiedKafka]:
    with ProxiedKafka() as cluster:
        yield cluster


@pytest.fixture
def cut_off(
    frail_postgres: Postgres, proxied_kafka: ProxiedKafka, tmp_path: pathlib.Path
) -> Iterator[Scene]:
    made = Scene(frail_postgres, proxied_kafka, tmp_path)
    yield made
    made.close()


def test_a_silent_network_is_noticed(cut_off: Scene, proxied_kafka: ProxiedKafka) -> None:
    scene, proxy = cut_off, proxied_kafka.proxies[0]
    relay = scene.relay({"kafka.bootstrap.servers": proxied_kafka.proxied_bootstrap}).wait_ready()
    with scene.load(pause_s=0.005):
        scene.wait_seen(200)
        proxy.pause()
        relay.wait_metric("kafka_up", 0)
        assert relay.exit_code is None
        proxy.drop()
        proxy.resume()
        relay.wait_metric("kafka_up", 1, timeout=30)
        scene.wait_seen(200)
    scene.judge(max_duplicates=WINDOW)
