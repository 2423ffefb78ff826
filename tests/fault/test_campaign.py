"""The seeded campaign: rounds of faults of every kind under load, each drawn from seed and round.

FAULT_SEED and FAULT_ROUNDS (a number, or FROM-TO to play these again) are tests/run's --seed and
--rounds.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest
from campaign.plan import STEPS, draw
from campaign.play import Round
from campaign.servers import Servers

SEED = int(os.environ.get("FAULT_SEED") or 201)  # all modes, and most kinds in four rounds
ROUNDS = os.environ.get("FAULT_ROUNDS") or "4"
# Beside the other tests of this folder, shorter rounds: the beginning of what was asked for alone.
LENGTH = STEPS if os.environ.get("FAULT_SEED") or os.environ.get("FAULT_ROUNDS") else 5


def rounds() -> range:
    first, dash, last = ROUNDS.partition("-")
    return range(int(first), int(last) + 1) if dash else range(int(first))


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    made = Servers()
    yield made
    made.close()


@pytest.mark.parametrize("number", rounds())
def test_round(
    number: int, servers: Servers, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    played = Round(draw(SEED, number, LENGTH), servers, tmp_path)
    try:
        played.play()
    finally:
        request.node.user_properties.append(("campaign", played.report.as_dict()))
