"""The relay under test: one process, its settings by environment, its log in a file.

    relay = Relay({"postgres.uri": uri, "kafka.bootstrap.servers": kafka.bootstrap}, folder)
    relay.wait_ready()
    ...
    relay.stop()                            # SIGTERM; asserts a clean end
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from support.ports import free_port
from support.process import Process
from support.wait import wait_for

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEFAULT_BINARY = REPOSITORY / "build" / "dev" / "outbox-relay"
STOP_TIMEOUT_S = 30.0

# Where the sanitizers speak up; a leak is found at exit only.
_FINDING = re.compile(r"ERROR: \w*Sanitizer|runtime error:|SUMMARY: \w*Sanitizer")
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Labels = frozenset[tuple[str, str]]


def binary() -> pathlib.Path:
    return pathlib.Path(os.environ.get("OUTBOX_RELAY_BIN", DEFAULT_BINARY))


def release_binary() -> pathlib.Path:
    """Built if it is not there yet. What is measured carries no sanitizer."""
    path = REPOSITORY / "build" / "release" / "outbox-relay"
    if not path.exists():
        for step in (["--preset", "release"], ["--build", "--preset", "release"]):
            done = subprocess.run(
                ["cmake", *step], cwd=REPOSITORY, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return path


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """source.poll_interval_ms -> OUTBOX_SOURCE_POLL_INTERVAL_MS, over an environment that holds
    neither settings of ours nor a server of libpq's."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("OUTBOX_", "PG"))
    }
    kept["ASAN_OPTIONS"] = "detect_leaks=1:exitcode=99"
    kept["UBSAN_OPTIONS"] = "print_stacktrace=1"
    for key, value in settings.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        kept["OUTBOX_" + key.upper().replace(".", "_")] = text
    return kept


def command(
    *arguments: str, settings: Mapping[str, Any] | None = None, timeout: float = 30
) -> subprocess.CompletedProcess[str]:
    """One command other than `run`, to its end."""
    return subprocess.run(
        [binary(), *arguments],
        env=environment(settings or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Relay:
    """`outbox-relay run`, started by the constructor. It serves HTTP on a free port."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        log: pathlib.Path,
        env: Mapping[str, str | None] | None = None,
        program: pathlib.Path | None = None,
    ) -> None:
        """env goes over the environment that is made of the settings; None takes a name away."""
        self.settings = {
            "http.listen": f"127.0.0.1:{free_port()}",
            "log.format": "json",
            "log.level": "debug",
            **settings,
        }
        self.log = log
        everything = {**environment(self.settings), **(env or {})}
        present = {name: value for name, value in everything.items() if value is not None}
        # For the relay alone: what Process starts it by must not be given a sanitizer.
        preload = present.pop("LD_PRELOAD", None)
        head = ["env", f"LD_PRELOAD={preload}"] if preload else []
        self.process = Process([*head, program or binary(), "run"], log, present)

    @property
    def url(self) -> str:
        return f"http://{self.settings['http.listen']}"

    # -- life ------------------------------------------------------------------------------------

    @property
    def exit_code(self) -> int | None:
        return self.process.exit_code

    def wait_ready(self, timeout: float = 30) -> Relay:
        """Until /readyz says that it reads and publishes."""
        self.process.wait_until(lambda: self.get("/readyz")[0] == 200, "it was ready", timeout)
        return self

    def wait_exit(self, timeout: float = STOP_TIMEOUT_S) -> int:
        return self.process.wait(timeout)

    def terminate(self, timeout: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM; its exit code."""
        return self.process.terminate(timeout)

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM; fails unless it drains, closes all that it had open and leaks nothing."""
        code = self.terminate(timeout)
        self.check()
        assert code == 0, f"SIGTERM ended in exit code {code}:\n{self.process.tail()}"

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def check(self) -> None:
        """Fails where a sanitizer found something up to now."""
        text = self.log.read_text(errors="replace")
        found = _FINDING.search(text)
        assert not found, f"a sanitizer's finding:\n{text[max(0, found.start() - 200):][:6000]}"

    # -- what it says ----------------------------------------------------------------------------

    def log_lines(self) -> list[dict[str, Any]]:
        """Its log as objects; what is not one of its lines (a sanitizer's) is left out."""
        lines = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                lines.append(value)
        return lines

    def log_size(self) -> int:
        """A position for the since of log_match and wait_log."""
        return self.log.stat().st_size

    def log_match(self, pattern: str, since: int = 0) -> re.Match[str] | None:
        """The first match in a line of the log behind that position."""
        with self.log.open("rb") as log:
            log.seek(since)
            return re.search(pattern, log.read().decode(errors="replace"), re.MULTILINE)

    def wait_log(self, pattern: str, timeout: float = 20, *, since: int = 0) -> re.Match[str]:
        """Also after its end: what it said last is found."""
        try:
            return wait_for(
                lambda: self.log_match(pattern, since), f"a log line like {pattern!r}", timeout
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; the log ends:\n{self.process.tail()}") from None

    def get(self, path: str, timeout: float = 5) -> tuple[int, str]:
        """HTTP status and body; (0, reason) when nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def status(self) -> dict[str, Any]:
        """/statusz."""
        code, body = self.get("/statusz")
        assert code == 200, f"/statusz answers {code}: {body}"
        return json.loads(body)

    def metrics(self) -> dict[str, dict[Labels, float]]:
        """Every sample of /metrics: name -> labels -> value."""
        code, body = self.get("/metrics")
        assert code == 200, f"/metrics answers {code}: {body}"
        samples: dict[str, dict[Labels, float]] = {}
        for line in body.splitlines():
            if line and not line.startswith("#"):
                parts = _SAMPLE.match(line)
                assert parts, f"no sample: {line!r}"
                labels = frozenset(_LABEL.findall(parts[2] or ""))
                samples.setdefault(parts[1], {})[labels] = float(parts[3])
        return samples

    def metric(self, name: str, **labels: str) -> float:
        """The sum over the samples that carry these labels; the prefix outbox_relay_ may be left
        out. KeyError when there is no such metric."""
        samples = self.metrics()
        found = samples[name] if name in samples else samples["outbox_relay_" + name]
        wanted = set(labels.items())
        return sum(value for have, value in found.items() if wanted <= have)

    def wait_metric(self, name: str, value: float, timeout: float = 20, **labels: str) -> None:
        """Until the metric is exactly that."""
        seen: list[Any] = [None]

        def reached() -> bool:
            try:
                seen[0] = self.metric(name, **labels)
            except (AssertionError, KeyError) as error:
                seen[0] = error
            return seen[0] == value

        try:
            wait_for(reached, f"{name}{labels or ''} to be {value:g}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {seen[0]!r}") from None

    def rss_kib(self) -> int:
        """Its resident memory."""
        return self._memory_kib("VmRSS")

    def peak_rss_kib(self) -> int:
        """The most memory that it ever had resident."""
        return self._memory_kib("VmHWM")

    def _memory_kib(self, what: str) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{what}:\s+(\d+)", status, re.MULTILINE)[1])
