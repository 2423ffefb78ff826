"""The main job: a committed row comes out of Kafka once, a rolled-back one never does."""

from __future__ import annotations

from collections.abc import Callable

from support.oracle import Oracle
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for
from support.writer import Load, insert


def test_committed_events_come_out_and_a_rolled_back_one_does_not(
    postgres: Postgres,
    db: str,
    topic_prefix: str,
    oracle: Oracle,
    relay_factory: Callable[..., Relay],
) -> None:
    relay = relay_factory().wait_ready()
    topic = f"outbox.event.{topic_prefix}"
    connection = postgres.connect(db)
    payload = '{"b": 1,  "a": [1.0, "ü"]}'
    for number in range(20):
        key = f"key {number % 3}"
        if number == 11:
            oracle.rolled_back(insert(connection, topic_prefix, key, payload=payload))
            connection.rollback()
        else:
            event_id = insert(
                connection, topic_prefix, key, payload=payload, type="Made", headers={"h": "v"}
            )
            connection.commit()
            oracle.committed(event_id, topic, key)
    oracle.wait(30)
    oracle.verify()
    for record in oracle.records:
        assert record.value == payload.encode(), "JSON text is preserved to the byte"
        assert record.headers == [("id", record.id.encode()), ("eventType", b"Made"), ("h", b"v")]

    def waiting() -> int:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM outbox")
            return cursor.fetchone()[0]

    wait_for(lambda: waiting() == 0, "the confirmed rows to be gone")
    connection.close()
    relay.wait_metric("acknowledged_events_total", 19)
    relay.stop()


def test_concurrent_writers(
    postgres: Postgres,
    db: str,
    topic_prefix: str,
    oracle: Oracle,
    relay_factory: Callable[..., Relay],
) -> None:
    relay_factory().wait_ready()
    with Load(lambda: postgres.connect(db), oracle, aggregatetype=topic_prefix, threads=8) as load:
        wait_for(lambda: load.committed >= 2000, "2000 commits", 60)
    assert load.rolled_back > 0
    oracle.wait(30)
    oracle.verify()
