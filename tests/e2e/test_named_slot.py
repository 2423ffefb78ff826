"""source.slot: a slot that outlives the relay, for logical messages and for services that delete
their own event rows. Its position is in the lease; the table is read for what came before it.
"""

from __future__ import annotations

import json
import uuid

from support.wal import WalScene


def emit(wal: WalScene, cursor: object, key: str, **columns: object) -> str:
    """A logical message in the cursor's transaction; its event's id."""
    event_id = str(uuid.uuid4())
    content = {
        "id": event_id,
        "aggregatetype": wal.aggregatetype,
        "aggregateid": key,
        "type": "Tested",
        "payload": {"key": key},
        **columns,
    }
    cursor.execute(  # type: ignore[attr-defined]
        "SELECT pg_logical_emit_message(true, 'outbox', %s)", (json.dumps(content),)
    )
    return event_id


def test_messages_and_rows_come_in_the_order_of_commits(wal: WalScene) -> None:
    relay = wal.streaming(wal.slot_settings())
    connection = wal.connect()
    for turn in range(20):
        with connection, connection.cursor() as cursor:
            first = emit(wal, cursor, f"k{turn % 3}")
            wal.oracle.committed(first, f"outbox.event.{wal.aggregatetype}", f"k{turn % 3}")
    wal.oracle.wait(30)
    wal.oracle.verify(0)
    relay.stop()
    relay = wal.streaming(wal.slot_settings())
    with connection, connection.cursor() as cursor:
        first = emit(wal, cursor, "k0")
    wal.oracle.committed(first, f"outbox.event.{wal.aggregatetype}", "k0")
    wal.oracle.wait(30)
    wal.oracle.verify(0)
    relay.stop()
