"""Logical decoding: what commits comes out, in the order in which it commits, however it is written
and however the table and its publications change meanwhile."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from support.relay import Relay, release_binary
from support.wait import wait_for
from support.wal import WalScene
from support.writer import insert


def complaints(relay: Relay) -> list[str]:
    """What it warned of, but for its reason to poll."""
    lines = [line for line in relay.log_lines() if line["level"] in ("warn", "error")]
    return [line["msg"] for line in lines if "outbox_relay.notify" not in line["msg"]]


# -- streaming -----------------------------------------------------------------------------------


def test_streams_and_acknowledges(wal: WalScene, ack_mode: str) -> None:
    wal.ack_mode = ack_mode
    wal.write(300)  # these it finds in the table
    relay = wal.streaming()
    walsender = wal.wait_streaming(relay)
    relay.wait_metric("source_mode", 1, mode="wal")
    relay.wait_metric("source_mode", 1)
    for _ in range(20):
        wal.write(50)
    wal.judge()
    assert wal.sql("SELECT count(*) FROM outbox") == [(1300 if ack_mode == "mark" else 0,)]
    wal.wait_position(wal.lsn())
    assert wal.walsenders() == [walsender]
    assert relay.metric("swept_events_total") == 0
    assert not complaints(relay)
    relay.stop()
    wal.wait_no_slot()


def test_busy_neighbours_of_an_idle_outbox_hold_no_log(wal: WalScene) -> None:
    """Another table, and another database: of neither comes anything by the stream."""
    relay = wal.streaming()
    neighbours = [
        wal.connect(autocommit=True),
        wal.connect(wal.postgres.createdb(migrated=False), autocommit=True),
    ]
    for each in neighbours:
        each.cursor().execute("CREATE TABLE neighbour (fill text)")
    first = wal.lsn()
    for _ in range(5):
        for each in neighbours:
            each.cursor().execute(
                "INSERT INTO neighbour SELECT repeat('x', 1000) FROM generate_series(1, 2000)"
            )
            wal.wait_position(wal.lsn())

    def released() -> bool:
        wal.sql("CHECKPOINT")  # it writes down what runs: from there a slot can begin again
        return wal.sql(
            "SELECT restart_lsn > %s FROM pg_replication_slots WHERE database = current_database()",
            first,
        ) == [(True,)]

    wait_for(released, "the log to be released", 30)
    wal.write(20)
    wal.judge()
    assert wal.mode(relay) == "wal"
    assert not complaints(relay)


# -- order ---------------------------------------------------------------------------------------


def flowing(wal: WalScene) -> int:
    """The walsender of a relay that streams to a topic that is there: rows that wait for theirs are
    read from the table later, and so in the order of seq."""
    wal.kafka.create_topic(wal.topic, 3)
    return wal.wait_streaming(wal.streaming())


def test_the_first_to_commit_comes_first(wal: WalScene) -> None:
    """Nothing serialises these writers: the first to insert, and so the lower seq, commits last."""
    walsender = flowing(wal)
    one, two = wal.connect(), wal.connect()
    for _ in range(40):
        late = wal.insert(one, 7, keys=7)
        early = wal.insert(two, 7, keys=7)
        two.commit()
        one.commit()
        wal.told(early + late)
    wal.judge()
    assert wal.walsenders() == [walsender]


def test_commits_in_any_order(wal: WalScene, ack_mode: str) -> None:
    """Ten overlap at any time, each with several statements; some are rolled back."""
    wal.ack_mode = ack_mode
    walsender = flowing(wal)
    dice = random.Random(7)
    writers: list[Any] = [wal.connect() for _ in range(10)]
    written: list[list[tuple[str, str, str]]] = [[] for _ in writers]
    for _ in range(600):
        number = dice.randrange(len(writers))
        if dice.random() < 0.7:
            written[number] += wal.insert(writers[number], dice.randint(1, 4), keys=3)
        elif dice.random() < 0.8:
            writers[number].commit()
            wal.told(written[number])
            written[number] = []
        else:
            writers[number].rollback()
            for event_id, _, _ in written[number]:
                wal.oracle.rolled_back(event_id)
            written[number] = []
    for writer, events in zip(writers, written, strict=True):
        writer.commit()
        wal.told(events)
    wal.judge()
    assert wal.walsenders() == [walsender]


# -- changes of the table --------------------------------------------------------------------------


def test_columns_come_and_go(wal: WalScene, ack_mode: str) -> None:
    wal.ack_mode = ack_mode
    relay = wal.streaming()
    walsender = wal.wait_streaming(relay)
    with wal.load(pause_s=0.005):
        for change in (
            "ADD COLUMN tenant text",
            "ADD COLUMN weight int NOT NULL DEFAULT 7",
            "RENAME COLUMN tenant TO customer",
            "ALTER COLUMN weight TYPE text",
            "DROP COLUMN customer",
            "DROP COLUMN weight",
        ):
            wal.wait_seen(100)
            wal.sql(f"ALTER TABLE outbox {change}")
        wal.wait_seen(100)
    wal.judge()
    assert wal.walsenders() == [walsender]
    assert not complaints(relay)


def test_payloads(wal: WalScene) -> None:
    """Large ones are kept out of line and compressed in the table, and whole in the stream."""
    relay = wal.streaming()
    walsender = wal.wait_streaming(relay)
    dice = random.Random(1)
    text = '{"fill": "%s"}' % dice.randbytes(450 * 1024).hex()
    rows: list[tuple[dict[str, Any], bytes | None]] = [
        ({"payload": text}, text.encode()),
        ({"payload": '{"fill": "%s"}' % ("x" * 900_000)}, b'{"fill": "%s"}' % (b"x" * 900_000)),
        ({"payload_bytes": bytes(range(256)) * 3000}, bytes(range(256)) * 3000),
        ({"payload_bytes": b"\0\0\0\0\x07a\0b\0"}, b"\0\0\0\0\x07a\0b\0"),
        ({"payload_bytes": b""}, b""),
        ({"payload": ' {"b":1, "a" : 2} '}, b' {"b":1, "a" : 2} '),
        ({"payload": "null"}, b"null"),
        ({}, None),
    ]
    headers = {"tenant": "zürich", "nothing": None, "number": 7}
    connection = wal.connect()
    events = [
        (insert(connection, wal.aggregatetype, "key", headers=headers, **columns), value)
        for columns, value in rows
    ]
    connection.commit()
    wal.told((event_id, wal.topic, "key") for event_id, _ in events)
    wal.judge()
    for event_id, value in events:
        (record,) = wal.oracle.records_of(event_id)
        assert record.value == value
        named = dict(record.headers or [])
        assert named["tenant"] == "zürich".encode()
        assert named["nothing"] is None and named["number"] == b"7"
        assert named["eventType"] == b"Tested"
    assert wal.walsenders() == [walsender]


@pytest.mark.parametrize("publication", ["FOR TABLE outbox, other", "FOR ALL TABLES"])
def test_publications_of_more_than_the_outbox(
    wal: WalScene, ack_mode: str, publication: str
) -> None:
    """Of more tables, with UPDATE and DELETE, ours among them; and the outbox in another one too."""
    wal.ack_mode = ack_mode
    wal.sql("CREATE TABLE other (id int PRIMARY KEY, fill text)")
    wal.sql(f"CREATE PUBLICATION outbox_relay {publication}")
    wal.sql("CREATE PUBLICATION second FOR TABLE outbox")
    relay = wal.streaming()
    walsender = wal.wait_streaming(relay)
    connection = wal.connect()
    for turn in range(20):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO other VALUES (%s, 'new')", (turn,))
            events = wal.insert(connection, 10)
            cursor.execute("UPDATE other SET fill = 'changed', id = id + 1000")
            events += wal.insert(connection, 10)
            cursor.execute("DELETE FROM other")
        connection.commit()
        wal.told(events)
    wal.sql("TRUNCATE other")
    wal.write(10)
    wal.judge()
    assert wal.walsenders() == [walsender]
    assert not complaints(relay)


@pytest.mark.parametrize("ack_mode", ["mark"], indirect=True)
def test_truncate_under_load(wal: WalScene, ack_mode: str) -> None:
    """What was inserted after it comes, however close: its seqs are those of rows from before."""
    wal.ack_mode = ack_mode
    turns = 4
    wal.sql("CREATE TABLE generation (n int); INSERT INTO generation VALUES (0)")
    relay = wal.streaming()
    epoch = wal.sql("SELECT epoch FROM outbox_lease")[0][0]
    failures: list[BaseException] = []
    counts = [0] * 4
    truncations = 0

    def write(number: int, stop: threading.Event) -> None:
        try:
            connection = wal.postgres.connect(wal.db)
            while not stop.is_set():
                key = f"key-{number}-{counts[number]}"
                event_id = insert(connection, wal.aggregatetype, key, payload="{}")
                with connection.cursor() as cursor:  # a snapshot from behind the table's lock
                    cursor.execute("SELECT n FROM generation")
                    survives = cursor.fetchone()[0] > truncations
                connection.commit()
                counts[number] += 1
                wal.oracle.committed(event_id, wal.topic, key, required=survives)
            connection.close()
        except BaseException as failure:
            failures.append(failure)

    truncating = wal.connect()
    for truncations in range(turns):
        stop = threading.Event()
        threads = [threading.Thread(target=write, args=(n, stop)) for n in range(len(counts))]
        for thread in threads:
            thread.start()
        for last in (False, True):
            goal = sum(counts) + 300
            wait_for(lambda goal=goal: sum(counts) > goal or failures, "a load")
            if not last:
                with truncating.cursor() as cursor:
                    cursor.execute("TRUNCATE outbox RESTART IDENTITY")
                    cursor.execute("UPDATE generation SET n = n + 1")
                truncating.commit()
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        wal.oracle.wait(30)
    wal.judge(max_duplicates=turns * 1000)
    assert wal.sql("SELECT epoch FROM outbox_lease") == [(epoch + turns,)]
    assert relay.log_match("the table was truncated")
    wal.wait_streaming(relay)


# -- very many -------------------------------------------------------------------------------------


def test_250000_events_in_one_transaction_in_160_mb(
    wal: WalScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOX_RELAY_BIN", str(release_binary()))
    relay = wal.streaming({"window.events": 50_000})
    connection = wal.connect()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox (aggregatetype, aggregateid, type, payload)"
            " SELECT %s, 'key-' || n %% 500, 'Tested', ('{\"n\": ' || n || '}')::json"
            " FROM generate_series(1, 250000) AS n RETURNING id::text, aggregateid",
            (wal.aggregatetype,),
        )
        events = cursor.fetchall()
    connection.commit()
    wal.told((event_id, wal.topic, key) for event_id, key in events)
    wal.judge(timeout=120)
    peak = relay.peak_rss_kib()
    print(f"{peak / 1024:.0f} MiB resident")
    assert peak < 160 * 1024, f"{peak / 1024:.0f} MiB were resident"
    wal.wait_streaming(relay)
