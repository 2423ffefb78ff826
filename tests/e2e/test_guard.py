"""The guard and the relay are of one mind about what can be published."""

from __future__ import annotations

from support.guard import ALLOWED, REFUSED
from support.outbox import Outbox
from support.writer import insert


def test_what_the_guard_refuses_the_relay_does(outbox: Outbox) -> None:
    """So it refuses nothing that would be published."""
    outbox.server.unguard(outbox.db)
    relay = outbox.relay({"failure.policy": "park"})
    connection = outbox.connect()
    for number, (columns, _, _) in enumerate(REFUSED.values()):
        event = {"aggregatetype": outbox.aggregatetype, "payload": "1", **columns}
        insert(connection, aggregateid=f"key-{number}", **event)
    connection.commit()
    relay.wait_metric("parked_events", len(REFUSED))


def test_what_the_guard_lets_through_is_published(outbox: Outbox) -> None:
    """But for the size: the key counts too, and the limit is the relay's and the topic's."""
    relay = outbox.relay({"failure.policy": "park", "kafka.message.max.bytes": 1_100_000})
    connection = outbox.connect()
    for number, columns in enumerate(ALLOWED.values()):
        event = {"aggregatetype": outbox.aggregatetype, "payload": "1", **columns}
        event_id = insert(connection, aggregateid=f"key-{number}", **event)
        topic = event.get("topic") or f"outbox.event.{event['aggregatetype']}"
        outbox.oracle.committed(event_id, topic, f"key-{number}")
    connection.commit()
    outbox.settle(60)
    assert relay.metric("parked_events") == 0
