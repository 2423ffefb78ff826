"""Pods of the overlay standby, by the users' manifest, on one database."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from support.container import Image
from support.deployments import Deployment, kustomized
from support.kafka import Kafka
from support.pod import Pod
from support.ports import free_port
from support.postgres import Postgres
from support.relay import binary
from support.scene import WINDOW, Scene

RELAY = "outbox-relay"
PACE = 20  # so many times as often as the manifest says comes a probe


class StandbyScene(Scene):
    def __init__(
        self,
        postgres: Postgres,
        kafka: Kafka,
        folder: pathlib.Path,
        *,
        components: Sequence[str] = (),
        libraries: pathlib.Path | None = None,
    ) -> None:
        """libraries: a folder of some that go before this machine's."""
        super().__init__(postgres, kafka, folder)
        self.pods: list[Pod] = []
        self._deployment = Deployment("standby", tuple(components))
        program = {f"/opt/{RELAY}": binary().resolve()}
        env = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99"}
        if libraries is not None:
            program["/opt/lib"] = libraries
            env["LD_LIBRARY_PATH"] = "/opt/lib"
        self._image = Image([f"/opt/{RELAY}"], files=program, env=env)

    def pod(self, secrets: Mapping[str, Mapping[str, str]], settings: Mapping[str, object]) -> Pod:
        """One more, ready. secrets: their files by name, by the Secrets' names. settings: as a user's
        own overlay merges them into the ConfigMap."""
        port = free_port()
        folder = self._folder / f"pod-{len(self.pods)}"
        folder.mkdir()
        objects = kustomized(self._deployment, folder / "overlay")
        of = {each["kind"]: each for each in objects}
        own = {"http.listen": f"0.0.0.0:{port}", "window.events": WINDOW, **settings}
        of["ConfigMap"]["data"] |= {
            "OUTBOX_" + key.upper().replace(".", "_"): str(value) for key, value in own.items()
        }
        objects += [
            {"kind": "Secret", "metadata": {"name": name}, "stringData": data}
            for name, data in secrets.items()
        ]
        template = of["Deployment"]["spec"]["template"]
        ports = {9478: port}
        pod = Pod(template, folder / "run", {RELAY: self._image}, objects, ports=ports, pace=PACE)
        self.pods.append(pod)
        pod.start()
        pod.wait_ready()
        return pod

    def close(self) -> None:
        """No relay may have had a sanitizer's finding."""
        for pod in self.pods:
            pod.kill()
        super().close()
        for log in self._folder.glob(f"pod-*/run/{RELAY}-*/log"):
            text = log.read_text(errors="replace")
            assert "Sanitizer" not in text and "runtime error:" not in text, text[-6000:]
