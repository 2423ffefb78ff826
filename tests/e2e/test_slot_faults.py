"""source.slot: the relay, its sessions or the server end at the moments that matter."""

from __future__ import annotations

import contextlib
import pathlib
import re
import signal
import subprocess
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.refusal import WRONG, complaints
from support.relay import Relay, binary, command, environment
from support.scene import WINDOW
from support.slot import LEASE, SlotScene
from support.wait import wait_for
from support.wal import SERVER


def halfway(scene: SlotScene, events: int) -> Any:
    """So many wait in the table, and a slot stands at their end. Of what is read only the first
    WINDOW can be acknowledged, until the session that is returned lets go of the rest: so no more
    than twice as many are read."""
    scene.kafka.create_topic(scene.topic, 3)
    ids = scene.write(events)
    made = command("check", "--fix", settings=scene.relay_settings())
    assert made.returncode == 0, made.stdout
    connection = scene.connect()
    connection.cursor().execute(
        "SELECT FROM outbox WHERE id = ANY(%s::uuid[]) FOR UPDATE", (ids[WINDOW:],)
    )
    return connection


def wait_locked(scene: SlotScene, session: str) -> None:
    """Until that session of the relay's waits for a lock."""
    wait_for(
        lambda: scene.sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE %s AND wait_event_type = 'Lock'",
            f"outbox-relay {session}%",
        ),
        f"session {session} to wait for a lock",
    )


# -- while the slot is made ------------------------------------------------------------------------


def test_killed_between_a_slot_and_its_position(slot: SlotScene) -> None:
    """The slot is there, and nothing says from where it is to be read: it is made again."""
    slot.write(50)
    blocker = slot.blocker()
    relay = slot.relay()
    slot.wait_making(relay)
    slot.write(50)
    held = slot.connect()
    held.cursor().execute("LOCK TABLE outbox_lease IN EXCLUSIVE MODE")  # that is no transaction id
    blocker.rollback()
    wait_locked(slot, "slot")
    slot.write(50)
    relay.kill()
    slot.lose_sessions()
    held.rollback()
    assert slot.slots()
    lease = slot.lease()
    assert (lease.slot, lease.confirmed, lease.snapshot) == (slot.db, None, None)
    made = slot.stands()
    slot.expire_lease()
    slot.streaming()
    assert slot.sql("SELECT %s::pg_lsn < %s::pg_lsn", made, slot.stands()) == [(True,)]
    slot.send(50)
    slot.judge()


def test_half_made_by_another_in_time(slot: SlotScene) -> None:
    """Between our look at a half-made slot and dropping it, a new owner has made it whole."""
    name = slot.db
    slot.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", name)
    slot.sql("UPDATE outbox_lease SET slot = %s", name)
    owner = slot.connect()
    cursor = owner.cursor()
    cursor.execute(
        "UPDATE outbox_lease SET epoch = epoch + 1, owner = gen_random_uuid(), ttl_ms = 60000,"
        " renewed_at = now(), slot_server = 'x', confirmed_lsn = pg_current_wal_lsn()"
    )
    checking = subprocess.Popen(
        [binary(), "check", "--fix"],
        env=environment(slot.relay_settings()),
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: slot.sql(_WAITING), "the command to wait for the lease")
    owner.commit()
    owner.close()
    said, _ = checking.communicate(timeout=30)
    assert "another relay owns the outbox" in said
    assert slot.sql("SELECT slot_name FROM pg_replication_slots") == [(name,)]
    slot.sql("SELECT pg_drop_replication_slot(%s)", name)


_WAITING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
    AND application_name LIKE 'outbox-relay%'
"""


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("ack_mode", ["delete"], indirect=True)
def test_ended_halfway_through_the_table(slot: SlotScene, ack_mode: str, how: str) -> None:
    """The rest of what the slot's snapshot sees is read by the next one, and then the log, in which
    are messages, rows, and rows that are gone."""
    slot.ack_mode = ack_mode
    held = halfway(slot, 5 * WINDOW // 2)
    relay = slot.relay(LEASE).wait_ready()
    connection = slot.connect()
    for _ in range(5):
        slot.send(10)
        slot.told(slot.insert(connection, 10))
        connection.cursor().execute("DELETE FROM outbox WHERE xid = pg_current_xact_id()")
        connection.commit()
        slot.write(10)
    wait_for(lambda: slot.oracle.seen() >= WINDOW, "a window of events to come", 30)
    position, snapshot = slot.lease().confirmed, slot.lease().snapshot
    if how == "stop":
        relay.process.signal(signal.SIGTERM)
        wait_for(lambda: relay.status()["state"] == "draining", "it to drain")
        held.rollback()
        assert relay.wait_exit() == 0
        relay.check()
    else:
        relay.kill()
        slot.lose_sessions()
        held.rollback()
    assert (slot.lease().confirmed, slot.lease().snapshot) == (position, snapshot)
    assert snapshot is not None
    slot.streaming(LEASE)
    slot.send(10)
    slot.judge(max_duplicates=WINDOW if how == "kill" else 0)
    slot.wait_stored()
    assert slot.lease().snapshot is None


@pytest.mark.parametrize("session", ["slot", "read"])
def test_a_session_ends_halfway_through_the_table(slot: SlotScene, session: str) -> None:
    """It goes on by itself, and nothing comes twice: what is held is known."""
    held = halfway(slot, 3 * WINDOW)
    relay = slot.relay().wait_ready()
    slot.send(10)
    wait_for(lambda: slot.oracle.seen() >= WINDOW, "a window of events to come", 30)
    assert slot.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE %s",
        f"outbox-relay {session}%",
    ) == [(True,)]
    relay.wait_log("logical decoding: " if session == "slot" else "PostgreSQL cannot be read")
    held.rollback()
    slot.wait_streaming(relay)
    slot.send(10)
    slot.judge()


def test_many_partitions_wait_for_their_first_record(slot: SlotScene) -> None:
    """The first record of a partition goes alone, and for what has to wait nothing begins again."""
    slot.kafka.create_topic(slot.topic, 30)
    slot.write(WINDOW, keys=300)
    relay = slot.streaming()
    slot.send(10)
    slot.judge()
    assert relay.log.read_text().count("is read from") == 1


# -- while the log is streamed ---------------------------------------------------------------------


def test_the_owner_is_killed(slot: SlotScene) -> None:
    """Another relay stands by, ends what the dead one's walsender still does, and goes on."""
    owner = slot.streaming(LEASE)
    standby = slot.relay(LEASE).wait_ready()
    with slot.log_load():
        walsender = slot.wait_streaming(owner)
        slot.wait_seen(200)
        owner.kill()
        slot.wait_streaming(standby, after=walsender)
        slot.wait_seen(200)
    slot.judge(max_duplicates=WINDOW)
    assert len(slot.walsenders()) == 1


def test_stopped_within_a_transaction(slot: SlotScene) -> None:
    """It is streamed to its end first: all of it would come again."""
    slot.kafka.create_topic(slot.topic, 3)
    relay = slot.streaming({"window.events": 100})
    slot.send(10)
    slot.judge()
    slot.send(3000)
    slot.wait_seen(200)
    relay.stop()
    slot.send(10)
    slot.streaming()
    slot.judge()


# -- another server --------------------------------------------------------------------------------


def test_a_promoted_standby_takes_the_address(kafka: Kafka, tmp_path: pathlib.Path) -> None:
    """It has no such slot, nor what came by it; the relay, which runs all the while, stops and says
    so. Begun anew, the rows that nobody has deleted come."""
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(Postgres(SERVER))
        scene = SlotScene(old, kafka, tmp_path)
        relay = scene.streaming(LEASE)
        scene.write(20)
        scene.send(20)
        scene.judge()
        scene.wait_stored()
        standby = stack.enter_context(old.copy(standby=True))
        stack.callback(scene.close)
        scene.postgres = standby
        old.stop("fast")  # it waits until the standby has everything
        standby.promote()
        standby.stop("fast")
        standby.take_port(old.port)
        standby.start()
        assert relay.wait_exit() == WRONG
        relay.check()
        said = way_to_begin_anew(relay)
        scene.write(20)
        for statement in said.split("; "):
            scene.sql(statement)
        scene.streaming(LEASE)
        scene.send(20)
        scene.judge()
        assert scene.lease().server == f"{system(scene)}/2"


def system(scene: SlotScene) -> int:
    return int(scene.sql("SELECT system_identifier FROM pg_control_system()")[0][0])


def way_to_begin_anew(relay: Relay) -> str:
    (said,) = complaints(relay)
    assert "another server, or another timeline of it" in said
    assert "slot_server" not in said, "no slot came along"
    found = re.search(r"To begin anew .*?\): (.*)$", said)
    assert found, said
    return found[1]
