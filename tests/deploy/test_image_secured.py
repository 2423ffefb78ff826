"""The image with servers that want TLS and a login by SCRAM; secrets come by files, as in a Pod."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.certificates import Certificates
from support.engine import Container
from support.image import built
from support.scene import Scene
from support.secured_kafka import PASSWORD, SCRAM_512, USER, SecuredKafka
from support.secured_postgres import PASSWORD as DATABASE_PASSWORD
from support.secured_postgres import SCRAM, SecuredPostgres

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
SECRETS = "/run/secrets/outbox-relay"


@pytest.fixture
def scene(
    secured_postgres: SecuredPostgres, secured_kafka: SecuredKafka, tmp_path: pathlib.Path
) -> Iterator[Scene]:
    made = Scene(secured_postgres, secured_kafka, tmp_path)
    secured_postgres.psql(made.db, f"SELECT outbox_grant('relay', '{SCRAM}')")
    yield made
    made.close()


def test_events_by_tls_and_scram_where_the_images_authorities_vouch_for_the_servers(
    scene: Scene, certificates: Certificates, tmp_path: pathlib.Path
) -> None:
    """No setting names an authority: both libraries look where the image has its own."""
    secured, kafka = scene.postgres, scene.kafka
    assert isinstance(secured, SecuredPostgres) and isinstance(kafka, SecuredKafka)
    uri = secured.secured(scene.db, host="localhost", sslrootcert="system")
    uri = uri.replace(f"//{SCRAM}@", f"//{SCRAM}:{DATABASE_PASSWORD}@")
    secrets = {"postgres-uri": uri, "sasl-password": PASSWORD}
    files = {}
    for name, text in secrets.items():
        (tmp_path / name).write_text(text + "\n")
        files[f"{SECRETS}/{name}"] = tmp_path / name
    env = {
        "OUTBOX_POSTGRES_URI_FILE": f"{SECRETS}/postgres-uri",
        "OUTBOX_KAFKA_BOOTSTRAP_SERVERS": kafka.address("saslssl"),
        "OUTBOX_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "OUTBOX_KAFKA_SASL_MECHANISM": SCRAM_512,
        "OUTBOX_KAFKA_SASL_USERNAME": USER,
        "OUTBOX_KAFKA_SASL_PASSWORD_FILE": f"{SECRETS}/sasl-password",
    }
    # Those of the world vouch for no server of ours.
    distrusting = Container(built(), tmp_path / "distrusting", files=files)
    refused = distrusting.run("check", env=env)
    assert refused.returncode != 0
    assert refused.stdout.count("certificate") >= 2, refused.stdout

    files[AUTHORITIES] = certificates.ca
    container = Container(built(), tmp_path / "trusting", files=files)
    kafka.create_topic(scene.topic)
    scene.write(100)
    taken = container.run("check", env=env)
    assert taken.returncode == 0, taken.stdout + taken.stderr
    relay = scene.relay(env={"OUTBOX_POSTGRES_URI": None, **env}, program=container.program())
    relay.wait_ready()
    scene.write(100)
    scene.judge()
    relay.stop()
    log = relay.log.read_text()
    assert PASSWORD not in log and DATABASE_PASSWORD not in log
