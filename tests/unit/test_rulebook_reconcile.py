"""[reconcile], [cards] and their blocks: what they say, how layers merge, and every mistake at once [LC7]."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billingsync.core.rules import BundleBlock, Covered, MatchBlock, Rulebook
from billingsync.errors import RulesError
from billingsync.rulebook import as_toml, effective, load_rulebook
from billingsync.rulebook.schema import rules_schema

CONTOSO = "[client]\nhalo_client = 214\n"
MATCH = '[[reconcile.match]]\npax8_skus = ["A", "B"]\nhalo_items = [1502]\n'
BUNDLE = '[[reconcile.bundle]]\nhalo_item = 1700\ncovers = [{ pax8_sku = "A", seats = 1 }, { pax8_sku = "D" }]\n'


def load(directory: Path, files: Mapping[str, str]) -> Rulebook:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    return load_rulebook(directory)


def mistakes(directory: Path, files: Mapping[str, str]) -> list[str]:
    with pytest.raises(RulesError) as caught:
        load(directory, files)
    return [str(problem).replace(f"{directory.as_posix()}/", "") for problem in caught.value.problems]


def test_blocks_are_read_with_their_defaults(tmp_path: Path) -> None:
    base = load(tmp_path, {"defaults.toml": MATCH + BUNDLE}).base
    assert base.matches == (MatchBlock(pax8_skus=("A", "B"), halo_items=(1502,)),)
    assert base.matches[0].count == "sum" and base.matches[0].per_unit == 1 and base.matches[0].round == "exact"
    assert base.bundles == (BundleBlock(halo_item=1700, covers=(Covered(pax8_sku="A"), Covered(pax8_sku="D"))),)


def test_every_key_of_the_sections_is_read(tmp_path: Path) -> None:
    text = (
        '[reconcile]\nexclude_companies = ["X"]\nexclude_products = ["P"]\nusage_skus = ["U"]\n'
        'price_source = "pax8"\nmoney_tolerance = 0.05\n'
        '[cards]\nprorata = "halo"\nnew_price = "pax8"\nquantity_change_percent_max = 10\n'
        "quantity_change_min = 2.5\nprice_change_percent_max = 7\n"
    )
    book = load(tmp_path, {"defaults.toml": text, "clients/a.toml": CONTOSO + "[reconcile]\nperiod_months = 3\n"})
    rules = book.clients[0].rules
    assert rules.reconcile.exclude_companies == ("X",) and rules.reconcile.usage_skus == ("U",)
    assert rules.reconcile.money_tolerance == Decimal("0.05") and rules.reconcile.price_source == "pax8"
    assert rules.reconcile.period_months == 3 and book.base.reconcile.period_months is None
    assert rules.cards.prorata == "halo" and rules.cards.quantity_change_min == Decimal("2.5")


def test_a_stronger_block_replaces_what_names_the_same_product_or_item(tmp_path: Path) -> None:
    own = (
        '[[reconcile.match]]\npax8_skus = ["B", "C"]\nhalo_lines = [9001]\n'
        '[[reconcile.bundle]]\nhalo_item = 1700\ncovers = [{ pax8_sku = "E", seats = 2.5 }]\n'
    )
    other = '[[reconcile.match]]\npax8_skus = ["Z"]\nhalo_items = [1]\ncount = "each"\n'
    book = load(tmp_path, {"defaults.toml": MATCH + other + BUNDLE, "clients/a.toml": CONTOSO + own})
    rules = book.clients[0].rules
    assert rules.matches == (
        MatchBlock(pax8_skus=("B", "C"), halo_lines=(9001,)),
        MatchBlock(pax8_skus=("Z",), halo_items=(1,), count="each"),
    )
    assert rules.bundles == (BundleBlock(halo_item=1700, covers=(Covered(pax8_sku="E", seats=Decimal("2.5")),)),)
    assert len(book.base.matches) == 2
    origins = {dotted: origin.rpartition("/")[2] for dotted, _, origin in effective(book, book.clients[0])}
    assert origins["reconcile.match.B"] == "a.toml" and origins["reconcile.match.Z"] == "defaults.toml"
    assert origins["reconcile.bundle.1700"] == "a.toml"


def test_rules_show_writes_blocks_as_toml(tmp_path: Path) -> None:
    base = load(tmp_path, {"defaults.toml": MATCH + BUNDLE}).base
    assert as_toml(base.matches[0]) == 'pax8_skus = ["A", "B"], halo_items = [1502]'
    assert as_toml(base.bundles[0]) == 'covers = [{ pax8_sku = "A", seats = 1 }, { pax8_sku = "D", seats = 1 }]'


def test_all_mistakes_of_all_blocks_come_at_once(tmp_path: Path) -> None:
    text = (
        MATCH
        + '[[reconcile.match]]\npax8_skus = ["B"]\nhalo_items = [1700]\nper_unit = 0\n'
        + '[[reconcile.match]]\nhalo_lines = [7]\ncuont = "each"\n'
        + '[[reconcile.match]]\npax8_skus = []\nround = "down"\n'
        + '[[reconcile.bundle]]\ncovers = [{ pax8_sku = "A", seats = 0 }, { seats = 2 }]\n'
        + "[[reconcile.bundle]]\nhalo_item = 9\nperiod_months = 3\n"
    )
    assert mistakes(tmp_path, {"defaults.toml": text}) == [
        "defaults.toml:7: reconcile.match 2.per_unit: 0 is out of range; write a number above 0 to 1000000",
        "defaults.toml:8: reconcile.match 3: has no pax8_skus; write the products that count as one",
        "defaults.toml:9: reconcile.match 3.halo_lines: may stand only in a client's file; move it to rules/clients/",
        "defaults.toml:10: reconcile.match 3.cuont: unknown key; did you mean count?",
        "defaults.toml:11: reconcile.match 4: has neither halo_items nor halo_lines; write the items that carry the "
        "products",
        "defaults.toml:12: reconcile.match 4.pax8_skus: is an empty list; write at least one",
        'defaults.toml:13: reconcile.match 4.round: "down" is not allowed; write "exact" or "up"',
        "defaults.toml:14: reconcile.bundle 1: has no halo_item; write the HaloPSA item that covers seats of several "
        "products",
        "defaults.toml:15: reconcile.bundle 1.covers[1].seats: 0 is out of range; write a number above 0 to 1000000",
        "defaults.toml:15: reconcile.bundle 1.covers[2]: has no pax8_sku; write a product that the bundle covers",
        "defaults.toml:16: reconcile.bundle 2: has no covers; write the products that one unit of the item covers, with "
        "the seats of each",
        "defaults.toml:18: reconcile.bundle 2.period_months: does not belong here; move it to [reconcile]",
    ]


def test_contradicting_blocks_are_named(tmp_path: Path) -> None:
    text = MATCH + '[[reconcile.match]]\npax8_skus = ["B"]\nhalo_items = [1700]\n' + BUNDLE + BUNDLE
    assert mistakes(tmp_path, {"defaults.toml": text}) == [
        'defaults.toml:5: reconcile.match 2.pax8_skus: "B" is in reconcile.match 1 already; keep it in one of the two',
        "defaults.toml:8: reconcile.bundle 1.halo_item: item 1700 stands in a [[reconcile.match]] block too; keep one "
        "of the two",
        "defaults.toml:11: reconcile.bundle 2.halo_item: there is a [[reconcile.bundle]] block of item 1700 already; "
        "keep one",
        "defaults.toml:11: reconcile.bundle 2.halo_item: item 1700 stands in a [[reconcile.match]] block too; keep one "
        "of the two",
    ]


def test_a_clients_match_and_a_bundle_below_cannot_share_an_item(tmp_path: Path) -> None:
    own = CONTOSO + '[[reconcile.match]]\npax8_skus = ["X"]\nhalo_items = [1700]\n'
    assert mistakes(tmp_path, {"defaults.toml": BUNDLE, "clients/a.toml": own}) == [
        "clients/a.toml:5: reconcile.match 1.halo_items: item 1700 stands in a [[reconcile.bundle]] block too; keep one "
        "of the two"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('reconcile.match = "x"\n', "is a list of blocks; write [[reconcile.match]] with double brackets"),
        ("[reconcile]\nperiod_months = 3\n", "may stand only in a client's file"),
        ("[reconcile]\nmoney_tolerance = -1\n", "is out of range"),
        ('[reconcile]\nprice_source = "halopsa"\n', 'write "halo" or "pax8"'),
        ("[cards]\nprorate = 1\n", "did you mean prorata?"),
        ('[[reconcile.match]]\npax8_skus = ["A"]\nhalo_items = [1, 1]\n', "names an id twice"),
        ('[[reconcile.match]]\npax8_skus = ["A", "A"]\nhalo_items = [1]\n', 'names "A" twice'),
        ('[[reconcile.match]]\npax8_skus = ["A"]\nhalo_items = []\n', "is an empty list"),
        (
            '[[reconcile.bundle]]\nhalo_item = 1\ncovers = [{ pax8_sku = "A" }, { pax8_sku = "A" }]\n',
            'names "A" twice; write it once',
        ),
    ],
)
def test_a_mistake_says_what_to_write(tmp_path: Path, text: str, says: str) -> None:
    assert any(says in mistake for mistake in mistakes(tmp_path, {"defaults.toml": text}))


def test_the_digest_sees_blocks(tmp_path: Path) -> None:
    digests = {
        load(tmp_path, {"defaults.toml": text}).digest for text in ("# x\n", MATCH, BUNDLE, MATCH + BUNDLE, "[cards]\n")
    }
    assert len(digests) == 4


def test_the_schema_knows_the_blocks() -> None:
    schema: Any = json.loads(json.dumps(rules_schema()))
    tables = schema["$defs"]
    match, bundle, cover = tables["MatchKeys"], tables["BundleKeys"], tables["CoverKeys"]
    assert set(match["properties"]) == {
        "pax8_skus",
        "halo_items",
        "halo_lines",
        "count",
        "per_unit",
        "round",
        "vendor",
        "tags",
    }
    assert match["properties"]["per_unit"]["exclusiveMinimum"] == 0 and match["required"] == ["pax8_skus"]
    assert bundle["properties"]["covers"]["items"]["$ref"].endswith("/CoverKeys") and cover["required"] == ["pax8_sku"]
    assert tables["ReconcileKeys"]["properties"]["money_tolerance"]["default"] == 0.01
