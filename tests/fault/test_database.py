"""PostgreSQL crashes, loses connections, falls silent, or is suddenly another one, under load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.proxy import Proxy
from support.relay import Relay
from support.scene import WINDOW, Scene
from support.wait import wait_for
from support.writer import insert

HANDS = {
    "read": "outbox-relay read",
    "control": "outbox-relay control",
    "wakeup": "outbox-relay wakeup",
    "all": "outbox-relay %",
}


@pytest.mark.parametrize("whose", HANDS)
def test_ended_connections_repeat_nothing(scene: Scene, whose: str) -> None:
    """With Kafka up and the relay alive the ledger knows what is delivered."""
    relay = scene.relay().wait_ready()
    before = relay.metric("reconnects_total", server="postgres")
    with scene.load():
        for _ in range(10):
            wait_for(lambda: scene.sql(_BACKENDS, HANDS[whose]), f"{whose} to be connected")
            assert any(ended for (ended,) in scene.sql(_END, HANDS[whose]))
            scene.wait_seen(50)
    scene.judge()
    if whose != "wakeup":
        assert relay.metric("reconnects_total", server="postgres") > before
    assert relay.metric("producer_rebuilds_total") == 0


_BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE %s
"""
_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE %s
"""


# -- a network that fails ------------------------------------------------------------------------


@pytest.fixture
def proxy(frail_postgres: Postgres) -> Iterator[Proxy]:
    with Proxy(frail_postgres.port) as between:
        yield between


def _through(scene: Scene, proxy: Proxy) -> Relay:
    uri = f"postgresql://postgres@127.0.0.1:{proxy.port}/{scene.db}"
    return scene.relay({"postgres.uri": uri}).wait_ready()


def test_a_silent_server_is_noticed(scene: Scene, proxy: Proxy) -> None:
    """Nothing is closed, no answer comes: only deadlines tell."""
    relay = _through(scene, proxy)
    with scene.load(pause_s=0.005):
        scene.wait_seen(200)
        since = relay.log_size()
        proxy.pause()
        relay.wait_metric("postgres_up", 0, timeout=25)
        relay.wait_log("no answer from the server for|no connection to the server", since=since)
        assert relay.get("/livez")[0] == 200
        assert relay.get("/readyz")[0] == 503
        # Nor can it renew its lease: long before that is over it has stopped publishing.
        relay.wait_log("the lease could not be renewed in time", since=since)
        proxy.drop()
        proxy.resume()
        relay.wait_metric("postgres_up", 1, timeout=25)
        relay.wait_log("owning again", since=since)  # nobody came between
        scene.wait_seen(200)
    scene.judge(max_duplicates=WINDOW)


def test_an_owner_that_is_cut_off_has_stopped_before_another_begins(
    scene: Scene, proxy: Proxy
) -> None:
    owner = _through(scene, proxy)
    owner.wait_metric("owner", 1)
    standby = scene.relay().wait_ready()
    with scene.load(pause_s=0.005):
        scene.wait_seen(200)
        proxy.pause()
        standby.wait_metric("owner", 1, timeout=15)
        scene.wait_seen(200)
        assert owner.metric("owner") == 0
        proxy.drop()
        proxy.resume()
        wait_for(lambda: owner.status()["state"] == "standby", "it to stand by", 25)
    assert _said(owner, "the lease could not be renewed in time") < _said(standby, "owning the")
    scene.judge(max_duplicates=WINDOW)
    standby.stop()
    owner.wait_metric("owner", 1)


def _said(relay: Relay, what: str) -> str:
    """When it said so first: times of one clock, which sort as text."""
    return str(next(line["ts"] for line in relay.log_lines() if what in line["msg"]))


def test_resets_and_half_closed_connections_repeat_nothing(scene: Scene, proxy: Proxy) -> None:
    relay = _through(scene, proxy)
    with scene.load():
        for number in range(12):
            connections = proxy.accepted
            if number % 3 == 0:
                proxy.drop()
            else:
                proxy.half_close(towards_client=number % 3 == 1)
            wait_for(lambda: proxy.accepted > connections, "the relay to connect again")
            scene.wait_seen(50)
    scene.judge()
    assert relay.metric("producer_rebuilds_total") == 0


@pytest.mark.parametrize("ack_mode", ["delete"])
def test_a_slow_network_is_no_outage(
    scene: Scene, frail_postgres: Postgres, ack_mode: str
) -> None:
    with Proxy(frail_postgres.port, delay_s=0.05) as proxy:
        relay = _through(scene, proxy)
        with scene.load():
            scene.wait_seen(1000)
        scene.judge()
        assert relay.metric("reconnects_total", server="postgres") == 0
        relay.stop()


# -- another server ------------------------------------------------------------------------------


@pytest.fixture
def old(frail_kafka: Kafka) -> Iterator[Postgres]:
    """A server that this test replaces."""
    with Postgres(fsync=True) as server:
        yield server


@pytest.fixture
def handed_over(old: Postgres, frail_kafka: Kafka, tmp_path, ack_mode: str) -> Iterator[Scene]:
    made = Scene(old, frail_kafka, tmp_path, ack_mode=ack_mode)
    yield made
    made.close()


def test_a_promoted_standby_takes_the_address(handed_over: Scene, old: Postgres) -> None:
    scene = handed_over
    relay = scene.relay().wait_ready()
    standby = old.copy(standby=True)
    try:
        standby.start()
        with scene.load(pause_s=0.005) as load:
            scene.wait_seen(200)
            since = relay.log_size()
            old.stop("fast")  # it waits until the standby has everything
            standby.promote()
            standby.stop("fast")
            standby.take_port(old.port)
            standby.start()
            relay.wait_log("another timeline", since=since)
            scene.wait_seen(200)
        assert load.reconnects > 0
        scene.postgres = standby
        scene.judge(max_duplicates=WINDOW)
        assert relay.metric("lease_epoch") >= 1
        relay.stop()
    finally:
        standby.close()


def test_the_rows_of_another_server_are_not_acknowledged(
    handed_over: Scene, old: Postgres, frail_kafka: Kafka
) -> None:
    """Its rows carry the numbers of events that are in flight, as after a fail-over to a server
    that lagged behind: their reports must not remove the others."""
    scene = handed_over
    relay = scene.relay().wait_ready()
    scene.write(30)  # the topic is known, and each partition has had its first record
    scene.oracle.wait(30)
    wait_for(lambda: scene.unacknowledged() == 0, "these rows to be acknowledged")
    frail_kafka.pause()
    scene.write(300)
    relay.wait_metric("inflight_events", 300)
    other = old.copy(standby=True)
    try:
        other.start()
        old.stop("fast")
        other.promote()
        first = other.connect(scene.db)
        with first, first.cursor() as cursor:
            cursor.execute("SELECT max(seq) - 99 FROM outbox")
            low = cursor.fetchone()[0]
            cursor.execute("DELETE FROM outbox WHERE seq >= %s", (low,))
            ids = [insert(first, scene.aggregatetype, f"other-{n % 10}") for n in range(100)]
            # Inserted for their columns' sake, then again under the numbers of those deleted.
            cursor.execute(
                "CREATE TEMP TABLE again AS SELECT * FROM outbox WHERE id = ANY(%s::uuid[])", (ids,)
            )
            cursor.execute("DELETE FROM outbox WHERE id = ANY(%s::uuid[])", (ids,))
            cursor.execute("UPDATE again SET seq = %s + seq - (SELECT min(seq) FROM again)", (low,))
            cursor.execute("INSERT INTO outbox OVERRIDING SYSTEM VALUE SELECT * FROM again")
        for number, event_id in enumerate(ids):
            scene.oracle.committed(event_id, scene.topic, f"other-{number % 10}")
        first.close()
        other.stop("fast")
        other.take_port(old.port)
        since = relay.log_size()
        other.start()
        relay.wait_log("another timeline", since=since)
        frail_kafka.resume()
        scene.postgres = other
        scene.judge(max_duplicates=300)
        relay.stop()
    finally:
        frail_kafka.resume()
        other.close()
