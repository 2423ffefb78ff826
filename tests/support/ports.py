"""Free TCP ports of this machine."""

from __future__ import annotations

import os
import random
import socket

# Below what the kernel hands out by itself (32768 and up), and apart for tests that run beside each
# other: a port that one has found free and not yet bound is nobody else's.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw7").removeprefix("gw")) % 8
_PORTS = range(16000 + 2000 * _WORKER, 16000 + 2000 * (_WORKER + 1))


def free_ports(count: int) -> list[int]:
    """Different ports that were free a moment ago: all are held until the last one is found."""
    sockets: list[socket.socket] = []
    try:
        for port in random.sample(_PORTS, len(_PORTS)):
            each = socket.socket()
            try:
                each.bind(("127.0.0.1", port))
            except OSError:
                each.close()
                continue
            sockets.append(each)
            if len(sockets) == count:
                return [each.getsockname()[1] for each in sockets]
        raise OSError(f"no {count} free ports in {_PORTS}")
    finally:
        for each in sockets:
            each.close()


def free_port() -> int:
    return free_ports(1)[0]
