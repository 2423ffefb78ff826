"""What Debezium itself publishes from a table, and what the relay does from the same rows: byte for
byte, but for what schema/README.md says is different.

Not compared: the timestamp of a record, which is Debezium's clock by default and the row's
created_at here, unless table.field.event.timestamp names that column.
"""

from __future__ import annotations

import pathlib
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Consumer, TopicPartition
from support.adopted import DEBEZIUM, migrate
from support.debezium import Debezium
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for

PARTITIONS = 4

TEXT = "tex\"t 'ü' \\ 🎈"
UUID = "11111111-2222-3333-4444-555555555555"

# Each column that is a header or the partition, with its values: all nulls in one row, each extreme
# in another.
ADDITIONAL = {
    "tenant": ("text", [TEXT, "", "a,b:c"]),
    '"Trace Id"': ("varchar(40)", ["vc", "Ü", ""]),
    "correlation": ("uuid", [UUID, None, UUID]),
    "n_small": ("smallint", [-32768, 32767, 0]),
    "n_int": ("integer", [-2147483648, 2147483647, 0]),
    "n_big": ("bigint", [-9223372036854775808, 9007199254740993, 0]),
    "flag": ("boolean", [True, False, None]),
    "j": ("json", ['{"a":  1, "a": "ü\\u00fc"}', "null", " [1.50] "]),
    "jb": ("jsonb", ['{"b": 1,  "a": 1.50}', "null", '"x"']),
}
PLACEMENT = (
    'type:header:eventType,tenant:header,"Trace Id":header:trace,correlation:header:cor-relation,'
    "n_small:header,n_int:header,n_big:header,flag:header,j:header,jb:header,"
    "shard:partition"
).replace('"', "")
PAYLOADS = [
    '{"order": 4711,   "total": 12.30}',
    '{"b": 1, "a": {"z": [], "y": {}}, "ü": "\\u0041\\n\\t\\"\\\\ \\u20ac 🎈"}',
    "[1e400, 1E-7, -0, 0.10, 12345678901234567890.123456789012345678901234567890]",
    '"text"',
    "12.50",
    "true",
    "null",
    '""',
    "{}",
]
KEYS = ["1", "4711", "", " ", "ключ", "日本🎈", "x" * 255, "a\"b'c\\d"]


class Seen(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp: int | None


def read(kafka: Kafka, topic: str, count: int, timestamps: bool) -> dict[int, list[Seen]]:
    """That many records of the topic, as they stand in each partition."""
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": "records", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, n, 0) for n in range(PARTITIONS)])
    found: dict[int, list[Seen]] = defaultdict(list)

    def enough() -> bool:
        for message in consumer.consume(1000, 0.2):
            assert message.error() is None, message.error()
            timestamp = message.timestamp()[1] if timestamps else None
            seen = Seen(message.key(), message.value(), message.headers() or [], timestamp)
            found[message.partition()].append(seen)
        return sum(map(len, found.values())) >= count

    try:
        wait_for(enough, f"{count} records of {topic}", 30)
        assert not consumer.consume(1, 0.3), "there are more records than events"
    finally:
        consumer.close()
    return found


class Peers:
    """Debezium and the relay on one table, each with topics of its own."""

    def __init__(self, postgres: Postgres, kafka: Kafka, debezium: Debezium, table: str) -> None:
        self.postgres = postgres
        self.kafka = kafka
        self.debezium = debezium
        self.table = table
        self.db = postgres.createdb(migrated=False)
        self.sql(DEBEZIUM.format(table=table))
        self.name = f"d{uuid.uuid4().hex[:8]}"  # of the slot, and in the topics

    def sql(self, text: str, *arguments: Any) -> None:
        connection = self.postgres.connect(self.db, autocommit=True)
        try:
            connection.cursor().execute(text, arguments or None)
        finally:
            connection.close()

    def connector(self, settings: Mapping[str, str]) -> None:
        every = {
            "table.include.list": f"public.{self.table}",
            "transforms.outbox.route.topic.replacement": f"{self.name}.${{routedByValue}}.debezium",
            **settings,
        }
        self.debezium.add(self.name, self.postgres, self.db, every)

    def relay_settings(self, **settings: Any) -> dict[str, Any]:
        return {
            **migrate(self.postgres, self.db, source_table=self.table, **settings),
            "postgres.uri": self.postgres.uri(self.db),
            "source.mode": "table",
            "ack.mode": "mark",
            "failure.policy": "halt",
            "route.topic": f"{self.name}.${{aggregatetype}}.relay",
        }

    def insert(self, **columns: Any) -> None:
        row = {"id": str(uuid.uuid4()), "type": "Tested", **columns}
        self.sql(
            f"INSERT INTO {self.table} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
            *row.values(),
        )

    def topics(self, *aggregatetypes: str) -> None:
        for each in aggregatetypes:
            for peer in ("debezium", "relay"):
                self.kafka.create_topic(f"{self.name}.{each}.{peer}", PARTITIONS)

    def compare(self, aggregatetype: str, count: int, *, timestamps: bool) -> None:
        topic = f"{self.name}.{aggregatetype}"
        theirs = read(self.kafka, f"{topic}.debezium", count, timestamps)
        ours = read(self.kafka, f"{topic}.relay", count, timestamps)
        assert ours == theirs


@pytest.fixture
def peers(
    wal_server: Postgres, kafka: Kafka, debezium: Debezium
) -> Iterator[Callable[[str], Peers]]:
    made: list[Peers] = []

    def make(table: str) -> Peers:
        made.append(Peers(wal_server, kafka, debezium, table))
        return made[-1]

    yield make
    for each in made:
        each.debezium.remove(each.name)


def test_json_events_are_the_same_records(
    peers: Callable[[str], Peers], relay_factory: Callable[..., Relay]
) -> None:
    """Keys, payloads, headers and partitions of every kind."""
    it = peers("outbox")
    for name, (kind, _) in ADDITIONAL.items():
        it.sql(f"ALTER TABLE outbox ADD COLUMN {name} {kind}")
    it.sql("ALTER TABLE outbox ADD COLUMN shard integer, ADD COLUMN happened timestamp NOT NULL")
    it.sql("ALTER TABLE outbox ALTER COLUMN happened SET DEFAULT '2020-04-01 11:51:02.123987'")
    it.topics("Order", "order")
    it.connector(
        {
            "transforms.outbox.table.fields.additional.placement": PLACEMENT,
            "transforms.outbox.table.field.event.timestamp": "happened",
        }
    )
    settings = it.relay_settings(
        columns_additional=PLACEMENT, columns_created_at="happened", record_type_header=""
    )
    for key in KEYS:
        it.insert(aggregatetype="Order", aggregateid=key, payload="{}")
    for n, payload in enumerate(PAYLOADS):
        it.insert(aggregatetype="Order", aggregateid=str(n), payload=payload)
    for n in range(3):
        values = {name: each[n] for name, (_, each) in ADDITIONAL.items()}
        it.insert(aggregatetype="Order", aggregateid="1", payload="{}", shard=n, type="Ü b", **values)
    it.insert(aggregatetype="order", aggregateid="1", payload=None)
    it.insert(aggregatetype="order", aggregateid="1", payload="{}")
    relay_factory({**settings, "record.type_header": ""}).wait_ready()
    it.compare("Order", len(KEYS) + len(PAYLOADS) + 3, timestamps=True)
    it.compare("order", 2, timestamps=True)


def test_binary_events_are_the_same_records(
    peers: Callable[[str], Peers], relay_factory: Callable[..., Relay]
) -> None:
    """A payload of bytes, with Connect's ByteArrayConverter, and none, which is a tombstone."""
    it = peers("events")
    it.sql("ALTER TABLE events ALTER COLUMN payload TYPE bytea USING NULL")
    it.topics("Order")
    it.connector(
        {
            "value.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
            "transforms.outbox.route.tombstone.on.empty.payload": "true",
        }
    )
    settings = it.relay_settings()
    payloads = [b"", b"\x00\x01\xff", "Ü".encode(), bytes(range(256)) * 200, None]
    for n, payload in enumerate(payloads):
        it.insert(aggregatetype="Order", aggregateid=str(n), payload=payload)
    relay_factory(settings).wait_ready()
    it.compare("Order", len(payloads), timestamps=False)
