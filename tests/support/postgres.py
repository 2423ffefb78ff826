"""A PostgreSQL server of a test's own: made, started, hurt and stopped by pid.

    with Postgres({"max_prepared_transactions": "10"}) as server:
        db = server.createdb()              # a new database, the schema installed
        with server.connect(db) as connection: ...

Everything lives in one temporary folder, which goes when the server is closed.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MIGRATIONS = REPOSITORY / "schema" / "migrations"
SUPERUSER = "postgres"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_line_prefix": "%m [%p] %q%u@%d/%a ",
    "log_min_messages": "info",
}
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class PostgresError(Exception):
    """The server, or one of its programs, did not do what was asked; the text has its own words."""


class Postgres:
    """One server. It starts on entry (or by start()) and is gone on exit (or by close())."""

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        fsync: bool = False,
        initdb: Sequence[str] = (),
    ) -> None:
        """settings go over the defaults; fsync=True: the disk is waited for, as in production;
        initdb: more options for that program."""
        self.bin = _newest_bin()
        self.settings = {**_SETTINGS, **({} if fsync else _NOT_DURABLE), **(settings or {})}
        self._initdb_options = list(initdb)
        self.port = 0
        self.root: pathlib.Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port_is_ours = False
        self._templated = False
        self._databases = 0

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- life ------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The postmaster's."""
        if self._process is None:
            raise PostgresError("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the postmaster is a living process; a paused one is."""
        return self._process is not None and self._process.poll() is None

    @property
    def data(self) -> pathlib.Path:
        return self._folder() / "data"

    @property
    def log_path(self) -> pathlib.Path:
        return self._folder() / "server.log"

    def start(self) -> None:
        """Start, the first time with initdb, and return once a connection is accepted."""
        if self.running:
            raise PostgresError("the server is running already")
        try:
            if self.root is None:
                self._initdb()
            while not self._launch():
                self.port = 0  # somebody took the port between our look and the start
        except BaseException:
            self.close()
            raise

    def stop(self, mode: str = "fast") -> None:
        """Shut down: fast, immediate (as a crash: recovery at the next start) or smart."""
        numbers = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "smart": signal.SIGTERM}
        if not self.running:
            return
        number = numbers[mode]
        self.resume()
        os.kill(self.pid, number)
        self._reap()

    def take_port(self, port: int) -> None:
        """Where the next start() listens: another server's port, now that it has stopped."""
        self.port = port
        self._port_is_ours = True

    def copy(self, *, standby: bool = False) -> Postgres:
        """A copy of the running server's data as a server of its own, not started yet, with its
        own port. As a standby it follows this one until it is promoted."""
        other = Postgres(self.settings, fsync=True)
        other._make_root()
        done = subprocess.run(
            _as_server_user(self.bin / "pg_basebackup")
            + ["-D", other.data, "-d", self.uri("postgres"), "-c", "fast", "--no-sync"]
            + (["-R"] if standby else []),
            cwd=other.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            other.close()
            raise PostgresError(f"pg_basebackup failed: {done.stderr.strip()}")
        return other

    def promote(self) -> None:
        """A standby becomes a server of its own; returns when it takes writes."""
        self.psql("postgres", "SELECT pg_promote()")

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """kill -9 of the postmaster and, so that the folder is free again, of all its processes."""
        if not self.running:
            return
        pids = self._freeze()
        with contextlib.ExitStack() as stack:
            handles = []
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    handle = os.pidfd_open(pid)
                    stack.callback(os.close, handle)
                    handles.append(handle)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()
            for handle in handles:
                if not select.select([handle], [], [], STOP_TIMEOUT_S)[0]:
                    raise PostgresError("a backend outlived kill -9")

    def pause(self) -> None:
        """SIGSTOP the postmaster and every backend: silence, with all connections still open."""
        self._freeze()

    def resume(self) -> None:
        """SIGCONT what pause() stopped; harmless otherwise."""
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop whatever runs and remove the folder."""
        try:
            if self.running:
                try:
                    self.stop("immediate")
                except PostgresError:
                    self.kill()
        finally:
            self._process = None
            if self.root is not None:
                shutil.rmtree(self.root, ignore_errors=True)
                self.root = None
            self._templated = False

    # -- databases -------------------------------------------------------------------------------

    def createdb(self, *, migrated: bool = True) -> str:
        """A new database's name; its schema public holds the outbox unless migrated is False."""
        if migrated and not self._templated:
            self._create("outbox_template", "template0")
            for migration in sorted(MIGRATIONS.glob("*.up.sql")):
                self.psql("outbox_template", file=migration)
            self._templated = True
        self._databases += 1
        name = f"test_{self._databases}"
        self._create(name, "outbox_template" if migrated else "template0")
        return name

    def connect(self, db: str = "postgres", *, user: str = SUPERUSER, **options: Any) -> Any:
        """A psycopg2 connection; the caller closes it. autocommit=True is passed on."""
        autocommit = options.pop("autocommit", False)
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, dbname=db, user=user, **options
        )
        connection.autocommit = autocommit
        return connection

    def unguard(self, db: str) -> None:
        """Let its outbox take what cannot be published: the relay is on trial, not the guard."""
        self.psql(db, "ALTER TABLE outbox DISABLE TRIGGER outbox_guard")

    def uri(self, db: str, *, user: str = SUPERUSER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{db}"

    def psql(
        self,
        db: str,
        sql: str | None = None,
        *,
        file: pathlib.Path | None = None,
        user: str = SUPERUSER,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Run a text or a file as an operator would; its output, or PostgresError."""
        if (sql is None) == (file is None):
            raise ValueError("psql() takes either a text or a file")
        what = ["-c", sql] if sql is not None else ["-f", str(file)]
        done = subprocess.run(
            [self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *what]
            + [self.uri(db, user=user)],
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PostgresError(done.stderr.strip())
        return done.stdout

    # -- the log ---------------------------------------------------------------------------------

    def log_size(self) -> int:
        """A position for log_contains(since=...)."""
        return self.log_path.stat().st_size

    def log_contains(self, pattern: str, *, since: int = 0) -> bool:
        """Whether the regular expression matches in the server's log behind that position."""
        with self.log_path.open("rb") as log:
            log.seek(since)
            return re.search(pattern, log.read().decode(errors="replace")) is not None

    # -- inside ----------------------------------------------------------------------------------

    def _folder(self) -> pathlib.Path:
        if self.root is None:
            raise PostgresError("the server has not been made yet")
        return self.root

    def _make_root(self) -> None:
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="outbox-postgres-"))
        if os.geteuid() == 0:
            account = pwd.getpwnam(SUPERUSER)
            os.chown(self.root, account.pw_uid, account.pw_gid)

    def _initdb(self) -> None:
        self._make_root()
        done = subprocess.run(
            _as_server_user(self.bin / "initdb")
            + ["-D", self.data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
            + ["--no-sync", "--no-instructions", *self._initdb_options],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PostgresError(f"initdb failed: {done.stderr.strip()}")

    def _launch(self) -> bool:
        """Start once; False when the port was taken."""
        if self.port == 0:
            self.port = _free_port()
            self._port_is_ours = False
        arguments = [f"-c{name}={value}" for name, value in self.settings.items()]
        with self.log_path.open("ab") as log:
            since = log.tell()
            # Should this process die, the server gets a fast shutdown.
            self._process = subprocess.Popen(
                [*_as_server_user(self.bin / "postgres"), "-D", self.data, "-k", self._folder()]
                + ["-p", str(self.port), *arguments],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the terminal is ours to handle
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._process.poll() is not None:
                self._process = None
                if self.log_contains("Address already in use", since=since):
                    if not self._port_is_ours:
                        return False
                raise PostgresError(f"the server did not start:\n{self._log_tail()}")
            try:
                self.connect().close()
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise PostgresError(f"the server is not ready:\n{self._log_tail()}") from None
                time.sleep(0.02)
            else:
                self._port_is_ours = True
                return True

    def _reap(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise PostgresError("the server does not end") from None
        self._process = None

    def _freeze(self) -> list[int]:
        """Stop every process, the postmaster first, so that it starts none; their pids."""
        stopped: list[int] = []
        while True:
            fresh = [pid for pid in self._processes() if pid not in stopped]
            if not fresh:
                return stopped
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)

    def _processes(self) -> list[int]:
        """The postmaster and its children."""
        if not self.running:
            return []
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [self.pid, *map(int, children.split())]

    def _create(self, name: str, template: str) -> None:
        connection = self.connect(autocommit=True)
        # Through the log, as later releases do by default, it takes twice as long.
        copied = " STRATEGY file_copy" if connection.server_version >= 150000 else ""
        try:
            connection.cursor().execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{copied}')
        finally:
            connection.close()

    def _log_tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])


def _newest_bin() -> pathlib.Path:
    """The newest installed server's programs."""
    found = [
        path.parent
        for path in pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres")
        if path.parents[1].name.isdigit()
    ]
    if not found:
        raise PostgresError("no PostgreSQL server in /usr/lib/postgresql: install postgresql")
    return max(found, key=lambda folder: int(folder.parent.name))


def _as_server_user(program: pathlib.Path) -> list[str | pathlib.Path]:
    """The command line's head: PostgreSQL refuses to run as root."""
    head: list[str | pathlib.Path] = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        head += ["--reuid", SUPERUSER, "--regid", SUPERUSER, "--init-groups"]
    return [*head, "--", program]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
