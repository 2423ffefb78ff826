"""`outbox-relay check` on outbox tables of other shapes: content with them, and what it says of a
column that is not there, has another type or may be null."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import command
from support.scene import Scene
from support.shapes import DEBEZIUM, GOHARVEST, SHAPES, Shape

COPIES = {"failure.policy": "dead-letter", "failure.dead_letter_topic": "${topic}.dead"}


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Any:
    made = Scene(postgres, kafka, tmp_path)
    kafka.create_topic(made.topic, 1)
    yield made
    made.close()


def check(scene: Scene, settings: dict[str, Any]) -> tuple[int, str]:
    every = {
        "postgres.uri": scene.postgres.uri(scene.db),
        "kafka.bootstrap.servers": scene.kafka.bootstrap,
        **settings,
    }
    done = command("check", settings=every)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_content(scene: Scene, shape: Shape) -> None:
    shape.make(scene)
    shape.write(scene, 3)
    code, said = check(scene, shape.settings())
    assert code == 0, said
    assert "3 wait, for 1 topics" in said
    assert f"topic: {scene.topic}" in said


@pytest.mark.parametrize(
    "shape, spoil, settings, says",
    [
        (
            DEBEZIUM,
            "",
            {"columns.payload": "Payload"},
            'has no column "Payload": ALTER TABLE public.outbox ADD COLUMN "Payload" json',
        ),
        (
            DEBEZIUM,
            "ALTER TABLE outbox ALTER COLUMN type TYPE text[] USING ARRAY[type]",
            {},
            'column "type" of table public.outbox is text[], but has to be text, character varying,',
        ),
        (
            DEBEZIUM,
            "ALTER TABLE outbox ADD COLUMN at timestamptz",
            {"columns.additional": "at:header"},
            'column "at" of table public.outbox is timestamp with time zone, and a column that',
        ),
        (
            DEBEZIUM,
            "",
            {"columns.additional": "nothing:header"},
            'no column "nothing", which columns.additional names',
        ),
        (
            GOHARVEST,
            "ALTER TABLE outbox ALTER COLUMN event_id DROP NOT NULL",
            {},
            'column "event_id" of table public.outbox may be null',
        ),
        (
            GOHARVEST,
            "ALTER TABLE outbox ALTER COLUMN kafka_header_keys DROP DEFAULT",
            COPIES,
            'column "kafka_header_keys" of table public.outbox has no default and may not be null',
        ),
    ],
)
def test_refused(
    scene: Scene, shape: Shape, spoil: str, settings: dict[str, Any], says: str
) -> None:
    shape.make(scene)
    if spoil:
        scene.sql(spoil)
    code, said = check(scene, {**shape.settings(), **settings})
    assert code == 78, said
    assert says in said
    if "columns.additional" not in settings and settings is not COPIES:
        assert "outbox-relay adopt" in said
