"""The Deployment's Pods, enacted as a kubelet and a rollout would, by the manifest that users get:
with its read-only root, its uid and without capabilities. Probes come 20 times as often."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterator

import pytest
from support.kafka import Kafka
from support.pod import Pod
from support.postgres import Postgres
from support.scene import WINDOW
from support.standby import RELAY, StandbyScene

Pods = Callable[[int], Pod]


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[StandbyScene]:
    made = StandbyScene(postgres, kafka, tmp_path)
    yield made
    made.close()


@pytest.fixture
def new_pod(scene: StandbyScene, postgres: Postgres) -> Pods:
    """new_pod(lease_s): one more, ready; so long a relay that is lost keeps the outbox."""
    role = f"relay_{scene.aggregatetype}"  # of the whole server, which other tests have too
    scene.sql(f"CREATE ROLE {role} LOGIN; SELECT outbox_grant('relay', '{role}')")
    secrets = {RELAY: {"postgres-uri": postgres.uri(scene.db, user=role)}}

    def make(lease_s: int) -> Pod:
        own = {"kafka.bootstrap.servers": scene.kafka.bootstrap, "lease.ttl_ms": lease_s * 1000}
        return scene.pod(secrets, own)

    return make


def test_a_rollout_hands_over_at_once_and_repeats_nothing(
    scene: StandbyScene, new_pod: Pods
) -> None:
    """Of both Pods, each after a new one is ready: maxSurge 1, maxUnavailable 0."""
    lease_s = 30
    old = [new_pod(lease_s), new_pod(lease_s)]
    with scene.load():
        scene.wait_seen(100)
        for each in old:
            new_pod(lease_s)
            each.delete()
            assert [what.what for what in each.history[-2:]] == ["SIGTERM", "ended 0"], each.story()
            ended = time.monotonic()
            scene.wait_seen(50)
            assert time.monotonic() - ended < lease_s / 2, "no lease had to run out"
    scene.judge()
    assert all(pod.ready and pod[RELAY].lives == 1 for pod in scene.pods[2:])


def test_the_other_one_takes_over_from_a_lost_node(scene: StandbyScene, new_pod: Pods) -> None:
    """It has been ready all along."""
    owner, standby = new_pod(2), new_pod(2)
    with scene.load():
        scene.wait_seen(100)
        owner.kill()
        scene.wait_seen(WINDOW)
    assert owner.happened(RELAY, "SIGTERM") == []
    scene.judge(max_duplicates=WINDOW)
    assert standby[RELAY].lives == 1 and standby.happened("pod", "unready") == [], standby.story()
