"""The Deployment's Pods, enacted as a kubelet and a rollout would, by the manifest that users get:
with its read-only root, its uid and without capabilities. Probes come 20 times as often."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Iterator

import pytest
from support.container import Image
from support.kafka import Kafka
from support.manifests import KUSTOMIZE, kustomize
from support.pod import Pod
from support.ports import free_port
from support.postgres import Postgres
from support.relay import binary
from support.scene import WINDOW, Scene

RELAY = "outbox-relay"
PACE = 20


class StandbyScene(Scene):
    """Pods of the overlay standby, on one database."""

    def __init__(self, postgres: Postgres, kafka: Kafka, folder: pathlib.Path) -> None:
        super().__init__(postgres, kafka, folder)
        self.pods: list[Pod] = []
        self.user = f"relay_{self.aggregatetype}"  # of the whole server, which other tests have too
        self.sql(f"CREATE ROLE {self.user} LOGIN; SELECT outbox_grant('relay', '{self.user}')")

    def pod(self, lease_s: int) -> Pod:
        """One more, ready. lease_s: so long a relay that is lost keeps the outbox."""
        port = free_port()
        rendered = json.dumps(kustomize(KUSTOMIZE / "overlays" / "standby"))
        rendered = rendered.replace("0.0.0.0:9478", f"0.0.0.0:{port}")
        objects = json.loads(rendered.replace("kafka:9092", self.kafka.bootstrap))
        uri = self.postgres.uri(self.db, user=self.user)
        secret = {
            "kind": "Secret",
            "metadata": {"name": RELAY},
            "stringData": {"postgres-uri": uri},
        }
        of = {each["kind"]: each for each in objects}
        of["ConfigMap"]["data"] |= {
            "OUTBOX_LEASE_TTL_MS": str(lease_s * 1000),
            "OUTBOX_WINDOW_EVENTS": str(WINDOW),
        }
        environment = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99"}
        image = Image(
            [f"/opt/{RELAY}"], files={f"/opt/{RELAY}": binary().resolve()}, env=environment
        )
        pod = Pod(
            of["Deployment"]["spec"]["template"],
            self._folder / f"pod-{len(self.pods)}",
            {RELAY: image},
            [*objects, secret],
            ports={9478: port},
            pace=PACE,
        )
        self.pods.append(pod)
        pod.start()
        pod.wait_ready()
        return pod

    def close(self) -> None:
        for pod in self.pods:
            pod.kill()
        super().close()
        for log in self._folder.glob(f"pod-*/{RELAY}-*/log"):
            text = log.read_text(errors="replace")
            assert "Sanitizer" not in text and "runtime error:" not in text, text[-6000:]


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[StandbyScene]:
    made = StandbyScene(postgres, kafka, tmp_path)
    yield made
    made.close()


def test_a_rollout_hands_over_at_once_and_repeats_nothing(scene: StandbyScene) -> None:
    """Of both Pods, each after a new one is ready: maxSurge 1, maxUnavailable 0."""
    lease_s = 30
    old = [scene.pod(lease_s), scene.pod(lease_s)]
    with scene.load():
        scene.wait_seen(100)
        for each in old:
            scene.pod(lease_s)
            each.delete()
            assert [what.what for what in each.history[-2:]] == ["SIGTERM", "ended 0"], each.story()
            ended = time.monotonic()
            scene.wait_seen(50)
            assert time.monotonic() - ended < lease_s / 2, "no lease had to run out"
    scene.judge()
    assert all(pod.ready and pod[RELAY].lives == 1 for pod in scene.pods[2:])


def test_the_other_one_takes_over_from_a_lost_node(scene: StandbyScene) -> None:
    """It has been ready all along."""
    owner, standby = scene.pod(lease_s=2), scene.pod(lease_s=2)
    with scene.load():
        scene.wait_seen(100)
        owner.kill()
        scene.wait_seen(WINDOW)
    assert owner.happened(RELAY, "SIGTERM") == []
    scene.judge(max_duplicates=WINDOW)
    assert standby[RELAY].lives == 1 and standby.happened("pod", "unready") == [], standby.story()
