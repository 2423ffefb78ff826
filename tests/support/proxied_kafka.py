"""A Kafka whose brokers name proxies' addresses to those who come through one."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from support.kafka import Kafka
from support.ports import free_ports
from support.proxy import Proxy


class ProxiedKafka(Kafka):
    """proxies[n] stands before node n; bootstrap leads past them, proxied_bootstrap through."""

    def __init__(
        self,
        brokers: int = 1,
        *,
        auto_create: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(brokers, auto_create=auto_create, settings=settings)
        self._own_settings = self.settings
        self._behind = free_ports(brokers)
        self.proxies = [Proxy(port) for port in self._behind]

    @property
    def proxied_bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies)

    def close(self) -> None:
        for proxy in self.proxies:
            proxy.close()
        super().close()

    def _write_properties(self, node: int) -> pathlib.Path:
        port, controller = self._ports[node], self._ports[self.brokers + node]
        self.settings = {
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},"
            f"PROXIED://127.0.0.1:{self._behind[node]}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},"
            f"PROXIED://127.0.0.1:{self.proxies[node].port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "PROXIED:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            **self._own_settings,
        }
        return super()._write_properties(node)
