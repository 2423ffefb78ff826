"""The README's SQL, settings and commands, extracted and run."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess

import pytest

from support.postgres import Postgres
from support.relay import REPOSITORY, command

README = (REPOSITORY / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def test_the_sql_runs(postgres: Postgres, db: str) -> None:
    grants, event, decoding, message = blocks("sql")
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
    (text,) = blocks("json")
    path = tmp_path / "relay.json"
    path.write_text(text)
    run = command("config", "print", "--json", "--config", str(path))
    assert run.returncode == 0, run.stderr
    assert "kafka.example:9092" in run.stdout
    json.loads(run.stdout)


def test_the_table_of_settings_is_the_programs() -> None:
    section = README.split("\n## Settings\n")[1].split("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| `")]
    named = {key for row in rows for key in re.findall(r"`([a-z_]+\.[a-z_*]+)`", row.split("|")[1])}
    flags = set(re.findall(r"^  --([a-z-]+)$", command("--help").stdout, re.M))

    def flag(key: str) -> str:
        return key.replace(".", "-").replace("_", "-")

    assert {flag(key) for key in named if not key.endswith("*")} <= flags
    assert {each for each in flags if each not in ("config",) and not each.startswith("kafka")} == {
        flag(key) for key in named if not key.endswith("*")
    }


def commands() -> list[str]:
    return [
        line[2:] for block in blocks("console") for line in block.splitlines() if line[:2] == "$ "
    ]


@pytest.mark.parametrize("line", commands())
def test_the_commands_exist(line: str) -> None:
    subprocess.run(["bash", "-n", "-c", line], check=True)
    word = line.split()[0]
    if "/" in word:
        assert (REPOSITORY / word).stat().st_mode & 0o111
    for path in re.findall(r"-f (\S+\.sql)", line):
        assert (REPOSITORY / path).is_file()
    if word == "outbox-relay" and len(line.split()) > 1:
        assert command(line.split()[1], "--help").returncode == 0


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target


def test_the_map_names_what_is_there() -> None:
    for folder in re.findall(r"^\| `((?:relay|schema|tests|deploy)[a-z/]*)`", README, re.M):
        assert (REPOSITORY / folder).is_dir(), folder
