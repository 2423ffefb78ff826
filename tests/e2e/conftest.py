"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest
from support.debezium import Debezium
from support.kafka import Kafka
from support.mock_kafka import MockKafka
from support.oracle import Oracle
from support.postgres import Postgres
from support.relay import Relay
from support.outbox import Outbox
from support.slot import SlotScene
from support.wal import SERVER, WalScene


@pytest.fixture(params=["delete", "mark"])
def ack_mode(request: pytest.FixtureRequest) -> str:
    """A test that takes it runs in both modes."""
    return request.param


@pytest.fixture
def outbox(
    postgres: Postgres,
    db: str,
    topic_prefix: str,
    oracle: Oracle,
    relay_factory: Callable[..., Relay],
) -> Iterator[Outbox]:
    """An outbox on the shared servers."""
    made = Outbox(postgres, db, topic_prefix, oracle, relay_factory)
    yield made
    made.close()


@pytest.fixture
def outbox_on(
    topic_prefix: str, oracle: Oracle, relay_factory: Callable[..., Relay]
) -> Iterator[Callable[[Postgres], Outbox]]:
    """outbox_on(server): a new outbox on a server of the test's own."""
    made: list[Outbox] = []

    def make(server: Postgres) -> Outbox:
        made.append(Outbox(server, server.createdb(), topic_prefix, oracle, relay_factory))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def wal_server() -> Iterator[Postgres]:
    """One that decodes, shared: a test that stops or settings-changes a server makes its own."""
    with Postgres(SERVER) as server:
        yield server


@pytest.fixture
def wal(wal_server: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[WalScene]:
    """An outbox there, whose rows are deleted unless the test sets its ack_mode."""
    made = WalScene(wal_server, kafka, tmp_path)
    yield made
    made.close()


@pytest.fixture
def slot(wal_server: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[SlotScene]:
    """The same with source.slot."""
    made = SlotScene(wal_server, kafka, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def debezium(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debezium]:
    """One Connect, shared: a test adds its connectors, and removes them."""
    with Debezium(kafka.bootstrap, tmp_path_factory.mktemp("debezium")) as connect:
        yield connect


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockKafka]:
    with MockKafka(tmp_path_factory.mktemp("mock")) as cluster:
        yield cluster
