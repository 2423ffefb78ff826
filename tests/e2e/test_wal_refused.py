"""Logical decoding that is asked for and cannot be: what the relay says of it, and that what it says
helps. Once it has streamed it goes on without, from the table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.refusal import RIGHT_MISSING, WRONG, Guarded, Refusal, complaints, publish
from support.relay import Relay
from support.wal import WalScene

WAL = {"source.mode": "wal"}
_PUBLICATION = "CREATE PUBLICATION outbox_relay FOR TABLE outbox"


def _publication(name: str, made: str, says: str, remedy: str) -> Refusal:
    return Refusal(
        name,
        f"DROP PUBLICATION outbox_relay; CREATE TABLE other (id int); {made}",
        WRONG,
        rf'source\.mode wal: publication "outbox_relay" {says}',
        remedy,
        WAL,
    )


REFUSALS = [
    Refusal(
        "no REPLICATION",
        "ALTER ROLE {role} NOREPLICATION",
        RIGHT_MISSING,
        r'source\.mode wal: role "[^"]+" may not replicate',
        r": (ALTER ROLE .*)$",
        WAL,
    ),
    Refusal(
        "no publication",
        "DROP PUBLICATION outbox_relay",
        RIGHT_MISSING,
        r'source\.mode wal: there is no publication "outbox_relay", and role "[^"]+" may not make it',
        r"(CREATE PUBLICATION .*)$",
        WAL,
    ),
    Refusal(
        "no publication of that name",
        "SELECT 1",
        RIGHT_MISSING,
        r'source\.mode wal: there is no publication "An odd name", and role',
        r"(CREATE PUBLICATION .*)$",
        {**WAL, "source.publication": "An odd name"},
    ),
    _publication(
        "the table is not in it",
        "CREATE PUBLICATION outbox_relay FOR TABLE other",
        r"does not have public\.outbox",
        r": (ALTER PUBLICATION .*)$",
    ),
    _publication(
        "rows are filtered",
        "CREATE PUBLICATION outbox_relay FOR TABLE outbox WHERE (seq > 5)"
        " WITH (publish = 'insert')",
        r"filters rows or columns of public\.outbox",
        r": (ALTER PUBLICATION .*)$",
    ),
    _publication(
        "columns are left out",
        "CREATE PUBLICATION outbox_relay FOR TABLE outbox (seq, id, aggregateid)",
        r"filters rows or columns of public\.outbox",
        r": (ALTER PUBLICATION .*)$",
    ),
    _publication(
        "inserts are left out",
        _PUBLICATION + " WITH (publish = 'update, truncate')",
        r"leaves inserts out",
        r": (ALTER PUBLICATION .*)$",
    ),
]


def wait_wal(relay: Relay) -> None:
    relay.wait_metric("source_mode", 1, timeout=60, mode="wal")


@pytest.fixture
def guarded(wal_server: Postgres) -> Guarded:
    """With what logical decoding needs besides."""
    made = Guarded(wal_server)
    made.run(f'ALTER ROLE "{made.role}" REPLICATION; {_PUBLICATION}')
    return made


def test_the_rights_that_suffice(
    guarded: Guarded, topic_prefix: str, relay_factory: Callable[..., Relay]
) -> None:
    relay = relay_factory({"postgres.uri": guarded.uri, **WAL})
    wait_wal(relay)
    publish(guarded.server, guarded.db, topic_prefix, relay)


def test_a_publication_that_it_makes_itself(wal: WalScene) -> None:
    """As the owner of the table; whatever its name is."""
    name = """odd "na'me\\"""
    relay = wal.streaming({"source.publication": name})
    wal.write(10)
    wal.judge()
    relay.stop()
    assert wal.sql("SELECT pubname, pubinsert, pubdelete FROM pg_publication") == [
        (name, True, False)
    ]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_refused_and_remedied(
    guarded: Guarded, refusal: Refusal, topic_prefix: str, relay_factory: Callable[..., Relay]
) -> None:
    settings = {"postgres.uri": guarded.uri, **refusal.settings}
    guarded.spoil(refusal)
    relay = relay_factory(settings)
    assert relay.wait_exit() == refusal.code
    said = complaints(relay)
    assert len(said) == 1, said
    assert re.search(refusal.says, said[0]), said[0]
    guarded.heal(refusal, said[0])
    again = relay_factory(settings)
    wait_wal(again)
    publish(guarded.server, guarded.db, topic_prefix, again)


# -- the server's settings -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_server() -> Iterator[Postgres]:
    """Its settings are in its file, where an operator changes them."""
    with Postgres() as server:
        yield server


def test_a_server_that_cannot_decode(
    plain_server: Postgres,
    kafka: Kafka,
    topic_prefix: str,
    relay_factory: Callable[..., Relay],
) -> None:
    """Each setting is remedied by what is said of it, up to the server's restart."""
    server = plain_server
    db = server.createdb()
    settings = {
        "postgres.uri": server.uri(db),
        "kafka.bootstrap.servers": kafka.bootstrap,
        **WAL,
    }
    for spoilt, says in (
        ("wal_level = 'replica'", "wal_level is replica"),
        ("max_wal_senders = 0", "max_wal_senders or max_replication_slots is 0"),
        ("max_replication_slots = 0", "max_wal_senders or max_replication_slots is 0"),
    ):
        server.psql("postgres", f"ALTER SYSTEM SET {spoilt}")
        server.restart()
        relay = relay_factory(settings)
        assert relay.wait_exit() == WRONG
        (said,) = complaints(relay)
        found = re.search(rf"source\.mode wal: {says}: (ALTER .*), and restart the server$", said)
        assert found, said
        for statement in found[1].split("; "):
            server.psql("postgres", statement)
        server.restart()
        relay = relay_factory(settings)
        wait_wal(relay)
        publish(server, db, topic_prefix, relay)
        relay.stop()


# -- later -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "says", "remedy"),
    [
        (
            "ALTER PUBLICATION outbox_relay DROP TABLE outbox",
            r'does not have public\.outbox',
            "ALTER PUBLICATION outbox_relay ADD TABLE outbox",
        ),
        (
            "ALTER PUBLICATION outbox_relay SET TABLE outbox WHERE (partition IS NULL)",
            r'filters rows or columns of public\.outbox',
            "ALTER PUBLICATION outbox_relay SET TABLE outbox",
        ),
    ],
    ids=["without the table", "with a filter"],
)
@pytest.mark.parametrize("ack_mode", ["delete"], indirect=True)
def test_what_was_fine_at_the_start(
    wal: WalScene, ack_mode: str, spoil: str, says: str, remedy: str
) -> None:
    """The relay says so, reads the table, and streams again by itself once it may."""
    wal.ack_mode = ack_mode
    relay = wal.streaming()
    walsender = wal.wait_streaming(relay)
    with wal.load(pause_s=0.005):
        wal.wait_seen(100)
        since = relay.log_size()
        wal.sql(spoil)
        relay.wait_log(says, 60, since=since)
        wal.wait_seen(200)
        assert wal.mode(relay) != "wal"
        assert relay.exit_code is None
        wal.sql(remedy)
        wal.wait_streaming(relay, after=walsender)
        wal.wait_seen(100)
    wal.judge()
