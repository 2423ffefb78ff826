"""From goharvest to the relay, under load. Its publisher is played by the test: rows in the order of
id, deleted once they are published, and the last ones published and not deleted, as by a crash."""

from __future__ import annotations

import json
import pathlib
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from support.adopted import GOHARVEST, documented, shell
from support.kafka import Kafka
from support.oracle import Oracle
from support.postgres import Postgres
from support.scene import Scene
from support.writer import Load

BATCH = 50

_INSERT = """
INSERT INTO outbox (create_time, kafka_topic, kafka_key, kafka_value, kafka_header_keys,
    kafka_header_values)
VALUES (now(), %s, %s, %s, ARRAY['source'], ARRAY['test'])
"""
_NEXT = """
SELECT id, kafka_topic, kafka_key, kafka_value FROM outbox ORDER BY id LIMIT %s
"""


class ByValue(Oracle):
    """An event's id is in its value: goharvest's records have none of their own."""

    def _take(self, message: Any) -> None:
        super()._take(_WithId(message))


class _WithId:
    def __init__(self, message: Any) -> None:
        self._message = message

    def headers(self) -> list[tuple[str, bytes]]:
        return [("id", json.loads(self._message.value())["id"].encode())]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)


class GoharvestLoad(Load):
    def _write(self, connection: Any, key: str, turn: int) -> tuple[str, str, int] | None:
        event_id = str(uuid.uuid4())
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE aggregate SET version = version + 1 WHERE id = %s RETURNING version", (key,)
            )
            version = cursor.fetchone()[0]
            cursor.execute(_INSERT, (self._topic, key, json.dumps({"id": event_id})))
            if turn % 10 == 0:
                connection.rollback()
                self._count(event_id, key, version, committed=False)
                return None
            cursor.execute("INSERT INTO written (id) VALUES (%s)", (event_id,))
        return event_id, key, version


class Publisher:
    """Until crash(): a batch is published, then deleted."""

    def __init__(self, scene: Scene) -> None:
        self._connection = scene.postgres.connect(scene.db, autocommit=True)
        self._producer = Producer(
            {
                "bootstrap.servers": scene.kafka.bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
            }
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def crash(self) -> None:
        self._ended.set()
        self._thread.join(30)
        self._connection.close()

    def _run(self) -> None:
        with self._connection.cursor() as cursor:
            while True:
                cursor.execute(_NEXT, (BATCH,))
                rows = cursor.fetchall()
                for _, topic, key, value in rows:
                    self._producer.produce(topic, value, key)
                self._producer.flush(30)
                if self._ended.is_set():
                    return
                cursor.execute("DELETE FROM outbox WHERE id = ANY (%s)", ([row[0] for row in rows],))


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(postgres, kafka, tmp_path)
    made.oracle.close()
    made.oracle = ByValue(kafka.bootstrap)
    made.db = postgres.createdb(migrated=False)
    made.sql(GOHARVEST.format(table="outbox"))
    kafka.create_topic(made.topic, 4)
    yield made
    made.close()


def test_goharvest_is_followed(scene: Scene, tmp_path: pathlib.Path) -> None:
    (migration,) = documented("Coming from goharvest", "sh")
    load = GoharvestLoad(
        lambda: scene.postgres.connect(scene.db),
        scene.oracle,
        aggregatetype=scene.aggregatetype,
        pause_s=0.001,
    )
    with load:
        publisher = Publisher(scene)
        scene.wait_seen(300)
        settings = shell(scene.postgres, scene.db, tmp_path, migration)
        scene.wait_seen(300)
        publisher.crash()
        scene.relay(settings).wait_ready()
        scene.wait_seen(300)
        load.stop()
    scene.judge(BATCH)
