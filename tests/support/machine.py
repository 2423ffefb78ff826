"""A Debian 12 that is booted: its own systemd as process 1, the network of this machine.

    with Machine(folder) as machine:
        machine.install(package)
        machine.systemctl("start", "outbox-relay")

A container of systemd-nspawn in cgroups of its own. Root only, and in mounts of a test run's own
(tests/run).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

from support.package import DEPENDS
from support.process import Process
from support.rootfs import Rootfs, RootfsError, base, cache, forget_old, one_at_a_time
from support.wait import wait_for

PACKAGES = ["systemd", "systemd-sysv", "dbus", "libnss-systemd", *DEPENDS]
# By the way that this machine mounts them: version 1 beside 2, or 2 alone.
_CGROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
# In mounts and cgroups of its own: systemd-nspawn wants to write to /run, and Rootfs's own /proc,
# /sys and /dev are not for it.
_BOOT = """
set -e
root=$1 name=$2
shift 2
mount -t tmpfs tmpfs /run
for folder in proc sys dev; do umount --recursive --lazy "$root/$folder"; done
for cgroup; do mkdir "$cgroup/$name"; echo $$ >"$cgroup/$name/cgroup.procs"; done
exec systemd-nspawn --quiet --register=no --keep-unit --directory="$root" --machine="$name" \\
    --console=read-only --boot
"""


class Machine:
    """Booted by its constructor."""

    def __init__(self, folder: pathlib.Path) -> None:
        """folder: where it logs to."""
        self._rootfs = Rootfs(_packed())
        self.path = self._rootfs.path
        self._name = f"outbox-{os.getpid()}-{time.monotonic_ns() % 1000000}"
        self._cgroups = [
            path for path in _CGROUPS if pathlib.Path(path, "cgroup.procs").exists()
        ]
        self._process: Process | None = None
        try:
            (self.path / "etc/hosts").write_text("127.0.0.1 localhost\n")
            command = ["unshare", "--mount", "sh", "-c", _BOOT, "boot"]
            self._process = Process(
                [*command, str(self.path), self._name, *self._cgroups],
                folder / "machine.log",
                os.environ,
            )
            self._process.wait_until(self._booted, "it had booted", 60)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- in it -----------------------------------------------------------------------------------

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A program in there, as root, to its end; its output and errors are one text, stdout."""
        init = self._init()
        done = subprocess.run(
            ["nsenter", "-t", init, "-m", "-u", "-i", "-p", "-C", "-r", "-w", "--", *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            raise RootfsError(f"{' '.join(command)}: {done.stdout[-4000:]}")
        return done

    def systemctl(self, *arguments: str) -> str:
        return self.run("systemctl", *arguments).stdout

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", "-p", name, unit).strip()

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def install(self, package: pathlib.Path) -> None:
        """Its dependencies are there."""
        shutil.copy(package, self.path / "root")
        self.run("dpkg", "--force-unsafe-io", "--install", f"/root/{package.name}")

    def owns(self, pid: int) -> bool:
        """Whether that process of this machine is one of that one's."""
        own = os.stat(f"/proc/{self._init()}/ns/pid").st_ino
        with contextlib.suppress(OSError):
            return os.stat(f"/proc/{pid}/ns/pid").st_ino == own
        return False

    # -- life ------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._process is not None:
            # With its process 1 the kernel ends all the others.
            if self._init():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(self._init()), signal.SIGKILL)
            self._process.kill()
            wait_for(lambda: not self._left(), "the machine to be gone", 20)
        for cgroup in self._cgroups:
            for folder, _, _ in os.walk(f"{cgroup}/{self._name}", topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        self._rootfs.close()

    def _init(self) -> str:
        """Its process 1, as this machine numbers it."""
        pid = self._process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return children[0] if children else ""

    def _booted(self) -> bool:
        if not self._init():
            return False
        with contextlib.suppress(RootfsError):
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            return state in ("running", "degraded")
        return False

    def _left(self) -> bool:
        """Whether any process of it lives."""
        for cgroup in self._cgroups:
            for path in pathlib.Path(cgroup, self._name).rglob("cgroup.procs"):
                with contextlib.suppress(OSError):
                    if path.read_text().strip():
                        return True
        return False


def _packed() -> pathlib.Path:
    """The system with systemd, packed into the user's cache: made once, in half a minute."""
    name = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]
    packed = cache() / f"debian-machine-{name}.tar"
    base()
    with one_at_a_time(packed.with_suffix(".lock")):
        if not packed.exists():
            with Rootfs() as debian:
                debian.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES)
                debian.run("apt-get", "clean")
                # Here services may be started.
                (debian.path / "usr/sbin/policy-rc.d").unlink()
                part = packed.with_suffix(".part")
                tar = ["tar", "-c", "-f", str(part), "-C", str(debian.path), "--one-file-system"]
                # Nobody reads there; each test unpacks it.
                unread = ["var/lib/apt/lists", "usr/share/doc", "usr/share/locale"]
                tar += [f"--exclude=./{folder}/*" for folder in unread]
                subprocess.run([*tar, "."], check=True)
                part.rename(packed)  # whole, or not there
                forget_old("debian-machine-*.tar")
    return packed
