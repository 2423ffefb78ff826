"""A server as a child process: ended with this one, hurt and stopped by pid, its output in a file."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

from support.wait import wait_for


class ProcessError(Exception):
    """A server did not do what was asked; the text ends with its own words."""


class Process:
    """Started by its constructor. Its output is appended to the file log."""

    def __init__(
        self, command: Sequence[str | os.PathLike[str]], log: pathlib.Path, env: Mapping[str, str]
    ) -> None:
        self.name = os.path.basename(command[0])
        self.log = log
        with log.open("ab") as out:
            # The kernel ends it with us, however we end; a Ctrl-C at the terminal is ours to handle.
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative when a signal ended it."""
        return self._popen.poll()

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def pause(self) -> None:
        """SIGSTOP, and return once it stands still."""
        self.signal(signal.SIGSTOP)
        wait_for(lambda: self._state() in "TtZ", f"{self.name} to stand still", 5)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, timeout: float) -> int:
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} did not end in {timeout:g} s:\n{self.tail()}") from None

    def terminate(self, timeout: float) -> int:
        """SIGTERM, and its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
        self._popen.terminate()
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._popen.kill()
        self._popen.wait()

    def wait_until(self, ready: Callable[[], object], what: str, timeout: float) -> None:
        """Until ready() is true; ProcessError at once when the process ends before that."""

        def check() -> object:
            if self.exit_code is not None:
                raise ProcessError(
                    f"{self.name} ended with {self.exit_code} before {what}:\n{self.tail()}"
                )
            return ready()

        try:
            wait_for(check, what, timeout)
        except AssertionError as error:
            raise ProcessError(f"{error}; the end of its log:\n{self.tail()}") from None

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _state(self) -> str:
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]
