"""Families and bundles on the desk: the same rules as `rules set` writes, checked first, and never a client's file."""

from __future__ import annotations

import html
import re

import pytest
from office import Office

from billingsync.core.desk import Role
from billingsync.core.rules import Rules
from billingsync.rulebook import load_rulebook

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
AT = "/products/together"


def base_rules(desk: Office) -> Rules:
    return load_rulebook(desk.settings.rules_dir, desk.ledger.desk_rules()).base


def two_products(desk: Office) -> tuple[dict[str, str], dict[str, str]]:
    """Two products with items of their own."""
    rows = desk.browser(Role.FINANCIAL).get("/products.json").json()["rows"]
    with_items = [row for row in rows if row["sku"] and re.search(r"\((\d+)\)$", row["item"])]
    return with_items[0], with_items[1]


def digest_of(page: str) -> str:
    return re.findall(r'name="base" value="([0-9a-f]{64})"', page)[0]


def test_a_family_is_made_changed_and_taken_out_again(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    one, other = two_products(desk)
    assert "None. Each product counts by itself." in client.get(AT).text
    page = client.get(f"{AT}?sku={one['sku']}").text
    assert f'value="{one["sku"]}"' in page and f'href="{AT}?sku={one["sku"]}"' in client.get(one["path"]).text
    form = {"key": "", "base": digest_of(page), "sku0": one["sku"], "sku1": other["sku"], "item0": "438",
            "count": "each", "round": "up", "per_unit": "2.5"}  # fmt: skip
    for wrong in ({"item0": ""}, {"item0": "x"}, {"per_unit": "1e9"}, {"count": "some"}, {"sku0": "", "sku1": ""}):
        assert client.post(f"{AT}/family", data={**form, **wrong}).status_code == 422
    assert not desk.ledger.desk_rules()
    plan = desk.ledger.newest_digest("2026-11")
    assert client.post(f"{AT}/family", data=form).headers["location"] == AT
    assert desk.ledger.newest_digest("2026-11") != plan and not desk.written()  # by the rules that count now
    match = base_rules(desk).matches[0]
    assert match.pax8_skus == (one["sku"], other["sku"]) and match.halo_items == (438,)
    assert (match.count, match.round, str(match.per_unit)) == ("each", "up", "2.5")
    stale = client.post(f"{AT}/family", data={**form, "key": one["sku"]})
    assert stale.status_code == 409 and "were changed since your page was made" in html.unescape(stale.text)
    page = client.get(AT).text
    assert "Take it out again" in page and "financial@msp.example" in page
    changed = {**form, "base": digest_of(page), "key": one["sku"], "sku0": other["sku"], "sku1": "", "count": "sum"}
    assert client.post(f"{AT}/family", data=changed).status_code == 303
    assert [match.pax8_skus for match in base_rules(desk).matches] == [(other["sku"],)]
    out = {"key": other["sku"], "base": digest_of(client.get(AT).text), "do": "off"}
    assert client.post(f"{AT}/family", data=out).status_code == 303
    assert not base_rules(desk).matches and not any(rule.text for rule in desk.ledger.desk_rules())


def test_what_a_page_does_not_show_of_a_family_stays(desk: Office) -> None:
    one, other = two_products(desk)
    desk.rules(
        f'[[reconcile.match]]\npax8_skus = ["{one["sku"]}"]\nhalo_items = [438]\nvendor = "Basin"\ntags = ["edr"]\n'
    )
    client = desk.browser(Role.FINANCIAL)
    page = client.get(AT).text
    assert "pax8.toml" in page and "Take it out again" not in page  # a file's block is changed over it, not taken out
    form = {"key": one["sku"], "base": digest_of(page), "sku0": one["sku"], "sku1": other["sku"], "item0": "438",
            "count": "sum", "round": "exact", "per_unit": "1"}  # fmt: skip
    assert client.post(f"{AT}/family", data=form).status_code == 303
    (match,) = base_rules(desk).matches
    assert match.pax8_skus == (one["sku"], other["sku"]) and (match.vendor, match.tags) == ("Basin", ("edr",))


def test_a_bundle_is_made_and_refused_where_the_item_is_a_familys(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    one, other = two_products(desk)
    form = {"item": "1700", "base": digest_of(client.get(AT).text), "sku0": one["sku"], "sku1": other["sku"],
            "seats1": "2"}  # fmt: skip
    for wrong in ({"item": "x"}, {"seats1": "two"}, {"sku0": "", "sku1": ""}, {"sku1": one["sku"]}):
        assert client.post(f"{AT}/bundle", data={**form, **wrong}).status_code == 422
    assert client.post(f"{AT}/bundle", data=form).headers["location"] == AT
    covers = base_rules(desk).bundles[0].covers
    assert [(each.pax8_sku, each.seats) for each in covers] == [(one["sku"], 1), (other["sku"], 2)]
    page = client.get(AT).text
    assert "One unit covers 1 × " in page and "2 × " in page
    family = {"key": "", "base": digest_of(page), "sku0": one["sku"], "item0": "1700", "count": "sum",
              "round": "exact", "per_unit": "1"}  # fmt: skip
    refused = client.post(f"{AT}/family", data=family)
    assert refused.status_code == 422 and "stands in a [[reconcile." in html.unescape(refused.text)
    assert client.get(f"{AT}.json").json()["rows"][0]["item"] == 1700
    out = {"item": "1700", "base": digest_of(page), "do": "off"}
    assert client.post(f"{AT}/bundle", data=out).status_code == 303 and not base_rules(desk).bundles


def test_users_see_families_and_cannot_change_them(desk: Office) -> None:
    user = desk.browser(Role.USER)
    page = user.get(AT).text
    assert "<form" not in page.partition("<main")[2] and user.post(f"{AT}/bundle", data={}).status_code == 403
