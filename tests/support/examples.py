"""The example services of deploy/examples, as their readers start them.

tests/deploy/fetch_examples has what they need, made once.
"""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import subprocess
from urllib.parse import urlsplit

from support.postgres import REPOSITORY, Postgres

EXAMPLES = REPOSITORY / "deploy" / "examples"
SOURCES = {
    "go": EXAMPLES / "go" / "main.go",
    "java": EXAMPLES / "java" / "Example.java",
    "node": EXAMPLES / "node" / "example.js",
    "python": EXAMPLES / "python" / "example.py",
}
_FETCH = REPOSITORY / "tests" / "deploy" / "fetch_examples"
_TIMEOUT_S = 60.0


@functools.cache
def homes() -> dict[str, pathlib.Path]:
    """The folder of each language, made now if need be."""
    done = subprocess.run([_FETCH], check=True, stdout=subprocess.PIPE, text=True)
    pairs = (line.split() for line in done.stdout.splitlines())
    return {language: pathlib.Path(home) for language, home in pairs}


def python_environment() -> dict[str, str]:
    """In which a program of deploy/examples/python finds its packages."""
    return {"PYTHONPATH": str(homes()["python"]), "PYTHONDONTWRITEBYTECODE": "1"}


def service_role(server: Postgres, db: str, user: str) -> None:
    """A role with a service's rights and no others: its own tables, and to write events."""
    server.psql(
        db,
        f"CREATE ROLE {user} LOGIN; GRANT CREATE ON SCHEMA public TO {user};"
        f" SELECT outbox_grant('writer', '{user}')",
    )


def run(
    language: str, database_url: str, bootstrap: str, folder: pathlib.Path, wait_s: int = 30
) -> subprocess.CompletedProcess[str]:
    """One example, to its end. folder: where Node.js gets its source beside its packages."""
    home = homes()[language]
    env = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "WAIT_SECONDS": str(wait_s),
    }
    command: list[str | os.PathLike[str]]
    if language == "go":
        command = [home / "example"]
    elif language == "java":
        env["JDBC_URL"] = jdbc_url(database_url)
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{home}:{home}/*", "Example"]
    elif language == "node":
        for file in (SOURCES["node"], SOURCES["node"].with_name("package.json")):
            shutil.copy(file, folder)
        packages = folder / "node_modules"
        if not packages.exists():
            packages.symlink_to(home / "node_modules")
        command = [home / "node", SOURCES["node"].name]
    else:
        env |= python_environment()
        command = ["/usr/bin/python3", SOURCES["python"]]
    return subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def jdbc_url(url: str) -> str:
    """The JDBC driver's way to write postgresql://user@host:port/database."""
    parts = urlsplit(url)
    return f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}?user={parts.username}"
