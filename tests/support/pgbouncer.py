"""A PgBouncer of a test's own, pooling by transaction in front of a server: ended by pid.

    with PgBouncer(server) as pooler:
        relay({"postgres.uri": pooler.uri(db)})

The service that its Debian package brings has no part in it.
"""

from __future__ import annotations

import os
import pathlib
import pwd
import shutil
import tempfile

import psycopg2

from support.ports import free_port
from support.postgres import SUPERUSER, Postgres
from support.process import Process

START_TIMEOUT_S = 20.0

# Whoever the file names is let in, as by the server itself.
_CONFIG = """\
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = {pool_size}
"""


class PgBouncerError(Exception):
    """It did not do what was asked; the text has its own words."""


class PgBouncer:
    """It starts on entry (or by start()) and is gone on exit (or by close())."""

    def __init__(self, server: Postgres, *, mode: str = "transaction", pool_size: int = 10) -> None:
        """pool_size: sessions with the server, for each database and user."""
        self.port = 0
        self._server = server
        self._mode = mode
        self._pool_size = pool_size
        self._root: pathlib.Path | None = None
        self._process: Process | None = None
        self._command: list[str] = []

    def __enter__(self) -> PgBouncer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def uri(self, db: str, *, user: str = SUPERUSER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{db}"

    def start(self) -> None:
        """Returns once a client can ask the server through it."""
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise PgBouncerError("there is no pgbouncer: install the package of that name")
        self._root = pathlib.Path(tempfile.mkdtemp(prefix="outbox-pgbouncer-"))
        self.port = free_port()
        users = self._root / "users"
        users.write_text(f'"{SUPERUSER}" ""\n')
        config = self._root / "pgbouncer.ini"
        config.write_text(
            _CONFIG.format(
                server=self._server.port,
                port=self.port,
                users=users,
                mode=self._mode,
                pool_size=self._pool_size,
            )
        )
        self._command = [program, str(config)]
        if os.geteuid() == 0:  # it refuses to run as root
            account = pwd.getpwnam(SUPERUSER)
            for path in (self._root, users, config):
                os.chown(path, account.pw_uid, account.pw_gid)
            # With the user changes what the kernel was to end with us: it is told anew.
            head = ["setpriv", "--pdeathsig", "KILL", "--reuid", SUPERUSER, "--regid", SUPERUSER]
            self._command = [*head, "--init-groups", "--", *self._command]
        self._launch()

    def restart(self) -> None:
        """Killed, with every connection through it, and started again where it was."""
        assert self._process is not None, "it is not running"
        self._process.kill()
        self._launch()

    def close(self) -> None:
        """End it, and with it every connection through it; remove the folder."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None

    # -- inside ----------------------------------------------------------------------------------

    def _launch(self) -> None:
        assert self._root is not None
        try:
            self._process = Process(self._command, self._root / "pgbouncer.log", os.environ)
            self._process.name = "pgbouncer"
            self._process.wait_until(self._answers, "it was ready", START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.uri("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True
