"""The relay as a native sidecar: what a kubelet does with a Pod is done to the example service's
Pod, by the manifest that users get, with its read-only root, its uid and no capabilities.

Probes come PACE times as often and back-offs are as much shorter; time-outs, grace periods and the
time that a start may take are the manifest's.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.pod import BACK_OFF_S, MINIMUM_GRACE_S, Member, Pod
from support.postgres import Postgres
from support.scene import WINDOW
from support.sidecar import ORDERS, PACE, RELAY, SidecarScene, set_env
from support.wait import wait_for


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers are made by root")

CONNECTIONS = 3  # of a relay, as deploy/README.md has it


@pytest.fixture
def kafka(kafka: Kafka) -> Iterator[Kafka]:
    """The shared one, hurt here and left whole: another's start would take longer than any test."""
    yield kafka
    if kafka.running():
        kafka.resume()
    else:
        kafka.start()


@pytest.fixture
def scene_on(kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Callable[..., SidecarScene]]:
    """scene_on(postgres): on a server of the test's own."""
    with contextlib.ExitStack() as stack:

        def make(postgres: Postgres) -> SidecarScene:
            made = SidecarScene(postgres, kafka, tmp_path)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def scene(postgres: Postgres, scene_on: Callable[..., SidecarScene]) -> SidecarScene:
    return scene_on(postgres)


def started(pod: Pod) -> Pod:
    pod.start()
    pod.wait_ready()
    return pod


def undisturbed(pod: Pod) -> bool:
    """Ready all along once it was, each container in its first life, no liveness probe failed."""
    assert pod.ready and pod.happened("pod", "unready") == [], pod.story()
    assert pod[RELAY].lives == pod[ORDERS].lives == 1, pod.story()
    return pod[RELAY].probers["livenessProbe"].failures == 0


# -- a life --------------------------------------------------------------------------------------


def test_the_service_starts_once_the_relay_is_alive(scene: SidecarScene) -> None:
    """The relay is kept from answering; until it does, nothing of the service is there."""

    def hold(member: Member) -> None:
        if member.name == RELAY:
            member.container.signal(signal.SIGSTOP)

    pod = scene.pod(at_start=hold)
    pod.start()
    wait_for(lambda: pod[RELAY].probers, "the startupProbe to begin")
    startup = pod[RELAY].probers["startupProbe"]
    wait_for(lambda: startup.failures >= 2, "the startupProbe to fail")
    assert pod[ORDERS].lives == 0 and scene.written() == 0 and not pod.ready
    pod[RELAY].container.signal(signal.SIGCONT)
    pod.wait_ready()
    assert pod.happened(RELAY, "passed its startupProbe") < pod.happened(ORDERS, "started")
    scene.flow(1)
    assert undisturbed(pod)


def test_a_stop_under_load_loses_nothing(scene: SidecarScene) -> None:
    """The service ends first, then the relay, which finishes what is in flight. What was committed
    and not read yet stays in the outbox, and is the next Pod's first."""
    pod = started(scene.pod(every_ms=1))
    scene.wait_written(200)
    pod.delete()
    last = [(each.who, each.what) for each in pod.history[-4:]]
    assert last == [(who, what) for who in (ORDERS, RELAY) for what in ("SIGTERM", "ended 0")]
    assert pod.history[-1].at - pod.history[-2].at < 5, pod.story()
    written, left = scene.written(), scene.unacknowledged()
    scene.oracle.read_to_end()
    assert scene.oracle.seen() + left == written, "each is out, or waits in the table: none twice"
    print(f"{written} committed, {left} left in the outbox by a stop; {pod.story()}")
    pod = started(scene.pod())
    scene.flow(10)
    settle(scene, pod)


def test_of_two_pods_the_one_that_stays_publishes_for_both(scene: SidecarScene) -> None:
    """As in a rolling update: the relay that owns the outbox is stopped with its Pod, and what that
    Pod's service had committed comes out by the other one's, as does what is committed then."""
    owner, other = started(scene.pod()), started(scene.pod())
    scene.flow(20)
    assert [scene.relay_of(pod).metric("owner") for pod in (owner, other)] == [1, 0]
    wait_for(lambda: connections(scene) == 2 * CONNECTIONS, "as many connections as are told")
    owner.delete()
    scene.flow(20)
    assert scene.relay_of(other).metric("owner") == 1 and undisturbed(other)
    settle(scene, other)


def connections(scene: SidecarScene) -> int:
    return scene.sql(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'outbox-relay %'"
    )[0][0]


def test_a_relay_that_is_killed_is_started_again(scene: SidecarScene) -> None:
    """The service is not, and goes on committing."""
    pod = started(scene.pod())
    scene.wait_written(20)
    pod[RELAY].container.signal(signal.SIGKILL)
    wait_for(lambda: pod[RELAY].lives == 2, "its restart")
    assert pod.happened(RELAY, "ended -9") and pod.happened("pod", "unready"), pod.story()
    pod.wait_ready()
    scene.flow(20)
    assert pod[ORDERS].lives == 1 and pod[RELAY].lives == 2, pod.story()
    settle(scene, pod, max_duplicates=WINDOW)


def test_a_relay_that_hangs_is_started_again(scene: SidecarScene) -> None:
    """Once the livenessProbe has failed as often as it may. It does not hear SIGTERM either."""

    def hurry(spec: dict[str, Any]) -> None:
        spec["terminationGracePeriodSeconds"] = 1
        spec["initContainers"][0]["livenessProbe"]["timeoutSeconds"] = 1

    pod = started(scene.pod(change=hurry))
    scene.flow(20)
    pod[RELAY].container.signal(signal.SIGSTOP)
    wait_for(lambda: pod[RELAY].lives == 2, "its restart")
    first_life = [each.what for each in pod.history if each.who == RELAY][2:6]
    assert first_life == ["failed its livenessProbe", "SIGTERM", "SIGKILL", "ended -9"]
    scene.flow(20)
    assert pod[ORDERS].lives == 1 and pod[RELAY].lives == 2, pod.story()
    settle(scene, pod, max_duplicates=WINDOW)


def test_a_grace_period_that_is_too_short_loses_nothing(scene: SidecarScene) -> None:
    """Kafka hangs, so that the drain cannot end: SIGKILL in the midst of it."""

    def hurry(spec: dict[str, Any]) -> None:
        spec["terminationGracePeriodSeconds"] = 1  # of which a kubelet makes 2

    pod = started(scene.pod(change=hurry))
    scene.flow(20)
    relay = scene.relay_of(pod)
    scene.kafka.pause()
    wait_for(lambda: relay.metric("inflight_events") >= 10, "events in flight")
    pod.delete()
    (told, killed) = pod.happened(RELAY, "SIGTERM") + pod.happened(RELAY, "SIGKILL")
    assert killed - told >= MINIMUM_GRACE_S and pod.happened(RELAY, "ended -9"), pod.story()
    scene.kafka.resume()
    settle(scene, pod, max_duplicates=WINDOW)


def settle(scene: SidecarScene, pod: Pod, max_duplicates: int = 0) -> None:
    """The service ends; what it committed is out, then or by the next relay, and judged."""
    pod.delete()
    scene.relay({"route.topic": scene.topic})
    scene.judge(max_duplicates)


# -- servers that are away -----------------------------------------------------------------------


def test_kafka_away_leaves_the_pod_ready_and_the_relay_running(scene: SidecarScene) -> None:
    """Not when it is away at the start, nor when it hangs later, for longer than the
    probes bear failures. The service goes on committing, and all of it comes out afterwards."""
    scene.kafka.stop()
    pod = started(scene.pod())
    relay = scene.relay_of(pod)
    relay.wait_metric("kafka_up", 0)
    outlast(scene, pod, lambda: undisturbed(pod))
    assert relay.get("/readyz")[0] == 503, "what must not be asked by a readinessProbe"
    scene.kafka.start()
    scene.flow(10)
    scene.kafka.pause()
    outlast(scene, pod, lambda: undisturbed(pod))
    scene.kafka.resume()
    scene.flow(10)
    assert undisturbed(pod)
    settle(scene, pod, max_duplicates=WINDOW)


def outlast(scene: SidecarScene, pod: Pod, holds: Callable[[], bool]) -> None:
    """For longer than the probes bear failures the service commits, and that holds."""
    until = time.monotonic() + 1.5 * max(map(pod.threshold_s, (RELAY, ORDERS)))
    while time.monotonic() < until:
        scene.wait_written(5)
        assert holds(), pod.story()


def test_a_readiness_probe_of_the_relay_would_take_the_service_down(scene: SidecarScene) -> None:
    """Which is why the manifest has none: with Kafka away the Pod is not ready, for all that the
    service is."""

    def probe(spec: dict[str, Any]) -> None:
        (relay,) = spec["initContainers"]
        liveness = relay["livenessProbe"]
        readyz = {**liveness["httpGet"], "path": "/readyz"}
        relay["readinessProbe"] = {**liveness, "httpGet": readyz}

    scene.kafka.pause()
    pod = scene.pod(change=probe)
    pod.start()
    wait_for(lambda: pod[ORDERS].ready, "the service to be ready")
    outlast(scene, pod, lambda: pod[ORDERS].ready and not pod.ready)
    scene.kafka.resume()
    pod.wait_ready()
    settle(scene, pod)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


def test_postgresql_away_at_the_start_is_waited_for(
    own_postgres: Postgres, scene_on: Callable[..., SidecarScene]
) -> None:
    """The relay is alive, so the service starts; both find it when it comes, without a restart."""
    scene = scene_on(own_postgres)
    own_postgres.stop()
    pod = scene.pod()
    pod.start()
    wait_for(lambda: pod[ORDERS].lives, "the service to start")
    readiness = pod[ORDERS].probers
    wait_for(lambda: readiness and readiness["readinessProbe"].failures >= 3, "its probe to fail")
    assert pod[RELAY].ready and not pod.ready, "it is the service that is not ready"
    own_postgres.start()
    pod.wait_ready()
    scene.flow(10)
    assert undisturbed(pod)
    settle(scene, pod)


# -- what it may ---------------------------------------------------------------------------------


def test_it_is_confined(scene: SidecarScene) -> None:
    """Both containers, by the kernel's word. The only thing that may be written to is /proc."""
    pod = started(scene.pod())
    scene.wait_written(1)
    for name in (RELAY, ORDERS):
        container = pod[name].container
        status = container.status()
        assert {int(uid) for uid in status["Uid"].split() + status["Gid"].split()} == {65532}
        capabilities = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
        assert [int(status[each], 16) for each in capabilities] == [0] * 5, name
        assert status["NoNewPrivs"] == "1" and status["NSpid"].split()[1:] == ["1"], name
        writable = {at for at, options in container.mounts().items() if "ro" not in options}
        assert {at for at in writable if not at.startswith("/dev/")} == {"/proc"}, name
        # Even for root, whom no permission stops.
        with pytest.raises(OSError, match="Read-only file system"):
            pathlib.Path(f"/proc/{container.pid}/root/tmp/note").write_text("")
    secret = pathlib.Path(f"/proc/{pod[RELAY].container.pid}/root/run/secrets/outbox-relay")
    assert (secret / "postgres-uri").stat().st_mode & 0o777 == 0o440
    settle(scene, pod)


def test_as_process_1_a_second_signal_ends_it_at_once(scene: SidecarScene) -> None:
    """Though the kernel lets no signal's default action end that process."""
    pod = started(scene.pod())
    scene.flow(10)
    relay, container = scene.relay_of(pod), pod[RELAY].container
    scene.kafka.pause()
    wait_for(lambda: relay.metric("inflight_events") >= 10, "events in flight")
    container.signal(signal.SIGTERM)
    relay.wait_log("told to stop: finishing what is in flight")
    container.signal(signal.SIGTERM)
    assert container.wait(3), "it goes on with the drain"
    assert container.exit_code == 128 + signal.SIGTERM
    scene.kafka.resume()
    settle(scene, pod, max_duplicates=WINDOW)


def test_a_wrong_setting_holds_the_service_back(scene: SidecarScene) -> None:
    """The relay says what it is and ends; it is started again and again, ever less often."""

    def misspell(spec: dict[str, Any]) -> None:
        set_env(spec["initContainers"][0], "OUTBOX_SOURCE_MODE", "tabel")

    pod = scene.pod(change=misspell)
    pod.start()
    wait_for(lambda: len(pod.happened(RELAY, "ended 78")) >= 3, "its third end")
    waits = [
        begun - ended
        for ended, begun in zip(pod.happened(RELAY, "ended 78"), pod.happened(RELAY, "started")[1:])
    ]
    assert waits[0] < BACK_OFF_S / PACE <= waits[1], "at once, then with back-off"
    assert pod[ORDERS].lives == 0 and not pod.ready
    assert "OUTBOX_SOURCE_MODE" in pod[RELAY].container.log.read_text()
