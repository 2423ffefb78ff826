"""Topics that come into being under load.

A new partition's leader may refuse the first batch (not leader yet) and take the second, which was
on its way: it knows nothing of the producer, so any sequence number will do. librdkafka then counts
the first as acknowledged by the second ("implicitly acked"), and it is in no log. So nothing may
follow the first batch of a partition before its own report is there.
"""

from __future__ import annotations

from collections.abc import Callable

from support.oracle import Oracle
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for
from support.writer import Load

TOPICS = 25
COMMITS = 150


def test_the_first_records_of_new_partitions_arrive(
    postgres: Postgres,
    db: str,
    topic_prefix: str,
    oracle: Oracle,
    relay_factory: Callable[..., Relay],
) -> None:
    relay_factory().wait_ready()
    for topic in range(TOPICS):
        # Eight writers at once: while the topic is made, many small batches, one behind another.
        load = Load(
            lambda: postgres.connect(db),
            oracle,
            aggregatetype=f"{topic_prefix}.{topic}",
            threads=8,
            rollback_every=0,
        )
        with load:
            wait_for(lambda: load.committed >= COMMITS, f"{COMMITS} commits", 60)
    oracle.wait(30)
    oracle.verify()
