"""`schema check`: what it finds in a database, whoever ran the migrations there, and the remedy."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any

import pytest
from support import catalogs
from support.adopted import commands, documented
from support.postgres import MIGRATIONS, REPOSITORY, Postgres
from support.relay import command
from support.schema import printed

UPS = sorted(MIGRATIONS.glob("*.up.sql"))
NEWEST = len(UPS)


def check(
    server: Postgres, db: str, *arguments: str, table: str = "outbox", user: str = "postgres"
) -> subprocess.CompletedProcess[str]:
    settings = {"postgres.uri": server.uri(db, user=user), "source.table": table}
    return command("schema", "check", *arguments, settings=settings)


def findings(server: Postgres, db: str, code: int, **options: Any) -> set[tuple[str, str, str]]:
    """What, kind and name of each, after a run that has to end with this code."""
    result = check(server, db, "--json", **options)
    assert result.returncode == code, result.stdout + result.stderr
    answer = json.loads(result.stdout)
    assert answer["newest"] == NEWEST and answer["fits"] == (code == 0)
    return {(one["what"], one["kind"], one["name"]) for one in answer["findings"]}


def test_the_catalogs_are_those_of_fresh_databases(postgres: Postgres) -> None:
    """Else: cd tests && python3 -m support.catalogs."""
    assert catalogs.committed() == catalogs.of_each_version(postgres)


def test_a_fresh_database_fits(postgres: Postgres) -> None:
    result = check(postgres, postgres.createdb())
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        f"public.outbox: version {NEWEST} of {NEWEST}, as it is to be\n"
    )


def test_the_readmes_install_fits(postgres: Postgres, tmp_path: pathlib.Path) -> None:
    db = postgres.createdb(migrated=False)
    (tmp_path / "schema").symlink_to(REPOSITORY / "schema")
    install, look = documented("Install", "sh")
    commands(postgres, db, tmp_path, install)
    assert "as it is to be" in commands(postgres, db, tmp_path, look)


@pytest.mark.parametrize("table", ["app.events", "app.order", "App.outbox"])
def test_another_name_fits(postgres: Postgres, table: str) -> None:
    db = postgres.createdb(migrated=False)
    postgres.psql(db, "CREATE SCHEMA app")
    postgres.psql(db, printed(table=table))
    assert findings(postgres, db, 0, table=table) == set()


def test_each_older_version_is_told_and_mended_by_the_remedy(postgres: Postgres) -> None:
    for version in range(NEWEST):
        db = postgres.createdb(migrated=False)
        for up in UPS[:version]:
            postgres.psql(db, up.read_text())
        what = "older" if version > 0 else "missing"
        kind = "version" if version > 0 else "table"
        assert findings(postgres, db, 78) == {(what, kind, "outbox")}
        shown = check(postgres, db).stdout
        remedy = f"outbox-relay schema print --from {version} --to {NEWEST}"
        assert f"{remedy} | psql -X -v ON_ERROR_STOP=1\n" in shown
        postgres.psql(db, printed(*remedy.split()[3:]))
        assert findings(postgres, db, 0) == set()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DROP TRIGGER outbox_wake ON outbox", ("missing", "trigger", "outbox.outbox_wake")),
        (
            "ALTER TABLE outbox DISABLE TRIGGER outbox_wake",
            ("disabled", "trigger", "outbox.outbox_wake"),
        ),
        ("DROP INDEX outbox_unpublished_xid", ("missing", "index", "outbox.outbox_unpublished_xid")),
        (
            "ALTER TABLE outbox ALTER published_at SET DEFAULT now()",
            ("different", "column", "outbox.published_at"),
        ),
        (
            "ALTER TABLE outbox ALTER xid DROP DEFAULT",
            ("different", "column", "outbox.xid"),
        ),
        (
            "ALTER TABLE outbox ALTER aggregateid DROP NOT NULL",
            ("different", "column", "outbox.aggregateid"),
        ),
        ("ALTER TABLE outbox DROP topic", ("missing", "column", "outbox.topic")),
        (
            "ALTER TABLE outbox_lease ALTER epoch DROP DEFAULT",
            ("different", "column", "outbox_lease.epoch"),
        ),
        (
            "CREATE OR REPLACE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RETURN NULL; END'",
            ("different", "function", "outbox_wake()"),
        ),
        (
            "ALTER TABLE outbox_dead DROP CONSTRAINT outbox_dead_pkey",
            ("missing", "constraint", "outbox_dead.outbox_dead_pkey"),
        ),
        ("ALTER TABLE outbox SET UNLOGGED", ("different", "table", "outbox")),
        ("DELETE FROM outbox_schema_version", ("not recorded", "version", "outbox")),
    ],
)
def test_what_is_wrong_is_found(
    postgres: Postgres, statement: str, found: tuple[str, str, str]
) -> None:
    db = postgres.createdb()
    postgres.psql(db, statement)
    assert findings(postgres, db, 78) == {found}


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE outbox DISABLE TRIGGER outbox_wake",
        f"DELETE FROM outbox_schema_version WHERE version < {NEWEST + 1}",
    ],
)
def test_sql_that_is_a_remedy_mends(postgres: Postgres, statement: str) -> None:
    db = postgres.createdb()
    postgres.psql(db, statement)
    answer = json.loads(check(postgres, db, "--json").stdout)
    (finding,) = answer["findings"]
    postgres.psql(db, finding["remedy"])
    assert findings(postgres, db, 0) == set()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("ALTER TABLE outbox ADD tenant text", {("additional", "column", "outbox.tenant")}),
        ("ALTER TABLE outbox ALTER aggregatetype TYPE varchar(255)", set()),
        ("ALTER TABLE outbox ALTER payload TYPE jsonb", set()),
        (
            "ALTER TABLE outbox ALTER id DROP DEFAULT",
            {("otherwise", "column", "outbox.id")},
        ),
        (
            f"INSERT INTO outbox_schema_version VALUES ({NEWEST + 1})",
            {("newer", "version", "outbox")},
        ),
    ],
)
def test_what_the_relay_reads_as_well_is_fine(
    postgres: Postgres, statement: str, found: set[tuple[str, str, str]]
) -> None:
    db = postgres.createdb()
    postgres.psql(db, statement)
    assert findings(postgres, db, 0) == found


def test_a_partitioned_outbox_is_fine(postgres: Postgres) -> None:
    db = postgres.createdb()
    postgres.psql(db, "SELECT outbox_partition()")
    assert findings(postgres, db, 0) == set()
    postgres.psql(db, "ALTER TABLE outbox DISABLE TRIGGER outbox_wake")
    assert findings(postgres, db, 78) == {("disabled", "trigger", "outbox.outbox_wake")}


def test_columns_of_other_names_are_known(postgres: Postgres) -> None:
    """By the settings columns.*; the indexes are looked for on those."""
    db = postgres.createdb()
    postgres.psql(
        db,
        "ALTER TABLE outbox RENAME type TO event_type; ALTER TABLE outbox RENAME seq TO number;"
        " ALTER TABLE outbox DROP topic; ALTER TABLE outbox ALTER aggregateid TYPE uuid"
        " USING aggregateid::uuid",
    )
    settings = {
        "postgres.uri": postgres.uri(db),
        "columns.type": "event_type",
        "columns.seq": "number",
        "columns.topic": "",
    }
    result = command("schema", "check", "--json", settings=settings)
    assert result.returncode == 0, result.stdout + result.stderr
    (finding,) = json.loads(result.stdout)["findings"]
    assert finding["what"] == "otherwise" and finding["name"] == "outbox.aggregateid"
    del settings["columns.seq"]
    assert command("schema", "check", settings=settings).returncode == 78


def test_a_table_of_somebody_elses_is_foreign(postgres: Postgres) -> None:
    db = postgres.createdb(migrated=False)
    postgres.psql(db, "CREATE TABLE outbox (id uuid PRIMARY KEY, payload jsonb)")
    assert findings(postgres, db, 78) == {("foreign", "table", "outbox")}


def test_the_version_row_is_not_believed_alone(postgres: Postgres) -> None:
    """An ORM that was told that a migration had run has made nothing."""
    db = postgres.createdb(migrated=False)
    postgres.psql(db, UPS[0].read_text())
    postgres.psql(db, f"INSERT INTO outbox_schema_version VALUES ({NEWEST})")
    assert ("missing", "table", "outbox_parked") in findings(postgres, db, 78)


def test_a_role_without_rights_can_ask(postgres: Postgres) -> None:
    """The catalogue is everybody's; the version is told by the objects then."""
    db = postgres.createdb()
    postgres.psql(db, "CREATE ROLE stranger LOGIN")
    assert findings(postgres, db, 0, user="stranger") == set()
    postgres.psql(db, "CREATE SCHEMA hidden; ALTER TABLE outbox SET SCHEMA hidden")
    result = check(postgres, db, table="hidden.outbox", user="stranger")
    assert result.returncode == 77 and "permission denied for schema hidden" in result.stderr


def test_a_server_that_is_not_there(postgres: Postgres) -> None:
    settings = {"postgres.uri": "postgres://127.0.0.1:1/none"}
    result = command("schema", "check", settings=settings)
    assert result.returncode == 69 and result.stdout == "" and result.stderr.count("\n") == 1
