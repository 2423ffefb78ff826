"""TLS and logins that fail between the relay and Kafka: `check` and `run` say where, what and what
to do, in one line, and no secret. And what a running relay makes of certificates that change.

What is said holds for librdkafka 2.0.2, which the tests run with, and where it differs for newer.
"""

from __future__ import annotations

import pathlib
import re
import shutil
from typing import Any

import pytest
from support.certificates import Certificates, Pair
from support.postgres import Postgres
from support.relay import Relay
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
    mtls,
    scram,
    start,
    told,
)
from support.secured_kafka import SCRAM_256, SecuredKafka
from support.wait import wait_for

_KEY, _CERTIFICATE = "kafka.ssl.key.location", "kafka.ssl.certificate.location"
_CA, _PROTOCOL = "kafka.ssl.ca.location", "kafka.security.protocol"
_NO_CLIENT = {_KEY: None, _CERTIFICATE: None}
_UNTRUSTED = r'the certificate is from "{}", which is not trusted; set kafka\.ssl\.ca\.location'
_REFUSES = r'refuses the client certificate \(\S+: of "relay", issued by "{}", {}.*; set kafka\.ssl'


def _pair(made: Certificates, name: str) -> dict[str, Any]:
    pair = getattr(made, name)
    return {_CERTIFICATE: pair.certificate, _KEY: pair.key}


def at(kafka: SecuredKafka, listener: str, host: str = "127.0.0.1") -> dict[str, Any]:
    return {"kafka.bootstrap.servers": kafka.address(listener, host)}


def certificates_refused(kafka: SecuredKafka, made: Certificates) -> list[Trouble]:
    names = r"db\.elsewhere\.example, kafka\.elsewhere\.example"
    return [
        Trouble("CA unknown", UNREACHABLE, _UNTRUSTED.format("Test CA"), {_CA: made.other_ca}),
        Trouble("no CA set", UNREACHABLE, _UNTRUSTED.format("Test CA"), {_CA: None}),
        Trouble(
            "by another CA", UNREACHABLE, _UNTRUSTED.format("Another CA"), at(kafka, "otherca")
        ),
        Trouble(
            "expired",
            UNREACHABLE,
            r'certificate of "server" expired on 2024-02-29 12:00:00 UTC; renew it',
            at(kafka, "expired"),
        ),
        Trouble(
            "not yet valid",
            UNREACHABLE,
            r'certificate of "server" is not valid before 2099-01-01 00:00:00 UTC; replace it',
            at(kafka, "early"),
        ),
        Trouble(
            "another address",
            UNREACHABLE,
            rf"is for {names}, not for 127\.0\.0\.1; name the server in kafka\.bootstrap\.servers",
            at(kafka, "otherhost"),
        ),
        Trouble(
            "another host",
            UNREACHABLE,
            rf"localhost:\d+: the certificate is for {names}, not for localhost; name the server",
            at(kafka, "otherhost", "localhost"),
        ),
        Trouble(
            "no client certificate",
            REFUSED,
            r"asks for a client certificate, and none is set; set kafka\.ssl\.certificate\.location",
            _NO_CLIENT,
        ),
        Trouble(
            "client certificate by another CA",
            REFUSED,
            _REFUSES.format("Another CA", "valid until 20"),
            _pair(made, "other_client"),
        ),
        Trouble(
            "client certificate expired",
            REFUSED,
            _REFUSES.format("Test CA", "expired on 2024-02-29 12:00:00 UTC"),
            _pair(made, "expired_client"),
        ),
    ]


def protocols_mixed_up(kafka: SecuredKafka) -> list[Trouble]:
    plain = {"kafka.bootstrap.servers": kafka.bootstrap}
    return [
        Trouble("TLS to plain text", UNREACHABLE, r"a listener without TLS; set kafka\.sec", plain),
        Trouble(
            "plain text to TLS", UNREACHABLE, r"a listener for TLS; set kafka\.sec",
            {_PROTOCOL: "plaintext", **_NO_CLIENT, _CA: None},
        ),
        Trouble(
            "SASL to plain text", WRONG, r"takes no SASL login; set kafka\.security\.protocol",
            {**plain, _PROTOCOL: "sasl_plaintext", "kafka.sasl.mechanism": SCRAM_256,
             "kafka.sasl.username": "relay", "kafka.sasl.password": WRONG_PASSWORD},
        ),
        Trouble(
            "no SASL", UNREACHABLE, r"kafka\.security\.protocol: a listener that wants a SASL",
            {**at(kafka, "saslplain"), _PROTOCOL: "plaintext"},
        ),
    ]


def files_at_fault(made: Certificates) -> list[Trouble]:
    text = made.folder / "text"
    text.write_text("no PEM\n")
    missing, folder = "/nowhere/file", made.folder
    read = r"kafka\.ssl\.{}\.location: {} cannot be read: {}"
    holds = r"kafka\.ssl\.{}\.location: \S+/text holds no {} in PEM; name"
    found = []
    for key, what in (("ca", "certificate"), ("certificate", "certificate"), ("key", "private key")):
        name = f"kafka.ssl.{key}.location"
        found += [
            Trouble(f"{key} is missing", WRONG, read.format(key, missing, "No such"), {name: missing}),
            Trouble(f"{key} is no PEM", WRONG, holds.format(key, what), {name: text}),
        ]
    locked = {_KEY: made.locked_key}
    return [
        *found,
        Trouble("key is a folder", WRONG, read.format("key", folder, "Is a dir"), {_KEY: folder}),
        Trouble(
            "key of another", WRONG, r"is not that of the certificate in kafka\.ssl\.certificate",
            {_KEY: made.other_client.key},
        ),
        Trouble("key locked", WRONG, r"encrypted, and kafka\.ssl\.key\.password is not set", locked),
        Trouble(
            "wrong passphrase", WRONG, r"kafka\.ssl\.key\.password does not open it",
            {**locked, "kafka.ssl.key.password": WRONG_PASSWORD},
        ),
    ]


def logins_refused(kafka: SecuredKafka, made: Certificates) -> list[Trouble]:
    login = {**_NO_CLIENT, **scram(kafka, made)}
    refused = (
        r"127\.0\.0\.1:\d+: .*invalid credentials.*SCRAM-SHA-512; check kafka\.sasl\.username and"
        r" kafka\.sasl\.password.*librdkafka 2\.0\.2 can log in to no broker of Kafka 4\.0"
    )
    return [
        Trouble("wrong password", REFUSED, refused, {**login, "kafka.sasl.password": WRONG_PASSWORD}),
        Trouble("unknown user", REFUSED, refused, {**login, "kafka.sasl.username": "nobody"}),
        Trouble(
            "unsupported mechanism", WRONG,
            r"Unsupported SASL mechanism: .*: SCRAM-SHA-512; set kafka\.sasl\.mechanism",
            {**login, "kafka.sasl.mechanism": SCRAM_256},
        ),
        Trouble(
            "no such mechanism", WRONG, "SCRAM-SHA-999", {**login, "kafka.sasl.mechanism": "SCRAM-SHA-999"}
        ),
    ]


def tries(relay: Relay) -> int:
    """How often librdkafka has connected; of its failures it leaves out those like the last."""
    return len(re.findall('"CONNECT: .*? Connecting to ', relay.log.read_text()))


@pytest.fixture
def settings(
    secured_kafka: SecuredKafka, certificates: Certificates, postgres: Postgres, db: str
) -> dict[str, Any]:
    """With which all is well."""
    return {"postgres.uri": postgres.uri(db), **mtls(secured_kafka, certificates)}


def test_check_says_what_it_is(
    settings: dict[str, Any], secured_kafka: SecuredKafka, certificates: Certificates
) -> None:
    good = check(settings)
    assert good.returncode == 0, good.stdout
    troubles = [
        *certificates_refused(secured_kafka, certificates),
        *protocols_mixed_up(secured_kafka),
        *files_at_fault(certificates),
        *logins_refused(secured_kafka, certificates),
    ]
    all_at_once(lambda trouble: complaint_of_check(trouble, settings), troubles)
    doctor = check({**settings, **troubles[3].settings}, word="doctor")
    assert doctor.returncode == UNREACHABLE and re.search(troubles[3].says, doctor.stdout)


def test_run_says_it_once_and_goes_on_trying(
    settings: dict[str, Any],
    secured_kafka: SecuredKafka,
    certificates: Certificates,
    tmp_path: pathlib.Path,
) -> None:
    """What a server refuses may change while it runs; what is wrong of our own ends it."""
    troubles = [
        *certificates_refused(secured_kafka, certificates),
        *protocols_mixed_up(secured_kafka)[:3],
        *logins_refused(secured_kafka, certificates)[:3],
    ]

    def complaint(trouble: Trouble) -> str:
        own = {**settings, **trouble.settings, "kafka.debug": "broker,security"}
        relay = start(own, tmp_path, trouble.name)
        try:
            wait_for(lambda: tries(relay) >= 4, f"{trouble.name}: it to try again")
            shown = relay.status()["kafka"]["error"]
            relay.stop()
        finally:
            relay.kill()
        said = [line for line in told(relay) if line.startswith("Kafka")]
        if len(said) != 1 or not re.search("no broker answers: .*" + trouble.says, said[0]):
            return f"{trouble.name}: not said once: {said}"
        if not re.search(trouble.says, shown):
            return f"{trouble.name}: status says {shown!r}"
        return f"{trouble.name}: a secret is told" if SECRET.search(relay.log.read_text()) else ""

    all_at_once(complaint, troubles)
    for trouble in files_at_fault(certificates)[:2]:
        relay = start({**settings, **trouble.settings}, tmp_path, trouble.name)
        assert relay.wait_exit() == WRONG
        (said,) = told(relay)
        assert re.search(trouble.says, said)


def replace(files: Pair, by: Pair) -> None:
    """As a mounted secret is: the paths stay, and at no time there is half a file."""
    for name in ("key", "certificate"):
        path = getattr(files, name)
        fresh = path.with_suffix(".new")
        shutil.copy(getattr(by, name), fresh)
        fresh.rename(path)


def test_new_files_are_read_without_a_restart(
    settings: dict[str, Any],
    secured_kafka: SecuredKafka,
    certificates: Certificates,
    postgres: Postgres,
    tmp_path: pathlib.Path,
) -> None:
    """librdkafka reads them when a producer is made; one that is refused is made anew with others."""
    scene = Scene(postgres, secured_kafka, tmp_path)
    files = certificates.new_client("rotated")
    replace(files, certificates.expired_client)
    own = {_CERTIFICATE: files.certificate, _KEY: files.key}
    try:
        scene.kafka.create_topic(scene.topic)
        scene.write(50)
        relay = scene.relay({**settings, "postgres.uri": postgres.uri(scene.db), **own})
        relay.wait_log("Kafka cannot be reached: .*expired on 2024-02-29")
        replace(files, certificates.client)
        relay.wait_log(r"The files of kafka\.ssl\.\* are others than it has read; a new producer")
        relay.wait_log("Kafka is reachable again")
        scene.judge()
        replace(files, certificates.expired_client)
        scene.write(50)  # what stands goes on
        scene.judge()
        assert relay.metric("producer_rebuilds_total") == 1
    finally:
        scene.close()
