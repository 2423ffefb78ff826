"""Outbox tables of other shapes, made in place of a scene's own: Debezium's and goharvest's, with the
columns that they have no counterpart for added, as a migration of a table in use would."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from support.scene import Scene

Event = tuple[str, str, str]

_TRIGGERS = """
CREATE TRIGGER outbox_wake AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();
CREATE TRIGGER outbox_truncated BEFORE TRUNCATE ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_truncated();
CREATE INDEX ON outbox ({xid}) WHERE {published_at} IS NULL;
CREATE UNIQUE INDEX ON outbox ({seq}) WHERE {published_at} IS NULL;
"""

_DEBEZIUM = """
DROP TABLE outbox;
CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype varchar(255) NOT NULL,
    aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb,
    tenant varchar(40) NOT NULL, version integer, shard smallint);
INSERT INTO outbox VALUES (gen_random_uuid(), 'old', 'old', 'Old', '{}', 'acme', 1);
ALTER TABLE outbox ADD COLUMN seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN xid xid8 NOT NULL DEFAULT '0',
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN published_at timestamptz DEFAULT now();
ALTER TABLE outbox ALTER COLUMN seq DROP DEFAULT,
    ALTER COLUMN xid SET DEFAULT pg_current_xact_id(),
    ALTER COLUMN created_at SET DEFAULT clock_timestamp(),
    ALTER COLUMN published_at DROP DEFAULT;
ALTER TABLE outbox ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY;
"""

# The names are not all plain ones.
_GOHARVEST = """
DROP TABLE outbox;
CREATE TABLE outbox (id bigserial PRIMARY KEY, create_time timestamptz NOT NULL,
    kafka_topic varchar(249) NOT NULL, kafka_key varchar(100) NOT NULL, kafka_value varchar(10000),
    kafka_header_keys text[] NOT NULL, kafka_header_values text[] NOT NULL, leader_id uuid);
ALTER TABLE outbox ADD COLUMN event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN "Is ""at"" all" timestamptz, ADD COLUMN "kafka headers" json,
    ALTER COLUMN kafka_header_keys SET DEFAULT '{}', ALTER COLUMN kafka_header_values SET DEFAULT '{}';
CREATE FUNCTION outbox_headers() RETURNS trigger LANGUAGE plpgsql AS $outbox$
BEGIN
    IF NEW."kafka headers" IS NULL AND cardinality(NEW.kafka_header_keys) > 0 THEN
        NEW."kafka headers" := (SELECT json_object_agg(k, v)
            FROM unnest(NEW.kafka_header_keys, NEW.kafka_header_values) AS h(k, v));
    END IF;
    RETURN NEW;
END
$outbox$;
CREATE TRIGGER outbox_headers BEFORE INSERT ON outbox
    FOR EACH ROW EXECUTE FUNCTION outbox_headers();
"""


def _insert(connection: Any, row: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO outbox ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
            list(row.values()),
        )


def _debezium(connection: Any, topic: str, key: str, **columns: Any) -> str:
    event_id = str(uuid.uuid4())
    kind = topic.removeprefix("outbox.event.")
    row = {"id": event_id, "aggregatetype": kind, "aggregateid": key, "type": "Tested"}
    _insert(connection, {**row, "payload": '{"n":   1}', "tenant": "acme", "version": 7, **columns})
    return event_id


def _goharvest(connection: Any, topic: str, key: str, **columns: Any) -> str:
    event_id = str(uuid.uuid4())
    row = {"event_id": event_id, "kafka_topic": topic, "kafka_key": key, "kafka_value": "no {JSON"}
    headers = {"kafka_header_keys": ["h"], "kafka_header_values": ["1"]}
    _insert(connection, {**row, **headers, "create_time": "now", **columns})
    return event_id


@dataclass(frozen=True)
class Shape:
    """One of them. value, headers: of every event that insert writes, its id aside."""

    ddl: str
    names: Mapping[str, str]  # where they are others than the schema's
    additional: str
    insert: Callable[..., str]
    value: bytes
    headers: list[tuple[str, bytes | None]]
    large: dict[str, Any]  # columns of an event that is refused for its size
    small: str  # corrects it: assignments in a table with the schema's own columns
    payload: str  # the column of it there

    def settings(self) -> dict[str, Any]:
        names = {f"columns.{name}": column for name, column in self.names.items()}
        return {**names, "columns.additional": self.additional}

    def column(self, name: str) -> str:
        return '"' + self.names.get(name, name).replace('"', '""') + '"'

    def make(self, scene: Scene) -> None:
        scene.sql(self.ddl)
        scene.sql(
            _TRIGGERS.format(**{n: self.column(n) for n in ("xid", "published_at", "seq")})
        )

    def write(self, scene: Scene, count: int, *, keys: int = 10, **columns: Any) -> list[Event]:
        """In one transaction; id, topic and key of each."""
        connection = scene.postgres.connect(scene.db)
        with connection:
            events = [
                (self.insert(connection, scene.topic, key, **columns), scene.topic, key)
                for key in (f"key-{n % keys}" for n in range(count))
            ]
        connection.close()
        return events


DEBEZIUM = Shape(
    ddl=_DEBEZIUM,
    names={"payload_bytes": "", "headers": "", "topic": "", "partition": ""},
    additional="type:header:eventType, tenant:header ,version:header:v,shard:header",
    insert=_debezium,
    value=b'{"n": 1}',
    headers=[("eventType", b"Tested"), ("tenant", b"acme"), ("v", b"7"), ("shard", None)],
    large={"payload": json.dumps("x" * 300_000)},
    small="""payload = '{"n": 1}'""",
    payload="payload",
)
GOHARVEST = Shape(
    ddl=_GOHARVEST,
    names={
        "seq": "id",
        "id": "event_id",
        "aggregateid": "kafka_key",
        "topic": "kafka_topic",
        "payload": "kafka_value",
        "created_at": "create_time",
        "published_at": 'Is "at" all',
        "headers": "kafka headers",
        **{name: "" for name in ("aggregatetype", "type", "payload_bytes", "partition")},
    },
    additional="",
    insert=_goharvest,
    value=b"no {JSON",
    headers=[("h", b"1")],
    large={"kafka_header_keys": ["h", "i"], "kafka_header_values": ["1", "x" * 300_000]},
    small="""headers = '{"h" : "1"}'""",
    payload="payload_bytes",
)
SHAPES = {"debezium": DEBEZIUM, "goharvest": GOHARVEST}
