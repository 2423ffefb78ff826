"""A Kafka with a listener for each way to be secured, and for each way that TLS goes wrong."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from support.certificates import Certificates, Pair
from support.kafka import Kafka
from support.ports import free_ports

USER, PASSWORD = "relay", "r1ght-secret"
SCRAM_256, SCRAM_512 = "SCRAM-SHA-256", "SCRAM-SHA-512"
_LOGIN = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'


@dataclass(frozen=True)
class Listener:
    protocol: str
    server: Pair | None = None
    mechanism: str = ""
    client_auth: bool = False


class SecuredKafka(Kafka):
    """One node. addresses[name] leads to a listener: mtls, tls, saslssl, saslplain, or one whose
    server is expired, early, otherhost, otherca. Others connect to bootstrap, in plain text."""

    def __init__(self, made: Certificates) -> None:
        self.listeners = {
            "mtls": Listener("SSL", made.server, client_auth=True),
            "saslssl": Listener("SASL_SSL", made.server, SCRAM_512),
            "saslplain": Listener("SASL_PLAINTEXT", mechanism=SCRAM_256),
            "expired": Listener("SSL", made.expired_server),
            "early": Listener("SSL", made.early_server),
            "otherhost": Listener("SSL", made.other_host),
            "otherca": Listener("SSL", made.other_server),
        }
        self._ca = made.ca
        self._ports_of = dict(zip(self.listeners, free_ports(len(self.listeners)), strict=True))
        users = [
            f"{mechanism}=[name={USER},password={PASSWORD}]" for mechanism in (SCRAM_256, SCRAM_512)
        ]
        options = [word for user in users for word in ("--add-scram", user)]
        super().__init__(format_options=options)

    def address(self, name: str, host: str = "127.0.0.1") -> str:
        return f"{host}:{self._ports_of[name]}"

    def _write_properties(self, node: int) -> pathlib.Path:
        port, controller = self._ports
        own = "".join(f",{name.upper()}://{self.address(name)}" for name in self.listeners)
        protocols = "".join(f",{name.upper()}:{l.protocol}" for name, l in self.listeners.items())
        self.settings = {
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{own}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}{own}",
            "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}",
            "inter.broker.listener.name": "PLAINTEXT",
            "connection.failed.authentication.delay.ms": "0",
        }
        for name, listener in self.listeners.items():
            self.settings |= self._settings_of(f"listener.name.{name}.", listener)
        return super()._write_properties(node)

    def _settings_of(self, prefix: str, listener: Listener) -> dict[str, str]:
        settings = {}
        if listener.server is not None:
            settings = {
                f"{prefix}ssl.keystore.type": "PEM",
                f"{prefix}ssl.keystore.location": str(listener.server.store),
                f"{prefix}ssl.truststore.type": "PEM",
                f"{prefix}ssl.truststore.location": str(self._ca),
                f"{prefix}ssl.client.auth": "required" if listener.client_auth else "none",
            }
        if listener.mechanism:
            settings[f"{prefix}sasl.enabled.mechanisms"] = listener.mechanism
            settings[f"{prefix}{listener.mechanism.lower()}.sasl.jaas.config"] = _LOGIN
        return settings
