"""One round, played: its faults in turn under load, then the judgement; and what is told of it."""

from __future__ import annotations

import contextlib
import pathlib
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from campaign.faults import inflict
from campaign.plan import BY_NAME, Plan
from campaign.servers import Servers
from campaign.world import WINDOW, World


@dataclass
class Report:
    """What came of a round; as_dict() goes from a test's process to the one that prints."""

    seed: int
    round: int
    scene: str  # the plan in words
    scenario: str
    faults: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    events: int = 0
    duplicates: int = 0
    allowed: int = 0
    seconds: float = 0.0
    passed: bool = False
    story: str = ""  # of a failed one: what had been done by then, and how to do it again

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Round:
    def __init__(self, plan: Plan, servers: Servers, folder: pathlib.Path) -> None:
        self.plan = plan
        self.servers = servers
        self.folder = folder
        self.report = Report(
            plan.seed,
            plan.round,
            str(plan),
            f"{plan.mode} {plan.ack}{' 3 brokers' if plan.brokers > 1 else ''}",
        )
        self._done: list[str] = []

    def play(self) -> None:
        begun = time.monotonic()
        world = None
        try:
            world = World(self.plan, self.servers, self.folder)
            self._inflict_all(world)
            world.settle()
            self._judge(world)
            world.end()
            self.report.passed = True
        except (Exception, AssertionError) as error:
            self.report.story = self._story(error, world)
            self._give_up(world)
            raise
        finally:
            self.report.seconds = time.monotonic() - begun

    # -- inside ----------------------------------------------------------------------------------

    def _inflict_all(self, world: World) -> None:
        world.start()
        for step in self.plan.steps:
            self._done.append(f"{step}")
            world.wait_seen(step.after)
            inflict(world, step)
            self._done[-1] += " - done"
            for fault in step.faults:
                self.report.faults[fault.kind] = self.report.faults.get(fault.kind, 0) + 1
        world.wait_seen(50)

    def _judge(self, world: World) -> None:
        """The oracle allowed what the relays' logs account for; the faults have to account for
        that."""
        oracle = world.scene.oracle
        report = self.report
        report.events, report.duplicates = len(oracle.events), oracle.duplicates()
        report.allowed = world.given_up() * WINDOW
        report.skipped = world.skipped
        expected = sum(BY_NAME[fault.kind].losses for fault in self.plan.faults())
        assert world.given_up() <= expected, (
            f"what was in flight was given up {world.given_up()} times, expected {expected}"
        )

    def _give_up(self, world: World | None) -> None:
        """What is left would disturb the next round: servers are made anew for it."""
        if world is not None:
            with contextlib.suppress(Exception, AssertionError):
                world.load.stop(1)
            for relay in world.scene.relays:
                relay.kill()
            for proxy in world.proxies:
                proxy.close()
        self.servers.close()

    def _story(self, error: BaseException, world: World | None) -> str:
        plan = self.plan
        lines = [
            f"{type(error).__name__}: {error}",
            f"seed {plan.seed}, round {plan.round}: {plan}",
            *(f"  {line}" for line in self._done),
        ]
        for number, relay in enumerate(world.relays if world else []):
            lines += [f"relay {number}'s log ends:", relay.process.tail(40)]
        lines.append(
            f"replay: tests/run fault --seed {plan.seed} --rounds {plan.round}-{plan.round}"
        )
        return "\n".join(lines)
