"""A calendar that jumps, for one process (clock_step.c)."""

from __future__ import annotations

import pathlib
import re
import struct
import subprocess

SOURCE = pathlib.Path(__file__).with_name("clock_step.c")


class Clock:
    """environment() is for the process whose CLOCK_REALTIME it is; the clocks that never step are
    left alone, as a step of the calendar leaves them."""

    def __init__(self, folder: pathlib.Path, program: pathlib.Path) -> None:
        """Compiles into the folder."""
        self._file = folder / "clock"
        library = folder / "clock_step.so"
        subprocess.run(
            ["cc", "-std=c17", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", library, SOURCE],
            check=True,
        )
        self._preload = " ".join([*_sanitizers(program), str(library)])
        self._ahead_s = 0
        self._file.write_bytes(struct.pack("q", 0))

    def step(self, seconds: int) -> None:
        """So far on, or back."""
        self._ahead_s += seconds
        with self._file.open("r+b") as file:  # mapped by the process: changed in its place
            file.write(struct.pack("q", self._ahead_s))

    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": self._preload, "CLOCK_STEP_FILE": str(self._file)}


def _sanitizers(program: pathlib.Path) -> list[str]:
    """The address sanitizer insists on being the first library."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return re.findall(r"=> (\S*libasan\.so\S*)", done.stdout)
