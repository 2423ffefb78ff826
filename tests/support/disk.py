"""A small disk of a test's own, in memory, that can be full."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import subprocess
import tempfile

_CHUNK = bytes(1 << 20)


class Disk:
    """Mounted by its constructor, gone with close(). Of the account that servers run as."""

    def __init__(self, size_mib: int, owner: str = "postgres") -> None:
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="outbox-disk-"))
        self._ballast = self.path / "ballast"
        account = pwd.getpwnam(owner)
        options = f"size={size_mib}m,uid={account.pw_uid},gid={account.pw_gid},mode=700"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            self.path.rmdir()
            raise OSError(done.stderr.strip() or "mount failed")

    def folder(self, name: str) -> pathlib.Path:
        """A new one on it, of the disk's owner."""
        path = self.path / name
        path.mkdir(mode=0o700)
        of = self.path.stat()
        os.chown(path, of.st_uid, of.st_gid)
        return path

    def fill(self) -> None:
        """Up to the last byte."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                file.write(_CHUNK)

    def free(self) -> None:
        """What fill() took; harmless otherwise."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], capture_output=True, check=False)
        with contextlib.suppress(OSError):
            self.path.rmdir()


def small_disk(size_mib: int) -> Disk | None:
    """None where this user may not mount one."""
    if os.geteuid() != 0:
        return None
    try:
        return Disk(size_mib)
    except OSError:
        return None
