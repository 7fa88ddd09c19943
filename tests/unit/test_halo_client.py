"""HaloPSA's lists are read whole or not believed; one invoice is there, is gone, or cannot be told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any, cast

import pytest

from billingsync.errors import LoginFailed, UpstreamError
from billingsync.http import Answer, Service, read_json
from billingsync.psa.halo.client import Halo, discover, one_object


def invoice(number: int, client: int = 1, day: str = "2026-11-05", **more: object) -> dict[str, Any]:
    return {"id": number, "client_id": client, "invoice_date": f"{day}T12:00:00", "lines": []} | more


class Upstream:
    """Stands in for a Service in front of a HaloPSA whose lists may disappoint."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.lists: dict[str, Any] = {f"/{name}": rows for name, rows in lists.items()}
        self.keys = {"/Invoice": "invoices", "/RecurringInvoice": "invoices", "/Client": "clients", "/Item": "items"}
        self.largest_page, self.list_cap = 100, 50
        self.paging = "works"  # | ignored | repeats
        self.spoil: Callable[[str, dict[str, Any], Any], Any] = lambda path, params, envelope: envelope
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def get_json(self, path: str, params: dict[str, Any] | None = None, *, anonymous: bool = False) -> Answer:
        params = dict(params or {})
        self.asked.append((path, params))
        held = self.lists.get(path)
        if held is None:
            raise UpstreamError("HaloPSA", f"GET {path}", 404, "empty")
        if isinstance(held, Exception):
            raise held
        answer = self._envelope(path, held, params) if path in self.keys else held
        answer = self.spoil(path, params, answer)
        body = json.dumps(answer).encode()
        return Answer(json=read_json(body), status=200, headers={}, body=body)

    def _envelope(self, path: str, rows: list[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
        if wanted := params.get("client_ids"):
            rows = [row for row in rows if str(row["client_id"]) in wanted.split(",")]
        if params.get("order") == "id":
            rows = sorted(rows, key=lambda row: row["id"], reverse=params.get("orderdesc") == "true")
        if "pageinate" in params and self.paging != "ignored":
            size = min(params["page_size"], self.largest_page)
            first = 0 if self.paging == "repeats" else size * (params["page_no"] - 1)
            return {"record_count": len(rows), "page_size": size, self.keys[path]: rows[first : first + size]}
        return {"record_count": len(rows), self.keys[path]: rows[: params.get("count", self.list_cap)]}


def halo(upstream: Upstream) -> Halo:
    return Halo(cast(Service, upstream))


def of_one_client(count: int, client: int = 1) -> list[dict[str, Any]]:
    return [invoice(number, client) for number in range(1, count + 1)]


# Lists


@pytest.mark.parametrize("count", [0, 1, 50, 99, 100, 101, 250])
@pytest.mark.parametrize("paging", ["works", "ignored", "repeats"])
def test_lists_come_whole_however_paging_behaves(count: int, paging: str) -> None:
    upstream = Upstream(Client=[{"id": number, "name": f"C{number}"} for number in range(1, count + 1)])
    upstream.paging = paging
    assert [client.id for client in halo(upstream).clients().rows] == list(range(1, count + 1))


def test_a_smaller_page_than_asked_for_is_followed() -> None:
    upstream = Upstream(Item=[{"id": number, "name": "x", "externalreference": ""} for number in range(1, 120)])
    upstream.largest_page = 25
    assert len(halo(upstream).items()) == 119


def test_inactive_clients_are_asked_for_and_retired_items_are_not() -> None:
    upstream = Upstream(Client=[{"id": 1, "name": "gone", "inactive": True}], Item=[])
    assert halo(upstream).clients().rows[0].inactive
    halo(upstream).items()
    first = {"pageinate": "true", "page_size": 100, "page_no": 1, "order": "id", "includeinactive": "true"}
    without = {name: value for name, value in first.items() if name != "includeinactive"}
    assert upstream.asked == [("/Client", first), ("/Item", without)]


def test_a_list_that_cannot_be_read_whole_is_an_error() -> None:
    upstream = Upstream(Client=[{"id": number, "name": "x"} for number in range(1, 60)])
    upstream.spoil = lambda path, params, envelope: envelope | {"clients": envelope["clients"][:50]}
    with pytest.raises(UpstreamError, match="cannot be read whole: 50 rows came of 59"):
        halo(upstream).clients()


def test_a_list_that_changes_while_it_is_read_is_read_again() -> None:
    rows = [{"id": number, "name": "x"} for number in range(1, 151)]
    upstream = Upstream(Client=rows)

    def one_vanishes(path: str, params: dict[str, Any], envelope: Any) -> Any:
        if len(upstream.asked) == 1:
            del rows[4]  # after page 1 was made: the row at the edge moves to a page that was read already
        return envelope

    upstream.spoil = one_vanishes
    found = {client.id for client in halo(upstream).clients().rows}
    assert found == set(range(1, 151)) - {5}


def test_a_bare_array_is_a_list_too() -> None:
    upstream = Upstream(AssetGroup=[{"id": 3, "name": "Licences"}, {"id": 4}, {"name": "no id"}])
    assert halo(upstream).item_groups() == ((3, "Licences"), (4, ""))
    upstream.lists["/AssetGroup"] = {"error": "inside a 200"}
    with pytest.raises(UpstreamError, match="not a list"):
        halo(upstream).item_groups()


def test_short_rows_are_told_and_completed_by_details() -> None:
    upstream = Upstream(Client=[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], Item=[{"id": 7, "name": "i"}])
    upstream.lists["/Client/1"] = {"id": 1, "name": "a", "client_to_invoice": 2}
    upstream.lists["/Item/7"] = {"id": 7, "name": "i", "externalreference": "SKU"}
    assert halo(upstream).clients().short
    one = halo(upstream).client(1)
    assert one is not None and one.pays_through == 2
    assert halo(upstream).client(3) is None
    assert [item.external_reference for item in halo(upstream).items()] == ["SKU"]
    upstream.lists["/Client"] = [{"id": 1, "name": "a"}, {"id": 2, "name": "b", "dontinvoice": None}]
    assert not halo(upstream).clients().short


# Looking


def test_a_complete_look() -> None:
    upstream = Upstream(Invoice=[*of_one_client(230, client=7), invoice(900, client=8), invoice(901, client=9)])
    look = halo(upstream).search_rows([7], (900, 8))
    assert (look.complete, look.why, len(look.rows)) == (True, "", 230)
    path, params = upstream.asked[0]
    assert path == "/Invoice"
    assert params == {
        "client_ids": "7,8",
        "includelines": "true",
        "includecredits": "true",
        "order": "id",
        "pageinate": "true",
        "page_size": 100,
        "page_no": 1,
    }


def test_a_filter_that_is_ignored_still_gives_our_clients_only() -> None:
    upstream = Upstream(Invoice=[invoice(1, 7), invoice(2, 8), invoice(3, 9)])
    upstream.keys["/Invoice"] = "invoices"
    for row in upstream.lists["/Invoice"]:
        row["client_id"] = float(row["client_id"])  # 7.0, as live tenants were seen to answer
    upstream._envelope = lambda path, rows, params: {"record_count": 3, "invoices": rows}  # type: ignore[method-assign]
    look = halo(upstream).search_rows([7], (2, 8))
    assert look.complete and [row["id"] for row in look.rows] == [1]


@pytest.mark.parametrize("paging", ["ignored", "repeats"])
def test_a_look_where_paging_is_ignored_is_complete_once_read_in_one_piece(paging: str) -> None:
    upstream = Upstream(Invoice=of_one_client(180))
    upstream.paging = paging
    look = halo(upstream).search_rows([1], (180, 1))
    assert look.complete and len(look.rows) == 180


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda envelope: envelope | {"invoices": envelope["invoices"][:50]}, "50 rows came of 60"),
        (lambda envelope: {"invoices": envelope["invoices"]}, "does not say how many"),
        (lambda envelope: envelope["invoices"], "does not say how many"),
        (lambda envelope: envelope | {"invoices": [*envelope["invoices"][:59], {"client_id": 1}]}, "a row has no id"),
        (
            lambda envelope: envelope | {"record_count": 50, "invoices": envelope["invoices"][:50]},
            "does not find invoice 60",
        ),
        (lambda envelope: {"record_count": 0, "invoices": []}, "does not find invoice 60"),
        (
            lambda envelope: envelope | {"invoices": [*envelope["invoices"], envelope["invoices"][0]]},
            "a row came twice",
        ),
    ],
)
def test_a_look_that_proves_nothing_says_why(change: Callable[[Any], Any], why: str) -> None:
    upstream = Upstream(Invoice=of_one_client(60))
    upstream.spoil = lambda path, params, envelope: change(envelope)
    look = halo(upstream).search_rows([1], (60, 1))
    assert not look.complete
    assert why in look.why


def test_a_list_without_lines_is_completed_by_reading_the_invoices() -> None:
    upstream = Upstream(Invoice=[{"id": 1, "client_id": 1, "invoice_date": "2026-09-01"}, {"id": 2, "client_id": 1}])
    upstream.lists["/Invoice/1"] = invoice(1, lines=[{"id": 10}])
    upstream.lists["/Invoice/2"] = invoice(2, lines=[{"id": 20}])
    assert [len(row.get("lines", [])) for row in halo(upstream).search_rows([1], None).rows] == [1, 1]
    recent = halo(upstream).search_rows([1], None, since=date(2026, 11, 1)).rows
    assert [len(row.get("lines", [])) for row in recent] == [0, 1]


def test_a_look_during_which_the_count_changes_is_not_complete() -> None:
    rows = of_one_client(150)
    upstream = Upstream(Invoice=rows)
    upstream.spoil = lambda path, params, envelope: (rows.pop(4), envelope)[1] if len(upstream.asked) == 1 else envelope
    look = halo(upstream).search_rows([1], (150, 1))
    assert not look.complete
    assert "counted 150 rows and then 149" in look.why


def test_a_control_invoice_is_one_that_exists() -> None:
    upstream = Upstream(Invoice=[invoice(5, 3)])
    upstream.lists["/Invoice/8"] = invoice(8, 4)
    assert halo(upstream).control([(7, 4), (8, 4)]) == (8, 4)
    assert halo(upstream).control([]) == (5, 3)
    upstream.lists["/Invoice"] = []
    assert halo(upstream).control([]) is None


# Looking back


def test_since_stops_when_invoices_are_older() -> None:
    rows = [invoice(number, day="2026-11-05" if number > 300 else "2026-09-05") for number in range(1, 401)]
    upstream = Upstream(Invoice=rows)
    found = list(halo(upstream).since([1], date(2026, 11, 1), dict))
    assert [row["id"] for row in found][:100] == list(range(400, 300, -1))
    assert len(upstream.asked) == 2


@pytest.mark.parametrize("paging", ["ignored", "repeats"])
def test_since_reads_everything_where_paging_is_ignored(paging: str) -> None:
    upstream = Upstream(Invoice=of_one_client(130))
    upstream.paging = paging
    assert {row["id"] for row in halo(upstream).since([1], date(2026, 11, 1), dict)} == set(range(1, 131))


def test_since_does_not_trust_an_order_that_is_ignored() -> None:
    rows = [invoice(number, day="2026-09-05" if number < 100 else "2026-11-05") for number in range(1, 200)]
    upstream = Upstream(Invoice=rows)
    plain = upstream._envelope
    upstream._envelope = lambda path, rows, params: plain(path, rows, {**params, "order": ""})  # type: ignore[method-assign]
    assert {row["id"] for row in halo(upstream).since([1], date(2026, 11, 1), dict)} >= set(range(100, 200))


@pytest.mark.parametrize(
    "change",
    [
        lambda envelope: envelope | {"invoices": envelope["invoices"][:50]},
        lambda envelope: {"invoices": envelope["invoices"]},
    ],
)
def test_since_stops_the_run_where_it_cannot_be_certain(change: Callable[[Any], Any]) -> None:
    upstream = Upstream(Invoice=of_one_client(60))
    upstream.spoil = lambda path, params, envelope: change(envelope)
    with pytest.raises(UpstreamError, match="cannot be read whole"):
        list(halo(upstream).since([1], date(2026, 11, 1), dict))


# One invoice


def test_an_invoice_is_there_or_gone() -> None:
    upstream = Upstream()
    upstream.lists["/Invoice/5"] = [invoice(5)]
    upstream.lists["/RecurringInvoice/-237"] = invoice(237)
    found = halo(upstream).invoice(5, recurring=False)
    assert found is not None and found["id"] == 5
    assert halo(upstream).invoice(-237, recurring=True) is not None
    assert halo(upstream).invoice(6, recurring=False) is None
    assert upstream.asked[0] == ("/Invoice/5", {"includedetails": "true", "includelines": "true"})


@pytest.mark.parametrize("answer", [{}, [], "text", [invoice(5), invoice(6)], invoice(6), {"error": "inside a 200"}])
def test_anything_else_is_not_gone_but_cannot_be_told(answer: Any) -> None:
    upstream = Upstream()
    upstream.lists["/Invoice/5"] = answer
    with pytest.raises(UpstreamError, match="HaloPSA answered something"):
        halo(upstream).invoice(5, recurring=False)


def test_a_login_that_fails_with_404_is_not_a_missing_invoice() -> None:
    upstream = Upstream()
    upstream.lists["/Invoice/5"] = LoginFailed("HaloPSA", "POST /auth/token", 404, "Login failed")
    with pytest.raises(LoginFailed):
        halo(upstream).invoice(5, recurring=False)


def test_one_object() -> None:
    assert one_object({"id": 1}) == one_object([{"id": 1}]) == {"id": 1}
    assert [one_object(value) for value in (None, [], [1], [{}, {}], "x", 5)] == [None] * 6


# The tenant


@pytest.mark.parametrize(
    ("info", "tenant", "url", "name"),
    [
        ({"auth_url": "https://acme.halopsa.com/auth", "tenant_id": "acme"}, "", "/auth/token?tenant=acme", "acme"),
        ({"auth_url": "https://acme.halopsa.com/auth/", "tenant_id": None}, "", "/auth/token", None),
        ({"auth_url": "https://acme.halopsa.com/auth", "tenant_id": "x"}, "a&b", "/auth/token?tenant=a%26b", "x"),
        ({"tenant_id": 7}, "", "/auth/token?tenant=7", "7"),
        (["odd"], "", "/auth/token", None),
        (None, "", "/auth/token", None),
    ],
)
def test_discovery(info: Any, tenant: str, url: str, name: str | None) -> None:
    upstream = Upstream()
    if info is not None:
        upstream.lists["/authinfo"] = info
    found = discover(cast(Service, upstream), "https://acme.halopsa.com", tenant)
    assert (found.token_url, found.id) == (f"https://acme.halopsa.com{url}", name)


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/auth", "http://acme.halopsa.com/auth", "ftp://acme.halopsa.com"]
)
def test_the_secret_goes_to_no_other_host_unless_a_person_says_so(elsewhere: str) -> None:
    upstream = Upstream()
    upstream.lists["/authinfo"] = {"auth_url": elsewhere, "tenant_id": "acme"}
    found = discover(cast(Service, upstream), "https://acme.halopsa.com", "")
    assert found.id == "acme"
    with pytest.raises(UpstreamError, match="HALO__TOKEN_URL"):
        _ = found.token_url


def test_discovery_that_fails_is_no_answer() -> None:
    upstream = Upstream()
    upstream.lists["/authinfo"] = UpstreamError("HaloPSA", "GET /authinfo", 500, "down")
    with pytest.raises(UpstreamError, match="down"):
        discover(cast(Service, upstream), "https://acme.halopsa.com", "")
