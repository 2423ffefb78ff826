"""Certificates of a session's own: two authorities, servers and clients, good ones and bad ones.

    made = Certificates(folder)
    made.ca, made.server.certificate, made.client.key ...

All keys are of an elliptic curve, so that the lot takes less than a tenth of a second.
"""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
EXPIRED_ON = datetime.datetime(2024, 2, 29, 12, 0, 0)
BEGINS_ON = datetime.datetime(2099, 1, 1, 0, 0, 0)
PASSPHRASE = "opens-the-k3y"


@dataclass(frozen=True)
class Pair:
    """Files in PEM: the certificate, its key (PKCS#8), and both in one as Kafka's PEM keystore."""

    certificate: pathlib.Path
    key: pathlib.Path
    store: pathlib.Path


class _Authority:
    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        now = datetime.datetime.utcnow()
        self.certificate = (
            _builder(self.name, self.name, self.key, now - DAY, now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def issue(
        self, name: str, alternatives: list[x509.GeneralName], begins: datetime.datetime,
        ends: datetime.datetime,
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self.name, key, begins, ends)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        return builder.sign(self.key, hashes.SHA256()), key


class Certificates:
    """Written into the folder at once. Servers are for 127.0.0.1 and localhost unless they are
    for another host; clients are "relay"."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = _Authority("Test CA"), _Authority("Another CA")
        self.ca = self._write("ca.crt", _pem(ours.certificate))
        self.other_ca = self._write("other-ca.crt", _pem(theirs.certificate))
        now = datetime.datetime.utcnow()
        valid = (now - DAY, now + 20 * DAY)
        here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        there = [x509.DNSName("db.elsewhere.example"), x509.DNSName("kafka.elsewhere.example")]
        past = (EXPIRED_ON - DAY, EXPIRED_ON)
        self._valid, self._ours = valid, ours

        def server(file: str, authority: _Authority, names: list[x509.GeneralName], *when) -> Pair:
            return self._pair(file, *authority.issue("server", names, *when))

        self.server = server("server", ours, here, *valid)
        self.expired_server = server("expired-server", ours, here, *past)
        self.early_server = server("early-server", ours, here, BEGINS_ON, BEGINS_ON + DAY)
        self.other_host = server("other-host", ours, there, *valid)
        self.other_server = server("other-server", theirs, here, *valid)
        self.client = self.new_client("client")
        self.expired_client = self._pair("expired-client", *ours.issue("relay", [], *past))
        self.other_client = self._pair("other-client", *theirs.issue("relay", [], *valid))
        self.locked_key = self._write(
            "locked.key", _key(_load(self.client.key), PASSPHRASE), mode=0o600
        )

    def new_client(self, file: str) -> Pair:
        """One more for "relay", with another key; over the files of that name."""
        return self._pair(file, *self._ours.issue("relay", [], *self._valid))

    def _pair(
        self, file: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> Pair:
        return Pair(
            self._write(f"{file}.crt", _pem(certificate)),
            self._write(f"{file}.key", _key(key), mode=0o600),
            self._write(f"{file}.pem", _key(key) + _pem(certificate), mode=0o600),
        )

    def _write(self, file: str, text: bytes, mode: int = 0o644) -> pathlib.Path:
        path = self.folder / file
        path.write_bytes(text)
        path.chmod(mode)
        return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey,
    begins: datetime.datetime, ends: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key(key: ec.EllipticCurvePrivateKey, passphrase: str = "") -> bytes:
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        lock = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock
    )


def _load(path: pathlib.Path) -> ec.EllipticCurvePrivateKey:
    return serialization.load_pem_private_key(path.read_bytes(), None)
