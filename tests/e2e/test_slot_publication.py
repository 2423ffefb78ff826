"""source.slot and a publication that changes under it: what that takes away is told, and how it is
had all the same."""

from __future__ import annotations

import re

import pytest
from support.refusal import WRONG, complaints
from support.relay import Relay
from support.slot import LEASE, SlotScene
from support.wait import wait_for


def refusal(relay: Relay) -> str:
    """The one error with which it ends."""
    assert relay.wait_exit(60) == WRONG
    relay.check()
    (said,) = complaints(relay)
    assert said.startswith("source.slot: publication ")
    return said


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("DROP TABLE outbox", "does not have public.outbox"),
        ("SET TABLE outbox WHERE (partition IS NOT NULL)", "filters rows or columns"),
    ],
    ids=["without the table", "with a filter"],
)
def test_rows_that_the_publication_left_out(slot: SlotScene, spoil: str, says: str) -> None:
    """They are in no stream. They stay in the table, and are read from there, late."""
    relay = slot.streaming(LEASE)
    slot.send(5)
    slot.write(5)
    slot.judge()
    relay.stop()
    slot.sql(f"ALTER PUBLICATION outbox_relay {spoil}")
    slot.write(5)
    slot.send(5)
    said = refusal(slot.relay(LEASE))
    assert says in said
    found = re.search(r": (ALTER PUBLICATION .*?)\. .*(UPDATE public\.outbox_lease .*?), and", said)
    assert found, said
    slot.sql(found[1])
    relay = slot.streaming(LEASE)
    slot.send(5)
    wait_for(lambda: slot.oracle.seen() == 20, "the rest to come", 30)
    relay.stop()
    assert slot.unacknowledged() == 5
    slot.sql(found[2])
    slot.streaming(LEASE)
    slot.send(5)
    slot.oracle.wait(30)
    wait_for(lambda: slot.unacknowledged() == 0, "every row to be acknowledged")
    assert slot.oracle.duplicates() == 0


def test_a_publication_that_is_dropped(slot: SlotScene) -> None:
    """The server reads nothing without it that was written without it, though it be made again. So
    the slot is of no use any more, and the table of what is left."""
    relay = slot.streaming(LEASE)
    slot.send(5)
    slot.write(5)
    slot.judge()
    slot.sql("DROP PUBLICATION outbox_relay")
    slot.write(5)
    said = refusal(relay)
    assert "was dropped" in said
    found = re.search(r"To begin anew .*?\): (.*)$", said)
    assert found, said
    slot.write(5)
    wait_for(lambda: not slot.walsenders(), "the walsender to end")
    for statement in found[1].split("; "):
        slot.sql(statement)
    slot.streaming(LEASE)
    slot.send(5)
    slot.judge()
