"""The products' lifecycle on the desk: its effect before it is saved, by the rule that `rules set` writes."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from office import MONTH, RULES, Office, office

from billingsync.core.desk import Role
from billingsync.rulebook import load_rulebook
from billingsync.run.desk_rules import ALL, RulesAsked, set_rules, text_digest
from billingsync.run.plan import plan_again
from billingsync.run.unread import UNREAD
from billingsync.sandbox.options import SandboxOptions

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
AT = "/products/lifecycle"


def lifecycle(desk: Office) -> tuple[str, int | None]:
    products = load_rulebook(desk.settings.rules_dir, desk.ledger.desk_rules()).base.products
    return products.lifecycle, products.default_item


def test_the_effect_is_shown_before_it_is_saved_and_what_waits_is_said_afterwards(desk: Office) -> None:
    admin = desk.browser(Role.ADMIN)
    rows = admin.get("/products.json").json()["rows"]
    new = [row for row in rows if row["new"] or row["why"]]
    path = next(row["path"] for row in new if row["sku"])
    assert f'href="{AT}"' in admin.get("/products").text and f'href="{AT}"' in admin.get(path).text
    page = html.unescape(admin.get(AT).text)
    assert f"HaloPSA has no item of {len(new)} products" in page
    base = re.findall(r'name="base" value="([0-9a-f]{64})"', page)[0]
    desk.sandbox.__exit__(None, None, None)  # no vendor is asked
    form = {"base": base, "lifecycle": "manual", "reason": "items are made by hand"}
    looked = admin.post(f"{AT}/look", data=form).text
    assert "What it would change" in looked and "Save for all clients" in looked and "→ <b>" in looked
    assert lifecycle(desk) == ("automatic", None) and not desk.ledger.desk_rules()
    assert admin.post(AT, data=form).headers["location"] == "/products"
    assert lifecycle(desk) == ("manual", None)
    waits = [row for row in admin.get("/products.json").json()["rows"] if row["why"]]
    assert waits and not any(row["new"] for row in waits)
    assert f"{len(waits)} product" in admin.get("/products").text
    assert admin.post(AT, data=form).status_code == 409  # the base is of what was before
    assert not desk.written()


def test_a_default_item_is_asked_for_and_mistakes_stand_on_the_page(desk: Office) -> None:
    admin = desk.browser(Role.ADMIN)
    for form in ({"lifecycle": "magic"}, {"lifecycle": "default_item", "default_item": ""}):
        looked = admin.post(f"{AT}/look", data=form)
        assert looked.status_code == 422 and 'role="alert"' in looked.text
        assert admin.post(AT, data=form).status_code == 422
    assert admin.post(AT, data={"lifecycle": "default_item", "default_item": "438"}).status_code == 303
    assert lifecycle(desk) == ("default_item", 438)
    assert admin.get(f"{AT}.json").json()["rows"][0]["default_item"] == "438"


def test_only_an_admin_may_change_it(desk: Office) -> None:
    financial = desk.browser(Role.FINANCIAL)
    assert "An admin may change it." in financial.get(AT).text
    for path in (AT, f"{AT}/look"):
        assert financial.post(path, data={"lifecycle": "off"}).status_code == 403
    assert desk.browser(Role.USER).get(AT).status_code == 403


def test_a_plan_that_needs_more_than_was_read_says_so_until_it_is_read(tmp_path: Path) -> None:
    """With `off` HaloPSA's items are not read, and with `one_off` no client's newest invoice: a plan made anew by other
    rules may be another once they are."""
    with office(tmp_path, SandboxOptions(seed=7, clients=4, charges=60, history=1)) as desk:
        desk.rules(f'[products]\nlifecycle = "off"\n{RULES}')
        desk.plan()
        admin = desk.browser(Role.ADMIN)
        says = "The rules need more of HaloPSA than was read for this plan: its items. Read again before posting"
        assert UNREAD not in admin.get(f"/ready/{MONTH}").text
        base = re.findall(r'name="base" value="([0-9a-f]{64})"', admin.get(AT).text)[0]
        form = {"base": base, "lifecycle": "automatic", "reason": "items are wanted"}
        assert says in admin.post(f"{AT}/look", data=form).text
        assert admin.post(AT, data=form).status_code == 303
        assert says in admin.get(f"/ready/{MONTH}").text
        desk.plan()
        assert UNREAD not in admin.get(f"/ready/{MONTH}").text

        asked = RulesAsked(client=ALL, values={"invoice.behavior": "latest"}, base=shared_text(desk))
        set_rules(desk.ledger, desk.settings.rules_dir, asked, who="the test", now=desk.clock())
        head = desk.ledger.newest_plan(MONTH)
        assert head
        for _ in range(2):  # it stays said while nothing is read
            head = desk.ledger.newest_plan(MONTH)
            assert head
            plan_again(desk.ledger, desk.settings.rules_dir, head.digest)
            assert UNREAD in admin.get(f"/ready/{MONTH}").text
        desk.plan()
        assert UNREAD not in admin.get(f"/ready/{MONTH}").text


def shared_text(desk: Office) -> str:
    return text_digest(next((one.text for one in desk.ledger.desk_rules() if not one.company_id), ""))
