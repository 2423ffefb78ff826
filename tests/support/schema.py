"""The schema's tests: statements in sessions of their own, and the snippets of its README."""

from __future__ import annotations

import re
import subprocess
from typing import Any

from support.postgres import REPOSITORY, Postgres
from support.relay import command

README = REPOSITORY / "schema" / "README.md"


def query(server: Postgres, db: str, sql: str, *args: Any, user: str = "postgres") -> list[Any]:
    """Run one statement in a session of its own and return its rows."""
    connection = server.connect(db, user=user, autocommit=True)
    try:
        cursor = connection.cursor()
        cursor.execute(sql, args or None)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def dump(server: Postgres, db: str) -> str:
    """The schema as pg_dump writes it."""
    text = subprocess.run(
        [server.bin / "pg_dump", "--schema-only", server.uri(db)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # Newer releases write a random key into each dump.
    return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.MULTILINE)


def printed(*arguments: str, table: str = "outbox") -> str:
    """What `schema print` says."""
    result = command("schema", "print", *arguments, settings={"source.table": table})
    assert result.returncode == 0, result.stderr
    return result.stdout


def blocks() -> list[str]:
    """Each SQL snippet, but for those of the switches, which tests/e2e/test_switch*.py run."""
    text = README.read_text().split("\n## Coming from Debezium\n")[0]
    return re.findall(r"^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def block(words: str) -> str:
    """The one snippet that has these words."""
    (found,) = [text for text in blocks() if words in text]
    return found
