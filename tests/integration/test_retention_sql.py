"""Retention: the outbox becomes partitioned as it is, and what goes is old and published, all of it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from support.postgres import MIGRATIONS, REPOSITORY, Postgres, PostgresError
from support.schema import dump
from support.wait import wait_for

INSERT = (
    "INSERT INTO outbox (aggregatetype, aggregateid, type, payload, created_at)"
    " VALUES ('a', 'k', 't', '{}', clock_timestamp() + %s::interval) RETURNING seq"
)
PARTITIONS = (
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'outbox'::regclass ORDER BY 1"
)
READMES = [
    (REPOSITORY / "README.md", r"\n### Retention\n(.*?)\n## "),
    (REPOSITORY / "schema" / "README.md", r"\n## Retention\n(.*)"),
]
UP = MIGRATIONS / "0005_retention.up.sql"
DOWN = MIGRATIONS / "0005_retention.down.sql"


class Table:
    """One outbox, asked by a session of its own."""

    def __init__(self, server: Postgres, db: str) -> None:
        self.server = server
        self.db = db
        self._open: list[Any] = []
        self.session = self.connect(autocommit=True)

    def connect(self, **options: Any) -> Any:
        self._open.append(self.server.connect(self.db, **options))
        return self._open[-1]

    def close(self) -> None:
        for connection in self._open:
            connection.close()

    def rows(self, sql: str, *arguments: Any, on: Any = None) -> list[tuple[Any, ...]]:
        with (on or self.session).cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def texts(self, sql: str, *arguments: Any) -> list[str]:
        return [text for (text,) in self.rows(sql, *arguments)]

    def write(self, age: str = "0 s", on: Any = None) -> int:
        return int(self.rows(INSERT, f"-{age}", on=on)[0][0])

    def publish(self, *seqs: int) -> None:
        self.rows("UPDATE outbox SET published_at = now() WHERE seq = ANY (%s)", list(seqs))

    def partition(self, width: str = "1 day", keep: str | None = None) -> list[str]:
        return self.texts("SELECT outbox_partition(%s, %s)", width, keep)

    def retain(self) -> list[str]:
        return self.texts("SELECT outbox_retain()")

    def seqs(self) -> list[int]:
        return [seq for (seq,) in self.rows("SELECT seq FROM outbox ORDER BY seq")]

    def make_old(self, name: str, days: int) -> None:
        """One partition more, for the day that long ago."""
        self.rows("CREATE TABLE IF NOT EXISTS outbox_now AS SELECT date_trunc('day', now()) AS at")
        self.rows(
            f"CREATE TABLE {name} (LIKE outbox INCLUDING ALL EXCLUDING IDENTITY EXCLUDING INDEXES);"
            f" DO $$ DECLARE d timestamptz := (SELECT at FROM outbox_now) - interval '{days} d';"
            f" BEGIN EXECUTE format('ALTER TABLE outbox ATTACH PARTITION {name}"
            " FOR VALUES FROM (%L) TO (%L)', d, d + interval '1 d'); END $$"
        )


@pytest.fixture
def table(postgres: Postgres, db: str) -> Iterator[Table]:
    with contextlib.closing(Table(postgres, db)) as made:
        yield made


@pytest.fixture
def days(table: Table) -> Table:
    """Partitioned by days from 9 days ago on, with room for a row of each."""
    table.partition(keep="2 d")
    table.rows("DROP TABLE outbox_before")
    for ago in range(1, 10):
        table.make_old(f"outbox_old{ago}", ago)
    return table


# -- to a partitioned table, and back --------------------------------------------------------------


def test_all_rows_stay_and_numbers_go_on(table: Table) -> None:
    before = [table.write() for _ in range(5)]
    table.publish(*before[:3])
    was = table.rows("SELECT * FROM outbox ORDER BY seq")
    table.partition()
    assert table.rows("SELECT * FROM outbox ORDER BY seq") == was
    assert table.write() == before[-1] + 1
    assert table.rows("SELECT seqcache FROM pg_sequences, pg_sequence LIMIT 1") == [(1,)]


def test_writers_beside_it_lose_nothing_and_none_fails(table: Table) -> None:
    stop = threading.Event()

    def write() -> list[int]:
        session = table.connect(autocommit=True)
        seqs = []
        while not stop.is_set():
            seqs.append(table.write(on=session))
        return seqs

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write) for _ in range(4)]
        wait_for(lambda: len(table.seqs()) > 200, "rows before it")
        table.partition("1 s")
        before = len(table.seqs())
        wait_for(lambda: len(table.seqs()) > before + 200, "rows after it")
        stop.set()
        written = sorted(seq for writer in writers for seq in writer.result(20))
    assert table.seqs() == written


def test_it_is_the_same_table_in_all_that_others_see(table: Table) -> None:
    """Rights, triggers and whether they are enabled, indexes, comments, publications."""
    table.rows(
        "DO $$ BEGIN CREATE ROLE seen_writer; CREATE ROLE seen_relay;"
        " EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
        " GRANT INSERT (aggregatetype, aggregateid, type, payload) ON outbox TO seen_writer;"
        " GRANT SELECT, UPDATE (published_at) ON outbox TO seen_relay WITH GRANT OPTION;"
        " CREATE INDEX outbox_mine ON outbox (aggregateid) WHERE type <> 'x';"
        " ALTER TABLE outbox DISABLE TRIGGER outbox_wake;"
        " CREATE PUBLICATION mine FOR TABLE outbox WITH (publish = 'insert')"
    )
    look = (
        "SELECT 'acl', relacl::text FROM pg_class WHERE oid = 'outbox'::regclass"
        " UNION ALL SELECT attname, concat(attacl, col_description(attrelid, attnum), attnotnull)"
        " FROM pg_attribute WHERE attrelid = 'outbox'::regclass AND attnum > 0"
        " UNION ALL SELECT tgname, concat(pg_get_triggerdef(oid), tgenabled,"
        " obj_description(oid, 'pg_trigger')) FROM pg_trigger WHERE tgrelid = 'outbox'::regclass"
        " UNION ALL SELECT indexrelid::regclass::text, concat(replace(pg_get_indexdef(indexrelid),"
        " ' ONLY', ''), obj_description(indexrelid, 'pg_class')) FROM pg_index"
        " WHERE indrelid = 'outbox'::regclass AND NOT indisprimary"
        " UNION ALL SELECT pubname::text, tablename::text FROM pg_publication_tables"
        " UNION ALL SELECT 'comment', obj_description('outbox'::regclass) ORDER BY 1, 2"
    )
    was = table.rows(look)
    table.partition()
    assert table.rows(look) == was
    table.rows("SELECT outbox_unpartition()")
    assert table.rows(look) == was


def test_each_partition_is_stored_as_a_queue(table: Table) -> None:
    table.partition()
    options = table.rows(
        "SELECT DISTINCT c.reloptions, t.reloptions FROM pg_inherits h"
        " JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_class t ON t.oid = c.reltoastrelid"
        " WHERE h.inhparent = 'outbox'::regclass"
    )
    assert len(options) == 1
    assert "autovacuum_vacuum_scale_factor=0" in options[0][0]
    assert "autovacuum_vacuum_scale_factor=0" in options[0][1]


def test_there_and_back_leaves_the_catalog_as_it_was(table: Table) -> None:
    seqs = [table.write() for _ in range(3)]
    was = dump(table.server, table.db)
    rows = table.rows("SELECT * FROM outbox ORDER BY seq")
    table.partition()
    with pytest.raises(PostgresError, match=r"is partitioned[\s\S]*outbox_unpartition"):
        table.server.psql(table.db, file=DOWN)
    table.rows("SELECT outbox_unpartition()")
    assert table.rows("SELECT * FROM outbox ORDER BY seq") == rows
    assert table.write() == seqs[-1] + 1
    assert re.sub(r"START WITH \d+", "", dump(table.server, table.db)) == re.sub(
        r"START WITH \d+", "", was
    )


def test_what_would_stay_behind_is_named(table: Table) -> None:
    table.rows("CREATE VIEW seen AS SELECT id FROM outbox; CREATE UNIQUE INDEX once ON outbox (id)")
    with pytest.raises(psycopg2.errors.RaiseException, match="unique index public.once, view public"):
        table.partition()
    table.rows("DROP VIEW seen; DROP INDEX once")
    table.partition()
    with pytest.raises(psycopg2.errors.RaiseException, match="not a plain table"):
        table.partition()


def test_a_large_table_is_not_read_under_the_lock(table: Table) -> None:
    """A constraint that was validated beside writers says where it ends."""
    table.rows("ALTER TABLE outbox ADD COLUMN fill text; ALTER TABLE outbox ALTER fill SET STORAGE PLAIN")
    table.rows(
        "INSERT INTO outbox (aggregatetype, aggregateid, type, fill) SELECT 'a', 'k', 't',"
        " repeat('x', 7000) FROM generate_series(1, 34000)"
    )
    with pytest.raises(psycopg2.errors.RaiseException, match="too large") as refused:
        table.partition()
    steps = re.findall(r"(ALTER TABLE .*?);", refused.value.diag.message_hint)
    assert len(steps) == 2
    for step in steps:
        table.rows(step)
    assert "outbox_before has all" in table.partition()[0]
    assert table.rows("SELECT count(*) FROM outbox_before") == [(34000,)]
    assert table.rows("SELECT count(*) FROM pg_constraint WHERE conname = 'outbox_before'") == [(0,)]


def test_a_dump_of_a_partitioned_outbox_restores_and_goes_on(table: Table) -> None:
    table.partition(keep="30 d")
    table.write()
    dumped = subprocess.run(
        [table.server.bin / "pg_dump", table.server.uri(table.db)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    db = table.server.createdb(migrated=False)
    done = subprocess.run(
        [table.server.bin / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", table.server.uri(db)],
        input=dumped,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with contextlib.closing(Table(table.server, db)) as restored:
        assert restored.texts(PARTITIONS) == table.texts(PARTITIONS)
        restored.rows("UPDATE outbox_retention SET ahead = 9")
        assert [line[:4] for line in restored.retain()] == ["made"] * 2
        assert restored.rows("SELECT keep = '30 d' FROM outbox_retention") == [(True,)]


def test_up_down_up_leaves_no_trace(table: Table) -> None:
    was = dump(table.server, table.db)
    table.server.psql(table.db, file=DOWN)
    table.server.psql(table.db, file=UP)
    assert dump(table.server, table.db) == was


# -- what goes, and what does not ------------------------------------------------------------------


def test_nothing_goes_without_a_time_to_keep_it(days: Table) -> None:
    days.rows("UPDATE outbox_retention SET keep = NULL")
    seq = days.write("5 d")
    days.publish(seq)
    assert days.retain() == []
    assert days.seqs() == [seq]


def test_a_partition_goes_once_all_of_it_is_old_and_published(days: Table) -> None:
    first, second = days.write("5 d"), days.write("5 d")
    recent = days.write("1 d")
    days.publish(first, recent)
    assert "kept public.outbox_old5: it has unpublished events" in days.retain()
    assert days.seqs() == [first, second, recent]
    days.publish(second)
    assert days.retain() == ["dropped public.outbox_old5"]
    assert days.seqs() == [recent]


def test_a_transaction_that_is_open_keeps_its_partition(days: Table) -> None:
    """Nobody can see its row yet; it is there when it commits."""
    writer = days.connect()
    seq = days.write("5 d", on=writer)
    assert any(re.match("kept public[.]outbox_old.*others use", line) for line in days.retain())
    writer.commit()
    assert "kept public.outbox_old5: it has unpublished events" in days.retain()
    assert days.seqs() == [seq]


def test_a_row_that_commits_while_it_waits_for_the_lock_is_seen(days: Table) -> None:
    """A statement's snapshot from before would not have it."""
    writer = days.connect()
    seq = days.write("5 d", on=writer)
    days.rows("ALTER FUNCTION outbox_retain(regclass) SET lock_timeout = '20s'")
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(days.retain)
        observer = days.connect(autocommit=True)
        wait_for(
            lambda: days.rows(
                "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'",
                on=observer,
            ),
            "retention to wait",
        )
        writer.commit()
        lines = said.result(20)
    assert "dropped public.outbox_old5" not in lines and "dropped public.outbox_old6" in lines
    assert days.seqs() == [seq]


def test_it_refuses_a_snapshot_from_before(days: Table) -> None:
    session = days.connect()
    session.set_session(isolation_level="REPEATABLE READ")
    with pytest.raises(psycopg2.errors.RaiseException, match="committed"):
        days.rows("SELECT outbox_retain()", on=session)


def test_it_fails_where_rows_are_hidden_from_it(days: Table) -> None:
    """They could be unpublished."""
    days.rows(
        "DO $$ BEGIN CREATE ROLE hidden; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
        " GRANT CREATE ON SCHEMA public TO hidden"
    )
    for (owned,) in days.rows(
        "SELECT format('ALTER %s %s OWNER TO hidden', k, n) FROM (SELECT 'TABLE' AS k,"
        " oid::regclass::text AS n FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace ="
        " 'public'::regnamespace UNION ALL SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace) AS all_of"
    ):
        days.rows(owned)
    seq = days.write("5 d")
    days.rows(
        "ALTER TABLE outbox_old5 ENABLE ROW LEVEL SECURITY;"
        " ALTER TABLE outbox_old5 FORCE ROW LEVEL SECURITY"
    )
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        days.retain()
    assert days.seqs() == [seq]


def test_writers_wait_no_longer_than_its_lock_timeout(days: Table) -> None:
    """One that reads the table for long, a dump, is not waited for."""
    reader = days.connect()
    days.rows("SELECT count(*) FROM outbox", on=reader)
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(days.retain)
        session = days.connect(autocommit=True)
        days.rows("SET statement_timeout = '5s'", on=session)
        seq = days.write(on=session)
        assert any("others use" in line for line in said.result(20))
    reader.rollback()
    assert days.seqs() == [seq]


def test_random_rows_are_dropped_only_when_published_and_old(days: Table) -> None:
    """Whatever is committed, when and in which order, what is unpublished stays."""
    draw = random.Random(5)
    written: dict[int, int] = {}  # seq -> days ago
    unpublished: set[int] = set()
    for _ in range(30):
        for _ in range(draw.randrange(4)):
            ago = draw.randrange(12)
            seq = days.write(f"{ago} d")
            written[seq] = ago
            unpublished.add(seq)
        for seq in draw.sample(sorted(unpublished), draw.randrange(len(unpublished) + 1)):
            days.publish(seq)
            unpublished.discard(seq)
        if draw.random() < 0.5:
            days.retain()
        left = set(days.seqs())
        assert unpublished <= left
        assert {seq for seq, ago in written.items() if ago < 2} <= left
        assert {
            seq for (seq,) in days.rows("SELECT seq FROM outbox WHERE published_at IS NULL")
        } == unpublished
    days.publish(*unpublished)
    days.retain()
    assert {seq for seq in days.seqs()} <= {seq for seq, ago in written.items() if ago <= 3}


# -- what is to come -------------------------------------------------------------------------------


def test_partitions_are_made_ahead_and_joined_without_a_gap(table: Table) -> None:
    table.partition("1 hour")
    table.rows("UPDATE outbox_retention SET ahead = 30, width = '30 min'")
    table.retain()
    bounds = table.texts(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition"
        " AND relkind = 'r' AND pg_get_expr(relpartbound, oid) <> 'DEFAULT' ORDER BY 1"
    )
    ends = sorted(re.findall(r"'([^']+)'", " ".join(bounds)))
    assert len(ends) % 2 == 1 and ends[0:-1:2] == ends[1::2]


def test_a_time_without_a_partition_is_the_defaults(table: Table) -> None:
    """However a service sets it; no partition is made where it has rows, and it gives them up once
    they are published and old."""
    table.partition("1 day", "2 d")
    future = table.rows(INSERT, "8 d 12 h")[0][0]
    assert table.rows("SELECT seq FROM outbox_default") == [(future,)]
    table.rows("UPDATE outbox_retention SET ahead = 10")
    said = table.retain()
    assert sum(line.startswith("not made ") for line in said) == 1
    assert sum(line.startswith("made ") for line in said) == 2
    table.rows("DROP TABLE outbox_before")
    old, unpublished = table.write("9 d"), table.write("9 d")
    table.publish(old, future)
    assert "deleted 1 events of public.outbox_default" in table.retain()
    assert table.seqs() == [future, unpublished]


def test_two_at_a_time_do_not_disturb_each_other(table: Table) -> None:
    table.partition("1 s", "1 s")
    table.rows("UPDATE outbox_retention SET ahead = 60")

    def call() -> None:
        session = table.connect(autocommit=True)
        for _ in range(15):
            table.rows("SELECT outbox_retain()", on=session)

    with ThreadPoolExecutor(3) as pool:
        for call_ in [pool.submit(call) for _ in range(3)]:
            call_.result(60)


# -- rights ----------------------------------------------------------------------------------------


def test_only_who_is_granted_it_may_call_it_and_it_acts_on_its_owners_tables(table: Table) -> None:
    table.partition(keep="0 s")
    table.rows(
        "DO $$ BEGIN CREATE ROLE keeper; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
        " CREATE SCHEMA theirs AUTHORIZATION keeper; SET ROLE keeper;"
        " CREATE TABLE theirs.mine_retention (a int); RESET ROLE"
    )
    session = table.connect(autocommit=True)
    table.rows("SET ROLE keeper", on=session)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        table.rows("SELECT outbox_retain()", on=session)
    table.rows("GRANT EXECUTE ON FUNCTION outbox_retain(regclass) TO keeper")
    table.rows("SELECT outbox_retain()", on=session)
    with pytest.raises(psycopg2.errors.RaiseException, match="does not own"):
        table.rows("SELECT outbox_retain('theirs.mine_retention')", on=session)


# -- TRUNCATE --------------------------------------------------------------------------------------


def test_truncate_of_the_whole_fences_as_before(table: Table) -> None:
    table.partition()
    table.write()
    table.rows("TRUNCATE outbox RESTART IDENTITY")
    assert table.rows("SELECT epoch FROM outbox_lease") == [(1,)]
    assert table.write() == 1


# -- what the READMEs say --------------------------------------------------------------------------


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: str(readme[0].parent.name))
def test_the_readmes_commands_run(table: Table, readme: tuple[pathlib.Path, str]) -> None:
    table.rows(
        "DO $$ BEGIN CREATE ROLE relay; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    (text,) = re.findall(readme[1], readme[0].read_text(), re.DOTALL)
    lines = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        subprocess.run(
            ["bash", "-c", line],
            env={**os.environ, "DATABASE": table.server.uri(table.db)},
            check=True,
        )
