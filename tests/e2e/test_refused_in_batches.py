"""Records that only the broker can refuse, each in the middle of a batch: the one at fault is found
among its neighbours, which keep their order and come out once."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import command
from support.scene import Scene
from support.wait import wait_for

HOUR_MS = 3_600_000
EVERY = 100  # one in so many is refused


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    """Its topic refuses records older than an hour."""
    made = Scene(postgres, kafka, tmp_path)
    configs = {"message.timestamp.before.max.ms": str(HOUR_MS)}
    kafka.create_topic(made.topic, partitions=3, configs=configs)
    yield made
    made.close()


def write_some_old(scene: Scene, count: int, keys: int) -> tuple[list[str], dict[str, list[str]]]:
    """In one transaction; the old ones' ids, and of each key what comes at and behind its first."""
    rows = scene.sql(
        """
        INSERT INTO outbox (aggregatetype, aggregateid, type, payload, created_at)
        SELECT %s, 'key-' || n %% %s, 'x', '1',
            now() - CASE WHEN n %% %s = 50 THEN interval '1 day' ELSE interval '0' END
        FROM generate_series(0, %s - 1) AS n ORDER BY n
        RETURNING id::text, aggregateid, created_at < now() - interval '1 hour'
        """,
        scene.aggregatetype, keys, EVERY, count,
    )
    behind: dict[str, list[str]] = {}
    old = []
    for event_id, key, refused in rows:
        if refused:
            old.append(event_id)
            behind.setdefault(key, [])
        if key in behind:
            behind[key].append(event_id)
        if not refused and key not in behind:
            scene.oracle.committed(event_id, scene.topic, key)
    return old, behind


def test_one_in_a_hundred_dies(scene: Scene) -> None:
    relay = scene.relay({"failure.policy": "dead-letter"}).wait_ready()
    old, behind = write_some_old(scene, 2000, keys=7)
    for key, ids in behind.items():
        for event_id in ids:
            if event_id not in old:
                scene.oracle.committed(event_id, scene.topic, key)
    wait_for(lambda: scene.unacknowledged() == 0, "every row to be gone", 60)
    dead = scene.sql("SELECT id::text FROM outbox_dead WHERE class = 'row' ORDER BY seq")
    assert [event_id for (event_id,) in dead] == old
    scene.judge()
    rebuilds = relay.metric("producer_rebuilds_total")
    assert rebuilds <= len(old) + 3  # to find the first of each partition
    assert not relay.log_match("they are batched again")
    scene.write(10_000)
    relay.wait_log("no other was in 10000: they are batched again")
    scene.write(500)
    scene.judge()
    assert relay.metric("producer_rebuilds_total") == rebuilds + 1


def test_one_in_a_hundred_is_parked(scene: Scene) -> None:
    """Behind the first of each key all of it waits. Retried, they go on to the next one."""
    relay = scene.relay({"failure.policy": "park"}).wait_ready()
    old, behind = write_some_old(scene, 1000, keys=3)
    heads = {ids[0] for ids in behind.values()}
    scene.oracle.wait(60)
    parked = "SELECT id::text FROM outbox_parked"
    wait_for(lambda: {found for (found,) in scene.sql(parked)} == heads, "each key to be parked")
    assert scene.unacknowledged() == sum(map(len, behind.values()))
    for key, ids in behind.items():
        for event_id in ids:
            scene.oracle.committed(event_id, scene.topic, key)
    scene.kafka.set_topic(scene.topic, {"message.timestamp.before.max.ms": str(48 * HOUR_MS)})
    assert command("dead", "retry", "--all", settings=relay.settings).returncode == 0
    scene.judge()
    assert scene.sql(parked) == []
