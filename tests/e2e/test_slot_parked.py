"""source.slot: events that cannot be published and are in no table are parked or moved to the dead
whole; later ones of their key wait behind them, in order, and hold up nothing else."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import MIGRATIONS, Postgres, PostgresError
from support.relay import command
from support.scene import WINDOW
from support.slot import LEASE, SlotScene, insert_and_delete
from support.wait import wait_for

Event = tuple[str, str, str]
Write = Callable[..., list[Event]]

PARK = {"failure.policy": "park", **LEASE}
DEAD = {"failure.policy": "dead-letter", **LEASE}
LIMITS = {"max.message.bytes": 100_000, "message.timestamp.before.max.ms": 3_600_000}
INVALID = {"partition": -1}  # known before it is sent
LARGE = {"payload": "x" * 3_000_000}  # refused by librdkafka
LONG = {"payload": "x" * 300_000}  # by its topic's limit, which is looked up
OLD = {"created_at": "2020-02-02T00:00:00Z"}  # by the broker alone
WAYS = {"invalid": INVALID, "large": LARGE, "long": LONG, "old": OLD}


@pytest.fixture
def scene(
    wal_server: Postgres, kafka: Kafka, tmp_path: pathlib.Path
) -> Iterator[SlotScene]:
    made = SlotScene(wal_server, kafka, tmp_path)
    wal_server.unguard(made.db)
    kafka.create_topic(made.topic, 3, LIMITS)
    yield made
    made.close()


def as_messages(scene: SlotScene, connection: Any, count: int = 1, **columns: Any) -> list[Event]:
    return scene.emit(connection, count, **columns)


def as_rows(scene: SlotScene, connection: Any, count: int = 1, **columns: Any) -> list[Event]:
    return scene.insert(connection, count, **as_text(columns))


def as_rows_that_go(
    scene: SlotScene, connection: Any, count: int = 1, *, keys: int = 10, **columns: Any
) -> list[Event]:
    """Deleted by the transaction that inserts them."""
    kind, text = scene.aggregatetype, as_text(columns)
    return [
        (insert_and_delete(connection, kind, key, **text), scene.topic, key)
        for key in (f"key-{n % keys}" for n in range(count))
    ]


def as_text(columns: dict[str, Any]) -> dict[str, Any]:
    """What is JSON in a message is JSON's text in a row."""
    columns = {"payload": {"n": 1}, **columns}
    return {
        name: json.dumps(value) if name in ("payload", "headers") else value
        for name, value in columns.items()
    }


ANY = pytest.mark.parametrize("write", [as_messages, as_rows, as_rows_that_go])


def dead(scene: SlotScene, *arguments: str) -> str:
    done = command("dead", *arguments, settings={"postgres.uri": scene.postgres.uri(scene.db)})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(scene: SlotScene, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(dead(scene, "list", "--json", *arguments))


def wait_listed(scene: SlotScene, count: int) -> list[dict[str, Any]]:
    return wait_for(lambda: len(found := listed(scene)) == count and found, f"{count} listed", 30)


def around(scene: SlotScene, write: Write, **bad: Any) -> tuple[Event, list[Event]]:
    """10 events of each of two keys, a bad one of key-0, 10 again, each a transaction. Returns the
    bad one, and what waits behind it; the oracle knows of all others."""
    connection = scene.connect()

    def commit(count: int, keys: int, **columns: Any) -> list[Event]:
        with connection:
            return write(scene, connection, count, keys=keys, **columns)

    scene.told(commit(20, 2))
    (first,) = commit(1, 1, **bad)
    after = commit(20, 2)
    scene.told(event for event in after if event[2] == "key-1")
    return first, [event for event in after if event[2] == "key-0"]


def queued(scene: SlotScene) -> list[str]:
    return [event for (event,) in scene.sql("SELECT id::text FROM outbox_parked ORDER BY place")]


CORRECT = "UPDATE {table} SET partition = NULL, payload = '1', created_at = now() WHERE id = %s"


def correct(scene: SlotScene, event: Event, table: str = "outbox_parked") -> None:
    scene.sql(CORRECT.format(table=table), event[0])


# -- dead ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ack_mode, write",
    [("delete", as_messages), ("mark", as_rows), ("delete", as_rows_that_go)],
    indirect=["ack_mode"],
)
def test_moved_to_the_dead(scene: SlotScene, write: Write, ack_mode: str) -> None:
    scene.ack_mode = ack_mode
    relay = scene.streaming(DEAD)
    bad = []
    for way in WAYS.values():
        event, after = around(scene, write, **way)
        scene.told(after)
        bad.append(event)
        scene.oracle.wait(30)
    found = wait_listed(scene, len(bad))
    assert [(each["state"], each["id"], each["topic"]) for each in found] == [
        ("dead", *event[:2]) for event in bad
    ]
    relay.wait_metric("dead_events", len(bad))
    scene.judge(max_duplicates=WINDOW)
    for event in bad:
        correct(scene, event, "outbox_dead")
    dead(scene, "retry", "--all")
    scene.told(bad)
    scene.judge(max_duplicates=WINDOW)
    assert listed(scene) == []


def test_copies_of_the_dead(scene: SlotScene) -> None:
    """One each, though the slot bring the event again. As any event, it may come again itself."""
    settings = {**DEAD, "failure.dead_letter_topic": "${topic}.dead"}
    relay = scene.streaming(settings)
    bad, after = around(scene, as_messages, **INVALID)
    scene.told(after)
    scene.oracle.watch(f"{scene.topic}.dead")
    wait_for(lambda: scene.oracle.count(f"{scene.topic}.dead") == 1, "the copy", 30)
    relay.kill()
    scene.streaming(settings)
    scene.send(10)
    scene.oracle.wait(30)
    scene.wait_stored()
    copies = [each for each in scene.oracle.records if each.topic == f"{scene.topic}.dead"]
    assert len({copy.id for copy in copies}) == 1
    assert dict(copies[0].headers or [])["outbox.id"] == bad[0].encode()


# -- parked ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "way, write",
    [
        ("invalid", as_messages),
        ("large", as_rows_that_go),
        ("long", as_rows),
        ("old", as_messages),
        ("old", as_rows_that_go),
    ],
)
def test_parked_and_retried(scene: SlotScene, write: Write, way: str) -> None:
    relay = scene.streaming(PARK)
    bad, behind = around(scene, write, **WAYS[way])
    scene.oracle.wait(30)
    wanted = [event[0] for event in [bad, *behind]]
    wait_for(lambda: len(queued(scene)) >= len(wanted), "the queue", 30)
    assert queued(scene) == wanted
    ((listed_id,),) = [(each["id"],) for each in wait_listed(scene, 1)]
    assert listed_id == bad[0]
    relay.wait_metric("parked_events", 1)
    wait_for(lambda: scene.unacknowledged() == 0, "their rows to be acknowledged", 30)
    scene.send(20, keys=1, topic=f"{scene.topic}.other")
    scene.judge(max_duplicates=WINDOW)
    scene.wait_stored()
    correct(scene, bad)
    assert "1 event retried" in dead(scene, "retry", bad[0])
    scene.told([bad, *behind])
    scene.judge(max_duplicates=WINDOW)
    wait_for(lambda: not queued(scene), "the queue to be empty", 30)
    relay.wait_metric("parked_events", 0)
    scene.send(10, keys=1)
    scene.judge(max_duplicates=WINDOW)
    assert queued(scene) == []


@ANY
def test_killed_between(scene: SlotScene, write: Write) -> None:
    """What the slot brings again is in the queue once, and in its place."""
    relay = scene.streaming(PARK)
    bad, behind = around(scene, write, **INVALID)

    def waits() -> bool:
        """What was published already, and not stored as done, may wait there as well."""
        of_these = {event[0] for event in [bad, *behind]}
        return [e for e in queued(scene) if e in of_these] == [e[0] for e in [bad, *behind]]

    wait_for(waits, "the queue", 30)
    for _ in range(2):
        relay.kill()
        with scene.connect() as connection:
            behind += write(scene, connection, 5, keys=1)
        relay = scene.streaming(PARK)
        wait_for(waits, "the queue, and what is new", 30)
    relay.kill()
    correct(scene, bad)
    dead(scene, "retry", "--all")
    relay = scene.streaming(PARK)
    scene.told([bad, *behind])
    scene.judge(max_duplicates=3 * WINDOW)
    wait_for(lambda: not queued(scene), "the queue to be empty", 30)


def test_killed_while_a_queue_goes_on(scene: SlotScene) -> None:
    relay = scene.streaming(PARK)
    with scene.connect() as connection:
        (bad,) = scene.emit(connection, 1, keys=1, **INVALID)
        behind = scene.emit(connection, 8000, keys=1)

    def left() -> int:
        return int(scene.sql("SELECT count(*) FROM outbox_parked")[0][0])

    wait_for(lambda: left() == 8001, "the queue", 60)
    correct(scene, bad)
    dead(scene, "retry", "--all")
    scene.told([bad, *behind])
    for rest in (7000, 5000, 3000):
        wait_for(lambda: left() < rest, f"less than {rest} in the queue", 30)  # noqa: B023
        relay.kill()
        relay = scene.streaming(PARK)
    assert left() > 0
    scene.send(10, keys=1)
    scene.judge(max_duplicates=3 * WINDOW)
    wait_for(lambda: left() == 0, "the queue to be empty", 30)


def spoil(scene: SlotScene, key: str) -> str:
    """One bad event among those of the load; the id."""
    with scene.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE aggregate SET version = version + 1 WHERE id = %s RETURNING version", (key,)
        )
        version = cursor.fetchone()[0]
        ((event, topic, _),) = scene.emit(connection, 1, keys=1, aggregateid=key, **INVALID)
    scene.oracle.committed(event, topic, key, order=version)
    return event


@pytest.mark.parametrize("ack_mode", ["delete", "mark"], indirect=True)
def test_retried_under_load(scene: SlotScene, ack_mode: str) -> None:
    """What is written while the queue goes on comes behind it, and its key is let go in the end."""
    scene.ack_mode = ack_mode
    relay = scene.streaming(PARK)
    rounds = 5
    with scene.log_load(threads=6, keys=8, pause_s=0.0005):
        for turn in range(rounds):
            scene.wait_seen(100)
            spoilt = [spoil(scene, f"key-{n}") for n in range(turn, turn + 3)]
            wait_listed(scene, 3)
            scene.wait_seen(100)
            for event in spoilt:
                correct(scene, (event, "", ""))
            if turn == 3:
                relay.kill()
            dead(scene, "retry", "--all")
            if turn == 3:
                relay = scene.streaming(PARK)
            wait_for(lambda: not queued(scene), "the queues to be empty", 30)
            relay.wait_metric("parked_events", 0)
    scene.judge(max_duplicates=WINDOW)


def test_retried_too_soon(scene: SlotScene) -> None:
    relay = scene.streaming(PARK)
    for way in WAYS.values():
        bad, behind = around(scene, as_messages, **way)
        wait_for(lambda: len(queued(scene)) == 11, "the queue", 30)
        before = queued(scene)
        for _ in range(2):
            (since,) = [each["since"] for each in wait_listed(scene, 1)]
            dead(scene, "retry", "--key", "key-0")
            wait_for(lambda: [e["since"] > since for e in listed(scene)] == [True], "the same", 30)
        assert queued(scene) == before
        correct(scene, bad)
        dead(scene, "retry", "--key", "key-0")
        scene.told([bad, *behind])
        scene.judge(max_duplicates=5 * WINDOW)
        relay.wait_metric("parked_events", 0)


@ANY
def test_discarded(scene: SlotScene, write: Write) -> None:
    relay = scene.streaming(PARK)
    bad, behind = around(scene, write, **INVALID)
    wait_for(lambda: len(queued(scene)) == 1 + len(behind), "the queue", 30)
    assert "partition" in dead(scene, "show", bad[0])
    dead(scene, "discard", bad[0], "--reason", "no such order")
    scene.told(behind)
    scene.judge()
    relay.wait_metric("parked_events", 0)
    found = scene.sql("SELECT id::text, type, reason FROM outbox_discarded")
    assert found == [(bad[0], "Tested", "no such order")]


def test_one_that_waits_is_discarded(scene: SlotScene) -> None:
    scene.streaming(PARK)
    bad, behind = around(scene, as_messages, **INVALID)
    wait_for(lambda: len(queued(scene)) == 1 + len(behind), "the queue", 30)
    assert "0 events" in dead(scene, "retry", behind[3][0])
    assert "1 event discarded" in dead(scene, "discard", behind[3][0], "--reason", "not this")
    correct(scene, bad)
    dead(scene, "retry", bad[0])
    scene.told([bad, *behind[:3], *behind[4:]])
    scene.judge()


# -- before and after it ---------------------------------------------------------------------------


def test_rows_from_before_the_slot(scene: SlotScene) -> None:
    """Some of them the broker alone refuses; and one that was parked without a slot."""
    other = f"{scene.aggregatetype}-other"
    scene.kafka.create_topic(f"outbox.event.{other}", 1, LIMITS)
    table = scene.relay({**PARK, "source.slot": "", "source.mode": "table"}).wait_ready()
    early, behind = around(scene, as_rows, **INVALID)
    scene.told([early, *behind])
    table.wait_metric("parked_events", 1)
    table.stop()
    connection = scene.connect()
    (old,) = scene.insert(connection, 1, keys=1, aggregatetype=other, **OLD)
    later = scene.insert(connection, 10, keys=1, aggregatetype=other)
    connection.commit()
    scene.told([old, *later])
    relay = scene.streaming(PARK)
    relay.wait_metric("parked_events", 2)
    wait_for(lambda: scene.unacknowledged() == 0, "every row to be acknowledged", 30)
    assert len(queued(scene)) == 22
    for event in (early, old):
        correct(scene, event)
    dead(scene, "retry", "--all")
    scene.judge(max_duplicates=WINDOW)


def test_without_the_slot_afterwards(scene: SlotScene) -> None:
    """The table is read again, and what is in no table is not lost: it goes on first."""
    relay = scene.streaming(PARK)
    bad, behind = around(scene, as_rows_that_go, **INVALID)
    wait_for(lambda: len(queued(scene)) == 1 + len(behind), "the queue", 30)
    scene.wait_stored()
    relay.stop()
    relay = scene.relay({**PARK, "source.slot": "", "source.mode": "table"}).wait_ready()
    relay.wait_metric("parked_events", 1)
    with scene.connect() as connection:
        behind += as_rows(scene, connection, 10, keys=1)
    correct(scene, bad)
    dead(scene, "retry", "--all")
    scene.told([bad, *behind])
    scene.judge(max_duplicates=WINDOW)
    relay.wait_metric("parked_events", 0)
    assert queued(scene) == []


def test_the_schema_is_older(scene: SlotScene) -> None:
    newer = sorted(MIGRATIONS.glob("*.up.sql"))[2:]
    for file in reversed(newer):
        down = file.with_name(file.name.replace(".up.", ".down."))
        scene.postgres.psql(scene.db, file=down)
    relay = scene.relay(PARK)
    assert relay.wait_exit() == 78
    assert "schema print --from 2 " in relay.log.read_text()
    done = command("check", settings={**scene.relay_settings(), **PARK})
    assert done.returncode == 78
    assert "schema print --from 2 " in done.stdout + done.stderr
    scene.streaming(DEAD).stop()
    for file in newer:
        scene.postgres.psql(scene.db, file=file)
    scene.postgres.unguard(scene.db)
    scene.streaming(PARK)
    around(scene, as_messages, **INVALID)
    wait_for(lambda: len(queued(scene)) == 11, "the queue", 30)
    with pytest.raises(PostgresError, match="that are in no other table"):
        scene.postgres.psql(scene.db, file=down)
