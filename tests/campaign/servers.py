"""The campaign's servers: made when first wanted, for many rounds, replaced after a failed one."""

from __future__ import annotations

from typing import Any

from support.disk import Disk, small_disk
from support.postgres import Postgres
from support.proxied_kafka import ProxiedKafka
from support.wal import SERVER

_WAL_MIB, _TABLES_MIB = 96, 48
_POSTGRES = {
    **SERVER,
    # Each segment is made anew, so that a full disk is met by the next one.
    "wal_recycle": "off",
    "min_wal_size": "2MB",
    "max_wal_size": "24MB",
}
_KAFKA = {
    # A killed broker may come back only when the controller has given up its last life.
    1: {"broker.session.timeout.ms": "1500", "broker.heartbeat.interval.ms": "300"},
    # Who is away is given up soon, and leads again soon after it has come back.
    3: {
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "replica.lag.time.max.ms": "3000",
        "leader.imbalance.check.interval.seconds": "2",
        "leader.imbalance.per.broker.percentage": "0",
    },
}
TABLESPACE = "small"


class Servers:
    def __init__(self) -> None:
        self.wal_disk: Disk | None = None
        self.table_disk: Disk | None = None
        self._postgres: Postgres | None = None
        self._kafka: dict[int, ProxiedKafka] = {}

    @property
    def disks(self) -> list[Disk]:
        return [disk for disk in (self.wal_disk, self.table_disk) if disk is not None]

    def postgres(self) -> Postgres:
        if self._postgres is None:
            self.wal_disk, self.table_disk = small_disk(_WAL_MIB), small_disk(_TABLES_MIB)
            options = []
            if self.wal_disk is not None:
                options = ["--wal-segsize=1", "--waldir", str(self.wal_disk.folder("wal"))]
            self._postgres = Postgres(_POSTGRES, fsync=True, initdb=options)
            self._postgres.start()
            if self.table_disk is not None:
                self._make_tablespace(self._postgres, self.table_disk)
        return self._postgres

    def kafka(self, brokers: int) -> ProxiedKafka:
        if brokers not in self._kafka:
            made = ProxiedKafka(brokers, auto_create=False, settings=_KAFKA[brokers])
            made.start()
            self._kafka[brokers] = made
        return self._kafka[brokers]

    def heal(self) -> None:
        """Everything runs, and nothing stands between."""
        for disk in self.disks:
            disk.free()
        if self._postgres is not None:
            self._postgres.resume()
            if not self._postgres.running:
                self._postgres.start()
        for kafka in self._kafka.values():
            for node in range(kafka.brokers):
                if kafka.running(node):
                    kafka.resume(node)
            kafka.start()
            for proxy in kafka.proxies:
                proxy.delay(0)
                proxy.resume()

    def close(self) -> None:
        """All of it; what is wanted then is made anew."""
        for kafka in self._kafka.values():
            kafka.close()
        self._kafka.clear()
        if self._postgres is not None:
            self._postgres.close()
            self._postgres = None
        for disk in self.disks:
            disk.close()
        self.wal_disk = self.table_disk = None

    @staticmethod
    def _make_tablespace(server: Postgres, disk: Disk) -> None:
        connection: Any = server.connect(autocommit=True)
        try:
            path = disk.folder("tables")
            connection.cursor().execute(f"CREATE TABLESPACE {TABLESPACE} LOCATION '{path}'")
        finally:
            connection.close()
