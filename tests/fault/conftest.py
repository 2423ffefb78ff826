"""Servers that these tests may hurt: their own, and whole again at the start of each test."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from campaign.table import Printer
from support.kafka import Kafka
from support.postgres import Postgres
from support.scene import Scene


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # in the process that prints
        config.pluginmanager.register(Printer(config))


@pytest.fixture(scope="session")
def _frail_postgres() -> Iterator[Postgres]:
    with Postgres(fsync=True) as server:
        yield server


@pytest.fixture(scope="session")
def _frail_kafka() -> Iterator[Kafka]:
    # A killed broker may come back only when the controller has given up its last life: by default
    # after 9 s.
    quick = {"broker.session.timeout.ms": "1500", "broker.heartbeat.interval.ms": "300"}
    with Kafka(settings=quick) as cluster:
        yield cluster


@pytest.fixture
def frail_postgres(_frail_postgres: Postgres) -> Postgres:
    if not _frail_postgres.running:
        _frail_postgres.start()
    _frail_postgres.resume()
    return _frail_postgres


@pytest.fixture
def frail_kafka(_frail_kafka: Kafka) -> Kafka:
    if not _frail_kafka.running():
        _frail_kafka.start()
    _frail_kafka.resume()
    return _frail_kafka


@pytest.fixture(params=["delete", "mark"])
def ack_mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scene(
    frail_postgres: Postgres, frail_kafka: Kafka, tmp_path: pathlib.Path, ack_mode: str
) -> Iterator[Scene]:
    """In either acknowledging mode; a test that names the mode itself overrides ack_mode."""
    made = Scene(frail_postgres, frail_kafka, tmp_path, ack_mode=ack_mode)
    yield made
    made.close()
