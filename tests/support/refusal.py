"""What the relay refuses: how an outbox is spoilt, what is said of it, and the remedy named.

The relay runs as a role of its own with the rights that the README gives it, and whose name needs
quotes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from support.postgres import MIGRATIONS, Postgres
from support.relay import Relay, command
from support.writer import insert

WRONG, RIGHT_MISSING = 78, 77


@dataclass(frozen=True)
class Refusal:
    """spoil is SQL, where {role} stands for the relay's; remedy finds its SQL, or the command that
    prints it, in what the relay says."""

    name: str
    spoil: str
    code: int
    says: str
    remedy: str
    settings: dict[str, Any] = field(default_factory=dict)


def _column(name: str) -> Refusal:
    return Refusal(
        f"no column {name}",
        f"ALTER TABLE outbox DROP COLUMN {name}",
        WRONG,
        rf'table public\.outbox has no column "{name}"',
        r": (ALTER TABLE .*), as in schema/migrations/",
    )


def _type(name: str, type_: str, named: str) -> Refusal:
    return Refusal(
        f"{name} is {type_}",
        f"ALTER TABLE outbox ALTER COLUMN {name} DROP DEFAULT,"
        f" ALTER COLUMN {name} TYPE {type_} USING {name}::text::{type_}",
        WRONG,
        rf'column "{name}" of table public\.outbox is {named}, but has to be',
        r": (ALTER TABLE .*), as in schema/migrations/",
    )


def _nullable(name: str) -> Refusal:
    return Refusal(
        f"{name} may be null",
        f"ALTER TABLE outbox ALTER COLUMN {name} DROP NOT NULL",
        WRONG,
        rf'column "{name}" of table public\.outbox may be null',
        r": (ALTER TABLE .*), as in schema/migrations/",
    )


def _right(
    name: str, revoked: str, says: str, settings: dict[str, Any] | None = None
) -> Refusal:
    return Refusal(
        f"no right: {name}",
        f"REVOKE {revoked} FROM {{role}}",
        RIGHT_MISSING,
        rf'role "[^"]+" may not {says}',
        r"(GRANT .*?)(?:, or (?:set ack\.mode to mark|leave failure\.dead_letter_topic empty))?$",
        settings or {},
    )


_ROW_SECURITY = (
    "ALTER TABLE outbox ENABLE ROW LEVEL SECURITY",
    WRONG,
    r'row-level security of table public\.outbox applies to role "[^"]+" and would hide events',
)
_CACHE = r"the sequence of public\.outbox\.seq has CACHE 10, which hands out numbers out of order"
_BACK_TO_1 = "".join(
    file.read_text() for file in sorted(MIGRATIONS.glob("*.down.sql"), reverse=True)[:-1]
)
_USAGE = "USAGE ON SCHEMA public FROM PUBLIC; REVOKE ALL ON SCHEMA public"

REFUSALS = [
    Refusal(
        "no table",
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC",
        WRONG,
        r'there is no table "outbox" in database "test_\d+" \(search_path "\$user", public\)',
        r"outbox-relay (schema print [^|]*) \| psql",
    ),
    Refusal(
        "a view",
        "ALTER TABLE outbox RENAME TO events; CREATE VIEW outbox AS SELECT * FROM events",
        WRONG,
        r"public\.outbox is no table: set source\.table",
        "",
    ),
    _column("seq"),
    _column("id"),
    _column("aggregateid"),
    _column("headers"),
    _column("xid"),
    _column("created_at"),
    _column("published_at"),
    _type("payload", "xml", "xml"),
    _type("aggregateid", "char(36)", "character"),
    _type("created_at", "date", "date"),
    _type("xid", "bigint", "bigint"),
    _nullable("id"),
    _nullable("xid"),
    _nullable("created_at"),
    Refusal(
        "row-level security: the role's remedy", *_ROW_SECURITY, r"(ALTER ROLE .*), or ALTER TABLE"
    ),
    Refusal("row-level security: the table's remedy", *_ROW_SECURITY, r", or (ALTER TABLE .*)$"),
    Refusal(
        "cached identity",
        "ALTER TABLE outbox ALTER COLUMN seq SET CACHE 10",
        WRONG,
        _CACHE,
        r": (ALTER .*)$",
    ),
    Refusal(
        "cached serial",
        "ALTER TABLE outbox ALTER COLUMN seq DROP IDENTITY;"
        ' CREATE SEQUENCE "odd name" CACHE 10 OWNED BY outbox.seq;'
        """ ALTER TABLE outbox ALTER COLUMN seq SET DEFAULT nextval('"odd name"')""",
        WRONG,
        _CACHE,
        r": (ALTER .*)$",
    ),
    _right("schema", _USAGE, "use"),
    _right("schema, named", _USAGE, "use", {"source.table": "public.outbox"}),
    _right("SELECT", "SELECT ON outbox", "read"),
    _right("parking", "INSERT ON outbox_parked", "park events"),
    _right(
        "burying", "INSERT ON outbox_dead", "record dead events",
        {"failure.policy": "dead-letter"},
    ),
    _right(
        "burying, some topics", "INSERT ON outbox_dead", "record dead events",
        {"failure.topics": "audit.*=dead-letter"},
    ),
    _right(
        "copies", "INSERT ON outbox", "insert the copies of dead events",
        {"failure.policy": "dead-letter", "failure.dead_letter_topic": "dead"},
    ),
    Refusal(
        "nowhere to park",
        _BACK_TO_1,
        WRONG,
        r"there is no table public\.outbox_parked, which failure\.policy needs",
        r"outbox-relay (schema print [^|]*) \| psql",
    ),
    _right("DELETE", "DELETE ON outbox", "delete published rows"),
    _right(
        "UPDATE", "UPDATE (published_at) ON outbox", "mark published rows", {"ack.mode": "mark"}
    ),
    _right("lease, SELECT", "SELECT ON outbox_lease", "hold the lease"),
    _right("lease, UPDATE", "UPDATE ON outbox_lease", "hold the lease"),
    Refusal(
        "no lease table",
        "DROP TABLE outbox_lease",
        WRONG,
        r"there is no lease table public\.outbox_lease",
        r": (CREATE TABLE .*)$",
    ),
]


class Guarded:
    """An outbox and the relay's own role."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.db = server.createdb()
        self.role = f"Relay of {self.db}"
        self.run(f'CREATE ROLE "{self.role}" LOGIN')
        self.grant()

    @property
    def uri(self) -> str:
        return f"host=127.0.0.1 port={self.server.port} dbname={self.db} user='{self.role}'"

    def run(self, sql: str) -> None:
        """As the superuser, as an operator would."""
        self.server.psql(self.db, sql)

    def grant(self) -> None:
        """What the README says, for either ack.mode."""
        self.run(
            f'GRANT SELECT, DELETE, UPDATE (published_at) ON outbox TO "{self.role}";'
            f' GRANT SELECT, UPDATE ON outbox_lease TO "{self.role}";'
            f' GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_parked TO "{self.role}";'
            f' GRANT SELECT, INSERT ON outbox_dead TO "{self.role}"'
        )

    def spoil(self, refusal: Refusal) -> None:
        self.run(refusal.spoil.format(role=f'"{self.role}"'))

    def heal(self, refusal: Refusal, message: str) -> None:
        """The remedy, taken word for word out of the message."""
        found = re.search(refusal.remedy, message)
        assert found, f"no remedy in {message!r}"
        if found[1].startswith("schema print"):
            self.run(command(*found[1].split()).stdout)
            self.grant()  # the tables are new
        else:
            self.run(found[1])


def publish(server: Postgres, db: str, aggregatetype: str, relay: Relay) -> None:
    """One event goes all the way."""
    connection = server.connect(db, autocommit=True)
    before = relay.metric("acknowledged_events_total")
    insert(connection, aggregatetype, "k")
    connection.close()
    relay.wait_metric("acknowledged_events_total", before + 1)


def complaints(relay: Relay) -> list[str]:
    """What it said at level error."""
    return [line["msg"] for line in relay.log_lines() if line["level"] == "error"]


def results(text: str) -> list[dict[str, Any]]:
    """Of `check --json`."""
    found = json.loads(text)
    assert all(set(each) == {"check", "ok", "message"} for each in found)
    return found
