"""Golden months: charges as a table, rules, and the plan as a finance person reads it, in tests/golden/plan/*.toml.

A case has one or more months; each is planned, compared, carried out and followed by the next. To write what is now
planned into the files, look at the difference, and keep it if it is right: GOLDEN_UPDATE=1 pytest this file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from halo_rows import again, invoice_of, rows_of
from test_core_notation import (
    CLIENTS,
    COMPANIES,
    carried_out,
    charges_of,
    late,
    month,
    next_month,
    rules,
    split,
)

from billingsync.core.bill.plan import ClientPlan, Plan, PlanLine
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Client, Company, Item, RunInputs
from billingsync.core.money import plain
from billingsync.core.period import Period
from billingsync.core.rules import ClientFile, LimitRules, ProductBlock, Rules

CASES = sorted((Path(__file__).parents[1] / "golden" / "plan").glob("*.toml"))
ITEMS = (Item(id=11, name="Licence"), Item(id=12, name="Support"), Item(id=17, name="Software"))
SIGN = {"add": "+", "update": "~", "remove": "-"}


# --- a case ------------------------------------------------------------------------------------------------------


def rules_of(said: dict[str, Any]) -> Rules:
    """As in `rules/*.toml`, the default limits where none are said."""
    blocks = []
    for block in said.pop("product", []):
        if "parts" in block:
            blocks.append(split(block["pax8_sku"], *block["parts"]))
        else:
            blocks.append(ProductBlock(**block))
    made = rules(*blocks, **said)
    return made if "limits" in said else replace(made, limits=LimitRules())


def begin(case: dict[str, Any]) -> RunInputs:
    """The first month of a case, still without charges."""
    files = tuple(
        ClientFile(path=f"rules/clients/{name}.toml", **{**about.pop("client"), "rules": rules_of(about)})
        for name, about in case.get("file", {}).items()
    )
    clients = [Client(**row) for row in case.get("client", [])] or CLIENTS
    return month(
        base=rules_of(case.get("rules", {})),
        files=files,
        companies=tuple(Company(id=id_, name=name) for name, id_ in COMPANIES.items()),
        clients=tuple(clients),
        items=ITEMS,
        existing=tuple(
            invoice_of({"lines": [], **raw}, id_=raw["id"], client_id=raw["client_id"], template=raw["id"] < 0)
            for raw in case.get("invoice", [])
        ),
    )


def plans(case: dict[str, Any]) -> Iterator[Plan]:
    inputs = begin(case)
    for number, said in enumerate(case["month"]):
        charges, period = charges_of(said["charges"]), Period.parse(said["period"])
        if number and period == inputs.period:
            inputs = late(inputs, *charges)  # the same month once more, with charges that came later
        elif number:
            inputs = next_month(inputs, *charges)
        else:
            inputs = late(replace(inputs, period=period), *charges)
        for edit in said.get("edit", []):
            inputs = edited(inputs, **edit)
        plan = plan_run(inputs)
        yield plan
        inputs = carried_out(inputs, plan)


def edited(inputs: RunInputs, line: int, **values: Any) -> RunInputs:
    """What a person did to a line of a recurring invoice between two months."""
    existing = []
    for invoice in inputs.existing:
        rows = [{**row, **values} if row["id"] == line else row for row in rows_of(invoice)]
        existing.append(again(invoice, lines=rows))
    return replace(inputs, existing=tuple(existing))


# --- a plan to read ----------------------------------------------------------------------------------------------


def shown(plan: Plan) -> str:
    said = [line for client in plan.clients for line in client_shown(client, plan)]
    for out in plan.unassigned_excluded:
        said.append(row("", "nobody's: " + out.product, "", out.amount, out.cost, out.rule))
    for hold in plan.unassigned_holds:
        said.append(row("!", "nobody's, held: " + hold.product, "", hold.amount, hold.cost, hold.reason))
    for account in plan.accounts:
        for name, of in (("price", account.price), ("cost", account.cost)):
            posted = f"{of.posted} posted" + (f" ({of.already_posted} before)" if of.already_posted else "")
            parts = f"{posted} + {of.dropped} dropped + {of.excluded} excluded + {of.held} held"
            said.append(f"{account.currency} {name}: {of.charges} charged = {parts}")
    said += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join(line.rstrip() for line in said) + "\n"


def client_shown(client: ClientPlan, plan: Plan) -> Iterator[str]:
    """One client as in interface.md: a sign, the text, quantity x price, amount, cost, and why."""
    targets = [p for p in plan.postings if p.client_id == client.client_id]
    where = {"create": "new invoice", "append": "invoice", "update": "recurring invoice"}
    if client.lines:
        on = "; ".join(
            f"{where[p.action]} {abs(p.invoice_id) if p.invoice_id else p.group}".strip() + f" {p.amount} {p.currency}"
            for p in targets
        )
    else:
        on = f"held: {client.held}" if client.held else "nothing to post"
    yield f"{client.company_name} -> {on}"
    for line in client.lines:
        yield line_shown(line)
    for gone in client.dropped:
        yield row("", "dropped: " + gone.product, "", gone.amount, gone.cost, gone.modifier)
    for out in client.excluded:
        yield row("", "excluded: " + out.product, "", out.amount, out.cost, out.rule)
    for hold in client.holds:
        yield row("!", "held: " + hold.product, "", hold.amount, hold.cost, hold.reason)
    yield ""


def line_shown(line: PlanLine) -> str:
    numbers = "" if line.action == "remove" else f"{plain(line.quantity)} x {plain(line.unit_price, 'USD')}"
    item = f"item {line.item.id or 'new'}" if line.item else ""
    before = f"was {line.before_amount}" if line.before_amount is not None else ""
    return row(SIGN[line.action], line.description, numbers, line.amount, line.cost, before or item)


def row(sign: str, text: str, numbers: str, amount: Decimal, cost: Decimal, why: str) -> str:
    return f"  {sign:1} {text:<56} {numbers:>16} {amount:>10} {cost:>10}  {why}"


# --- the comparison ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_golden(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    case = tomllib.loads(text, parse_float=Decimal)
    found = [shown(plan) for plan in plans(case)]
    wanted = [said["plan"] for said in case["month"]]
    if os.environ.get("GOLDEN_UPDATE"):
        head, *blocks = text.split("plan = '''\n")
        assert len(blocks) == len(found)
        for block, now in zip(blocks, found, strict=True):
            head += "plan = '''\n" + now + "'''" + block.partition("'''")[2]
        path.write_text(head, encoding="utf-8")
        return
    for number, (now, then) in enumerate(zip(found, wanted, strict=True), start=1):
        assert now == then, f"{path.name}, month {number}"


def test_there_are_golden_cases_and_each_says_which_rule_it_shows() -> None:
    assert len(CASES) >= 12
    assert all(path.read_text(encoding="utf-8").startswith("# [") for path in CASES)
