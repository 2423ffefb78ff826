"""Which files of a build context an engine takes: docs.docker.com/build/concepts/context"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Sequence


def context_files(context: pathlib.Path, dockerfile: pathlib.Path) -> list[pathlib.PurePath]:
    """Files and links, by their paths in the context. NAME.dockerignore beside a Dockerfile goes
    before .dockerignore at the top."""
    own = dockerfile.with_name(dockerfile.name + ".dockerignore")
    source = own if own.exists() else context / ".dockerignore"
    patterns = _patterns(source.read_text() if source.exists() else "")
    found = []
    for folder, folders, files in os.walk(context):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*files, *links]):
            path = pathlib.PurePath(os.path.relpath(os.path.join(folder, name), context))
            if not _ignored(path, patterns):
                found.append(path)
        # Nothing that is to be found is below these, and they may be large.
        at = pathlib.PurePath(os.path.relpath(folder, context))
        folders[:] = [name for name in folders if _may_hold(at / name, patterns)]
    return found


def _patterns(text: str) -> list[tuple[bool, str, re.Pattern[str]]]:
    """Whether it takes back, the words, and as an expression for a whole path."""
    found = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        back = line.startswith("!")
        words = os.path.normpath(line.lstrip("!").strip()).lstrip("/")
        found.append((back, words, re.compile(_expression(words))))
    return found


def _expression(words: str) -> str:
    """As Go's filepath.Match, and ** for any number of folders."""
    parts = re.findall(r"\*\*/?|\*|\?|\[\^?[^\]]+\]|\\?.", words)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        meaning.get(part) or (part if part[0] == "[" else re.escape(part.lstrip("\\") or "\\"))
        for part in parts
    )


def _ignored(path: pathlib.PurePath, patterns: Sequence[tuple[bool, str, re.Pattern[str]]]) -> bool:
    """The last pattern that fits it, or a folder that it is in, decides."""
    ways = [str(each) for each in [path, *path.parents][:-1]]
    ignored = False
    for back, _, pattern in patterns:
        if any(pattern.fullmatch(way) for way in ways):
            ignored = not back
    return ignored


def _may_hold(
    folder: pathlib.PurePath, patterns: Sequence[tuple[bool, str, re.Pattern[str]]]
) -> bool:
    if not _ignored(folder, patterns):
        return True
    for back, words, _ in patterns:
        plain = pathlib.PurePath(re.split(r"[^/]*[*?\[\\]", words)[0]).parts
        if back and all(one == other for one, other in zip(plain, folder.parts)):
            return True
    return False
