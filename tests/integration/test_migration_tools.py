"""What schema/ has for each migration tool, run by that tool."""

from __future__ import annotations

import pathlib
import re
import subprocess
from collections.abc import Iterator

import pytest
from support.migration_tools import (
    NEWEST,
    TOOLS,
    Alembic,
    Canonical,
    Extension,
    Flyway,
    GolangMigrate,
    Java,
    Site,
    Tool,
    ToolError,
    alembic_project,
    django_project,
    fetched,
    server_with,
)
from support.postgres import MIGRATIONS, REPOSITORY, Postgres
from support.relay import binary
from support.schema_catalog import catalog

SCHEMA = REPOSITORY / "schema"
README = SCHEMA / "README.md"
INSERT = "INSERT INTO outbox (aggregatetype, aggregateid, type) VALUES ('order', '1', 'Placed')"

each_tool = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name, indirect=True)


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
