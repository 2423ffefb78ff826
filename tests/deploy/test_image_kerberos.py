"""The image has what a login by Kerberos needs, up to the ticket: there is no realm here."""

from __future__ import annotations

import pathlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from support.engine import Container
from support.image import built
from support.ports import free_port
from support.postgres import Postgres

_JOIN_GROUP, _SASL_HANDSHAKE, _API_VERSIONS, _SASL_AUTHENTICATE = 11, 17, 18, 36
_UNSUPPORTED_VERSION = 35


def answer(api: int, version: int) -> bytes:
    """Of a broker that knows one way to log in (Kafka's protocol guide)."""
    if api == _SASL_HANDSHAKE:
        return struct.pack(">hih", 0, 1, len(b"GSSAPI")) + b"GSSAPI"
    assert api == _API_VERSIONS
    # The error is told in version 0's form, and the client asks again by that.
    error = 0 if version == 0 else _UNSUPPORTED_VERSION
    # librdkafka takes brokers for able to do GSSAPI by JoinGroup.
    known = [(_API_VERSIONS, 0, 0), (_SASL_HANDSHAKE, 0, 1), (_SASL_AUTHENTICATE, 0, 0)]
    known.append((_JOIN_GROUP, 0, 0))
    return struct.pack(">hi", error, len(known)) + b"".join(struct.pack(">hhh", *k) for k in known)


def converse(client: socket.socket) -> None:
    with client, client.makefile("rb") as requests:
        while len(head := requests.read(12)) == 12:
            size, api, version, correlation = struct.unpack(">ihhi", head)
            requests.read(size - 8)
            body = struct.pack(">i", correlation) + answer(api, version)
            client.sendall(struct.pack(">i", len(body)) + body)


@pytest.fixture
def broker() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=converse, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield "127.0.0.1:%d" % server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_login_by_kerberos_gets_as_far_as_the_ticket_that_is_missing(
    postgres: Postgres, db: str, broker: str, tmp_path: pathlib.Path
) -> None:
    container = Container(built(), tmp_path / "container")
    env = {
        "OUTBOX_POSTGRES_URI": postgres.uri(db),
        "OUTBOX_KAFKA_BOOTSTRAP_SERVERS": broker,
        "OUTBOX_KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
        "OUTBOX_KAFKA_SASL_MECHANISM": "GSSAPI",
        # There is no kinit and no shell: Kerberos itself reads what KRB5_CLIENT_KTNAME names.
        "OUTBOX_KAFKA_SASL_KERBEROS_KINIT_CMD": "none",
        "OUTBOX_KAFKA_SASL_KERBEROS_MIN_TIME_BEFORE_RELOGIN": "0",
        "OUTBOX_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
    }
    done = container.run("check", env=env)
    assert "credentials" in done.stdout.lower(), done.stdout + done.stderr
    assert "worthy" not in done.stdout  # as libsasl2 says without its plug-in
