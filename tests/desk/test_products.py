"""Products and exclusions: the item of a product is the command's mapping, and what is left out is a rule."""

from __future__ import annotations

import html
import re

import pytest
from office import Office

from billingsync.core.desk import Role
from billingsync.rulebook import load_rulebook

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_an_item_is_chosen_for_a_product_and_the_month_is_planned_anew(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    rows = client.get("/products.json").json()["rows"]
    new = next(row for row in rows if row["new"] and row["item"] == row["name"])  # no Azure on one line
    target = next(row for row in rows if re.search(r"\((\d+)\)$", row["item"]))
    item = re.findall(r"\((\d+)\)$", target["item"])[0]
    page = client.get(f"{new['path']}?q={item}").text
    assert f'value="{item}"' in page and "checked" not in page  # none is chosen beforehand
    form = {"key": new["key"], "item": item, "was": ""}
    assert client.post("/products/choose", data={**form, "item": ""}).status_code == 422
    order = client.post("/products/choose", data=form).headers["location"]
    assert desk.carry() == 1
    assert client.get(order).headers["location"] == "/products", desk.ledger.orders()[0].outcome
    match = desk.ledger.item_matches()[new["sku"]]
    assert match.item_id == int(item) and match.who.startswith("financial@msp.example (desk, session ")
    again = {row["key"]: row for row in client.get("/products.json").json()["rows"]}
    assert f"({item})" in again[new["key"]]["item"] and not again[new["key"]]["new"]
    assert not desk.written()


def test_a_product_is_split_over_items_only_where_it_adds_up(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    row = next(row for row in client.get("/products.json").json()["rows"] if row["sku"] and row["item"])
    form = {"key": row["key"], "item0": "438", "share0": "60", "item1": "439", "share1": "39"}
    wrong = client.post("/products/split", data=form)
    assert wrong.status_code == 422 and "add up to 99" in wrong.text and not desk.ledger.desk_rules()
    assert client.post("/products/split", data={**form, "share1": "1e9"}).status_code == 422
    assert client.post("/products/split", data={**form, "share1": "40"}).headers["location"] == row["path"]
    base = load_rulebook(desk.settings.rules_dir, desk.ledger.desk_rules()).base
    assert [part.halo_item for part in base.product_blocks[0].parts] == [438, 439]
    assert 'value="438"' in client.get(row["path"]).text


def test_users_see_products_without_money(desk: Office) -> None:
    user = desk.browser(Role.USER)
    rows = user.get("/products.json").json()["rows"]
    assert rows and not any("money" in row for row in rows)
    for path in ("/products", rows[0]["path"]):
        page = user.get(path).text
        assert " USD" not in page and "This month" not in page
    assert "money" not in user.get(f"{rows[0]['path']}.json").json()["rows"][0]
    assert user.get("/exclusions").status_code == 403


def test_what_is_left_out_is_a_rule_with_a_reason_and_says_how_much(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    row = next(row for row in client.get("/products.json").json()["rows"] if row["sku"] and row["item"])
    form = {"key": "exclude.products", "value": row["sku"]}
    assert client.post("/exclusions", data=form).status_code == 422  # no reason
    assert client.post("/exclusions", data={**form, "key": "limits.new_client", "reason": "x"}).status_code == 422
    assert client.post("/exclusions", data={**form, "reason": "sold apart"}).status_code == 303
    listed = client.get("/exclusions.json").json()["rows"]
    mine = next(one for one in listed if one["value"] == row["sku"])
    assert mine["kept_out"] == row["money"] and "financial@msp.example" in mine["origin"]
    page = html.unescape(client.get("/exclusions").text)
    assert row["money"] in page
    assert client.post("/exclusions", data={**form, "do": "off", "reason": "no more"}).status_code == 303
    assert not any(one["value"] == row["sku"] for one in client.get("/exclusions.json").json()["rows"])
    assert client.post("/exclusions", data={**form, "do": "off", "reason": "no more"}).status_code == 422


def test_items_of_products_are_imported_from_a_file_all_or_none(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    rows = client.get("/products.json").json()["rows"]
    new = next(row for row in rows if row["new"] and row["item"] == row["name"])
    item = next(found[1] for row in rows if (found := re.search(r"\((\d+)\)$", row["item"])))

    def check(text: str) -> tuple[int, str]:
        answer = client.post("/products/import", files={"file": ("items.csv", text.encode(), "text/csv")})
        return answer.status_code, html.unescape(answer.text)

    assert check("name,item\nx,1\n")[0] == 422
    code, page = check(f"sku,item_id\n{new['sku']},{item}\nNO-SUCH,{item}\n{new['sku']},99999999\n")
    assert code == 422 and "3 rows" not in page and "2 rows are wrong" in page and "/import/save" not in page
    code, page = check(f"SKU;Item_ID\n{new['sku']};{item}\n")
    assert code == 200 and "Map 1 product, and plan" in page and not desk.ledger.item_matches()
    pair = re.search(r'name="pair" value="([^"]+)"', page)
    assert pair
    order = client.post("/products/import/save", data={"pair": pair[1]}).headers["location"]
    assert desk.carry() == 1
    assert client.get(order).headers["location"] == "/products", desk.ledger.orders()[0].outcome
    assert desk.ledger.item_matches()[new["sku"]].item_id == int(item) and not desk.written()
    assert "nothing would change" in check(f"sku,item_id\n{new['sku']},{item}\n")[1]
    gone = client.post("/products/import/save", data={"pair": [f"{new['sku']}\t99999999\t{item}"]})
    assert desk.carry() == 1 and gone.status_code == 303
    assert desk.ledger.orders()[0].state == "refused" and desk.ledger.item_matches()[new["sku"]].item_id == int(item)


def test_products_and_exclusions_are_saved_as_files(desk: Office) -> None:
    financial, user = desk.browser(Role.FINANCIAL), desk.browser(Role.USER)
    assert "USD" in financial.get("/products.csv").text and "USD" not in user.get("/products.csv").text
    assert financial.get("/exclusions.csv").text.splitlines()[0].endswith("key,value,kept_out,origin")
    for name in ("products", "exclusions"):
        assert financial.get(f"/{name}.xlsx").content.startswith(b"PK")
