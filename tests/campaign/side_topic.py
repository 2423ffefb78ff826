"""A topic beside the others is deleted and made again, with an oracle of its own from then on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from support.oracle import Oracle
from support.writer import insert

from campaign.plan import Fault
from campaign.world import World

_EVENTS = 20
_KEYS = 4


def make_topic_again(world: World, fault: Fault) -> Iterator[None]:
    """What was in it goes with it, by the user's own hand; what had not been published by then may
    come, what is written afterwards has to."""
    kind = f"side-{uuid.uuid4().hex[:8]}"
    topic = f"outbox.event.{kind}"
    world.kafka.create_topic(topic, 1 + fault.target % 3)
    side = Side(world, kind, topic)
    side.write(required=False)
    world.kafka.delete_topic(topic)
    side.write()
    yield
    side.write()
    world.kafka.create_topic(topic, 1 + fault.target % 3)
    side.write()
    world.sides.append(side.judge())


class Side:
    """Its events, in the order of their transactions."""

    def __init__(self, world: World, kind: str, topic: str) -> None:
        self._world = world
        self._kind = kind
        self._topic = topic
        self._written: list[tuple[str, str, bool]] = []  # id, key, and whether it has to come

    def write(self, *, required: bool = True) -> None:
        """In one transaction."""
        connection = self._world.postgres.connect(self._world.scene.db)
        try:
            with connection:
                for n in range(_EVENTS):
                    key = f"key-{n % _KEYS}"
                    event_id = insert(connection, self._kind, key, payload="{}")
                    self._written.append((event_id, key, required))
        finally:
            connection.close()

    def judge(self) -> Oracle:
        """Who has read nothing yet."""
        oracle = Oracle(self._world.kafka.bootstrap)
        for event_id, key, required in self._written:
            oracle.committed(event_id, self._topic, key, required=required)
        return oracle
