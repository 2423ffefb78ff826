"""The judge of every end-to-end test: the events that were committed against those consumed.

    oracle = Oracle(kafka.bootstrap)
    oracle.committed(id, "outbox.event.order", "42")    # in commit order per key
    oracle.rolled_back(other_id)
    oracle.wait(30)                                     # until every committed event was seen
    oracle.verify(max_duplicates=0)

It reads with a consumer of its own, all partitions of every topic from the beginning, without a
group. Writers may report from several threads; wait() and verify() belong to one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from support.wait import wait_for

_SHOWN = 10  # of each kind of difference
_METADATA_INTERVAL_S = 0.2  # for topics that have not been seen; for more partitions of the others:
_PARTITIONS_INTERVAL_S = 1.0
_FEW = 10


@dataclass(frozen=True)
class Event:
    """One committed event. order counts within (topic, key)."""

    id: str
    topic: str
    key: str
    order: int
    partition: int | None  # where the writer named one


class Record(NamedTuple):
    """One consumed record. value and headers are None unless the oracle keeps them."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    timestamp_ms: int
    id: str | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None


class Oracle:
    def __init__(
        self, bootstrap: str, *, keep_values: bool = True, isolation: str = "read_uncommitted"
    ) -> None:
        """keep_values=False saves memory where there are very many records."""
        self.events: dict[str, Event] = {}
        self.records: list[Record] = []
        self._rolled_back: set[str] = set()
        self._topics: set[str] = set()
        self._unseen: set[str] = set()
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._orders: Counter[tuple[str, str]] = Counter()
        self._keep_values = keep_values
        self._positions: dict[tuple[str, int], int] = {}
        self._looked_up = 0.0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "oracle",  # the library wants one; nothing is committed or joined
                "enable.auto.commit": False,
                "isolation.level": isolation,
                "auto.offset.reset": "error",  # a record that vanished must not be skipped
                "allow.auto.create.topics": False,
                "socket.timeout.ms": 5000,  # a leader that stands still: ask its successor
                "fetch.wait.max.ms": 50,
                "fetch.error.backoff.ms": 50,
                "log_level": 2,
            }
        )

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    # -- what was written ------------------------------------------------------------------------

    def committed(
        self,
        event_id: object,
        topic: str,
        key: str,
        *,
        order: int | None = None,
        partition: int | None = None,
        required: bool = True,
    ) -> None:
        """order is the event's place in the commit order of its topic and key; without it, the
        calls are in that order. required=False: its row was taken away before it may have been
        read (TRUNCATE), so it may come and need not."""
        with self._lock:
            place = (topic, key)
            if order is None:
                self._orders[place] += 1
                order = self._orders[place]
            event = Event(str(event_id), topic, key, order, partition)
            if event.id in self.events or event.id in self._rolled_back:
                raise ValueError(f"event {event.id} was reported before")
            self.events[event.id] = event
            self._topics.add(topic)
            if required and event.id not in self._seen:
                self._unseen.add(event.id)

    def rolled_back(self, event_id: object) -> None:
        with self._lock:
            if str(event_id) in self.events:
                raise ValueError(f"event {event_id} was committed")
            self._rolled_back.add(str(event_id))

    def forget(self, event_id: object) -> None:
        """It was taken back before it was published."""
        with self._lock:
            event = self.events.pop(str(event_id))
            self._unseen.discard(event.id)
            self._rolled_back.add(event.id)

    def watch(self, topic: str) -> None:
        """Read this topic too: one where nothing ought to come."""
        with self._lock:
            self._topics.add(topic)

    # -- what was consumed -----------------------------------------------------------------------

    def seen(self) -> int:
        """How many of the committed events have been consumed so far; reads what there is."""
        self._poll()
        with self._lock:
            return len(self.events) - len(self._unseen)

    def wait(self, timeout: float) -> None:
        """Until every event committed so far was consumed; AssertionError otherwise."""
        deadline = time.monotonic() + timeout
        while True:
            self._poll()
            with self._lock:
                if not self._unseen:
                    return
                missing, total = len(self._unseen), len(self.events)
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"after {timeout:g} s {missing} of {total} committed events are missing,"
                    f" {len(self.records)} records were consumed ({self.duplicates()} duplicates):\n"
                    + self._describe(self._unseen)
                )

    def verify(self, max_duplicates: int = 0, *, timeout: float = 30) -> None:
        """Reads every topic to its present end and judges: lost 0, phantom 0, order per topic and
        key by the first occurrence of each event, duplicates at most as many as allowed."""
        self.read_to_end(timeout)
        with self._lock:
            problems = self._lost() + self._phantoms() + self._misplaced() + self._disorder()
            problems += self._duplicates(max_duplicates)
        if problems:
            summary = f"{len(self.events)} events committed, {len(self.records)} records consumed"
            raise AssertionError("\n".join([summary, *problems]))

    def duplicates(self) -> int:
        """Records beyond the first of each event, of those read so far."""
        return len(self.records) - len({record.id for record in self.records})

    def records_of(self, event_id: object) -> list[Record]:
        return [record for record in self.records if record.id == str(event_id)]

    def count(self, topic: str) -> int:
        """Records read so far from this topic; reads what there is."""
        self._poll()
        return sum(record.topic == topic for record in self.records)

    def read_to_end(self, timeout: float = 30) -> None:
        """Every watched topic, to its present end."""
        deadline = time.monotonic() + timeout
        self._looked_up = 0.0
        self._poll(0.01)
        ends = {place: self._end_of(place, deadline) for place in list(self._positions)}
        while any(self._position(place) < end for place, end in ends.items()):
            if time.monotonic() > deadline:
                raise AssertionError(f"the topics were not read to their ends in {timeout:g} s")
            self._poll()

    # -- judging ---------------------------------------------------------------------------------

    def _end_of(self, place: tuple[str, int], deadline: float) -> int:
        """Its leader's, which may have changed since it was last asked."""
        while True:
            try:
                left = max(0.1, deadline - time.monotonic())
                return self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=left)[1]
            except KafkaException as error:
                moved = (
                    KafkaError.NOT_LEADER_FOR_PARTITION,
                    KafkaError.LEADER_NOT_AVAILABLE,
                    KafkaError._UNKNOWN_PARTITION,  # of a topic that has only just been made
                )
                if error.args[0].code() not in moved or time.monotonic() > deadline:
                    raise
                self._poll()

    def _lost(self) -> list[str]:
        if not self._unseen:
            return []
        return [f"LOST: {len(self._unseen)}", self._describe(self._unseen)]

    def _phantoms(self) -> list[str]:
        found = [record for record in self.records if record.id not in self.events]
        if not found:
            return []
        lines = [f"PHANTOM: {len(found)} records of no committed event"]
        for record in found[:_SHOWN]:
            why = " (rolled back)" if record.id in self._rolled_back else ""
            lines.append(f"  {_place(record)} id {record.id}{why}")
        return lines

    def _misplaced(self) -> list[str]:
        """A record in another topic, under another key or in another partition than its event's;
        a key that is spread over partitions, where no order is left."""
        lines = []
        homes: dict[tuple[str, str], set[int]] = defaultdict(set)
        for record in self.records:
            event = self.events.get(record.id or "")
            if event is None:
                continue
            key = (record.key or b"").decode(errors="replace")
            if (record.topic, key) != (event.topic, event.key):
                lines.append(f"  {_place(record)} belongs to {event.topic} key {event.key!r}")
            elif event.partition is None:
                homes[event.topic, event.key].add(record.partition)
            elif record.partition != event.partition:
                lines.append(f"  {_place(record)} belongs to partition {event.partition}")
        for (topic, key), partitions in homes.items():
            if len(partitions) > 1:
                lines.append(f"  {topic} key {key!r} is in partitions {sorted(partitions)}")
        return [f"MISPLACED: {len(lines)}", *lines[:_SHOWN]] if lines else []

    def _disorder(self) -> list[str]:
        first: dict[str, Record] = {}
        for record in self.records:  # within a partition they stand in the order of offsets
            first.setdefault(record.id or "", record)
        last: dict[tuple[str, str, int | None], tuple[Event, Record]] = {}
        lines = []
        for record in first.values():
            event = self.events.get(record.id or "")
            if event is None:
                continue
            place = (event.topic, event.key, event.partition)
            before = last.get(place)
            if before is not None and before[0].order >= event.order:
                lines.append(
                    f"  {event.topic} key {event.key!r}: event {event.order} ({event.id}) at"
                    f" {record.partition}/{record.offset} comes after event {before[0].order}"
                    f" ({before[0].id}) at {before[1].partition}/{before[1].offset}"
                )
            else:
                last[place] = (event, record)
        return [f"OUT OF ORDER: {len(lines)}", *lines[:_SHOWN]] if lines else []

    def _duplicates(self, allowed: int) -> list[str]:
        count = self.duplicates()
        if count <= allowed:
            return []
        lines = [f"DUPLICATES: {count}, allowed {allowed}"]
        times = Counter(record.id for record in self.records)
        for event_id, n in times.most_common(_SHOWN):
            places = ", ".join(_place(record) for record in self.records_of(event_id)[:4])
            lines.append(f"  {n} times {event_id}: {places}")
        return lines

    def _describe(self, ids: set[str]) -> str:
        events = sorted((self.events[each] for each in ids), key=lambda e: (e.topic, e.key, e.order))
        lines = [f"  {e.topic} key {e.key!r} event {e.order} id {e.id}" for e in events[:_SHOWN]]
        if len(events) > _SHOWN:
            lines.append(f"  ... and {len(events) - _SHOWN} more")
        return "\n".join(lines)

    # -- reading ---------------------------------------------------------------------------------

    def _poll(self, wait_s: float = 0.1) -> None:
        self._look_up_partitions()
        if not self._positions:
            time.sleep(0.02)  # consume() refuses to wait while nothing is assigned
            return
        for message in self._consumer.consume(10000, wait_s):
            error = message.error()
            if error is not None:
                if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
                    self._resume((message.topic(), message.partition()), error)
                continue  # a broker that is away: the library tries on
            self._take(message)

    def _resume(self, place: tuple[str, int], error: KafkaError) -> None:
        """A broker that stood still may take itself for the leader, with less than we have read
        from its successor. Once the leader has it all we go on where we were."""

        def has_it() -> bool:
            try:
                low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), 5)
            except KafkaException:
                return False
            return low <= self._positions[place] <= high

        try:
            wait_for(has_it, f"{place} to have what was read of it", 20)
        except AssertionError:
            raise AssertionError(f"the oracle's reading broke: {error}") from None
        self._assign()

    def _assign(self) -> None:
        self._consumer.assign(
            [TopicPartition(t, p, offset) for (t, p), offset in self._positions.items()]
        )

    def _take(self, message: object) -> None:
        headers = message.headers() or []
        found = [value for name, value in headers if name == "id" and value is not None]
        record = Record(
            message.topic(),
            message.partition(),
            message.offset(),
            message.key(),
            message.timestamp()[1],
            found[0].decode(errors="replace") if found else None,
            message.value() if self._keep_values else None,
            headers if self._keep_values else None,
        )
        if record.offset < self._positions[record.topic, record.partition]:
            return  # read before the last assignment already
        self.records.append(record)
        self._positions[record.topic, record.partition] = record.offset + 1
        with self._lock:
            if record.id is not None:
                self._seen.add(record.id)
                self._unseen.discard(record.id)

    def _look_up_partitions(self) -> None:
        """Now and then: topics and partitions may come while the test runs."""
        with self._lock:
            topics = set(self._topics)
        known = Counter(topic for topic, _ in self._positions)
        interval = _METADATA_INTERVAL_S if topics - known.keys() else _PARTITIONS_INTERVAL_S
        if time.monotonic() - self._looked_up < interval:
            return
        self._looked_up = time.monotonic()
        try:
            there = self._look_up(topics)
        except Exception:  # no broker answers: at the next look, or wait() runs out of time
            return
        fresh = False
        for topic in topics & there.keys():
            for partition in range(known[topic], len(there[topic].partitions)):
                self._positions[topic, partition] = 0
                fresh = True
        if fresh:
            self._assign()

    def _look_up(self, topics: set[str]) -> dict[str, Any]:
        """Those alone, where they are few: a shared broker has the topics of hundreds of tests."""
        if len(topics) > _FEW:
            return self._consumer.list_topics(timeout=5).topics
        found = {}
        for topic in topics:
            answer = self._consumer.list_topics(topic, timeout=5).topics[topic]
            if answer.error is None:
                found[topic] = answer
        return found

    def _position(self, place: tuple[str, int]) -> int:
        """Behind what was read, and behind transaction markers, which are never handed out."""
        found = self._consumer.position([TopicPartition(*place)])[0].offset
        return max(found, self._positions[place])


def _place(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"
