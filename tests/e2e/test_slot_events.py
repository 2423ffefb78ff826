"""source.slot: messages, and rows that no table keeps, come as they were committed, each once."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

import pytest
from support.oracle import Record
from support.relay import Relay
from support.slot import LEASE, SlotScene, emit_text, insert_and_delete
from support.wait import wait_for


def complaints(relay: Relay) -> list[str]:
    """What it warned of, but for its reason to poll."""
    lines = [line for line in relay.log_lines() if line["level"] in ("warn", "error")]
    return [line["msg"] for line in lines if "outbox_relay.notify" not in line["msg"]]


# -- order ---------------------------------------------------------------------------------------


def prepare_and_commit(connection: Any) -> None:
    gid = str(uuid.uuid4())
    connection.cursor().execute(f"PREPARE TRANSACTION '{gid}'")
    connection.commit()  # there is no transaction any more; the client learns it by this
    connection.autocommit = True
    connection.cursor().execute(f"COMMIT PREPARED '{gid}'")
    connection.autocommit = False


@pytest.mark.parametrize("ack_mode", ["mark"], indirect=True)
def test_commits_in_any_order(slot: SlotScene, ack_mode: str) -> None:
    """Ten transactions of rows and messages overlap at any time, and nothing serialises them; some
    are prepared, some rolled back, and so are some of their savepoints."""
    slot.ack_mode = ack_mode
    slot.kafka.create_topic(slot.topic, 3)
    relay = slot.streaming()
    walsender = slot.wait_streaming(relay)
    dice = random.Random(11)
    writers: list[Any] = [slot.connect() for _ in range(10)]
    written: list[list[tuple[str, str, str]]] = [[] for _ in writers]

    def write(number: int) -> list[tuple[str, str, str]]:
        make = slot.insert if dice.random() < 0.4 else slot.emit
        return make(writers[number], dice.randint(1, 4), keys=3)

    def undo(events: list[tuple[str, str, str]]) -> None:
        for event_id, _, _ in events:
            slot.oracle.rolled_back(event_id)

    def end(number: int) -> None:
        events, written[number] = written[number], []
        if dice.random() < 0.2:
            writers[number].rollback()
            undo(events)
            return
        if dice.random() < 0.3:
            prepare_and_commit(writers[number])
        else:
            writers[number].commit()
        slot.told(events)

    for _ in range(600):
        number = dice.randrange(len(writers))
        if dice.random() < 0.3:
            end(number)
        elif dice.random() < 0.2:
            writers[number].cursor().execute("SAVEPOINT undone")
            undo(write(number))
            writers[number].cursor().execute("ROLLBACK TO undone")
        else:
            written[number] += write(number)
    for number in range(len(writers)):
        end(number)
    slot.judge()
    assert slot.walsenders() == [walsender]
    assert not complaints(relay)


# -- messages ------------------------------------------------------------------------------------


def raw(slot: SlotScene, **columns: Any) -> str:
    """A message's content without an id."""
    event = {"aggregatetype": slot.aggregatetype, "aggregateid": 4711, "type": "T", **columns}
    return json.dumps(event, indent=3)


def test_an_id_that_is_made_is_the_same_when_it_comes_again(slot: SlotScene) -> None:
    """What Kafka has, and the lease does not say, the next relay repeats to the byte."""
    relay = slot.streaming(LEASE)
    slot.send(1)
    slot.judge()
    slot.wait_stored()
    holding = slot.connect()
    holding.cursor().execute("SELECT FROM outbox_lease FOR UPDATE")
    connection = slot.connect()
    for n in range(5):
        emit_text(connection, raw(slot, payload={"n": n}))
    connection.commit()

    def seen(times: int) -> list[Record]:
        slot.oracle.count(slot.topic)
        found = [record for record in slot.oracle.records if record.key == b"4711"]
        return found if len(found) >= 5 * times else []

    first = wait_for(lambda: seen(1), "five events")
    relay.kill()
    slot.lose_sessions()
    holding.rollback()
    slot.streaming(LEASE)
    again = wait_for(lambda: seen(2), "the same five")
    assert len(first) == 5 and len(again) == 10
    assert len({record.id for record in first}) == 5
    for old, new in zip(first, again[5:], strict=True):
        assert (old.id, old.value, old.timestamp_ms) == (new.id, new.value, new.timestamp_ms)
        assert uuid.UUID(str(old.id)).version == 8
    for record in first:
        slot.oracle.committed(record.id, slot.topic, "4711")
    slot.judge(max_duplicates=5)


def test_messages_that_are_no_events(slot: SlotScene) -> None:
    """Those of another prefix nobody mentions; those outside of a transaction are warned of."""
    relay = slot.streaming()
    secret = raw(slot, payload="a secret")
    connection = slot.connect()
    emit_text(connection, secret, prefix="outbox2")
    emit_text(connection, secret, prefix="outbo")
    emit_text(connection, "no JSON", prefix="")
    connection.commit()
    at = emit_text(connection, secret, transactional=False)
    connection.rollback()
    slot.send(5)
    slot.judge()
    relay.wait_log(f"the logical message at {at} has the prefix .*outbox.* part of no transaction")
    assert "a secret" not in relay.log.read_text()
    assert len(complaints(relay)) == 1
    relay.stop()
    relay = slot.streaming({"source.message_prefix": "shop.events"})
    emit_text(connection, secret)
    emit_text(connection, "no JSON", transactional=False)
    connection.commit()
    slot.send(5, prefix="shop.events")
    slot.write(5)
    slot.judge()
    assert not complaints(relay)


def test_a_transaction_larger_than_the_window(slot: SlotScene) -> None:
    """It streams through, and the position behind it is stored once."""
    slot.kafka.create_topic(slot.topic, 3)
    slot.streaming({"window.events": 100})
    connection = slot.connect()
    events = []
    for _ in range(100):
        events += slot.insert(connection, 10) + slot.emit(connection, 10)
    connection.cursor().execute("DELETE FROM outbox WHERE seq % 2 = 0")
    connection.commit()
    slot.told(events)
    slot.judge()


# -- rows that their service takes away ------------------------------------------------------------


@pytest.mark.parametrize("ack_mode", ["delete"], indirect=True)
def test_rows_that_are_deleted(slot: SlotScene, ack_mode: str) -> None:
    """In their own transaction, a moment later, and while no relay runs."""
    slot.ack_mode = ack_mode
    connection = slot.connect()

    def vanish(turns: int) -> None:
        for turn in range(turns):
            key = f"key-{turn % 4}"
            event_id = insert_and_delete(connection, slot.aggregatetype, key, payload="{}")
            connection.commit()
            slot.told([(event_id, slot.topic, key)])
            events = slot.insert(connection, 2, keys=4)
            connection.commit()
            slot.told(events)
            connection.cursor().execute("DELETE FROM outbox")
            connection.commit()

    relay = slot.streaming()
    walsender = slot.wait_streaming(relay)
    vanish(25)
    slot.judge()
    assert slot.walsenders() == [walsender]
    relay.stop()
    vanish(25)
    slot.write(20, keys=4)
    relay = slot.streaming()
    slot.judge()
    assert not complaints(relay)


@pytest.mark.parametrize("ack_mode", ["mark"], indirect=True)
def test_truncate(slot: SlotScene, ack_mode: str) -> None:
    """Nothing of what committed before it is missing, though seqs come again."""
    slot.ack_mode = ack_mode
    relay = slot.streaming()
    turns = 4
    with slot.log_load(threads=2):
        for _ in range(turns):
            slot.wait_seen(200)
            slot.sql("TRUNCATE outbox RESTART IDENTITY")
        slot.wait_seen(200)
    slot.judge()
    assert relay.log_match("the table was truncated")


def test_truncate_within_a_transaction(slot: SlotScene) -> None:
    relay = slot.streaming()
    connection = slot.connect()
    for _ in range(3):
        events = slot.insert(connection, 10)
        connection.cursor().execute("TRUNCATE outbox RESTART IDENTITY")
        events += slot.insert(connection, 10) + slot.emit(connection, 10)
        connection.commit()
        slot.told(events)
    slot.judge()
    assert relay.log_match("the table was truncated")
