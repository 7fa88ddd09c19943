"""Values of the core as they are kept beside a plan: what is read again is what was written."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from billingsync.core.bill.plan import ItemRef, steps_for
from billingsync.core.charge import Source
from billingsync.core.inputs import Memory
from billingsync.core.remembered import Settled
from billingsync.core.states import ChargeState
from billingsync.core.steps import Offer, Slot, Step, command, instruction
from billingsync.errors import LedgerError
from billingsync.store.packing import pack, unpack, unpack_beside, unpack_with

HOLD = command(Offer.BILL, "approve", Slot.DIGEST, "--client", "SKU Ltd", Slot.CHARGE_OPTIONS)
MAP = command(Offer.BILL, "map", "companies", "--set", ("Coho Vineyard", "=", Slot.HALO_CLIENT))


@pytest.mark.parametrize("step", [HOLD, MAP, instruction(Offer.WAIT, "look at ", Slot.SKU)])
def test_open_places_in_steps_stay_open_and_a_name_that_is_spelt_like_one_stays_a_name(step: Step) -> None:
    again = unpack(Step, b"".join(pack(step)))
    assert again == step and again.text == step.text
    filled = steps_for((again,), ("invoice:item",))[0]
    assert filled == steps_for((step,), ("invoice:item",))[0]


def test_every_kind_of_value_comes_back_as_what_it_was() -> None:
    settled = Settled(state=ChargeState.POSTED, by="k", price=Decimal("1.50"), cost=Decimal(0), currency="USD")
    memory = Memory(
        settled={"charge": settled},
        last_amounts={(7, "USD"): ("2026-10", Decimal("-0.10"))},
        known_clients=frozenset({3, 1}),
        approved=frozenset({"a", 2}),
    )
    again = unpack(Memory, b"".join(pack(memory)))
    assert again == memory and again.settled["charge"].state is ChargeState.POSTED


def test_what_stands_beside_a_value_is_read_with_it_or_is_none() -> None:
    source = Source(
        invoice_id="i", invoice_date=date(2026, 11, 1), status="Paid", currency="USD", total=None,
        carried_balance=Decimal("0.00"), partner_name="p", charges=(),
    )  # fmt: skip
    item = ItemRef(id=None, name="n", create=True)
    body = b"".join(pack(source, item=item))
    assert unpack_with(Source, body, item=ItemRef, other=ItemRef) == (source, item, None)
    assert unpack_beside(ItemRef, body, "item") == item and unpack(Source, body) == source


def test_what_another_version_wrote_is_read_as_far_as_it_fits_and_else_refused() -> None:
    body = json.loads(b"".join(pack(ItemRef(id=4, name="n")))) | {"later": 1}
    del body["sku"]
    assert unpack(ItemRef, json.dumps(body).encode()) == ItemRef(id=4, name="n")
    with pytest.raises(LedgerError):
        unpack(ItemRef, b'{"id": 4}')


def test_what_a_month_holds_is_packed_a_piece_each_and_reads_as_one_document() -> None:
    items = tuple(ItemRef(id=n, name=f"Grüße {n}", create=n % 2 == 0) for n in range(50))
    pieces = list(pack(Source(
        invoice_id="i", invoice_date=date(2026, 11, 1), status="Paid", currency="USD", total=Decimal("1E+3"),
        carried_balance=None, partner_name="p", charges=items,  # type: ignore[arg-type]  # anything small
    )))  # fmt: skip
    assert len(pieces) > 2 * len(items) and max(map(len, pieces)) < 100
    found = json.loads(b"".join(pieces))
    assert found["charges"][3] == {"id": 3, "name": "Grüße 3", "create": False, "sku": ""}
    assert found["total"] == {"$decimal": "1E+3"} and found["carried_balance"] is None
