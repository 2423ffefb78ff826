"""Events whose truth is the log: logical messages, and rows that their own service deletes."""

from __future__ import annotations

import json
import uuid
from typing import Any

from support.wal import MixedLoad
from support.writer import insert


def emit(cursor: Any, aggregatetype: str, key: str, *, prefix: str = "outbox", **fields: Any) -> str:
    """A logical message in the cursor's transaction; its event's id. A field that is None is left
    out."""
    event_id = str(uuid.uuid4())
    content = {
        "id": event_id,
        "aggregatetype": aggregatetype,
        "aggregateid": key,
        "type": "Tested",
        "payload": {"n": 1},
        **fields,
    }
    text = json.dumps({name: value for name, value in content.items() if value is not None}, ensure_ascii=False)
    cursor.execute("SELECT pg_logical_emit_message(true, %s, %s)", (prefix, text))
    return event_id


class LogLoad(MixedLoad):
    """Every other event is a logical message; of the rows every third is deleted by its own
    transaction."""

    def __init__(self, *arguments: Any, prepares: bool = True, **options: Any) -> None:
        """prepares=False where the server crashes: a prepared transaction would stay, with its
        locks."""
        super().__init__(*arguments, **options)
        self._prepares = prepares

    def _commit(self, connection: Any, turn: int) -> None:
        super()._commit(connection, turn if self._prepares else 1)

    def _write(self, connection: Any, key: str, turn: int) -> tuple[str, str, int] | None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE aggregate SET version = version + 1 WHERE id = %s RETURNING version", (key,)
            )
            version = cursor.fetchone()[0]
            if turn % 2 == 0:
                event_id = emit(cursor, self._aggregatetype, key)
            else:
                event_id = insert(connection, self._aggregatetype, key, payload=self._payload)
            if turn % 3 == 0:
                cursor.execute("DELETE FROM outbox WHERE id = %s", (event_id,))
            if self._rollback_every and turn % self._rollback_every == 0:
                connection.rollback()
                self._count(event_id, key, version, committed=False)
                return None
            cursor.execute("INSERT INTO written (id) VALUES (%s)", (event_id,))
        return event_id, key, version
