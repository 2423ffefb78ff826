"""A TCP proxy of a test's own, between the relay and a server: it can be silent, be slow, and cut.

    with Proxy(server.port) as proxy:
        ... a client of 127.0.0.1:proxy.port
        proxy.pause()       # bytes and new connections wait, nothing is closed: a dead network
        proxy.resume()      # they flow on; or proxy.drop(): every connection ends in a reset
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)  # no linger: a close is a reset


class _Way:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.held: deque[tuple[float, bytes]] = deque()  # when it may go on, and what; b"": its end
        self.ended = False


class Proxy:
    def __init__(self, target_port: int, *, delay_s: float = 0.0) -> None:
        """delay_s holds back every chunk, in either direction."""
        self._target = ("127.0.0.1", target_port)
        self._delay_s = delay_s
        self._flowing = True
        self._closing = False
        self._ways: list[_Way] = []
        self._commands: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0  # connections, in all
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pause(self) -> None:
        """Silence: what is sent fills the kernel's buffers and goes no further."""
        self._do(lambda: setattr(self, "_flowing", False))

    def resume(self) -> None:
        self._do(lambda: setattr(self, "_flowing", True))

    def drop(self) -> None:
        """Every connection ends in a reset on both sides; what was held back is gone."""
        self._do(lambda: [self._cut(way) for way in list(self._ways)] and None)

    def delay(self, seconds: float) -> None:
        """So long every chunk is held back from now on, in either direction."""
        self._do(lambda: setattr(self, "_delay_s", seconds))

    def half_close(self, *, towards_client: bool) -> None:
        """One direction of every connection ends, the other stays open."""

        def end() -> None:
            for way in self._ways[towards_client :: 2]:
                with contextlib.suppress(OSError):
                    way.sink.shutdown(socket.SHUT_WR)

        self._do(end)

    def close(self) -> None:
        self._do(lambda: setattr(self, "_closing", True))
        self._thread.join()

    # -- inside: all on the proxy's own thread -----------------------------------------------------

    def _do(self, what: Callable[[], None]) -> None:
        if not self._thread.is_alive():
            return
        done = threading.Event()
        self._commands.append((what, done))
        self._waker.send(b"!")
        done.wait()

    def _run(self) -> None:
        while not self._closing:
            self._turn()
            while self._commands:
                what, done = self._commands.popleft()
                what()
                done.set()
        for way in list(self._ways):
            self._cut(way)
        for each in (self._listener, self._wake, self._waker):
            each.close()

    def _turn(self) -> None:
        now = time.monotonic()
        reading: list[socket.socket] = [self._wake]
        writing: list[socket.socket] = []
        timeout = None
        if self._flowing:
            reading.append(self._listener)
            for way in self._ways:
                if not way.ended and len(way.held) < 16:
                    reading.append(way.source)
                if way.held and way.held[0][0] <= now:
                    writing.append(way.sink)
                elif way.held:
                    wait = way.held[0][0] - now
                    timeout = wait if timeout is None else min(timeout, wait)
        readable, writable, _ = select.select(reading, writing, [], timeout)
        if self._wake in readable:
            self._wake.recv(100)
        if self._listener in readable:
            self._accept()
        for way in list(self._ways):
            try:
                if way.source in readable:
                    self._take(way)
                if way.sink in writable:
                    self._pass_on(way)
            except OSError:
                self._cut(way)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
            return
        for each in (client, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ways += [_Way(client, server), _Way(server, client)]

    def _take(self, way: _Way) -> None:
        data = way.source.recv(_CHUNK)
        way.ended = not data
        way.held.append((time.monotonic() + self._delay_s, data))

    def _pass_on(self, way: _Way) -> None:
        if not way.held:
            return
        due, data = way.held.popleft()
        if not data:
            way.sink.shutdown(socket.SHUT_WR)
            if all(each.ended and not each.held for each in self._pair(way)):
                self._cut(way)
            return
        sent = way.sink.send(data)
        if sent < len(data):
            way.held.appendleft((due, data[sent:]))

    def _pair(self, way: _Way) -> list[_Way]:
        return [each for each in self._ways if way.source in (each.source, each.sink)]

    def _cut(self, way: _Way) -> None:
        for each in self._pair(way):
            self._ways.remove(each)
        for each in (way.source, way.sink):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.close()
