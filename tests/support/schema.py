"""The schema's tests: statements in sessions of their own, and the snippets of its README."""

from __future__ import annotations

import re
from typing import Any

from support.postgres import REPOSITORY, Postgres

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


def blocks() -> list[str]:
    """Each SQL snippet, but for those of the switches, which tests/e2e/test_switch*.py run."""
    text = README.read_text().split("\n## Coming from Debezium\n")[0]
    return re.findall(r"^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def block(words: str) -> str:
    """The one snippet that has these words."""
    (found,) = [text for text in blocks() if words in text]
    return found
