"""What a kubelet does with one Pod, with the containers of support.container.

    with Pod(template, folder, images, objects, ports={9478: free_port()}) as pod:
        pod.start()
        pod.wait_ready()
        pod.delete()                        # SIGTERM in the kubelet's order; returns at the end

Enacted: init containers in their order, those with restartPolicy Always as sidecars; startup,
liveness and readiness probes by HTTP from outside of the Pod; readiness of the Pod; restarts with
back-off; preStop's sleep; termination with its grace period; environment, ConfigMaps, Secrets and
emptyDirs. What a manifest asks for beyond that is refused, unless it is named in _UNENACTED.
Containers listen on this machine's network: `ports` says where those of the manifest are here.
"""

from __future__ import annotations

import pathlib
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from support.container import Container, ContainerError, Image, Mount
from support.probe import Prober
from support.volumes import Volumes
from support.wait import wait_for

# The kubelet's own: kuberuntime's minimumGracePeriodInSeconds; how long it waits before the second
# restart of a container (the first is at once), and twice as long before each further one.
MINIMUM_GRACE_S = 2.0
BACK_OFF_S, MOST_BACK_OFF_S = 10.0, 300.0
_TICK_S = 0.02
_CONTAINER = {"name", "image", "command", "args", "env", "envFrom", "ports", "restartPolicy"}
_CONTAINER |= {"startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "securityContext"}
_CONTAINER |= {"volumeMounts"}
_POD = {"initContainers", "containers", "volumes", "securityContext", "restartPolicy"}
_POD |= {"terminationGracePeriodSeconds"}
# For schedulers, for the API and for what a container runtime brings along.
_UNENACTED = {"imagePullPolicy", "resources", "terminationMessagePolicy", "serviceAccountName"}
_UNENACTED |= {"automountServiceAccountToken", "enableServiceLinks", "topologySpreadConstraints"}
_UNENACTED |= {"affinity", "nodeSelector"}


class Happening(NamedTuple):
    at: float  # time.monotonic()
    who: str  # a container, or "pod"
    what: str


class Member:
    """One container of the Pod, through all its lives."""

    def __init__(self, spec: Mapping[str, Any], *, sidecar: bool) -> None:
        self.name = str(spec["name"])
        self.spec = spec
        self.sidecar = sidecar
        self.container: Container | None = None
        self.ended = False  # and that was seen
        self.lives = 0
        self.not_before = 0.0
        self.started = False
        self.probers: dict[str, Prober] = {}

    @property
    def running(self) -> bool:
        return self.container is not None and self.container.exit_code is None

    @property
    def ready(self) -> bool:
        """As in its status: it runs, has started, and its readinessProbe, if any, succeeds."""
        readiness = self.probers.get("readinessProbe")
        return self.running and self.started and (readiness is None or readiness.healthy)


class Pod:
    def __init__(
        self,
        template: Mapping[str, Any],
        folder: pathlib.Path,
        images: Mapping[str, Image],
        objects: Sequence[Mapping[str, Any]],
        *,
        ports: Mapping[int, int],
        pace: float = 1.0,
        at_start: Callable[[Member], None] = lambda member: None,
    ) -> None:
        """template: metadata and spec, as in a Deployment. images: by name, without a tag. objects:
        the ConfigMaps and Secrets. pace: so many times shorter are the periods and delays of probes
        and the back-off; grace periods, probes' time-outs and the time for a start are not.
        at_start is called with each container that was started, before anything else is done."""
        self.spec = template["spec"]
        _known(self.spec, _POD | _UNENACTED, "a Pod")
        self.history: list[Happening] = []
        self.pace = pace
        self._folder = folder
        self._images = images
        self.ports = ports
        self._at_start = at_start
        self._volumes = Volumes(self.spec, objects, folder / "volumes")
        inits = [Member(each, sidecar=True) for each in self.spec.get("initContainers", [])]
        apps = [Member(each, sidecar=False) for each in self.spec["containers"]]
        for member in [*inits, *apps]:
            _known(member.spec, _CONTAINER | _UNENACTED, f"container {member.name}")
            if member.sidecar and member.spec.get("restartPolicy") != "Always":
                raise ContainerError(f"{member.name}: init containers that end are not enacted")
            if member.sidecar and "lifecycle" in member.spec:
                raise ContainerError(f"{member.name}: a sidecar's lifecycle is not enacted")
        self._sidecars, self._apps = inits, apps
        self._initialized = False  # every sidecar has started once: the others may
        self._ready = False
        self._failure: BaseException | None = None
        self._graceful = False
        self._deleting = threading.Event()
        self._kubelet = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # -- what a test asks ------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Member:
        return next(member for member in self._members if member.name == name)

    @property
    def ready(self) -> bool:
        """The condition Ready: every container is, sidecars too."""
        if self._failure is not None:
            raise self._failure
        return self._ready

    def wait_ready(self, timeout: float = 20) -> None:
        try:
            wait_for(lambda: self.ready, "the Pod to be ready", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.story()}") from None

    def happened(self, who: str, what: str) -> list[float]:
        """When this did, each time."""
        return [each.at for each in self.history if (each.who, each.what) == (who, what)]

    def story(self) -> str:
        begun = self.history[0].at if self.history else 0.0
        return "; ".join(f"{each.at - begun:.2f} {each.who} {each.what}" for each in self.history)

    def threshold_s(self, name: str) -> float:
        """The longest that any probe of the container bears failures, at this Pod's pace."""
        probes = [self[name].spec.get(f"{kind}Probe") for kind in ("liveness", "readiness")]
        return max(
            each.get("periodSeconds", 10) * each.get("failureThreshold", 3) / self.pace
            for each in probes
            if each is not None
        )

    # -- what a kubelet is told ------------------------------------------------------------------

    def start(self) -> None:
        self._kubelet.start()

    def delete(self) -> None:
        """preStop and SIGTERM to the application's containers, after their end to the sidecars, the
        last one first; SIGKILL to what lives when its grace period is over. Returns at the end."""
        self._graceful = True
        self.kill()

    def kill(self) -> None:
        """SIGKILL to whatever is left. Returns at the end."""
        self._deleting.set()
        if self._kubelet.is_alive():
            self._kubelet.join()
        if self._failure is not None:
            raise self._failure

    # -- inside ----------------------------------------------------------------------------------

    @property
    def _members(self) -> list[Member]:
        return [*self._sidecars, *self._apps]

    def _tell(self, who: str, what: str) -> None:
        self.history.append(Happening(time.monotonic(), who, what))

    def _run(self) -> None:
        """To the last container's end: the kernel ends them with the thread that started them."""
        try:
            while not self._deleting.wait(_TICK_S):
                self._sync()
            if self._graceful:
                self._terminate()
        except BaseException as error:
            self._failure = error
        for member in self._members:
            self._forget_probes(member)
            if member.container is not None:
                member.container.signal(signal.SIGKILL)
                member.container.wait(10)

    def _terminate(self) -> None:
        self._tell("pod", "deleted")
        deadline = time.monotonic() + self.spec.get("terminationGracePeriodSeconds", 30)
        ends = [threading.Thread(target=self._end, args=(app, deadline)) for app in self._apps]
        for end in ends:
            end.start()
        for end in ends:
            end.join()
        for sidecar in reversed(self._sidecars):
            self._end(sidecar, deadline)

    def _sync(self) -> None:
        for sidecar in self._sidecars:
            self._tend(sidecar)
            if not (sidecar.started or self._initialized):
                break
        else:
            self._initialized = True
            for app in self._apps:
                self._tend(app)
        ready = all(member.ready for member in self._members)
        if ready != self._ready:
            self._ready = ready
            self._tell("pod", "ready" if ready else "unready")

    def _tend(self, member: Member) -> None:
        """Starts it, sees what its probes say, starts it again after its end."""
        if member.container is None or member.ended:
            if time.monotonic() >= member.not_before:
                self._launch(member)
            return
        if member.container.exit_code is not None:
            self._tell(member.name, f"ended {member.container.exit_code}")
            self._forget_probes(member)
            member.ended = True
            member.started = False
            waits = 0.0 if member.lives == 1 else BACK_OFF_S * 2 ** (member.lives - 2)
            member.not_before = time.monotonic() + min(waits, MOST_BACK_OFF_S) / self.pace
            return
        startup = member.probers.get("startupProbe")
        if not member.started and (startup is None or startup.healthy):
            for kind in ("livenessProbe", "readinessProbe"):
                self._probe(member, kind)
            member.started = True  # after its probes are there, which say whether it is ready
            if startup is not None:
                self._tell(member.name, "passed its startupProbe")
        for kind in ("startupProbe", "livenessProbe"):
            prober = member.probers.get(kind)
            if prober is not None and prober.failed:
                self._tell(member.name, f"failed its {kind}")
                grace = self.spec.get("terminationGracePeriodSeconds", 30)
                self._stop(member, time.monotonic() + grace)
                return

    def _launch(self, member: Member) -> None:
        member.lives += 1
        member.ended = False
        spec = member.spec
        security = {**self.spec.get("securityContext", {}), **spec.get("securityContext", {})}
        image = self._images[re.sub(r"(:[^:/]*|@.*)$", "", spec["image"])]
        security.setdefault("runAsUser", image.user)
        if security.get("runAsNonRoot") and security["runAsUser"] == 0:
            raise ContainerError(f"{member.name} would run as root")
        mounts = [
            Mount(self._volumes.source(each["name"]), each["mountPath"], self._volumes.fixed(each))
            for each in spec.get("volumeMounts", [])
        ]
        member.container = Container(
            member.name,
            image,
            self._folder / f"{member.name}-{member.lives}",
            env=self._volumes.environment(spec),
            mounts=mounts,
            security=security,
            command=spec.get("command"),
            args=spec.get("args"),
        )
        self._at_start(member)
        self._tell(member.name, "started")
        self._probe(member, "startupProbe")

    def _probe(self, member: Member, kind: str) -> None:
        if kind in member.spec:
            ports = member.spec.get("ports", [])
            named = {each.get("name"): each["containerPort"] for each in ports}
            member.probers[kind] = Prober(kind, member.spec[kind], named, self.ports, self.pace)

    def _forget_probes(self, member: Member) -> None:
        for prober in member.probers.values():
            prober.end()
        member.probers = {}

    def _end(self, member: Member, deadline: float) -> None:
        if member.running and member.container is not None:
            self._stop(member, deadline)
            self._tell(member.name, f"ended {member.container.exit_code}")

    def _stop(self, member: Member, deadline: float) -> None:
        """As kuberuntime's killContainer: what is left of the grace period, 2 s at the least."""
        assert member.container is not None
        self._forget_probes(member)
        hook = member.spec.get("lifecycle", {}).get("preStop")
        if hook is not None:
            if set(hook) != {"sleep"}:
                raise ContainerError(f"{member.name}: of preStop only sleep is enacted")
            self._tell(member.name, "preStop")
            member.container.wait(hook["sleep"]["seconds"] / self.pace)
        grace = max(MINIMUM_GRACE_S, deadline - time.monotonic())
        self._tell(member.name, "SIGTERM")
        member.container.signal(signal.SIGTERM)
        if not member.container.wait(grace):
            self._tell(member.name, "SIGKILL")
            member.container.signal(signal.SIGKILL)
            member.container.wait(10)


def _known(spec: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = spec.keys() - known
    if unknown:
        raise ContainerError(f"not enacted of {what}: {', '.join(sorted(unknown))}")
