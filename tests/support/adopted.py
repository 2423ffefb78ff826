"""Outboxes that others published from, and what `outbox-relay adopt` makes of them."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

from support.postgres import REPOSITORY, Postgres
from support.relay import binary, command, environment

# As its documentation has it.
DEBEZIUM = """
CREATE TABLE {table} (
    id            uuid         NOT NULL PRIMARY KEY,
    aggregatetype varchar(255) NOT NULL,
    aggregateid   varchar(255) NOT NULL,
    type          varchar(255) NOT NULL,
    payload       jsonb
)
"""
GOHARVEST = """
CREATE TABLE {table} (
    id                  bigserial PRIMARY KEY,
    create_time         timestamptz NOT NULL,
    kafka_topic         varchar(249) NOT NULL,
    kafka_key           varchar(100) NOT NULL,
    kafka_value         varchar(10000),
    kafka_header_keys   text[] NOT NULL,
    kafka_header_values text[] NOT NULL,
    leader_id           uuid
)
"""


def printed(postgres: Postgres, db: str, *arguments: str, **settings: Any) -> str:
    """What `adopt` prints; settings with _ for the dot: source_table."""
    named = {key.replace("_", ".", 1): value for key, value in settings.items()}
    done = command("adopt", *arguments, settings={"postgres.uri": postgres.uri(db), **named})
    assert done.returncode == 0, done.stderr
    return done.stdout


def migrate(postgres: Postgres, db: str, *arguments: str, **settings: Any) -> dict[str, Any]:
    """The way that it says itself: what it prints, by psql. The settings that it wants then."""
    wanted = json.loads(printed(postgres, db, *arguments, "--json", **settings))
    run(postgres, db, printed(postgres, db, *arguments, **settings))
    return flat(wanted)


def run(postgres: Postgres, db: str, sql: str) -> None:
    """psql -c would make one transaction of it."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(sql)
        file.flush()
        postgres.psql(db, file=pathlib.Path(file.name))


def documented(title: str, language: str) -> list[str]:
    """The blocks of schema/README.md under that title."""
    readme = (REPOSITORY / "schema" / "README.md").read_text()
    section = readme.split(f"# {title}\n")[1].split("\n#")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)


def shell(postgres: Postgres, db: str, folder: pathlib.Path, text: str) -> dict[str, Any]:
    """The same; what relay.json has then."""
    commands(postgres, db, folder, text)
    return flat(json.loads((folder / "relay.json").read_text()))


def commands(postgres: Postgres, db: str, folder: pathlib.Path, text: str) -> str:
    """Commands as a reader would give them, in that folder; what they say."""
    program = folder / "outbox-relay"
    if not program.exists():
        program.symlink_to(binary().resolve())
    env = environment({"postgres.uri": postgres.uri(db)})
    env |= {"DATABASE": postgres.uri(db), "PATH": f"{folder}:{postgres.bin}:{env['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def flat(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"{group}.{name}": value for group, of in settings.items() for name, value in of.items()
    }
