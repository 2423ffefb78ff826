"""A kubelet's probe of one container, over HTTP, in a thread of its own."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

# From outside of the Pod: what listens on 127.0.0.1 alone does not hear it.
POD_IP = "127.0.0.2"
_KNOWN = {"httpGet", "initialDelaySeconds", "periodSeconds", "timeoutSeconds"}
_KNOWN |= {"failureThreshold", "successThreshold"}


class ProbeError(Exception):
    """The manifest asks for what is not enacted."""


class _Direct(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """A redirect is an answer as any other."""


class Prober:
    """Asks from its construction until end(). Counts what it asked, and what failed."""

    def __init__(
        self,
        kind: str,
        spec: Mapping[str, Any],
        ports: Mapping[str | None, int],
        here: Mapping[int, int],
        pace: float,
    ) -> None:
        """ports: the container's by name; here: where they are on this machine."""
        if spec.keys() - _KNOWN or spec.get("httpGet", {}).keys() - {"path", "port", "scheme"}:
            raise ProbeError(f"of a {kind} this is not enacted: {spec}")
        port = spec["httpGet"]["port"]
        self._url = f"http://{POD_IP}:{here[ports.get(port, port)]}{spec['httpGet']['path']}"
        self._kind = kind
        self._spec = spec
        self._pace = pace
        self.asked = 0
        self.failures = 0
        # As a kubelet takes it until a threshold is reached: alive, not started, not ready.
        self.healthy = kind == "livenessProbe"
        self.failed = False
        self._run_of = 0  # results in a row that are like the last one
        self._last: bool | None = None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Direct)
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def end(self) -> None:
        """It counts nothing more; does not wait for an answer that is on its way."""
        self._over.set()

    def _run(self) -> None:
        self._over.wait(self._spec.get("initialDelaySeconds", 0) / self._pace)
        while not self._over.is_set():
            well = self._ask()
            if not self._over.is_set():
                self._count(well)
            self._over.wait(self._spec.get("periodSeconds", 10) / self._pace)

    def _ask(self) -> bool:
        """200 to 399 in time."""
        try:
            with self._opener.open(self._url, timeout=self._spec.get("timeoutSeconds", 1)):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return 200 <= error.code < 400
        except OSError:
            return False

    def _count(self, well: bool) -> None:
        self.asked += 1
        self.failures += not well
        self._run_of = self._run_of + 1 if well == self._last else 1
        self._last = well
        if self._run_of >= self._threshold(well):
            self.healthy = well
            self.failed = not well

    def _threshold(self, well: bool) -> float:
        if well:
            return self._spec.get("successThreshold", 1)
        # A start takes as long as it takes: asked more often, the program is given the same time.
        patience = self._pace if self._kind == "startupProbe" else 1
        return self._spec.get("failureThreshold", 3) * patience
