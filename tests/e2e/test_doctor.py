"""outbox-relay doctor: each thing that holds events back is made for real, found by its name, and
gone once the remedy that was printed is carried out."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from support.doctor import FORBIDDEN, HEALTHY, HOLDS, PASSWORD, SECRET, UNREACHABLE, Doctor
from support.kafka import Kafka
from support.kafka_tools import allow
from support.ports import free_port
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for
from support.wal import WalScene

NAMED = {"application_name": "batch"}
PAYLOAD = {"payload": f'"{SECRET}"'}
LISTEN = "http.listen"
STANDBY = {
    "primary_slot_name": "standby",
    "hot_standby_feedback": "on",
    "wal_receiver_status_interval": "1s",
}


class Sick(WalScene):
    """An outbox, its doctor, and the relay that it may ask for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.doctor = Doctor(self.postgres, self.db, self.kafka, self.start)

    def start(self, settings: dict[str, Any] | None = None, *, ready: bool = True) -> Relay:
        own = {"source.mode": "table", "failure.policy": "park", **self.doctor.settings}
        relay = self.relay({**own, LISTEN: f"127.0.0.1:{free_port()}", **(settings or {})})
        self.doctor.settings = {**self.doctor.settings, LISTEN: relay.settings[LISTEN]}
        return relay.wait_ready() if ready else relay

    def churn(self, rows: int) -> None:
        """That many dead rows, and more transactions than autovacuum begins at."""
        connection = self.connect(autocommit=True)
        cursor = connection.cursor()
        cursor.execute(
            "ALTER TABLE outbox SET"
            " (autovacuum_enabled = false, autovacuum_vacuum_threshold = 1000)"
        )
        cursor.execute(
            "INSERT INTO outbox (aggregatetype, aggregateid, type)"
            " SELECT 'a', 'b', 'c' FROM generate_series(1, %s)",
            (rows,),
        )
        cursor.execute("DELETE FROM outbox")
        cursor.execute(
            "DO $$ BEGIN FOR i IN 1..1100 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP;"
            " END $$"
        )
        connection.close()  # tells the statistics


def set_all(server: Postgres, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        server.psql("postgres", f"ALTER SYSTEM SET {name} = '{value}'")
    server.psql("postgres", "SELECT pg_reload_conf()")


def old(sick: Sick, count: int = 1) -> None:
    """Events that have waited for a minute, with no relay that could publish them."""
    sick.write(count, **PAYLOAD)
    sick.sql("UPDATE outbox SET created_at = created_at - interval '1 minute'")


@pytest.fixture
def sick(wal_server: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Sick]:
    made = Sick(wal_server, kafka, tmp_path)
    yield made
    made.close()


def test_nothing_is_found_where_all_is_well(sick: Sick) -> None:
    sick.kafka.create_topic(sick.topic)
    sick.start()
    sick.write(10)
    sick.judge()
    assert sick.doctor.look() == (HEALTHY, [])
    lines = sick.doctor.text().splitlines()
    assert all(line[:1] != " " or line.startswith("  ok ") for line in lines), lines
    assert 'owns the outbox, and said so' in "\n".join(lines)


# -- transactions and locks ------------------------------------------------------------------------


def test_a_transaction_that_stays_open(sick: Sick) -> None:
    connection = sick.connect(**NAMED)
    sick.insert(connection, 1, **PAYLOAD)
    pid = connection.info.backend_pid
    finding = sick.doctor.cure(f"^pid {pid} .*batch.*postgres.*idle in transaction.*has not ended")
    assert finding.where == "public.outbox"
    with pytest.raises(psycopg2.OperationalError):
        connection.commit()


def test_a_prepared_transaction_that_stays(sick: Sick) -> None:
    connection = sick.connect()
    sick.insert(connection, 1, **PAYLOAD)
    connection.cursor().execute("PREPARE TRANSACTION 'it''s lost'")
    connection.commit()
    sick.doctor.cure("^prepared transaction 'it''s lost' .*has not ended")


def test_a_lock_on_the_outbox(sick: Sick) -> None:
    connection = sick.connect(**NAMED)
    connection.cursor().execute("LOCK TABLE outbox IN SHARE MODE")
    sick.doctor.cure(f"^pid {connection.info.backend_pid} .*batch.*has ShareLock on public.outbox$")


def test_who_blocks_a_writer(sick: Sick) -> None:
    """By a lock on another table."""
    sick.sql("CREATE TABLE orders (id integer PRIMARY KEY)")
    blocker = sick.connect(**NAMED)
    blocker.cursor().execute("INSERT INTO orders VALUES (1)")
    writer = sick.connect()
    sick.insert(writer, 1, **PAYLOAD)
    pids = blocker.info.backend_pid, writer.info.backend_pid
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(writer.cursor().execute, "INSERT INTO orders VALUES (1)")
        sick.doctor.cure(f"^pid {pids[0]} .*batch.*is waited for by pid {pids[1]} ")
        waiting.result(10)


def test_a_locked_table_does_not_hang_it(sick: Sick) -> None:
    sick.write(1, **PAYLOAD)
    connection = sick.connect(**NAMED)
    connection.cursor().execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
    began = time.monotonic()
    code, findings = sick.doctor.look()
    assert time.monotonic() - began < 10 and code == HOLDS
    assert any("lock timeout" in each.what for each in findings)
    sick.doctor.cure("it cannot be read: canceling statement due to lock timeout")


def test_what_may_not_be_seen(sick: Sick) -> None:
    """The README's rights are enough to look, but for others' sessions."""
    sick.sql(f'CREATE ROLE "eye {sick.db}" LOGIN')
    for grant in (
        "SELECT, DELETE ON outbox",
        "SELECT, UPDATE ON outbox_lease",
        "SELECT, INSERT, DELETE ON outbox_parked",
    ):
        sick.sql(f'GRANT {grant} TO "eye {sick.db}"')
    sick.doctor.settings["postgres.uri"] = (
        f"postgresql://eye%20{sick.db}@127.0.0.1:{sick.postgres.port}/{sick.db}"
    )
    connection = sick.connect(**NAMED)
    sick.insert(connection, 1, **PAYLOAD)
    pid = connection.info.backend_pid
    sick.doctor.cure(f"since when .* these sessions are open: pids .*{pid}", "unseen")
    sick.doctor.wait_named(f"^pid {pid} .*has not ended")


def test_a_right_that_is_missing(sick: Sick) -> None:
    """The code is that of check, and the remedy the error's own."""
    role = f"blind {sick.db}"
    sick.sql(f'CREATE ROLE "{role}" LOGIN')
    address = f"127.0.0.1:{sick.postgres.port}/{sick.db}"
    sick.doctor.settings["postgres.uri"] = f"postgresql://{role.replace(' ', '%20')}@{address}"
    sick.sql(f'GRANT SELECT, UPDATE ON outbox_lease TO "{role}"')
    sick.sql(f'GRANT SELECT, INSERT, DELETE ON outbox_parked TO "{role}"')
    assert sick.doctor.look()[0] == FORBIDDEN
    assert sick.doctor.cure("may not read").remedy.startswith("GRANT SELECT ON public.outbox TO ")
    finding = sick.doctor.cure("may not delete")
    assert finding.remedy == f'GRANT DELETE ON public.outbox TO "{role}";'


def test_a_server_that_stands_still_does_not_hang_it(sick: Sick) -> None:
    sick.postgres.pause()
    try:
        began = time.monotonic()
        assert sick.doctor.look()[0] == UNREACHABLE
        assert time.monotonic() - began < 10
    finally:
        sick.postgres.resume()


# -- the table -------------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", ["outbox_wake", "outbox_truncated"])
def test_a_trigger(sick: Sick, trigger: str) -> None:
    sick.sql(f"ALTER TABLE outbox DISABLE TRIGGER {trigger}")
    sick.doctor.cure(f"trigger {trigger} is disabled", "warns")
    sick.sql(f"DROP TRIGGER {trigger} ON outbox")
    sick.doctor.cure(f"trigger {trigger} is missing", "warns")


def test_a_guard_that_was_forgotten(sick: Sick) -> None:
    """But that of an older schema, which has none, is not missed."""
    sick.postgres.unguard(sick.db)
    sick.doctor.cure("trigger outbox_guard is disabled", "warns")
    sick.sql("DROP TRIGGER outbox_guard ON outbox")
    assert not any("guard" in each.what for each in sick.doctor.look()[1])


def test_an_index(sick: Sick) -> None:
    sick.sql("DROP INDEX outbox_unpublished_xid")
    sick.doctor.cure("no index on xid", "warns")
    sick.sql("DROP INDEX outbox_xid_idx")
    writer = sick.connect()
    sick.insert(writer, 1)
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        connection = sick.connect(autocommit=True, options="-c lock_timeout=100")
        connection.cursor().execute("CREATE INDEX CONCURRENTLY half_built ON outbox (xid)")
    writer.rollback()
    assert "half_built" in sick.doctor.cure("no index on xid", "warns").remedy


def test_no_vacuum(sick: Sick) -> None:
    sick.churn(11_000)
    sick.doctor.cure("11000 of 11000 rows are dead .* never", "warns")
    sick.doctor.cure("autovacuum is disabled for this table", "warns")
    set_all(sick.postgres, {"autovacuum": "off"})
    sick.doctor.cure("autovacuum is off", "warns")


@pytest.mark.parametrize("prepared", [False, True], ids=["session", "prepared"])
def test_what_keeps_vacuum_from_cleaning(sick: Sick, prepared: bool) -> None:
    connection = sick.connect(**NAMED)
    connection.set_session(isolation_level="REPEATABLE READ")
    connection.cursor().execute("SELECT pg_current_xact_id()")
    name = f"pid {connection.info.backend_pid} .*batch"
    if prepared:
        connection.cursor().execute("PREPARE TRANSACTION 'report'")
        connection.commit()
        name = "prepared transaction 'report'"
    sick.churn(1200)
    sick.doctor.cure(f"^{name}.*keeps vacuum from removing dead rows: 1200", "warns")


def test_a_standby_keeps_vacuum_from_cleaning(sick: Sick) -> None:
    sick.sql("SELECT pg_create_physical_replication_slot('standby')")
    with sick.postgres.copy(standby=True) as standby:
        set_all(standby, STANDBY)
        report = standby.connect(sick.db)
        report.set_session(isolation_level="REPEATABLE READ")
        report.cursor().execute("SELECT count(*) FROM outbox")
        held = "SELECT xmin FROM pg_replication_slots WHERE slot_name = 'standby'"
        wait_for(lambda: sick.sql(held)[0][0], "the standby's feedback")
        sick.churn(1200)
        finding = sick.doctor.wait_named('slot "standby" .*hot_standby_feedback.*keeps vacuum')
        Doctor(standby, sick.db, sick.kafka).carry_out(finding.remedy)
        sick.doctor.wait_gone("keeps vacuum")
        set_all(standby, STANDBY)
        sick.doctor.wait_named('slot "standby" .*hot_standby_feedback.*keeps vacuum')
        standby.stop("immediate")
    sick.doctor.cure('slot "standby" .*nobody reads.*keeps vacuum', "warns")


# -- the slot --------------------------------------------------------------------------------------


def test_a_slot_that_nobody_reads(sick: Sick) -> None:
    sick.doctor.settings |= {**sick.slot_settings(), "source.wal_budget": "16MiB"}
    sick.doctor.settings |= {"source.mode": "wal"}
    sick.doctor.carry_out("outbox-relay check --fix")
    for _ in range(2):
        sick.sql("SELECT pg_logical_emit_message(true, 'other', 'x'), pg_switch_wal()")
    assert sick.doctor.wait_named("holds back .* source.wal_budget is 16 MB").severity == "warns"
    finding = sick.doctor.cure("nobody reads it, and it holds back")
    assert finding.where == f'slot "{sick.db}"'
    sick.sql("CHECKPOINT")
    sick.write(1)
    sick.doctor.wait_gone("source.wal_budget")


def test_a_slot_that_is_nearly_lost_and_lost(sick: Sick) -> None:
    sick.doctor.settings |= sick.slot_settings()
    sick.doctor.carry_out("outbox-relay check --fix")
    set_all(sick.postgres, {"max_slot_wal_keep_size": "64MB"})
    try:
        for _ in range(4):
            sick.sql("SELECT pg_logical_emit_message(true, 'other', 'x'), pg_switch_wal()")
        sick.doctor.cure("is lost with all its events at max_slot_wal_keep_size", "warns")
        set_all(sick.postgres, {"max_slot_wal_keep_size": "16MB"})
        sick.sql("CHECKPOINT")
        sick.doctor.cure(f'slot "{sick.db}" has lost WAL')
    finally:
        set_all(sick.postgres, {"max_slot_wal_keep_size": "-1"})


def test_a_slot_that_waits_for_a_transaction(sick: Sick) -> None:
    """In another database: it is made when that has ended."""
    blocker = sick.blocker()
    relay = sick.start({"source.mode": "wal"})
    sick.wait_making(relay)
    sick.doctor.cure(f"^pid {blocker.info.backend_pid} .*is waited for by pid .*outbox-relay wal")
    sick.wait_streaming(relay)


# -- events and their relay ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "says", "severity"),
    [("park", "is parked, and holds up its key", "holds"), ("dead-letter", "is dead", "warns")],
)
def test_events_that_cannot_be_published(
    sick: Sick, policy: str, says: str, severity: str
) -> None:
    relay = sick.start({"failure.policy": policy})
    sick.postgres.unguard(sick.db)
    connection = sick.connect(autocommit=True)
    bad = [sick.insert(connection, 1, headers="[1]", **PAYLOAD)[0][0] for _ in range(4)]
    table = "outbox" if policy == "park" else "outbox_dead"
    if policy == "park":  # what is behind the first waits for it
        relay.wait_metric("parked_events", 1)
    else:
        wait_for(lambda: sick.sql("SELECT count(*) FROM outbox_dead") == [(4,)], "dead events")
    if policy == "dead-letter":
        assert sick.doctor.wait_named("4 such events in all, the oldest since").severity == severity
    sick.sql(f"UPDATE {table} SET headers = NULL")
    for event_id in bad[:1] if policy == "park" else bad:
        sick.doctor.cure(f"^event {event_id} .*key-0.*{says}.*headers are not", severity)
    wait_for(lambda: sick.unacknowledged() == 0, "all to be published")


def test_nobody_owns_the_outbox(sick: Sick) -> None:
    old(sick)
    code, findings = sick.doctor.look()
    assert code == HOLDS
    assert any(each.what.startswith("events that wait: 1; the oldest") for each in findings)
    assert any("no outbox-relay answers" in each.what for each in findings)
    sick.kafka.create_topic(sick.topic)
    sick.doctor.cure("no relay owns the outbox")
    sick.judge()
    sick.doctor.wait_gone(".")


def test_an_owner_that_stands_still(sick: Sick) -> None:
    relay = sick.start({"lease.ttl_ms": 2000})
    relay.pause()
    try:
        sick.doctor.cure('^relay ".*" owned the outbox until .* ago')
    finally:
        relay.resume()


def test_a_relay_that_is_not_ready(sick: Sick) -> None:
    relay = sick.start({"kafka.bootstrap.servers": f"127.0.0.1:{free_port()}"}, ready=False)
    finding = sick.doctor.wait_named("^not ready: ")
    assert finding.where == f"http.listen {relay.settings[LISTEN]}"
    assert sick.doctor.wait_named("^stalled: Kafka cannot be reached").severity == "holds"
    sick.doctor.carry_out(finding.remedy)
    relay.stop()
    sick.start()
    sick.doctor.wait_gone(".")


# -- Kafka -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict() -> Iterator[Kafka]:
    """Two brokers that make no topics, miss each other soon, and know of rights."""
    settings = {
        "broker.session.timeout.ms": "1500",
        "broker.heartbeat.interval.ms": "300",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with Kafka(2, auto_create=False, controllers=1, settings=settings) as cluster:
        yield cluster


@pytest.fixture
def strictly(wal_server: Postgres, strict: Kafka, tmp_path: pathlib.Path) -> Iterator[Sick]:
    made = Sick(wal_server, strict, tmp_path)
    yield made
    made.close()


def test_a_topic_that_does_not_exist(strictly: Sick) -> None:
    strictly.start()
    strictly.write(1, **PAYLOAD)
    strictly.doctor.wait_named(f"^topic {strictly.topic} is paused, 1 events passed over")
    finding = strictly.doctor.cure("^it does not exist")
    assert finding.where == f"topic {strictly.topic}"
    strictly.judge()
    strictly.doctor.wait_gone(".")


def test_it_creates_no_topic(sick: Sick) -> None:
    """Where the broker would do that for whoever asks."""
    old(sick)
    assert sick.doctor.wait_named("^it does not exist").where == f"topic {sick.topic}"
    assert sick.topic not in sick.kafka.admin().list_topics(timeout=10).topics


@pytest.mark.parametrize(
    ("who", "may", "says"),
    [
        ("ANONYMOUS", "Describe", "^it may not be written to"),
        ("somebody", "Read", "^it is not there, or not visible"),
    ],
)
def test_a_topic_that_may_not_be_written(strictly: Sick, who: str, may: str, says: str) -> None:
    strictly.kafka.create_topic(strictly.topic)
    allow(strictly.kafka, strictly.topic, f"User:{who}", [may])
    old(strictly)
    finding = strictly.doctor.cure(says)
    assert finding.where == f"topic {strictly.topic}"
    strictly.doctor.look()  # now that it would be let through
    allow(strictly.kafka, strictly.topic, "User:ANONYMOUS", ["Read", "DescribeConfigs"])
    strictly.start()
    strictly.judge()
    assert strictly.oracle.count(strictly.topic) == 1, "asking wrote nothing"


def test_brokers_that_are_away(strictly: Sick) -> None:
    strictly.kafka.create_topic(strictly.topic, configs={"min.insync.replicas": 2})
    single = f"{strictly.topic}.single"
    strictly.kafka.create_topic(single, partitions=2, replication=1)
    old(strictly)
    strictly.write(1, topic=single)
    assert strictly.doctor.named("replicas|leader") is None
    strictly.kafka.kill(1)
    finding = strictly.doctor.cure("insync.replicas, 2: 1, partition 0 first with 1; .*broker 2")
    assert finding.where == f"topic {strictly.topic}"
    leaderless = "^partitions without a leader: 1, .* bring back one of its brokers, 2$"
    finding = strictly.doctor.wait_named(leaderless)
    assert (finding.severity, finding.where) == ("holds", f"topic {single}")
    strictly.kafka.start(1)
    strictly.doctor.wait_gone(leaderless)


@pytest.mark.parametrize("away", ["postgres.uri", "kafka.bootstrap.servers"])
def test_a_server_that_cannot_be_reached(sick: Sick, away: str) -> None:
    """The other one, and the relay, are looked at all the same."""
    nobody = f"127.0.0.1:{free_port()}"
    address = f"postgresql://u:{PASSWORD}@{nobody}/db" if away == "postgres.uri" else nobody
    code, findings = sick.doctor.look({away: address})
    assert code == UNREACHABLE
    (finding,) = [each for each in findings if each.remedy == "outbox-relay check"]
    where = "outbox" if away == "postgres.uri" else away
    assert "refused" in finding.what and finding.where == where
    assert any("no outbox-relay answers" in each.what for each in findings)
