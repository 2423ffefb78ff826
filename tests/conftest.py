"""Fixtures of every folder: one PostgreSQL and one Kafka a session, fresh names for each test.

Nothing that a test starts outlives it: servers are ended by pid, and by the kernel should this
process be killed.
"""

from __future__ import annotations

import ctypes
import pathlib
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.certificates import Certificates
from support.kafka import Kafka
from support.oracle import Oracle
from support.postgres import Postgres
from support.relay import Relay, binary
from support.secured_kafka import SecuredKafka
from support.secured_postgres import SecuredPostgres


def _make_none_immortal() -> None:
    """confluent-kafka 1.7 gives back a reference to None, of each null header, that it never took;
    after some thousand the interpreter would free None. From Python 3.12 on it cannot (PEP 683)."""
    if sys.version_info < (3, 12):
        ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def pytest_configure() -> None:
    _make_none_immortal()
    # A SIGTERM unwinds like Ctrl-C does: fixtures end their servers and remove their folders.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Shared: a test that stops or settings-changes a server makes its own."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """One broker, shared likewise."""
    with Kafka() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def secured_kafka(certificates: Certificates) -> Iterator[SecuredKafka]:
    """Shared."""
    with SecuredKafka(certificates) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def secured_postgres(certificates: Certificates) -> Iterator[SecuredPostgres]:
    """A test that has it show another certificate has it show the good one again."""
    with SecuredPostgres(certificates) as server:
        yield server


@pytest.fixture
def db(postgres: Postgres) -> str:
    """A new database with the schema installed."""
    return postgres.createdb()


@pytest.fixture
def topic_prefix() -> str:
    """Begins the aggregate types, and so the topics, of one test."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def oracle(kafka: Kafka) -> Iterator[Oracle]:
    with Oracle(kafka.bootstrap) as judge:
        yield judge


@pytest.fixture
def relay_factory(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> Iterator[Callable[..., Relay]]:
    """relay_factory(settings) starts a relay on the test's own database and the shared Kafka,
    unless the settings say otherwise. What still runs after the test has to end cleanly."""
    if not binary().exists():
        pytest.fail(f"{binary()} is not there: build it with `cmake --build --preset dev`")
    relays: list[Relay] = []

    def start(settings: dict[str, Any] | None = None) -> Relay:
        own = dict(settings or {})
        if "postgres.uri" not in own:
            server = request.getfixturevalue("postgres")
            own["postgres.uri"] = server.uri(request.getfixturevalue("db"))
        if "kafka.bootstrap.servers" not in own:
            own["kafka.bootstrap.servers"] = request.getfixturevalue("kafka").bootstrap
        relays.append(Relay(own, tmp_path / f"relay-{len(relays)}.log"))
        return relays[-1]

    yield start
    failures = []
    for relay in relays:
        try:
            if relay.exit_code is None:
                relay.stop()
            relay.check()
        except Exception as error:
            failures.append(error)
            relay.kill()
        except AssertionError as error:
            failures.append(error)
    if failures:
        raise failures[0]
