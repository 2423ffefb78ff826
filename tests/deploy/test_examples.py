"""The example services are what their readers copy: each is run as it stands, on real servers, as a
role that may write events and no more."""

from __future__ import annotations

import json
import os
import pathlib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from support import examples
from support.kafka import Kafka
from support.oracle import Oracle, Record
from support.ports import free_port
from support.postgres import Postgres
from support.process import Process
from support.relay import Relay

LANGUAGES = sorted(examples.SOURCES)
TOPIC = "outbox.event.order"


@pytest.fixture
def service(postgres: Postgres, db: str) -> str:
    """The address of the service's database, with its role."""
    user = f"shop_{db}"
    examples.service_role(postgres, db, user)
    return postgres.uri(db, user=user)


@pytest.fixture
def no_topic(kafka: Kafka) -> None:
    """What other tests left under the name that the examples have in common goes."""
    if TOPIC in kafka.admin().list_topics(timeout=10).topics:
        kafka.delete_topic(TOPIC)


def said(output: str, what: str) -> list[str]:
    """The rest of each line that begins so."""
    lines = output.splitlines()
    return [line.removeprefix(what).strip() for line in lines if line.startswith(what)]


def left_to_read(bootstrap: str, group: str) -> int:
    """The records of the topic that the group has not said it is done with."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        numbers = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        places = [TopicPartition(TOPIC, number) for number in numbers]
        ends = [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
        done = consumer.committed(places, timeout=10)
        return sum(end - max(place.offset, 0) for end, place in zip(ends, done))
    finally:
        consumer.close()


def once_more(bootstrap: str, records: list[Record]) -> None:
    """The records as a relay that crashed before it had noted them publishes them again."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for each in records:
        producer.produce(each.topic, each.value, each.key, each.partition, headers=each.headers)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_example_tells_of_what_it_committed_and_hears_of_it_once(
    language: str,
    service: str,
    no_topic: None,
    kafka: Kafka,
    postgres: Postgres,
    db: str,
    relay_factory: Callable[..., Relay],
    oracle: Oracle,
    tmp_path: pathlib.Path,
) -> None:
    relay_factory().wait_ready()
    done = examples.run(language, service, kafka.bootstrap, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    committed, lost = said(done.stdout, "committed"), said(done.stdout, "rolled back")
    assert len(committed) == 2 and len(lost) == 1 and said(done.stdout, "absent") == lost

    order, state = postgres.psql(db, "SELECT id, state FROM orders").strip().split("|")
    assert state == "Shipped"
    for event in committed:
        oracle.committed(event, TOPIC, order)
    oracle.rolled_back(lost[0])
    oracle.wait(10)
    oracle.verify(max_duplicates=0)
    shown = []
    for event, state in zip(committed, ("Placed", "Shipped")):
        [record] = oracle.records_of(event)
        assert json.loads(record.value) == {"order": order, "item": "umbrella", "state": state}
        headers = {name: value.decode() for name, value in record.headers}
        assert headers["eventType"] == f"Order{state}"
        shown.append(f"{event} {headers['eventType']} {headers['traceparent']}")
    assert said(done.stdout, "received") == shown
    assert postgres.psql(db, "SELECT count(*) FROM outbox").strip() == "0"
    assert left_to_read(kafka.bootstrap, f"example-{language}") == 0

    # Its next run begins with the same two again, and has handled four different ones at its end.
    once_more(kafka.bootstrap, list(oracle.records))
    again = examples.run(language, service, kafka.bootstrap, tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    handled = postgres.psql(db, f"SELECT event FROM handled_by_{language}").split()
    assert sorted(handled) == sorted(committed + said(again.stdout, "committed"))


def all_of_them(
    service: str, bootstrap: str, folder: pathlib.Path
) -> Iterator[tuple[str, str, str]]:
    """Language, output and errors of each, run beside each other in vain."""
    with ThreadPoolExecutor() as pool:
        ends = {
            language: pool.submit(examples.run, language, service, bootstrap, folder, wait_s=2)
            for language in LANGUAGES
        }
    for language, end in ends.items():
        assert end.result().returncode == 1, f"{language}: {end.result().stdout}"
        yield language, end.result().stdout, end.result().stderr


def test_an_example_ends_when_nothing_is_published(
    service: str, kafka: Kafka, tmp_path: pathlib.Path
) -> None:
    for language, output, errors in all_of_them(service, kafka.bootstrap, tmp_path):
        assert "not all events came: see `outbox-relay status`" in errors, language
        assert said(output, "committed") and not said(output, "absent"), language


def test_an_example_says_that_its_database_is_away(tmp_path: pathlib.Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    away = f"postgresql://shop@{nobody}/shop"
    for language, output, errors in all_of_them(away, nobody, tmp_path):
        assert nobody.partition(":")[2] in errors and "refused" in errors.lower(), language
        assert not output, language


def readyz(port: int) -> int:
    """The status; 0: nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_deployed_service_is_ready_while_it_has_its_database(
    service: str, postgres: Postgres, db: str, tmp_path: pathlib.Path
) -> None:
    secret, port = tmp_path / "database-url", free_port()
    secret.write_text(service + "\n")
    env = {"DATABASE_URL_FILE": str(secret), "ORDERS_EVERY_MS": "20", "HTTP_PORT": str(port)}
    started = Process(
        ["/usr/bin/python3", examples.EXAMPLES / "python" / "service.py"],
        tmp_path / "log",
        {"PATH": os.environ["PATH"], **examples.python_environment(), **env},
    )
    try:
        started.wait_until(lambda: readyz(port) == 200, "it was ready", 20)
        away = f"ALTER ROLE shop_{db} NOLOGIN; SELECT pg_terminate_backend(pid)"
        postgres.psql(db, f"{away} FROM pg_stat_activity WHERE usename = 'shop_{db}'")
        started.wait_until(lambda: readyz(port) == 503, "it was not ready", 20)
        postgres.psql(db, f"ALTER ROLE shop_{db} LOGIN")
        started.wait_until(lambda: readyz(port) == 200, "it was ready again", 20)
        assert started.terminate(20) == 0, started.tail()
    finally:
        started.kill()
    *said_before, last = (tmp_path / "log").read_text().splitlines()
    assert last == "stopped"
    told = set(said("\n".join(said_before), "committed"))
    assert told and told <= set(
        postgres.psql(db, "SELECT aggregateid || ' ' || id FROM outbox").splitlines()
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_example_is_read_in_one_sitting(language: str) -> None:
    assert len(examples.SOURCES[language].read_text().splitlines()) < 80
