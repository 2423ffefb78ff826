"""An owner that cannot know whether it still is one: what it holds is not published twice, nor by
two; and relays that start in one instant."""

from __future__ import annotations

import datetime
import os
import pathlib
import signal
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.proxy import Proxy
from support.relay import Relay
from support.scene import WINDOW, Scene
from support.wait import wait_for

LEASE_MS = 4000
LINGER_MS = 7000  # records wait so long in the producer: at any moment chosen it holds some
HELD_BACK = 500
SLOW = {"lease.ttl_ms": LEASE_MS, "kafka.linger.ms": LINGER_MS}


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(postgres, kafka, tmp_path)
    yield made
    made.close()


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    with Proxy(postgres.port) as between:
        yield between


def _behind(scene: Scene, proxy: Proxy, settings: dict[str, object]) -> Relay:
    uri = f"postgresql://postgres@127.0.0.1:{proxy.port}/{scene.db}"
    return scene.relay({"postgres.uri": uri, **settings}).wait_ready()


def _hold_back(scene: Scene, relay: Relay) -> int:
    """Events that the relay has read and its producer has not sent, but for the first of each
    partition, which goes alone; returns how many those are."""
    relay.wait_metric("owner", 1)
    scene.write(HELD_BACK)

    def read() -> bool:
        metrics = relay.metric("acknowledged_events_total") + relay.metric("inflight_events")
        return metrics == HELD_BACK and relay.status()["published"] == relay.metric(
            "acknowledged_events_total"
        )

    wait_for(read, "all to be read", 60)
    sent = int(relay.status()["published"])
    assert sent <= 12, "no more than one a partition"
    return sent


def _readers(scene: Scene) -> set[int]:
    """The server's processes that the relays read by."""
    rows = scene.sql(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'outbox-relay read'"
    )
    return {pid for (pid,) in rows}


def test_it_has_to_read_while_a_ping_is_unanswered(scene: Scene) -> None:
    """A standby's connection for reads is idle, and pinged every 5 s; the page waits its turn."""
    owner = scene.relay().wait_ready()
    owner.wait_metric("owner", 1)
    owners = _readers(scene)
    standby = scene.relay().wait_ready()
    (reader,) = _readers(scene) - owners
    scene.write(10)
    scene.oracle.wait(30)
    os.kill(reader, signal.SIGSTOP)
    try:
        stopped_at = standby.status()["uptime_s"]
        wait_for(lambda: standby.status()["uptime_s"] >= stopped_at + 7, "a ping to be sent")
        owner.stop()
        standby.wait_metric("owner", 1)
        scene.write(10)
    finally:
        os.kill(reader, signal.SIGCONT)
    scene.judge()
    assert standby.metric("reconnects_total", server="postgres") == 0


def _lease(scene: Scene) -> tuple[int, float, float]:
    """Its epoch, and its end: in seconds since 1970 and from now, by the server's clock."""
    epoch, end, left = scene.sql(
        "SELECT epoch, extract(epoch FROM renewed_at + ttl_ms * interval '1 ms'),"
        " extract(epoch FROM renewed_at + ttl_ms * interval '1 ms' - clock_timestamp())"
        " FROM outbox_lease"
    )[0]
    return int(epoch), float(end), float(left)


def _wait_given_up(scene: Scene, relay: Relay, since: int) -> None:
    """It has let go of its records, and did so while the lease was still its own."""
    line = relay.wait_log(r".*the lease could not be renewed in time.*", since=since)[0]
    relay.wait_metric("owner", 0)
    ts = line.partition('"ts":"')[2].partition('"')[0]
    given_up = datetime.datetime.fromisoformat(ts.replace("Z", "+00:00")).timestamp()
    assert given_up < _lease(scene)[1], "it went on beyond its lease"
    relay.wait_metric("inflight_bytes", 0)
    assert relay.get("/readyz")[0] == 503, "it does not stand by for anybody: it knows nothing"
    assert relay.get("/livez")[0] == 200
    wait_for(lambda: "PostgreSQL" in (relay.status()["stall"] or ""), "the stall to be shown")
    relay.wait_metric("stalled", 1)


def test_a_zombie_with_a_full_queue(scene: Scene) -> None:
    """Stopped with records in its producer; when it goes on another one has published them."""
    zombie = scene.relay(SLOW).wait_ready()
    zombie.wait_metric("owner", 1)
    heir = scene.relay({"lease.ttl_ms": LEASE_MS}).wait_ready()
    sent = _hold_back(scene, zombie)
    zombie.pause()
    heir.wait_metric("owner", 1)
    scene.oracle.wait(30)
    wait_for(lambda: scene.unacknowledged() == 0, "the heir to have acknowledged all")
    scene.write(50)  # these may have no acknowledgement but the heir's
    since = zombie.log_size()
    zombie.resume()
    zombie.wait_log("standing by", since=since)
    wait_for(lambda: zombie.status()["state"] == "standby", "the zombie to stand by")
    assert zombie.wait_ready().metric("inflight_events") == 0
    assert zombie.metric("acknowledged_events_total") == sent
    scene.write(50)
    scene.judge(max_duplicates=HELD_BACK)
    assert heir.metric("acknowledged_events_total") == HELD_BACK - sent + 100
    assert zombie.metric("lease_epoch") == heir.metric("lease_epoch") == 2
    # It is as good a relay as any again.
    heir.stop()
    zombie.wait_metric("owner", 1)
    scene.write(50)
    scene.judge(max_duplicates=HELD_BACK)


def test_a_silent_database_for_longer_than_the_lease(scene: Scene, proxy: Proxy) -> None:
    """Its producer is given up with what it holds: none of it goes out any more, until the lease
    is its own again."""
    relay = _behind(scene, proxy, SLOW)
    sent = _hold_back(scene, relay)
    since = relay.log_size()
    proxy.pause()
    _wait_given_up(scene, relay, since)
    # Past the time at which the old producer would have sent them.
    wait_for(lambda: _lease(scene)[2] < -LINGER_MS / 1000, "the lease to be long over")
    assert scene.oracle.seen() == sent
    proxy.drop()
    proxy.resume()
    relay.wait_log("owning again", since=since)
    scene.judge(max_duplicates=0)
    relay.wait_metric("stalled", 0)
    assert _lease(scene)[0] == 1, "nobody else was there, so it is the same epoch"
    relay.wait_ready()
    relay.stop()


def test_a_database_that_resets_for_longer_than_the_lease(scene: Scene, proxy: Proxy) -> None:
    """Under load: what was delivered but not acknowledged is remembered."""
    relay = _behind(scene, proxy, {"lease.ttl_ms": LEASE_MS})
    with scene.load(pause_s=0.005):
        for _ in range(2):
            scene.wait_seen(200)
            since = relay.log_size()
            proxy.pause()
            proxy.drop()
            _wait_given_up(scene, relay, since)
            wait_for(lambda: _lease(scene)[2] < 0, "the lease to be over")
            proxy.drop()
            proxy.resume()
            relay.wait_log("owning again", since=since)
            scene.wait_seen(200)
    scene.judge(max_duplicates=2 * WINDOW)
    assert _lease(scene)[0] == 1
    assert scene.oracle.duplicates() == 0, "with Kafka up every record's report came in time"
    relay.stop()


def test_many_start_at_once_and_one_wins(scene: Scene) -> None:
    scene.write(300)
    relays = [scene.relay() for _ in range(4)]
    for relay in relays:
        relay.wait_ready(60)
    scene.judge()
    assert sorted(relay.status()["state"] for relay in relays) == ["owner", *["standby"] * 3]
    assert sorted(relay.status()["published"] for relay in relays) == [0, 0, 0, 300]
    assert _lease(scene)[0] == 1


def test_a_standby_that_ends_disturbs_nobody(scene: Scene) -> None:
    owner = scene.relay().wait_ready()
    owner.wait_metric("owner", 1)
    with scene.load():
        scene.wait_seen(100)
        scene.relay().wait_ready().stop()
        scene.relay().wait_ready().kill()
        scene.wait_seen(100)
    scene.judge()
    assert owner.metric("owner") == 1
    assert _lease(scene)[0] == 1
