"""`check` says what `run` would, without changing anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.kafka import Kafka
from support.ports import free_port
from support.postgres import Postgres
from support.refusal import REFUSALS, WRONG, Guarded, Refusal, results
from support.relay import command
from support.writer import insert

_STATE = """
SELECT (SELECT json_agg(o) FROM outbox o)::text || (SELECT json_agg(l) FROM outbox_lease l)::text
"""

_DURATION = re.compile(r"\d+ ?ms")


@pytest.fixture
def guarded(postgres: Postgres) -> Guarded:
    return Guarded(postgres)


def check(settings: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """As text and as JSON, which have to say the same; the exit code and the results."""
    with ThreadPoolExecutor() as pool:  # both at a time: a server that is away takes them 10 s
        runs = [pool.submit(command, "check", *how, settings=settings) for how in ([], ["--json"])]
        text, data = (run.result() for run in runs)
    assert text.returncode == data.returncode
    assert text.stderr == "" and data.stderr == ""
    found = results(data.stdout)
    lines = [
        f"{'ok' if each['ok'] else 'FAILED':<8} {each['check']}: {each['message']}"
        for each in found
    ]
    # librdkafka says how long each try took.
    assert _DURATION.sub("N ms", text.stdout).splitlines() == [
        _DURATION.sub("N ms", line) for line in lines
    ]
    return text.returncode, found


def named(found: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [each for each in found if each["check"] == name]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_what_run_would_refuse(guarded: Guarded, kafka: Kafka, refusal: Refusal) -> None:
    guarded.spoil(refusal)
    code, found = check(
        {
            "postgres.uri": guarded.uri,
            "kafka.bootstrap.servers": kafka.bootstrap,
            **refusal.settings,
        }
    )
    assert code == refusal.code
    (failed,) = [each for each in found if not each["ok"]]
    assert failed["check"] == "table"
    assert re.search(refusal.says, failed["message"])
    assert named(found, "kafka")[0]["ok"], "it goes on to the other server"


@pytest.mark.parametrize("ack_mode", ["delete", "mark"])
def test_all_is_well_and_nothing_is_changed(
    guarded: Guarded, kafka: Kafka, topic_prefix: str, ack_mode: str
) -> None:
    connection = guarded.server.connect(guarded.db, autocommit=True)
    insert(connection, topic_prefix, "k")
    before = guarded.server.psql(guarded.db, _STATE)
    kafka.create_topic(f"outbox.event.{topic_prefix}")
    code, found = check(
        {
            "postgres.uri": guarded.uri,
            "kafka.bootstrap.servers": kafka.bootstrap,
            "ack.mode": ack_mode,
        }
    )
    assert code == 0, found
    assert [each["check"] for each in found] == [
        "settings",
        "postgres",
        "table",
        "events",
        "kafka",
        "topic",
    ]
    assert guarded.role in named(found, "postgres")[0]["message"]
    assert named(found, "topic")[0]["message"] == f"outbox.event.{topic_prefix}"
    assert guarded.server.psql(guarded.db, _STATE) == before
    connection.close()


def test_the_address_past_a_pooler(guarded: Guarded, kafka: Kafka) -> None:
    settings = {"postgres.uri": guarded.uri, "kafka.bootstrap.servers": kafka.bootstrap}
    code, found = check({**settings, "postgres.direct_uri": guarded.uri})
    assert code == 0, found
    assert "is the same server" in named(found, "direct")[0]["message"]
    nobody = f"postgresql://u:s3cret@127.0.0.1:{free_port()}/db"
    code, found = check({**settings, "postgres.direct_uri": nobody})
    assert code == 69
    assert [each["check"] for each in found if not each["ok"]] == ["direct"]
    assert "s3cret" not in json.dumps(found)


def test_an_event_that_cannot_be_published(
    guarded: Guarded, kafka: Kafka, topic_prefix: str
) -> None:
    guarded.server.unguard(guarded.db)
    connection = guarded.server.connect(guarded.db, autocommit=True)
    event = insert(connection, topic_prefix, "k", headers="[1]", payload='"a secret payload"')
    connection.close()
    code, found = check(
        {"postgres.uri": guarded.uri, "kafka.bootstrap.servers": kafka.bootstrap}
    )
    assert code == 65
    (failed,) = [each for each in found if not each["ok"]]
    assert event in failed["message"] and "headers" in failed["message"]
    assert "secret" not in json.dumps(found)


def test_nobody_answers(guarded: Guarded) -> None:
    settings = {
        "postgres.uri": f"postgresql://u:s3cret@127.0.0.1:{free_port()}/db",
        "kafka.bootstrap.servers": f"127.0.0.1:{free_port()}",
    }
    code, found = check(settings)
    assert code == 69
    assert [each["check"] for each in found if not each["ok"]] == ["postgres", "kafka"]
    assert "s3cret" not in json.dumps(found)


# -- a server of our own ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    with Postgres({"max_prepared_transactions": "5"}) as server:
        yield server


def test_a_wrong_password(own_server: Postgres, kafka: Kafka) -> None:
    rules = own_server.data / "pg_hba.conf"
    rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    own_server.psql("postgres", "SELECT pg_reload_conf()")
    own_server.psql("postgres", "CREATE ROLE guarded LOGIN PASSWORD 'r1ght-secret'")
    uri = f"postgresql://guarded:wr0ng-secret@127.0.0.1:{own_server.port}/postgres"
    code, found = check({"postgres.uri": uri, "kafka.bootstrap.servers": kafka.bootstrap})
    assert code == 77
    (failed,) = [each for each in found if not each["ok"]]
    assert failed["check"] == "postgres"
    assert 'password authentication failed for user "guarded"' in failed["message"]
    assert "secret" not in json.dumps(found)


def test_a_standby(own_server: Postgres, kafka: Kafka) -> None:
    db = own_server.createdb()
    with own_server.copy(standby=True) as standby:
        settings = {"postgres.uri": standby.uri(db), "kafka.bootstrap.servers": kafka.bootstrap}
        code, found = check(settings)
    assert code == 69
    assert re.search("standby.*name the primary", named(found, "postgres")[0]["message"])


def test_two_phase_transactions_are_named(own_server: Postgres, kafka: Kafka) -> None:
    """It polls where writers may prepare; the remedy is the one that it names."""
    db = own_server.createdb()
    settings = {"postgres.uri": own_server.uri(db), "kafka.bootstrap.servers": kafka.bootstrap}
    code, found = check(settings)
    assert code == 0
    remedy = re.search(r"(ALTER DATABASE .*)$", named(found, "notify")[0]["message"])
    assert remedy
    own_server.psql("postgres", remedy[1])
    code, found = check(settings)
    assert code == 0 and named(found, "notify") == []


def test_wrong_settings_are_a_result(kafka: Kafka) -> None:
    code, found = check(
        {"postgres.uri": "host=/nowhere", "kafka.bootstrap.servers": "", "kafka.acks": "1"}
    )
    assert code == WRONG
    (only,) = found
    assert not only["ok"] and only["check"] == "settings"


def test_decoding(own_server: Postgres, kafka: Kafka) -> None:
    """Where it would be used it is looked at; only where it is insisted on does it have to work."""
    db = own_server.createdb()
    common = {"postgres.uri": own_server.uri(db), "kafka.bootstrap.servers": kafka.bootstrap}
    for mode, expected, ok in (("auto", 0, True), ("wal", 78, False)):
        code, found = check({**common, "source.mode": mode})
        (decoding,) = named(found, "decoding")
        assert (code, decoding["ok"]) == (expected, ok)
        assert "ALTER SYSTEM SET wal_level = 'logical'" in decoding["message"]
    code, found = check({**common, "source.mode": "table"})
    assert code == 0 and named(found, "decoding") == []
    assert own_server.psql(db, "SELECT count(*) FROM pg_publication").strip() == "0"
