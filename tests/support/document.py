"""What a text in Markdown says, so that a test can run it."""

from __future__ import annotations

import re


def section(text: str, title: str) -> str:
    """Below a heading of any level, up to the next one of that level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*)\Z", text, re.M | re.S)
    assert found, f"there is no section {title!r}"
    level = len(found[1])
    return re.split(rf"^#{{1,{level}}} ", found[2], maxsplit=1, flags=re.M)[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def commands(text: str) -> list[str]:
    """What is typed: the lines that begin with a prompt."""
    lines = [line for block in blocks(text, "console") for line in block.splitlines()]
    return [line[2:] for line in lines if line[:2] == "$ "]


def targets(text: str) -> list[tuple[str, str]]:
    """Of each link: the path, empty for this text itself, and the place there, or empty."""
    return re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", text)


def places(text: str) -> set[str]:
    """What a link to a heading calls it, as GitHub does: small letters, no punctuation but - and _,
    blanks as -, and a number behind what was there before."""
    found: set[str] = set()
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for heading in re.findall(r"^#+ (.*)$", outside, re.M):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number, place = 0, name
        while place in found:
            number += 1
            place = f"{name}-{number}"
        found.add(place)
    return found
