"""A partitioned outbox: what was published goes by whole partitions, what was not stays."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.scene import WINDOW, Scene
from support.wait import wait_for
from support.wal import WalScene

ROLES = "DO $$ BEGIN CREATE ROLE retained LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(postgres, kafka, tmp_path, ack_mode="mark")
    yield made
    made.close()


def as_relay(scene: Scene) -> dict[str, Any]:
    """Settings of a relay whose role owns nothing."""
    scene.sql(ROLES)
    scene.sql("SELECT outbox_grant('relay', 'retained')")
    return {"postgres.uri": scene.postgres.uri(scene.db, user="retained")}


def partition(scene: Scene, width: str = "2 s", keep: str = "2 s") -> list[str]:
    return [line for (line,) in scene.sql("SELECT outbox_partition(%s, %s)", width, keep)]


def partitions(scene: Scene) -> list[str]:
    rows = scene.sql(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'outbox'::regclass ORDER BY 1"
    )
    return [name for (name,) in rows]


def retain(scene: Scene) -> list[str]:
    return [line for (line,) in scene.sql("SELECT outbox_retain()")]


class Cron:
    """Calls outbox_retain() over and over, and remembers what it said."""

    def __init__(self, scene: Scene, pause_s: float = 0.3) -> None:
        self.lines: list[str] = []
        self._scene = scene
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Cron:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        if self._failure is not None:
            raise self._failure

    def dropped(self) -> int:
        return sum(line.startswith("dropped ") for line in self.lines)

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause_s):
                self.lines += retain(self._scene)
        except BaseException as error:
            self._failure = error


def test_a_running_relay_goes_on_when_the_table_is_partitioned(scene: Scene) -> None:
    """Under load, and repeats nothing: the rows are the same."""
    relay = scene.relay(as_relay(scene)).wait_ready()
    with scene.load() as load:
        scene.wait_seen(500)
        said = partition(scene)
        scene.wait_seen(1000)
    assert said[0].startswith("partitioned public.outbox: public.outbox_before has all")
    assert load.committed > 1000
    assert relay.log_match("the table was partitioned; its rows are the same")
    scene.judge(0)


def test_a_relay_that_sleeps_is_woken_through_the_new_table(scene: Scene) -> None:
    settings = {**as_relay(scene), "source.poll_interval_ms": 60000}
    relay = scene.relay(settings).wait_ready()
    scene.write(1)
    scene.oracle.wait(20)
    wait_for(lambda: relay.status()["source"]["sleeping"], "the relay to sleep")
    partition(scene)
    wait_for(
        lambda: relay.log_match("its rows are the same") and relay.status()["source"]["sleeping"],
        "the relay to sleep at the new table",
    )
    scene.write(1)
    scene.oracle.wait(5)
    scene.judge(0)


def test_old_partitions_go_under_load_through_crashes_of_the_relay(scene: Scene) -> None:
    """Round after round by cron beside the relay; each new relay calls it as well. The table does
    not grow: what is kept is what was written in the last seconds."""
    settings = as_relay(scene)
    partition(scene)
    relay = scene.relay(settings).wait_ready()
    crashes = 0
    with Cron(scene) as cron, scene.load(rollback_every=7):
        for goal in (2, 4, 6):
            wait_for(lambda: cron.dropped() >= goal, f"{goal} dropped partitions", 60)
            relay.kill()
            crashes += 1
            relay = scene.relay(settings).wait_ready()
        wait_for(lambda: cron.dropped() >= 8, "8 dropped partitions", 60)
    scene.judge(crashes * WINDOW)
    retain(scene)
    kept, row, size, tables = scene.sql(
        "SELECT count(*), coalesce(avg(pg_column_size(o.*)), 0)::float, (SELECT sum("
        "pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'outbox'::regclass)"
        "::float, (SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox'::regclass)"
        " FROM outbox AS o"
    )[0]
    assert kept < len(scene.oracle.events) / 2
    # A row is there twice, unpublished and published, with an entry in each of three indexes; an
    # empty partition has a page of each of them, and of its TOAST table.
    assert size <= tables * 64 * 1024 + kept * 4 * (row + 100), (kept, row, size, tables)


def test_the_relay_does_it_by_itself(scene: Scene) -> None:
    """As its role may; it says so in the log, in metrics and in its status."""
    settings = as_relay(scene)
    partition(scene)
    scene.relay(settings).wait_ready()
    scene.write(50)
    scene.judge(0)
    scene.relays[0].stop()
    wait_for(
        lambda: scene.sql("SELECT max(created_at) < now() - interval '5 s' FROM outbox")[0][0],
        "the events to be old",
    )
    relay = scene.relay(settings).wait_ready()
    relay.wait_log("dropped public.outbox_before")
    wait_for(lambda: relay.metric("partitions_dropped_total") >= 1, "the metric")
    assert relay.metric("retention_failing") == 0
    assert relay.status()["retention"]["failing"] is False
    assert scene.sql("SELECT count(*) FROM outbox") == [(0,)]


def test_nothing_unpublished_goes_while_kafka_is_away(scene: Scene) -> None:
    """However old: it is published once Kafka is back, and goes then."""
    settings = as_relay(scene)
    events = scene.write(200)
    partition(scene)
    scene.relay({**settings, "kafka.bootstrap.servers": "127.0.0.1:9"})
    with Cron(scene) as cron:
        wait_for(
            lambda: "kept public.outbox_before: it has unpublished events" in cron.lines
            and cron.dropped() >= 2,
            "retention to pass over the events",
            60,
        )
    assert scene.sql("SELECT count(*) FROM outbox WHERE published_at IS NULL") == [(len(events),)]
    scene.relays[0].terminate()
    scene.relay(settings).wait_ready()
    scene.judge(0)
    retain(scene)
    assert "outbox_before" not in partitions(scene)


# -- logical decoding ------------------------------------------------------------------------------


@pytest.fixture
def streamed(wal_server: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[WalScene]:
    made = WalScene(wal_server, kafka, tmp_path, ack_mode="mark")
    yield made
    made.close()


@pytest.mark.parametrize("named", [False, True], ids=["temporary", "named"])
def test_the_stream_goes_on_through_the_partitioned_table(streamed: WalScene, named: bool) -> None:
    """What was written to the table that became a partition comes as well as what was written
    since; nothing is left to the sweep, which a named slot has not got."""
    settings = streamed.slot_settings() if named else {}
    relay = streamed.streaming(settings)
    with Cron(streamed) as cron, streamed.load() as load:
        streamed.wait_seen(300)
        partition(streamed)
        wait_for(lambda: cron.dropped() >= 2, "partitions to be dropped", 60)
    assert load.committed > 1000
    streamed.judge(0 if named else WINDOW)
    assert streamed.mode(relay) == "wal"
    assert relay.metric("swept_events_total") == 0
    assert not relay.log_match('"level":"error"')


def test_a_slot_that_was_written_to_before_and_since_is_read_whole(streamed: WalScene) -> None:
    """No relay was there when the table was partitioned: the old name's rows are in the slot."""
    settings = streamed.slot_settings()
    relay = streamed.streaming(settings)
    streamed.write(5)
    streamed.judge(0)
    relay.stop()
    streamed.write(50)
    partition(streamed, "1 day")
    streamed.write(50)
    streamed.streaming(settings)
    streamed.judge(5)


def test_a_publication_of_the_partitions_is_named_with_its_remedy(streamed: WalScene) -> None:
    partition(streamed, "1 day")
    streamed.sql("CREATE PUBLICATION outbox_relay FOR TABLE outbox WITH (publish = 'insert, truncate')")
    relay = streamed.relay()
    remedy = relay.wait_log(
        r"has the partitions of public.outbox in place of it: (ALTER PUBLICATION [^\n]*? true\))"
    )[1].replace("\\", "")
    assert relay.wait_exit() == 78
    streamed.sql(remedy)
    streamed.relays.remove(relay)
    streamed.streaming()
    streamed.write(10)
    streamed.judge(0)
