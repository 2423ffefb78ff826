"""Through a transaction pooler, with postgres.direct_uri past it: rows are read and acknowledged
through the pooler and leave nothing behind there; notifications come by the other way, for as long
as that stands, and none is missed when it does not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from support.outbox import Outbox
from support.pgbouncer import PgBouncer
from support.postgres import Postgres
from support.proxy import Proxy
from support.refusal import results
from support.relay import Relay, command
from support.wait import wait_for
from support.writer import Load

BACKSTOP = {"source.poll_interval_ms": 60000}
SOON_S = 2.0
NOTIFY = "the table is read, woken by NOTIFY"
INTERVAL = r"the table is read every \d+ ms"
AWAY = r"postgres\.direct_uri cannot be listened to"
# What PgBouncer itself sets, for each client anew.
TRACKED = {"application_name", "client_encoding", "DateStyle", "TimeZone"}


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[PgBouncer]:
    """Two sessions in its pool: what one leaves there the next one finds."""
    with PgBouncer(postgres, pool_size=2) as running:
        yield running


def addresses(outbox: Outbox, pooler: PgBouncer) -> dict[str, Any]:
    return {
        "postgres.uri": pooler.uri(outbox.db),
        "postgres.direct_uri": outbox.server.uri(outbox.db),
    }


def listening_role(outbox: Outbox) -> str:
    """One that may do nothing else."""
    role = f"{outbox.db}_listens"
    outbox.one(f"CREATE ROLE {role} LOGIN")
    return role


def load_of(outbox: Outbox, connect: Callable[[], Any] | None = None) -> Load:
    return Load(
        connect or (lambda: outbox.server.connect(outbox.db)),
        outbox.oracle,
        aggregatetype=outbox.aggregatetype,
        threads=4,
        pause_s=0.002,
    )


def wait_more(load: Load, count: int) -> None:
    goal = load.committed + count
    wait_for(lambda: load.committed >= goal, f"{count} more events", 30)


def mode(relay: Relay) -> str:
    return str(relay.status()["source"]["mode"])


def wait_asleep(relay: Relay, timeout: float = 20) -> None:
    wait_for(lambda: relay.status()["source"]["sleeping"], "the relay to sleep", timeout)


def wake(outbox: Outbox, relay: Relay) -> None:
    """What is written while it sleeps comes long before it would look by itself."""
    wait_asleep(relay)
    outbox.write(1, keys="idle")
    outbox.oracle.wait(SOON_S)


def said(relay: Relay, pattern: str) -> list[str]:
    lines = [str(line["msg"]) for line in relay.log_lines()]
    return [line for line in lines if re.search(pattern, line)]


def errors_of(outbox: Outbox, since: int) -> list[str]:
    """What the server refused in this database."""
    with outbox.server.log_path.open("rb") as log:
        log.seek(since)
        text = log.read().decode(errors="replace")
    return re.findall(rf"@{outbox.db}/.* (?:ERROR|FATAL|WARNING): .*", text)


def cut(outbox: Outbox, session: str) -> None:
    ended = outbox.rows(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = %s",
        f"outbox-relay {session}",
    )
    assert ended == [(True,)]


# -- who goes which way ---------------------------------------------------------------------------


def test_the_other_address_only_listens(outbox: Outbox, pooler: PgBouncer) -> None:
    """Its role has no right to anything; and asleep, the relay asks next to nothing."""
    outbox.one(f"ALTER DATABASE {outbox.db} SET log_statement = 'all'")
    role = listening_role(outbox)
    since = outbox.server.log_size()
    relay = outbox.relay(
        {
            "postgres.uri": pooler.uri(outbox.db),
            "postgres.direct_uri": outbox.server.uri(outbox.db, user=role),
            **BACKSTOP,
        }
    )
    relay.wait_log(NOTIFY)
    with load_of(outbox) as load:
        wait_more(load, 500)
    outbox.settle()
    for _ in range(5):
        wake(outbox, relay)
    outbox.settle()
    sessions = outbox.rows(
        "SELECT application_name, usename FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'outbox-relay%%'"
    )
    mine = {name for name, user in sessions if user == role}
    assert mine == {"outbox-relay listen", "outbox-relay wakeup"}
    assert errors_of(outbox, since) == []
    assert said(relay, f"{AWAY}|do not arrive|logical decoding") == []

    wait_asleep(relay)
    outbox.close()  # so that nobody else asks anything
    since = outbox.server.log_size()
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 6, "six seconds", 8)
    took = time.monotonic() - began
    with outbox.server.log_path.open("rb") as log:
        log.seek(since)
        text = log.read().decode(errors="replace")
    logged = rf"@{outbox.db}/[^\n]*? LOG:  (?:statement|execute [^:]*): (.{{0,60}})"
    asked = re.findall(logged, text)
    assert asked, "statements are logged"
    assert len(asked) <= 2 * took, f"{len(asked)} in {took:.1f} s:\n" + "\n".join(asked)


# -- the pool's sessions --------------------------------------------------------------------------


def state_of_the_pool(outbox: Outbox, pooler: PgBouncer, size: int) -> list[tuple[Any, ...]]:
    """What another client of the same role finds in each session."""
    clients = [psycopg2.connect(pooler.uri(outbox.db)) for _ in range(size)]
    found = []
    for client in clients:
        cursor = client.cursor()  # its transaction keeps the session, so the next gets another
        cursor.execute(
            "SELECT pg_backend_pid(), current_setting('enable_seqscan'),"
            " current_setting('lock_timeout'), current_setting('synchronous_commit'),"
            " (SELECT array_agg(name::text) FROM pg_settings WHERE source = 'session'),"
            " (SELECT array_agg(name) FROM pg_prepared_statements),"
            " (SELECT array_agg(c) FROM pg_listening_channels() c),"
            " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            "  AND pid = pg_backend_pid())"
        )
        found.append(cursor.fetchone())
    for client in clients:
        client.rollback()
        client.close()
    return found


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "alone"])
def test_nothing_is_left_in_the_pool(outbox: Outbox, pooler: PgBouncer, direct: bool) -> None:
    """Without the other address one thing is: the LISTEN that has to be tried."""
    settings: dict[str, Any] = {"postgres.uri": pooler.uri(outbox.db), "source.mode": "table"}
    if direct:
        settings = addresses(outbox, pooler)
    relay = outbox.relay(settings)
    relay.wait_log(NOTIFY if direct else INTERVAL)
    with load_of(outbox) as load:
        wait_more(load, 500)
    outbox.settle()
    for _ in range(2):
        state = state_of_the_pool(outbox, pooler, 2)
        assert len({pid for pid, *_ in state}) == 2
        for _, seqscan, lock_timeout, commit, changed, prepared, channels, locks in state:
            assert (seqscan, lock_timeout, commit) == ("on", "0", "on")
            assert set(changed or ()) <= TRACKED
            assert prepared is None and locks == 0
            assert channels is None or not direct
        relay.stop()


def test_each_transaction_brings_its_settings(outbox: Outbox, pooler: PgBouncer) -> None:
    """The database's limits end no statement of ours, and no plan reads the table as a whole."""
    for setting in ("statement_timeout = '300ms'", "lock_timeout = '200ms'"):
        outbox.one(f"ALTER DATABASE {outbox.db} SET {setting}")
    since = outbox.server.log_size()
    relay = outbox.relay({**addresses(outbox, pooler), **BACKSTOP})
    relay.wait_log(NOTIFY)
    scans = "SELECT coalesce({}, 0) FROM pg_stat_user_tables WHERE relname = 'outbox'"
    whole = outbox.one(scans.format("seq_scan"))
    by_index = outbox.one(scans.format("idx_scan"))
    for _ in range(20):
        outbox.write(1, keys="cut")
        outbox.oracle.wait(20)
    wait_for(lambda: outbox.one(scans.format("idx_scan")) > by_index + 40, "what was read to count")
    assert outbox.one(scans.format("seq_scan")) == whole

    holder = outbox.connect()
    holder.cursor().execute("LOCK TABLE outbox, outbox_lease IN ACCESS EXCLUSIVE MODE")
    cut(outbox, "listen")  # so that it looks
    for session in ("read", "control"):
        wait_for(
            lambda session=session: outbox.one(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = %s AND wait_event_type = 'Lock'"
                " AND clock_timestamp() - query_start > interval '800 ms'",
                f"outbox-relay {session}",
            ),
            f"{session} to have waited for longer than the role may",
        )
    holder.commit()
    outbox.write(10)
    outbox.settle()
    assert [line for line in errors_of(outbox, since) if "due to administrator" not in line] == []


def test_transactions_of_another_kind_are_refused(outbox: Outbox, pooler: PgBouncer) -> None:
    """They cannot be changed from within; past the pooler the relay sets what it needs."""
    outbox.one(f"ALTER DATABASE {outbox.db} SET default_transaction_isolation = 'repeatable read'")
    relay = outbox.relay({"postgres.uri": pooler.uri(outbox.db)}, ready=False)
    assert relay.wait_exit() == 78
    assert len(said(relay, "ALTER ROLE .* SET default_transaction_isolation = 'read commit")) == 1
    outbox.relay()
    outbox.write(10)
    outbox.settle()


def in_every_session(outbox: Outbox, pooler: PgBouncer, size: int, sql: str) -> None:
    """As clients that leave behind what they have set."""
    clients = [psycopg2.connect(pooler.uri(outbox.db)) for _ in range(size)]
    for client in clients:
        client.cursor().execute(sql)
    for client in clients:
        client.commit()
        client.close()


def test_what_others_leave_in_the_pool(outbox: Outbox, pooler: PgBouncer) -> None:
    """A snapshot that is older than a statement's locks would miss what they waited for: nothing is
    read or acknowledged under one, and the cause is told."""
    relay = outbox.relay(addresses(outbox, pooler))
    relay.wait_log(NOTIFY)
    other = "SET default_transaction_isolation = '{}'"
    in_every_session(outbox, pooler, 2, other.format("repeatable read"))
    outbox.write(10)
    relay.wait_log("a read failed: .*must be called before any query")
    relay.wait_log("the lease could not be asked for: .*must be called before any query")
    in_every_session(outbox, pooler, 2, other.format("read committed"))
    outbox.settle()


# -- losing a way ---------------------------------------------------------------------------------


def test_the_listening_session_is_cut(outbox: Outbox, pooler: PgBouncer) -> None:
    """Asleep or under load: what is written from that moment on comes, and it sleeps again."""
    relay = outbox.relay({**addresses(outbox, pooler), **BACKSTOP})
    relay.wait_log(NOTIFY)
    for turn in range(1, 4):
        wait_asleep(relay)
        cut(outbox, "listen")
        outbox.write(1, keys="cut")
        outbox.oracle.wait(SOON_S)
        relay.wait_metric("reconnects_total", turn, server="listen")
        wake(outbox, relay)
    with load_of(outbox) as load:
        for turn in range(4, 7):
            wait_more(load, 100)
            cut(outbox, "listen")
            relay.wait_metric("reconnects_total", turn, server="listen")
        wait_more(load, 100)
    outbox.settle()
    wake(outbox, relay)
    outbox.settle()
    assert len(said(relay, AWAY)) == 6
    assert relay.metric("reconnects_total", server="postgres") == 0


def test_the_listening_role_is_shut_out(outbox: Outbox, pooler: PgBouncer) -> None:
    """Rows are looked for from then on, at once and for long; let in again, it is woken again."""
    role = listening_role(outbox)
    relay = outbox.relay(
        {
            **addresses(outbox, pooler),
            "postgres.direct_uri": outbox.server.uri(outbox.db, user=role),
            **BACKSTOP,
        }
    )
    relay.wait_log(NOTIFY)
    wake(outbox, relay)
    wait_asleep(relay)
    outbox.one(f"ALTER ROLE {role} NOLOGIN")
    cut(outbox, "listen")
    outbox.write(1, keys="cut")
    outbox.oracle.wait(SOON_S)
    relay.wait_log(INTERVAL)
    assert mode(relay) == "interval"
    assert "not permitted to log in" in relay.status()["postgres"]["error"]
    assert relay.get("/readyz")[0] == 200
    with load_of(outbox) as load:
        wait_more(load, 300)
    since = relay.log_size()
    outbox.one(f"ALTER ROLE {role} LOGIN")
    relay.wait_log(NOTIFY, 40, since=since)
    assert relay.status()["postgres"]["error"] is None
    outbox.settle()
    wake(outbox, relay)
    outbox.settle()
    relay.stop()
    assert len(said(relay, AWAY)) == 2, "each cause is said once"


def test_it_starts_while_the_other_address_is_away(outbox: Outbox, pooler: PgBouncer) -> None:
    with Proxy(outbox.server.port) as proxy:
        proxy.pause()
        direct = f"postgresql://postgres@127.0.0.1:{proxy.port}/{outbox.db}"
        relay = outbox.relay({**addresses(outbox, pooler), "postgres.direct_uri": direct})
        relay.wait_log(INTERVAL)
        outbox.write(10)
        outbox.oracle.wait(20)
        proxy.resume()
        relay.wait_log(NOTIFY, 40)
        outbox.settle()
        relay.stop()
    assert said(relay, "do not arrive") == []


def test_the_pooler_is_restarted_under_load(outbox: Outbox, pooler: PgBouncer) -> None:
    """The writers go through it as well. A lost connection repeats nothing."""
    relay = outbox.relay({**addresses(outbox, pooler), **BACKSTOP})
    relay.wait_log(NOTIFY)
    with load_of(outbox, lambda: psycopg2.connect(pooler.uri(outbox.db))) as load:
        for _ in range(4):
            wait_more(load, 200)
            before = relay.metric("reconnects_total", server="postgres")
            pooler.restart()
            wait_for(
                lambda before=before: relay.metric("reconnects_total", server="postgres")
                >= before + 2,
                "both connections to be back",
            )
        wait_more(load, 200)
    outbox.settle()
    wake(outbox, relay)
    outbox.settle()
    relay.stop()
    assert said(relay, AWAY) == []


def test_decoding_goes_past_the_pooler(
    wal_server: Postgres, outbox_on: Callable[[Postgres], Outbox]
) -> None:
    outbox = outbox_on(wal_server)
    with PgBouncer(wal_server, pool_size=2) as pooler:
        relay = outbox.relay({**addresses(outbox, pooler), "source.mode": "wal"})
        relay.wait_log("events come by logical decoding")
        with load_of(outbox, lambda: psycopg2.connect(pooler.uri(outbox.db))) as load:
            wait_more(load, 200)
            before = relay.metric("reconnects_total", server="postgres")
            pooler.restart()
            wait_for(
                lambda: relay.metric("reconnects_total", server="postgres") >= before + 2,
                "both connections to be back",
            )
            wait_more(load, 200)
        outbox.settle()
        assert mode(relay) == "wal"
        relay.stop()
    assert said(relay, AWAY) == []


# -- an address that leads elsewhere --------------------------------------------------------------


def test_another_database_proves_nothing(outbox: Outbox, pooler: PgBouncer) -> None:
    """One may listen there, to nobody."""
    relay = outbox.relay(
        {**addresses(outbox, pooler), "postgres.direct_uri": outbox.server.uri("postgres")}
    )
    relay.wait_log(r"do not arrive at postgres\.direct_uri")
    relay.wait_log(INTERVAL)
    outbox.write(100)
    outbox.settle()
    relay.stop()
    assert said(relay, NOTIFY) == []


def test_another_server_does_not_count(outbox: Outbox, pooler: PgBouncer) -> None:
    with Postgres() as other:
        settings = {
            **addresses(outbox, pooler),
            "postgres.direct_uri": other.uri("postgres"),
            "kafka.bootstrap.servers": "127.0.0.1:1",
        }
        done = command("check", "--json", settings=settings)
        assert [each["message"] for each in results(done.stdout) if each["check"] == "direct"] == [
            f"127.0.0.1:{other.port}/postgres is another server than the table is read from, or"
            " another timeline of it"
        ]
        del settings["kafka.bootstrap.servers"]
        relay = outbox.relay(settings)
        relay.wait_log(f"{AWAY}.*another server")
        relay.wait_log(INTERVAL)
        outbox.write(100)
        outbox.settle()
        relay.stop()
    assert len(said(relay, AWAY)) == 1
    assert said(relay, f"{NOTIFY}|do not arrive") == []
