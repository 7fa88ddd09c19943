"""The page for finance: complete, self-contained, escaped, well-formed, and its picture honest about negatives."""

from __future__ import annotations

import re
from decimal import Decimal as D
from html.parser import HTMLParser

import pytest
import sample_plan as sample

from billingsync.core.bill.plan import Account, Plan
from billingsync.report.chart import picture
from billingsync.report.html import plan_html
from billingsync.report.numbers import Figures

VOID = {"meta", "br", "rect", "line"}


class Page(HTMLParser):
    """Checks nesting while it collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(plan: Plan, **options: str) -> tuple[str, Page]:
    html = plan_html(plan, sample.CREATED_AT, **options)  # type: ignore[arg-type]
    return html, Page(html)


@pytest.mark.parametrize(
    "make", [sample.full_plan, sample.small_plan, sample.held_plan, sample.empty_plan, sample.bare_plan]
)
def test_the_page_is_well_formed_and_loads_nothing(make: object) -> None:
    html, found = page(make())  # type: ignore[operator]
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">')
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use"}
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style", "xlink:href")]
        if tag == "a":
            assert (attributes["href"] or "").startswith("#")
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
    assert "url(" not in html and "@import" not in html and "http://" not in html and "https://" not in html
    assert ("meta", {"charset": "utf-8"}) in found.tags
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_fault_37_hostile_text_is_inert_in_a_browser() -> None:
    html, found = page(sample.full_plan())
    html.encode("utf-8")
    assert "<script" not in html and "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in html
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    assert "{0.__class__} {{ 7*7 }}" in found.text  # no template reads what others wrote
    assert len(max(html.splitlines(), key=len)) < 3000


def test_everything_that_people_need_is_said() -> None:
    plan = sample.full_plan()
    _, found = page(plan)
    for said in (
        "Northwind IT Services",
        "Billing plan for November 2026",
        "To post exactly this plan: billingsync post 4f9c21",
        "18 charges wait for a person",
        "No HaloPSA item is known for the product",
        "billingsync map products --set EXO-1=<item id>",
        "Guessed match, please confirm: 93 % similar",
        "recurring invoice 237",
        "+12.4 %",
        "Favorable prorata: a credit that is not passed on",
        "Pax8 bills the customer itself",
        "Kept from clients",
        "Lines that stay as they are",
        "Nothing new for: Nothing New Ltd",
        plan.digest,
        plan.rules_digest,
        "billingsync 0.",
    ):
        assert said in found.text, said
    for account in plan.accounts:
        assert Figures().amount(account.price.charges, account.currency) in found.text
        assert Figures().amount(account.cost.charges - 0, account.currency) in found.text
    for client in plan.clients:
        for entry in (*client.lines, *client.dropped, *client.excluded, *client.holds):
            assert Figures().amount(entry.amount, client.currency) in found.text


def test_clients_come_before_warnings_the_largest_change_first_and_currencies_by_size() -> None:
    plan = sample.full_plan()
    html, found = page(plan)
    assert html.index('id="clients"') < html.index('id="warnings"')
    moved = {
        client.client_name or client.company_name: abs(client.amount - (client.last_amount or D(0)))
        for client in plan.clients
        if client.currency == "USD" and not client.held and client.lines
    }
    first = max(moved, key=lambda name: moved[name])
    names = re.findall(r'<summary><span class="name"><bdi>(.*?)</bdi>', html)
    assert next(name for name in names if name in moved) == first, (names, moved)
    sizes = [abs(account.price.charges) for account in plan.accounts]
    assert html.index(f"<h3>{plan.accounts[sizes.index(max(sizes))].currency}</h3>") == html.index("<h3>")
    links = {attributes.get("href") for tag, attributes in found.tags if tag == "a"}
    ids = {f"#{attributes.get('id')}" for _, attributes in found.tags if attributes.get("id")}
    assert {"#money", "#clients", "#warnings", "#sources"} <= links <= ids


def test_clients_are_drawn_beside_last_month() -> None:
    html, _ = page(sample.full_plan())
    assert "The thin line marks last month." in html
    alone, _ = page(sample.small_plan())
    assert "The thin line marks last month." not in alone, "one bar says nothing"


def test_numbers_and_dates_follow_the_locale() -> None:
    _, found = page(sample.small_plan(), locale="de_DE")
    assert "257,27 charged = 261,37 to post - 4,10 dropped" in found.text and "Dezember" in found.text


def test_many_clients_are_folded_and_still_all_there() -> None:
    clients = [
        sample.client(f"Client {n}", n, lines=(sample.line("add", "A", "1", "1", "1", "1.00", "0.50", f"c{n}"),))
        for n in range(1, 121)
    ]
    _, found = page(sample.plan(clients))
    details = [attributes for tag, attributes in found.tags if tag == "details"]
    assert len(details) == 120 and not any("open" in attributes for attributes in details)
    _, few = page(sample.plan(clients[:5]))
    assert all("open" in attributes for tag, attributes in few.tags if tag == "details")


def test_many_things_that_wait_for_one_reason_are_folded() -> None:
    clients = [
        sample.client(f"Client {n}", None, held="client_unmapped",
                      holds=(sample.hold(f"c{n}", "client_unmapped", "1.00", "0.50", "A", "none", "map it"),))
        for n in range(1, 41)
    ]  # fmt: skip
    html, found = page(sample.plan(clients))
    assert 'details class="group"' in html and "(40 entries, 40 charges)" in found.text and "40.00 USD" in found.text


def test_a_small_share_is_neither_nothing_nor_everything() -> None:
    client = sample.client("C", 1, lines=(sample.line("add", "A", "1", "1", "1", "99999.00", "1.00"),),
                           holds=(sample.hold("h", "limit_change", "1.00", "1.00", "P", "d", "s"),))  # fmt: skip
    _, found = page(sample.plan([client]))
    assert "< 0.1 %" in found.text and "> 99.9 %" in found.text


def account(**parts: str) -> Account:
    values = {name: D(parts.get(name, "0")) for name in ("posted", "dropped", "excluded", "held")}
    return Account(charges=sum(values.values(), D(0)), already_posted=D(parts.get("earlier", "0")), **values)


@pytest.mark.parametrize(
    "parts",
    [
        {"posted": "100", "dropped": "-40", "held": "30"},
        {"posted": "100", "excluded": "-160"},
        {"posted": "-5", "dropped": "-1"},
        {"posted": "100", "earlier": "40", "held": "0.01"},
        {"posted": "10", "dropped": "-10"},
    ],
)
def test_the_picture_ends_where_the_charges_end(parts: dict[str, str]) -> None:
    drawn = picture(account(**parts), "USD", Figures())
    assert drawn is not None
    charged, *bars = drawn.bars
    assert bars[-1].end == charged.end
    for bar in drawn.bars:
        left, width = D(bar.left[:-1]), D(bar.width[:-1])
        assert left >= 0 and left + width <= D("100.001")
        assert bar.backwards == bar.amount.startswith("-")
        assert (width > 0) == (bar.amount != "0.00 USD")
    assert drawn.negative == (D(drawn.zero[:-1]) > 0)
    assert [bar.top for bar in drawn.bars] == [38 * number for number in range(len(drawn.bars))]


def test_nothing_is_drawn_of_nothing() -> None:
    assert picture(account(), "USD", Figures()) is None
