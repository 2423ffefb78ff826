"""The wake-up trigger, race by race, with the relay's part played by plain SQL."""

from __future__ import annotations

import contextlib
import io
import random
import select
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from support.postgres import MIGRATIONS, Postgres
from support.sleeper import INSERT, Sleeper, insert, insert_and_commit
from support.wait import wait_for

PREPARED = "max_prepared_transactions"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """No prepared transactions: the default of PostgreSQL."""
    with Postgres({PREPARED: "0"}) as running:
        running.psql("postgres", "CREATE ROLE writer LOGIN")
        yield running


@pytest.fixture(scope="module")
def two_phase_server() -> Iterator[Postgres]:
    with Postgres({PREPARED: "10"}) as running:
        yield running


@pytest.fixture
def db(server: Postgres) -> str:
    return server.createdb()


@pytest.fixture
def relay(server: Postgres, db: str) -> Iterator[Sleeper]:
    with contextlib.closing(Sleeper(server, db)) as sleeper:
        yield sleeper


@pytest.fixture
def writer(server: Postgres, db: str) -> Iterator[Any]:
    with contextlib.closing(server.connect(db)) as connection:
        yield connection


@pytest.fixture
def other(server: Postgres, db: str) -> Iterator[Any]:
    with contextlib.closing(server.connect(db)) as connection:
        yield connection


# -- going to sleep --------------------------------------------------------------------------------


def test_awake_nobody_notifies(relay: Sleeper, writer: Any) -> None:
    insert(writer)
    assert relay.shared() == 1
    writer.commit()
    assert relay.shared() == 0
    assert relay.notifications() == 0


def test_writer_just_before(relay: Sleeper, writer: Any) -> None:
    """It committed before the lock was asked for: it does not notify, and the read sees it."""
    insert_and_commit(writer)
    relay.ask()
    relay.granted()
    assert relay.rows() == 1
    assert relay.notifications() == 0


def test_writer_during(relay: Sleeper, writer: Any, other: Any) -> None:
    """Open when the lock is asked for: it holds up the grant, and others notify meanwhile."""
    insert(writer)
    asked = relay.ask()
    assert relay.waits()
    insert_and_commit(other)
    assert relay.notifications() == 1
    assert relay.waits() and not asked.done()
    writer.commit()
    relay.granted()
    assert relay.rows() == 2
    assert relay.notifications() == 0


def test_writer_just_after(relay: Sleeper, writer: Any) -> None:
    relay.asleep()
    insert(writer)
    assert relay.shared() == 0
    assert relay.notifications() == 0  # not before it commits
    writer.commit()
    assert relay.notifications() == 1
    assert relay.rows() == 1


def test_writer_between_its_rows_and_its_try(
    server: Postgres, db: str, relay: Sleeper, writer: Any, other: Any
) -> None:
    """The grant comes between the two: the read misses the rows, so it has to notify."""
    relay.one(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';"
        # Its name sorts before outbox_wake, so it fires first.
        "CREATE TRIGGER a_stop AFTER INSERT ON outbox EXECUTE FUNCTION stop()"
    )
    other.cursor().execute("SELECT pg_advisory_lock(1)")
    other.commit()
    with ThreadPoolExecutor(1) as pool:
        commit = pool.submit(insert_and_commit, writer)
        try:
            wait_for(
                lambda: relay.one("SELECT 1 FROM pg_locks WHERE NOT granted AND objid = 1"),
                "the writer to stand between its rows and its try",
            )
            relay.ask()
            relay.granted()
            assert relay.rows() == 0
            assert relay.notifications() == 0
        finally:
            other.cursor().execute("SELECT pg_advisory_unlock(1)")
        commit.result(20)
    assert relay.notifications() == 1
    assert relay.rows() == 1


def test_writer_open_for_long(relay: Sleeper, writer: Any, other: Any) -> None:
    """It delays the grant, not the notifications: each later writer's comes with its commit."""
    insert(writer)
    asked = relay.ask()
    for count in range(1, 6):
        insert_and_commit(other)
        assert relay.notifications() == 1
        assert relay.rows() == count
    insert(writer)  # it holds the lock already, and goes on without notifying
    assert not asked.done()
    writer.commit()
    relay.granted()
    assert relay.rows() == 7
    assert relay.notifications() == 0


def test_woken_and_asleep_again(relay: Sleeper, writer: Any) -> None:
    """A writer that was told to notify still does when the relay woke and slept again meanwhile."""
    relay.asleep()
    insert(writer)
    relay.awake()
    relay.asleep()
    writer.commit()
    assert relay.notifications() == 1
    relay.awake()
    insert_and_commit(writer)
    assert relay.notifications() == 0


def test_nothing_is_slept_through(server: Postgres, db: str, relay: Sleeper) -> None:
    """Writers and a relay that sleeps whenever it can: each row wakes it."""
    writers, each = 4, 150
    failures: list[BaseException] = []

    def write(seed: int) -> None:
        dice = random.Random(seed)
        try:
            with contextlib.closing(server.connect(db)) as connection:
                for _ in range(each):
                    insert(connection)
                    time.sleep(dice.random() * 0.004)
                    connection.commit()
                    time.sleep(dice.random() * 0.02)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(writers)]
    for thread in threads:
        thread.start()
    sleeps = 0
    try:
        while True:
            relay.ask()
            relay.granted()
            if relay.rows() == writers * each or failures:
                break
            # Asleep: the next row has to wake us; only the end of the test comes without one.
            assert select.select([relay.listener], [], [], 20)[0], "slept through a commit"
            sleeps += 1
            relay.listener.poll()
            relay.listener.notifies.clear()
            relay.awake()
    finally:
        for thread in threads:
            thread.join()
    assert not failures
    assert sleeps > 20


# -- relays and their sessions ---------------------------------------------------------------------


def test_two_relays(server: Postgres, db: str, relay: Sleeper, writer: Any) -> None:
    """Both are woken; the second one's request is granted when the first wakes, or dies."""
    with contextlib.closing(Sleeper(server, db)) as second:
        relay.asleep()
        second.ask()
        insert_and_commit(writer)
        assert (relay.notifications(), second.notifications()) == (1, 1)
        relay.awake()
        second.granted()
        insert_and_commit(writer)
        assert (relay.notifications(), second.notifications()) == (1, 1)
        relay.ask()
        second.terminate_lock()
        relay.granted()
        insert_and_commit(writer)
        assert (relay.notifications(), second.notifications()) == (1, 1)


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "holding"])
def test_the_locks_session_dies(
    relay: Sleeper, writer: Any, other: Any, waiting: bool
) -> None:
    """From then on writers do not notify: that the relay learns of it has to be a wake-up."""
    insert(writer)
    asked = relay.ask()
    if not waiting:
        writer.commit()
        relay.granted()
    relay.terminate_lock()
    if waiting:
        with pytest.raises(psycopg2.OperationalError):
            asked.result(20)
    else:
        assert select.select([relay.lock], [], [], 20)[0], "the loss is not noticed"
        with pytest.raises(psycopg2.OperationalError):
            relay.lock.cursor().execute("SELECT 1")
    insert_and_commit(other)
    assert relay.notifications() == 0
    writer.commit()
    assert relay.rows() == 2


def test_a_killed_relay(server: Postgres, db: str, relay: Sleeper, writer: Any) -> None:
    """All its sessions go at once; writers go on without a price, and the next relay can sleep."""
    with contextlib.closing(Sleeper(server, db)) as killed:
        killed.asleep()
        pids = [c.info.backend_pid for c in (killed.listener, killed.side, killed.lock)]
        assert all(relay.one("SELECT pg_terminate_backend(%s, 20000)", pid) for pid in pids)
    insert(writer)
    assert relay.shared() == 1
    writer.commit()
    assert relay.notifications() == 0
    relay.asleep()
    insert_and_commit(writer)
    assert relay.notifications() == 1


def test_waiting_in_turns_holds_no_index_up(
    server: Postgres, db: str, relay: Sleeper, writer: Any
) -> None:
    """CREATE INDEX CONCURRENTLY waits for the xmin of a waiting statement: lock_timeout."""
    relay.one("CREATE TABLE elsewhere AS SELECT 1 AS a")
    insert(writer)
    asked = relay.ask()
    builder = server.connect(db, autocommit=True)
    with contextlib.closing(builder), ThreadPoolExecutor(1) as pool:
        build = pool.submit(
            builder.cursor().execute, "CREATE INDEX CONCURRENTLY elsewhere_a ON elsewhere (a)"
        )
        try:
            wait_for(
                lambda: relay.one(
                    "SELECT 1 FROM pg_locks WHERE locktype = 'virtualxid' AND NOT granted"
                ),
                "the index to be held up",
            )
            relay.one("SELECT pg_cancel_backend(%s)", relay.lock.info.backend_pid)
            with pytest.raises(psycopg2.errors.QueryCanceled):
                asked.result(20)
            rounds = 0
            while not build.done():
                assert rounds < 40, "the index is held up"
                rounds += 1
                with pytest.raises(psycopg2.errors.LockNotAvailable):
                    relay.ask("200ms").result(20)
        finally:
            writer.rollback()
        build.result(20)
    assert relay.one("SELECT indisvalid FROM pg_index WHERE indexrelid = 'elsewhere_a'::regclass")


# -- writers in all their forms --------------------------------------------------------------------


def test_rolled_back(relay: Sleeper, writer: Any) -> None:
    relay.asleep()
    insert(writer)
    writer.rollback()
    assert relay.notifications() == 0
    writer.cursor().execute(f"SAVEPOINT a; {INSERT}; ROLLBACK TO a")
    writer.commit()
    assert relay.notifications() == 0
    assert relay.rows() == 0


def test_savepoint_gives_the_lock_back_with_its_rows(relay: Sleeper, writer: Any) -> None:
    """What is left of the transaction holds nothing up, and notifies when it inserts after all."""
    writer.cursor().execute(f"SAVEPOINT a; {INSERT}; ROLLBACK TO a")
    assert relay.shared() == 0
    relay.asleep()
    insert_and_commit(writer)
    assert relay.notifications() == 1


def test_released_savepoint_keeps_the_lock(relay: Sleeper, writer: Any) -> None:
    writer.cursor().execute(f"SAVEPOINT a; {INSERT}; RELEASE a")
    relay.ask()
    assert relay.waits()
    writer.commit()
    relay.granted()
    assert relay.rows() == 1


def copy(connection: Any) -> None:
    connection.cursor().copy_expert(
        "COPY outbox (aggregatetype, aggregateid, type, payload) FROM STDIN",
        io.StringIO("a\tk\tt\t{}\n" * 50),
    )


MANY = INSERT + ", ('a', 'k', 't', '{}')" * 49
FORMS = {
    "many rows": MANY,
    "many statements": "; ".join([INSERT] * 50),
    "select": INSERT.split(" VALUES")[0]
    + " SELECT 'a', 'k', 't', '{}' FROM generate_series(1, 50)",
    "on conflict": MANY + " ON CONFLICT DO NOTHING",
    "with": f"WITH w AS ({MANY} RETURNING seq) SELECT count(*) FROM w",
    "function": f"DO $$ BEGIN FOR i IN 1..50 LOOP {INSERT}; END LOOP; END $$",
    "subtransactions": "DO $$ BEGIN FOR i IN 1..50 LOOP BEGIN "
    + INSERT
    + "; EXCEPTION WHEN others THEN RAISE; END; END LOOP; END $$",
}


@pytest.mark.parametrize("form", [*FORMS, "copy"])
def test_each_form_of_insert(relay: Sleeper, writer: Any, form: str) -> None:
    """One notification a transaction while the relay sleeps, one shared lock while it does not."""

    def write() -> None:
        if form == "copy":
            copy(writer)
        else:
            writer.cursor().execute(FORMS[form])

    relay.asleep()
    write()
    assert relay.shared() == 0
    writer.commit()
    assert relay.notifications() == 1
    relay.awake()
    write()
    assert relay.shared() == 1
    writer.commit()
    assert relay.notifications() == 0
    assert relay.rows() == 100


def test_a_writer_with_insert_alone(server: Postgres, db: str, relay: Sleeper) -> None:
    relay.one("GRANT INSERT ON outbox TO writer")
    relay.asleep()
    with contextlib.closing(server.connect(db, user="writer")) as writer:
        insert_and_commit(writer)
    assert relay.notifications() == 1


def test_two_outboxes_wake_their_own_relay(
    server: Postgres, db: str, relay: Sleeper, writer: Any
) -> None:
    relay.one("CREATE SCHEMA app")
    server.psql(db, file=MIGRATIONS / "0001_outbox.up.sql", env={"PGOPTIONS": "-csearch_path=app"})
    relay.asleep()
    writer.cursor().execute(INSERT.replace("outbox", "app.outbox", 1))
    writer.commit()
    assert relay.notifications() == 0
    insert_and_commit(writer)
    assert relay.notifications() == 1


# -- prepared transactions -------------------------------------------------------------------------


@pytest.fixture
def two_phase(two_phase_server: Postgres) -> Iterator[tuple[Sleeper, Any]]:
    db = two_phase_server.createdb()
    with contextlib.closing(Sleeper(two_phase_server, db)) as relay:
        with contextlib.closing(two_phase_server.connect(db, autocommit=True)) as writer:
            try:
                yield relay, writer
            finally:
                gid = relay.one("SELECT gid FROM pg_prepared_xacts")
                if gid is not None:
                    relay.one(f"ROLLBACK PREPARED '{gid}'")


def run(connection: Any, *statements: str) -> None:
    for statement in statements:
        connection.cursor().execute(statement)


@pytest.mark.parametrize("setting", [None, "off", ""])
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_prepare_works_while_the_lock_is_held(
    two_phase: tuple[Sleeper, Any], setting: str | None, end: str
) -> None:
    relay, writer = two_phase
    relay.asleep()
    if setting is not None:
        run(writer, f"SET outbox_relay.notify = '{setting}'")
    run(writer, "BEGIN", INSERT, "PREPARE TRANSACTION 'two'")
    run(writer, f"{end} PREPARED 'two'", INSERT)
    assert relay.notifications() == 0
    assert relay.rows() == (2 if end == "COMMIT" else 1)


def test_not_notifying_it_takes_no_lock_either(two_phase: tuple[Sleeper, Any]) -> None:
    relay, writer = two_phase
    run(writer, "BEGIN", INSERT)
    assert relay.shared() == 0
    run(writer, "PREPARE TRANSACTION 'two'")
    assert relay.shared() == 0


def test_prepare_fails_only_for_who_said_that_nobody_prepares(
    two_phase: tuple[Sleeper, Any],
) -> None:
    relay, writer = two_phase
    run(writer, "SET outbox_relay.notify = 'on'")
    relay.asleep()
    run(writer, INSERT)
    assert relay.notifications() == 1
    run(writer, "BEGIN", INSERT)
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="cannot PREPARE"):
        run(writer, "PREPARE TRANSACTION 'two'")
    run(writer, "ROLLBACK")
    assert relay.notifications() == 0


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_prepared_writer_holds_the_grant_up(two_phase: tuple[Sleeper, Any], end: str) -> None:
    """Prepared while the relay was awake, its session gone: the grant still waits for its end."""
    relay, writer = two_phase
    run(writer, "SET outbox_relay.notify = 'on'", "BEGIN", INSERT, "PREPARE TRANSACTION 'two'")
    writer.close()
    relay.ask()
    assert relay.waits()
    relay.one(f"{end} PREPARED 'two'")
    relay.granted()
    assert relay.rows() == (1 if end == "COMMIT" else 0)
    assert relay.notifications() == 0


def test_without_prepared_transactions_the_setting_is_idle(relay: Sleeper, writer: Any) -> None:
    relay.asleep()
    writer.cursor().execute("SET outbox_relay.notify = 'off'")
    insert_and_commit(writer)
    assert relay.notifications() == 1
