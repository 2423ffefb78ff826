"""The components for TLS and SASL, by the Pods that they make, on servers that let nobody in
otherwise."""

from __future__ import annotations

import contextlib
import pathlib

import pytest
from support import newer_librdkafka
from support.certificates import Certificates
from support.secured import SECRET
from support.secured_kafka import PASSWORD as KAFKA_PASSWORD
from support.secured_kafka import USER, SecuredKafka
from support.secured_postgres import PASSWORD, SCRAM, SecuredPostgres
from support.standby import RELAY, StandbyScene

# What a manifest can say of Kafka is which of its listeners it fits.
WAYS = {"mtls": ("tls", "client-certificate"), "saslssl": ("sasl", "tls")}
_SESSIONS = """
SELECT ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
WHERE datname = current_database() AND usename = %s
"""


@pytest.mark.parametrize("listener", WAYS)
def test_events_flow_by_tls_on_both_sides(
    listener: str,
    secured_postgres: SecuredPostgres,
    secured_kafka: SecuredKafka,
    certificates: Certificates,
    tmp_path: pathlib.Path,
) -> None:
    """The URI has no word of TLS: PGSSLMODE and PGSSLROOTCERT have. By a librdkafka that can do
    SCRAM, as the image has one."""
    scene = StandbyScene(
        secured_postgres,
        secured_kafka,
        tmp_path,
        components=WAYS[listener],
        libraries=newer_librdkafka.folder(),
    )
    with contextlib.closing(scene):
        secured_postgres.grant(scene.db)
        scene.write(20)
        address = secured_kafka.address(listener, "localhost")
        pod = scene.pod(
            secrets_of(scene.db, secured_postgres, certificates),
            {"kafka.bootstrap.servers": address},
        )
        scene.write(30)
        scene.judge()
        encrypted = scene.sql(_SESSIONS, SCRAM)
        assert encrypted and all(ssl for (ssl,) in encrypted)
        pod.delete()
        container = pod[RELAY].container
        assert container is not None and not SECRET.search(container.log.read_text())


def secrets_of(
    db: str, server: SecuredPostgres, certificates: Certificates
) -> dict[str, dict[str, str]]:
    """As a user makes them; an editor leaves a line break at the end of a file."""
    uri = f"postgresql://{SCRAM}:{PASSWORD}@localhost:{server.port}/{db}"
    return {
        RELAY: {
            "postgres-uri": f"{uri}\n",
            "sasl-username": f"{USER}\n",
            "sasl-password": f"{KAFKA_PASSWORD}\n",
        },
        f"{RELAY}-tls": {
            "ca.crt": certificates.ca.read_text(),
            "tls.crt": certificates.client.certificate.read_text(),
            "tls.key": certificates.client.key.read_text(),
        },
    }
