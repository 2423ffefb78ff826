"""Service, relay and people, each logged in as a role of its own, by outbox_grant(); and what the
relay and people write passes the guard, or is told why not."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay, command
from support.scene import WINDOW, Scene
from support.wait import wait_for

LARGE = '"' + "x" * 300_000 + '"'  # for the guard it is not, for the topic it is
LIMITS = {"max.message.bytes": "100000"}


class Roles(Scene):
    """A scene whose services, relay and people have the rights of their kind and no others."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.kafka.create_topic(self.topic, 3, LIMITS)
        for kind in ("writer", "relay", "admin"):
            self.sql(f"CREATE ROLE {self.role(kind)} LOGIN")
            self.sql("SELECT outbox_grant(%s, %s)", kind, self.role(kind))

    def role(self, kind: str) -> str:
        return f"{kind}_{self.db}"

    def publish(self, **settings: Any) -> Relay:
        own = {"postgres.uri": self.postgres.uri(self.db, user=self.role("relay"))}
        return self.relay({**own, **settings}).wait_ready()

    def serve(self, count: int, **columns: Any) -> list[str]:
        """Written as the service; their ids."""
        connection = self.postgres.connect(self.db, user=self.role("writer"))
        with connection:
            events = self.insert(connection, count, keys=4, **columns)
        connection.close()
        self.told(events)
        return [event_id for event_id, _, _ in events]

    def run(self, *arguments: str, as_: str = "admin", code: int = 0) -> str:
        done = command(
            *arguments,
            settings={
                "postgres.uri": self.postgres.uri(self.db, user=self.role(as_)),
                "kafka.bootstrap.servers": self.kafka.bootstrap,
                "ack.mode": self.ack_mode,
            },
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def listed(self) -> list[dict[str, Any]]:
        return json.loads(self.run("dead", "list", "--json"))


@pytest.fixture
def roles(
    postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path, ack_mode: str
) -> Iterator[Roles]:
    made = Roles(postgres, kafka, tmp_path, ack_mode=ack_mode)
    yield made
    made.close()


def test_each_role_can_do_its_work(roles: Roles) -> None:
    """Written, published, parked, looked at, retried and discarded."""
    for role in ("relay", "admin"):
        roles.run("check", as_=role)
    relay = roles.publish(**{"failure.policy": "park"})
    roles.serve(50)
    (bad,) = roles.serve(1, payload=LARGE)
    roles.serve(20)
    wait_for(lambda: len(roles.listed()) == 1, "a parked event", 30)
    assert bad in roles.run("dead", "show", bad, "--payload")
    assert bad in roles.run("doctor", code=75)
    roles.sql("UPDATE outbox SET payload = '1' WHERE id = %s", bad)
    roles.run("dead", "retry", "--all")
    roles.oracle.wait(30)
    (lost,) = roles.serve(1, payload=LARGE)
    wait_for(lambda: len(roles.listed()) == 1, "another one", 30)
    roles.run("dead", "discard", lost, "--reason", "no such order")
    roles.oracle.forget(lost)
    relay.wait_metric("parked_events", 0)
    roles.serve(20)
    roles.judge(max_duplicates=WINDOW)
    done = roles.sql("SELECT id::text, discarded_by FROM outbox_discarded")
    assert done == [(lost, roles.role("admin"))]


@pytest.mark.parametrize("ack_mode", ["delete"])
def test_what_the_relay_writes_passes_the_guard(roles: Roles) -> None:
    """The copies of dead events may be as bad as they are; a dead one comes back only mended."""
    roles.sql(f"GRANT INSERT ON outbox TO {roles.role('relay')}")
    roles.publish(**{
        "failure.policy": "dead-letter", "failure.dead_letter_topic": "${topic}.dead"
    })
    (large,) = roles.serve(1, payload=LARGE)
    wrong = around_the_guard(roles, topic="not allowed")
    roles.serve(10)
    wait_for(lambda: len(roles.listed()) == 3, "the dead, and the copy without a topic", 30)
    dead = {each["id"]: each for each in roles.listed()}
    assert dead.keys() > {large, wrong}
    said = roles.run("dead", "retry", "--all", code=65)
    assert "the event's topic is no name that Kafka allows" in said and wrong in said
    assert len(roles.listed()) == 3
    roles.sql("UPDATE outbox_dead SET topic = NULL WHERE id = %s", wrong)
    roles.run("dead", "retry", wrong)
    roles.oracle.committed(wrong, roles.topic, "key-0")
    roles.sql("UPDATE outbox_dead SET payload = '1' WHERE id = %s", large)
    roles.run("dead", "retry", large)
    roles.oracle.wait(30)
    wait_for(lambda: roles.unacknowledged() == 0, "every row to be acknowledged", 30)


def around_the_guard(roles: Roles, **columns: Any) -> str:
    """Written as the owner could, by the way that the guard's hint names."""
    connection = roles.postgres.connect(roles.db)
    with connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE outbox DISABLE TRIGGER outbox_guard")
        ((event_id, _, _),) = roles.insert(connection, 1, **columns)
        cursor.execute("ALTER TABLE outbox ENABLE TRIGGER outbox_guard")
    connection.close()
    return event_id
