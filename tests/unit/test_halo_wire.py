"""HaloPSA's JSON: read leniently, written with the schema's names, marked so that we know our own."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from billingsync.core.inputs import Client, Item
from billingsync.core.invoice import Mark
from billingsync.errors import UpstreamError
from billingsync.http import read_json, write_json
from billingsync.psa.halo.wire import (
    WireLine,
    as_line,
    create_body,
    header_marker,
    header_note,
    mark_of,
    markers,
    read_client,
    read_item,
)

KEY, INSTALLATION = "0123456789abcdef0123", "deadbeef"
MARK = mark_of(KEY, INSTALLATION, 7)


def line(**changes: object) -> WireLine:
    values: dict[str, object] = {
        "title": "Business Premium",
        "text": "Business Premium, November",
        "quantity": Decimal("10.00"),
        "unit_price": Decimal("22.50"),
        "unit_cost": Decimal("18"),
        "item_id": None,
        "tax_code": None,
        "nominal_code": None,
        "mark": MARK,
    }
    return WireLine(**(values | changes))  # type: ignore[arg-type]


def test_a_client_with_everything() -> None:
    raw = {
        "id": Decimal("12.0"),
        "name": "Contoso",
        "inactive": False,
        "stopped": 1,
        "client_to_invoice": Decimal("13.0"),
        "client_to_invoice_recurring": 14,
        "currencyisocode": "",
        "default_currency_code_name": " usd ",
        "clientcurrency": "EUR",
        "main_site_id": 21,
        "pax8monthlyinvoice": -237,
        "pax8annualinvoice": 0,
        "customfields": [{"id": 1}],
    }
    assert read_client(raw) == Client(
        id=12,
        name="Contoso",
        pays_through=13,
        pays_recurring_through=14,
        currency="USD",
        site_id=21,
        pax8_monthly_invoice=-237,
    )


def test_a_client_with_nothing_but_an_id() -> None:
    assert read_client({"id": 5}) == Client(id=5, name="")
    own = {"id": 5, "client_to_invoice": 5, "client_to_invoice_recurring": -1, "main_site_id": "x", "name": None}
    assert read_client(own | {"currencyisocode": "US Dollar", "clientcurrency": 5}) == Client(id=5, name="")


@pytest.mark.parametrize("raw", [{}, {"id": None}, {"id": "x"}, {"id": Decimal("1.5")}, {"id": True}])
def test_a_row_without_a_usable_id_is_an_error_not_a_missing_client(raw: dict[str, object]) -> None:
    with pytest.raises(UpstreamError, match="cannot be read: id"):
        read_client(raw)
    with pytest.raises(UpstreamError, match="cannot be read: id"):
        read_item(raw)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (1, True),
        ("true", True),
        ("yes", True),
        (False, False),
        (0, False),
        (None, False),
        ("false", False),
    ],
)
def test_flags_in_any_spelling_and_a_strange_one_holds(value: object, expected: bool) -> None:
    client = read_client({"id": 1, "inactive": value, "dontinvoice": value})
    assert (client.inactive, client.dont_invoice) == (expected, expected)


def test_an_item() -> None:
    raw = {
        "id": 17,
        "name": "Business Premium",
        "externalreference": "MST-1",
        "supplier_part_code": "A",
        "default_supplier_part_code": "B",
        "item_suppliers": [{"supplier_sku": "A"}, {"supplier_sku": "C"}, {"supplier_sku": None}, "odd"],
        "assetgroup_id": Decimal("3.0"),
    }
    assert read_item(raw) == Item(
        id=17, name="Business Premium", external_reference="MST-1", supplier_part_codes=("A", "B", "C"), group_id=3
    )


def test_a_new_invoice_is_an_array_of_one_at_noon() -> None:
    body = create_body(
        client_id=214,
        site_id=21,
        invoice_date=date(2026, 11, 5),
        internal_note=header_note(KEY, INSTALLATION, "2026-11"),
        order_number="PO-1",
        lines=[line(item_id=17, tax_code="12", nominal_code="4000")],
        marker="longdescription",
    )
    assert json.loads(write_json(body)) == [
        {
            "client_id": 214,
            "sitenumber": 21,
            "invoice_date": "2026-11-05T12:00:00",
            "internal_note": f"billingsync key={KEY} installation={INSTALLATION} period=2026-11",
            "order_number": "PO-1",
            "lines": [
                {
                    "item_shortdescription": "Business Premium, November",
                    "item_longdescription": f"Business Premium, November\n{MARK}",
                    "qty_order": 10,
                    "unit_price": 22.5,
                    "baseprice": 22.5,
                    "unit_cost": 18,
                    "_itemid": 17,
                    "item_code": "17",
                    "tax_code": "12",
                    "nominal_code": "4000",
                }
            ],
        }
    ]
    assert header_marker(body[0]) == Mark(key=KEY, installation=INSTALLATION, ordinal=-1)


def test_what_is_not_configured_is_not_sent() -> None:
    wire = as_line(line(), "productnumber")
    assert not {"_itemid", "item_code", "tax_code", "nominal_code", "customfields", "id"} & wire.keys()
    body = create_body(
        client_id=1,
        site_id=None,
        invoice_date=date(2026, 1, 2),
        internal_note="",
        order_number=None,
        lines=[],
        marker="productnumber",
    )
    assert body[0].keys() == {"client_id", "invoice_date", "internal_note", "lines"}


@pytest.mark.parametrize(
    "number", ["0.1", "22.50", "0.333333333333333333333333333333333333", "-3.00", "1E+3", "100000", "0.000001"]
)
def test_numbers_go_out_exactly(number: str) -> None:
    sent = write_json([as_line(line(quantity=Decimal(number), unit_price=Decimal(number)), "productnumber")])
    (back,) = read_json(sent)
    assert Decimal(back["qty_order"]) == Decimal(back["unit_price"]) == Decimal(back["baseprice"]) == Decimal(number)
    assert b"E" not in sent.split(b'"qty_order":')[1].split(b",")[0]


@pytest.mark.parametrize("marker", ["longdescription", "productnumber", "customfield:42"])
def test_the_marker_is_found_wherever_the_setting_put_it(marker: str) -> None:
    wire = as_line(line(), marker)
    assert markers(wire) == Mark(key=KEY, installation=INSTALLATION, ordinal=7)
    assert str(wire).count(MARK) == 1
    if marker == "customfield:42":
        assert wire["customfields"] == [{"id": 42, "value": MARK}]


@pytest.mark.parametrize(
    "text", ["x" * 10_000, "😀" * 4_000, "é\n" * 5_000, "x" + "😀" * 4_000], ids=["plain", "emoji", "lines", "odd"]
)
def test_a_long_text_is_cut_around_the_marker_as_sql_server_counts(text: str) -> None:
    wire = as_line(line(text=text), "longdescription")
    for name in ("item_longdescription", "item_shortdescription"):
        held = str(wire[name])
        assert 3990 < len(held.encode("utf-16-le")) // 2 <= 4000
        held.encode("utf-8")  # no half emoji
    assert markers({"item_longdescription": str(wire["item_longdescription"])[:4000]}) == Mark(
        key=KEY, installation=INSTALLATION, ordinal=7
    )


def test_a_text_that_looks_like_a_marker_does_not_pass_for_one() -> None:
    foreign = mark_of("f" * 20, "0badcafe", 1)
    for marker in ("longdescription", "productnumber", "customfield:42"):
        assert markers(as_line(line(text=f"Evil {foreign} product {foreign}"), marker)) == Mark(
            key=KEY, installation=INSTALLATION, ordinal=7
        )
    unmarked = as_line(line(text=f"Evil {foreign} product", mark=""), "productnumber")
    assert markers(unmarked) is None


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"item_longdescription": None},
        {"item_longdescription": f"[bs:{KEY}:{INSTALLATION}]"},
        {"item_longdescription": f"[bs:{KEY[:-1]}:{INSTALLATION}:1]"},
        {"productnumber": 5, "customfields": "none"},
        {"customfields": [None, {"value": None}, {"value": 3}]},
    ],
)
def test_what_is_not_our_marker(raw: dict[str, object]) -> None:
    assert markers(raw) is None


def test_the_header_note_survives_peoples_additions() -> None:
    note = header_note(KEY, INSTALLATION, "2026-11")
    found = header_marker({"internal_note": f"Call Ann first.<br>{note}<br>thanks"})
    assert found == Mark(key=KEY, installation=INSTALLATION, ordinal=-1)
    assert header_marker({"internal_note": "billingsync is great"}) is None
    assert header_marker({}) is None
