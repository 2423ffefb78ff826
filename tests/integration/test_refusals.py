"""The relay does not start where it could not keep its word: it says why, and what to do."""

from __future__ import annotations

import pathlib
import re
import socket
from collections.abc import Callable, Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.refusal import REFUSALS, WRONG, Guarded, Refusal, complaints, publish
from support.relay import Relay, command
from support.wait import wait_for


@pytest.fixture(params=REFUSALS, ids=lambda refusal: refusal.name)
def refusal(request: pytest.FixtureRequest) -> Refusal:
    return request.param


@pytest.fixture
def guarded(postgres: Postgres) -> Guarded:
    return Guarded(postgres)


def test_refused_and_remedied(
    guarded: Guarded,
    refusal: Refusal,
    topic_prefix: str,
    relay_factory: Callable[..., Relay],
) -> None:
    settings = {"postgres.uri": guarded.uri, **refusal.settings}
    guarded.spoil(refusal)
    relay = relay_factory(settings)
    assert relay.wait_exit() == refusal.code
    said = complaints(relay)
    assert len(said) == 1, said
    message = said[0]
    assert re.search(refusal.says, message), message
    assert "\n" not in message
    if not refusal.remedy:
        return
    guarded.heal(refusal, message)
    again = relay_factory(settings).wait_ready()
    publish(guarded.server, guarded.db, topic_prefix, again)


def test_a_lease_without_its_row(
    guarded: Guarded, topic_prefix: str, relay_factory: Callable[..., Relay]
) -> None:
    """Not refused, since a running relay may meet it too: it says so and goes on by itself."""
    guarded.run("DELETE FROM outbox_lease")
    relay = relay_factory({"postgres.uri": guarded.uri})
    found = relay.wait_log(r"has no row for shard 0: (INSERT INTO \S+ \(shard\) VALUES \(0\))")
    remedy = found[1]
    assert relay.get("/readyz")[0] == 503
    guarded.run(remedy)
    relay.wait_ready()
    publish(guarded.server, guarded.db, topic_prefix, relay)


# -- servers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


def test_a_standby_is_waited_for(
    own_server: Postgres, kafka: Kafka, topic_prefix: str, relay_factory: Callable[..., Relay]
) -> None:
    db = own_server.createdb()
    with own_server.copy(standby=True) as standby:
        assert standby.psql(db, "SELECT pg_is_in_recovery()").strip() == "t"
        settings = {
            "postgres.uri": standby.uri(db),
            "kafka.bootstrap.servers": kafka.bootstrap,
        }
        relay = relay_factory(settings)
        relay.wait_log(r"PostgreSQL cannot be read: .*standby.*name the primary")
        assert relay.get("/livez")[0] == 200
        assert relay.get("/readyz")[0] == 503
        standby.promote()
        relay.wait_ready()
        publish(standby, db, topic_prefix, relay)
        relay.stop()


@pytest.fixture(scope="module")
def password_server(own_server: Postgres) -> Postgres:
    """Its role guarded needs a password."""
    rules = own_server.data / "pg_hba.conf"
    rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    own_server.psql("postgres", "SELECT pg_reload_conf()")
    own_server.psql("postgres", "CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'r1ght-secret'")
    return own_server


def test_a_wrong_password_is_not_shown_and_tried_again(
    password_server: Postgres, topic_prefix: str, relay_factory: Callable[..., Relay]
) -> None:
    db = password_server.createdb()
    uri = f"postgresql://guarded:wr0ng-secret@127.0.0.1:{password_server.port}/{db}"
    relay = relay_factory({"postgres.uri": uri})
    relay.wait_log(r"password authentication failed for user")
    assert relay.get("/readyz")[0] == 503
    assert relay.exit_code is None
    password_server.psql("postgres", "ALTER ROLE guarded PASSWORD 'wr0ng-secret'")
    try:
        relay.wait_ready()
        publish(password_server, db, topic_prefix, relay)
        status, metrics = relay.get("/statusz")[1], relay.get("/metrics")[1]
        relay.stop()
    finally:
        password_server.psql("postgres", "ALTER ROLE guarded PASSWORD 'r1ght-secret'")
    for text in (relay.log.read_text(), status, metrics):
        assert "secret" not in text


# -- settings and ports ----------------------------------------------------------------------------

WRONG_SETTINGS = [
    ({"window.events": "many"}, r"OUTBOX_WINDOW_EVENTS"),
    ({"source.mode": "poll"}, r"OUTBOX_SOURCE_MODE"),
    ({"source.table": "outbox; DROP TABLE outbox"}, r"OUTBOX_SOURCE_TABLE"),
    ({"ack.mode": "forget"}, r"OUTBOX_ACK_MODE.*delete.*mark"),
    ({"failure.policy": "skip"}, r"OUTBOX_FAILURE_POLICY.*halt"),
    ({"route.topic": "x.${nothing}"}, r"route\.topic|OUTBOX_ROUTE_TOPIC"),
    ({"http.listen": "nowhere"}, r"OUTBOX_HTTP_LISTEN|http\.listen"),
    ({"postgres.uri": "postgresql://u:s3cret@[::1/db"}, r"postgres\.uri does not parse"),
    ({"kafka.enable.idempotence": "false"}, r"enable\.idempotence"),
    ({"kafka.acks": "1"}, r"acks"),
    ({"kafka.no.such.property": "1"}, r"no\.such\.property"),
    ({"sorce.table": "outbox"}, r"OUTBOX_SORCE_TABLE.*OUTBOX_SOURCE_TABLE"),
]


@pytest.mark.parametrize(
    ("settings", "says"), WRONG_SETTINGS, ids=[next(iter(each)) for each, _ in WRONG_SETTINGS]
)
@pytest.mark.parametrize("name", ["run", "check"])
def test_a_wrong_setting(name: str, settings: dict[str, str], says: str) -> None:
    """Before anything is touched: the servers that it names are nowhere."""
    servers = {"postgres.uri": "host=/nowhere", "kafka.bootstrap.servers": "127.0.0.1:1"}
    done = command(name, settings={"http.listen": "", **servers, **settings})
    assert done.returncode == WRONG, done.stderr
    said = [
        line
        for line in (done.stderr + done.stdout).splitlines()
        if re.search(says, line)
    ]
    assert len(said) == 1, done.stderr + done.stdout
    assert "s3cret" not in done.stderr + done.stdout
    assert "/nowhere" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "--sorce-table", "x"), "--source-table"),
        (("run", "--window-events"), "--window-events"),
        (("rum",), "rum"),
        (("run", "outbox"), "outbox"),
    ],
    ids=["unknown", "no value", "command", "too many"],
)
def test_a_wrong_flag(arguments: tuple[str, ...], says: str) -> None:
    done = command(*arguments)
    assert done.returncode == 64
    (line,) = done.stderr.splitlines()
    assert says in line


def test_a_wrong_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "relay.json"
    done = command("run", "--config", str(path))
    assert done.returncode == WRONG
    assert str(path) in done.stderr
    path.write_text('{\n  "ack": {"mode": "delete",}\n}\n')
    done = command("run", "--config", str(path))
    assert done.returncode == WRONG
    (line,) = done.stderr.splitlines()
    assert re.search(rf"{re.escape(str(path))}:2:\d+", line), line


def test_the_http_port_is_in_use(
    postgres: Postgres, db: str, topic_prefix: str, relay_factory: Callable[..., Relay]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = "127.0.0.1:%d" % other.getsockname()[1]
        relay = relay_factory({"http.listen": listen})
        assert relay.wait_exit() == 69
        said = complaints(relay)
        assert len(said) == 1, said
        message = said[0]
        assert f"http.listen {listen}" in message and "Address already in use" in message
        lease = postgres.psql(db, "SELECT count(*) FROM outbox_lease WHERE owner IS NOT NULL")
        assert lease.strip() == "0"
    again = relay_factory({"http.listen": listen})
    wait_for(lambda: again.get("/readyz")[0] == 200, "the port to be free", 30)
    publish(postgres, db, topic_prefix, again)
