"""Pax8's JSON -> charges: nothing is lost, nothing is guessed, nothing crashes."""

from __future__ import annotations

import json
import random
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billingsync.errors import NotReady
from billingsync.http import read_json
from billingsync.sources.pax8.wire import fingerprint, item_id, read_company, read_header, read_source, text

INVOICE = {"id": "inv", "invoiceDate": "2026-11-01", "status": "Unpaid", "currencyCode": "usd", "total": 100}
OFFICIAL_ITEM = """{"type": "subscription", "purchaseOrderNumber": "N/A", "companyId": "cc0ac255", "companyName":
    "Brick and Mortar Tech", "startPeriod": "2019-04-01", "endPeriod": "2019-05-01", "quantity": 11, "term": "Monthly",
    "sku": "PAX-233", "description": "Microsoft Office E3", "price": 50000, "subTotal": 27500, "cost": 2500,
    "costTotal": 27500, "billedByPax8": false, "total": 550000, "productId": "de4f", "productName": "Office E3",
    "currencyCode": "USD", "salesTax": 2200, "subscriptionId": "f6b6", "aFieldOfTomorrow": {"x": [1]}}"""


def parsed(body: str) -> Any:
    return read_json(body.encode("utf-8", "surrogatepass"), odd_numbers=True)


def one(**item: Any) -> Any:
    """The charge of a single item."""
    return read_source(INVOICE, [{"id": "i1", "total": 10, "costTotal": 8} | item]).charges[0]


def test_an_item_of_the_official_example() -> None:
    (charge,) = read_source(INVOICE, [parsed(OFFICIAL_ITEM)]).charges
    assert charge.id.startswith("inv:~") and charge.id.endswith(":1")
    assert (charge.price, charge.cost, charge.quantity) == (Decimal("550000.00"), Decimal("27500.00"), Decimal(11))
    assert (charge.unit_price, charge.unit_cost, charge.sales_tax) == (50000, 2500, 2200)
    assert (charge.type, charge.term, charge.currency) == ("subscription", "Monthly", "USD")
    assert (charge.company_id, charge.company_name) == ("cc0ac255", "Brick and Mortar Tech")
    assert (charge.start, charge.end, charge.purchase_order) == ("2019-04-01", "2019-05-01", "N/A")
    assert charge.problem is None and charge.billed_by_pax8 is False


def test_the_header() -> None:
    source = read_source({**INVOICE, "carriedBalance": Decimal("3.50"), "partnerName": "Me"}, [])
    assert (source.invoice_id, source.invoice_date, source.status) == ("inv", date(2026, 11, 1), "Unpaid")
    assert (source.currency, source.total, source.carried_balance) == ("USD", 100, Decimal("3.50"))
    assert (source.partner_name, source.charges) == ("Me", ())


@pytest.mark.parametrize(
    "written", ["2026-11-01", "2026-11-01T08:30:00Z", "2026-11-01T13:20:13.153-0700", " 2026-11-01"]
)
def test_the_day_is_the_day_as_written(written: str) -> None:
    assert read_header({"id": 1, "invoiceDate": written}).invoiceDate == date(2026, 11, 1)


@pytest.mark.parametrize(
    "invoice", [{}, {"id": "x"}, {"id": "", "invoiceDate": "2026-11-01"}, {"id": "x", "invoiceDate": "soon"}, [], None]
)
def test_an_invoice_without_id_or_month_is_not_ready(invoice: object) -> None:
    with pytest.raises(NotReady, match="cannot be read"):
        read_header(invoice)


@pytest.mark.parametrize(
    ("status", "taken"),
    [("Unpaid", True), ("Void", False), ("CREDITED ", False), (None, True), ("Nothing Due", True), ({"a": 1}, True)],
)
def test_void_and_credited_invoices_are_not_taken(status: object, taken: bool) -> None:
    assert read_header({"id": "x", "invoiceDate": "2026-11-01", "status": status}).taken is taken


@pytest.mark.parametrize("item", [None, "text", 5, ["list"]])
def test_an_item_that_is_no_object_makes_the_invoice_not_ready(item: object) -> None:
    with pytest.raises(NotReady, match="not an object"):
        read_source(INVOICE, [{"id": "a"}, item])


@pytest.mark.parametrize("twins", [("a", "a"), (5, "5"), (5, Decimal("5"))])
def test_an_item_id_that_comes_twice_makes_it_not_ready(twins: tuple[object, object]) -> None:
    with pytest.raises(NotReady, match="twice"):
        read_source(INVOICE, [{"id": twins[0]}, {"id": twins[1]}])


def test_page_order_key_order_and_number_spelling_change_no_identity() -> None:
    bodies = [
        '{"sku": "A", "quantity": 1, "total": 1.10, "note": null}',
        '{"total": 1.1e0, "quantity": 1.0, "sku": "A"}',
        '{"sku": "A", "quantity": "1", "total": 1.10}',
        '{"sku": "B", "quantity": 100, "total": 0}',
        '{"sku": "B", "quantity": 1e2, "total": -0.00}',
        '{"id": "real", "sku": "B"}',
        '{"id": "", "sku": "C"}',
        '{"id": true, "sku": "C", "id2": 1}',
    ]
    expected = {charge.id for charge in read_source(INVOICE, [parsed(body) for body in bodies]).charges}
    assert len(expected) == len(bodies)
    assert "inv:real" in expected
    # The two of SKU C differ in `id2` only, which says nothing of what is charged [S5].
    assert sorted(name.rpartition(":")[2] for name in expected if "~" in name) == ["1"] * 4 + ["2"] * 3
    for seed in range(20):
        random.Random(seed).shuffle(bodies)
        assert {charge.id for charge in read_source(INVOICE, [parsed(body) for body in bodies]).charges} == expected


def test_content_is_told_apart() -> None:
    different = [
        '{"a": 1}',
        '{"a": "1"}',
        '{"a": true}',
        '{"a": 10}',
        '{"a": -1}',
        '{"b": 1}',
        '{"a": [1]}',
        '{"a": 0.1}',
    ]
    assert len({fingerprint(parsed(body)) for body in different}) == len(different)
    assert len(fingerprint({})) == 16
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(NotReady, match="too deep"):
        fingerprint(deep)
    assert text(deep) == "(nested too deep)"


def test_currency_falls_back_to_the_invoices_and_then_to_none() -> None:
    assert one(currencyCode=" eur ").currency == "EUR"
    assert one(currencyCode=None).currency == "USD"
    assert one(currencyCode="").currency == "USD"
    assert one(currencyCode=7).problem == "unknown currency '7'"
    (charge,) = read_source({**INVOICE, "currencyCode": None}, [{"id": "a", "total": 1, "costTotal": 1}]).charges
    assert (charge.currency, charge.problem) == ("XXX", "unknown currency 'XXX'")


@pytest.mark.parametrize(
    "body",
    [
        *(
            '{"total": NaN}',
            '{"total": -Infinity}',
            '{"total": 1E+999}',
            '{"total": "12.50"}',
            '{"total": "1,5"}',
            "{}",
        ),
        *('{"total": true}', '{"total": {}}', '{"total": ' + "9" * 5000 + "}", '{"total": 1e99999999999999999999}'),
    ],
)
def test_a_damaged_amount_is_a_problem_of_that_charge_only(body: str) -> None:
    damaged = {"id": "bad", "costTotal": 1} | parsed(body)
    bad, good = read_source(INVOICE, [damaged, {"id": "good", "total": 2, "costTotal": 1}]).charges
    assert bad.problem and bad.price == 0
    assert good.problem is None and good.price == Decimal("2.00")


def test_unreadable_sales_tax_counts_nothing() -> None:
    assert one(salesTax="8 %").sales_tax == 0
    assert one(salesTax=None).sales_tax == 0
    assert one(salesTax=Decimal("0.825")).sales_tax == Decimal("0.825")


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (False, False), ("true", False), (1, False), (None, False)]
)
def test_only_json_true_is_billed_by_pax8(value: object, expected: bool) -> None:
    assert one(billedByPax8=value).billed_by_pax8 is expected


def test_odd_fields_become_text_and_never_crash() -> None:
    charge = one(
        type=" PRORATE ", term=5, sku=["A", Decimal("1.0")], description={"en": "x"}, companyId=12, details=True
    )
    assert (charge.type, charge.term, charge.sku) == ("prorate", "5", '["A", "1.0"]')
    assert (charge.description, charge.company_id, charge.details) == ('{"en": "x"}', "12", "true")
    charge = one(type=None, companyId=" ", companyName=None)
    assert (charge.type, charge.company_id, charge.company_name) == ("", None, "")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x00b", "a␀b"),
        ("\x1b[31mred\x7f", "␛[31mred␡"),
        ("cut \ud83d", "cut \\ud83d"),
        ("\x9b", "\\u009b"),
        ("two\r\nlines\tand", "two\r\nlines\tand"),
        ("Zoë 日本 😀 \u202e", "Zoë 日本 😀 \u202e"),
    ],
)
def test_text_is_safe_to_store_and_stays_visible(raw: str, shown: str) -> None:
    assert text(raw) == shown
    charge = one(description=f"<{raw}>", id=f"i{raw}")
    assert charge.description == f"<{shown}>"
    charge.description.encode("utf-8")
    charge.id.encode("utf-8")
    assert "\x00" not in charge.id


def test_random_junk_never_crashes_an_item() -> None:
    chance = random.Random(7)
    fields = [*json.loads(OFFICIAL_ITEM), "id"]
    junk = [None, True, False, 0, -1, 10**30, Decimal("1.5"), Decimal("NaN"), "", "x", "\x00", "\ud800", [], {}, [{}]]
    items = [{name: chance.choice(junk) for name in fields} | {"id": str(number)} for number in range(500)]
    charges = read_source(INVOICE, items).charges
    assert [charge.id for charge in charges] == [f"inv:{number}" for number in range(500)]


def test_companies() -> None:
    company = read_company({"id": "c", "name": " Contoso\x00 ", "externalId": 214, "status": "Deleted", "address": 5})
    assert company is not None
    assert (company.id, company.name, company.external_id, company.status) == ("c", "Contoso␀", "214", "Deleted")
    lean = read_company({"id": "c"})
    assert lean is not None and (lean.name, lean.external_id, lean.status) == ("", "", "Active")
    assert read_company({"name": "nobody"}) is None
    assert read_company("text") is None


def test_item_ids() -> None:
    assert [item_id({"id": value}) for value in ("a", 5, None, True, {}, " b ")] == ["a", "5", "", "", "", "b"]
    assert item_id("text") == ""


NO_ID = {"companyId": "c", "subscriptionId": "s", "sku": "A", "type": "subscription", "quantity": 2, "total": 20}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"aFieldOfTomorrow": 1}, True),
        ({"companyName": "Renamed"}, True),
        ({"vendorName": "Microsoft"}, True),
        ({"amountDue": 3}, True),
        ({"productName": "Suite"}, False),  # without a product id its name says what it is
        ({"quantity": 3}, False),
        ({"total": 21}, False),
        ({"companyId": "d"}, False),
        ({"startPeriod": "2026-11-01"}, False),
        ({"purchaseOrderNumber": "7"}, False),
    ],
)
def test_S5_the_fingerprint_is_over_what_says_what_is_charged(change: dict[str, Any], same: bool) -> None:
    before, after = (read_source(INVOICE, [item]).charges[0] for item in (NO_ID, {**NO_ID, **change}))
    assert (before.id == after.id) is same
    assert (before.former_id == after.former_id) is (not change), "earlier versions took all that an item holds"


def test_S5_a_renamed_product_with_an_id_is_the_same_charge() -> None:
    rows = ({**NO_ID, "productId": "p", "productName": name} for name in ("Suite", "Suite 2"))
    assert len({read_source(INVOICE, [row]).charges[0].id for row in rows}) == 1


def test_S5_equal_items_have_ordinals_in_both_of_their_names() -> None:
    charges = read_source(INVOICE, [NO_ID, {**NO_ID, "note": "x"}, NO_ID, {**NO_ID, "id": "7"}]).charges
    assert [charge.id.rpartition(":")[2] for charge in charges] == ["1", "2", "3", "7"]
    assert [charge.former_id.rpartition(":")[2] for charge in charges] == ["1", "1", "2", ""]
