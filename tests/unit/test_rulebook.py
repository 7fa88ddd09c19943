"""rules/*.toml: layers, origins, digest, and every mistake with file, line, key and what to write instead."""

from __future__ import annotations

import json
import os
import re
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billingsync.core.rules import LINE_FIELDS, ClientFile, LimitRules, Part, ProductBlock, Rulebook, Rules
from billingsync.errors import RulesError
from billingsync.rulebook import (
    as_toml,
    effective,
    find_client_file,
    load_rulebook,
    load_rulebook_with_warnings,
    rulebook_digest,
)
from billingsync.rulebook.file import read_rules_file
from billingsync.rulebook.keys import KEYS, SECTIONS, PartKeys, ProductKeys
from billingsync.rulebook.schema import rules_schema
from billingsync.rulebook.wording import printable, shown

Files = dict[str, str | bytes]

CONTOSO = '[client]\nname = "Contoso Ltd"\n'


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty rules directory, seen from its parent as people see it."""
    monkeypatch.chdir(tmp_path)
    Path("rules").mkdir()
    return Path("rules")


def write(directory: Path, files: Files) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def load(directory: Path, files: Files) -> Rulebook:
    write(directory, files)
    return load_rulebook(directory)


def problems(directory: Path, files: Files) -> list[str]:
    write(directory, files)
    with pytest.raises(RulesError) as wrong:
        load_rulebook(directory)
    assert wrong.value.exit_code == 2 and wrong.value.next_steps
    assert str(wrong.value) == "\n".join(wrong.value.problems)
    return list(wrong.value.problems)


def only_problem(directory: Path, files: Files) -> str:
    found = problems(directory, files)
    assert len(found) == 1, found
    return found[0]


def sentences(directory: Path) -> tuple[str, ...]:
    """What is wrong, whatever it is; any other error than RulesError fails the test."""
    try:
        load_rulebook(directory)
    except RulesError as wrong:
        return wrong.problems
    return ()


# What loads


def test_no_files_give_the_defaults(rules: Path) -> None:
    rulebook = load_rulebook(rules)
    assert rulebook.base == Rules() and rulebook.clients == () and rulebook.digest == rulebook_digest(Rulebook())


def test_layers_the_client_over_pax8_over_the_defaults(rules: Path) -> None:
    rulebook = load(
        rules,
        {
            "defaults.toml": '[modifiers]\nazure = "drop"\nzero_lines = "drop"\nfavorable_prorata = "drop"\n'
            '[exclude]\ncompanies = ["A", "B"]\n',
            "integrations/pax8.toml": '[modifiers]\nazure = "collapse"\nzero_lines = "keep"\n',
            "clients/contoso.toml": CONTOSO + '[modifiers]\nazure = "keep"\n[exclude]\ncompanies = ["C"]\n',
        },
    )
    (contoso,) = rulebook.clients
    base, own = rulebook.base.modifiers, contoso.rules.modifiers
    assert (base.azure, base.zero_lines, base.favorable_prorata) == ("collapse", "keep", "drop")
    assert (own.azure, own.zero_lines, own.favorable_prorata) == ("keep", "keep", "drop")
    assert contoso.rules.exclude.companies == ("C",), "a list replaces the list below"
    assert contoso.rules.origins == {
        "modifiers.azure": "rules/clients/contoso.toml",
        "modifiers.zero_lines": "rules/integrations/pax8.toml",
        "modifiers.favorable_prorata": "rules/defaults.toml",
        "exclude.companies": "rules/clients/contoso.toml",
    }
    assert rulebook.base.origins["modifiers.azure"] == "rules/integrations/pax8.toml"
    assert contoso.path == "rules/clients/contoso.toml" and contoso.name == "Contoso Ltd"


def test_the_client_section(rules: Path) -> None:
    text = '[client]\npax8_company = "0f3c"\nname = "Contoso"\nhalo_client = 214\nexclude = true\n'
    (file,) = load(rules, {"clients/x.toml": text}).clients
    assert file == ClientFile(
        path="rules/clients/x.toml",
        pax8_company="0f3c",
        name="Contoso",
        halo_client=214,
        exclude=True,
        rules=file.rules,
    )


@pytest.mark.parametrize("text", ["8841", "-8841"])
def test_a_recurring_invoice_is_kept_negative(rules: Path, text: str) -> None:
    (file,) = load(
        rules, {"clients/x.toml": CONTOSO + f'[invoice]\nbehavior = "recurring"\nrecurring_invoice = {text}\n'}
    ).clients
    assert file.rules.invoice.recurring_invoice == -8841


def test_recurring_in_a_shared_layer_is_no_mistake(rules: Path) -> None:
    """A client without a number is held later, as recurring_unmapped."""
    rulebook = load(rules, {"defaults.toml": '[invoice]\nbehavior = "recurring"\n', "clients/x.toml": CONTOSO})
    assert rulebook.clients[0].rules.invoice.behavior == "recurring"


def test_numbers_are_exact(rules: Path) -> None:
    text = "[limits]\nchange_percent_max = 33.3\nchange_amount_min = 0.1\nclient_amount_max = 20_000\n"
    limits = load(rules, {"defaults.toml": text}).base.limits
    assert limits == LimitRules(
        change_percent_max=Decimal("33.3"), change_amount_min=Decimal("0.1"), client_amount_max=Decimal(20000)
    )
    assert all(not isinstance(getattr(limits, part.name), (float, int)) for part in fields(limits))


@pytest.mark.parametrize(("text", "code"), [('"200"', "200"), ("200", "200"), ('" A-1 "', "A-1"), ("0", "0")])
def test_codes_are_texts(rules: Path, text: str, code: str) -> None:
    lines = "".join(f"{name} = {text}\n" for name in ("income_account", "expense_account"))
    products = load(rules, {"defaults.toml": "[products]\n" + lines}).base.products
    assert (products.income_account, products.expense_account) == (code, code)


@pytest.mark.parametrize(("text", "code"), [('"12"', "12"), ("12", "12")])
def test_a_tax_code_is_the_id_of_a_tax(rules: Path, text: str, code: str) -> None:
    assert load(rules, {"defaults.toml": f"[products]\ntax_code = {text}\n"}).base.products.tax_code == code


def test_a_tax_code_that_is_a_name_would_bill_without_tax(rules: Path) -> None:
    with pytest.raises(RulesError, match=r"products\.tax_code.*not a tax id"):
        load(rules, {"defaults.toml": '[products]\ntax_code = "VAT19"\n'})


@pytest.mark.parametrize(
    "text",
    [
        "[modifiers]\nazure='drop'",
        "modifiers.azure = 'drop'",
        "modifiers = { azure = 'drop' }",
        "[modifiers]\r\nazure = 'drop'\r\n",
        '["modifiers"]\n"azure" = "drop"',
        '[lines]\ntext = """\nazure = 3\n{product}"""\n[modifiers]\nazure = "drop"',
    ],
)
def test_any_way_of_writing_toml(rules: Path, text: str) -> None:
    assert load(rules, {"defaults.toml": text}).base.modifiers.azure == "drop"


def test_product_blocks_merge_by_product_and_the_stronger_come_first(rules: Path) -> None:
    rulebook = load(
        rules,
        {
            "defaults.toml": '[[product]]\npax8_sku = "Z"\nhalo_item = 1\n[[product]]\npax8_sku = "A"\nhalo_item = 2\n'
            '[[product]]\npax8_product = "p-1"\nhalo_item = 3\n',
            "clients/x.toml": CONTOSO
            + '[[product]]\npax8_sku = "Z"\nparts = [{ halo_item = 11, share = 60 }, { halo_item = 12, share = 40 }]\n',
        },
    )
    split = (Part(halo_item=11, share=Decimal(60)), Part(halo_item=12, share=Decimal(40)))
    assert rulebook.base.product_blocks == (
        ProductBlock(pax8_sku="A", halo_item=2),
        ProductBlock(pax8_sku="Z", halo_item=1),
        ProductBlock(pax8_product="p-1", halo_item=3),
    )
    (client,) = rulebook.clients
    assert client.rules.product_blocks == (
        ProductBlock(pax8_sku="Z", parts=split),
        ProductBlock(pax8_sku="A", halo_item=2),
        ProductBlock(pax8_product="p-1", halo_item=3),
    )
    assert client.rules.origins["product.Z"] == "rules/clients/x.toml"
    assert client.rules.origins["product.A"] == "rules/defaults.toml"


def test_parts_with_unit_prices_and_one_rest(rules: Path) -> None:
    parts = "[{ halo_item = 1, unit_price = 2.50 }, { halo_item = 2, rest = true }]"
    (block,) = load(rules, {"defaults.toml": f'[[product]]\npax8_sku = "B"\nparts = {parts}\n'}).base.product_blocks
    assert block.parts == (Part(halo_item=1, unit_price=Decimal("2.50")), Part(halo_item=2, rest=True))


@pytest.mark.parametrize(
    "name", [".hidden.toml", "_off.toml", "x.toml~", "x.toml.bak", ".x.toml.swp", "x.toml.example"]
)
def test_what_editors_leave_behind_is_not_read(rules: Path, name: str) -> None:
    write(rules, {f"clients/{name}": "not toml at all", name: "neither"})
    assert load_rulebook_with_warnings(rules) == (load_rulebook(rules), ())


def test_other_files_among_the_clients_are_named(rules: Path) -> None:
    write(rules, {"clients/notes.txt": "", "clients/contoso.tml": "", "README.md": "", "clients/y.toml": CONTOSO})
    rulebook, warnings = load_rulebook_with_warnings(rules)
    assert len(rulebook.clients) == 1
    assert [warning.partition(":")[0] for warning in warnings] == [
        "rules/clients/contoso.tml",
        "rules/clients/notes.txt",
    ]
    assert "ends in .toml" in warnings[0]


def test_an_empty_file_is_named(rules: Path) -> None:
    write(rules, {"defaults.toml": ""})
    assert load_rulebook_with_warnings(rules)[1] == (
        "rules/defaults.toml: is empty, as a file that was not saved completely is",
    )


def test_an_unknown_type_to_exclude_is_named_but_taken(rules: Path) -> None:
    write(rules, {"defaults.toml": '[exclude]\ntypes = ["Rebates", " service-credit"]\n'})
    rulebook, (warning,) = load_rulebook_with_warnings(rules)
    assert rulebook.base.exclude.types == ("rebates", "service-credit")
    assert (
        warning
        == 'rules/defaults.toml: exclude.types: "rebates" is not a type that Pax8 documents; did you mean "rebate"?'
    )


def test_every_field_may_stand_in_a_text(rules: Path) -> None:
    text = " ".join(f"{{{field}}}" for field in LINE_FIELDS) + " {{brace}}"
    assert load(rules, {"defaults.toml": f'[lines]\ntext = "{text}"'}).base.lines.text == text


# Mistakes in one key: what stands in defaults.toml, and what the message must say

IN_DEFAULTS = {
    # unknown names
    '[modifiers]\nazur = "drop"': ("2: modifiers.azur:", "did you mean azure?"),
    '[invoice]\nazure = "drop"': ("2: invoice.azure:", "move it to [modifiers]"),
    '# x\nazure = "drop"': ("2: azure:", "move it to [modifiers]"),
    '[invoice]\nazurre = "drop"': ("2: invoice.azurre:", "did you mean azure in [modifiers]?"),
    "[invoice]\nqqqqqq = 1": ("2: invoice.qqqqqq:", "behavior, group_by, when_latest_closed"),
    "[modifers]\nazure = 1": ("1: modifers:", "did you mean [modifiers]?"),
    "[products_]\nx = 1": ("1: products_:", "did you mean [products]?"),
    "[zzzzzz]\nx = 1": ("1: zzzzzz:", "invoice, modifiers, clients"),
    "zzzzzz = 1": ("1: zzzzzz:", "unknown key"),
    '"a\\nb" = 1': ("a\\nb:", "unknown key"),
    '[product]\npax8_sku = "A"\nhalo_item = 1': ("1: product:", "[[product]] with double brackets"),
    '[[products]]\npax8_sku = "A"': ("1: products:", "[products] with single brackets"),
    "[[prodict]]\nx = 1": ("1: prodict:", "unknown"),
    "invoice = 3": ("1: invoice:", "[invoice] on a line"),
    # places
    "[client]\nname = 'x'": ("1: client:", "only in a client's file"),
    "[invoice]\nrecurring_invoice = 3": ("2: invoice.recurring_invoice:", "rules/clients/"),
    # BillingBot's booleans
    "[modifiers]\ndrop_azure_lines = true": ("2: modifiers.drop_azure_lines:", 'write azure = "drop"'),
    "[modifiers]\ncollapse_azure_lines = true": ("2: modifiers.collapse_azure_lines:", 'write azure = "collapse"'),
    "[modifiers]\ndrop_azure_lines = false": ("2: modifiers.drop_azure_lines:", 'azure = "keep"'),
    "collapse_azure_lines = true": ("1: collapse_azure_lines:", 'write azure = "collapse"'),
    "[modifiers]\ndrop_azure = true": ("2: modifiers.drop_azure:", 'write azure = "drop"'),
    "[modifiers]\ndrop_favorable_prorata = true": (":2:", 'write favorable_prorata = "drop"'),
    "[modifiers]\ndrop_favorable_prorates = false": (":2:", 'write favorable_prorata = "keep"'),
    "[modifiers]\ndrop_zero_lines = true": ("2: modifiers.drop_zero_lines:", 'write zero_lines = "drop"'),
    # words
    '[modifiers]\nazure = "dorp"': ("2: modifiers.azure:", '"keep", "drop" or "collapse"', 'did you mean "drop"?'),
    '[modifiers]\nazure = "Drop"': ("2: modifiers.azure:", 'did you mean "drop"?'),
    "[modifiers]\nazure = true": ("2: modifiers.azure: true", 'write "keep", "drop" or "collapse"'),
    '[invoice]\nbehavior = "newest"': ("2: invoice.behavior:", 'did you mean "new"?'),
    "[invoice]\ngroup_by = 2026-01-01": ("the date 2026-01-01", '"purchase_order"'),
    "[invoice]\ngroup_by = 07:30:00": ("the time 07:30:00", "invoice.group_by"),
    "[invoice]\ngroup_by = 2026-01-01T00:00:00Z": ("the datetime 2026-01-01", "invoice.group_by"),
    "[invoice]\nbehavior.x = 1": ("invoice.behavior: a table",),
    '[approval]\nauto_post = "always"': ("2: approval.auto_post:", '"never" or "within_limits"'),
    # numbers
    '[limits]\nchange_percent_max = "50"': ("2: limits.change_percent_max:", "without quotes: 50"),
    '[limits]\nchange_percent_max = "50 %"': ("without quotes: 50",),
    "[limits]\nchange_percent_max = true": ("limits.change_percent_max: true is not allowed",),
    "[limits]\nchange_percent_max = -1": ("-1 is out of range", "from 0"),
    "[limits]\nmissing_company_percent_max = 101": ("101 is out of range", "from 0 to 100"),
    "[limits]\nmargin_percent_min = 100.01": ("100.01 is out of range", "from -100 to 100"),
    "[limits]\nchange_amount_min = inf": ("limits.change_amount_min: Infinity",),
    "[limits]\nchange_amount_min = nan": ("limits.change_amount_min: NaN",),
    "[limits]\nchange_amount_min = 1e400": ("limits.change_amount_min:",),
    "[limits]\nchange_amount_min = 1e99999999999999999999": ("limits.change_amount_min: NaN",),
    "[limits]\nclient_amount_max = 1e12": ("limits.client_amount_max:", "999999999999"),
    f"[limits]\nclient_amount_max = {'9' * 60}": ("limits.client_amount_max: a number of more than 40 digits",),
    f"[limits]\nclient_amount_max = 0.{'1' * 60}": ("limits.client_amount_max:",),
    "[clients]\nmatch_percent = 0.9": ("2: clients.match_percent: 0.9", "from 50 to 100"),
    "[clients]\nmatch_percent = 101": ("2: clients.match_percent: 101", "from 50 to 100"),
    "[products]\ndefault_item = true": ("2: products.default_item: true", "whole number"),
    "[products]\ndefault_item = 17.0": ("2: products.default_item: 17.0", "whole number"),
    '[products]\ndefault_item = "17"': ("2: products.default_item:", "without quotes: 17"),
    "[products]\ndefault_item = 0": ("2: products.default_item: 0",),
    "[products]\ndefault_item = -4": ("2: products.default_item: -4",),
    "[products]\ndefault_item = 99999999999": ("2: products.default_item: 99999999999",),
    # texts and lists
    '[products]\nitem_group = " "': ("2: products.item_group:", "is empty"),
    "[products]\nitem_group = 7": ("2: products.item_group:", 'in quotes, e.g. "7"'),
    '[products]\nitem_group = "a\\u001bb"': ("2: products.item_group:", "control characters"),
    f'[products]\nitem_group = "{"x" * 1001}"': ("2: products.item_group: too long",),
    "[products]\ntax_code = 1.5": ("2: products.tax_code:", "in quotes"),
    "[products]\ntax_code = true": ("2: products.tax_code: true", "in quotes"),
    "[products]\ntax_code = -3": ("2: products.tax_code: -3",),
    '[exclude]\ncompanies = "Contoso"': ("2: exclude.companies:", 'write ["Contoso"]'),
    '[modifiers]\nazure_sku_prefixes = ["MST", ""]': ("2: modifiers.azure_sku_prefixes: entry 2:", "is empty"),
    '[modifiers]\nazure_patterns = [" ", 3]': ("azure_patterns: entry 1:", "is empty", "entry 2: 3 is not text"),
    "[exclude]\nbilled_by_pax8 = 1": ("2: exclude.billed_by_pax8: 1", "true or false"),
    '[exclude]\nbilled_by_pax8 = "true"': ('"true" is not allowed', "without quotes"),
    # templates
    '[lines]\ntext = "{produkt}"': ("2: lines.text:", "{produkt}", "did you mean {product}?"),
    '[lines]\ntext = "{qqqqqq}"': ("{qqqqqq}", "write one of {product}, {start}"),
    '[lines]\ntext = "{product.__class__}"': ("{product.__class__} is not a field", "{product}"),
    '[lines]\ntext = "{sku[0]}"': ("{sku[0]} is not a field", "{sku}"),
    '[lines]\ntext = "{0}"': ("{0} is not a field",),
    '[lines]\ntext = "{}"': ("{} is not a field",),
    '[lines]\ntext = "{product!r}"': ("{product}", "write the name alone"),
    '[lines]\ntext = "{product:>99999999}"': ("{product}", "write the name alone"),
    '[lines]\ntext = "{product:{sku}}"': ("{product}", "write the name alone"),
    '[lines]\ntext = "{product"': ("2: lines.text:", "{{ or }}"),
    '[lines]\ntext = "product}"': ("2: lines.text:", "{{ or }}"),
    '[lines]\ntext = "{strat} {nd}"': ("did you mean {start}?", "did you mean {end}?"),
    '[lines]\ntext = ""': ("2: lines.text:", "is empty"),
    # products
    "[[product]]\nhalo_item = 1": ("1: product 1:", "neither pax8_sku nor pax8_product"),
    '[[product]]\npax8_sku = "A"\npax8_product = "B"\nhalo_item = 1': (
        "3: product 1 (A):",
        "both pax8_sku and pax8_product",
    ),
    '[[product]]\npax8_sku = "A"': ("1: product 1 (A):", "neither halo_item nor parts"),
    '[[product]]\npax8_sku = "A"\nhalo_item = 1\nparts = [{halo_item = 1, share = 100}]': (
        "4: product 1 (A):",
        "both halo_item and parts",
    ),
    '[[product]]\npax8_sku = "A"\nhalo_itm = 1\nhalo_item = 1': (
        "3: product 1 (A).halo_itm:",
        "did you mean halo_item?",
    ),
    '[[product]]\npax8_sku = 7\nhalo_item = 1': ("2: product 1.pax8_sku:", 'in quotes, e.g. "7"'),
    '[[product]]\npax8_sku = "A"\nhalo_item = "1"': ("3: product 1 (A).halo_item:", "without quotes: 1"),
    '[[product]]\npax8_sku = "A"\nhalo_item = 1\n[[product]]\npax8_sku = "A"\nhalo_item = 2': (
        "4: product 2:",
        'a [[product]] block for "A" already',
    ),
    '[[product]]\npax8_sku = "A"\nhalo_item = 1\n[[product]]\npax8_sku = "a"\nhalo_item = 2': (
        "4: product 2:",
        'a [[product]] block for "A" already',
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", IN_DEFAULTS)
def test_a_mistake_in_the_defaults(rules: Path, text: str) -> None:
    said = only_problem(rules, {"defaults.toml": text})
    assert said.startswith("rules/defaults.toml:")
    for expected in IN_DEFAULTS[text]:
        assert expected in said, said


PARTS = {
    "[{halo_item = 1, share = 60}, {halo_item = 2, share = 39.99}]": "the shares add up to 99.99; make them add",
    "[{halo_item = 1, share = 60}, {halo_item = 2, share = 60}]": "the shares add up to 120",
    "[{halo_item = 1, share = 60}, {halo_item = 2, rest = true}]": "mixes shares with unit_price or rest",
    "[{halo_item = 1, share = 60}, {halo_item = 2, unit_price = 1}]": "mixes shares with unit_price or rest",
    "[{halo_item = 1, unit_price = 1}, {halo_item = 2, unit_price = 2}]": "no part has rest = true",
    "[{halo_item = 1, rest = true}, {halo_item = 2, rest = true}]": "2 parts have rest = true",
    "[{halo_item = 1, rest = true}]": "write halo_item instead of parts",
    "[{halo_item = 1, share = 50, unit_price = 2}, {halo_item = 2, share = 50}]": "part 1 has more than one of share",
    "[{halo_item = 1, share = 100}, {halo_item = 2}]": "part 2 has none of share",
    "[{halo_item = 1, share = 100}, {halo_item = 2, rest = false}]": "part 2 has none of share",
    "[{share = 100}]": "parts[1]: has no halo_item",
    "[{halo_item = 1, share = 0}, {halo_item = 2, share = 100}]": "parts[1].share: 0 is out of range; write a number",
    "[{halo_item = 1, share = 100, rset = true}]": "parts[1].rset: unknown key; did you mean rest?",
    "[{halo_item = 1, unit_price = -1}, {halo_item = 2, rest = true}]": "parts[1].unit_price: -1 is out of range",
    "[{halo_item = 1, unit_price = 1}, {halo_item = 2, rest = 1}]": "parts[2].rest: 1 is not allowed; write true",
    "[]": "needs a list of tables, such as [{ halo_item = 11, share = 60 }",
    "[1]": "needs a list of tables, such as [{ halo_item = 11, share = 60 }",
    "{halo_item = 1}": "needs a list of tables, such as [{ halo_item = 11, share = 60 }",
}


@pytest.mark.parametrize("parts", PARTS)
def test_parts_that_do_not_add_up(rules: Path, parts: str) -> None:
    said = only_problem(rules, {"defaults.toml": f'\n[[product]]\npax8_sku = "B-1"\nparts = {parts}\n'})
    assert said.startswith("rules/defaults.toml:4: product 1 (B-1).parts") and PARTS[parts] in said, said


# Mistakes of whole files

UNREADABLE: dict[bytes, tuple[str, ...]] = {
    b'[modifiers]\nazure = "dr': (":2:", "Unterminated string", "put texts in quotes|was the file saved completely"),
    b'[modifiers]\nazure_patterns = ["a",\n': (":2:", "was the file saved completely?"),
    b"[modifiers": (":1:", "was the file saved completely?"),
    b"[modifiers]\nazure = drop\n": (":2:", 'put texts in quotes, e.g. azure = "drop"'),
    b"[modifiers]\nazure =\n": (":2:", "write the value after the equals sign"),
    b"[modifiers]\nazure: drop\n": (":2:", "with an equals sign"),
    b"[exclude]\nbilled_by_pax8 = True\n": (":2:", "true or false in small letters"),
    b"[limits]\nchange_amount_min = 12,50\n": (":2:", "decimal point"),
    b"[limits]\nchange_percent_max = 50 %\n": (":2:", "without the percent sign"),
    "[modifiers]\nazure = “drop”\n".encode(): (":2:", "straight quotes"),
    b"[modifiers]\nazure = 'drop'\nazure = 'keep'\n": (":3: modifiers.azure:", "twice, first on line 2"),
    b"[modifiers]\nazure = 'drop'\n[modifiers]\n": (":3: modifiers:", "twice, first on line 1"),
    b"[modifiers]\nazure = 'drop'\n[limits]\n[modifiers]\nx = 'keep'": (":4: modifiers:", "twice, first on line 1"),
    b"[[product]]\nhalo_item = 1\nhalo_item = 2\n": (":3: product.1.halo_item:", "twice"),
    b"\xef\xbb\xbf[modifiers]\nazure = 'drop'\n": (":1:", "byte order mark"),
    b"\xff\xfe[\x00": (":1:", "UTF-16", "save it as UTF-8"),
    b"# caf\xe9\n": (":1:", "0xe9", "Latin-1", "save the file as UTF-8"),
    b"\n\n# \xc3": (":3:", "is not UTF-8"),
    b"\x00" * 64: (":1:", "not readable as TOML"),
    b"[modifiers]\nazure = 'a\x1b[31m'\n": (":2:", "not readable as TOML"),
    b"x = " + b"[" * 100_000: ("nested too deeply",),
    b"x = " + b"9" * 5000: ("thousands of digits",),
    b"#" * 2_000_001: ("too large",),
}


@pytest.mark.parametrize("raw", UNREADABLE, ids=lambda raw: repr(raw[:30]))
def test_an_unreadable_file(rules: Path, raw: bytes) -> None:
    said = only_problem(rules, {"defaults.toml": raw})
    assert said.startswith("rules/defaults.toml:") and said.isprintable()
    for expected in UNREADABLE[raw]:
        assert re.search("|".join(map(re.escape, expected.split("|"))), said), said


def test_each_repeated_key_is_named(rules: Path) -> None:
    text = "[modifiers]\nazure = 'drop'\nazure = 'keep'\nzero_lines = 'keep'\nzero_lines = 'keep'\n"
    assert len(problems(rules, {"defaults.toml": text})) == 2


def test_a_byte_order_mark_does_not_hide_the_rest(rules: Path) -> None:
    found = problems(rules, {"defaults.toml": "\ufeff[modifiers]\nazure = 1\n"})
    assert "byte order mark" in found[0] and "modifiers.azure" in found[1]


@pytest.mark.parametrize("kind", ["directory", "pipe", "dangling link"])
def test_what_is_no_file(rules: Path, kind: str) -> None:
    path = rules / "defaults.toml"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    assert only_problem(rules, {}).startswith("rules/defaults.toml: is not a regular file")


def test_a_link_to_a_file_is_fine(rules: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("[modifiers]\nazure = 'drop'")
    (rules / "defaults.toml").symlink_to(tmp_path / "elsewhere")
    assert load_rulebook(rules).base.modifiers.azure == "drop"


def test_a_file_that_may_not_be_read(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "cannot be read: Permission denied" in only_problem(rules, {"defaults.toml": ""})


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("default.toml", "rename it to defaults.toml"),
        ("Defaults.TOML", "rename it to defaults.toml"),
        ("contoso.toml", "stand in clients/"),
        ("pax8.toml", "rename it to integrations/pax8.toml"),
        ("integrations/pax-8.toml", "rename it to integrations/pax8.toml"),
        ("client/contoso.toml", "stand in clients/"),
        ("clients/emea/contoso.toml", "move it to rules/clients/"),
    ],
)
def test_a_rules_file_that_no_layer_reads(rules: Path, name: str, advice: str) -> None:
    said = only_problem(rules, {name: CONTOSO})
    assert said.startswith(f"rules/{name}: no layer reads this file;") and advice in said


def test_clients_that_is_no_directory(rules: Path) -> None:
    assert only_problem(rules, {"clients": ""}).startswith("rules/clients: cannot be read:")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("")])
def test_no_rules_directory(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "rules")
    with pytest.raises(RulesError) as wrong:
        load_rulebook(tmp_path / "rules")
    assert str(tmp_path / "rules") in wrong.value.message
    assert wrong.value.next_steps == (("billingsync", "init"),) and wrong.value.exit_code == 2


# Mistakes in a client's file and between files

IN_A_CLIENT = {
    "": (": client:", "[client] is missing", "pax8_company, name or halo_client"),
    "[client]\n": (":1: client:", "does not name its client"),
    "[client]\nexclude = true\n": (":1: client:", "does not name its client"),
    '[client]\nname = "x"\nhalo_clint = 4\n': (":3: client.halo_clint:", "did you mean halo_client?"),
    "[client]\nhalo_client = 2.0\n": (":2: client.halo_client:", "whole number"),
    '[client]\nname = ""\n': (":2: client.name:", "is empty"),
    '[client]\nname = "x"\nexclude = "yes"\n': (":3: client.exclude:", "true or false"),
    '[client]\nname = "x"\nbehavior = "new"\n': (":3: client.behavior:", "move it to [invoice]"),
    "client = 3": (":1: client:", "[client] on a line"),
    CONTOSO + "[clients]\nmatch_percent = 95\n": (":3: clients:", "only in defaults.toml or integrations/pax8.toml"),
    CONTOSO + "[clients]\nhalo_client = 95\n": (":3: clients:", "did you mean [client]?"),
    CONTOSO + "[invoice]\nrecurring_invoice = 0\n": (":4: invoice.recurring_invoice: 0",),
    CONTOSO + '[invoice]\nrecurring_invoice = "-5"\n': ("invoice.recurring_invoice:", "without quotes: -5"),
    CONTOSO + '[products]\nlifecycle = "default_item"\n': (":4: products.lifecycle:", "write default_item = ID"),
}


@pytest.mark.parametrize("text", IN_A_CLIENT)
def test_a_mistake_in_a_clients_file(rules: Path, text: str) -> None:
    said = only_problem(rules, {"clients/c.toml": text})
    assert said.startswith("rules/clients/c.toml")
    for expected in IN_A_CLIENT[text]:
        assert expected in said, said


def test_recurring_without_a_recurring_invoice_is_a_warning(rules: Path) -> None:
    """The client waits until one is chosen; the others are billed."""
    write(rules, {"clients/c.toml": CONTOSO + '[invoice]\nbehavior = "recurring"\n'})
    book, warnings = load_rulebook_with_warnings(rules)
    assert book.clients[0].rules.invoice.recurring_invoice is None
    assert len(warnings) == 1 and warnings[0].startswith("rules/clients/c.toml:4: invoice.behavior:")
    assert "write recurring_invoice = ID" in warnings[0]


def test_default_item_is_missing(rules: Path) -> None:
    said = only_problem(
        rules,
        {"defaults.toml": '[products]\nlifecycle = "default_item"\n', "clients/c.toml": CONTOSO},
    )
    assert said.startswith("rules/defaults.toml:2: products.lifecycle:") and "default_item = ID" in said


@pytest.mark.parametrize("where", ["integrations/pax8.toml", "defaults.toml"])
def test_default_item_may_stand_in_another_layer(rules: Path, where: str) -> None:
    files: Files = {"clients/c.toml": CONTOSO + '[products]\nlifecycle = "default_item"\n'}
    (file,) = load(rules, files | {where: "[products]\ndefault_item = 17\n"}).clients
    assert file.rules.products.default_item == 17


def test_a_broken_layer_is_one_mistake_not_two(rules: Path) -> None:
    """What seems to be missing may stand in the file that cannot be read."""
    client = (
        CONTOSO + '[products]\nlifecycle = "default_item"\n[invoice]\nbehavior = "recurring"\nrecurring_invoice = 1.0\n'
    )
    found = problems(rules, {"defaults.toml": "[products]\ndefault_item = ", "clients/c.toml": client})
    assert [problem.split(": ")[0] for problem in found] == ["rules/defaults.toml:2", "rules/clients/c.toml:7"]
    found = problems(rules, {"defaults.toml": '[products]\ndefault_item = "17"', "clients/c.toml": client})
    assert [problem.split(": ")[1] for problem in found] == ["products.default_item", "invoice.recurring_invoice"]


@pytest.mark.parametrize(
    ("shared", "own", "place"),
    [
        ('[approval]\nauto_post = "within_limits"\n[products]\nlifecycle = "manual"\n', "", "rules/defaults.toml:2:"),
        ('[approval]\nauto_post = "within_limits"\n', '[products]\nlifecycle = "manual"\n', "rules/clients/c.toml:4:"),
        ('[products]\nlifecycle = "manual"\n', '[approval]\nauto_post = "within_limits"\n', "rules/clients/c.toml:4:"),
    ],
)
def test_manual_products_are_never_posted_automatically(rules: Path, shared: str, own: str, place: str) -> None:
    said = only_problem(rules, {"defaults.toml": shared, "clients/c.toml": CONTOSO + own})
    assert said.startswith(place) and 'write auto_post = "never"' in said
    assert "rules/defaults.toml" in said


def test_a_client_may_undo_the_contradiction_of_no_one(rules: Path) -> None:
    load(
        rules,
        {
            "defaults.toml": '[approval]\nauto_post = "within_limits"\n',
            "clients/c.toml": CONTOSO + '[products]\nlifecycle = "manual"\n[approval]\nauto_post = "never"\n',
        },
    )


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("pax8_company", '"AB-1"', '"ab-1"'),
        ("name", '"Contoso Ltd"', '"contoso  ltd"'),
        ("halo_client", "214", "214"),
    ],
)
def test_two_files_for_one_client(rules: Path, key: str, one: str, other: str) -> None:
    said = only_problem(
        rules, {"clients/a.toml": f"[client]\n{key} = {one}\n", "clients/b.toml": f"[client]\n\n{key} = {other}\n"}
    )
    assert said.startswith(f"rules/clients/b.toml:3: client.{key}: rules/clients/a.toml has the same {key}")


def test_two_clients_on_one_recurring_invoice(rules: Path) -> None:
    said = only_problem(
        rules,
        {
            "clients/a.toml": "[client]\nhalo_client = 1\n[invoice]\nrecurring_invoice = 88\n",
            "clients/b.toml": "[client]\nhalo_client = 2\n[invoice]\nrecurring_invoice = -88\n",
        },
    )
    assert said.startswith("rules/clients/b.toml:4: invoice.recurring_invoice:") and "rules/clients/a.toml" in said


def test_a_product_spelt_otherwise_than_below(rules: Path) -> None:
    said = only_problem(
        rules,
        {
            "defaults.toml": '[[product]]\npax8_sku = "MST-1"\nhalo_item = 1\n',
            "clients/c.toml": CONTOSO + '[[product]]\npax8_sku = "mst-1"\nhalo_item = 2\n',
        },
    )
    assert said.startswith("rules/clients/c.toml:3:") and '"MST-1" in rules/defaults.toml' in said


def test_all_mistakes_of_all_files_at_once_in_order(rules: Path) -> None:
    found = problems(
        rules,
        {
            "default.toml": "",
            "defaults.toml": '[limits]\nnew_client = "no"\n[modifiers]\nazure = 1\nazur = 2\n',
            "integrations/pax8.toml": "[exclude]\ntypes = 3\n",
            "clients/a.toml": "[client\n",
            "clients/b.toml": "[client]\nnmae = 'x'\n[[product]]\npax8_sku = 'A'\nparts = [{halo_item = '1'}]",
            "clients/c.toml": b"\xff",
        },
    )
    assert [problem.split(": ")[0] for problem in found] == [
        "rules/default.toml",
        "rules/defaults.toml:2",
        "rules/defaults.toml:4",
        "rules/defaults.toml:5",
        "rules/integrations/pax8.toml:2",
        "rules/clients/a.toml:1",
        "rules/clients/b.toml:1",
        "rules/clients/b.toml:2",
        "rules/clients/b.toml:5",
        "rules/clients/c.toml:1",
    ]


@given(raw=st.binary(max_size=200))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_rules_or_sentences(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "defaults.toml").write_bytes(raw)
    assert all(problem.isprintable() for problem in sentences(tmp_path))


_VALUES = st.recursive(
    st.sampled_from(['"x"', "1", "-1.5", "true", "nan", "2026-01-01", '""', "[]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | inner.map(lambda part: f"{{ halo_item = {part} }}")
    ),
    max_leaves=4,
)
_KEYS = st.sampled_from([key.name for key in KEYS] + [*ProductKeys.model_fields, *PartKeys.model_fields, "x"])
_HEADERS = st.sampled_from([f"[{name}]" for name in (*SECTIONS, "client")] + ["[[product]]", "[x]", ""])


@given(lines=st.lists(st.one_of(_HEADERS, st.tuples(_KEYS, _VALUES).map(" = ".join)), max_size=6))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_toml_gives_rules_or_sentences(tmp_path: Path, lines: list[str]) -> None:
    text = "\n".join(lines)
    (tmp_path / "clients").mkdir(exist_ok=True)
    for name in ("defaults.toml", "clients/a.toml"):
        (tmp_path / name).write_text(text)
    assert all(problem.isprintable() for problem in sentences(tmp_path))


# Digest


def digest(directory: Path, files: Files) -> str:
    for path in sorted(directory.rglob("*.toml")):
        path.unlink()
    return load(directory, files).digest


def test_the_digest_sees_what_the_rules_do_and_nothing_else(rules: Path) -> None:
    block = '[[product]]\npax8_sku = "A"\nhalo_item = 1\n'
    other = '[[product]]\npax8_sku = "B"\nhalo_item = 2\n'
    first = digest(
        rules,
        {
            "defaults.toml": "[limits]\nchange_percent_max = 40\nclient_amount_max = 10.50\n" + block + other,
            "clients/a.toml": CONTOSO + '[exclude]\nproducts = ["X", "Y"]\n',
            "clients/b.toml": "[client]\nhalo_client = 7\n",
        },
    )
    same = digest(
        rules,
        {
            "defaults.toml": other + "# a comment\n" + block + '[modifiers]\nazure = "keep" # the default\n',
            "integrations/pax8.toml": "[limits]\nclient_amount_max = 10.5\nchange_percent_max = 40.00\n",
            "clients/z.toml": '[exclude]\nproducts = ["Y", "X"]\n' + CONTOSO,
            "clients/1.toml": "[client]\nhalo_client = 7\n",
        },
    )
    assert first == same and re.fullmatch("[0-9a-f]{64}", first)


@pytest.mark.parametrize(
    "files",
    [
        {"defaults.toml": "[limits]\nchange_percent_max = 50.1\n"},
        {"defaults.toml": "[exclude]\nbilled_by_pax8 = false\n"},
        {"defaults.toml": '[[product]]\npax8_sku = "A"\nhalo_item = 1\n'},
        {"defaults.toml": '[[product]]\npax8_product = "A"\nhalo_item = 1\n'},
        {"clients/a.toml": "[client]\nhalo_client = 7\n"},
        {"clients/a.toml": "[client]\nhalo_client = 7\nexclude = true\n"},
        {"clients/a.toml": '[client]\nhalo_client = 7\n[modifiers]\nazure = "drop"\n'},
    ],
)
def test_the_digest_changes_with_the_rules(rules: Path, files: Files) -> None:
    assert digest(rules, files) != rulebook_digest(Rulebook())


def test_every_field_of_the_rules_counts_in_the_digest(rules: Path) -> None:
    """A field that somebody adds later must not be forgotten."""
    texts = json.dumps(sorted(part.name for section in SECTIONS for part in fields(getattr(Rules(), section))))
    assert json.loads(texts) == sorted(key.name for key in KEYS)


# Asking the rules


@pytest.fixture
def book(rules: Path) -> Rulebook:
    return load(
        rules,
        {
            "defaults.toml": '[modifiers]\nazure = "drop"\n[[product]]\npax8_sku = "A"\nhalo_item = 1\n',
            "clients/contoso.toml": CONTOSO + 'halo_client = 214\n[limits]\nnew_client = "hold"\n',
            "clients/contoso-eu.toml": '[client]\npax8_company = "0f3c-99"\nname = "Contoso Europe"\n',
            "clients/fabrikam.toml": "[client]\nhalo_client = 2140\n",
        },
    )


def test_effective_has_every_key_with_its_origin(book: Rulebook) -> None:
    base = {dotted: (value, origin) for dotted, value, origin in effective(book, None)}
    assert list(base) == [key.dotted for key in KEYS] + ["product.A"]
    assert base["modifiers.azure"] == ("drop", "rules/defaults.toml")
    assert base["modifiers.zero_lines"] == ("keep", "default")
    assert base["products.default_item"] == (None, "default")
    assert base["product.A"] == (ProductBlock(pax8_sku="A", halo_item=1), "rules/defaults.toml")
    found = find_client_file(book, "contoso").file
    own = {dotted: (value, origin) for dotted, value, origin in effective(book, found)}
    assert own["client.name"] == ("Contoso Ltd", "rules/clients/contoso.toml")
    assert own["limits.new_client"] == ("hold", "rules/clients/contoso.toml")
    assert own["modifiers.azure"] == ("drop", "rules/defaults.toml")
    assert "client.exclude" not in own and "client.pax8_company" not in own


def test_values_as_toml() -> None:
    parts = (Part(halo_item=1, unit_price=Decimal("2.50")), Part(halo_item=2, rest=True))
    cases: list[tuple[object, str]] = [
        (None, ""),
        ("a\u202e\n", '"a\\u202e\\n"'),
        (True, "true"),
        (-88, "-88"),
        (Decimal("100.00"), "100"),
        (("a", "b"), '["a", "b"]'),
        (ProductBlock(pax8_sku="A", halo_item=1), "halo_item = 1"),
        (
            ProductBlock(pax8_sku="A", parts=parts),
            "parts = [{ halo_item = 1, unit_price = 2.5 }, { halo_item = 2, rest = true }]",
        ),
        (Part(halo_item=1, share=Decimal("33.30")), "{ halo_item = 1, share = 33.3 }"),
    ]
    for value, text in cases:
        assert as_toml(value) == text


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("contoso", "contoso"),
        ("CONTOSO ltd", "contoso"),
        ("214", "contoso"),
        ("Contoso E", "contoso-eu"),
        ("0F3C-99", "contoso-eu"),
        ("fab", "fabrikam"),
        ("rules/clients/fabrikam.toml", "fabrikam"),
    ],
)
def test_finding_a_clients_file(book: Rulebook, text: str, stem: str) -> None:
    found = find_client_file(book, text).file
    assert found and Path(found.path).stem == stem


def test_finding_several_or_none(book: Rulebook) -> None:
    several = find_client_file(book, "cont")
    assert several.file is None and {Path(file.path).stem for file in several.candidates} == {"contoso", "contoso-eu"}
    none = find_client_file(book, "fabrikan")
    assert none.file is None and none.candidates == () and none.suggestions == ("fabrikam",)
    assert find_client_file(book, "21").file is None, "an id is not found by its beginning"
    for text in ("", "  ", "zzz", "!!!"):
        found = find_client_file(book, text)
        assert (found.file, found.candidates, found.suggestions) == (None, (), ())


# The schema for editors


def properties(schema: Any, *names: str) -> Any:
    """The keys of a table within the schema."""
    for name in names:
        at = properties(schema)[name]
        schema = {"$defs": schema["$defs"], **schema["$defs"][at.get("items", at)["$ref"].rpartition("/")[2]]}
    return schema["properties"]


def test_the_schema_comes_from_the_same_keys() -> None:
    schema: dict[str, Any] = json.loads(json.dumps(rules_schema()))
    assert schema["$schema"].endswith("2020-12/schema") and schema["additionalProperties"] is False
    assert set(schema["properties"]) == {*SECTIONS, "client", "product"}
    for key in KEYS:
        entry = properties(schema, key.section)[key.name]
        assert key.says in entry["description"]
        if key.default is None:
            assert "default" not in entry
        else:
            wanted = list(key.default) if isinstance(key.default, tuple) else key.default
            assert entry["default"] == (float(wanted) if isinstance(wanted, Decimal) else wanted)
    invoice = properties(schema, "invoice")
    assert "Only in a client's file." in invoice["recurring_invoice"]["description"]
    assert invoice["behavior"]["enum"] == ["new", "latest", "recurring"]
    assert properties(schema, "limits")["margin_percent_min"] == {
        "type": "number",
        "minimum": -100,
        "maximum": 100,
        "description": "Hold a client with a line or a whole of less margin than this.",
    }
    assert properties(schema, "product", "parts")["share"]["exclusiveMinimum"] == 0


def test_the_schemas_patterns_agree_with_the_reader(rules: Path) -> None:
    pattern = re.compile(properties(rules_schema(), "lines")["text"]["pattern"])
    for text in ("{product} ({start} to {end})", "plain", "{{x}}", "a {{{sku}}}"):
        assert pattern.search(text)
        assert load(rules, {"defaults.toml": f'[lines]\ntext = "{text}"'}).base.lines.text == text
    for text in ("{x}", "{product.a}", "{product!r}", "{", "}", "{product:>9}", "{}"):
        assert not pattern.search(text)
        assert len(problems(rules, {"defaults.toml": f'[lines]\ntext = "{text}"'})) == 1


# Words


def test_messages_are_inert() -> None:
    assert printable("a\x1b[31m\n\u202e\x85b\u2028") == "a\\x1b[31m\\n\\u202e\\x85b\\u2028"
    assert shown("x" * 100) == '"' + "x" * 59 + '…"'
    assert shown({"a": 1}) == "a table" and shown([1]) == "a list" and shown(False) == "false"


def test_lines_are_found_without_ever_failing(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("'a'.b = 1\n[[product]]\n[product.x]\ny = 2\n[[product]]\n\"pax8_sku\" = '''\nz = 1\n'''\nq = 1\n")
    lines = read_rules_file(path).lines
    assert lines["a", "b"] == 1 and lines["product", 0, "x", "y"] == 4
    assert lines["product", 1, "pax8_sku"] == 6 and lines["product", 1, "q"] == 9
    assert ("product", 1, "z") not in lines
