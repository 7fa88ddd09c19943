"""Fetching a month: completely or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from billingsync.core.period import Period
from billingsync.errors import LoginFailed, NotReachable, NotReady, NotReleased, Retryable, UpstreamError
from billingsync.http import Answer, Service, read_json
from billingsync.sources.pax8.client import Pax8, Released, service_config

NOVEMBER = Period(2026, 11)


def invoice(name: str, day: str = "2026-11-01", status: str = "Unpaid", total: object = 10) -> dict[str, Any]:
    return {"id": name, "invoiceDate": day, "status": status, "total": total, "currencyCode": "USD"}


def item(name: str, **more: object) -> dict[str, Any]:
    return {"id": name, "total": 2.5, "costTotal": 2, "companyId": "c"} | more


class Upstream:
    """Stands in for a Service: pages like Pax8, with one hook to misbehave (`spoil(path, page, envelope)`)."""

    def __init__(self, **lists: list[Any]) -> None:
        self.lists = {"/invoices": lists.pop("invoices", []), "/companies": lists.pop("companies", [])}
        self.lists |= {f"/invoices/{name}/items": rows for name, rows in lists.items()}
        self.spoil: Callable[[str, int, Any], Any] = lambda path, page, envelope: envelope
        self.cap = 200
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.threads: set[str] = set()

    def get_json(self, path: str, params: dict[str, Any], *, odd_numbers: bool = False) -> Answer:
        self.asked.append((path, dict(params)))
        self.threads.add(threading.current_thread().name)
        if path not in self.lists:
            raise UpstreamError("Pax8", f"GET {path}", 404, "not found")
        rows, page, size = self.lists[path], params["page"], min(params["size"], self.cap)
        held = rows[page * size : (page + 1) * size]
        pages = -(-len(rows) // size)
        info = {"size": size, "totalElements": len(rows), "totalPages": pages, "number": page}
        envelope = self.spoil(path, page, {"content": held, "page": info})
        body = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
        return Answer(json=read_json(body, odd_numbers=odd_numbers), status=200, headers={}, body=body)


def pax8(upstream: Upstream) -> Pax8:
    return Pax8(cast(Service, upstream), parallel=4)


def test_a_month_with_several_invoices_and_pages() -> None:
    items = [item(f"i{number}") for number in range(1001)]
    upstream = Upstream(
        invoices=[invoice("b"), invoice("a"), invoice("v", status="Void"), invoice("c", status="Credited", total=7)],
        a=items,
        b=[item("x")],
    )
    fetched = pax8(upstream).fetch(NOVEMBER)
    assert [(source.invoice_id, len(source.charges)) for source in fetched.sources] == [("b", 1), ("a", 1001)]
    assert [charge.id for charge in fetched.sources[1].charges] == [f"a:i{number}" for number in range(1001)]
    assert [(one.invoice_id, one.status, one.total) for one in fetched.skipped] == [
        ("v", "Void", 10),
        ("c", "Credited", 7),
    ]
    assert [(one.kind, one.invoice_id, one.page) for one in fetched.documents] == [
        ("invoice", "b", 0),
        ("items", "b", 0),
        ("invoice", "a", 0),
        *[("items", "a", number) for number in range(6)],
    ]
    assert all(hashlib.sha256(one.body).hexdigest() == one.sha256 for one in fetched.documents)
    assert json.loads(fetched.documents[-1].body)["content"][0]["id"] == "i1000"
    assert len(upstream.threads) > 1


def test_what_pax8_is_asked() -> None:
    upstream = Upstream(invoices=[invoice("a")], a=[item("x")])
    pax8(upstream).fetch(NOVEMBER)
    assert upstream.asked[0] == (
        "/invoices",
        {
            "invoiceDateRangeStart": "2026-11-01",
            "invoiceDateRangeEnd": "2026-11-30",
            "sort": "invoiceDate,desc",
            "page": 0,
            "size": 200,
        },
    )
    assert upstream.asked[1] == ("/invoices/a/items", {"page": 0, "size": 200})


def test_bounds_that_are_ignored_bill_no_other_month() -> None:
    upstream = Upstream(
        invoices=[invoice("d", "2026-12-01"), invoice("n"), invoice("o", "2026-10-31T23:59:59Z")], n=[item("x")]
    )
    assert [one["id"] for one in pax8(upstream).invoices(NOVEMBER)] == ["n"]
    assert [source.invoice_id for source in pax8(upstream).fetch(NOVEMBER).sources] == ["n"]


def test_no_invoice_is_not_released_and_only_void_ones_are_told() -> None:
    with pytest.raises(NotReleased, match="2026-11"):
        pax8(Upstream(invoices=[invoice("o", "2026-10-01")])).fetch(NOVEMBER)
    fetched = pax8(Upstream(invoices=[invoice("v", status="Void")])).fetch(NOVEMBER)
    assert fetched.sources == () and [one.invoice_id for one in fetched.skipped] == ["v"]


def test_released_periods() -> None:
    upstream = Upstream(
        invoices=[
            invoice("v", "2026-12-01", "Void"),
            invoice("a"),
            invoice("b"),
            invoice("c", "2026-10-01", "Credited"),
            invoice("d", "2026-10-01"),
            invoice("old", "0001-01-01"),
        ]
    )
    assert pax8(upstream).released() == (
        Released(period=Period(2026, 12), invoices=0, skipped=1),
        Released(period=Period(2026, 11), invoices=2, skipped=0),
        Released(period=Period(2026, 10), invoices=1, skipped=1),
    )
    assert pax8(Upstream()).released() == ()


def spoil_items(change: Callable[[int, dict[str, Any]], Any]) -> Callable[[str, int, Any], Any]:
    return lambda path, page, envelope: change(page, envelope) if path.endswith("/items") else envelope


def without(page: int, envelope: dict[str, Any]) -> dict[str, Any]:
    return envelope | {"content": envelope["content"][:-1]} if page == 1 else envelope


def other_total(page: int, envelope: dict[str, Any]) -> dict[str, Any]:
    return envelope | {"page": envelope["page"] | {"totalElements": 499}} if page == 2 else envelope


def repeated(page: int, envelope: dict[str, Any]) -> dict[str, Any]:
    return envelope | {"page": envelope["page"] | {"number": 0}} if page == 1 else envelope


def twice(page: int, envelope: dict[str, Any]) -> dict[str, Any]:
    return envelope | {"content": [item("i0"), *envelope["content"][1:]]} if page == 1 else envelope


def no_page(page: int, envelope: dict[str, Any]) -> Any:
    return {"error": "inside a 200"} if page == 1 else envelope


def no_totals(page: int, envelope: dict[str, Any]) -> Any:
    return {"content": envelope["content"]}


def endless(page: int, envelope: dict[str, Any]) -> Any:
    return envelope | {"page": {"totalElements": 10**12, "totalPages": 10**10, "number": page}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without, "499 of 500 came"),
        (other_total, "page 3 counts 499"),
        (repeated, "page 2 was asked for, page 1 came"),
        (twice, "i0 came twice"),
        (no_page, "unexpected response for page"),
        (no_totals, "unexpected response for page"),
        (endless, "fill 10000000000 pages"),
    ],
)
def test_pages_that_do_not_fit_together_are_not_ready(change: Callable[[int, Any], Any], says: str) -> None:
    upstream = Upstream(invoices=[invoice("a")], a=[item(f"i{number}") for number in range(500)])
    upstream.spoil = spoil_items(change)
    with pytest.raises(NotReady, match=says):
        pax8(upstream).fetch(NOVEMBER)
    assert len([path for path, _ in upstream.asked if path.endswith("/items")]) <= 9


def test_a_page_that_repeats_is_seen_even_without_ids() -> None:
    rows = [{"sku": f"S{number}", "total": 1, "costTotal": 1} for number in range(400)]
    upstream = Upstream(invoices=[invoice("a")], a=rows)
    upstream.spoil = spoil_items(lambda page, envelope: envelope | {"content": rows[:200]})
    with pytest.raises(NotReady, match="a page came twice"):
        pax8(upstream).fetch(NOVEMBER)
    upstream.spoil = lambda path, page, envelope: envelope
    assert len(pax8(upstream).fetch(NOVEMBER).sources[0].charges) == 400


def test_a_list_that_settles_is_read_again() -> None:
    upstream = Upstream(invoices=[invoice("a")], a=[item(f"i{number}") for number in range(300)])
    readings: list[int] = []

    def settle(page: int, envelope: dict[str, Any]) -> Any:
        readings.append(page)
        return without(page, envelope) if len(readings) <= 4 else envelope

    upstream.spoil = spoil_items(settle)
    assert len(pax8(upstream).fetch(NOVEMBER).sources[0].charges) == 300
    assert len(readings) == 6


def test_a_smaller_page_size_than_asked_for_is_followed() -> None:
    upstream = Upstream(invoices=[invoice("a")], a=[item(f"i{number}") for number in range(35)])
    upstream.cap = 10
    assert len(pax8(upstream).fetch(NOVEMBER).sources[0].charges) == 35


@pytest.mark.parametrize("total", [10, None, "much", -3])
def test_no_items_on_an_invoice_with_a_total_is_not_ready(total: object) -> None:
    with pytest.raises(NotReady, match="has no items yet"):
        pax8(Upstream(invoices=[invoice("a", total=total)], a=[])).fetch(NOVEMBER)


def test_no_items_on_an_invoice_of_nothing_is_an_empty_source() -> None:
    (source,) = pax8(Upstream(invoices=[invoice("a", total=0.0)], a=[])).fetch(NOVEMBER).sources
    assert source.charges == ()


@pytest.mark.parametrize(
    ("total", "carried", "taken"),
    [(37.5, 37.5, True), (37.5, None, False), (37.5, 37.4, False), (-12, -12, True), (0, 5, False), (None, 5, False)],
)
def test_S2_an_invoice_that_only_carries_a_balance_has_no_items(total: object, carried: object, taken: bool) -> None:
    upstream = Upstream(invoices=[invoice("a", total=total) | {"carriedBalance": carried, "status": "Carried"}], a=[])
    if not taken:
        with pytest.raises(NotReady, match="has no items yet"):
            pax8(upstream).fetch(NOVEMBER)
        return
    (source,) = pax8(upstream).fetch(NOVEMBER).sources
    assert source.charges == ()


def test_a_404_on_items_is_not_ready() -> None:
    with pytest.raises(NotReady, match="404"):
        pax8(Upstream(invoices=[invoice("a")])).fetch(NOVEMBER)


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (Retryable("Pax8", "GET x", 502, "bad gateway"), NotReady),
        (Retryable("Pax8", "GET x", None, "cut"), NotReady),
        (NotReachable("Pax8", "GET x", None, "refused"), NotReachable),
        (UpstreamError("Pax8", "GET x", 403, "rights"), UpstreamError),
        (LoginFailed("Pax8", "POST token", 404, "wrong address"), LoginFailed),
    ],
)
def test_one_unreadable_page_is_not_ready_and_other_trouble_stays_what_it_is(
    error: UpstreamError, becomes: type[Exception]
) -> None:
    upstream = Upstream(invoices=[invoice("a")], a=[item(f"i{number}") for number in range(500)])

    def fail(page: int, envelope: Any) -> Any:
        if page == 1:
            raise error
        return envelope

    upstream.spoil = spoil_items(fail)
    with pytest.raises(becomes) as caught:
        pax8(upstream).fetch(NOVEMBER)
    assert type(caught.value) is becomes


def test_a_nan_in_one_item_does_not_stop_the_month() -> None:
    upstream = Upstream(invoices=[invoice("a")], a=[item("x"), item("y")])
    upstream.spoil = spoil_items(lambda page, envelope: json.dumps(envelope).replace("2.5", "NaN", 1).encode())
    bad, good = pax8(upstream).fetch(NOVEMBER).sources[0].charges
    assert bad.problem and not good.problem


def test_a_hostile_id_stays_in_its_path() -> None:
    upstream = Upstream(invoices=[invoice("../x?y#z")])
    upstream.lists["/invoices/..%2Fx%3Fy%23z/items"] = [item("i")]
    assert pax8(upstream).fetch(NOVEMBER).sources[0].charges[0].id == "../x?y#z:i"


def test_companies_come_whole_whatever_their_status() -> None:
    rows = [{"id": f"c{number}", "name": f"Company {number}", "status": "Deleted"} for number in range(250)]
    upstream = Upstream(companies=[*rows, {"name": "without id"}])
    companies = pax8(upstream).companies()
    assert [company.id for company in companies] == [f"c{number}" for number in range(250)]
    upstream.spoil = lambda path, page, envelope: envelope | {"content": envelope["content"][:-1]}
    with pytest.raises(NotReady, match="companies cannot be read completely yet: 249 of 251 came"):
        pax8(upstream).companies()


def test_the_config_hides_the_secret() -> None:
    config = service_config(client_id="me", client_secret="s3cret")
    assert "s3cret" not in repr(config)
    assert (config.token_style, config.token_fields) == ("json", {"audience": "https://api.pax8.com"})
