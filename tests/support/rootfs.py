"""A bare Debian in a folder: what an image or a package needs is in there, or is missing.

    with Rootfs() as debian:
        debian.run("apt-get", "install", "-y", "libpq5")

It reaches packages as this machine does. Root only: it makes mounts, in the mounts of this process,
which are a test run's own (tests/run).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence

RELEASE = "bookworm"
# A shell's environment on a new machine; proxies are the network's.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
# Authorities that this machine was told to trust on its way to packages.
_AUTHORITIES = pathlib.Path("/usr/local/share/ca-certificates")


class RootfsError(Exception):
    """The folder could not be made, or a program in it failed; the text ends with its own words."""


class Rootfs:
    """Of its own, unpacked by the constructor; gone with close()."""

    def __init__(
        self, packed: pathlib.Path | None = None, at: pathlib.Path | None = None
    ) -> None:
        """packed: a system, such as base("trixie"), or a folder of one, which stays as it is;
        Debian 12's otherwise. at: where it is to be, in place of a temporary folder."""
        self.path = at or pathlib.Path(tempfile.mkdtemp(prefix="outbox-rootfs-"))
        self._folders = [self.path]
        self._mounts: list[pathlib.Path] = []
        try:
            self.path.mkdir(exist_ok=True)
            if packed is not None and packed.is_dir():
                self._lay_over(packed)
            else:
                _run(["tar", "-x", "-f", packed or base(), "-C", self.path])
            for name in ("proc", "sys", "dev"):
                self.mount(pathlib.Path("/", name), name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Rootfs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def mount(self, source: pathlib.Path, at: str) -> None:
        """Show a folder of this machine inside."""
        target = self.path / at.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        _run(["mount", "--rbind", "--make-private", source, target])
        self._mounts.append(target)

    def run(
        self,
        *command: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """A program in there, as root, to its end; its output and errors are one text, stdout."""
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", "--", "chroot", self.path, *command],
            env={**_ENVIRONMENT, **_proxies(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise RootfsError(f"{' '.join(map(str, command))}: {done.stdout[-4000:]}")
        return done

    def unmount(self) -> None:
        """What is left is a folder."""
        for target in reversed(self._mounts):
            subprocess.run(["umount", "--recursive", "--lazy", target], check=False)
        self._mounts.clear()

    def close(self) -> None:
        self.unmount()
        # Never through a mount that is still there.
        if not any(os.path.ismount(self.path / name) for name in ("proc", "sys", "dev")):
            for folder in self._folders:
                shutil.rmtree(folder, ignore_errors=True)

    def _lay_over(self, system: pathlib.Path) -> None:
        """What is written goes into memory; where the kernel cannot do that, all is copied."""
        room = pathlib.Path(tempfile.mkdtemp(prefix="outbox-upper-"))
        self._folders.append(room)
        _run(["mount", "-t", "tmpfs", "tmpfs", room])
        self._mounts.append(room)
        for name in ("upper", "work"):
            (room / name).mkdir(mode=0o755)
        options = f"lowerdir={system},upperdir={room}/upper,workdir={room}/work"
        try:
            _run(["mount", "-t", "overlay", "-o", options, "overlay", self.path])
        except RootfsError:
            _run(["cp", "-a", f"{system}/.", self.path])
        else:
            self._mounts.append(self.path)


def cache() -> pathlib.Path:
    """What the tests keep from one run to the next."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "outbox-relay"


def forget_old(pattern: str, keep: int = 2) -> None:
    """Removes from the cache what fits, but for those that were made or touched last."""
    found = sorted(cache().glob(pattern), key=lambda path: path.stat().st_mtime)
    for path in found[:-keep]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def base(release: str = RELEASE) -> pathlib.Path:
    """The packed base system, made once into the user's cache: half a minute."""
    packed = cache() / f"debian-{release}.tar"
    with one_at_a_time(packed.with_suffix(".lock")):
        if not packed.exists():
            _make_base(packed, release)
    return packed


def _make_base(packed: pathlib.Path, release: str) -> None:
    sources = _sources(release)
    with tempfile.TemporaryDirectory(prefix="outbox-debootstrap-") as folder:
        root = pathlib.Path(folder) / "root"
        _run(
            ["debootstrap", "--variant=minbase", "--include=ca-certificates", release, root]
            + [sources[0].split()[0]],
            env={**os.environ, **_proxies()},
        )
        lines = "".join(f"deb {line}\n" for line in sources)
        (root / "etc/apt/sources.list").write_text(lines)
        for path in pathlib.Path("/etc/apt/apt.conf.d").iterdir():
            if "Acquire" in path.read_text(errors="replace"):
                shutil.copy(path, root / "etc/apt/apt.conf.d")
        if _AUTHORITIES.is_dir():
            shutil.copytree(
                _AUTHORITIES, root / str(_AUTHORITIES).lstrip("/"), dirs_exist_ok=True
            )
            _run(["chroot", root, "update-ca-certificates"], env=_ENVIRONMENT)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        # No service is started by its installation, as in any container.
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        _run(["chroot", root, "apt-get", "-q", "update"], env={**_ENVIRONMENT, **_proxies()})
        part = packed.with_suffix(".part")
        _run(["tar", "-c", "-f", part, "-C", root, "."])
        part.rename(packed)  # whole, or not there


def _sources(release: str) -> list[str]:
    """Where that release is, by where this machine gets its own from: lines of "URI release
    component"."""
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]
        + ["Created-By: Packages", "Origin: Debian"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    lines = [line for line in found if line.split()[1].startswith(RELEASE)]
    if not lines:
        raise RootfsError(f"apt knows no source of Debian {RELEASE}: run apt-get update")
    return [line.replace(f" {RELEASE}", f" {release}") for line in lines]


def _proxies() -> dict[str, str]:
    return {name: os.environ[name] for name in PROXIES if name in os.environ}


@contextlib.contextmanager
def one_at_a_time(path: pathlib.Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(
    command: Sequence[str | os.PathLike[str]], env: Mapping[str, str] | None = None
) -> None:
    done = subprocess.run(
        command,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RootfsError(f"{' '.join(map(str, command))}: {done.stdout[-4000:]}")
