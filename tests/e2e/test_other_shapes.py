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


def around(here: ShapeScene) -> tuple[Event, list[Event]]:
    """10 events of each of two keys, one of key-0 that is too large, 10 again. That one, and what
    is behind it; the oracle knows of all others."""
    here.scene.told(here.write(20, keys=2))
    (bad,) = here.write(1, **here.shape.large)
    after = here.write(20, keys=2)
    here.scene.told(event for event in after if event[2] == "key-1")
    return bad, [event for event in after if event[2] == "key-0"]


def test_parked_and_retried(made: Callable[..., ShapeScene], shape: str, ack_mode: str) -> None:
    here = made(shape, ack_mode)
    relay = here.relay(**{"failure.policy": "park"})
    bad, behind = around(here)
    whole = isinstance(here.scene, SlotScene)
    (listed,) = here.wait_listed(1)
    assert (listed["id"], listed["state"], listed["key"]) == (bad[0], "parked", "key-0")
    here.scene.oracle.wait(30)
    if whole:
        correction = f"UPDATE outbox_parked SET {here.shape.small}"
    else:
        small = {"payload": '{"n": 1}', "headers": '{"h": "1"}'}
        name = "payload" if shape == "debezium" else "headers"
        correction = f"UPDATE outbox SET {here.shape.column(name)} = '{small[name]}'"
    identity = "id" if whole else here.shape.column("id")
    here.scene.sql(f"{correction} WHERE {identity} = %s", bad[0])
    here.scene.told([bad, *behind])
    assert [row["id"] for row in here.dead("retry", "--id", bad[0])] == [bad[0]]
    here.judge(WINDOW)
    assert here.dead("list") == []
    relay.stop()


def test_dead_and_retried(made: Callable[..., ShapeScene], shape: str, ack_mode: str) -> None:
    here = made(shape, ack_mode)
    relay = here.relay(**{"failure.policy": "dead-letter"})
    bad, behind = around(here)
    here.scene.told(behind)
    (listed,) = here.wait_listed(1)
    assert (listed["id"], listed["state"], listed["key"]) == (bad[0], "dead", "key-0")
    here.judge()
    here.scene.sql(f"UPDATE outbox_dead SET {here.shape.small}")
    here.scene.told([bad])
    assert [row["id"] for row in here.dead("retry", "--id", bad[0])] == [bad[0]]
    here.judge()
    assert here.dead("list") == []
    relay.stop()


@pytest.mark.parametrize("made", ["table"], indirect=True)
def test_what_the_table_cannot_hold_stays_dead(made: Callable[..., ShapeScene]) -> None:
    here = made("debezium")
    relay = here.relay(**{"failure.policy": "dead-letter"})
    bad, behind = around(here)
    here.scene.told(behind)
    here.wait_listed(1)
    more = """{"eventType":"Tested","tenant":"acme","v":"7","shard":null, "trace":"1"}"""
    here.scene.sql("UPDATE outbox_dead SET headers = %s", more)
    uri = here.scene.postgres.uri(here.scene.db)
    settings = {**here.shape.settings(), "postgres.uri": uri}
    done = command("dead", "retry", "--id", bad[0], settings=settings)
    assert done.returncode == 78
    assert f'event {bad[0]} has a value of "headers" that table public.outbox has no column' in (
        done.stderr
    )
    assert [row["id"] for row in here.dead("list")] == [bad[0]]
    here.judge()
    relay.stop()


@pytest.mark.parametrize("made", ["table", "slot"], indirect=True)
def test_copies_of_dead_events(made: Callable[..., ShapeScene], kafka: Kafka) -> None:
    here = made("goharvest")
    kafka.create_topic(f"{here.scene.topic}.dead", 1)
    here.scene.oracle.watch(f"{here.scene.topic}.dead")
    relay = here.relay(
        **{"failure.policy": "dead-letter", "failure.dead_letter_topic": "${topic}.dead"}
    )
    bad, behind = around(here)
    here.scene.told(behind)
    here.wait_listed(1)
    here.scene.oracle.wait(30)
    wait_for(lambda: here.scene.oracle.count(f"{here.scene.topic}.dead") == 1, "the copy")
    (copy,) = [r for r in here.scene.oracle.records if r.topic.endswith(".dead")]
    headers = dict(copy.headers or [])
    assert headers["outbox.id"] == bad[0].encode()
    assert headers["outbox.topic"] == here.scene.topic.encode()
    assert headers["h"] == b"1"
    assert (copy.key, copy.value) == (b"key-0", here.shape.value)
    relay.stop()


_SCANS = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'outbox'"
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def scans(here: ShapeScene) -> int:
    """Of all sessions, which have ended: each tells of its own at its end."""
    wait_for(lambda: here.scene.sql(_OTHERS) == [(0,)], "every other session to end")
    return here.scene.sql(_SCANS)[0][0]


@pytest.mark.parametrize("made", ["table"], indirect=True)
def test_indexes_serve_every_statement(
    made: Callable[..., ShapeScene], shape: str, ack_mode: str
) -> None:
    here = made(shape, ack_mode)
    before = scans(here)
    relay = here.relay()
    for _ in range(10):
        here.scene.told(here.write(20))
    relay.wait_metric("acknowledged_events_total", 200)
    relay.stop()
    assert scans(here) == before
    here.judge()


# -- types -----------------------------------------------------------------------------------------

TYPES = """
DROP TABLE outbox;
CREATE TABLE outbox (seq integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL DEFAULT gen_random_uuid(), xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    aggregatetype integer NOT NULL, aggregateid {key} NOT NULL, type smallint NOT NULL,
    payload {payload}, payload_bytes bytea, headers jsonb, topic varchar(80), partition smallint,
    created_at timestamp NOT NULL, published_at timestamp, flag boolean, number bigint, code uuid,
    doc jsonb, raw json, words varchar(20));
"""
ADDITIONAL = "flag:header,number:header,code:header,doc:header,raw:header,words:HEADER: w ,type:header"
UUID = "6a0d8fd4-9c2a-4c2f-8a3f-2b0c7c3d1e5f"
ROWS = {
    "full": {
        "payload": '{"a":  [1, 2.50],\n "é": null}',
        "headers": '{"z": 1.0, "a": "x"}',
        "flag": True,
        "number": -(2**63),
        "code": UUID,
        "doc": '{"b":1,  "a":"ü"}',
        "raw": '{"b":1,  "a":2}',
        "words": 'two "words"',
    },
    "empty": {"payload": None, "partition": 2, "flag": False, "words": ""},
    "bytes": {"payload": None, "payload_bytes": b"\0\1\xff", "flag": None},
}


@pytest.mark.parametrize("payload", ["json", "jsonb", "text", "varchar", "bytea"])
@pytest.mark.parametrize("key", ["uuid", "bigint", "varchar(60)"])
def test_each_type_is_the_same_in_both_sources(
    wal: WalScene, kafka: Kafka, key: str, payload: str
) -> None:
    wal.ack_mode = "mark"
    kafka.create_topic(wal.topic, 3)
    wal.sql(TYPES.format(key=key, payload=payload))
    where = UUID if key == "uuid" else "-12"
    seen = []
    for mode in ("table", "wal"):
        settings = {"source.mode": mode, "columns.additional": ADDITIONAL}
        relay = wal.relay(settings).wait_ready()
        if mode == "wal":
            wal.wait_streaming(relay)
        for row in ROWS.values():
            made = {"aggregatetype": 5, "aggregateid": where, "type": -3, "topic": wal.topic}
            names = {**made, "created_at": "2024-02-29 12:34:56.789", **row}
            ((event_id,),) = wal.sql(
                f"INSERT INTO outbox ({', '.join(names)})"
                f" VALUES ({', '.join(['%s'] * len(names))}) RETURNING id::text",
                *names.values(),
            )
            wal.oracle.committed(event_id, wal.topic, where, partition=names.get("partition"))
        wal.oracle.wait(30)
        seen.append(
            sorted(
                (r.partition, r.offset, r.key, r.value, r.timestamp_ms, tuple(r.headers or [])[1:])
                for r in wal.oracle.records
                if r.id in wal.oracle.events
            )
        )
        relay.stop()
    both = [[(r[2:]) for r in each] for each in seen]
    assert sorted(both[1], key=repr) == sorted(both[0] * 2, key=repr)
    assert {r[2] for r in both[0]} == {1709210096789}
    full = next(r for r in both[0] if len(r[3]) == 10)
    stored = {"jsonb": '{"a": [1, 2.50], "é": null}'}.get(payload, ROWS["full"]["payload"])
    assert full[1] == stored.encode()
    assert full[3] == (
        ("eventType", b"-3"),
        ("flag", b"true"),
        ("number", b"-9223372036854775808"),
        ("code", UUID.encode()),
        ("doc", '{"a": "ü", "b": 1}'.encode()),
        ("raw", b'{"b":1,  "a":2}'),
        ("w", b'two "words"'),
        ("type", b"-3"),
        ("a", b"x"),
        ("z", b"1.0"),
    )
