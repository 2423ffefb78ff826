"""Orders whose events are committed with them, and a consumer that handles each event once."""

import os
import sys
import time
import uuid

import psycopg
from confluent_kafka import Consumer, KafkaException
from psycopg.types.json import Json

TABLES = """
CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY, item text NOT NULL, state text NOT NULL);
CREATE TABLE IF NOT EXISTS handled_by_python (event uuid PRIMARY KEY)"""


def set_state(db: psycopg.Connection, order: str, item: str, state: str) -> str:
    """The order's new state and the event about it, in the caller's transaction; the event's id."""
    # The row stays locked until the commit: that is what keeps the events of one order in order.
    upsert = "INSERT INTO orders VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET state = %s"
    db.execute(upsert, (order, item, state, state))
    payload = Json({"order": order, "item": item, "state": state})
    # A new trace; a service passes on that of its request, as OpenTelemetry's inject() does.
    headers = Json({"traceparent": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"})
    # For the topic outbox.event.order, with the order's id as key: Kafka keeps order within a key.
    emit = "SELECT outbox_emit('order', %s, %s, %s, %s)"
    return str(db.execute(emit, (order, f"Order{state}", payload, headers)).fetchone()[0])


def consume(db: psycopg.Connection, order: str, last: str) -> list[str]:
    """The ids of the order's events up to the last, each once however often Kafka has it."""
    settings = {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "group.id": "example-python",
        "auto.offset.reset": "earliest",  # a new group misses nothing that was there before it
        "enable.auto.commit": False,  # what has been read has not been handled yet
        "allow.auto.create.topics": True,  # it may be here before the first event
    }
    seen: list[str] = []
    end = time.monotonic() + float(os.environ.get("WAIT_SECONDS", "30"))
    with Consumer(settings) as consumer:
        consumer.subscribe(["outbox.event.order"])
        while last not in seen and time.monotonic() < end:
            if (record := consumer.poll(0.5)) is None:
                continue
            if record.error():
                raise KafkaException(record.error())
            headers = {name: value.decode() for name, value in record.headers() if value}
            with db.transaction():  # of the event's effect, which belongs in here
                done = "INSERT INTO handled_by_python VALUES (%s) ON CONFLICT DO NOTHING"
                fresh = db.execute(done, (headers["id"],)).rowcount == 1
            consumer.commit(record)
            if fresh and record.key() == order.encode():
                seen.append(headers["id"])
                print("received", headers["id"], headers["eventType"], headers["traceparent"])
    return seen


if __name__ == "__main__":
    try:  # With autocommit a transaction is what a block of transaction() holds, and no more.
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
            database.execute(TABLES)
            key = str(uuid.uuid4())
            with database.transaction():
                placed = set_state(database, key, "umbrella", "Placed")
            with database.transaction():
                lost = set_state(database, key, "umbrella", "Paid")
                raise psycopg.Rollback  # ends this block alone; another exception would go on
            with database.transaction():
                shipped = set_state(database, key, "umbrella", "Shipped")
            print(f"committed {placed}\nrolled back {lost}\ncommitted {shipped}")
            # One key is in order: with its last event here, one that is absent does not come.
            if consume(database, key, shipped) != [placed, shipped]:
                sys.exit("error: not all events came: see `outbox-relay status`")
            print("absent", lost)
    except (psycopg.Error, KafkaException) as error:
        sys.exit(f"error: {error}")
