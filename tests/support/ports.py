"""Free TCP ports of this machine."""

from __future__ import annotations

import itertools
import os
import random
import socket

# Below what the kernel hands out by itself (32768 and up), and apart for tests that run beside each
# other: a port that one has found free and not yet bound is nobody else's. Nor is one given twice
# before all others have been.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw7").removeprefix("gw")) % 8
_FIRST, _COUNT = 16000 + 2000 * _WORKER, 2000
_ports = itertools.cycle(random.sample(range(_FIRST, _FIRST + _COUNT), _COUNT))


def free_ports(count: int) -> list[int]:
    """Different ports that were free a moment ago."""
    found: list[int] = []
    for port in itertools.islice(_ports, _COUNT):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports from {_FIRST} on")


def free_port() -> int:
    return free_ports(1)[0]
