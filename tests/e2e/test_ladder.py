"""source.mode=auto: how events are found follows what the server, the pooler before it and the
rights allow, by itself, and no event is lost, doubled or misplaced on the way.

Notifications that a round trip proves come first, then logical decoding, then the interval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from support.outbox import Outbox
from support.pgbouncer import PgBouncer
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for
from support.writer import Load

BACKSTOP = {"source.poll_interval_ms": 60000}
SOON_S = 2.0
WAL = "events come by logical decoding"
NOTIFY = "the table is read, woken by NOTIFY"
INTERVAL = r"the table is read every \d+ ms"


@pytest.fixture(scope="module")
def able_server() -> Iterator[Postgres]:
    """It decodes, and has two-phase writers, unless a database says that it has none."""
    with Postgres({"wal_level": "logical", "max_prepared_transactions": "10"}) as server:
        yield server


@pytest.fixture
def able(able_server: Postgres, outbox_on: Callable[[Postgres], Outbox]) -> Outbox:
    return outbox_on(able_server)


def let_notify(outbox: Outbox, on: bool) -> None:
    """For sessions to come."""
    outbox.one(
        f"ALTER DATABASE {outbox.db} SET outbox_relay.notify = '{'on' if on else 'off'}'"
    )


def load_of(outbox: Outbox) -> Load:
    return Load(
        lambda: outbox.server.connect(outbox.db),
        outbox.oracle,
        aggregatetype=outbox.aggregatetype,
        threads=4,
        pause_s=0.002,
    )


def wait_more(load: Load, count: int) -> None:
    goal = load.committed + count
    wait_for(lambda: load.committed >= goal, f"{count} more events", 30)


def mode(relay: Relay) -> str:
    """As the status says; the metric says the same."""
    return str(relay.status()["source"]["mode"])


def wait_mode(relay: Relay, name: str, timeout: float = 20) -> None:
    wait_for(lambda: mode(relay) == name, f"the mode to be {name}", timeout)
    relay.wait_metric("source_mode", 1, mode=name)
    relay.wait_metric("source_mode", 1)


def said(relay: Relay, pattern: str) -> list[str]:
    lines = [str(line["msg"]) for line in relay.log_lines()]
    return [line for line in lines if re.search(pattern, line)]


def slots(outbox: Outbox) -> int:
    return outbox.one("SELECT count(*) FROM pg_replication_slots WHERE database = %s", outbox.db)


def channel(outbox: Outbox) -> str:
    return f"outbox_relay_{outbox.one('SELECT %s::regclass::oid', 'outbox')}"


def reconnect(outbox: Outbox, relay: Relay, session: str = "read") -> None:
    """That session is ended, and stands again."""
    before = relay.metric("reconnects_total", server="postgres")
    ended = outbox.rows(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = %s",
        f"outbox-relay {session}",
    )
    assert ended == [(True,)]
    wait_for(
        lambda: relay.metric("reconnects_total", server="postgres") > before
        and relay.get("/readyz")[0] == 200,
        "the relay to be back",
    )


class Probes:
    """The notifications that the relay sends to itself, heard by somebody else."""

    def __init__(self, outbox: Outbox) -> None:
        self._connection = outbox.connect(autocommit=True)
        self._connection.cursor().execute(f"LISTEN {channel(outbox)}")

    def forget(self) -> None:
        self._connection.poll()
        self._connection.notifies.clear()

    def wait(self) -> None:
        def came() -> bool:
            self._connection.poll()
            return any(each.payload.startswith("probe ") for each in self._connection.notifies)

        wait_for(came, "a probe")
        self.forget()


def prepares(outbox: Outbox, since: int) -> bool:
    """Whether the relay has prepared a statement; log_statement tells."""
    return outbox.server.log_contains(rf"@{outbox.db}/.* PREPARE outbox_relay", since=since)


def errors_of(outbox: Outbox, since: int) -> list[str]:
    """What the server refused in this database."""
    with outbox.server.log_path.open("rb") as log:
        log.seek(since)
        text = log.read().decode(errors="replace")
    return re.findall(rf"@{outbox.db}/.* (?:ERROR|FATAL): .*", text)


# -- through a pooler ----------------------------------------------------------------------------


def listen_everywhere(outbox: Outbox, pooler: PgBouncer, size: int) -> None:
    """Every session of the pool listens, as after relays that came and went: a notification reaches
    whoever has a statement in one of them just then."""
    clients = [psycopg2.connect(pooler.uri(outbox.db)) for _ in range(size)]
    for client in clients:
        client.cursor().execute(f"LISTEN {channel(outbox)}")
    for client in clients:
        client.commit()
        client.close()


def test_a_transaction_pooler(outbox: Outbox, postgres: Postgres) -> None:
    """Notifications are lost but for a chance one; no session is relied on."""
    since = postgres.log_size()
    with PgBouncer(postgres, pool_size=3) as pooler:
        listen_everywhere(outbox, pooler, 3)
        relay = outbox.relay({"postgres.uri": pooler.uri(outbox.db)})
        with load_of(outbox) as load:
            relay.wait_log("notifications do not arrive.*postgres.direct_uri")
            relay.wait_log(INTERVAL)
            relay.wait_log("logical decoding: wal_level is replica: ALTER SYSTEM")
            wait_more(load, 1000)
            wait_mode(relay, "interval")
        outbox.settle()
        outbox.write(1, keys="idle")
        outbox.settle()
        assert mode(relay) == "interval"
        relay.stop()
    assert len(said(relay, "notifications do not arrive|logical decoding:")) == 2
    assert said(relay, f"{NOTIFY}|{WAL}|failed") == []
    assert errors_of(outbox, since) == []


def test_a_chance_notification_proves_nothing(outbox: Outbox, postgres: Postgres) -> None:
    """It reaches the relay if that has a statement in a session that listens, just then: here each
    time, since a lock holds its read up."""
    since = postgres.log_size()
    with PgBouncer(postgres, pool_size=3) as pooler:
        listen_everywhere(outbox, pooler, 3)
        relay = outbox.relay({"postgres.uri": pooler.uri(outbox.db)})
        probes = Probes(outbox)
        relay.wait_log("notifications do not arrive")
        holder = outbox.connect()
        for _ in range(2):
            probes.forget()
            holder.cursor().execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
            probes.wait()
            holder.commit()
            outbox.write(10)
            outbox.settle()
        assert mode(relay) == "interval"
        relay.stop()
    assert said(relay, NOTIFY) == []
    # Whose lock_timeout it is that its read has there is not told.
    assert [line for line in errors_of(outbox, since) if "lock timeout" not in line] == []


def test_a_transaction_pooler_before_a_server_that_decodes(able: Outbox) -> None:
    """It takes no replication connection: said once, and the interval it is."""
    let_notify(able, True)
    with PgBouncer(able.server) as pooler:
        relay = able.relay({"postgres.uri": pooler.uri(able.db)})
        with load_of(able) as load:
            relay.wait_log("notifications do not arrive")
            relay.wait_log("logical decoding: .*unsupported startup parameter")
            wait_mode(relay, "interval")
            wait_more(load, 300)
        able.settle()
        assert slots(able) == 0
        relay.stop()
    assert len(said(relay, "logical decoding:")) == 1
    assert said(relay, f"{NOTIFY}|{WAL}") == []


def test_the_servers_own_address_beside_a_pooler(outbox: Outbox, postgres: Postgres) -> None:
    """LISTEN and the wake-up lock go there; the rest by the pooler, where nothing is prepared."""
    outbox.one(f"ALTER DATABASE {outbox.db} SET log_statement = 'all'")
    since = postgres.log_size()
    with PgBouncer(postgres) as pooler:
        relay = outbox.relay(
            {
                "postgres.uri": pooler.uri(outbox.db),
                "postgres.direct_uri": postgres.uri(outbox.db),
                **BACKSTOP,
            }
        )
        relay.wait_log(NOTIFY)
        wait_mode(relay, "notify")
        with load_of(outbox) as load:
            wait_more(load, 1000)
        outbox.settle()
        for _ in range(5):
            wait_for(lambda: relay.status()["source"]["sleeping"], "the relay to sleep")
            outbox.write(1, keys="idle")
            outbox.oracle.wait(SOON_S)
        outbox.settle()
        relay.stop()
    assert said(relay, "do not arrive|logical decoding|failed") == []
    assert errors_of(outbox, since) == []
    assert not prepares(outbox, since)


def test_a_session_pooler_is_proved_by_several(outbox: Outbox, postgres: Postgres) -> None:
    """Each session is one for as long as it is used, which only time tells."""
    outbox.one(f"ALTER DATABASE {outbox.db} SET log_statement = 'all'")
    since = postgres.log_size()
    with PgBouncer(postgres, mode="session") as pooler:
        relay = outbox.relay({"postgres.uri": pooler.uri(outbox.db), **BACKSTOP})
        outbox.write(10)
        outbox.settle()
        relay.wait_log(NOTIFY)
        wait_for(lambda: relay.status()["source"]["sleeping"], "the relay to sleep")
        outbox.write(1)
        outbox.oracle.wait(SOON_S)
        outbox.settle()
        relay.stop()
    assert said(relay, "do not arrive") == []
    assert not prepares(outbox, since)  # that may be, but is not sure


# -- two-phase writers, and rights ---------------------------------------------------------------


def test_two_phase_writers_are_decoded_until_they_are_none(able: Outbox) -> None:
    relay = able.relay(BACKSTOP)
    relay.wait_log("ALTER DATABASE .* SET outbox_relay.notify = 'on'")
    relay.wait_log(WAL)
    wait_mode(relay, "wal")
    writer = able.connect()
    for number in range(3):
        events = able.insert(writer, 5, keys="prepared")
        writer.cursor().execute(f"PREPARE TRANSACTION '{able.db}-{number}'")
        able.write(5)
        able.one(f"COMMIT PREPARED '{able.db}-{number}'")
        writer.rollback()
        able.committed(events)
        able.oracle.wait(SOON_S)
    able.settle()
    assert slots(able) == 1

    let_notify(able, True)
    able.close()  # sessions from before do not know of it
    reconnect(able, relay)
    relay.wait_log(NOTIFY)
    wait_mode(relay, "notify")
    wait_for(lambda: slots(able) == 0, "the slot to be gone")
    wait_for(lambda: relay.status()["source"]["sleeping"], "the relay to sleep")
    able.write(1)
    able.oracle.wait(SOON_S)
    able.settle()
    assert len(said(relay, f"{NOTIFY}|{WAL}|{INTERVAL}")) == 2


def test_the_right_to_replicate(able: Outbox) -> None:
    """Without it the interval; given, the stream, by itself; a rung lost with it is left."""
    role = f"{able.db}_relay"
    able.one(f"CREATE ROLE {role} LOGIN")
    able.one(f"GRANT SELECT, DELETE ON outbox TO {role}")
    able.one(f"GRANT SELECT, UPDATE ON outbox_lease TO {role}")
    able.one(f"GRANT SELECT, INSERT, DELETE ON outbox_parked TO {role}")
    able.one(
        "CREATE PUBLICATION outbox_relay FOR TABLE outbox WITH (publish = 'insert, truncate')"
    )
    relay = able.relay({"postgres.uri": able.server.uri(able.db, user=role)})
    relay.wait_log(f'role ."{role}." may not replicate: ALTER ROLE ."{role}." REPLICATION')
    relay.wait_log(INTERVAL)
    wait_mode(relay, "interval")
    able.write(100)
    able.settle()

    able.one(f"ALTER ROLE {role} REPLICATION")
    relay.wait_log(WAL)
    wait_mode(relay, "wal")
    able.write(100)
    able.settle()
    assert len(said(relay, "may not replicate")) == 1

    able.one(f"ALTER ROLE {role} NOREPLICATION")
    since = relay.log_size()
    able.one("SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots")
    relay.wait_log(INTERVAL, since=since)
    relay.wait_log("may not replicate", since=since)
    able.write(100)
    able.settle()
    assert slots(able) == 0


# -- to and fro ----------------------------------------------------------------------------------


def test_a_rung_that_flaps_is_left_alone(able: Outbox) -> None:
    """Notifications are possible in every other session: it does not follow."""
    let_notify(able, True)
    relay = able.relay(BACKSTOP)
    wait_mode(relay, "notify")
    probes = Probes(able)
    modes = ["notify"]

    def look() -> None:
        now = mode(relay)
        if now != modes[-1]:
            modes.append(now)

    with load_of(able) as load:
        for _ in range(10):
            let_notify(able, False)
            reconnect(able, relay)
            look()
            let_notify(able, True)
            probes.forget()
            reconnect(able, relay)
            probes.wait()
            look()
            wait_more(load, 10)
            look()
    able.settle()
    assert modes[:2] in (["notify", "interval"], ["notify", "wal"])
    assert modes.count("notify") <= 2, modes
    assert len(said(relay, NOTIFY)) <= 2
    assert len(said(relay, WAL)) <= 2


def test_to_and_fro_under_load(able: Outbox) -> None:
    """From the stream to the table and back, three times, while writers go on."""
    let_notify(able, True)
    relay = able.relay()
    with load_of(able) as load:
        for _ in range(3):
            wait_mode(relay, "notify")
            wait_more(load, 200)
            let_notify(able, False)
            reconnect(able, relay)
            wait_mode(relay, "wal")
            wait_more(load, 200)
            let_notify(able, True)
            wait_for(
                lambda: reconnect(able, relay) or mode(relay) == "notify",
                "so many sessions that it trusts them",
            )
    able.settle()
    wait_for(lambda: slots(able) == 0, "the slot to be gone")
