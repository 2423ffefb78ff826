"""TLS and logins that fail between the relay and PostgreSQL: `check` and `run` say where, what and
what to do, in one line, and no secret. And what a running relay makes of certificates that change.
"""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
from support.certificates import PASSPHRASE, Certificates, Pair
from support.kafka import Kafka
from support.postgres import Postgres
from support.scene import Scene
from support.secured import (
    REFUSED,
    SECRET,
    UNREACHABLE,
    WRONG,
    WRONG_PASSWORD,
    Trouble,
    all_at_once,
    check,
    complaint_of_check,
    start,
    told,
)
from support.secured_postgres import CARD, PASSWORD, SecuredPostgres
from support.wait import wait_for

_GOOD = {"password": PASSWORD}
_ROOT = r"set sslrootcert of postgres\.uri \(or PGSSLROOTCERT\) to a file"
_UNTRUSTED = r'port \d+ failed: the certificate is from "{}", which is not trusted; ' + _ROOT
_HOST = (
    r'server certificate for "db\.elsewhere\.example" .* does not match host name "{}"; name the'
    r" server in postgres\.uri as its certificate does"
)
_CLIENT = r'refuses the client certificate \(\S+: of "relay", issued by "{}", {}.*; name one'


def uri(text: str) -> dict[str, str]:
    return {"postgres.uri": text}


def refused_certificates(server: SecuredPostgres, db: str) -> list[tuple[Pair, list[Trouble]]]:
    """By the certificate that the server shows."""
    made = server.made
    good = uri(server.secured(db, **_GOOD))
    return [
        (
            made.server,
            [
                Trouble(
                    "CA unknown", UNREACHABLE, _UNTRUSTED.format("Test CA"),
                    uri(server.secured(db, sslrootcert=made.other_ca, **_GOOD)),
                )
            ],
        ),
        (
            made.expired_server,
            [
                Trouble(
                    "expired", UNREACHABLE,
                    r'certificate of "server" expired on 2024-02-29 12:00:00 UTC; renew it', good,
                )
            ],
        ),
        (
            made.early_server,
            [
                Trouble(
                    "not yet valid", UNREACHABLE,
                    r'certificate of "server" is not valid before 2099-01-01 00:00:00 UTC', good,
                )
            ],
        ),
        (
            made.other_host,
            [
                Trouble("another address", UNREACHABLE, _HOST.format(r"127\.0\.0\.1"), good),
                Trouble(
                    "another host", UNREACHABLE, _HOST.format("localhost"),
                    uri(server.secured(db, host="localhost", **_GOOD)),
                ),
            ],
        ),
        (
            made.other_server,
            [Trouble("by another CA", UNREACHABLE, _UNTRUSTED.format("Another CA"), good)],
        ),
    ]


def logins_refused(server: SecuredPostgres, db: str) -> list[Trouble]:
    made = server.made

    def card(pair: Pair) -> dict[str, str]:
        return uri(server.secured(db, CARD, sslcert=pair.certificate, sslkey=pair.key))

    return [
        Trouble(
            "wrong password", REFUSED, r"password authentication failed .*28P01.*its password",
            uri(server.secured(db, password=WRONG_PASSWORD)),
        ),
        Trouble("no password", REFUSED, r"no password supplied; put it", uri(server.secured(db))),
        Trouble(
            "unknown role", REFUSED, r'user "nobody".*28000.*pg_hba\.conf',
            uri(server.secured(db, "nobody", **_GOOD)),
        ),
        Trouble(
            "without TLS", REFUSED, r"no encryption.*; this role has to come by TLS: set sslmode",
            uri(server.secured(db, sslmode="disable", **_GOOD)),
        ),
        Trouble(
            "no client certificate", REFUSED,
            r"requires a valid client certificate.*; name the files .* in sslcert and sslkey",
            uri(server.secured(db, CARD, sslcert="/nowhere", sslkey="/nowhere")),
        ),
        Trouble(
            "client certificate by another CA", REFUSED,
            _CLIENT.format("Another CA", "valid until 20"), card(made.other_client),
        ),
        Trouble(
            "client certificate expired", REFUSED,
            _CLIENT.format("Test CA", "expired on 2024-02-29 12:00:00 UTC"),
            card(made.expired_client),
        ),
    ]


def files_at_fault(server: SecuredPostgres, db: str, folder: pathlib.Path) -> list[Trouble]:
    made = server.made
    text, readable = folder / "text", folder / "readable.key"
    text.write_text("no PEM\n")
    text.chmod(0o600)
    readable.write_bytes(made.client.key.read_bytes())
    readable.chmod(0o644)

    def card(**options: Any) -> dict[str, str]:
        return uri(server.secured(db, CARD, **options))

    root = r"; name a file with the certificate of the server's CA, in PEM, in sslrootcert"
    key = r"could not load private key file .*; name a file with the key of sslcert, in PEM, in sslkey"
    return [
        Trouble(
            "CA is missing", WRONG, r'root certificate file "/nowhere/ca" does not exist' + root,
            card(sslrootcert="/nowhere/ca"),
        ),
        Trouble("CA is no PEM", WRONG, r"could not read root cert" + ".*" + root, card(sslrootcert=text)),
        Trouble(
            "certificate is no PEM", WRONG, r"could not read certificate file .*in PEM, in sslcert",
            card(sslcert=text),
        ),
        Trouble(
            "key is missing", WRONG, r'not private key file "/nowhere/key"; name the file .* sslkey',
            card(sslkey="/nowhere/key"),
        ),
        Trouble("key is no PEM", WRONG, key, card(sslkey=text)),
        Trouble("key is open", WRONG, r"group or world access.*u=rw \(0600\)", card(sslkey=readable)),
        Trouble(
            "key of another", WRONG, r"mismatch; name files of one pair in sslcert and sslkey",
            card(sslkey=made.other_client.key),
        ),
        Trouble("key locked", WRONG, key, card(sslkey=made.locked_key)),
        Trouble(
            "wrong passphrase", WRONG, key,
            card(sslkey=made.locked_key, sslpassword=WRONG_PASSWORD),
        ),
        Trouble("no such sslmode", WRONG, r'"verify-ful"; set it to', card(sslmode="verify-ful")),
    ]


@pytest.fixture
def settings(kafka: Kafka) -> dict[str, Any]:
    return {"kafka.bootstrap.servers": kafka.bootstrap, "source.mode": "table"}


def test_check_says_what_it_is(
    secured_postgres: SecuredPostgres,
    settings: dict[str, Any],
    postgres: Postgres,
    tmp_path: pathlib.Path,
) -> None:
    server, db = secured_postgres, secured_postgres.granted()
    made = server.made
    for good in (
        server.secured(db, channel_binding="require", **_GOOD),
        server.secured(db, CARD),
        server.secured(db, CARD, sslkey=made.locked_key, sslpassword=PASSPHRASE),
    ):
        done = check({**settings, **uri(good)})
        assert done.returncode == 0, done.stdout
    try:
        for shown, troubles in refused_certificates(server, db):
            server.show(shown)
            all_at_once(lambda trouble: complaint_of_check(trouble, settings), troubles)
            doctor = check({**settings, **troubles[0].settings}, word="doctor")
            assert doctor.returncode == UNREACHABLE and re.search(troubles[0].says, doctor.stdout)
    finally:
        server.show(made.server)
    plain = f"{postgres.uri('postgres')}?sslmode=verify-full&sslrootcert={made.ca}"
    no_tls = Trouble("no TLS there", UNREACHABLE, r"not support SSL.*; switch TLS on", uri(plain))
    all_at_once(
        lambda trouble: complaint_of_check(trouble, settings),
        [no_tls, *logins_refused(server, db), *files_at_fault(server, db, tmp_path)],
    )


def test_run_says_it_once_and_goes_on_trying(
    secured_postgres: SecuredPostgres, settings: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    """What a server refuses may change while it runs; what is wrong of our own ends it."""
    server, db = secured_postgres, secured_postgres.granted()

    def complaint(trouble: Trouble) -> str:
        relay = start({**settings, **trouble.settings}, tmp_path, trouble.name)
        try:
            wait_for(lambda: len(told(relay)) >= 2, f"{trouble.name}: it to complain")
            goal = refusals(server) + 20
            wait_for(lambda: refusals(server) >= goal, f"{trouble.name}: it to try again")
            shown = relay.status()["postgres"]["error"]
            relay.stop()
        finally:
            relay.kill()
        said = [line for line in told(relay) if not line.startswith("stalled")]
        # Of the two sessions, that which reads and that which acknowledges.
        if len(said) != 2 or not all(re.search(trouble.says, line) for line in said):
            return f"{trouble.name}: not said once of each session: {said}"
        if not re.search(trouble.says, shown):
            return f"{trouble.name}: status says {shown!r}"
        return f"{trouble.name}: a secret is told" if SECRET.search(relay.log.read_text()) else ""

    try:
        server.show(server.made.expired_server)
        (expired,) = refused_certificates(server, db)[1][1]
        all_at_once(complaint, [expired])
    finally:
        server.show(server.made.server)
    logins = logins_refused(server, db)
    all_at_once(complaint, [logins[0], logins[4], logins[6]])
    for trouble in files_at_fault(server, db, tmp_path)[:1]:
        relay = start({**settings, **trouble.settings}, tmp_path, trouble.name)
        assert relay.wait_exit() == WRONG
        (said,) = told(relay)
        assert re.search(trouble.says, said)


def refusals(server: Postgres) -> int:
    """How many connections have come to nothing, by its log."""
    text = server.log_path.read_text()
    return len(re.findall(r"could not accept SSL connection|FATAL: ", text))


def test_certificates_change_while_it_runs(
    secured_postgres: SecuredPostgres,
    kafka: Kafka,
    settings: dict[str, Any],
    tmp_path: pathlib.Path,
) -> None:
    """Sessions that stand go on, whatever became of the certificates; each new one reads them."""
    server, made = secured_postgres, secured_postgres.made
    scene = Scene(server, kafka, tmp_path)
    server.grant(scene.db)
    files = made.new_client("rotated")
    card = server.secured(scene.db, CARD, sslcert=files.certificate, sslkey=files.key)
    try:
        relay = scene.relay({**settings, "postgres.uri": card}).wait_ready()
        server.show(made.expired_server)
        scene.write(20)
        scene.judge()
        cut(scene)
        relay.wait_log(r"cannot be read: .*\"server\\\" expired on 2024-02-29 12:00:00 UTC")
        server.show(made.server)
        relay.wait_ready()
        files.certificate.write_bytes(made.expired_client.certificate.read_bytes())
        scene.write(20)
        scene.judge()
        cut(scene)
        relay.wait_log("cannot be read: .*key values mismatch; name files of one pair")
        files.key.write_bytes(made.expired_client.key.read_bytes())
        relay.wait_log("cannot be read: .*refuses the client certificate .*expired on 2024-02-29")
        files.key.write_bytes(made.client.key.read_bytes())
        files.certificate.write_bytes(made.client.certificate.read_bytes())
        relay.wait_ready()
        scene.write(20)
        scene.judge()
    finally:
        server.show(made.server)
        scene.close()


def cut(scene: Scene) -> None:
    """All of the relay's sessions."""
    scene.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{CARD}'")
