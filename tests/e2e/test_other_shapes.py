"""columns.*: outbox tables of another shape, read from the table, streamed, and with a slot that
stays: the same records, acknowledged, parked, moved to the dead and retried."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay, command
from support.scene import WINDOW, Scene
from support.shapes import SHAPES, Event, Shape
from support.slot import SlotScene
from support.wait import wait_for
from support.wal import WalScene

LIMITS = {"max.message.bytes": 100_000}
WAYS: dict[str, tuple[type[Scene], dict[str, Any]]] = {
    "table": (Scene, {"source.mode": "table"}),
    "wal": (WalScene, {}),
    "slot": (SlotScene, {}),
}


class ShapeScene:
    """A scene whose outbox has another shape, read in one way."""

    def __init__(self, scene: Scene, shape: Shape, settings: dict[str, Any]) -> None:
        self.scene = scene
        self.shape = shape
        self.settings = {**shape.settings(), **settings}
        shape.make(scene)

    def relay(self, **settings: Any) -> Relay:
        relay = self.scene.relay({**self.settings, **settings}).wait_ready()
        if isinstance(self.scene, WalScene):
            self.scene.wait_streaming(relay)
        return relay

    def write(self, count: int, **options: Any) -> list[Event]:
        return self.shape.write(self.scene, count, **options)

    def left(self) -> int:
        published = self.shape.column("published_at")
        return self.scene.sql(f"SELECT count(*) FROM outbox WHERE {published} IS NULL")[0][0]

    def marked(self) -> int:
        return self.scene.sql("SELECT count(*) FROM outbox")[0][0]

    def dead(self, *arguments: str) -> list[dict[str, Any]]:
        uri = self.scene.postgres.uri(self.scene.db)
        settings = {**self.shape.settings(), "postgres.uri": uri}
        done = command("dead", *arguments, "--json", settings=settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def wait_listed(self, count: int) -> list[dict[str, Any]]:
        return wait_for(lambda: len(at := self.dead("list")) == count and at, f"{count} listed", 30)

    def judge(self, max_duplicates: int = 0) -> None:
        """All came out, with the value and the headers that the shape gives them."""
        self.scene.oracle.wait(60)
        wait_for(lambda: self.left() == 0, "every row to be acknowledged", 30)
        self.scene.oracle.verify(max_duplicates)
        for record in self.scene.oracle.records:
            assert record.value == self.shape.value
            assert record.headers == [("id", str(record.id).encode()), *self.shape.headers]


@pytest.fixture(params=WAYS)
def made(
    wal_server: Postgres, kafka: Kafka, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., ShapeScene]]:
    kind, settings = WAYS[request.param]
    scenes: list[Scene] = []

    def make(shape: str, ack_mode: str = "delete") -> ShapeScene:
        scenes.append(kind(wal_server, kafka, tmp_path, ack_mode=ack_mode))
        kafka.create_topic(scenes[-1].topic, 3, LIMITS)
        return ShapeScene(scenes[-1], SHAPES[shape], settings)

    yield make
    for scene in scenes:
        scene.close()


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return request.param


def test_published_and_acknowledged(
    made: Callable[..., ShapeScene], shape: str, ack_mode: str
) -> None:
    here = made(shape, ack_mode)
    before = here.marked()
    here.scene.told(here.write(300))
    relay = here.relay()
    for _ in range(20):
        here.scene.told(here.write(20))
    here.judge()
    assert here.marked() - before == (700 if ack_mode == "mark" else 0)
    relay.stop()
