"""The README's SQL, settings and commands, extracted and run."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
from collections.abc import Callable

import pytest

from support.doctor import HEALTHY, HOLDS
from support.document import blocks, commands, places, section, targets
from support.postgres import Postgres
from support.relay import REPOSITORY, Relay, binary, command, environment
from support.wait import wait_for
from support.writer import insert

README = (REPOSITORY / "README.md").read_text()


def test_the_sql_runs(postgres: Postgres, db: str) -> None:
    grants, event, decoding, message = blocks(README, "sql")
    connection = postgres.connect(db)
    with connection, connection.cursor() as cursor:
        for role in ("shop", "relay"):
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE ROLE {role}")
        cursor.execute("CREATE TABLE orders (id integer PRIMARY KEY, state text)")
        cursor.execute("GRANT SELECT, UPDATE ON orders TO shop")
        cursor.execute(grants)
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE shop")
        cursor.execute(event)
        cursor.execute("RESET ROLE")
        cursor.execute("SET ROLE relay")
        cursor.execute("SELECT aggregatetype, aggregateid, type, payload::text FROM outbox")
        assert cursor.fetchall() == [
            ("order", "4711", "OrderPaid", '{"order": 4711, "total": 12.30}')
        ]
        cursor.execute("DELETE FROM outbox")
        cursor.execute("UPDATE outbox_lease SET epoch = epoch")
        cursor.execute("RESET ROLE")
        cursor.execute(decoding)
        cursor.execute("SELECT tablename FROM pg_publication_tables WHERE pubname = 'outbox_relay'")
        assert cursor.fetchall() == [("outbox",)]
        cursor.execute(message)
    connection.close()


def test_the_file_of_settings_is_taken(tmp_path: pathlib.Path) -> None:
    (text,) = blocks(README, "json")
    path = tmp_path / "relay.json"
    path.write_text(text)
    run = command("config", "print", "--json", "--config", str(path))
    assert run.returncode == 0, run.stderr
    assert "kafka.example:9092" in run.stdout
    json.loads(run.stdout)


def test_the_table_of_settings_is_the_programs() -> None:
    rows = [row for row in section(README, "Settings").splitlines() if row.startswith("| `")]
    named = {key for row in rows for key in re.findall(r"`([a-z_]+\.[a-z_*]+)`", row.split("|")[1])}
    flags = set(re.findall(r"^  --([a-z-]+)$", command("--help").stdout, re.M))

    def flag(key: str) -> str:
        return key.replace(".", "-").replace("_", "-")

    assert {flag(key) for key in named if not key.endswith("*")} <= flags
    assert {each for each in flags if each not in ("config",) and not each.startswith("kafka")} == {
        flag(key) for key in named if not key.endswith("*")
    }


@pytest.mark.parametrize("line", commands(README))
def test_the_commands_exist(line: str) -> None:
    subprocess.run(["bash", "-n", "-c", line], check=True)
    word = line.split()[0]
    if "/" in word:
        assert (REPOSITORY / word).stat().st_mode & 0o111
    for path in re.findall(r"-f (\S+\.sql)", line):
        assert (REPOSITORY / path).is_file()
    if word == "outbox-relay" and len(line.split()) > 1:
        assert command(line.split()[1], "--help").returncode == 0


@pytest.fixture
def parked(
    postgres: Postgres, db: str, relay_factory: Callable[..., Relay], topic_prefix: str
) -> Relay:
    """A relay, and an event of key 4711 that cannot be published."""
    relay = relay_factory({"failure.policy": "park"}).wait_ready()
    postgres.unguard(db)
    connection = postgres.connect(db, autocommit=True)
    insert(connection, topic_prefix, "4711", headers="[1]")
    connection.close()
    relay.wait_metric("parked_events", 1)
    return relay


def test_the_runbook_is_carried_out(
    parked: Relay, postgres: Postgres, db: str, tmp_path: pathlib.Path
) -> None:
    """In its order, by a shell: from an event that is parked to one that was given up."""
    (tmp_path / "outbox-relay").symlink_to(binary().resolve())
    path = f"{tmp_path}:{os.environ['PATH']}"
    env = {**environment(parked.settings), "PATH": path, "DATABASE": postgres.uri(db)}

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line], env=env, capture_output=True, text=True, timeout=60, check=False
        )

    lines = commands(section(README, "Runbook"))
    assert lines[0] == "outbox-relay doctor" and run(lines[0]).returncode == HOLDS
    for line in lines[1:]:
        done = run(line)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        if "dead retry" in line:
            assert "1 event retried" in done.stdout, "the key of its examples is ours"
            wait_for(lambda: "4711" in run("outbox-relay dead list").stdout, "it to park again")
    assert run("outbox-relay dead list").stdout == "none\n"
    wait_for(lambda: run("outbox-relay doctor").returncode == HEALTHY, "doctor to be content")


def test_the_runbook_names_metrics_that_there_are(parked: Relay) -> None:
    text = section(README, "Runbook")
    named = set(re.findall(r"\b(?:outbox_relay|process)_\w+", text))
    there = set(re.findall(r"^# TYPE (\w+) ", parked.get("/metrics")[1], re.M))
    assert named and named <= there, named - there
    assert parked.metric("delivery_errors_total", **{"class": "row"}) >= 1
    classes = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert classes == ["class", "row", "topic", "cluster", "lost"]


def test_links_lead_somewhere() -> None:
    for path, place in targets(README):
        document = REPOSITORY / (path or "README.md")
        assert document.exists(), path
        assert not place or place in places(document.read_text()), f"{path}#{place}"


def test_the_map_names_what_is_there() -> None:
    for folder in re.findall(r"^\| `((?:relay|schema|tests|deploy)[a-z/]*)`", README, re.M):
        assert (REPOSITORY / folder).is_dir(), folder
