"""What we rely on at Pax8 (reference/pax8). Each scene is played on the sandbox and on every cassette of its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billingsync.core.period import Period
from billingsync.errors import LoginFailed, NotReady, NotReleased, Retryable
from billingsync.http import read_json

from .stage import Scene, Stage

SMALL = {"clients": 3, "charges": 12, "trouble": False, "history": 1}
TYPES = {
    "subscription", "prorate", "one-time", "rebate", "payment-credit", "service-charge", "service-credit",
    "invoice-credit",
}  # fmt: skip
STATUSES = {"Unpaid", "Paid", "Void", "Carried", "Nothing Due", "Credited"}
WRONG_SECRET = "not-the-secret"
NOBODY = "ffffffff-ffff-4fff-8fff-ffffffffffff"

SCENES: list[Scene] = []


def scene(**more: Any) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    def note(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        more.setdefault("sandbox", SMALL)
        more.setdefault("needs", ("period",))
        SCENES.append(Scene(name=play.__name__, service="pax8", play=play, **more))
        return play

    return note


def period(stage: Stage) -> Period:
    return Period.parse(stage.facts["period"])


# Login


@scene(reach="any", needs=())
def login(stage: Stage) -> None:
    """The credentials go as a JSON body, with the audience; the token comes back as a bearer."""
    stage.pax8.released()
    [asked] = stage.logins()
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body).keys() == {"client_id", "client_secret", "audience", "grant_type"}
    assert "authorization" not in asked.headers
    answer = json.loads(asked.answer)
    assert answer["token_type"].lower() == "bearer"
    assert stage.calls()[0].headers["authorization"] == f"Bearer {answer['access_token']}"


@scene(reach="any", needs=(), settings={"BILLINGSYNC_PAX8__CLIENT_SECRET": WRONG_SECRET})
def wrong_login(stage: Stage) -> None:
    """A wrong secret is a 401 of the token endpoint, in OAuth's words, and is not tried again."""
    with pytest.raises(LoginFailed, match=r"Pax8 did not accept the client id and secret \(401\)") as failed:
        stage.pax8.released()
    assert failed.value.status == 401
    assert WRONG_SECRET not in failed.value.message
    assert json.loads(stage.logins()[0].answer).keys() >= {"error"}
    assert len(stage.logins()) == 1
    assert not stage.calls()


@scene(sandbox=SMALL | {"pax8_tokens_void_at_call": 2}, needs=())
def renewal(stage: Stage) -> None:
    """A token may end before its time: one 401, one new token, the same call again."""
    first = stage.pax8.released()
    assert stage.pax8.released() == first
    assert [one.status for one in stage.calls()] == [200, 401, 200]
    bearers = [one.headers["authorization"] for one in stage.calls()]
    assert bearers[0] == bearers[1] != bearers[2]
    assert len(stage.logins()) == 2


# A month


@scene(reach="any")
def month(stage: Stage) -> None:
    """All invoices of one month, with all of their items; each amount exact."""
    fetched = stage.pax8.fetch(period(stage))
    assert fetched.sources
    assert all(period(stage).first_day <= one.invoice_date <= period(stage).last_day for one in fetched.sources)
    assert {one.status for one in fetched.sources} <= STATUSES - {"Void", "Credited"}
    assert all(isinstance(one.total, Decimal) for one in fetched.sources)
    charges = [charge for source in fetched.sources for charge in source.charges]
    assert len({charge.id for charge in charges}) == len(charges) > 0
    assert [charge.problem for charge in charges if charge.problem] == []
    assert {charge.type for charge in charges} <= TYPES
    assert all(len(charge.currency) == 3 and charge.currency.isupper() for charge in charges)
    assert all(charge.company_id or charge.type.endswith("credit") for charge in charges)
    assert all(date.fromisoformat(charge.start) <= date.fromisoformat(charge.end) for charge in charges)
    counted = sum(
        read_json(page.body, odd_numbers=True)["page"]["totalElements"]
        for page in fetched.documents
        if page.kind == "items" and page.page == 0
    )
    assert counted == len(charges)
    bounds = stage.calls("GET", "/invoices")[0].url.params
    first, last = bounds["invoiceDateRangeStart"], bounds["invoiceDateRangeEnd"]
    assert (first, last) == (period(stage).first_day.isoformat(), period(stage).last_day.isoformat())


@scene(sandbox=SMALL | {"charges": 450, "history": 0}, needs=("distributor_invoice_id",), bulk=True)
def item_pages(stage: Stage) -> None:
    """An invoice with more items than a page holds: pages count from 0, the totals stand in `page`."""
    rows, pages = stage.pax8.items(stage.facts["distributor_invoice_id"])
    assert len(pages) > 1
    assert [page.page for page in pages] == list(range(len(pages)))
    assert len(rows) == read_json(pages[0].body)["page"]["totalElements"]
    asked = [one.url.params["page"] for one in stage.calls("GET", "/items")]
    assert asked == [str(number) for number in range(len(pages))]
    assert {one.url.params["size"] for one in stage.calls("GET", "/items")} == {"200"}


@scene()
def credited(stage: Stage) -> None:
    """What was credited or voided stays listed and readable, is not taken, and its items are not even read."""
    fetched = stage.pax8.fetch(period(stage))
    assert {one.status for one in fetched.skipped} == {"Credited", "Void"}
    read = " ".join(one.url.path for one in stage.calls("GET", "/items"))
    assert not any(one.invoice_id in read for one in fetched.skipped)
    assert all(one.invoice_id in read for one in fetched.sources)


@scene(reach="any")
def months(stage: Stage) -> None:
    """The months that there are, newest first, whatever became of their invoices."""
    released = stage.pax8.released()
    assert period(stage) in [one.period for one in released]
    assert [one.period for one in released] == sorted({one.period for one in released}, reverse=True)
    assert all(one.invoices + one.skipped for one in released)


@scene(sandbox=SMALL | {"released": False})
def not_released(stage: Stage) -> None:
    """Before the release the list is empty, which is no error and nothing to bill yet."""
    with pytest.raises(NotReleased):
        stage.pax8.fetch(period(stage))
    [asked] = stage.calls()
    assert json.loads(asked.answer)["content"] == []


@scene(faults=("pax8:GET:/invoices/*/items:*:404",))
def no_items_yet(stage: Stage) -> None:
    """Right after the release an invoice is listed but its items are a 404: not ready, never "nothing to bill"."""
    with pytest.raises(NotReady, match="not its items yet"):
        stage.pax8.fetch(period(stage))
    assert json.loads(stage.calls("GET", "/items")[0].answer).keys() >= {"type", "message", "status"}


@scene(faults=("pax8:GET:/invoices/*/items:*:no_rows",))
def empty_items(stage: Stage) -> None:
    """No items on an invoice with a total: not ready either."""
    with pytest.raises(NotReady, match="no items yet"):
        stage.pax8.fetch(period(stage))


@scene(sandbox=SMALL | {"item_pages": "missing"}, needs=("distributor_invoice_id",))
def item_missing(stage: Stage) -> None:
    """Fewer items than counted are read again, and then believed not ready."""
    with pytest.raises(NotReady, match=r"cannot be read completely yet: \d+ of \d+ came"):
        stage.pax8.items(stage.facts["distributor_invoice_id"])
    assert len(stage.calls("GET", "/items")) == 3


@scene(sandbox=SMALL | {"item_pages": "repeating"}, needs=("distributor_invoice_id",))
def item_twice(stage: Stage) -> None:
    """As many as counted, one of them twice: another one is missing."""
    with pytest.raises(NotReady, match="came twice"):
        stage.pax8.items(stage.facts["distributor_invoice_id"])


# Companies


@scene(reach="any", sandbox=SMALL | {"trouble": True}, needs=())
def companies(stage: Stage) -> None:
    """All of them, also those that are no longer active: invoices still name them."""
    found = stage.pax8.companies()
    assert len({one.id for one in found}) == len(found) > 0
    assert all(one.name for one in found)
    assert {one.status for one in found} <= {"Active", "Inactive", "Deleted"}
    assert "status" not in stage.calls("GET", "/companies")[0].url.params


# Trouble


@scene(faults=("pax8:GET:/invoices:1:429:retry_after=7",))
def busy(stage: Stage) -> None:
    """429 with `Retry-After`: no call before that, then the same again."""
    assert stage.pax8.invoices(period(stage))
    assert [one.status for one in stage.calls()] == [429, 200]
    assert 7 <= sum(stage.clock.waits) < 8


@scene(faults=("pax8:GET:/invoices:1:503",))
def away(stage: Stage) -> None:
    """A gateway's 503 with a page of its own is passing: read again."""
    assert stage.pax8.invoices(period(stage))
    assert [one.status for one in stage.calls()] == [503, 200]
    assert stage.clock.waits


@scene(faults=("pax8:GET:/invoices:*:not_json",))
def login_page(stage: Stage) -> None:
    """A proxy's login page with status 200 is not a list of invoices, empty or not."""
    with pytest.raises(Retryable, match="an HTML page"):
        stage.pax8.fetch(period(stage))


@scene(reach="any", needs=())
def unknown_invoice(stage: Stage) -> None:
    """An invoice that does not exist has no items: 404 with Pax8's error object."""
    with pytest.raises(NotReady):
        stage.pax8.items(NOBODY)
    [asked] = stage.calls()
    assert asked.status == 404
    assert json.loads(asked.answer)["status"] == 404


# What is sold


@scene(reach="any", needs=())
def sold(stage: Stage) -> None:
    """Companies, subscriptions and products: whole lists, each row with its id; each subscription has its company."""
    lists = stage.pax8.lists()
    assert lists.keys() == {"companies", "subscriptions", "products"}
    assert {name: one.why for name, one in lists.items() if one.why} == {}
    ids = {name: [row["id"] for row in one.rows] for name, one in lists.items()}
    assert all(len(set(found)) == len(found) > 0 for found in ids.values())
    assert {row["companyId"] for row in lists["subscriptions"].rows} <= set(ids["companies"])


@scene(reach="any", needs=())
def past_and_commitments(stage: Stage) -> None:
    """What a subscription was before, and what Pax8 documents of the commitments of a product; both read one by one."""
    subscriptions = stage.pax8.lists()["subscriptions"].rows
    some = [row["id"] for row in subscriptions[:2]]
    assert [one.invoice_id for one in stage.pax8.history(some)] == some
    assert stage.pax8.history([NOBODY]) == []
    found = stage.pax8.commitments(sorted({row["productId"] for row in subscriptions}))
    assert all(commitment for commitment in found)


@scene(reach="any")
def counting(stage: Stage) -> None:
    """Which invoices count: of one month, and of all months at once."""
    taken, listed = stage.pax8.taken_invoices(period(stage)), stage.pax8.listed()
    assert taken and all(listed[one] for one in taken)
    assert set(listed.values()) <= {True, False}
