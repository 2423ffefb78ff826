"""Which index serves which of the relay's reads, with much published and with much waiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.postgres import Postgres
from support.schema import query

INSERT_MANY = (
    "INSERT INTO outbox (aggregatetype, aggregateid, type, payload)"
    " SELECT 'a', i::text, 't', json_build_object('n', repeat('x', 100))"
    " FROM generate_series(1, %s) i"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Statistics are as each test makes them."""
    with Postgres({"autovacuum": "off"}) as running:
        yield running


@pytest.fixture
def db(server: Postgres) -> str:
    return server.createdb()


class Reads:
    """The relay's reads over a table with a transaction that commits late."""

    WAITING = "published_at IS NULL"

    def __init__(self, server: Postgres, db: str) -> None:
        self.connection = server.connect(db, autocommit=True)
        late = server.connect(db)
        late.cursor().execute(INSERT_MANY, (20,))
        query(server, db, INSERT_MANY, 100)
        ((snapshot, self.high),) = query(
            server, db, "SELECT pg_current_snapshot()::text, max(seq) FROM outbox"
        )
        _, xmax, xip = snapshot.split(":")
        late.commit()
        late.close()
        self.since = (f"xid >= '{xmax}'", f"xid = ANY ('{{{xip}}}')")
        for _ in range(5):
            query(server, db, INSERT_MANY, 20)

    def start(self) -> dict[str, Any]:
        return self.run(
            f"SELECT * FROM outbox WHERE {self.WAITING} AND seq > 0 ORDER BY seq LIMIT 50"
        )

    def late(self) -> dict[str, Any]:
        return self.run(
            f"SELECT * FROM outbox WHERE {self.WAITING} AND seq > 0 AND seq <= {self.high}"
            f" AND ({' OR '.join(self.since)}) ORDER BY seq LIMIT 5000"
        )

    def late_fenced(self) -> dict[str, Any]:
        branches = " UNION ALL ".join(
            f"SELECT * FROM outbox WHERE {self.WAITING} AND {part}" for part in self.since
        )
        return self.run(
            f"SELECT * FROM ({branches} OFFSET 0) AS gathered"
            f" WHERE seq > 0 AND seq <= {self.high} ORDER BY seq LIMIT 5000"
        )

    def new(self) -> dict[str, Any]:
        return self.run(
            f"SELECT * FROM outbox WHERE {self.WAITING} AND seq > {self.high}"
            " AND pg_visible_in_snapshot(xid, pg_current_snapshot()) ORDER BY seq LIMIT 5000"
        )

    def highest(self) -> dict[str, Any]:
        return self.run("SELECT max(seq) FROM outbox")

    def run(self, sql: str) -> dict[str, Any]:
        """What it returned, the indexes it used, and how many rows its scans touched."""
        cursor = self.connection.cursor()
        cursor.execute("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + sql)
        top = cursor.fetchone()[0][0]["Plan"]
        scans: set[str] = set()
        touched = 0
        nodes = [top]
        while nodes:
            node = nodes.pop()
            nodes += node.get("Plans", [])
            if "Index Name" in node:
                scans.add(node["Index Name"])
            elif "Seq Scan" in node["Node Type"]:
                scans.add("no index")
            if "Scan" in node["Node Type"] and "Subquery" not in node["Node Type"]:
                removed = node.get("Rows Removed by Filter", 0)
                touched += node["Actual Loops"] * (node["Actual Rows"] + removed)
        return {"rows": top["Actual Rows"], "scans": scans, "touched": touched}


def load(server: Postgres, db: str, rows: int) -> None:
    """Many transactions' rows, as a service would leave them."""
    connection = server.connect(db)
    for _ in range(20):
        connection.cursor().execute(INSERT_MANY, (rows // 20,))
        connection.commit()
    connection.close()


def test_published_rows_are_not_scanned(server: Postgres, db: str) -> None:
    """200,000 published rows kept (ack.mode=mark), some hundred waiting: these are touched."""
    load(server, db, 200_000)
    query(server, db, "UPDATE outbox SET published_at = clock_timestamp()")
    query(server, db, "VACUUM ANALYZE outbox")
    reads = Reads(server, db)
    seen = {
        "start": (reads.start(), 50),
        "late": (reads.late(), 20),
        "late_fenced": (reads.late_fenced(), 20),
        "new": (reads.new(), 100),
    }
    for name, (plan, rows) in seen.items():
        assert plan["rows"] == rows, name
        assert plan["scans"] <= {"outbox_unpublished_seq", "outbox_unpublished_xid"}, (name, plan)
        assert plan["touched"] <= 1000, (name, plan)
    assert reads.highest()["touched"] <= 2
    reads.connection.close()


@pytest.mark.parametrize("analyzed", [True, False])
def test_a_long_backlog_is_not_scanned(server: Postgres, db: str, analyzed: bool) -> None:
    """100,000 rows waiting: pages in order come straight from seq, late rows from xid."""
    load(server, db, 100_000)
    if analyzed:
        query(server, db, "ANALYZE outbox")
    reads = Reads(server, db)
    if not analyzed:
        # Without statistics the planner gathers and sorts the whole backlog, unless it is told.
        reads.connection.cursor().execute("SET enable_bitmapscan = off; SET enable_seqscan = off")
    start, new, late = reads.start(), reads.new(), reads.late_fenced()
    assert (start["rows"], new["rows"], late["rows"]) == (50, 100, 20)
    assert start["scans"] == new["scans"] == {"outbox_unpublished_seq"}
    assert late["scans"] == {"outbox_unpublished_xid"}
    assert start["touched"] <= 50
    assert max(new["touched"], late["touched"]) <= 1000
    if analyzed:
        assert reads.late()["scans"] == {"outbox_unpublished_xid"}
    reads.connection.close()
