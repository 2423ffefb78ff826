"""One container without a container engine: a program that sees of this machine what its image
and its manifest give it, and may what its securityContext lets it.

It is process 1 of its own pid namespace; its root is a folder of its own, with this machine's
libraries in it; network and user namespaces are this machine's. Not enacted: seccomp profiles,
which a container runtime brings along, and resources. Root only.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shlex
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.process import Process, ProcessError
from support.wait import wait_for

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEVICES = ("null", "zero", "full", "random", "urandom")
_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_ETC = {
    "passwd": "root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n",
    "group": "root:x:0:\nnonroot:x:65532:\n",
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


class ContainerError(Exception):
    """It cannot be started, or is asked for what is not enacted."""


@dataclass(frozen=True)
class Image:
    """What a container is started from; files are shown in it, read-only: path there -> here."""

    entrypoint: Sequence[str]
    command: Sequence[str] = ()
    files: Mapping[str, pathlib.Path] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    user: int = 65532


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine, at a path of the container."""

    source: pathlib.Path
    path: str
    read_only: bool = False


class Container:
    """Started by the constructor, which returns once the program itself runs (or has ended)."""

    def __init__(
        self,
        name: str,
        image: Image,
        folder: pathlib.Path,
        *,
        env: Mapping[str, str],
        mounts: Sequence[Mount] = (),
        security: Mapping[str, Any],
        command: Sequence[str] | None = None,
        args: Sequence[str] | None = None,
    ) -> None:
        """folder is made: its root and its log are there. security: a securityContext, that of the
        Pod under that of the container. command and args go over the image's, as in a manifest."""
        self.name = name
        self.root = folder / "root"
        self.log = folder / "log"
        self._security = security
        self._killed = False
        given = list(args) if args is not None or command is not None else list(image.command)
        program = [*(command or image.entrypoint), *(given or [])]
        shown = [Mount(here, there, True) for there, here in image.files.items()] + list(mounts)
        self._make_root(shown)
        script = "\n".join([*self._mounting(shown), f"exec {shlex.join(self._dropping(program))}"])
        self.process = Process(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
            + ["--", "/bin/sh", "-euc", script],
            self.log,
            {"PATH": _PATH, "HOSTNAME": name, **image.env, **env},
        )
        self.pid = 0  # of process 1, by this machine's count
        wait_for(lambda: self.exit_code is not None or self._runs(program), f"{name} to run", 10)

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative when a signal ended it."""
        code = self.process.exit_code
        # unshare ends as its child did, but for SIGKILL, which it can only tell by a 1.
        return -signal.SIGKILL if code == 1 and self._killed else code

    def signal(self, number: int) -> None:
        """To process 1, as a runtime does; none where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            if self.exit_code is None:
                self._killed |= number == signal.SIGKILL
                os.kill(self.pid, number)

    def wait(self, timeout: float) -> bool:
        """Whether all of it has ended in that time."""
        with contextlib.suppress(ProcessError):
            self.process.wait(max(0.0, timeout))
        return self.exit_code is not None

    def status(self) -> dict[str, str]:
        """/proc/PID/status of process 1."""
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def mounts(self) -> dict[str, set[str]]:
        """What is mounted where, as process 1 sees it: path -> options of the mount."""
        lines = pathlib.Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()
        return {line.split()[4]: set(line.split()[5].split(",")) for line in lines}

    # -- inside ----------------------------------------------------------------------------------

    def _runs(self, program: Sequence[str]) -> bool:
        """Whether what the shell's exec leads to is there; finds its pid."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError, IndexError):
            self.pid = int(children.read_text().split()[0])
            said = pathlib.Path(f"/proc/{self.pid}/cmdline").read_bytes()
            return said == b"".join(os.fsencode(word) + b"\0" for word in program)
        return False

    def _make_root(self, shown: Sequence[Mount]) -> None:
        """Folders, links and mount points; what is mounted is seen by the container alone."""
        for name in ("usr", "etc/ssl", "proc", "dev", "tmp"):
            (self.root / name).mkdir(parents=True)
        (self.root / "tmp").chmod(0o1777)  # that it cannot be written to is the mount's doing
        for name in _MERGED:
            here = pathlib.Path("/", name)
            if here.is_symlink():
                (self.root / name).symlink_to(os.readlink(here))
        for name, text in _ETC.items():
            (self.root / "etc" / name).write_text(text)
        for name in ("ld.so.cache", "resolv.conf"):
            shutil.copy(pathlib.Path("/etc", name), self.root / "etc" / name)
        for each in shown:
            point = self._at(each.path)
            point.parent.mkdir(parents=True, exist_ok=True)
            if each.source.is_dir():
                point.mkdir(exist_ok=True)
            else:
                point.touch()

    def _at(self, path: str) -> pathlib.Path:
        return self.root / path.lstrip("/")

    def _mounting(self, shown: Sequence[Mount]) -> list[str]:
        """The shell's lines up to the program."""
        root = shlex.quote(str(self.root))
        fixed = [Mount(pathlib.Path(path), path, True) for path in ("/usr", "/etc/ssl")]
        lines = [f"mount --bind {root} {root}"]
        for each in [*fixed, *shown]:
            at = shlex.quote(str(self._at(each.path)))
            lines.append(f"mount --bind {shlex.quote(str(each.source))} {at}")
            options = "remount,bind,nosuid,nodev" + (",ro" if each.read_only else "")
            lines.append(f"mount -o {options} {at}")
        lines += [
            f"mount -t proc -o nosuid,nodev,noexec proc {root}/proc",
            f"mount -t tmpfs -o nosuid,mode=755 tmpfs {root}/dev",
        ]
        for name in _DEVICES:
            lines += [f": >{root}/dev/{name}", f"mount --bind /dev/{name} {root}/dev/{name}"]
        lines.append(f"mount -o remount,bind,ro {root}/dev")
        if self._security.get("readOnlyRootFilesystem"):
            lines.append(f"mount -o remount,bind,ro {root}")
        # The old root goes under the new one, and away.
        return [*lines, f"cd {root}", "pivot_root . .", "umount -l .", "cd /"]

    def _dropping(self, program: Sequence[str]) -> list[str]:
        """setpriv's command line, which becomes the program."""
        security = self._security
        uid = security["runAsUser"]
        groups = [security["fsGroup"]] if "fsGroup" in security else []
        groups += security.get("supplementalGroups", [])
        head = ["setpriv", f"--reuid={uid}", f"--regid={security.get('runAsGroup', uid)}"]
        head += [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
        if not security.get("allowPrivilegeEscalation", True):
            head.append("--no-new-privs")
        dropped = security.get("capabilities", {}).get("drop", [])
        if dropped not in ([], ["ALL"]) or security.get("capabilities", {}).get("add"):
            raise ContainerError(f"{self.name}: of capabilities only drop: [ALL] is enacted")
        if dropped:
            head += ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        # It goes with unshare, which goes with us; what changes the uid forgets unshare's own.
        return [*head, "--pdeathsig=KILL", "--", *program]
