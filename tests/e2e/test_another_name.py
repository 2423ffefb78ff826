"""An outbox of another name in another schema, installed by `schema print`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.migration_tools import schema_print
from support.oracle import Oracle
from support.postgres import Postgres
from support.relay import Relay
from support.wait import wait_for
from support.writer import insert

PLACE = {"source.table": "app.letters"}


@pytest.mark.parametrize("settings", [{}, {"ack.mode": "mark"}])
def test_it_is_published_whole(
    postgres: Postgres,
    topic_prefix: str,
    oracle: Oracle,
    relay_factory: Callable[..., Relay],
    settings: dict[str, str],
) -> None:
    db = postgres.createdb(migrated=False)
    postgres.psql(db, "CREATE SCHEMA app")
    postgres.psql(db, schema_print("sql", "--source-table", "app.letters"))
    relay = relay_factory({"postgres.uri": postgres.uri(db), **PLACE, **settings}).wait_ready()
    connection = postgres.connect(db)
    for n in range(300):
        with connection:
            event = insert(connection, topic_prefix, f"key-{n % 7}", table="app.letters")
        oracle.committed(event, f"outbox.event.{topic_prefix}", f"key-{n % 7}")
    oracle.wait(30)
    oracle.verify()
    left = "SELECT 1 FROM app.letters WHERE published_at IS NULL"
    wait_for(lambda: postgres.psql(db, left) == "", "every row to be acknowledged")
    connection.close()
    relay.stop()
