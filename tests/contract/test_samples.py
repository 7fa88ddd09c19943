"""The vendors' own examples, and what others have recorded, go through our wire modules: their shapes, not their
arithmetic, which does not always add up."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from billingsync.core.charge import Source
from billingsync.errors import UpstreamError
from billingsync.http import read_json
from billingsync.http.values import Asked
from billingsync.http.verdict import Verdict
from billingsync.psa.halo.client import one_object
from billingsync.psa.halo.compare import foreign_changes
from billingsync.psa.halo.read import read_invoice
from billingsync.psa.halo.wire import header_marker, id_of, lines_of, markers, read_client, read_item
from billingsync.redaction import Redactor
from billingsync.sources.pax8.wire import read_company, read_page, read_source

from .openapi import MISSING, REFERENCE

if not (REFERENCE / "halopsa" / "samples").is_dir():
    pytest.skip(MISSING, allow_module_level=True)

ODD: list[Any] = [None, "", "text", 0, -1, Decimal("12.0"), True, [], {}, [None], "1899-12-30T00:00:00"]


def pax8(name: str) -> Any:
    return read_json((REFERENCE / "pax8" / "samples" / f"official-{name}.json").read_bytes(), odd_numbers=True)


def halo(name: str) -> Any:
    return read_json((REFERENCE / "halopsa" / "samples" / name).read_bytes())


def source(items: str) -> Source:
    page = read_page(pax8(items))
    return read_source(pax8("invoice"), page.content)


@pytest.mark.parametrize("name", ["invoices-page", "invoice-items-page", "draft-items-page", "companies-page"])
def test_pages(name: str) -> None:
    page = read_page(pax8(name))
    assert page.content
    assert page.page.totalElements >= len(page.content)
    assert page.page.number == 0


def test_invoices() -> None:
    sources = [read_source(row, []) for row in read_page(pax8("invoices-page")).content]
    assert len({one.invoice_id for one in sources}) == len(sources)
    assert all(one.total is not None and one.status and one.currency == "USD" for one in sources)
    assert {type(one.total) for one in sources} == {Decimal}


@pytest.mark.parametrize("name", ["invoice-items-page", "draft-items-page"])
def test_items_without_ids(name: str) -> None:
    charges = source(name).charges
    assert charges
    assert len({charge.id for charge in charges}) == len(charges)
    for charge, row in zip(charges, pax8(name)["content"], strict=True):
        assert charge.problem is None
        assert (charge.price, charge.cost) == (Decimal(row["total"]), Decimal(row["costTotal"]))
        assert (charge.quantity, charge.unit_price) == (row["quantity"], row["price"])
        assert charge.subscription_id == row["subscriptionId"]
        assert not charge.billed_by_pax8


def test_companies() -> None:
    rows = [*read_page(pax8("companies-page")).content, pax8("company")]
    companies = [company for company in map(read_company, rows) if company is not None]
    assert len(companies) == len(rows)
    assert all(company.name and company.status for company in companies)
    assert companies[-1].external_id == "A123"


def test_every_sample_is_json_that_we_read() -> None:
    for path in (REFERENCE / "pax8" / "samples").glob("*.json"):
        assert read_json(path.read_bytes()) == read_json(path.read_bytes(), odd_numbers=True)


def test_pax8_says_no() -> None:
    response = httpx2.Response(404, json=pax8("error-404"))
    with pytest.raises(UpstreamError, match="Company Not Found") as failed:
        Verdict("Pax8", "https://pax8.example", Redactor()).check(response, Asked("GET", "/companies"))
    assert failed.value.status == 404


def refusals() -> list[Any]:
    path = REFERENCE / "halopsa" / "samples" / "error-bodies.json"
    if not path.is_file():
        return []
    held = json.loads(path.read_text(encoding="utf-8"))
    return [*held["observed"], *({**one, "status": 500} for one in held["shapes_handled_by_clients"])]


@pytest.mark.parametrize("refusal", refusals(), ids=lambda one: str(one.get("call", one.get("where", one["status"]))))
def test_halopsa_says_no(refusal: Any) -> None:
    body = refusal.get("body", refusal.get("body_text_as_quoted_by_a_user"))
    content = body.encode() if refusal["status"] == 429 else b"" if body == "" else json.dumps(body).encode()
    response = httpx2.Response(refusal["status"], content=content)
    with pytest.raises(UpstreamError) as failed:
        Verdict("HaloPSA", "https://halo.example", Redactor()).check(response, Asked("POST", "/Invoice"))
    assert failed.value.status == refusal["status"]
    said = (
        body
        if isinstance(body, str)
        else next(iter(body))
        if "id" in body or "[" in str(body)
        else list(body.values())[-1]
    )
    assert (said or "(no text)") in failed.value.message


def envelopes() -> dict[str, Any]:
    path = REFERENCE / "halopsa" / "samples" / "list-envelopes.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: shape for name, shape in held.items() if isinstance(shape, dict)}


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_rows_of_any_value(value: Any) -> None:
    """Every property that was seen in a list, with values that others have met or that nobody wants."""
    shapes = envelopes()
    assert len(shapes) > 10
    for call, shape in shapes.items():
        names = shape.get("row_keys") or shape.get("row_keys_first_30") or []
        _is_read(call, {**dict.fromkeys(names, value), "id": Decimal("12.0")})


def _is_read(call: str, row: dict[str, Any]) -> None:
    assert id_of(row) == 12
    if call == "GET /Item":
        assert read_item(row).id == 12
    if call in ("GET /Client", "GET /Site", "GET /Supplier"):
        assert read_client(row).id == 12
    if call in ("GET /Invoice", "GET /RecurringInvoice"):
        assert lines_of(row) == []
        assert header_marker(row) is None
        invoice = read_invoice(row)
        assert invoice is not None and not invoice.carries("0" * 20)
    assert one_object([row]) == row


@pytest.mark.parametrize(
    "name",
    ["constructed-recurringinvoice-add-line.request.json", "constructed-recurringinvoice-partial-header.request.json"],
)
def test_recurring_invoices(name: str) -> None:
    raw = one_object(halo(name))
    assert raw is not None
    assert (id_of(raw) or 0) < 0
    assert lines_of(raw)
    assert [markers(line) for line in lines_of(raw)] == [None] * len(lines_of(raw))
    assert foreign_changes(raw, raw, frozenset()) == []


def test_item_groups() -> None:
    [group] = halo("assetgroup-create.request.json")
    assert group["showasitem"] is True
    assert group["name"]
