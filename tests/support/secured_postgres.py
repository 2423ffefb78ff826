"""A PostgreSQL that lets nobody in without TLS, but for the tests themselves."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any
from urllib.parse import urlencode

from support.certificates import Certificates, Pair
from support.postgres import Postgres
from support.wait import wait_for

PASSWORD = "r1ght-secret"
SCRAM, CARD = "relay_scram", "relay"  # the client certificates' name is "relay"
_RULES = f"""\
local     all all trust
host      all postgres 127.0.0.1/32 trust
hostssl   all {SCRAM} 127.0.0.1/32 scram-sha-256
hostssl   all {CARD} 127.0.0.1/32 cert
"""


class SecuredPostgres(Postgres):
    """The role SCRAM logs in by its password, CARD by a client certificate."""

    def __init__(self, made: Certificates) -> None:
        super().__init__(
            {
                "ssl": "on",
                "ssl_cert_file": "server.crt",
                "ssl_key_file": "server.key",
                "ssl_ca_file": "ca.crt",
                "wal_level": "logical",
            }
        )
        self.made = made

    def start(self) -> None:
        super().start()
        for role in (SCRAM, CARD):
            self.psql("postgres", f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{PASSWORD}'")

    def granted(self) -> str:
        """A new database whose outbox both roles may relay."""
        db = self.createdb()
        self.grant(db)
        return db

    def grant(self, db: str) -> None:
        """Both roles may relay it, by table and by log."""
        for role in (SCRAM, CARD):
            self.psql(db, f"SELECT outbox_grant('relay', '{role}')")
        self.psql(
            db, "CREATE PUBLICATION outbox_relay FOR TABLE outbox WITH (publish = 'insert, truncate')"
        )

    def show(self, server: Pair) -> None:
        """From now on this is its certificate, for new connections."""
        self._install(server)
        since = self.log_size()
        self.psql("postgres", "SELECT pg_reload_conf()")
        wait_for(lambda: self.log_contains("SIGHUP, reloading", since=since), "it to be reloaded")

    def secured(self, db: str, role: str = SCRAM, host: str = "127.0.0.1", **options: Any) -> str:
        """A URI for that role: verify-full and the right files, unless the options say else."""
        own: dict[str, Any] = {"sslmode": "verify-full", "sslrootcert": self.made.ca}
        if role == CARD:
            own |= {"sslcert": self.made.client.certificate, "sslkey": self.made.client.key}
        own |= options
        return f"postgresql://{role}@{host}:{self.port}/{db}?{urlencode(own)}"

    def _initdb(self) -> None:
        super()._initdb()
        (self.data / "pg_hba.conf").write_text(_RULES)
        self._copy(self.made.ca, "ca.crt")
        self._install(self.made.server)

    def _install(self, server: Pair) -> None:
        self._copy(server.certificate, "server.crt")
        self._copy(server.key, "server.key")

    def _copy(self, path: pathlib.Path, name: str) -> None:
        """As its own file: it refuses another's key."""
        target = self.data / name
        shutil.copy(path, target)
        owner = self.data.stat()
        shutil.chown(target, owner.st_uid, owner.st_gid)
