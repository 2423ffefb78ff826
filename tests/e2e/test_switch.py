"""From Debezium to the relay, under load, on the position of Debezium's slot: nothing is lost, nothing
comes out of order, and twice at most what Debezium had not confirmed. The steps are those of
schema/README.md."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.adopted import DEBEZIUM, documented, migrate, run, shell
from support.debezium import Debezium
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import command
from support.scene import Scene
from support.wait import wait_for
from support.writer import Load

_PASSED = """
SELECT s.confirmed_flush_lsn >= l.confirmed_lsn FROM outbox_lease l, pg_replication_slots s
WHERE s.slot_name = %s
"""
_FREE = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND NOT active"

# Says of each try, until there is none, whether it could be dropped.
_DROP = """
SELECT CASE WHEN NOT active THEN pg_drop_replication_slot(slot_name) END
FROM pg_replication_slots WHERE slot_name = %s
"""


class DeletingLoad(Load):
    """Every other event's row is deleted by the transaction that writes it."""

    def _write(self, connection: Any, key: str, turn: int) -> tuple[str, str, int] | None:
        written = super()._write(connection, key, turn)
        if written is not None and turn % 2 == 0:
            connection.cursor().execute("DELETE FROM outbox WHERE id = %s", (written[0],))
        return written


class SwitchScene(Scene):
    """An outbox of Debezium's, and Debezium publishing from it."""

    def __init__(
        self, postgres: Postgres, kafka: Kafka, folder: pathlib.Path, debezium: Debezium
    ) -> None:
        super().__init__(postgres, kafka, folder)
        self.db = postgres.createdb(migrated=False)
        self.sql(DEBEZIUM.format(table="outbox"))
        kafka.create_topic(self.topic, 4)
        self.slot = f"debezium_{self.db}"
        self.debezium = debezium
        self.debezium.add(self.slot, postgres, self.db, {})

    def deleting_load(self) -> Load:
        options = {"aggregatetype": self.aggregatetype, "pause_s": 0.001}
        return DeletingLoad(lambda: self.postgres.connect(self.db), self.oracle, **options)

    def wait_passed(self) -> None:
        """Until Debezium has confirmed an event from after the migration."""
        wait_for(lambda: self.sql(_PASSED, self.slot)[0][0], "Debezium to pass the migration", 30)

    def wait_free(self) -> None:
        """Until the server knows that Debezium has ended."""
        wait_for(lambda: self.sql(_FREE, self.slot)[0][0] == 1, "the slot to be free", 30)

    def refused(self) -> str:
        done = command(
            "adopt", "--slot", self.slot, settings={"postgres.uri": self.postgres.uri(self.db)}
        )
        assert done.returncode != 0 and not done.stdout
        return done.stderr

    def judge_all(self, max_duplicates: int) -> None:
        self.oracle.wait(60)
        self.oracle.verify(max_duplicates)
        print(
            f"{len(self.oracle.events)} events, {self.oracle.duplicates()} duplicates"
            f" of {max_duplicates} allowed"
        )

    def close(self) -> None:
        self.debezium.remove(self.slot)
        super().close()
        wait_for(lambda: not self.sql(_DROP, self.slot), "the slot to be gone", 30)


@pytest.fixture
def scene(
    wal_server: Postgres, kafka: Kafka, tmp_path: pathlib.Path, debezium: Debezium
) -> Iterator[SwitchScene]:
    made = SwitchScene(wal_server, kafka, tmp_path, debezium)
    yield made
    made.close()


# What Debezium publishes within its offset.flush.interval.ms, and what was on its way then.
UNCONFIRMED = 2000


def test_the_relay_leaves_a_stopped_debeziums_slot_for_the_table(
    scene: SwitchScene, tmp_path: pathlib.Path
) -> None:
    """The services keep their rows, and mark mode does. In the words of schema/README.md."""
    migration, take_over = documented("Coming from Debezium", "sh")
    (rights,) = documented("Coming from Debezium", "sql")
    settle, forget = documented("Leaving the slot for the table", "sql")
    with scene.load() as load:
        scene.wait_seen(300)
        assert "not adopted yet" in scene.refused()
        settings = shell(scene.postgres, scene.db, tmp_path, migration)
        scene.sql("DO $$ BEGIN CREATE ROLE relay LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
        scene.sql("ALTER ROLE relay LOGIN")
        run(scene.postgres, scene.db, rights)
        settings |= {"postgres.uri": scene.postgres.uri(scene.db, user="relay")}
        scene.wait_passed()
        assert "is being read by process" in scene.refused()
        scene.wait_seen(300)
        scene.debezium.end(scene.slot)
        scene.wait_free()
        take_over = take_over.replace("--slot debezium", f"--slot {scene.slot}")
        shell(scene.postgres, scene.db, tmp_path, take_over)
        settings |= {"ack.mode": "mark"}
        relay = scene.relay({**settings, "source.slot": scene.slot}).wait_ready()
        scene.wait_seen(300)
        run(scene.postgres, scene.db, settle)
        relay.stop()
        before = scene.oracle.duplicates()
        run(scene.postgres, scene.db, forget.replace("'debezium'", f"'{scene.slot}'"))
        scene.relay(settings).wait_ready()
        scene.wait_seen(300)
        load.stop()
    scene.ack_mode = "mark"
    scene.judge(UNCONFIRMED)
    assert scene.oracle.duplicates() == before


def test_a_debezium_that_was_killed_is_followed_on_its_slot(scene: SwitchScene) -> None:
    """With its publication. Half of the rows are gone when their transactions have committed: the
    relay stays on the slot."""
    own = {"source_publication": f"{scene.slot}_publication"}
    with scene.deleting_load() as load:
        scene.wait_seen(300)
        migrate(scene.postgres, scene.db, **own)
        scene.wait_passed()
        scene.wait_seen(300)
        scene.debezium.kill()
        scene.wait_free()
        settings = migrate(scene.postgres, scene.db, "--slot", scene.slot, **own)
        relay = scene.relay({**settings, "ack.mode": "delete"}).wait_ready()
        scene.wait_seen(500)
        load.stop()
    scene.judge_all(UNCONFIRMED)
    relay.stop()
