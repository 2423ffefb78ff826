"""Servers that let nobody in unseen, and what the relay says when they, or it, refuse."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from support.certificates import PASSPHRASE, Certificates
from support.relay import Relay, binary, environment
from support.secured_kafka import PASSWORD, SCRAM_512, USER, SecuredKafka

UNREACHABLE, REFUSED, WRONG = 69, 77, 78
WRONG_PASSWORD = "wr0ng-secret"
# Of neither side, of a private key, of a certificate: never printed.
SECRET = re.compile(rf"{PASSWORD}|{WRONG_PASSWORD}|{PASSPHRASE}|-----BEGIN|PRIVATE KEY")


@dataclass(frozen=True)
class Trouble:
    """settings, over those that work, bring it about; says finds where, what and what to do."""

    name: str
    code: int
    says: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    before: str = ""  # what the server shows, where that is not its good certificate


def mtls(kafka: SecuredKafka, made: Certificates, listener: str = "mtls") -> dict[str, Any]:
    return {
        "kafka.bootstrap.servers": kafka.address(listener),
        "kafka.security.protocol": "ssl",
        "kafka.ssl.ca.location": made.ca,
        "kafka.ssl.certificate.location": made.client.certificate,
        "kafka.ssl.key.location": made.client.key,
    }


def scram(kafka: SecuredKafka, made: Certificates) -> dict[str, Any]:
    return {
        "kafka.bootstrap.servers": kafka.address("saslssl"),
        "kafka.security.protocol": "sasl_ssl",
        "kafka.ssl.ca.location": made.ca,
        "kafka.sasl.mechanism": SCRAM_512,
        "kafka.sasl.username": USER,
        "kafka.sasl.password": PASSWORD,
    }


def in_files(folder: pathlib.Path, secrets: Mapping[str, str]) -> dict[str, str]:
    """The variables that read these from files, as mounted secrets are."""
    folder.mkdir(exist_ok=True)
    env = {}
    for name, text in secrets.items():
        path = folder / name.lower()
        path.write_text(text + "\n")
        path.chmod(0o600)
        env[f"{name}_FILE"] = str(path)
    return env


def check(
    settings: Mapping[str, Any], env: Mapping[str, str] | None = None, *, word: str = "check"
) -> subprocess.CompletedProcess[str]:
    """The command to its end; a setting of None is left out."""
    return subprocess.run(
        [binary(), word],
        env={**environment({k: v for k, v in settings.items() if v is not None}), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def complaint_of_check(trouble: Trouble, settings: Mapping[str, Any]) -> str:
    """What is wrong with check's answer; "" for nothing. One line of it is no good."""
    done = check({**settings, **trouble.settings})
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if done.returncode != trouble.code:
        return f"{trouble.name}: exit {done.returncode}, not {trouble.code}: {done.stdout}"
    if len(failed) != 1 or done.stderr or SECRET.search(done.stdout):
        return f"{trouble.name}: not one line without a secret: {done.stdout}{done.stderr}"
    if not re.search(trouble.says, failed[0]):
        return f"{trouble.name}: not {trouble.says!r}: {failed[0]}"
    return ""


def all_at_once(call: Callable[[Any], str], troubles: Iterable[Any]) -> None:
    """Each is a process that waits more than it works."""
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        wrong = [text for text in pool.map(call, troubles) if text]
    assert not wrong, "\n".join(wrong)


def told(relay: Relay) -> list[str]:
    """What it said of warnings and errors."""
    return [line["msg"] for line in relay.log_lines() if line["level"] in ("warn", "error")]


def start(settings: Mapping[str, Any], folder: pathlib.Path, name: str) -> Relay:
    present = {key: value for key, value in settings.items() if value is not None}
    return Relay(present, folder / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.log")
