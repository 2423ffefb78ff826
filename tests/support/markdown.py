"""Where links into a page of GitHub's lead."""

from __future__ import annotations

import re


def anchors(text: str) -> set[str]:
    """Of its headings: small letters, no punctuation but - and _, blanks as -, and a number behind
    what was there before."""
    found: set[str] = set()
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for heading in re.findall(r"^#{1,6} +(.*?)(?: +#+)?$", outside, re.M):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        base = re.sub(r"[^\w\- ]", "", shown.lower()).strip().replace(" ", "-")
        number, anchor = 0, base
        while anchor in found:
            number += 1
            anchor = f"{base}-{number}"
        found.add(anchor)
    return found
