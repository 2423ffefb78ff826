"""source.slot where the slot, the lease and the server do not fit together, or an event cannot be
published: the relay ends, says what it found, and each command that it names helps."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import LogicalReplicationConnection
from support.kafka import Kafka
from support.messages import emit
from support.postgres import Postgres
from support.refusal import RIGHT_MISSING, WRONG, complaints
from support.relay import REPOSITORY, command
from support.wait import wait_for
from support.wal import SERVER, WalScene

HALTED = 65
LEASE = {"lease.ttl_ms": 2000}
DROP = "SELECT pg_drop_replication_slot(%s)"
SLOT_SQL = REPOSITORY / "schema" / "slot.sql"


def message(wal: WalScene, key: str = "k", **fields: Any) -> str:
    connection = wal.connect()
    with connection, connection.cursor() as cursor:
        event_id = emit(cursor, wal.aggregatetype, key, **fields)
    wal.oracle.committed(event_id, wal.topic, key)
    return event_id


def used(wal: WalScene) -> dict[str, Any]:
    """A slot that was read, and is let go; its settings."""
    settings = wal.slot_settings()
    relay = wal.streaming(settings)
    message(wal)
    wal.judge()
    relay.stop()
    wait_for(lambda: not wal.walsenders(), "the walsender to end")
    return settings


def refusal(wal: WalScene, settings: dict[str, Any]) -> str:
    """The one error with which it ends."""
    relay = wal.relay(settings)
    assert relay.wait_exit() == WRONG
    relay.check()
    said = complaints(relay)
    assert len(said) == 1, said
    return said[0]


def commands(text: str) -> list[str]:
    """The ways on that an error names: of each its statements, in their order."""
    ways = [""]
    for way in re.split(r"(?:To begin anew|Or, to|To go on|If )", text)[1:]:
        found = re.findall(r"(?:SELECT pg_drop|UPDATE )[^;]*?(?=; |\. |, and |$)", way)
        ways.append("; ".join(found))
    return [way for way in ways if way]


# -- the slot and the lease ------------------------------------------------------------------------


def drop(wal: WalScene) -> None:
    wal.sql(DROP, wal.db)


def make_by_hand(wal: WalScene) -> None:
    drop(wal)
    wal.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", wal.db)


def move(wal: WalScene) -> None:
    wal.sql("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", wal.db)


def forget(wal: WalScene) -> None:
    wal.sql("UPDATE outbox_lease SET slot = NULL, confirmed_lsn = NULL")


def other_plugin(wal: WalScene) -> None:
    drop(wal)
    wal.sql("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", wal.db)
    wal.sql("UPDATE outbox_lease SET slot = NULL")


def rename(wal: WalScene) -> None:
    """source.slot is set to a new name."""
    old = f"{wal.db}_old"
    drop(wal)
    wal.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", old)
    wal.sql("UPDATE outbox_lease SET slot = %s", old)


SPOILT: dict[str, tuple[Callable[[WalScene], None], str]] = {
    "gone": (drop, "is gone, which was read up to"),
    "made anew by hand": (make_by_hand, "somebody moved it or made it anew"),
    "moved": (move, "somebody moved it or made it anew"),
    "unknown": (forget, "says nothing of it"),
    "another's plugin": (other_plugin, "is of plugin test_decoding"),
    "another timeline": (
        lambda wal: wal.sql("UPDATE outbox_lease SET slot_server = slot_server || '9'"),
        "another server, or another timeline of it",
    ),
    "ahead of the server": (
        lambda wal: wal.sql("UPDATE outbox_lease SET confirmed_lsn = 'FFF/0'"),
        "the server's log ends at",
    ),
    "another slot": (rename, "is the one that was read"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_refused_and_each_way_on(wal: WalScene, spoilt: str) -> None:
    spoil, says = SPOILT[spoilt]
    settings = used(wal)
    lease = wal.sql("SELECT slot, slot_server, confirmed_lsn::text FROM outbox_lease")[0]
    spoil(wal)
    said = refusal(wal, settings)
    assert says in said
    ways = commands(said) or re.findall(r"(SELECT pg_drop[^;]*?\))", said)
    assert ways, said
    for way in ways:
        # The spoilt state again, for each way but the first.
        if way is not ways[0]:
            wal.sql(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = %s AND active_pid IS NULL",
                wal.db,
            )
            wal.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", wal.db)
            wal.sql(
                "UPDATE outbox_lease SET slot = %s, slot_server = %s, slot_snapshot = NULL,"
                " confirmed_lsn = (SELECT confirmed_flush_lsn FROM pg_replication_slots"
                "  WHERE slot_name = %s)",
                lease[0],
                lease[1],
                wal.db,
            )
            spoil(wal)
            assert says in refusal(wal, settings)
        for statement in way.split("; "):
            wal.sql(statement)
        relay = wal.streaming(settings)
        message(wal)
        wal.judge()
        relay.stop()
        wait_for(lambda: not wal.walsenders(), "the walsender to end")


def test_invalidated(kafka: Kafka, tmp_path: pathlib.Path) -> None:
    limits = {"max_slot_wal_keep_size": "16MB", "max_wal_size": "32MB", "min_wal_size": "32MB"}
    with Postgres({**SERVER, **limits}) as server:
        wal = WalScene(server, kafka, tmp_path)
        try:
            settings = used(wal)
            wal.sql("CREATE TABLE neighbour (fill text)")
            for _ in range(4):
                wal.sql(
                    "INSERT INTO neighbour SELECT repeat('x', 1000) FROM generate_series(1, 30000)"
                )
                wal.sql("SELECT pg_switch_wal()")
                wal.sql("CHECKPOINT")
            wal.write(10)
            said = refusal(wal, settings)
            assert "has lost WAL" in said
            (way,) = commands(said)
            for statement in way.split("; "):
                wal.sql(statement)
            wal.streaming(settings)
            message(wal)
            wal.judge()
        finally:
            wal.close()


def test_read_by_somebody_else(wal: WalScene) -> None:
    """It is waited for, and says so."""
    settings = used(wal)
    reader = psycopg2.connect(
        wal.postgres.uri(wal.db), connection_factory=LogicalReplicationConnection
    )
    reader.cursor().start_replication(
        wal.db, options={"proto_version": "1", "publication_names": "outbox_relay"}
    )
    relay = wal.relay(settings)
    relay.wait_log(r"slot .* is in use by process \d+.*Events wait in the slot", 30)
    wait_for(lambda: "cannot be read" in (relay.status()["stall"] or ""), "the stall to show")
    message(wal)
    reader.close()
    wal.wait_streaming(relay)
    message(wal)
    wal.judge()


# -- events ----------------------------------------------------------------------------------------


BAD = {
    "not JSON": ("'secret-12'", "secret-12"),
    "no aggregatetype": ("""'{"aggregateid": "k", "type": "secret-12"}'""", "secret-12"),
    "too large": (
        """json_build_object('aggregatetype', '{kind}', 'aggregateid', 'k', 'type', 'T',
            'payload', repeat('x', 2000000))::text""",
        "xxxx",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_message_that_cannot_be_published(wal: WalScene, bad: str) -> None:
    """65 with its position, again and again, until its transaction is passed over by hand."""
    content, secret = BAD[bad]
    settings = {**wal.slot_settings(), **LEASE}
    relay = wal.streaming(settings)
    message(wal)
    connection = wal.connect()
    with connection, connection.cursor() as cursor:
        wal.oracle.rolled_back(emit(cursor, wal.aggregatetype, "other"))
        cursor.execute(
            "SELECT pg_logical_emit_message(true, 'outbox', "
            + content.replace("{kind}", wal.aggregatetype) + ")"
        )
    message(wal)
    said = ""
    for _ in range(2):
        assert relay.wait_exit() == HALTED
        relay.check()
        (said,) = complaints(relay)
        assert re.search(r"the logical message at [0-9A-F]+/[0-9A-F]+ cannot be published", said)
        assert secret not in relay.log.read_text()
        relay = wal.relay(settings)
    assert relay.wait_exit() == HALTED
    found = re.search(r"(UPDATE public\.outbox_lease .*)$", said)
    assert found, said
    wal.sql(found[1])
    wal.streaming(settings)
    message(wal)
    wal.oracle.wait(60)
    # What went out of the bad transaction before it halted is no phantom: it committed.
    ids = {record.id for record in wal.oracle.records} - set(wal.oracle.events)
    assert len(ids) <= 1


def test_a_topic_that_is_away_holds_up_the_stream(
    wal_server: Postgres, tmp_path: pathlib.Path
) -> None:
    with Kafka(auto_create=False) as broker:
        wal = WalScene(wal_server, broker, tmp_path)
        try:
            broker.create_topic(wal.topic, partitions=2)
            relay = wal.streaming(wal.slot_settings())
            message(wal)
            late = f"{wal.aggregatetype}-late"
            for turn in range(20):
                connection = wal.connect()
                with connection, connection.cursor() as cursor:
                    event_id = emit(cursor, late, f"k{turn % 3}")
                wal.oracle.committed(event_id, f"outbox.event.{late}", f"k{turn % 3}")
                message(wal)
            wait_for(
                lambda: f"waits for topic outbox.event.{late}" in (relay.status()["stall"] or ""),
                "the stall to show",
            )
            assert relay.get("/livez")[0] == 200
            broker.create_topic(f"outbox.event.{late}", partitions=2)
            wal.judge()
            broker.delete_topic(wal.topic)
            broker.create_topic(wal.topic, partitions=2)
            relay.wait_metric("kafka_up", 1)
            assert relay.exit_code is None
        finally:
            wal.close()


# -- check -----------------------------------------------------------------------------------------


def check(wal: WalScene, *flags: str, user: str | None = None) -> tuple[int, str]:
    uri = wal.postgres.uri(wal.db, user=user) if user else wal.postgres.uri(wal.db)
    settings = {
        "postgres.uri": uri,
        "kafka.bootstrap.servers": wal.kafka.bootstrap,
        **wal.slot_settings(),
    }
    done = command("check", "--json", *flags, settings=settings)
    lines = json.loads(done.stdout)
    return done.returncode, "\n".join(x["message"] for x in lines if x["check"] == "decoding")


def test_check_makes_it(wal: WalScene) -> None:
    """What waits is read, what commits since is streamed, messages included; once each."""
    wal.kafka.create_topic(wal.topic, partitions=2)
    wal.write(20)
    assert "not there yet" in check(wal)[1]
    code, said = check(wal, "--fix")
    assert (code, "was made" in said) == (0, True), said
    wal.write(20)
    message(wal)
    assert "there, and nobody reads it" in check(wal)[1]
    code, said = check(wal, "--fix")
    assert (code, "was made" in said) == (0, False), said
    relay = wal.streaming(wal.slot_settings())
    message(wal)
    wal.judge()
    assert "is being read" in check(wal, "--fix")[1]
    message(wal)
    wal.judge()
    relay.stop()
    move(wal)
    wal.sql("UPDATE outbox_lease SET confirmed_lsn = '0/1'")
    code, said = check(wal)
    assert code == WRONG
    assert "somebody moved it" in said


def test_check_without_the_rights(wal: WalScene) -> None:
    role = f"poor_{wal.db}"
    wal.sql(
        f"CREATE ROLE {role} LOGIN; GRANT SELECT, DELETE ON outbox TO {role};"
        f" GRANT SELECT, UPDATE ON outbox_lease TO {role};"
        f" GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_parked TO {role}"
    )
    code, said = check(wal, "--fix", user=role)
    assert code == RIGHT_MISSING
    assert f'ALTER ROLE "{role}" REPLICATION' in said
    assert not wal.slots()


def test_fix_while_a_relay_owns_the_outbox(wal: WalScene) -> None:
    """That one is not set to it."""
    wal.relay({"source.mode": "table"}).wait_ready()
    code, said = check(wal, "--fix")
    assert code == 69
    assert "another relay owns the outbox" in said
    assert not wal.slots()
    wal.write(10)
    wal.judge()


def test_made_by_sql(wal: WalScene) -> None:
    wal.write(20)
    settings = wal.slot_settings()
    subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", f"slot={wal.db}"]
        + ["-v", "publication=outbox_relay", "-f", SLOT_SQL, wal.postgres.uri(wal.db)],
        check=True,
        capture_output=True,
    )
    message(wal)
    wal.write(20)
    wal.streaming(settings)
    message(wal)
    wal.judge()

