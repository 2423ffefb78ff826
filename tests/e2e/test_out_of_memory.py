"""An allocation fails, one at a time: the Nth of a command or of a short run of the relay ends in
one clear line and exit code 70, or is got over. No crash, no leak, nothing lost or out of order.

Which N are tried is a choice of some, unless OUT_OF_MEMORY_EACH asks for every one."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator

import pytest
from support.mock_kafka import MockKafka
from support.postgres import Postgres
from support.relay import Relay, binary, environment
from support.scene import Scene
from support.wait import wait_for

OUT_OF_MEMORY = 70
EACH = os.environ.get("OUT_OF_MEMORY_EACH")


def program() -> pathlib.Path:
    """The relay, linked with tests/memory/fail_alloc.c."""
    return binary().parent / "tests" / "memory" / "relay-fail-alloc"


def chosen(total: int, most: int) -> range:
    return range(1, total + 1, 1 if EACH else max(1, total // most))


@pytest.fixture
def scene(postgres: Postgres, mock: MockKafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(postgres, mock, tmp_path)
    postgres.unguard(made.db)
    mock.create_topic(made.topic, 3)
    yield made
    made.close()


@pytest.fixture
def decoding(wal_server: Postgres, mock: MockKafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    """On a server that decodes."""
    made = Scene(wal_server, mock, tmp_path)
    wal_server.unguard(made.db)
    mock.create_topic(made.topic, 3)
    yield made
    made.close()


# -- commands ------------------------------------------------------------------------------------

COMMANDS = [
    ("config", "print"),
    ("version",),
    ("--help",),
    ("check",),
    ("status",),
    ("status", "--json"),
    ("dead", "list"),
    ("dead", "list", "--json"),
    ("dead", "show", "EVENT"),
    ("dead", "retry", "EVENT", "--dry-run"),
    ("dead", "discard", "EVENT", "--reason", "x", "--dry-run"),
    ("run", "--window-events", "many"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command(scene: Scene, tmp_path: pathlib.Path, arguments: tuple[str, ...]) -> None:
    """Says all that it says with memory, or that there is none."""
    relay = scene.relay({"failure.policy": "park"}).wait_ready()
    (event,) = scene.write(1, topic="not allowed")
    relay.wait_metric("parked_events", 1)
    scene.oracle.forget(event)
    file = tmp_path / "relay.json"
    file.write_text(json.dumps({"source": {"poll_interval_ms": 500}, "kafka": {"linger.ms": 7}}))
    secret = tmp_path / "uri"
    secret.write_text(scene.postgres.uri(scene.db))
    settings = {
        "config": file,
        "postgres.uri_file": secret,
        "kafka.bootstrap.servers": scene.kafka.bootstrap,
        "http.listen": relay.settings["http.listen"],
    }
    line = [event if argument == "EVENT" else argument for argument in arguments]
    count = tmp_path / "count"

    def run(**more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program(), *line],
            env={**environment(settings), **{name: str(value) for name, value in more.items()}},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    good = run(FAIL_ALLOC_COUNT=count)
    total = int(count.read_text())
    bad = []
    for number in chosen(total, 5):
        done = run(FAIL_ALLOC=number)
        ended = done.returncode == OUT_OF_MEMORY
        # What check finds goes to the standard output. Of a file only its name may be missing.
        said = re.fullmatch(r"outbox-relay: .*out of memory.*\n", done.stderr)
        said = said or re.search("FAILED .*out of memory", done.stdout)
        if ended and not said:
            bad.append((number, done.returncode, done.stdout, done.stderr[-3000:]))
        same = (done.returncode, done.stdout) == (good.returncode, good.stdout)
        same = same or arguments[0] == "status" or "file ?" in done.stdout
        if not ended and (not same or done.returncode != good.returncode):
            bad.append((number, done.returncode, done.stdout, done.stderr[-3000:]))
    print(f"{' '.join(arguments)}: {total} allocations")
    scene.sql("DELETE FROM outbox")
    for one in bad:
        print("BAD", *one)
    assert not bad, [one[:2] for one in bad]


# -- the relay -----------------------------------------------------------------------------------

MODES = {
    "table": {"source.mode": "table", "failure.policy": "park"},
    "wal": {"source.mode": "wal", "failure.policy": "park"},
    "dead-letter": {"source.mode": "table", "failure.policy": "dead-letter"},
}
# By the log, or before there is one.
_SAID = r'"level":"error".*out of memory|^outbox-relay: .*out of memory'


class Starved:
    """Short runs of the relay: rows that wait, rows that come, one that is refused, an end."""

    def __init__(self, scene: Scene, mode: str) -> None:
        self.scene = scene
        self.settings = {"lease.ttl_ms": 2000, "shutdown.timeout_ms": 1000, **MODES[mode]}

    def run(self, **env: object) -> Relay:
        """One, to its end."""
        scene = self.scene
        scene.write(20)
        relay = scene.relay(
            self.settings, {name: str(value) for name, value in env.items()}, program=program()
        )
        wait_for(lambda: relay.exit_code is not None or scene.unacknowledged() == 0, "it to work")
        if relay.exit_code is None:
            scene.write(20)
            (wrong,) = scene.write(1, topic="not allowed")
            scene.write(20)
            scene.oracle.forget(wrong)
            wait_for(lambda: relay.exit_code is not None or self.waiting() == 0, "it to work")
            scene.sql("DELETE FROM outbox WHERE id = %s", wrong)
        relay.terminate()
        return relay

    def waiting(self) -> int:
        return int(self.scene.sql("SELECT count(*) FROM outbox WHERE topic IS NULL")[0][0])


@pytest.mark.parametrize("mode", MODES)
def test_the_relay(decoding: Scene, tmp_path: pathlib.Path, mode: str) -> None:
    scene, starved = decoding, Starved(decoding, mode)
    count = tmp_path / "count"
    good = starved.run(FAIL_ALLOC_COUNT=count)
    assert good.exit_code == 0, good.process.tail()
    total = int(count.read_text())
    ends: dict[int | None, int] = {}
    bad = []
    for number in chosen(total, 3):
        try:
            relay = starved.run(FAIL_ALLOC=number, FAIL_ALLOC_TRACE=1)
        except AssertionError as error:
            scene.relays[-1].kill()
            bad.append((number, str(error), scene.relays[-1].log.read_text()[:6000]))
            continue
        ends[relay.exit_code] = ends.get(relay.exit_code, 0) + 1
        try:
            relay.check()
            assert relay.exit_code in (0, OUT_OF_MEMORY)
            assert relay.exit_code == 0 or relay.log_match(_SAID), "it does not say why"
        except AssertionError as error:
            bad.append((number, str(error)[:4000], relay.log.read_text()[:6000]))
    print(f"{mode}: {total} allocations, ends {ends}")
    for one in bad:
        print("BAD", *one)
    scene.relays.clear()
    scene.relay(starved.settings)
    scene.judge(max_duplicates=60 * len(chosen(total, 3)))
    assert not bad, [one[:2] for one in bad]
