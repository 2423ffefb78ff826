"""schema/: what is made out of the canonical migrations is what is committed, and how it is asked for."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
from support.postgres import MIGRATIONS, REPOSITORY, Postgres
from support.relay import binary, command, environment
from support.schema import printed

FORMATS = (
    "flyway",
    "liquibase",
    "golang-migrate",
    "goose",
    "dbmate",
    "node-pg-migrate",
    "alembic",
    "django",
    "psql",
    "extension",
)
NEWEST = len(list(MIGRATIONS.glob("*.up.sql")))


def refused(*arguments: str, table: str = "outbox") -> str:
    result = command("schema", "print", *arguments, settings={"source.table": table})
    assert result.returncode == 64, result.stdout
    assert result.stdout == "" and result.stderr.count("\n") == 1
    return result.stderr


def files(folder: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_committed_is_what_is_generated(name: str, tmp_path: pathlib.Path) -> None:
    """Else: schema/generate."""
    printed("--format", name, "--directory", str(tmp_path))
    assert files(tmp_path) == files(REPOSITORY / "schema" / name)


def test_the_canonical_files_are_in_the_program(tmp_path: pathlib.Path) -> None:
    printed("--format", "sql", "--directory", str(tmp_path))
    made = {name: text.split("\n", 1)[1] for name, text in files(tmp_path).items()}
    assert made == files(MIGRATIONS)


def test_every_format_has_a_folder_and_a_section() -> None:
    help_text = command("schema", "--help").stdout
    readme = (REPOSITORY / "schema" / "README.md").read_text()
    for name in FORMATS:
        assert name in help_text
        assert f"schema/{name}" in readme, f"schema/README.md says nothing of schema/{name}"


# -- ranges and places -----------------------------------------------------------------------------


def test_a_range_is_one_text() -> None:
    text = printed("--format", "flyway", "--from", "0", "--to", "2")
    assert "CREATE TABLE outbox (" in text and "CREATE TABLE outbox_dead (" in text
    assert "ADD COLUMN place" not in text
    assert not re.search(r"^(BEGIN|COMMIT);$", text, re.MULTILINE)
    back = printed("--format", "flyway", "--from", "2", "--to", "1")
    assert "DROP TABLE outbox_dead;" in back and "DROP TABLE outbox;" not in back


@pytest.mark.parametrize("table", ["app.events", "events", "app.order"])
def test_another_name(postgres: Postgres, table: str) -> None:
    """Up and down, in a schema of that name or the session's; nothing is left."""
    db = postgres.createdb(migrated=False)
    postgres.psql(db, "CREATE SCHEMA app")
    for arguments in ((), ("--from", str(NEWEST), "--to", "0"), ()):
        postgres.psql(db, printed(*arguments, table=table))
    schema, _, name = table.rpartition(".")
    tables = (
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname IN ('app', 'public')"
    )
    names = set(postgres.psql(db, tables).split())
    assert f"{schema or 'public'}.{name}" in names
    assert all(each.startswith(f"{schema or 'public'}.{name}") for each in names)
    postgres.psql(db, printed("--from", str(NEWEST), "--to", "0", table=table))
    assert postgres.psql(db, tables) == ""


def test_a_directory_is_not_written_over(tmp_path: pathlib.Path) -> None:
    mine = tmp_path / "V1__outbox.sql"
    mine.write_text("SELECT 1;\n")
    text = refused("--format", "flyway", "--directory", str(tmp_path))
    assert "V1__outbox.sql is there already" in text
    assert mine.read_text() == "SELECT 1;\n"
    mine.unlink()
    for _ in range(2):
        printed("--format", "flyway", "--directory", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "gose"), "did you mean goose?"),
        (("--format", "maven"), "--format is one of sql, flyway, liquibase"),
        (("--to", "99"), f"--to is a version from 0 to {NEWEST}"),
        (("--from", "-1"), f"--from is a version from 0 to {NEWEST}"),
        (("--from", "2", "--to", "2"), "the same version, 2"),
        (("--format", "goose", "--from", "2", "--to", "1"), "has the way back as well"),
        (("--format",), "flag --format: a value is missing"),
        (("--key", "4711"), "flag --key: goes with dead"),
        (("--directory", "/proc/nowhere"), "cannot make /proc/nowhere"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(*arguments)


def test_a_name_too_long_for_its_relatives() -> None:
    assert "leave room" in refused(table="t" * 50)


def test_other_commands_do_not_take_its_flags() -> None:
    result = command("dead", "list", "--format", "goose")
    assert result.returncode == 64 and "flag --format: goes with schema print" in result.stderr


def test_a_full_disk_is_said() -> None:
    with pathlib.Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [binary(), "schema", "print"],
            env=environment({}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 70 and "cannot write to standard output" in result.stderr
