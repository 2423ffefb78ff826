"""Events to a Kafka that wants a login by SCRAM, with TLS and without; passwords come by files.

librdkafka 2.0.2, Debian 12's, repeats the client's nonce in SCRAM's last message, which Kafka takes
for a wrong password since 4.0 (librdkafka's change log, 2.6.1). So the relay runs with a newer one
here; what it says with the old one is test_tls_refused_kafka.py's.
"""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
from support import newer_librdkafka
from support.certificates import Certificates
from support.postgres import Postgres
from support.scene import Scene
from support.secured import REFUSED, SECRET, WRONG_PASSWORD, check, in_files, scram, told
from support.secured_kafka import PASSWORD, SCRAM_256, SecuredKafka
from support.wait import wait_for

_PASSWORD = "OUTBOX_KAFKA_SASL_PASSWORD"


@pytest.fixture
def scene(postgres: Postgres, secured_kafka: SecuredKafka, tmp_path: pathlib.Path) -> Any:
    made = Scene(postgres, secured_kafka, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("listener", ["saslssl", "saslplain"])
def test_events_behind_a_login(
    listener: str,
    scene: Scene,
    secured_kafka: SecuredKafka,
    certificates: Certificates,
    tmp_path: pathlib.Path,
) -> None:
    login = {**scram(secured_kafka, certificates), "kafka.sasl.password": None}
    if listener == "saslplain":
        login |= {
            "kafka.bootstrap.servers": secured_kafka.address(listener),
            "kafka.security.protocol": "sasl_plaintext",
            "kafka.sasl.mechanism": SCRAM_256,
        }
    settings = {"postgres.uri": scene.postgres.uri(scene.db), **login}
    present = {key: value for key, value in settings.items() if value is not None}
    newer = {"LD_LIBRARY_PATH": str(newer_librdkafka.folder())}
    right = {**newer, **in_files(tmp_path / "right", {_PASSWORD: PASSWORD})}
    scene.kafka.create_topic(scene.topic)
    scene.write(20)
    done = check(settings, right)
    assert done.returncode == 0, done.stdout
    assert f"librdkafka {newer_librdkafka.VERSION}" in done.stdout
    relay = scene.relay(present, right).wait_ready()
    scene.write(30)
    scene.judge()
    relay.stop()
    assert not SECRET.search(relay.log.read_text())

    wrong = {**newer, **in_files(tmp_path / "wrong", {_PASSWORD: WRONG_PASSWORD})}
    says = "invalid credentials.*; check kafka.sasl.username and kafka.sasl.password.*mechanism$"
    done = check(settings, wrong)
    (failed,) = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert done.returncode == REFUSED and re.search(says, failed), done.stdout
    scene.write(1)
    relay = scene.relay(present, wrong)
    wait_for(lambda: any("invalid credentials" in line for line in told(relay)), "it to complain")
    relay.stop()
    assert not SECRET.search(relay.log.read_text())
    scene.relay(present, right).wait_ready()
    scene.judge()
