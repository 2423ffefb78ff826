"""The guard and the relay are of one mind about what can be published."""

from __future__ import annotations

from support.guard import ALLOWED, NESTED, REFUSED
from support.outbox import Outbox
from support.writer import insert


def test_what_the_guard_refuses_the_relay_does(outbox: Outbox) -> None:
    """So it refuses nothing that would be published, but for what is nested."""
    outbox.server.unguard(outbox.db)
    relay = outbox.relay({"failure.policy": "park"})
    connection = outbox.connect()
    wrong = [columns for name, (columns, _, _) in REFUSED.items() if name not in NESTED]
    for number, columns in enumerate(wrong):
        event = {"aggregatetype": outbox.aggregatetype, "payload": "1", **columns}
        insert(connection, aggregateid=f"key-{number}", **event)
    connection.commit()
    relay.wait_metric("parked_events", len(wrong))


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
