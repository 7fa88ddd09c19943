"""What we rely on at HaloPSA (reference/halopsa). Each scene is played on the sandbox and on every cassette of its
name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest

from billingsync.core.invoice import Mark
from billingsync.core.rules import ProductRules
from billingsync.errors import LoginFailed, UpstreamError
from billingsync.http import Answered, NotDone, OutcomeUnknown, Sent, read_json
from billingsync.psa.halo.client import Look, one_object
from billingsync.psa.halo.compare import compare
from billingsync.psa.halo.read import read_invoice
from billingsync.psa.halo.wire import (
    Raw,
    WireLine,
    as_line,
    create_body,
    header_marker,
    header_note,
    id_of,
    item_body,
    item_group_body,
    lines_of,
    mark_of,
    markers,
    number,
)

from .stage import Scene, Stage

SMALL = {"clients": 3, "charges": 12, "trouble": False, "history": 0}
LONG = {"clients": 1, "charges": 12, "trouble": False, "history": 0}  # its first client has more than 50 invoices
NOBODY = 999_999_999

KEY, INSTALLATION = "0123456789abcdef0123", "c0ffee00"
TITLE, TEXT, ITEM, SKU, GROUP = "Seat", "Seat (2026-11-01 to 2026-11-30)", "Contract test item", "CT-SEAT-1", "CT_Items"
DAY = date(2026, 11, 5)
# What a trial tenant may be sent, and therefore what recordings may hold.
OURS = frozenset({TITLE, TEXT, ITEM, SKU, GROUP, header_note(KEY, INSTALLATION, "2026-11")})

SCENES: list[Scene] = []


def scene(**more: Any) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    def note(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        more.setdefault("sandbox", SMALL)
        SCENES.append(Scene(name=play.__name__, service="halo", play=play, **more))
        return play

    return note


# Our own line and invoice


@dataclass(frozen=True)
class Line:
    """What is meant by the one line that the scenes write: 11 x 2.4999."""

    ordinal: int = 0
    action: str = "add"
    line_id: int | None = None
    quantity: Decimal = Decimal(11)
    unit_price: Decimal = Decimal("2.4999")
    amount: Decimal = Decimal("27.50")
    cost: Decimal = Decimal("20.14")
    title: str = TITLE


def wire_line() -> WireLine:
    return WireLine(
        title=TITLE,
        text=TEXT,
        quantity=Line().quantity,
        unit_price=Line().unit_price,
        unit_cost=Decimal("1.8312"),
        item_id=None,
        tax_code=None,
        nominal_code=None,
        mark=mark_of(KEY, INSTALLATION, 0),
    )


def new_invoice(client_id: int) -> list[dict[str, object]]:
    return create_body(
        client_id=client_id,
        site_id=None,
        invoice_date=DAY,
        internal_note=header_note(KEY, INSTALLATION, "2026-11"),
        order_number=None,
        lines=[wire_line()],
        marker="longdescription",
    )


def nothing() -> None:
    """What is asked right before a write: here, no reason not to."""


def post(stage: Stage, client_id: int) -> Sent:
    return stage.halo.create_invoice(new_invoice(client_id), before=nothing)


def carries_our_line(raw: Raw | None, *, header: bool = True) -> None:
    assert raw is not None
    invoice = read_invoice(raw)
    assert invoice is not None
    compared = compare(invoice, KEY, [Line()], "USD")
    assert compared is not None
    assert compared.differences == ()
    assert (compared.price, compared.cost) == (Decimal("27.50"), Decimal("20.14"))
    assert compared.line_ids[0] > 0
    if header:
        assert header_marker(raw) == Mark(key=KEY, installation=INSTALLATION, ordinal=-1)


# Login


@scene(sandbox=SMALL | {"tenant": "acme"})
def discovery(stage: Stage) -> None:
    """`authinfo` needs no token, and names the login's address and the tenant."""
    [asked] = stage.calls("GET", "/authinfo")
    assert "authorization" not in asked.headers
    assert stage.tenant is not None
    assert stage.tenant.id
    stage.service.login()
    [login] = stage.logins()
    assert login.url.params["tenant"] == stage.tenant.id
    assert login.status == 200


@scene(sandbox=SMALL | {"authinfo": "404"})
def no_discovery(stage: Stage) -> None:
    """Builds without `authinfo` hand out tokens at `/auth/token`."""
    assert [one.status for one in stage.calls()] == [404]
    stage.service.login()
    assert stage.logins()[0].url.path.endswith("/auth/token")


@scene(reach="any")
def login(stage: Stage) -> None:
    """The credentials go as a form; the token comes back as a bearer."""
    stage.halo.item_groups()
    [asked] = stage.logins()
    assert asked.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert parse_qs(asked.body.decode()).keys() == {"grant_type", "client_id", "client_secret", "scope"}
    answer = json.loads(asked.answer)
    assert answer["token_type"].lower() == "bearer"
    assert answer["expires_in"] > 0
    assert stage.calls()[-1].headers["authorization"] == f"Bearer {answer['access_token']}"


@scene(reach="any", settings={"BILLINGSYNC_HALO__CLIENT_SECRET": "not-the-secret"})
def wrong_login(stage: Stage) -> None:
    """A wrong secret is refused in OAuth's words, with 400 or 401, and is not tried again."""
    with pytest.raises(LoginFailed, match="HaloPSA did not accept the client id and secret") as failed:
        stage.halo.item_groups()
    assert failed.value.status in (400, 401)
    assert "not-the-secret" not in failed.value.message
    assert len(stage.logins()) == 1


@scene(sandbox=SMALL | {"halo_tokens_void_at_call": 2})
def renewal(stage: Stage) -> None:
    """A token may end before its time: one 401, one new token, the same call again."""
    assert stage.halo.item_groups() == stage.halo.item_groups()
    called = stage.calls("GET", "/AssetGroup")
    assert [one.status for one in called] == [200, 401, 200]
    assert called[1].headers["authorization"] != called[2].headers["authorization"]
    assert len(stage.logins()) == 2


# Lists


@scene(reach="any", sandbox=SMALL | {"clients": 52, "max_page_size": 25}, needs=("rows_at_least",), bulk=True)
def clients(stage: Stage) -> None:
    """All clients, inactive ones too, over as many pages as it takes."""
    found = stage.halo.clients()
    assert len({one.id for one in found.rows}) == len(found.rows)
    asked = stage.calls("GET", "/Client")
    assert read_json(asked[0].answer)["record_count"] == len(found.rows)
    assert {one.url.params["order"] for one in asked} == {"id"}
    assert {one.url.params["includeinactive"] for one in asked} == {"true"}
    assert not found.short
    assert len(found.rows) >= stage.facts["rows_at_least"]


@scene(sandbox=SMALL | {"client_rows": "short"})
def short_clients(stage: Stage) -> None:
    """Where the list leaves out who pays and in what currency, the client itself says it."""
    found = stage.halo.clients()
    assert found.short
    client = stage.halo.client(found.rows[0].id)
    assert client is not None
    assert client.name == found.rows[0].name
    assert client.currency


@scene(sandbox=SMALL | {"currency_field": "id"})
def currencies_by_id(stage: Stage) -> None:
    """Where clients carry the id of their currency only, the list of currencies says which it is."""
    found = stage.halo.clients()
    assert found.rows
    assert all(len(client.currency) == 3 for client in found.rows)
    assert "currencyisocode" not in read_json(stage.calls("GET", "/Client")[0].answer)["clients"][0]
    assert len(stage.calls("GET", "/Currency")) == 1


@scene(reach="any")
def other_lists(stage: Stage) -> None:
    """Taxes are a bare array, suppliers come in an envelope; both have ids and names."""
    for rows in (stage.halo.rows("/Tax"), stage.halo.rows("/Supplier", "suppliers")):
        assert rows
        assert all(id_of(row) is not None and row["name"] for row in rows)
    assert isinstance(read_json(stage.calls("GET", "/Tax")[0].answer), list)


@scene(reach="any", needs=("rows_at_least",), bulk=True)
def items(stage: Stage) -> None:
    """The whole catalogue, beyond the 50 rows at which an unpaged list stops without a word."""
    found = stage.halo.items()
    assert len({one.id for one in found}) == len(found)
    [asked] = stage.calls("GET", "/Item")
    assert read_json(asked.answer)["record_count"] == len(found)
    assert len(found) >= stage.facts["rows_at_least"]
    assert any(one.external_reference for one in found)


@scene(reach="any")
def item_groups(stage: Stage) -> None:
    """Item groups are a bare array without paging, at /AssetGroup."""
    found = stage.halo.item_groups()
    assert all(number > 0 and name for number, name in found)
    assert isinstance(json.loads(stage.calls("GET", "/AssetGroup")[0].answer), list)


# Invoices


@scene(reach="any", needs=("open_id",))
def invoice(stage: Stage) -> None:
    """One invoice with its lines; amounts are numbers, ids whole."""
    raw = stage.halo.invoice(stage.facts["open_id"], recurring=False)
    assert raw is not None
    assert id_of(raw) == stage.facts["open_id"]
    assert number(raw["client_id"]) is not None
    assert lines_of(raw)
    for line in lines_of(raw):
        assert (id_of(line) or 0) > 0
        assert number(line["qty_order"]) is not None
        assert number(line.get("unit_price", line.get("baseprice"))) is not None
        assert number(line["net_amount"]) is not None
    assert isinstance(raw["posted"], bool)
    assert date.fromisoformat(str(raw["invoice_date"])[:10])


@scene(reach="any")
def no_invoice(stage: Stage) -> None:
    """An id that does not exist is a 404, and only that means that there is none."""
    assert stage.halo.invoice(NOBODY, recurring=False) is None
    assert stage.calls("GET")[-1].status == 404


@scene(reach="any", needs=("recurring_id",))
def recurring(stage: Stage) -> None:
    """Recurring invoices have ids of their own, below zero; one of them comes with its lines."""
    rows = stage.halo.recurring_invoices()
    assert rows
    assert all((id_of(row) or 0) < 0 for row in rows)
    raw = stage.halo.invoice(stage.facts["recurring_id"], recurring=True)
    assert raw is not None
    assert id_of(raw) == stage.facts["recurring_id"] < 0
    assert all((id_of(line) or 0) > 0 for line in lines_of(raw))
    assert lines_of(raw)


# Searching


def look_for_some(stage: Stage) -> Look:
    number, client = stage.facts["control_ids"]
    return stage.halo.search_rows(stage.facts["client_ids"], (number, client))


def look_for_busy(stage: Stage) -> Look:
    client = stage.facts["busy_client_id"]
    return stage.halo.search_rows([client], (stage.facts["busy_newest_id"], client))


@scene(reach="any", needs=("client_ids", "control_ids"))
def look(stage: Stage) -> None:
    """A search by clients, with lines, that proves itself: counted, nothing twice, a known invoice among the rows."""
    found = look_for_some(stage)
    assert (found.complete, found.why) == (True, "")
    assert stage.facts["control_ids"][0] in {id_of(row) for row in found.rows}
    assert {row["client_id"] for row in found.rows} <= set(stage.facts["client_ids"])
    assert all(isinstance(row["lines"], list) for row in found.rows)


@scene(sandbox=LONG, faults=("halo:GET:/Invoice:*:cut50",), needs=("busy_client_id", "busy_newest_id"), bulk=True)
def look_cut(stage: Stage) -> None:
    """50 rows of more: incomplete, by the count."""
    found = look_for_busy(stage)
    assert not found.complete
    assert "50 rows came of" in found.why


@scene(
    sandbox=LONG, faults=("halo:GET:/Invoice:*:cut50:count=cut",), needs=("busy_client_id", "busy_newest_id"), bulk=True
)
def look_cut_in_silence(stage: Stage) -> None:
    """50 rows that are counted as 50: only the invoice that is known to exist gives it away."""
    found = look_for_busy(stage)
    assert not found.complete
    assert f"does not find invoice {stage.facts['busy_newest_id']}" in found.why


@scene(
    sandbox=LONG | {"list_paging": "repeats", "max_page_size": 25},
    needs=("busy_client_id", "busy_newest_id"),
    bulk=True,
)
def look_repeated(stage: Stage) -> None:
    """Where each page is the first one, the list is read in one piece instead, and is complete."""
    found = look_for_busy(stage)
    assert (found.complete, found.why) == (True, "")
    assert len(found.rows) > 50
    asked = [one.url.params for one in stage.calls("GET", "/Invoice")]
    assert "count" in asked[-1]
    assert "pageinate" not in asked[-1]


@scene(sandbox=SMALL | {"list_has_lines": False}, needs=("client_ids", "control_ids"))
def look_without_lines(stage: Stage) -> None:
    """A list without lines proves nothing about lines: each invoice is read by itself."""
    found = look_for_some(stage)
    assert found.complete
    assert found.rows
    assert all(lines_of(row) for row in found.rows)


@scene(reach="any", needs=("client_ids", "control_ids"))
def control(stage: Stage) -> None:
    """An invoice to prove searches by: one that is known, if it is still there, else any."""
    known = stage.facts["control_ids"][0], stage.facts["control_ids"][1]
    assert stage.halo.control([known]) == known
    other = stage.halo.control([(NOBODY, known[1])])
    assert other is not None
    raw = stage.halo.invoice(other[0], recurring=False)
    assert raw is not None
    assert raw["client_id"] == other[1]


@scene(reach="any", needs=("client_ids", "control_ids"))
def since(stage: Stage) -> None:
    """All invoices of some clients since a day, newest first; none that is older."""
    everything = list(stage.halo.since(stage.facts["client_ids"], date(2000, 1, 1), dict))
    assert everything
    assert {row["client_id"] for row in everything} <= set(stage.facts["client_ids"])
    ids = [id_of(row) or 0 for row in everything]
    assert ids == sorted(set(ids), reverse=True)
    assert list(stage.halo.since(stage.facts["client_ids"], date(2999, 1, 1), dict)) == []


@scene(sandbox=LONG | {"max_page_size": 25}, needs=("busy_client_id", "busy_newest_id"), bulk=True)
def since_stops(stage: Stage) -> None:
    """Newest first, no more pages are read than the day asks for."""
    newest = next(iter(stage.halo.since([stage.facts["busy_client_id"]], date(2026, 10, 1), dict)))
    assert id_of(newest) == stage.facts["busy_newest_id"]
    asked = stage.calls("GET", "/Invoice")
    assert len(asked) == 1
    assert read_json(asked[0].answer)["record_count"] > 50
    assert asked[0].url.params["orderdesc"] == "true"


# Writing


@scene(reach="trial", needs=("client_id",))
def create(stage: Stage) -> None:
    """A new invoice is one element of an array, complete with its lines; the answer is that invoice."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, Answered)
    assert sent.status in (200, 201)
    answer = one_object(sent.json)
    carries_our_line(answer)
    assert answer is not None
    assert answer["client_id"] == stage.facts["client_id"]
    back = stage.halo.invoice(id_of(answer) or 0, recurring=False)
    carries_our_line(back)
    assert back is not None
    assert str(back["invoice_date"])[:10] == DAY.isoformat()


@scene(sandbox=SMALL | {"post_answer": "list", "post_status": 200}, needs=("client_id",))
def create_answers_list(stage: Stage) -> None:
    """Older builds answer 200 and a list of one."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, Answered)
    assert sent.status == 200
    assert isinstance(sent.json, list)
    carries_our_line(one_object(sent.json))


@scene(reach="trial")
def refused(stage: Stage) -> None:
    """A business rule says no with 400 and a sentence as a JSON string: nothing was done."""
    sent = post(stage, NOBODY)
    assert isinstance(sent, NotDone)
    assert sent.status == 400
    said = json.loads(stage.calls("POST")[-1].answer)
    assert isinstance(said, str)
    assert said in sent.message
    assert len(stage.calls("POST")) == 1


@scene(faults=("halo:POST:/Invoice:1:400_object",), needs=("client_id",))
def refused_by_type(stage: Stage) -> None:
    """A value of the wrong type is refused with 400 and an object of lists; the message names the property."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, NotDone)
    assert sent.status == 400
    said = json.loads(stage.calls("POST")[-1].answer)
    assert all(isinstance(texts, list) for texts in said.values())
    assert next(iter(said)) in sent.message


@scene(sandbox=SMALL | {"role_lacks": ("invoices",)}, needs=("client_id",))
def no_right(stage: Stage) -> None:
    """401 although the token is new: the agent's role lacks the right. Nothing was done, and it is said so."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, NotDone)
    assert sent.status == 401
    assert "rights are missing" in sent.message
    assert [one.status for one in stage.calls("POST")] == [401, 401]
    assert len(stage.logins()) == 2


@scene(faults=("halo:POST:/Invoice:1:403",), needs=("client_id",))
def no_scope(stage: Stage) -> None:
    """403 with an empty body: a scope is missing. Nothing was done."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, NotDone)
    assert sent.status == 403
    assert stage.calls("POST")[0].answer == b""


@scene(faults=("halo:POST:/Invoice:1:429",), needs=("client_id",))
def busy(stage: Stage) -> None:
    """429 is a text, mostly without `Retry-After`, and certainly nothing was done: sent again after a pause."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, Answered)
    assert [one.status for one in stage.calls("POST")] == [429, 201]
    assert b"Rate Limit Reached" in stage.calls("POST")[0].answer
    assert sum(stage.clock.waits) >= 10


@scene(faults=("halo:POST:/Invoice:*:429",), needs=("client_id",))
def busy_for_long(stage: Stage) -> None:
    """429 for longer than HaloPSA's five minutes: refused, not unknown."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, NotDone)
    assert sent.status == 429
    assert sum(stage.clock.waits) >= 300


@scene(faults=("halo:POST:/Invoice:1:500_after",), needs=("client_id",))
def lost_answer(stage: Stage) -> None:
    """500 and an empty body after the write was done: nobody knows, nothing is repeated, and a search finds it."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, OutcomeUnknown)
    assert [(one.status, one.answer) for one in stage.calls("POST")] == [(500, b"")]
    found = stage.halo.search_rows([stage.facts["client_id"]], None)
    assert found.complete
    assert (
        len([row for row in found.rows if header_marker(row) == Mark(key=KEY, installation=INSTALLATION, ordinal=-1)])
        == 1
    )


@scene(faults=("halo:POST:/Invoice:1:504_after",), needs=("client_id",))
def gateway(stage: Stage) -> None:
    """A gateway gave up, with a page of its own: unknown too."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, OutcomeUnknown)
    assert len(stage.calls("POST")) == 1


@scene(faults=("halo:POST:/Invoice:1:not_json_after",), needs=("client_id",))
def unreadable_answer(stage: Stage) -> None:
    """200 with something that is no JSON: unknown, whatever the status says."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, OutcomeUnknown)
    assert len(stage.calls("POST")) == 1


@scene(reach="trial", needs=("open_id",))
def append(stage: Stage) -> None:
    """An existing invoice takes all of its lines back with a new one at the end; the others stay as they were."""
    invoice_id = stage.facts["open_id"]
    before = stage.halo.invoice(invoice_id, recurring=False)
    assert before is not None
    header = {"id": invoice_id, "lines": [*lines_of(before), as_line(wire_line(), "longdescription")]}
    if "change_seq" in before:
        header["last_change_seq"] = before["change_seq"]
    sent = stage.halo.change_invoice("", [header], recurring=False, before=nothing)
    assert isinstance(sent, Answered)
    after = stage.halo.invoice(invoice_id, recurring=False)
    carries_our_line(after, header=False)
    assert after is not None
    assert unchanged(before, after)


@scene(reach="trial", needs=("open_id",))
def history(stage: Stage) -> None:
    """HaloPSA keeps who changed what: by line, with the time, what it was and what it is."""
    invoice_id = stage.facts["open_id"]
    before = {id_of(change) for change in stage.halo.changes(invoice_id)}
    row = {"id": invoice_id, "add_lines": [as_line(wire_line(), "longdescription")]}
    assert isinstance(stage.halo.change_invoice("", [row], recurring=False, before=nothing), Answered)
    written = stage.halo.invoice(invoice_id, recurring=False)
    assert written is not None
    new = [change for change in stage.halo.changes(invoice_id) if id_of(change) not in before]
    assert [number(change["invoice_line_id"]) for change in new] == [id_of(lines_of(written)[-1])]
    assert all(change["who"] for change in new)
    assert all(datetime.fromisoformat(str(change["datetime"])) for change in new)
    assert all({"field_name", "old_value", "new_value"} <= change.keys() for change in new)


@scene(needs=("open_id",))
def append_by_lines(stage: Stage) -> None:
    """`updatelines` takes bare lines that name their invoice."""
    invoice_id = stage.facts["open_id"]
    before = stage.halo.invoice(invoice_id, recurring=False)
    row = {"ihid": invoice_id, **as_line(wire_line(), "longdescription")}
    sent = stage.halo.change_invoice("updatelines", [row], recurring=False, before=nothing)
    assert isinstance(sent, Answered)
    after = stage.halo.invoice(invoice_id, recurring=False)
    carries_our_line(after, header=False)
    assert before is not None
    assert after is not None
    assert unchanged(before, after)


@scene(reach="trial", needs=("recurring_id",))
def change_recurring(stage: Stage) -> None:
    """A recurring invoice is written like any other, by its negative id."""
    invoice_id = stage.facts["recurring_id"]
    before = stage.halo.invoice(invoice_id, recurring=True)
    assert before is not None
    added = {**as_line(wire_line(), "longdescription"), "isinactive": False, "isActive": True}
    header = {"id": invoice_id, "lines": [*lines_of(before), added]}
    sent = stage.halo.change_invoice("", [header], recurring=True, before=nothing)
    assert isinstance(sent, Answered)
    after = stage.halo.invoice(invoice_id, recurring=True)
    carries_our_line(after, header=False)
    assert after is not None
    assert unchanged(before, after)
    assert markers(lines_of(after)[-1]) == Mark(key=KEY, installation=INSTALLATION, ordinal=0)


@scene(needs=("open_id",))
def stale(stage: Stage) -> None:
    """A `last_change_seq` that is not the current one is refused: somebody else has written meanwhile."""
    before = stage.halo.invoice(stage.facts["open_id"], recurring=False)
    assert before is not None
    header = {"id": stage.facts["open_id"], "last_change_seq": (number(before["change_seq"]) or 0) - 1}
    sent = stage.halo.change_invoice("", [header], recurring=False, before=nothing)
    assert isinstance(sent, NotDone)
    assert sent.status == 400


@scene(reach="trial", needs=("client_id",))
def delete(stage: Stage) -> None:
    """An invoice of ours can be deleted, and is gone then."""
    sent = post(stage, stage.facts["client_id"])
    assert isinstance(sent, Answered)
    invoice_id = id_of(one_object(sent.json) or {}) or 0
    assert isinstance(stage.halo.delete_invoice(invoice_id, before=nothing), Answered)
    assert stage.halo.invoice(invoice_id, recurring=False) is None
    again = stage.halo.delete_invoice(invoice_id, before=nothing)
    assert isinstance(again, NotDone)
    assert again.status == 404


@scene(reach="trial")
def create_item(stage: Stage) -> None:
    """An item is created in a group, with the SKU in `externalreference`, and is found by its id then."""
    sent = stage.halo.create_item_group(item_group_body(GROUP))
    assert isinstance(sent, Answered)
    group = id_of(one_object(sent.json) or {}) or 0
    assert (group, GROUP) in stage.halo.item_groups()
    sent = stage.halo.create_item(item_body(name=ITEM, sku=SKU, group=group, codes=ProductRules(lifecycle="automatic")))
    assert isinstance(sent, Answered)
    item = stage.halo.item(id_of(one_object(sent.json) or {}) or 0)
    assert item is not None
    assert (item.name, item.external_reference, item.group_id, item.inactive) == (ITEM, SKU, group, False)


@scene(faults=("halo:GET:/Invoice:*:error_inside",))
def error_inside(stage: Stage) -> None:
    """200 with an error in the body is no empty list."""
    with pytest.raises(UpstreamError):
        stage.halo.search_rows([NOBODY], None)


def unchanged(before: Raw, after: Raw) -> bool:
    """Every line of before is there, in its place, with the same text, quantity and price."""
    names = ("id", "item_shortdescription", "item_longdescription", "qty_order", "unit_price", "tax_code", "comment_1")

    def shown(lines: Sequence[Raw]) -> list[list[object]]:
        return [[line.get(name) for name in names] for line in lines]

    return shown(lines_of(after))[: len(lines_of(before))] == shown(lines_of(before))
