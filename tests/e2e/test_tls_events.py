"""Events over TLS on both sides: a client certificate to Kafka, verify-full and SCRAM with channel
binding to PostgreSQL. No session of the relay's is in plain text, however events are found.
"""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from support.certificates import Certificates
from support.scene import Scene
from support.secured import SECRET, check, in_files, mtls
from support.secured_kafka import SecuredKafka
from support.secured_postgres import CARD, PASSWORD, SCRAM, SecuredPostgres

_SESSIONS = """
SELECT CASE backend_type WHEN 'walsender' THEN 'stream' ELSE application_name END, ssl,
       client_dn IS NOT NULL
FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
WHERE datname = current_database() AND usename = %s
"""


@pytest.fixture
def scene(
    secured_postgres: SecuredPostgres, secured_kafka: SecuredKafka, tmp_path: pathlib.Path
) -> Any:
    made = Scene(secured_postgres, secured_kafka, tmp_path)
    secured_postgres.grant(made.db)
    yield made
    made.close()


@pytest.mark.parametrize(("mode", "role"), [("table", SCRAM), ("wal", SCRAM), ("wal", CARD)])
def test_every_session_is_encrypted(
    mode: str,
    role: str,
    scene: Scene,
    secured_postgres: SecuredPostgres,
    secured_kafka: SecuredKafka,
    certificates: Certificates,
    tmp_path: pathlib.Path,
) -> None:
    own = {"password": PASSWORD, "channel_binding": "require"} if role == SCRAM else {}
    uri = secured_postgres.secured(scene.db, role, host="localhost", **own)
    env = in_files(
        tmp_path, {"OUTBOX_POSTGRES_URI": uri, "OUTBOX_POSTGRES_DIRECT_URI": uri}
    )
    settings = {**mtls(secured_kafka, certificates), "source.mode": mode}
    settings["kafka.bootstrap.servers"] = secured_kafka.address("mtls", "localhost")
    scene.kafka.create_topic(scene.topic)
    scene.write(20)
    done = check(settings, env)
    assert done.returncode == 0, done.stdout
    relay = scene.relay(settings, {"OUTBOX_POSTGRES_URI": None, **env}).wait_ready()
    scene.oracle.wait(30)
    if mode == "wal":
        relay.wait_metric("source_mode", 1, mode="wal")
    scene.write(30)
    scene.judge()
    sessions = scene.sql(_SESSIONS, role)
    assert all(encrypted for _, encrypted, _ in sessions), sessions
    assert all(certified == (role == CARD) for _, _, certified in sessions), sessions
    names = {name.removeprefix("outbox-relay ") for name, _, _ in sessions}
    by_log = {"slot", "stream"} if mode == "wal" else set()
    assert names == {"read", "control", "wakeup", "listen"} | by_log
    relay.stop()
    assert not SECRET.search(relay.log.read_text())
