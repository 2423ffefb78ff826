"""The Debian package, built from the release."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

from support.relay import REPOSITORY

RELEASE = REPOSITORY / "build" / "release"
VERSION = "0.1.0"
# What it depends on and a machine has to have: installed once, not by each test.
DEPENDS = ["libjansson4", "libmicrohttpd12", "libpq5", "librdkafka1", "libssl3", "libsystemd0"]
DEPENDS += ["libuv1"]


# What it is made of, beside the program.
_SOURCES = ["deploy/debian", "deploy/systemd", "schema", "CMakeLists.txt", "LICENSE", "README.md"]


@functools.cache
def release() -> pathlib.Path:
    """build/release, with the program, its manual page and its completion up to date."""
    with _alone():
        if not (RELEASE / "CPackConfig.cmake").exists():
            _run("cmake", "--preset", "release")
        _run("cmake", "--build", "--preset", "release", "--target", "outbox-relay", "manual")
    return RELEASE


def package(version: str = VERSION) -> pathlib.Path:
    """The package's file, made again where a part of it is newer; version: another one than that of
    its changelog."""
    made = release() / "package" / f"outbox-relay_{version}_amd64.deb"
    parts = [RELEASE / "outbox-relay", *RELEASE.glob("manual/*")]
    for source in (REPOSITORY / name for name in _SOURCES):
        parts += [source] if source.is_file() else source.rglob("*.*")
    with _alone():
        if not made.exists() or made.stat().st_mtime < max(p.stat().st_mtime for p in parts):
            made.parent.mkdir(exist_ok=True)
            config = RELEASE / "CPackConfig.cmake"
            with tempfile.TemporaryDirectory(prefix="outbox-package-") as work:
                _run("cpack", "--config", config, "-G", "DEB", "-B", work, "-R", version)
                shutil.copy(pathlib.Path(work, made.name), made)
    return made


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Beside each other, test processes would make the same files."""
    RELEASE.mkdir(parents=True, exist_ok=True)
    with (RELEASE / "package.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*command: str | pathlib.Path) -> None:
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout[-4000:]}"
