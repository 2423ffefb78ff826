"""One round's world: its database and topics on the servers, its relays, each behind a proxy of its
own, and its writers."""

from __future__ import annotations

import contextlib
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from support.clock import Clock
from support.oracle import Oracle
from support.process import ProcessError
from support.proxy import Proxy
from support.relay import Relay, binary, command
from support.scene import Scene
from support.slot import LEASE, SlotScene
from support.wait import wait_for
from support.wal import WalScene

from campaign.load import CORRECTED, WRONG, CampaignLoad
from campaign.plan import Plan
from campaign.servers import TABLESPACE, Servers

PARTITIONS = 3
WINDOW = 200  # so few that the bound on duplicates is sharp
_TOPIC_LIMIT = 500_000  # bytes
_SCENES = {"table": Scene, "wal": WalScene, "slot": SlotScene}
_LOST = re.compile(
    "what is in flight is given up|a new producer is made|the drain's time is over with"
)
_RECOVERY_S = 90.0


class World:
    def __init__(self, plan: Plan, servers: Servers, folder: pathlib.Path) -> None:
        self.plan = plan
        self.servers = servers
        self.postgres = servers.postgres()
        self.kafka = servers.kafka(plan.brokers)
        self.skipped: list[str] = []  # kinds that this machine does not permit
        self.owners_killed = 0
        self.refused = 0
        self.sides: list[Oracle] = []  # of topics that were made again
        self._folder = folder
        jumps = self._wants("relay's clock jumps")
        self.clock = Clock(folder, binary()) if jumps else None
        self.scene = _SCENES[plan.mode](self.postgres, self.kafka, folder, ack_mode=plan.ack)
        self.postgres.unguard(self.scene.db)  # it writes what is refused
        self.proxies = [Proxy(self.postgres.port) for _ in range(plan.relays)]
        self.relays: list[Relay] = []
        self._make_outbox()
        self.load = self._make_load()

    # -- its parts -------------------------------------------------------------------------------

    def start(self) -> None:
        if isinstance(self.scene, SlotScene):
            # What no table keeps can only come once there is a slot.
            made = command("check", "--fix", settings=self.scene.relay_settings())
            assert made.returncode == 0, made.stdout
        for number in range(self.plan.relays):
            self.relays.append(self._relay(number))
        self.load.__enter__()

    def replace(self, number: int) -> None:
        """A relay that ended begins anew, behind the same proxy."""
        self.relays[number] = self._relay(number)

    def owner(self) -> int:
        """Which relay owns the outbox; the first when none says so."""
        for number, relay in enumerate(self.relays):
            with contextlib.suppress(AssertionError, KeyError):
                if relay.metric("owner") == 1:
                    return number
        return 0

    def sql(self, text: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return self.scene.sql(text, *arguments)

    def need_replicas(self, count: int) -> None:
        """Of so many, before a record counts as written."""
        self.kafka.set_topic(
            self.scene.topic, {"max.message.bytes": _TOPIC_LIMIT, "min.insync.replicas": count}
        )

    # -- looking ---------------------------------------------------------------------------------

    def wait_seen(self, more: int) -> None:
        """Until that many more events were consumed; every relay lives meanwhile."""
        goal = self.scene.oracle.seen() + more
        self.wait(lambda: self.scene.oracle.seen() >= goal, f"{more} more events")

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """As wait_for, with the relays looked after."""

        def check() -> object:
            self._check_relays()
            return condition()

        wait_for(check, what, _RECOVERY_S)

    def given_up(self) -> int:
        """How often what was in flight was lost with its producer."""
        return self.owners_killed + sum(len(_LOST.findall(text)) for text in self._logs())

    # -- ending ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Nothing is broken any more and nothing is written: all that was committed comes out."""
        self.heal()
        self.load.stop()
        deadline = time.monotonic() + _RECOVERY_S
        while True:
            try:
                self._check_relays()
                self._put_right()
                self.scene.oracle.wait(5)
                break
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
        self.scene.judge(self.given_up() * WINDOW)
        for side in self.sides:
            side.wait(_RECOVERY_S)
            side.verify(self.given_up() * WINDOW)

    def heal(self) -> None:
        self.servers.heal()
        for proxy in self.proxies:
            proxy.delay(0)
            proxy.resume()
        for relay in self.relays:
            relay.resume()

    def end(self) -> None:
        """The relays end cleanly, and what the round had on the servers goes."""
        self.scene.close()
        for side in self.sides:
            side.close()
        for proxy in self.proxies:
            proxy.close()
        wait_for(self._drop_database, "the database to be free", 30)

    # -- inside ----------------------------------------------------------------------------------

    def _drop_database(self) -> bool:
        connection = self.postgres.connect(autocommit=True)
        try:
            connection.cursor().execute(f'DROP DATABASE "{self.scene.db}" WITH (FORCE)')
        except psycopg2.errors.ObjectInUse:
            return False  # a walsender has not ended yet
        finally:
            connection.close()
        return True

    def _wants(self, kind: str) -> bool:
        return any(fault.kind == kind for fault in self.plan.faults())

    def _make_outbox(self) -> None:
        self.kafka.create_topic(
            self.scene.topic, PARTITIONS, {"max.message.bytes": _TOPIC_LIMIT}
        )
        if self._wants("PostgreSQL's table disk full") and self.servers.table_disk is not None:
            self.sql(f"ALTER TABLE outbox SET TABLESPACE {TABLESPACE}")
        if not self.plan.prepares:
            self.sql(f"ALTER DATABASE {self.scene.db} SET outbox_relay.notify = 'on'")

    def _make_load(self) -> CampaignLoad:
        return CampaignLoad(
            lambda: self.postgres.connect(self.scene.db),
            self.scene.oracle,
            seed=f"{self.plan.seed}/{self.plan.round}/load",
            prepares=self.plan.prepares,
            messages=self.plan.mode == "slot",
            shared_key_waits=self.plan.policy == "park",
            aggregatetype=self.scene.aggregatetype,
            pause_s=0.01,
        )

    def _relay(self, number: int) -> Relay:
        port = self.proxies[number].port
        settings = {
            "postgres.uri": f"postgresql://postgres@127.0.0.1:{port}/{self.scene.db}",
            "kafka.bootstrap.servers": self.kafka.proxied_bootstrap,
            "failure.policy": self.plan.policy,
            "window.events": WINDOW,
            "shutdown.timeout_ms": 3000,
            **LEASE,
            **({"source.mode": "table"} if self.plan.mode == "table" else {}),
            **({"kafka.socket.timeout.ms": 5000} if self.plan.brokers > 1 else {}),
        }
        return self.scene.relay(settings, self.clock.environment() if self.clock else None)

    def _logs(self) -> list[str]:
        return [relay.log.read_text(errors="replace") for relay in self.scene.relays]

    def _check_relays(self) -> None:
        for relay in self.relays:
            if relay.exit_code is not None:
                raise ProcessError(f"a relay ended with {relay.exit_code}:\n{relay.process.tail()}")

    def _put_right(self) -> None:
        """What an operator does with the events that could not be published."""
        if not self.refused:
            return
        for table in ("outbox", "outbox_parked", "outbox_dead"):
            self.sql(f"UPDATE {table} SET {CORRECTED} WHERE {WRONG}")
        done = command(
            "dead", "retry", "--all", settings={"postgres.uri": self.postgres.uri(self.scene.db)}
        )
        assert done.returncode == 0, done.stdout + done.stderr
