"""The first events of a topic that is only just being made, as many writers write them."""

from __future__ import annotations

import threading
import time

from support.outbox import Outbox
from support.writer import insert


def test_first_events_of_new_topics(outbox: Outbox) -> None:
    """A new partition's leader refuses the first request or two, and knows no producer yet: what
    was sent behind must not count as the proof of what was refused."""
    outbox.relay()
    connections = [outbox.connect(autocommit=True) for _ in range(12)]

    def write(number: int, kind: str, until: float) -> None:
        for n in range(10_000):
            if time.monotonic() > until:
                break
            key = f"{number} {n}"
            event_id = insert(connections[number], kind, key, payload="{}")
            outbox.oracle.committed(event_id, f"outbox.event.{kind}", key)

    for turn in range(20):
        kind = f"{outbox.aggregatetype}-{turn}"
        until = time.monotonic() + 0.25
        threads = [
            threading.Thread(target=write, args=(number, kind, until)) for number in range(12)
        ]
        for thread in threads:
            thread.start()
            time.sleep(0.001)  # so that their first events do not come in one page
        for thread in threads:
            thread.join()
        outbox.settle()
