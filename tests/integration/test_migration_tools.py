"""What schema/ has for each migration tool, run by that tool."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator

import pytest
from support.migration_tools import (
    NEWEST,
    TOOLS,
    Canonical,
    Extension,
    Java,
    Site,
    Tool,
    schema_print,
    server_with,
    write_alembic_project,
    write_django_project,
)
from support.postgres import MIGRATIONS, REPOSITORY, Postgres
from support.schema_catalog import catalog
from support.tools import ToolError, fetched

SCHEMA = REPOSITORY / "schema"
README = SCHEMA / "README.md"
INSERT = "INSERT INTO outbox (aggregatetype, aggregateid, type) VALUES ('order', '1', 'Placed')"



def named(kind: type[Tool]) -> str:
    return kind.name


each_tool = pytest.mark.parametrize("tool", TOOLS, ids=named, indirect=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with server_with(list((SCHEMA / "extension").iterdir())) as server:
        yield server


@pytest.fixture(scope="module")
def home() -> pathlib.Path:
    return fetched()


@pytest.fixture(scope="module")
def java(home: pathlib.Path) -> Iterator[Java]:
    tools = Java(home)
    yield tools
    tools.close()


@pytest.fixture
def site(server: Postgres, home: pathlib.Path, java: Java) -> Site:
    """A database with nothing in it."""
    return Site(server, server.createdb(migrated=False), home, java)


@pytest.fixture
def tool(request: pytest.FixtureRequest, site: Site) -> Tool:
    kind: type[Tool] = request.param
    return kind(site, SCHEMA / kind.name)


@pytest.fixture(scope="module")
def canonical(server: Postgres, home: pathlib.Path, java: Java) -> list[list[str]]:
    """The catalog of each version that psql installs from schema/migrations, from 0, nothing."""
    tool = Canonical(Site(server, server.createdb(migrated=False), home, java), MIGRATIONS)
    catalogs = [catalog(tool.site)]
    for version in range(1, NEWEST + 1):
        tool.up(version)
        catalogs.append(catalog(tool.site))
    return catalogs


# -- each tool -------------------------------------------------------------------------------------


@each_tool
def test_up_again_down_and_up(tool: Tool, canonical: list[list[str]]) -> None:
    tool.up()
    assert catalog(tool.site, tool.history) == canonical[NEWEST]
    tool.up()
    assert catalog(tool.site, tool.history) == canonical[NEWEST]
    tool.down()
    assert catalog(tool.site, tool.history) == canonical[0]
    tool.up()
    assert catalog(tool.site, tool.history) == canonical[NEWEST]


@pytest.mark.parametrize("version", range(1, NEWEST))
@each_tool
def test_from_an_older_version(tool: Tool, canonical: list[list[str]], version: int) -> None:
    """Up from it with an event that waits, and down to it again."""
    tool.up(version)
    assert catalog(tool.site, tool.history) == canonical[version]
    tool.site.query(INSERT)
    events = tool.site.query("SELECT seq, id, aggregateid, type, created_at FROM outbox")
    tool.up()
    assert catalog(tool.site, tool.history) == canonical[NEWEST]
    tool.down(version)
    assert catalog(tool.site, tool.history) == canonical[version]
    assert tool.site.query("SELECT seq, id, aggregateid, type, created_at FROM outbox") == events


@each_tool
def test_a_version_that_fails_leaves_nothing(tool: Tool, canonical: list[list[str]]) -> None:
    """Half-way through version 2; the same command goes on once its cause is gone."""
    tool.site.query("CREATE TABLE outbox_discarded (mine text)")
    with pytest.raises(ToolError, match='relation "outbox_discarded" already exists'):
        tool.up()
    tool.site.query("DROP TABLE outbox_discarded")
    left = canonical[0 if tool.one_transaction else 1]
    assert catalog(tool.site, tool.history) == left
    tool.mend()
    tool.up()
    assert catalog(tool.site, tool.history) == canonical[NEWEST]


# -- another table and schema ----------------------------------------------------------------------


def canonically_named(lines: list[str]) -> list[str]:
    """Of app.letters, quoted where the program writes it, what public.outbox has."""
    text = re.sub(r'"((?:app|letters)\w*)"', r"\1", "\n".join(lines))
    text = re.sub(r"\bletters(?=_|\b)", "outbox", re.sub(r"\bapp\.", "public.", text))
    return sorted(text.split("\n"))


@pytest.mark.parametrize("kind", [kind for kind in TOOLS if kind is not Extension], ids=named)
def test_another_table_and_schema(
    kind: type[Tool], site: Site, canonical: list[list[str]], tmp_path: pathlib.Path
) -> None:
    site.query("CREATE SCHEMA app")
    place = dataclasses.replace(site, schema="app", table="letters")
    schema_print(kind.name, "--source-table", "app.letters", "--directory", str(tmp_path))
    tool = kind(place, tmp_path)
    tool.up()
    installed = catalog(place, tool.history)
    assert canonically_named(installed) == canonically_named(canonical[NEWEST])
    assert catalog(site, tool.history) == canonical[0]
    tool.down()
    assert catalog(place, tool.history) == canonical[0]


# -- the extension ---------------------------------------------------------------------------------


def test_the_extensions_rows_are_in_a_dump(server: Postgres, site: Site) -> None:
    """Its triggers come with CREATE EXTENSION, before the rows: they are off for these."""
    Extension(site, SCHEMA / "extension").up()
    site.query(INSERT)
    events = site.query("SELECT * FROM outbox")
    other = dataclasses.replace(site, db=server.createdb(migrated=False))
    dump = pathlib.Path(server.data.parent, f"{site.db}.dump")
    site.run("pg_dump", "--format=custom", "--file", dump)
    restore = ("pg_restore", "--exit-on-error", "--dbname", other.db, dump)
    other.run(*restore, "--section=pre-data")
    other.query("ALTER TABLE outbox DISABLE TRIGGER USER")
    other.run(*restore, "--section=data")
    other.query("ALTER TABLE outbox ENABLE TRIGGER USER")
    other.run(*restore, "--section=post-data")
    assert catalog(other) == catalog(site)
    assert other.query("SELECT * FROM outbox") == events
    other.query(INSERT)
    assert other.query("SELECT seq FROM outbox ORDER BY seq") == [(1,), (2,)]


def test_a_service_may_install_the_extension(server: Postgres, site: Site) -> None:
    """With CREATE on the database and the schema, and no superuser."""
    role = f"owner_of_{site.db}"
    site.query(f"CREATE ROLE {role} LOGIN")
    site.query(f"GRANT CREATE ON DATABASE {site.db} TO {role}")
    site.query(f"GRANT CREATE ON SCHEMA public TO {role}")
    server.psql(site.db, "CREATE EXTENSION outbox_relay", user=role)
    assert site.version() == NEWEST


# -- what the README says --------------------------------------------------------------------------

SECTION = README.read_text().split("\n## With a migration tool\n")[1].split("\n## ")[0]
SECTIONS = dict(re.findall(r"^### (.*)\n\n((?:(?!^###).*\n)*)", SECTION + "\n", re.MULTILINE))
COMMANDS = {
    name: re.findall(r"^```sh\n(.*?)^```$|Back: `(.*?)`", text, re.MULTILINE | re.DOTALL)
    for name, text in SECTIONS.items()
}


@pytest.mark.parametrize("name", [name for name, commands in COMMANDS.items() if commands])
def test_the_readmes_commands(
    name: str, site: Site, canonical: list[list[str]], tmp_path: pathlib.Path
) -> None:
    """As they stand there, in the folder of an application that has schema/ beside it."""
    history = [table for tool in TOOLS for table in tool.history]
    env = {"PGSSLMODE": "disable", "DJANGO_SETTINGS_MODULE": "settings"}
    (tmp_path / "schema").symlink_to(SCHEMA)
    write_alembic_project(tmp_path, tmp_path / "migrations" / "versions")
    write_django_project(tmp_path, site)
    (up, _), *back = COMMANDS[name]
    site.run("bash", "-ec", up, env=env, folder=tmp_path)
    assert catalog(site, history) == canonical[NEWEST]
    for _, command in back:
        site.run("bash", "-ec", command, env=env, folder=tmp_path)
        assert catalog(site, history) == canonical[0]


def test_every_tool_has_its_section() -> None:
    folders = re.findall(r"\bschema/([a-z-]+)", "".join(SECTIONS.values()))
    assert {tool.name for tool in TOOLS} <= set(folders)
