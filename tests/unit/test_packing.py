"""What a plan was made from, and the plan itself, come back as what they were."""

from __future__ import annotations

import pytest
import sample_plan

from billingsync.core.bill.plan import Plan
from billingsync.core.steps import Offer, Slot, Step, command
from billingsync.store.packing import pack, unpack, unpack_beside

STEPS = [
    command(Offer.BILL, "map", "products", "--set", ("EXO-1=", Slot.ITEM)),
    command(Offer.LEAVE_OUT, "set-aside", Slot.CHARGES, "--reason", Slot.REASON),
    command(Offer.BILL, "approve", Slot.DIGEST, "--client", "CLIENT", Slot.CHARGE_OPTIONS),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.words[1])
def test_a_step_keeps_its_places(step: Step) -> None:
    found = unpack(Step, b"".join(pack(step)))
    assert found == step and found.text == step.text
    assert [type(word) for word in found.words] == [type(word) for word in step.words]


def test_a_plan_comes_back_from_beside_what_it_was_made_from() -> None:
    plan = sample_plan.full_plan()
    body = b"".join(pack(Step(offer=Offer.WAIT), plan=plan))
    assert unpack_beside(Plan, body, "plan") == plan
    assert unpack(Step, body) == Step(offer=Offer.WAIT)
    assert unpack_beside(Plan, b'{"offer": "wait"}', "plan") is None
