"""Debezium as its users run it: Kafka Connect, a PostgreSQL connector, the Outbox Event Router.

    with Debezium(kafka.bootstrap, folder) as debezium:
        debezium.add("orders", postgres, db, {"transforms.outbox.table.expand.json.payload": "false"})
        ...
        debezium.end("orders")  # or kill(), kill -9 of all

Its jars come from debezium.bash, which fetches them once into the user's cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import psycopg2
from support.kafka import LIB
from support.ports import free_port
from support.postgres import SUPERUSER, Postgres
from support.process import Process, ProcessError
from support.wait import wait_for

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0

_HERE = pathlib.Path(__file__).resolve().parent
_FETCH = """
source "$1/kafka.bash" && source "$2/debezium.bash" && { kafka_fetch && debezium_fetch; } >&2 &&
echo "$debezium_home/*:$kafka_home/*"
"""
_STRING = "org.apache.kafka.connect.storage.StringConverter"
_STREAMS = """
SELECT count(*) FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid
WHERE s.slot_name = %s AND r.state = 'streaming'
"""

_DROP = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s
"""


def class_path() -> str:
    """The jars', which are fetched when they are not there yet."""
    done = subprocess.run(
        ["bash", "-c", _FETCH, "-", LIB, _HERE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"Debezium could not be fetched:\n{done.stderr.strip()}"
    return done.stdout.strip()


class Debezium:
    """One Connect process and its connectors, which are added while it runs."""

    def __init__(self, bootstrap: str, folder: pathlib.Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._class_path = class_path()
        self._process: Process | None = None
        self._connectors: dict[str, tuple[Postgres, str, dict[str, str]]] = {}
        self._worker = {
            "bootstrap.servers": bootstrap,
            "listeners": f"http://127.0.0.1:{self._port}",
            "key.converter": _STRING,
            "value.converter": _STRING,
            "offset.storage.file.filename": str(folder / "offsets"),
            "offset.flush.interval.ms": "500",
            "plugin.discovery": "service_load",  # a look at 70 jars less
        }

    def __enter__(self) -> Debezium:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns once connectors may be added."""
        properties = self._folder / "worker.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._worker.items()))
        command = [
            "java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={LIB}/log4j2.properties", "-cp", self._class_path,
            "org.apache.kafka.connect.cli.ConnectStandalone", properties,
        ]  # fmt: skip
        self._process = Process(command, self._folder / "connect.log", os.environ)
        self._process.wait_until(self._answers, "Connect answered", START_TIMEOUT_S)

    def add(self, name: str, postgres: Postgres, db: str, settings: Mapping[str, str]) -> None:
        """One more connector, of a process that is started if none runs, on table public.outbox unless the settings say otherwise. Its slot has
        its name. Returns once what commits from now on comes; what the table has does not."""
        if self._process is None:
            self.start()
        self._connectors[name] = (
            postgres,
            db,
            {
                "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
                "database.hostname": "127.0.0.1",
                "database.port": str(postgres.port),
                "database.user": SUPERUSER,
                "database.password": "unused",
                "database.dbname": db,
                "plugin.name": "pgoutput",
                "slot.name": name,
                "publication.name": f"{name}_publication",
                "publication.autocreate.mode": "filtered",
                "topic.prefix": name,
                "table.include.list": "public.outbox",
                "snapshot.mode": "no_data",
                "tombstones.on.delete": "false",
                "poll.interval.ms": "10",
                "extended.headers.enabled": "false",
                "transforms": "outbox",
                "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
                **settings,
            },
        )
        self._put(name)
        self._wait_streaming(name)

    def end(self, name: str) -> None:
        """One connector, cleanly; its slot stays."""
        del self._connectors[name]
        self._request("DELETE", f"/connectors/{name}")

    def remove(self, name: str) -> None:
        """The same, and its slot goes."""
        if name not in self._connectors:
            return
        postgres, db, settings = self._connectors[name]
        self.end(name)
        connection = postgres.connect(db, autocommit=True)

        def dropped() -> bool:
            with contextlib.suppress(psycopg2.errors.ObjectInUse), connection.cursor() as cursor:
                cursor.execute(_DROP, (settings["slot.name"],))
                return True
            return False

        try:
            wait_for(dropped, f"slot {name} to be free", STOP_TIMEOUT_S)
        finally:
            connection.close()

    def kill(self) -> None:
        """kill -9 of the process, and so the end of all its connectors."""
        assert self._process is not None
        self._process.kill()
        self._process = None
        self._connectors.clear()

    def close(self) -> None:
        if self._process is not None:
            self.kill()

    # -- inside ----------------------------------------------------------------------------------

    def _put(self, name: str) -> None:
        self._request("PUT", f"/connectors/{name}/config", self._connectors[name][2])

    def _wait_streaming(self, name: str) -> None:
        assert self._process is not None
        postgres, db, settings = self._connectors[name]
        connection = postgres.connect(db, autocommit=True)

        def streams() -> bool:
            status = self._request("GET", f"/connectors/{name}/status") or {"tasks": []}
            for task in status["tasks"]:
                if "trace" in task:
                    raise ProcessError(f"connector {name}: {task['trace']}")
            with connection.cursor() as cursor:
                cursor.execute(_STREAMS, (settings["slot.name"],))
                return cursor.fetchone()[0] == 1

        try:
            self._process.wait_until(streams, f"connector {name} streamed", START_TIMEOUT_S)
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            return self._request("GET", "/connectors") is not None
        except OSError:
            return False

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        """Its REST interface's answer; None: there is no such thing, or it is still starting."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code in (404, 503):
                return None
            raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from None
