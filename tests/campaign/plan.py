"""What one round of the campaign does: a pure function of the seed and the round's number.

    plan = draw(seed=7, round_=3)
    plan.mode, plan.ack, plan.brokers      # where it happens
    plan.steps                             # which faults, in which order, after how many events
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

STEPS = 12  # of one round
SCENARIOS = (
    ("table", "delete", 1),
    ("slot", "delete", 1),
    ("wal", "mark", 1),
    ("wal", "delete", 3),
    ("table", "mark", 1),
    ("wal", "delete", 1),
    ("slot", "mark", 1),
    ("table", "delete", 3),
    ("slot", "delete", 3),
    ("table", "mark", 3),
)
_BESIDE = 0.2  # so many of the steps are two faults at once
_SHORTER_THAN_A_LEASE = (0.1, 1.2)
_ANY = (0.1, 4.0)  # a lease takes 2 s


@dataclass(frozen=True)
class Kind:
    """A kind of fault. losses: how many windows of events it may bring a second time."""

    name: str
    parts: str  # what it hurts or needs whole; of two at once no part is the same
    weight: int
    losses: int = 0
    hold: tuple[float, float] = (0.0, 0.0)  # how long it may last, in seconds
    brokers: tuple[int, ...] = (1, 3)


# A slow or silent PostgreSQL may cost the lease, and with it what was in flight.
KINDS = (
    Kind("relay killed", "relay", 6, 1),
    Kind("relay told to stop", "relay", 3),
    Kind("relay frozen", "relay", 5, 1, _ANY),
    Kind("relay's clock jumps", "relay", 3),
    Kind("PostgreSQL killed", "postgres", 3, 1),
    Kind("PostgreSQL restarted at once", "postgres", 3, 1),
    Kind("PostgreSQL frozen", "postgres", 3, 1, _ANY),
    Kind("PostgreSQL's WAL disk full", "postgres", 2, 1),
    Kind("PostgreSQL's table disk full", "postgres", 2, 0, _SHORTER_THAN_A_LEASE),
    Kind("PostgreSQL sessions ended", "postgres", 8, 1),
    Kind("PostgreSQL link dropped", "postgres", 4, 1),
    Kind("PostgreSQL link half open", "postgres", 4, 1),
    Kind("PostgreSQL link silent", "postgres", 3, 1, _ANY),
    Kind("PostgreSQL link slow", "postgres", 2, 1, _SHORTER_THAN_A_LEASE),
    Kind("broker killed", "kafka", 2, 1, _SHORTER_THAN_A_LEASE, (1,)),
    Kind("broker restarted", "kafka", 2, 0, (0.0, 0.0), (1,)),
    Kind("broker frozen", "kafka", 3, 0, _ANY, (1,)),
    Kind("broker link dropped", "kafka", 5),
    Kind("broker link half open", "kafka", 5),
    Kind("broker link silent", "kafka", 3, 0, _ANY),
    Kind("broker link slow", "kafka", 2, 0, _SHORTER_THAN_A_LEASE),
    Kind("leader killed", "kafka", 6, 1, _ANY, (3,)),
    Kind("leader stopped", "kafka", 3, 1, _SHORTER_THAN_A_LEASE, (3,)),
    Kind("leader frozen", "kafka", 5, 1, (0.5, 6.0), (3,)),
    Kind("too few replicas", "kafka", 4, 1, _ANY, (3,)),
    Kind("all brokers killed", "kafka", 3, 1, _SHORTER_THAN_A_LEASE, (3,)),
    Kind("brokers restarted one by one", "kafka postgres relay", 3, 1, (0.0, 0.0), (3,)),
    Kind("event refused", "events", 4, 1),
    Kind("topic made again", "kafka postgres", 3),
)
BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Fault:
    kind: str
    target: int  # which of several: a relay, a session, a partition's leader, a size
    hold_s: float

    def __str__(self) -> str:
        held = f" for {self.hold_s:.1f} s" if self.hold_s else ""
        return f"{self.kind} ({self.target}){held}"


@dataclass(frozen=True)
class Step:
    """One fault, or two at once; comes when so many more events have been consumed."""

    after: int
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"after {self.after} events: " + " + ".join(map(str, self.faults))


@dataclass(frozen=True)
class Plan:
    seed: int
    round: int
    mode: str  # table, wal (a temporary slot) or slot (one that stays)
    ack: str
    brokers: int
    relays: int
    policy: str
    prepares: bool  # writers prepare transactions; without, they may notify
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return (
            f"{self.mode}, {self.ack}, {self.policy}, brokers {self.brokers}, relays {self.relays},"
            f" {'prepared transactions' if self.prepares else 'notifications'}"
        )

    def faults(self) -> Iterator[Fault]:
        for step in self.steps:
            yield from step.faults


def draw(seed: int, round_: int, steps: int = STEPS) -> Plan:
    """With fewer steps it is the beginning of the same round."""
    dice = random.Random(f"{seed}/{round_}")
    # Every scenario in turn; where they begin is the seed's.
    mode, ack, brokers = SCENARIOS[(seed + round_) % len(SCENARIOS)]
    kinds = [kind for kind in KINDS if brokers in kind.brokers]
    return Plan(
        seed=seed,
        round=round_,
        mode=mode,
        ack=ack,
        brokers=brokers,
        relays=dice.choice((1, 2, 2)),
        policy=dice.choice(("park", "dead-letter")),
        prepares=dice.random() < 0.7,
        steps=tuple(_step(dice, kinds) for _ in range(steps)),
    )


def _step(dice: random.Random, kinds: list[Kind]) -> Step:
    first = _choose(dice, kinds)
    faults = [_fault(dice, first)]
    if dice.random() < _BESIDE:
        others = [kind for kind in kinds if not _share(kind, first)]
        if others:
            faults.append(_fault(dice, _choose(dice, others)))
    return Step(after=dice.randint(20, 150), faults=tuple(faults))


def _share(one: Kind, other: Kind) -> bool:
    return bool(set(one.parts.split()) & set(other.parts.split()))


def _choose(dice: random.Random, kinds: list[Kind]) -> Kind:
    return dice.choices(kinds, [kind.weight for kind in kinds])[0]


def _fault(dice: random.Random, kind: Kind) -> Fault:
    hold_s = round(dice.uniform(*kind.hold), 1)
    return Fault(kind.name, target=dice.randrange(1 << 16), hold_s=hold_s)
