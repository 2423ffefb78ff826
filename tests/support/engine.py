"""A container as a container engine starts it, without an engine: of this machine it sees nothing.

    container = Container(image, folder)    # of support.image
    container.run("version")                # as of `docker run --rm IMAGE version`
    Relay(settings, log, program=container.program())

The program is process 1 of its own pid namespace, as the image's user, in the image's root, which
is read-only, with no capability and no way to one; the network is this machine's. Root only. As a
script it becomes such a container: engine.py [--env=NAME=VALUE...] ROOT UID GID PROGRAM [WORD...].
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # as a script it knows nothing of the tests
    from support.image import Image

# linux/prctl.h, linux/sched.h
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CLONE_NEWNS, _CLONE_NEWPID = 0x20000, 0x20000000
_DEVICES = ("null", "zero", "full", "random", "urandom")


class Container:
    """folder is made: a copy of the image's root, with what every engine puts into it."""

    def __init__(
        self,
        image: Image,
        folder: pathlib.Path,
        hosts: Mapping[str, str] | None = None,
        files: Mapping[str, pathlib.Path] | None = None,
    ) -> None:
        """hosts: more names in /etc/hosts. files: as if they were mounted, path there -> here."""
        self.root = folder / "root"
        self.config = config = image.config
        folder.mkdir(parents=True)
        subprocess.run(["cp", "-a", image.root, self.root], check=True)
        for name in ("proc", "dev"):
            (self.root / name).mkdir(exist_ok=True)
        every = {"localhost": "127.0.0.1", **(hosts or {})}
        lines = "".join(f"{address} {name}\n" for name, address in every.items())
        (self.root / "etc/hosts").write_text(lines)
        (self.root / "etc/resolv.conf").write_text("")
        for path, source in (files or {}).items():
            target = self.root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
            target.chmod(0o444)
        self._script = folder / "run"
        words = shlex.join([*self._head(), *config["Entrypoint"]])
        self._script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        self._script.chmod(0o755)

    def program(self) -> pathlib.Path:
        """One on this machine that starts a container and ends with it; its arguments are those of
        the entry point, and of its environment the container gets what begins with OUTBOX_."""
        return self._script

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Without arguments, what CMD says."""
        return self.execute([*self.config["Entrypoint"], *(arguments or self.config["Cmd"])], env)

    def execute(
        self, command: Sequence[str], env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A program of the image, in place of the entry point."""
        return subprocess.run(
            [*self._head(), *command],
            env=dict(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def _head(self) -> list[str]:
        uid, gid = self.config["User"].split(":")
        here = str(pathlib.Path(__file__).resolve())
        env = [f"--env={each}" for each in self.config["Env"]]
        return ["/usr/bin/python3", here, *env, str(self.root), uid, gid]


# -- the script ----------------------------------------------------------------------------------


def _libc(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)


def _mount(root: str) -> None:
    script = f"""
        mount --make-rprivate /
        mount --bind {shlex.quote(root)} {shlex.quote(root)}
        cd {shlex.quote(root)}
        mount -t proc -o nosuid,nodev,noexec proc proc
        mount -t tmpfs -o nosuid,mode=755 tmpfs dev
        for device in {" ".join(_DEVICES)}; do
            : >dev/$device
            mount --bind /dev/$device dev/$device
        done
        mount -o remount,bind,ro dev
        mount -o remount,bind,ro .
    """
    subprocess.run(["sh", "-euc", script], check=True)


def _become(root: str, uid: int, gid: int) -> None:
    """Nothing of root's is left, and none of it comes back by an exec."""
    capabilities = int(pathlib.Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1
    os.chroot(root)
    os.chdir("/")
    for capability in range(capabilities):
        _libc("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    _libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _libc("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main(words: Sequence[str]) -> int:
    env = dict(word[len("--env=") :].split("=", 1) for word in words if word.startswith("--env="))
    root, uid, gid, *program = words[len(env) :]
    env |= {name: value for name, value in os.environ.items() if name.startswith("OUTBOX_")}
    _libc("unshare", _CLONE_NEWNS | _CLONE_NEWPID)
    # What comes before there is a child to pass it on to, waits.
    passed_on = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)
    child = os.fork()
    if child == 0:
        try:
            _mount(root)
            _become(root, int(uid), int(gid))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
            os.execve(program[0], program, {"HOME": "/home/nonroot", **env})
        except BaseException as error:
            print(f"engine: {error}", file=sys.stderr)
            os._exit(125)
    for number in passed_on:
        signal.signal(number, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) % 256


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
