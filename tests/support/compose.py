"""A compose file carried out without a container engine: its services as containers of support's
own, each with a network interface of its own, reached by its name.

    with Stack(REPOSITORY / "deploy/compose.yaml", images, folder) as stack:
        stack.up()                          # in the order that depends_on asks for
        stack.healthy("relay")              # by its healthcheck

The file is read as Docker Compose reads it, by its own library. Enacted of a service: command,
entrypoint, environment, user, secrets, volumes, tmpfs (as folders), read_only, cap_drop,
no-new-privileges, healthcheck.test, depends_on. Not: build, init, ports, restart. Root only.
"""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import socket
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.container import Container, Image, Mount
from support.examples import homes
from support.process import Process
from support.wait import wait_for

_KNOWN = {"build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck"}
_KNOWN |= {"image", "init", "networks", "ports", "profiles", "read_only", "restart", "secrets"}
_KNOWN |= {"security_opt", "stop_grace_period", "tmpfs", "user", "volumes"}
_HEALTHY_S = 60.0
_SWITCH = "switch"  # what the services' networks are plugged into


class ComposeError(Exception):
    """The file is wrong, asks for what is not enacted, or a service did not do what was asked."""


def load(file: pathlib.Path) -> dict[str, Any]:
    """The model of the file: validated, interpolated, defaults and paths filled in."""
    done = subprocess.run(
        [homes()["go"] / "compose", "-format", "json", file.name],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ComposeError(done.stderr.strip() or done.stdout.strip())
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Stand:
    """What stands for an image. users: by their names in it; writable: its folders that belong to
    its user; here: its programs that have another name on this machine."""

    image: Image
    users: Mapping[str, int] = field(default_factory=dict)
    writable: Sequence[str] = ()
    here: Mapping[str, list[str]] = field(default_factory=dict)

    def translated(self, command: list[str]) -> list[str]:
        return [*self.here.get(command[0], command[:1]), *command[1:]]


class Network:
    """A network namespace, kept by a process that does nothing else."""

    def __init__(self, log: pathlib.Path) -> None:
        ready = f"up-{uuid.uuid4()}"
        script = f"ip link set lo up && echo {ready} && exec sleep infinity"
        self.process = Process(["unshare", "--net", "sh", "-c", script], log, os.environ)
        self.process.wait_until(lambda: ready in self.process.tail(), "its network was up", 10)
        self.file = pathlib.Path(f"/proc/{self.process.pid}/ns/net")

    def ip(self, words: str) -> None:
        command = ["nsenter", f"--net={self.file}", "ip", *words.split()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ComposeError(f"ip {words}: {done.stderr.strip()}")


class Stack:
    """The services run from up() to the end of the block."""

    def __init__(
        self, file: pathlib.Path, stands: Mapping[str, Stand], folder: pathlib.Path
    ) -> None:
        """stands: by the image's name. What the services keep is in the folder."""
        self.model = load(file)
        self.services: dict[str, dict[str, Any]] = self.model["services"]
        self.running: dict[str, Container] = {}
        self._stands = stands
        self._folder = folder
        self._starts = 0
        self._hosts = folder / "hosts"
        self._networks: dict[str, Network] = {}
        addresses = {name: f"10.231.0.{i}" for i, name in enumerate(self.services, 1)}
        self._addresses = {_SWITCH: "10.231.0.254", **addresses}
        lines = [f"{address} {name}\n" for name, address in self._addresses.items()]
        own = f"127.0.0.1 localhost {socket.gethostname()}\n"
        self._hosts.write_text(own + "".join(lines))

    def __enter__(self) -> Stack:
        switch = self._networks[_SWITCH] = Network(self._folder / "network.log")
        switch.ip("link add dev bridge type bridge")
        switch.ip(f"address add {self._addresses[_SWITCH]}/24 dev bridge")
        switch.ip("link set bridge up")
        return self

    def __exit__(self, *_: object) -> None:
        for container in self.running.values():
            container.process.kill()
        for network in self._networks.values():
            network.process.kill()

    def up(self, *names: str) -> None:
        """These, or all that belong to no profile: each once what it depends on is as it asks."""
        all_of_them = [name for name, each in self.services.items() if not each.get("profiles")]
        for name in names or all_of_them:
            if name not in self.running:
                self._start_after(name, ())

    def start(self, name: str) -> Container:
        """This service alone; its former container's data are there."""
        service = self.services[name]
        unknown = {key for key, value in service.items() if value is not None} - _KNOWN
        if unknown:
            raise ComposeError(f"{name}: not enacted: {unknown}")
        stand = self._stands[service["image"]]
        command = service.get("command")
        program = service.get("entrypoint")
        self._starts += 1
        self.running[name] = Container(
            name,
            stand.image,
            self._folder / f"{self._starts}-{name}",
            env={**self._environment(service), "HOSTNAME": name},
            mounts=self._mounts(name, service),
            security=self._security(name, service),
            command=stand.translated(program) if program else None,
            args=stand.translated(command) if command else None,
            network=self._network(name).file,
        )
        return self.running[name]

    def healthy(self, name: str) -> None:
        """Until its healthcheck says so, run in its container; ComposeError when it has ended."""
        kind, *test = self.services[name]["healthcheck"]["test"]
        if kind != "CMD":
            raise ComposeError(f"{name}: a healthcheck by {kind} needs a shell")
        container = self.running[name]

        def asked() -> bool:
            if container.exit_code is not None:
                raise ComposeError(f"{name} ended with {container.exit_code}:\n{self.log(name)}")
            return self.run_in(name, test).returncode == 0

        try:
            wait_for(asked, f"{name} to be healthy", _HEALTHY_S)
        except AssertionError as error:
            said = self.run_in(name, test)
            raise ComposeError(f"{error}: {said.stdout}{said.stderr}\n{self.log(name)}") from None

    def completed(self, name: str) -> None:
        if not self.running[name].wait(_HEALTHY_S) or self.running[name].exit_code != 0:
            code = self.running[name].exit_code
            raise ComposeError(f"{name} ended with {code}:\n{self.log(name)}")

    def log(self, name: str) -> str:
        return self.running[name].log.read_text(errors="replace")

    def run_in(self, name: str, command: list[str]) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec`: in the running container, as its user."""
        service, container = self.services[name], self.running[name]
        stand = self._stands[service["image"]]
        uid = self._security(name, service)["runAsUser"]
        return subprocess.run(
            ["nsenter", "--target", str(container.pid), "--mount", "--net", "--pid", "--"]
            + ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
            + stand.translated(command),
            env={"PATH": os.environ["PATH"], **stand.image.env, **self._environment(service)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def beside(self, command: list[str], given: str = "") -> str:
        """What a program of this machine says that sees the services by their names."""
        hosts = f"mount --bind {shlex.quote(str(self._hosts))} /etc/hosts && exec \"$@\""
        done = subprocess.run(
            ["nsenter", f"--net={self._networks[_SWITCH].file}", "--", "unshare", "--mount"]
            + ["sh", "-c", hosts, "-", *command],
            input=given,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        if done.returncode != 0:
            raise ComposeError(f"{shlex.join(command[:2])}: {done.stdout}{done.stderr}")
        return done.stdout

    # -- inside ----------------------------------------------------------------------------------

    def _network(self, name: str) -> Network:
        """The service's, with a cable to the switch; it outlives its containers."""
        if name not in self._networks:
            network = self._networks[name] = Network(self._folder / "network.log")
            cable, switch = f"cable{len(self._networks)}", self._networks[_SWITCH]
            switch.ip(f"link add {cable} type veth peer name eth0 netns {network.process.pid}")
            switch.ip(f"link set {cable} master bridge up")
            network.ip(f"address add {self._addresses[name]}/24 dev eth0")
            network.ip("link set eth0 up")
        return self._networks[name]

    def _start_after(self, name: str, waiting: tuple[str, ...]) -> None:
        if name in waiting:
            raise ComposeError(f"a circle: {waiting}")
        conditions: dict[str, Callable[[str], None]] = {
            "service_started": lambda other: None,
            "service_healthy": self.healthy,
            "service_completed_successfully": self.completed,
        }
        depends = self.services[name].get("depends_on") or {}
        for other in depends:
            if other not in self.running:
                self._start_after(other, (*waiting, name))
        for other, how in depends.items():
            conditions[how["condition"]](other)
        self.start(name)

    def _environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        return {name: value or "" for name, value in (service.get("environment") or {}).items()}

    def _security(self, name: str, service: Mapping[str, Any]) -> dict[str, Any]:
        """The same in the words of a securityContext."""
        stand = self._stands[service["image"]]
        user = service.get("user", "").partition(":")[0]
        uid = int(user) if user.isdigit() else stand.users[user] if user else stand.image.user
        options = service.get("security_opt", [])
        if options != ["no-new-privileges:true"]:
            raise ComposeError(f"{name}: of security_opt not enacted: {options}")
        return {
            "runAsUser": uid,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": service.get("read_only", False),
            "capabilities": {"drop": service.get("cap_drop", [])},
        }

    def _mounts(self, name: str, service: Mapping[str, Any]) -> list[Mount]:
        uid = self._security(name, service)["runAsUser"]
        mounts = [Mount(self._hosts, "/etc/hosts", read_only=True)]
        for each in service.get("secrets", []):
            file = pathlib.Path(self.model["secrets"][each["source"]]["file"])
            target = each.get("target") or each["source"]
            mounts.append(Mount(file, f"/run/secrets/{pathlib.Path(target).name}", read_only=True))
        for each in service.get("volumes", []):
            source = pathlib.Path(each["source"])
            if each["type"] == "volume":
                # As one that is made from the folder of an image: it belongs to who uses it.
                source = self._own(self._folder / f"volume-{each['source']}", uid)
            mounts.append(Mount(source, each["target"], each.get("read_only", False)))
        own = self._stands[service["image"]].writable
        for number, path in enumerate([*service.get("tmpfs", []), *own]):
            empty = self._own(self._folder / f"tmpfs-{self._starts}-{number}", uid)
            mounts.append(Mount(empty, path))
        return mounts

    def _own(self, folder: pathlib.Path, uid: int) -> pathlib.Path:
        if not folder.exists():
            folder.mkdir()
            os.chown(folder, uid, uid)
        return folder
