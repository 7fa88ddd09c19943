"""The two seams: HaloPSA's JSON is read and written in `psa/halo/` only, and charges know their source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

import billingsync
from billingsync.core import states
from billingsync.psa.halo.psa import HaloPsa
from billingsync.psa.psa import PSA
from billingsync.sandbox import halo_schema
from billingsync.sources.pax8.client import Pax8
from billingsync.sources.source import ChargeSource, charge_id

ROOT = Path(billingsync.__file__).parent
AT_HOME = ("sandbox", "psa/halo")
# Words of HaloPSA's schema that are words of ours, of Pax8's or of JSON Schema too: they name no property of HaloPSA.
LONG = 9  # letters
COMMON = frozenset(
    "array boolean client_id client_name currency description details expense_account id income_account integer lines "
    "margin name note number object period posted source status string summary tax_code total type unit_cost "
    "unit_price disabled".split()
)
# Documented values of settings (HALO__MARKER, HALO__WRITE_LINES, NOTIFY__HALO_TICKET), and a column of Pax8's portal.
SETTINGS = {
    "report/cards.py": frozenset({"contract_id"}),  # a key of our own document, named like it
    "sources/csvfile/profiles.py": frozenset({"invoice_date"}),
    "settings/groups.py": frozenset({"add_lines"}),
    "settings/values.py": frozenset({"productnumber", "details_html"}),
}


def documented() -> frozenset[str]:
    """Every property name that HaloPSA documents, as far as the sandbox knows it; short plain words, which anybody may
    use for anything, aside."""
    names = frozenset(_words(value for name, value in vars(halo_schema).items() if not name.startswith("__")))
    return frozenset(name for name in names if "_" in name or len(name) > LONG)


def _words(values: object) -> Iterator[str]:
    for value in values:  # type: ignore[attr-defined]
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from _words([*value, *value.values()])
        elif isinstance(value, (tuple, list, set, frozenset)):
            yield from _words(value)


def _sources() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(AT_HOME):
            yield name, path.read_text(encoding="utf-8")


def properties_in(text: str, names: frozenset[str]) -> set[str]:
    """The property names of HaloPSA that are string literals of this module."""
    literals = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    return {literal for literal in literals if isinstance(literal, str)} & names


def test_no_property_of_HaloPSA_is_named_outside_its_folder() -> None:
    names = documented() - COMMON
    assert {"qty_order", "nextcreationdate", "recurring_invoice_line_id", "prorata_data", "dateposted"} <= names
    found = {name: properties_in(text, names - SETTINGS.get(name, frozenset())) for name, text in _sources()}
    assert {name: words for name, words in found.items() if words} == {}


def test_a_property_of_HaloPSA_elsewhere_is_noticed() -> None:
    assert properties_in('raw.get("qty_order")', documented() - COMMON) == {"qty_order"}


@pytest.mark.parametrize("room", ["core", "run", "service", "report", "store"])
def test_only_wiring_knows_which_PSA_it_is(room: str) -> None:
    """`psa/psa.py` is what they may import; tickets are HaloPSA's by their setting's name."""
    imported = [
        f"{name}: {node.module}"
        for name, text in _sources()
        if name.startswith(f"{room}/") and not name.startswith(("service/tickets", "service/notify"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("billingsync.psa.halo")
    ]
    assert imported == []


def test_HaloPSA_is_a_PSA_and_Pax8_a_source() -> None:
    def psa(halo: HaloPsa) -> PSA:
        return halo  # what mypy proves, said here for readers

    def source(pax8: Pax8) -> ChargeSource:
        return pax8

    for whole, part in ((HaloPsa, PSA), (Pax8, ChargeSource)):
        asked = {name for name in vars(part) if not name.startswith("_")}
        assert {name for name in asked if not hasattr(whole, name)} <= {"service"}
    assert (psa, source) and Pax8.name == "pax8"


def test_charge_ids_of_other_sources_begin_with_their_name() -> None:
    assert charge_id("pax8", "inv-1:item-1") == "inv-1:item-1"
    assert charge_id("meter", "2026-11:7") == "meter/2026-11:7"


# States are types, and a ledger is a partner's ------------------------------------------------------------------------

STATES = [kind for kind in vars(states).values() if isinstance(kind, type) and issubclass(kind, StrEnum)]
STATE_TEXTS = {str(one) for kind in STATES if kind is not StrEnum for one in kind}
STATE_NAMES = ("state", "action", "fate", "outcome")
# What a page or a document shows of them is text by then.
SHOWN = ("report/", "web/", "cli/")


def bare_states(text: str) -> list[str]:
    """Comparisons of a state with a text, as `row.state == "posted"` or `row.state in ("posted", "adopted")`."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = any(isinstance(one, ast.Attribute) and one.attr in STATE_NAMES for one in sides)
            texts = [one.value for side in sides for one in ast.walk(side) if isinstance(one, ast.Constant)]
            if named and any(one in STATE_TEXTS for one in texts):
                found.append(ast.unparse(node))
    return found


def test_no_decision_compares_a_state_with_a_bare_text() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): bare_states(path.read_text(encoding="utf-8"))
        for path in sorted(ROOT.rglob("*.py"))
        if not path.relative_to(ROOT).as_posix().startswith(("sandbox/", *SHOWN))
    }
    assert {name: each for name, each in found.items() if each} == {}


def test_a_bare_state_is_noticed() -> None:
    assert bare_states('if row.state in ("posted", "adopted"): pass') and bare_states('x = up.state != "held"')
    assert not bare_states('x = row.state == PostingState.POSTED or kind == "posted"')


def test_nothing_opens_a_ledger_without_saying_whose() -> None:
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open_ledger":
                assert "partner" in [one.arg for one in node.keywords], f"{path.name}:{node.lineno}"
