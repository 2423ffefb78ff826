"""The judge itself: it passes what is right, and each way of being wrong is found and named."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import Producer
from support.kafka import Kafka
from support.oracle import Oracle

KEY = "k"


class Topic:
    """A topic of a test's own, written to record by record."""

    def __init__(self, kafka: Kafka, name: str) -> None:
        self.name = name
        kafka.create_topic(name, partitions=3)
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 0})

    def put(self, event_id: str, key: str = KEY, partition: int = -1) -> None:
        self._producer.produce(
            self.name, b"{}", key.encode(), partition, headers=[("id", event_id.encode())]
        )
        assert self._producer.flush(30) == 0


@pytest.fixture
def topic(kafka: Kafka, topic_prefix: str) -> Topic:
    return Topic(kafka, topic_prefix)


def commit(oracle: Oracle, topic: Topic, count: int) -> list[str]:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for event_id in ids:
        oracle.committed(event_id, topic.name, KEY)
    return ids


def test_all_is_well(oracle: Oracle, topic: Topic) -> None:
    for event_id in commit(oracle, topic, 5):
        topic.put(event_id)
    oracle.wait(30)
    oracle.verify()
    assert [record.id for record in oracle.records] == list(oracle.events)


def test_a_lost_event(oracle: Oracle, topic: Topic) -> None:
    ids = commit(oracle, topic, 5)
    for event_id in ids[:2] + ids[3:]:
        topic.put(event_id)
    with pytest.raises(AssertionError, match=f"1 of 5 committed events are missing(.|\n)*{ids[2]}"):
        oracle.wait(2)
    with pytest.raises(AssertionError, match=f"LOST: 1\n.*event 3 id {ids[2]}"):
        oracle.verify()


def test_a_rolled_back_event(oracle: Oracle, topic: Topic) -> None:
    ids = commit(oracle, topic, 2)
    phantom = str(uuid.uuid4())
    oracle.rolled_back(phantom)
    for event_id in [ids[0], phantom, ids[1]]:
        topic.put(event_id)
    oracle.wait(30)
    with pytest.raises(AssertionError, match=f"PHANTOM: 1 (.|\n)*{phantom} .rolled back"):
        oracle.verify()


def test_an_event_that_nobody_wrote(oracle: Oracle, topic: Topic) -> None:
    for event_id in [*commit(oracle, topic, 1), str(uuid.uuid4())]:
        topic.put(event_id)
    oracle.wait(30)
    with pytest.raises(AssertionError, match="PHANTOM: 1 "):
        oracle.verify()


def test_two_events_that_changed_places(oracle: Oracle, topic: Topic) -> None:
    ids = commit(oracle, topic, 4)
    for event_id in [ids[0], ids[2], ids[1], ids[3]]:
        topic.put(event_id)
    oracle.wait(30)
    with pytest.raises(AssertionError, match=r"OUT OF ORDER: 1\n.*event 2 .*after event 3 "):
        oracle.verify()


def test_a_repeated_event(oracle: Oracle, topic: Topic) -> None:
    ids = commit(oracle, topic, 3)
    for event_id in [ids[0], ids[1], ids[0], ids[1], ids[2]]:
        topic.put(event_id)
    oracle.wait(30)
    with pytest.raises(AssertionError, match=r"DUPLICATES: 2, allowed 1\n(.|\n)*2 times"):
        oracle.verify(max_duplicates=1)
    oracle.verify(max_duplicates=2)  # and a repetition is no disorder: first occurrences count


def test_a_key_in_two_partitions(oracle: Oracle, topic: Topic) -> None:
    ids = commit(oracle, topic, 2)
    topic.put(ids[0], partition=0)
    topic.put(ids[1], partition=1)
    oracle.wait(30)
    with pytest.raises(AssertionError, match=r"MISPLACED: 1\n.*partitions \[0, 1\]"):
        oracle.verify()


def test_a_record_under_another_key(oracle: Oracle, topic: Topic) -> None:
    topic.put(commit(oracle, topic, 1)[0], key="other")
    oracle.wait(30)
    with pytest.raises(AssertionError, match=r"MISPLACED: 1\n.*belongs to .* key 'k'"):
        oracle.verify()
