"""The image of deploy/Dockerfile, built by support.dockerfile once, until its sources change.

It is kept in the user's cache, as an engine keeps an image whose layers are all known. Root only.
"""

from __future__ import annotations

import functools
import hashlib
import json
import pathlib
import shutil
import subprocess
from typing import Any, NamedTuple

from support.dockerfile import Build
from support.dockerignore import context_files
from support.relay import REPOSITORY
from support.rootfs import base, cache, forget_old, one_at_a_time

DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
SUPPORT = pathlib.Path(__file__).resolve().parent


class Image(NamedTuple):
    root: pathlib.Path  # only to be read
    config: dict[str, Any]
    dpkg: pathlib.Path  # /var/lib/dpkg of the system that it was built in
    said: str  # by what was run for it


@functools.cache
def built() -> Image:
    home = cache() / f"image-{_digest()}"
    with one_at_a_time(cache() / "image.lock"):
        if home.exists():
            home.touch()
        else:
            _build(home)
            forget_old("image-*[0-9a-f]")
    config = json.loads((home / "config.json").read_text())
    return Image(home / "root", config, home / "dpkg", (home / "said").read_text())


def _digest() -> str:
    """Of all that is built of, and by."""
    digest = hashlib.sha256(str(base("trixie").stat().st_mtime_ns).encode())
    parts = ("dockerfile", "dockerignore", "image", "rootfs")
    builders = [SUPPORT / f"{name}.py" for name in parts]
    context = [REPOSITORY / path for path in context_files(REPOSITORY, DOCKERFILE)]
    for path in [DOCKERFILE, *builders, *context]:
        digest.update(f"{path.relative_to(REPOSITORY)} {path.stat().st_mode:o}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _build(home: pathlib.Path) -> None:
    part = home.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    with Build(REPOSITORY, DOCKERFILE) as build:
        subprocess.run(["cp", "-a", build.root, part / "root"], check=True)
        debian = build.stages["build"].folder
        shutil.copytree(debian / "var/lib/dpkg", part / "dpkg", ignore=_unasked)
        (part / "config.json").write_text(json.dumps(build.config))
        (part / "said").write_text("\n".join(build.stages["build"].said))
    part.rename(home)


def _unasked(folder: str, names: list[str]) -> set[str]:
    """Scripts of packages, and former states."""
    kept = (".list", ".md5sums")
    return {name for name in names if folder.endswith("/info") and not name.endswith(kept)}
