"""Which item a product is [P1], what the lifecycles do [P2], and products split over several items [P5]."""

from __future__ import annotations

import shlex
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from test_core_notation import (
    azure,
    charge,
    fate_of,
    fates_of,
    line_of,
    lines,
    month,
    rules,
    split,
)

from billingsync.core.bill.modifiers import draft_of
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.bill.products import Catalogue, resolve
from billingsync.core.inputs import Client, Item, Memory
from billingsync.core.rules import ClientFile, ProductBlock

ITEMS = (
    Item(id=11, name="By block"),
    Item(id=12, name="By hand"),
    Item(id=13, name="By SKU", external_reference="S-1"),
    Item(id=14, name="Office"),
    Item(id=17, name="Software"),
)
ONE = charge(sku="S-1", product="Office", product_id="p-1")
MANUAL = rules(products={"lifecycle": "manual"}, modifiers={"azure": "drop"})


def item_of(one: Any = ONE, *blocks: ProductBlock, **said: Any) -> int | str | None:
    """The id of the item that a charge's line has; "create NAME"; None for none; or the hold's reason."""
    said.setdefault("items", ITEMS)
    products = {"lifecycle": said.pop("lifecycle", "automatic"), "default_item": said.pop("default_item", None)}
    base = rules(*blocks, products=products)
    plan = plan_run(month(one, base=base, **said))
    found = lines(plan)
    if not found:
        return plan.clients[0].holds[0].reason
    item = found[0].item
    if item is None:
        return None
    return f"create {item.name}" if item.create else item.id


# --- [P1] --------------------------------------------------------------------------------------------------------

BY_SKU = ProductBlock(pax8_sku="S-1", halo_item=11)
BY_ID = ProductBlock(pax8_product="p-1", halo_item=11)
BY_HAND = Memory(items_by_sku={"S-1": 12})


@pytest.mark.parametrize("lifecycle", ["automatic", "manual"])
@pytest.mark.parametrize(
    ("blocks", "memory", "items", "found"),
    [
        ([BY_SKU], BY_HAND, ITEMS, 11),
        ([BY_ID], BY_HAND, ITEMS, 11),
        ([], BY_HAND, ITEMS, 12),
        ([], Memory(), ITEMS, 13),
        ([], Memory(), (ITEMS[0], ITEMS[3]), 14),
        ([ProductBlock(pax8_sku="S-2", halo_item=11)], Memory(items_by_sku={"S-3": 12}), ITEMS, 13),
    ],
    ids=["block by SKU", "block by product id", "by hand", "by SKU", "by name", "others' mappings"],
)
def test_P1_order(lifecycle: str, blocks: list[ProductBlock], memory: Memory, items: Any, found: int) -> None:
    assert item_of(ONE, *blocks, memory=memory, items=items, lifecycle=lifecycle) == found


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([Item(id=1, name="x", supplier_part_codes=("S-9", "S-1"))], 1),
        ([Item(id=1, name="x", external_reference=" S-1 ")], 1),
        ([Item(id=1, name="x", external_reference="s-1")], "create Office"),
        ([Item(id=1, name="x", external_reference="S-10")], "create Office"),
        ([Item(id=1, name="x", external_reference="S-1", supplier_part_codes=("S-1",))], 1),  # one item, found twice
        ([Item(id=1, name="  OFFICE ")], 1),
        ([Item(id=1, name="Office 365")], "create Office"),
        ([Item(id=1, name="Office", inactive=True)], "create Office"),
        ([Item(id=1, name="x", external_reference="S-1", inactive=True), Item(id=2, name="Office")], 2),
        ([Item(id=1, name="Office"), Item(id=2, name="x", external_reference="S-1")], 2),  # the SKU comes first
        ([Item(id=1, name="a", external_reference="S-1"), Item(id=2, name="b", supplier_part_codes=("S-1",))], "?"),
        ([Item(id=1, name="Office"), Item(id=2, name="office")], "?"),
        ([Item(id=1, name="Office"), Item(id=2, name="Office", inactive=True)], 1),
    ],
)
@pytest.mark.parametrize("lifecycle", ["automatic", "manual"])
def test_P1_items(items: list[Item], found: int | str, lifecycle: str) -> None:
    wanted = {"?": "product_ambiguous", "create Office": "create Office" if lifecycle == "automatic" else ""}
    expected = wanted.get(str(found), found) or "product_unmatched"
    assert item_of(items=tuple(items), lifecycle=lifecycle) == expected


@pytest.mark.parametrize(
    ("blocks", "memory"),
    [
        ([ProductBlock(pax8_sku="S-1", halo_item=404)], Memory()),
        ([], Memory(items_by_sku={"S-1": 404})),
        ([split("S-1", {"halo_item": 11, "share": 50}, {"halo_item": 404, "share": 50})], Memory()),
    ],
    ids=["block", "by hand", "part"],
)
def test_P1_an_item_that_people_named_and_halopsa_lacks_is_never_replaced_by_a_guess(
    blocks: list[ProductBlock], memory: Memory
) -> None:
    assert item_of(ONE, *blocks, memory=memory) == "product_unmatched"


def test_P1_the_block_of_a_clients_file_is_its_own() -> None:
    own = ClientFile(path="c.toml", pax8_company="c-1", rules=rules(BY_SKU))
    charges = [charge("1", sku="S-1"), charge("2", sku="S-1", company="Fabrikam GmbH")]
    plan = plan_run(month(*charges, files=(own,), items=ITEMS))
    assert {p.client_id: p.lines[0].item.id for p in plan.postings if p.lines[0].item} == {1: 11, 2: 13}


def test_P1_which_block_counts_does_not_hang_on_their_order() -> None:
    """rules.md: "no order that matters". A block by SKU and one by product id that both mean this charge."""
    blocks = [ProductBlock(pax8_sku="S-1", halo_item=11), ProductBlock(pax8_product="p-1", halo_item=12)]
    assert item_of(ONE, *blocks) == item_of(ONE, *reversed(blocks))


# --- [P2] --------------------------------------------------------------------------------------------------------


def test_P2_off_lines_carry_text_only() -> None:
    assert item_of(ONE, BY_SKU, lifecycle="off", memory=BY_HAND) is None


def test_P2_default_item_is_on_every_line_and_nothing_is_created() -> None:
    assert item_of(ONE, BY_SKU, lifecycle="default_item", default_item=17, memory=BY_HAND) == 17
    assert item_of(charge(product="Never seen"), lifecycle="default_item", default_item=17) == 17


@pytest.mark.parametrize("default_item", [404, None])
def test_P2_a_default_item_that_halopsa_lacks_holds(default_item: int | None) -> None:
    assert item_of(lifecycle="default_item", default_item=default_item) == "product_unmatched"


def test_P2_automatic_creates_what_does_not_match() -> None:
    item = line_of(charge(sku="N-1", product="New"), items=ITEMS).item
    assert item is not None
    assert (item.id, item.create, item.name, item.sku) == (None, True, "New", "N-1")
    assert item_of(charge(product="", description="Set-up")) == "create Set-up"
    assert item_of(charge(product="", sku="N-1")) == "create N-1"
    assert item_of(charge(product="", description="", sku="")) == "product_unmatched"


def test_P2_automatic_one_ambiguous_product_waits_and_the_others_go_on() -> None:
    items = (Item(id=1, name="Office"), Item(id=2, name="Office"))
    found = fates_of(charge("1", product="Office"), charge("2", product="Backup"), items=items)
    assert found == {"1": "held product_ambiguous", "2": "posted"}


def test_P2_manual_one_unmatched_product_holds_the_whole_client_and_no_other() -> None:
    charges = [
        charge("1", product="Office"),
        charge("2", product="Unknown"),
        charge("3", product="Office", type="rebate"),
        charge("4", product="Office", problem="bad"),
        charge("5", product="Office", company="Fabrikam GmbH"),
    ]
    assert fates_of(*charges, base=MANUAL, items=ITEMS) == {
        "1": "held product_unmatched",
        "2": "held product_unmatched",
        "3": "excluded charge_type",
        "4": "held bad_amount",
        "5": "posted",
    }


def test_P2_manual_one_ambiguous_product_waits_alone() -> None:
    """It has items, too many of them; only a product that has none holds the whole client."""
    items = (*ITEMS, Item(id=18, name="Backup"), Item(id=19, name="Backup"))
    found = fates_of(charge("1", product="Office"), charge("2", product="Backup"), base=MANUAL, items=items)
    assert found == {"1": "posted", "2": "held product_ambiguous"}


def test_P2_manual_asks_no_item_of_what_is_not_billed() -> None:
    charges = [azure("1"), charge("2", product="Office")]
    assert fates_of(*charges, base=MANUAL, items=ITEMS) == {"1": "dropped azure", "2": "posted"}


# --- [P5] --------------------------------------------------------------------------------------------------------

SHARES = split("S-1", {"halo_item": 11, "share": "60"}, {"halo_item": 12, "share": "40"})
THIRDS = split(
    "S-1",
    {"halo_item": 11, "share": "33.33"},
    {"halo_item": 12, "share": "33.33"},
    {"halo_item": 14, "share": "33.34"},
)
FIXED = split("S-1", {"halo_item": 11, "unit_price": "12.50"}, {"halo_item": 12, "rest": True})
REST_FIRST = split("S-1", {"halo_item": 12, "rest": True}, {"halo_item": 11, "unit_price": "12.50"})


@pytest.mark.parametrize(
    ("block", "price", "cost", "quantity", "parts"),
    [
        # item, quantity, unit price, amount, cost
        (SHARES, "200.00", "160.00", "10", ["11: 10 x 12 = 120.00 (96.00)", "12: 10 x 8 = 80.00 (64.00)"]),
        (SHARES, "0.01", "0.01", "1", ["11: 1 x 0.01 = 0.01 (0.01)", "12: 1 x 0 = 0.00 (0.00)"]),
        (SHARES, "-10.01", "-8.01", "-1", ["11: -1 x 6.01 = -6.01 (-4.81)", "12: -1 x 4 = -4.00 (-3.20)"]),
        (SHARES, "0.00", "5.00", "1", ["11: 1 x 0 = 0.00 (3.00)", "12: 1 x 0 = 0.00 (2.00)"]),
        (
            THIRDS,
            "100.00",
            "10.00",
            "3",
            ["11: 3 x 11.11 = 33.33 (3.33)", "12: 3 x 11.11 = 33.33 (3.33)", "14: 3 x 11.113333 = 33.34 (3.34)"],
        ),
        (FIXED, "200.00", "160.00", "10", ["11: 10 x 12.5 = 125.00 (100.00)", "12: 10 x 7.5 = 75.00 (60.00)"]),
        (REST_FIRST, "200.00", "160.00", "10", ["12: 10 x 7.5 = 75.00 (60.00)", "11: 10 x 12.5 = 125.00 (100.00)"]),
        (FIXED, "100.00", "60.00", "10", ["11: 10 x 12.5 = 125.00 (75.00)", "12: 10 x -2.5 = -25.00 (-15.00)"]),
        (FIXED, "0.00", "5.00", "1", ["11: 1 x 12.5 = 12.50 (0)", "12: 1 x -12.5 = -12.50 (5.00)"]),
        (FIXED, "20.00", "10.00", None, ["11: 1 x 12.5 = 12.50 (6.25)", "12: 1 x 7.5 = 7.50 (3.75)"]),
    ],
)
def test_P5_parts_keep_the_quantity_and_add_up(
    block: ProductBlock, price: str, cost: str, quantity: str | None, parts: list[str]
) -> None:
    one = charge(price=price, cost=cost, sku="S-1", quantity=quantity)
    found = lines(plan_run(month(one, base=rules(block), items=ITEMS)))
    shown = [
        f"{line.item.id if line.item else None}: {line.quantity} x {line.unit_price.normalize():f} = {line.amount} "
        f"({line.cost})"
        for line in found
    ]
    assert shown == parts
    assert sum(line.amount for line in found) == Decimal(price)
    assert sum(line.cost for line in found) == Decimal(cost)
    assert {line.charges for line in found} == {("inv:1",)}


def test_P5_a_charge_on_several_lines_counts_once() -> None:
    plan = plan_run(month(charge(price="200.00", sku="S-1"), base=rules(THIRDS), items=ITEMS))
    assert plan.accounts[0].price.posted == Decimal("200.00")
    assert fate_of(charge(sku="S-1"), base=rules(THIRDS), items=ITEMS) == "posted"


def test_P5_parts_of_a_collapsed_line() -> None:
    block = split("MST-AZR-PLN-C100", {"halo_item": 11, "share": 50}, {"halo_item": 12, "share": 50})
    base = rules(block, modifiers={"azure": "collapse"})
    found = lines(plan_run(month(azure("1", "10.01"), azure("2", "10.00"), base=base, items=ITEMS)))
    assert [(line.quantity, line.amount) for line in found] == [(1, Decimal("10.01")), (1, Decimal("10.00"))]


@pytest.mark.parametrize(("currency", "price", "amounts"), [("JPY", "101", [61, 40]), ("KWD", "0.005", [3, 2])])
def test_P5_parts_are_rounded_to_the_minor_unit(currency: str, price: str, amounts: list[int]) -> None:
    clients = (Client(id=1, name="Contoso", currency=currency),)
    one = charge(price=price, cost=price, sku="S-1", currency=currency)
    found = lines(plan_run(month(one, base=rules(SHARES), items=ITEMS, clients=clients)))
    scale = 3 if currency == "KWD" else 0
    assert [line.amount.scaleb(scale) for line in found] == amounts
    assert [line.cost.scaleb(scale) for line in found] == amounts


def test_P5_a_fixed_price_is_rounded_to_the_minor_unit_and_takes_its_share_of_the_cost() -> None:
    clients = (Client(id=1, name="Contoso", currency="JPY"),)
    one = charge(price="100", cost="50", sku="S-1", currency="JPY", quantity="3")
    found = lines(plan_run(month(one, base=rules(FIXED), items=ITEMS, clients=clients)))
    assert [(str(line.amount), str(line.cost)) for line in found] == [("38", "19"), ("62", "31")]


def test_P5_L3_a_fixed_price_that_comes_to_the_amount_in_its_currency_is_kept() -> None:
    """3 x 12.6 is 38 yen: the line says 12.6."""
    block = split("S-1", {"halo_item": 11, "unit_price": "12.6"}, {"halo_item": 12, "rest": True})
    clients = (Client(id=1, name="Contoso", currency="JPY"),)
    one = charge(price="100", cost="50", sku="S-1", currency="JPY", quantity="3")
    found = lines(plan_run(month(one, base=rules(block), items=ITEMS, clients=clients)))
    assert [(str(line.amount), line.unit_price) for line in found] == [
        ("38", Decimal("12.6")),
        ("62", Decimal("20.666667")),
    ]


def test_P5_a_fixed_price_stands_on_the_line_as_the_rules_say_it() -> None:
    """3 x 0.333 is 1.00: the line says 0.333, not a third of 1.00."""
    block = split("S-1", {"halo_item": 11, "unit_price": "0.333"}, {"halo_item": 12, "rest": True})
    found = lines(plan_run(month(charge(price="6.00", sku="S-1", quantity="3"), base=rules(block), items=ITEMS)))
    assert [(line.quantity, line.unit_price, line.amount) for line in found] == [
        (3, Decimal("0.333"), Decimal("1.00")),
        (3, Decimal("1.666667"), Decimal("5.00")),
    ]


def test_P5_a_part_whose_quantity_does_not_fit_says_nothing_of_the_whole() -> None:
    """What "7000000 x 0.01" comes to is the sum of the parts, not one of them."""
    one = charge(price="69999.99", cost="0.00", sku="S-1", quantity="7000000", unit_price="0.01")
    found = lines(plan_run(month(one, base=rules(THIRDS), items=ITEMS)))
    assert [(line.quantity, line.description) for line in found] == [
        (7000000, "Widget"),
        (7000000, "Widget"),
        (1, "Widget"),
    ]


# --- a collapsed line's item -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ({"product_id": "p-1"}, {"product_id": "p-1"}, 11),
        ({"product_id": "p-1"}, {}, 11),  # what only one of them says, all of them say
        ({"product_id": "p-1"}, {"product_id": "p-2"}, "create Microsoft Azure Plan"),
        ({"sku": "AZR-ARR-1"}, {"sku": "AZR-ARR-1"}, 13),
        ({"sku": "AZR-ARR-1"}, {"sku": ""}, 13),
        ({"sku": "AZR-ARR-1"}, {"sku": "AZR-ARR-2"}, "create Microsoft Azure Plan"),
    ],
)
def test_P1_M1_a_collapsed_line_is_a_product_where_all_its_charges_are(
    first: dict[str, str], second: dict[str, str], found: int | str
) -> None:
    items = (Item(id=11, name="By block"), Item(id=13, name="By SKU", external_reference="AZR-ARR-1"))
    base = rules(ProductBlock(pax8_product="p-1", halo_item=11), modifiers={"azure": "collapse"})
    (line,) = lines(plan_run(month(azure("1", **first), azure("2", **second), base=base, items=items)))
    assert line.item is not None
    assert (f"create {line.item.name}" if line.item.create else line.item.id) == found


def test_P2_M1_a_collapsed_line_of_several_skus_makes_an_item_without_one() -> None:
    base = rules(modifiers={"azure": "collapse"})
    (line,) = lines(plan_run(month(azure("1"), azure("2", sku="AZR-ARR-1"), base=base)))
    assert line.item is not None
    assert (line.item.create, line.item.name, line.item.sku) == (True, "Microsoft Azure Plan", "")


# --- what a hold says [A4] ---------------------------------------------------------------------------------------

MAP = "billingsync map products --set S-1=ITEM_ID"


@pytest.mark.parametrize(
    ("lifecycle", "one", "blocks", "memory", "items", "detail", "step"),
    [
        (
            "automatic",
            ONE,
            [ProductBlock(pax8_sku="S-1", halo_item=404)],
            Memory(),
            ITEMS,
            "[[product]] S-1 in rules/defaults.toml: HaloPSA has no active item 404",
            "correct the [[product]] block of S-1",
        ),
        (
            "automatic",
            ONE,
            [ProductBlock(pax8_product="p-1", halo_item=404)],
            Memory(),
            ITEMS,
            "[[product]] p-1 in the rules: HaloPSA has no active item 404",
            "correct the [[product]] block of p-1",
        ),
        (
            "automatic",
            ONE,
            [split("S-1", {"halo_item": 11, "share": 50}, {"halo_item": 404, "share": 50})],
            Memory(),
            ITEMS,
            "[[product]] S-1 in rules/defaults.toml: HaloPSA has no active item 404",
            "correct the [[product]] block of S-1",
        ),
        (
            "manual",
            ONE,
            [],
            Memory(items_by_sku={"S-1": 404}),
            ITEMS,
            "mapped by hand: HaloPSA has no active item 404",
            MAP,
        ),
        (
            "default_item",
            ONE,
            [],
            Memory(),
            (),
            "default_item in rules/defaults.toml: HaloPSA has no active item 17",
            "correct default_item in rules/defaults.toml",
        ),
        (
            "automatic",
            ONE,
            [],
            Memory(),
            tuple(Item(id=n, name=f"I{n}", external_reference="S-1") for n in range(1, 7)),
            "several HaloPSA items have this SKU: I1 (1), I2 (2), I3 (3), I4 (4)",
            MAP,
        ),
        (
            "automatic",
            charge(product="Office"),
            [],
            Memory(),
            (Item(id=1, name="Office"), Item(id=2, name="OFFICE")),
            "several HaloPSA items have this name: Office (1), OFFICE (2)",
            "add a [[product]] block to the rules",
        ),
        ("manual", ONE, [], Memory(), (), "no HaloPSA item for 'Office'", MAP),
        (
            "manual",
            charge(product="", sku="S-1"),
            [],
            Memory(),
            (),
            "no HaloPSA item for 'S-1'",
            MAP,
        ),
        (
            "automatic",
            charge(product="", description="", sku=""),
            [],
            Memory(),
            (),
            "it has neither a name nor a SKU to make an item of",
            "add a [[product]] block to the rules",
        ),
    ],
    ids=[
        "block",
        "block by id",
        "part",
        "by hand",
        "default",
        "skus",
        "names",
        "manual",
        "manual, no name",
        "nameless",
    ],
)
def test_A4_a_hold_names_the_items_and_what_to_correct(
    lifecycle: str, one: Any, blocks: list[ProductBlock], memory: Memory, items: Any, detail: str, step: str
) -> None:
    base = rules(*blocks, products={"lifecycle": lifecycle, "default_item": 17})
    origins = {"product.S-1": "rules/defaults.toml", "products.default_item": "rules/defaults.toml"}
    plan = plan_run(month(one, base=replace(base, origins=origins), memory=memory, items=items))
    (hold,) = plan.clients[0].holds
    assert (hold.detail, hold.next_step) == (detail, step)


@pytest.mark.parametrize(
    ("lifecycle", "one", "blocks", "memory", "by"),
    [
        ("off", ONE, [], Memory(), "lifecycle off"),
        ("default_item", ONE, [], Memory(), "default_item in the rules"),
        ("automatic", ONE, [BY_SKU], Memory(), "[[product]] S-1 in the rules"),
        ("automatic", ONE, [SHARES], Memory(), "[[product]] S-1 in the rules"),
        ("automatic", ONE, [], BY_HAND, "mapped by hand"),
        ("automatic", ONE, [], Memory(), "SKU"),
        ("automatic", charge(product="Office"), [], Memory(), "name"),
        ("automatic", charge(product="Never seen"), [], Memory(), "created"),
    ],
)
def test_P1_what_decided_is_named(
    lifecycle: str, one: Any, blocks: list[ProductBlock], memory: Memory, by: str
) -> None:
    base = rules(*blocks, products={"lifecycle": lifecycle, "default_item": 17})
    found = resolve(draft_of(one), base, Catalogue.of(ITEMS), memory.items_by_sku)
    assert (found.by, found.reason) == (by, None)


def test_P1_an_item_is_the_one_of_its_id_with_its_name() -> None:
    """The plan shows the item's name as HaloPSA has it, not as Pax8 does."""
    for block, name in (([], "By SKU"), ([BY_SKU], "By block"), ([SHARES], "By block")):
        item = lines(plan_run(month(ONE, base=rules(*block), items=ITEMS)))[0].item
        assert item is not None
        assert (item.name, item.create, item.sku) == (name, False, "")


@pytest.mark.parametrize("odd", ["", "  "])
def test_P1_what_has_no_code_or_name_matches_nothing(odd: str) -> None:
    """An item without a code is not the item of a charge without a SKU."""
    items = (Item(id=1, name=odd, external_reference=odd, supplier_part_codes=(odd,)),)
    assert item_of(charge(sku=odd, product="Office"), items=items) == "create Office"
    assert (
        item_of(charge(sku="", product="Office"), memory=Memory(items_by_sku={"": 1}), items=items) == "create Office"
    )


def test_P1_a_block_by_one_key_is_not_found_by_the_absence_of_the_other() -> None:
    block = ProductBlock(pax8_product="p-1", halo_item=11)
    assert item_of(charge(sku="", product="New", product_id=""), block) == "create New"
    assert item_of(charge(sku="", product="New", product_id="p-2"), block, BY_SKU) == "create New"


@pytest.mark.parametrize("sku", ["A B", "$(touch x)", "it's", "MST;NCE"])
def test_fault_37_a_sku_is_one_word_of_what_a_hold_says_to_type(sku: str) -> None:
    plan = plan_run(month(charge(sku=sku), base=rules(products={"lifecycle": "manual"}), items=()))
    (hold,) = plan.clients[0].holds
    assert shlex.split(hold.next_step) == ["billingsync", "map", "products", "--set", f"{sku}=ITEM_ID"]
