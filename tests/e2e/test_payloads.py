"""What an event may hold: every kind of payload, header, key, topic, partition and time comes out of
Kafka as it was written, to the byte."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from support.kafka import Kafka
from support.oracle import Record
from support.outbox import Outbox
from support.writer import insert

PARTITIONS = 6


def publish(outbox: Outbox, rows: list[dict[str, Any]], key: str = "key") -> list[Record]:
    """One event of each row's columns, all in one transaction; the record of each."""
    connection = outbox.connect()
    ids = []
    for row in rows:
        columns = dict(row)
        its_key = columns.pop("aggregateid", key)
        event_id = insert(connection, outbox.aggregatetype, its_key, **columns)
        ids.append((event_id, its_key, columns))
    connection.commit()
    for event_id, its_key, columns in ids:
        topic = columns.get("topic") or outbox.topic
        partition = columns.get("partition")
        outbox.oracle.committed(event_id, topic, its_key, partition=partition)
    outbox.settle()
    return [outbox.oracle.records_of(event_id)[0] for event_id, _, _ in ids]


# -- values --------------------------------------------------------------------------------------

JSON_TEXTS = [
    "{}",
    "[]",
    '""',
    "true",
    "  \t\n{ \"spaces\" :\r\n [ 1 ,2,  3 ]\t} \n",
    '{"twice": 1, "twice": 2, "twice": {"twice": 3}}',
    '{"b": 1, "a": 2, "B": 3}',
    "123456789012345678901234567890.123456789012345678901234567890",
    "[1.0, 1.00, 1e400, -0, -0.0, 1E+2, 0.1e-999]",
    r'{"\u0061": "\u00e9\u0000\ud83d\ude00\/\b\f\n\r\t\"\\"}',
    '"é ü 漢字 😀 \u2028 \x7f"',
    "[" * 1000 + "]" * 1000,
]


@pytest.mark.parametrize("as_bytes", [False, True], ids=["payload", "payload_bytes"])
def test_json_text_to_the_byte(outbox: Outbox, as_bytes: bool) -> None:
    """Not what it means, what it is: an equal document of other bytes breaks signatures."""
    outbox.relay()
    column = "payload_bytes" if as_bytes else "payload"
    rows = [{column: text.encode() if as_bytes else text} for text in JSON_TEXTS]
    for text, record in zip(JSON_TEXTS, publish(outbox, rows), strict=True):
        assert record.value == text.encode()


def test_null_and_nothing_are_different_things(outbox: Outbox) -> None:
    outbox.relay()
    tombstone, json_null, no_byte = publish(
        outbox, [{}, {"payload": "null"}, {"payload_bytes": b""}]
    )
    assert tombstone.value is None
    assert json_null.value == b"null"
    assert no_byte.value == b""


def test_any_byte(outbox: Outbox) -> None:
    outbox.relay()
    values = [
        b"\0",
        b"\0" * 1000,
        b"a\0b",
        bytes(range(256)) * 4,
        b"\xff\xfe\x80",  # no UTF-8
        b"\0\0\0\0\x07schema-registry framing",
        b"\\x00 'quoted'\n",
        b"null",
    ]
    rows = [{"payload_bytes": value} for value in values]
    for value, record in zip(values, publish(outbox, rows), strict=True):
        assert record.value == value


def test_large_values(outbox: Outbox) -> None:
    """More of them than the window holds bytes for; small ones in between keep their order."""
    outbox.relay({"window.bytes": "4MiB"})
    large = 900 * 1024
    rows: list[dict[str, Any]] = []
    for number in range(10):
        text = '{"fill": "' + chr(ord("a") + number) * (large - 12) + '"}'
        assert len(text) == large
        rows.append({"payload": text})
        rows.append({"payload": str(number)})
        rows.append({"payload_bytes": (bytes(range(256)) * (large // 256))[number:]})
    records = publish(outbox, rows)
    for row, record in zip(rows, records, strict=True):
        expected = row["payload"].encode() if "payload" in row else row["payload_bytes"]
        assert record.value == expected, f"{len(record.value or b'')} bytes came of {len(expected)}"
    assert [record.offset for record in records] == list(range(len(rows)))


# -- headers -------------------------------------------------------------------------------------

Headers = list[tuple[str, bytes | None]]

HEADER_FORMS: dict[str, tuple[str | None, Headers]] = {
    "none": (None, []),
    "null": ("null", []),
    "empty object": ("{}", []),
    "empty object with spaces": (" \n{ \t} ", []),
    "string": ('{"a": "text"}', [("a", b"text")]),
    "empty string": ('{"a": ""}', [("a", b"")]),
    "null value": ('{"a": null}', [("a", None)]),
    "the text null": ('{"a": "null"}', [("a", b"null")]),
    "booleans": ('{"a": true, "b":false }', [("a", b"true"), ("b", b"false")]),
    "numbers as written": (
        '{"a": 1, "b": 1.0, "c": 1.00e+2 , "d":-0,"e": 12345678901234567890123, "f": 1E400}',
        [
            ("a", b"1"),
            ("b", b"1.0"),
            ("c", b"1.00e+2"),
            ("d", b"-0"),
            ("e", b"12345678901234567890123"),
            ("f", b"1E400"),
        ],
    ),
    "nested": (
        '{"a": {"b" : [1, {"c":null}],  "d": "}"} , "e": [ "]", "\\"" , 2 ], "f": [], "g": {}}',
        [
            ("a", b'{"b" : [1, {"c":null}],  "d": "}"}'),
            ("e", b'[ "]", "\\"" , 2 ]'),
            ("f", b"[]"),
            ("g", b"{}"),
        ],
    ),
    "unicode": ('{"é": "ü漢😀"}', [("é", "ü漢😀".encode())]),
    "unicode escapes": (
        r'{"\u00e9": "\u00fc\u6f22\ud83d\ude00", "b": "x\u0000y", "c": ["\u00fc"]}',
        [("é", "ü漢😀".encode()), ("b", b"x\0y"), ("c", rb'["\u00fc"]')],
    ),
    "short escapes": (
        r'{"a\"b\\": "\"\\\/\b\f\n\r\t", "c": "\\u0041"}',
        [('a"b\\', b'"\\/\b\f\n\r\t'), ("c", b"\\u0041")],
    ),
    "duplicate names": (
        '{"a": "1", "b": "2", "a": "3", "a": null}',
        [("a", b"1"), ("b", b"2"), ("a", b"3"), ("a", None)],
    ),
    "names of our own": ('{"id": "other", "eventType": 5}', [("id", b"other"), ("eventType", b"5")]),
    "empty name": ('{"": "nameless"}', [("", b"nameless")]),
    "many": (
        "{" + ",".join(f'"name-{n}": "value {n}"' for n in range(2000)) + "}",
        [(f"name-{n}", f"value {n}".encode()) for n in range(2000)],
    ),
    "long": ('{"a": "' + "x" * 100_000 + '"}', [("a", b"x" * 100_000)]),
}


def test_header_forms(outbox: Outbox) -> None:
    outbox.server.unguard(outbox.db)  # nested ones, which only a table without it has
    outbox.relay()
    rows = [{"headers": text, "type": name} for name, (text, _) in HEADER_FORMS.items()]
    records = publish(outbox, rows)
    for (name, (_, expected)), record in zip(HEADER_FORMS.items(), records, strict=True):
        assert record.id is not None
        own = [("id", record.id.encode()), ("eventType", name.encode())]
        assert record.headers == own + expected, name


# -- keys and places -----------------------------------------------------------------------------

KEYS = [
    "",
    "k",
    "0",
    " ",
    "é",
    "漢字 😀",
    "k" * 4096,
    "é" * 2048,
    "with 'quotes', \\ and \n a line's end\t",
    *(f"order-{n}" for n in range(40)),
]


def murmur2(data: bytes) -> int:
    """The hash of Java's client (org.apache.kafka.common.utils.Utils), unsigned."""
    m = 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ k >> 24) * m & 0xFFFFFFFF
        h = h * m & 0xFFFFFFFF ^ k
    if data[whole:]:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & 0xFFFFFFFF
    h = (h ^ h >> 13) * m & 0xFFFFFFFF
    return h ^ h >> 15


def test_our_murmur2_is_javas() -> None:
    """The values that Java's client tests its own with."""
    known = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    for data, value in known.items():
        assert murmur2(data) == value & 0xFFFFFFFF, data


def test_keys_and_the_partitions_that_java_finds_them_in(outbox: Outbox, kafka: Kafka) -> None:
    kafka.create_topic(outbox.topic, PARTITIONS)
    outbox.relay()
    records = publish(outbox, [{"aggregateid": key, "payload": "1"} for key in KEYS])
    for key, record in zip(KEYS, records, strict=True):
        assert record.key == key.encode()
        assert record.partition == (murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS, repr(key[:40])
    assert {record.partition for record in records} == set(range(PARTITIONS))


def test_the_row_names_topic_and_partition(outbox: Outbox, kafka: Kafka) -> None:
    named = f"{outbox.aggregatetype}.named-1_A"
    for topic in (outbox.topic, named):
        kafka.create_topic(topic, PARTITIONS)
    outbox.relay()
    rows: list[dict[str, Any]] = []
    for partition in (*range(PARTITIONS), None):
        for topic in (named, None):
            rows.append({"topic": topic, "partition": partition, "payload": "1"})
    records = publish(outbox, rows, key="one key")
    usual = (murmur2(b"one key") & 0x7FFFFFFF) % PARTITIONS
    for row, record in zip(rows, records, strict=True):
        assert record.topic == (row["topic"] or outbox.topic)
        assert record.partition == (usual if row["partition"] is None else row["partition"])


def test_a_route_of_columns(outbox: Outbox) -> None:
    """What route.topic makes of the columns, and the row's own topic over it."""
    outbox.relay({"route.topic": "${aggregatetype}.${type}.v1"})
    own = f"{outbox.aggregatetype}.own"
    made = f"{outbox.aggregatetype}.Made.v1"
    connection = outbox.connect()
    for topic, columns in ((made, {}), (own, {"topic": own})):
        event_id = insert(connection, outbox.aggregatetype, "k", type="Made", **columns)
        outbox.oracle.committed(event_id, topic, "k")
    connection.commit()
    outbox.settle()


# -- times ---------------------------------------------------------------------------------------


def test_created_at_is_the_timestamp(outbox: Outbox, kafka: Kafka) -> None:
    """In whole milliseconds, of any age: cut off, not rounded. Zero means "now" to librdkafka."""
    kafka.create_topic(outbox.topic, configs={"retention.ms": -1})
    outbox.relay()
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    yesterday = yesterday.replace(microsecond=123999)
    times = {
        yesterday.isoformat(): int(yesterday.timestamp()) * 1000 + 123,
        "2001-09-09 03:46:40.0005+02": 1_000_000_000_000,
        "1970-01-01 00:00:00.001+00": 1,
        "1970-01-01 00:00:00.000001+00": 1,
        "1999-12-31 23:59:59.999999+00": 946_684_799_999,
    }
    records = publish(outbox, [{"created_at": text, "payload": "1"} for text in times])
    assert [record.timestamp_ms for record in records] == list(times.values())


def test_created_at_by_default(outbox: Outbox) -> None:
    outbox.relay({"ack.mode": "mark"})
    record = publish(outbox, [{"payload": "1"}])[0]
    written = outbox.one(
        "SELECT floor(extract(epoch FROM created_at) * 1000)::bigint FROM outbox WHERE id = %s",
        record.id,
    )
    assert record.timestamp_ms == written
