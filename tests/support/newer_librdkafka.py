"""The librdkafka that the README recommends, for what Debian 12's cannot do: SCRAM with Kafka 4.

It comes in the wheel of confluent-kafka, is fetched once into the user's cache, and takes the place
of Debian's for a process whose environment has LD_LIBRARY_PATH set to folder().
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
import zipfile

VERSION = "2.11.1"
_HASH = "61caa7929443ca0bf4ac5c61d37fbc3e77f5fa094adf2337eb62d2742a0b2290"
_WHEEL = ["--python-version", "3.11", "--implementation", "cp", "--platform", "manylinux_2_28_x86_64"]


def folder() -> pathlib.Path:
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    home = cache / "outbox-relay" / f"librdkafka-{VERSION}-{_HASH[:12]}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as work:
            made = _fetch(pathlib.Path(work))
            try:
                made.rename(home)  # whole, or not at all
            except OSError:
                assert home.exists(), f"{home} cannot be made"  # somebody else was faster
    return home


def _fetch(work: pathlib.Path) -> pathlib.Path:
    (work / "pin.txt").write_text(f"confluent-kafka=={VERSION} --hash=sha256:{_HASH}\n")
    done = subprocess.run(
        ["/usr/bin/python3", "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        + [*_WHEEL, "--require-hashes", "-r", work / "pin.txt", "-d", work],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"librdkafka {VERSION} could not be fetched:\n{done.stderr}"
    (wheel,) = work.glob("*.whl")
    made = work / "made"
    made.mkdir()
    with zipfile.ZipFile(wheel) as packed:
        (name,) = [each for each in packed.namelist() if "/librdkafka-" in each]
        with packed.open(name) as source, (made / "librdkafka.so.1").open("wb") as target:
            shutil.copyfileobj(source, target)
    return made
