"""Every next step works [R6]: for each reason of a hold, each step that it prints is followed to the letter in the
sandbox, and the hold is gone with no other in its place. HaloPSA's tables are the judge."""

from __future__ import annotations

import copy
import re
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from months_rules import OPEN
from scene import BACKUP, M365, SETUP, Scene, all_marks, ours

from billingsync.core.reasons import Reason

Stage = Callable[..., Scene]
Deed = Callable[[Scene], None]
NOV, OCT, DEC = "2026-11", "2026-10", "2026-12"
CONTOSO = '[client]\nname = "Contoso Ltd"\nhalo_client = 214\n'
RECURRING = CONTOSO + '[invoice]\nbehavior = "recurring"\nrecurring_invoice = 201\n'
AUTOMATIC = OPEN.replace('"off"', '"automatic"')


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to get a hold of this reason for Contoso (214) in `period`, and what a person fills in and does: `fills` by
    the word that is left to people, `deeds` by a part of the instruction."""

    make: Callable[[Stage], Scene]
    fills: Mapping[str, str] = field(default_factory=dict)
    deeds: Mapping[str, Deed] = field(default_factory=dict)
    period: str = NOV
    stays: str = ""  # the reason that a step which waits leaves
    ways: int = 0  # how many steps are followed at least


# --- how a hold comes about ----------------------------------------------------------------------------------------


def seats(made: Scene, **said: Any) -> dict[str, Any]:
    return made.charge(M365, 10, "21.00", sub="s1", companyName=made.listed()["name"]) | said


def run(made: Scene, period: str = NOV, *codes: int) -> Any:
    return made.office.run("run", period, "--yes", "--json").must(*(codes or (0,))).json


def with_charge(rules: str = OPEN, client: str = "", **said: Any) -> Callable[[Stage], Scene]:
    """November with one charge of these properties."""

    def make(stage: Stage) -> Scene:
        made = stage(rules)
        if client:
            made.office.rules(client, "clients/contoso.toml")
        made.month(NOV, seats(made, **said))
        return made

    return make


def with_client(
    company: Mapping[str, Any] | None = None, *, own_file: bool = False, rules: str = OPEN, **changes: Any
) -> Callable[[Stage], Scene]:
    """November, where the company or its HaloPSA client is otherwise."""

    def make(stage: Stage) -> Scene:
        made = stage(rules)
        if own_file:
            made.office.rules(CONTOSO, "clients/contoso.toml")
        made.listed().update(company or {})
        made.sandbox.halo.put("clients", {**made.sandbox.halo.clients[214], **changes})
        made.month(NOV, seats(made))
        return made

    return make


def client_is(**changes: Any) -> Deed:
    return lambda made: made.sandbox.halo.put("clients", {**made.sandbox.halo.clients[214], **changes})


def renamed(stage: Stage) -> Scene:
    made = stage()
    made.month(OCT, seats(made))
    run(made, OCT)
    made.listed()["name"] = "Adatum"
    made.month(NOV, seats(made))
    return made


def renamed_in_rules(stage: Stage) -> Scene:
    made = stage(OPEN + '[exclude]\ncompanies = ["Contoso Ltd"]\n')
    made.month(OCT, seats(made))
    run(made, OCT)
    made.listed()["name"] = "Adatum of the North"
    made.month(NOV, seats(made))
    return made


def renamed_with_a_file(stage: Stage) -> Scene:
    made = stage()
    made.office.rules(CONTOSO, "clients/contoso.toml")
    made.month(OCT, seats(made))
    run(made, OCT)
    made.listed()["name"] = "Adatum"
    made.month(NOV, seats(made))
    return made


def another_product(stage: Stage) -> Scene:
    made = stage(OPEN + '[exclude]\nproducts = ["Suite X"]\n')
    made.month(OCT, seats(made, productName="Suite X", productId="p-1"))
    run(made, OCT)
    made.month(NOV, seats(made, sku="NEW", productName="Suite X", productId="p-2"))
    return made


def no_longer_left_out(made: Scene) -> None:
    made.office.rules(OPEN)


def another_pays(stage: Stage) -> Scene:
    made = stage()
    made.month(OCT, seats(made))
    run(made, OCT)
    made.listed().update(name="Adatum", externalId="216")
    made.month(NOV, seats(made))
    return made


def credited(stage: Stage, replaced: bool = True) -> Scene:
    made = stage()
    made.month(OCT if not replaced else NOV, seats(made), invoice="A")
    run(made, NOV if replaced else OCT)
    made.sandbox.pax8.invoices[-1]["status"] = "Credited"
    made.month(NOV, seats(made, total=Decimal("230.00"), subTotal=Decimal("230.00"), price=Decimal(23)), invoice="B")
    return made


def changed(stage: Stage) -> Scene:
    made = stage()
    made.month(NOV, seats(made), invoice="A")
    run(made)
    made.sandbox.pax8.items["A"].append({**made.sandbox.pax8.items["A"][0], "id": "new", "subscriptionId": "s9"})
    made.sandbox.pax8.items["A"][0].update(quantity=Decimal(12), total=Decimal("252.00"), subTotal=Decimal("252.00"))
    return made


def duplicate(stage: Stage) -> Scene:
    made = stage()
    made.month(OCT, seats(made), invoice="A")
    run(made, OCT)
    made.month(NOV, {**copy.deepcopy(made.sandbox.pax8.items["A"][0]), "id": "again"}, invoice="B")
    return made


def set_aside(stage: Stage) -> Scene:
    made = with_charge()(stage)
    charge = made.office.plan(NOV)["clients"][0]["lines"][0]["charges"][0]
    made.office.run("set-aside", charge, "--reason", "ask first").must()
    return made


def ambiguous(stage: Stage) -> Scene:
    made = stage()
    made.listed()["externalId"] = "217"
    made.month(NOV, seats(made))
    return made


def ambiguous_item(stage: Stage) -> Scene:
    made = stage(AUTOMATIC)
    items = made.sandbox.halo.items
    one = next(row for row in items.values() if row["externalreference"] == M365)
    made.sandbox.halo.put("items", {**copy.deepcopy(one), "id": 9_900, "name": "Suite again"})
    made.month(NOV, seats(made))
    return made


def latest(*, closed: bool, own_file: bool) -> Callable[[Stage], Scene]:
    def make(stage: Stage) -> Scene:
        made = stage(OPEN + ("" if own_file else '[invoice]\nbehavior = "latest"\n'))
        if own_file:
            made.office.rules(CONTOSO + '[invoice]\nbehavior = "latest"\n', "clients/contoso.toml")
        if closed:
            made.sandbox.person(do="close", id=made.latest(214)["id"], how="sent")
        else:
            for id_ in [id_ for id_, row in made.sandbox.halo.invoices.items() if row["client_id"] == 214]:
                made.sandbox.halo.delete("invoices", id_)
        made.month(NOV, seats(made))
        return made

    return make


def new_invoice(made: Scene) -> None:
    """A person creates one in HaloPSA."""
    rows = made.sandbox._world.halo.invoices
    row = rows.save("invoices", {"client_id": 214, "invoice_date": "2026-11-20T12:00:00", "lines": []}, "")
    assert row["client_id"] == 214


def parts(stage: Stage) -> Scene:
    block = f'[[product]]\npax8_sku = "{M365}"\nparts = [{{halo_item = 411, unit_price = 5}}, {{halo_item = 412, rest = true}}]\n'
    made = stage(AUTOMATIC)
    made.office.rules(CONTOSO + block, "clients/contoso.toml")
    made.month(NOV, seats(made, type="prorate"))
    return made


def in_shares(made: Scene) -> None:
    path = made.office.folder / "rules/clients/contoso.toml"
    path.write_text(path.read_text().replace("unit_price = 5", "share = 40").replace("rest = true", "share = 60"))


def limited(key: str, value: str) -> Callable[[Stage], Scene]:
    def make(stage: Stage) -> Scene:
        rules = re.sub(rf"(?m)^{key} = .*\n", "", OPEN).replace("[limits]\n", f"[limits]\n{key} = {value}\n")
        made = stage(rules)
        cost = {"cost": "30"} if key == "margin_percent_min" else {}
        if key in ("change_percent_max", "missing_company_percent_max"):
            made.month(OCT, made.charge(M365, 1, "21.00", sub="s1"), made.charge(BACKUP, 1, client=216))
            run(made, OCT)
        sign = -1 if key == "negative_invoice" else 1
        made.month(NOV, made.charge(M365, 30 * sign, "21.00", sub="s1", **cost))
        return made

    return make


def without_an_answer(stage: Stage) -> Scene:
    made = with_charge()(stage)
    made.sandbox.faults.add("halo:POST:/Invoice:1:black_hole")
    process = made.office.start("run", NOV, "--yes")
    deadline = time.monotonic() + 60
    while not made.sandbox.faults.fired and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return made


def stored_otherwise(stage: Stage) -> Scene:
    made = stage()
    made.month(NOV, seats(made, price=Decimal("21.40"), total=Decimal("214.00"), subTotal=Decimal("214.00")))
    made.sandbox.faults.add("halo:POST:/Invoice:1:round_amounts")
    run(made, NOV, 1, 3)
    return made


def taken_away(how: str) -> Callable[[Stage], Scene]:
    """A person has deleted, or voided, the invoice since, and the month was run again."""

    def make(stage: Stage) -> Scene:
        made = with_charge()(stage)
        (posting,) = run(made)["postings"]
        deed = {"do": "delete"} if how == "deleted" else {"do": "close", "how": how}
        made.sandbox.person(id=posting["invoice_id"], **deed)
        run(made, NOV, 3)
        return made

    return make


def put_right(made: Scene) -> None:
    (row,) = [row for row in made.sandbox.halo.invoices.values() if "billingsync key=" in row["internal_note"]]
    made.edit(row["id"], row["lines"][0]["id"], unit_price=Decimal("21.40"), baseprice=Decimal("21.40"))


# What waits on a recurring invoice ------------------------------------------------------------------------------------

TEMPLATE = -201


def standing(stage: Stage, *charges: str, invoiced: bool = True, edited: Mapping[str, Any] | None = None) -> Scene:
    """November stands on the recurring invoice; HaloPSA made its invoice where it is `invoiced`; then a person changed
    our line so."""
    made = stage(schedule="off")
    made.office.invoices_templates = False
    made.office.rules(RECURRING, "clients/contoso.toml")
    made.month(NOV, seats(made), *(made.charge(sku, 1, "5.00", sub=f"s-{sku}") for sku in charges))
    run(made)
    if invoiced:
        made.sandbox.make(TEMPLATE)
    if edited is not None:
        our_line_is(**edited)(made)
    return made


def december(
    *, invoiced: bool = True, edited: Mapping[str, Any] | None = None, client: str = RECURRING, removed: bool = False
) -> Callable[[Stage], Scene]:
    """The month after it, with two more seats."""

    def make(stage: Stage) -> Scene:
        made = standing(stage, invoiced=invoiced, edited=edited)
        if removed:
            remove_our_lines(made)
        made.office.rules(client, "clients/contoso.toml")
        made.month(DEC, made.charge(M365, 12, "21.00", sub="s1"))
        return made

    return make


def remove_our_lines(made: Scene) -> None:
    for line in ours(made.invoice(TEMPLATE)):
        made.delete_line(TEMPLATE, line["id"])


def our_seats(made: Scene) -> int:
    lines = ours(made.invoice(TEMPLATE))
    return next(line["id"] for line in lines if line["item_shortdescription"].startswith("Microsoft 365"))


def our_seats_go(made: Scene) -> None:
    made.delete_line(TEMPLATE, our_seats(made))


def our_line_is(**changes: Any) -> Deed:
    return lambda made: made.edit(TEMPLATE, our_seats(made), **changes)


def not_charged_any_more(stage: Stage) -> Scene:
    """A line that a person changed has no charge in December."""
    made = standing(stage, BACKUP, edited={"qty_order": Decimal(11)})
    made.month(DEC, made.charge(BACKUP, 1, "5.00", sub=f"s-{BACKUP}"))
    return made


def another_template(stage: Stage) -> Scene:
    """The client is billed on another recurring invoice now, and a person changed what stands on the old one."""
    made = december(edited={"qty_order": Decimal(11)})(stage)
    row = made.sandbox.halo.recurring[TEMPLATE]
    made.sandbox.halo.put("recurring", {**copy.deepcopy(row), "id": -299, "lines": []})
    made.office.rules(RECURRING.replace("201", "299"), "clients/contoso.toml")
    return made


def late_in_november(stage: Stage) -> Scene:
    """December is on the recurring invoice when another invoice of November comes."""
    made = december()(stage)
    run(made, DEC)
    made.month(NOV, made.charge(SETUP, 1, "30.00", type="one-time"), invoice="late")
    return made


def has_left(stage: Stage) -> Scene:
    """Nothing is charged for the company any more, and November was not invoiced."""
    made = standing(stage, invoiced=False)
    made.month(DEC, made.charge(BACKUP, 1, client=216))
    return made


NEW = CONTOSO + '[invoice]\nbehavior = "new"\n'
MAKE: Mapping[str, Deed] = {"create the invoice from recurring invoice 201": lambda made: made.sandbox.make(TEMPLATE)}
REMOVE: Mapping[str, Deed] = {"remove line": remove_our_lines, "take our lines for": remove_our_lines}
EXCLUDE: Mapping[str, Deed] = {"off in HaloPSA, bill it by hand, and set": remove_our_lines}

# --- the table -----------------------------------------------------------------------------------------------------

CASES: Mapping[Reason, tuple[Case, ...]] = {
    Reason.BAD_AMOUNT: (Case(make=with_charge(total="much")),),
    Reason.SOURCE_REPLACED: (Case(make=credited),),
    Reason.SOURCE_CHANGED: (Case(make=changed),),
    Reason.SOURCE_DUPLICATE: (Case(make=duplicate, stays="set_aside", ways=2),),
    Reason.SET_ASIDE: (Case(make=set_aside),),
    Reason.PRODUCT_RENAMED: (Case(make=another_product, ways=2),),
    Reason.NO_COMPANY: (
        Case(make=with_charge(companyId=None, companyName=None), fills={"CLIENT": '"Contoso Ltd"'}, ways=2),
    ),
    Reason.CLIENT_UNMAPPED: (
        Case(make=with_client({"name": "Adatum"}), fills={"HALO_CLIENT_ID": "214"}, ways=2),
        Case(
            make=with_charge(client=CONTOSO.replace("214", "9999")),
            deeds={"correct halo_client": lambda made: made.office.rules(CONTOSO, "clients/contoso.toml")},
        ),
    ),
    Reason.CLIENT_AMBIGUOUS: (Case(make=ambiguous, fills={"HALO_CLIENT_ID": "214"}, ways=2),),
    Reason.CLIENT_RENAMED: (
        Case(make=renamed, ways=2),
        Case(
            make=renamed_in_rules, fills={"HALO_CLIENT_ID": "214"}, deeds={"take it out of": no_longer_left_out}, ways=2
        ),
        Case(make=renamed_with_a_file, ways=2),
    ),
    Reason.CLIENT_CHANGED: (Case(make=another_pays, ways=2),),
    Reason.CLIENT_INACTIVE: (
        Case(
            make=with_client(dontinvoice=True),
            fills={"HALO_CLIENT_ID": "216"},
            deeds={"allow invoices": client_is(dontinvoice=False)},
            ways=3,
        ),
        Case(
            make=with_client(dontinvoice=True, own_file=True),
            fills={"HALO_CLIENT_ID": "216"},
            deeds={"allow invoices": client_is(dontinvoice=False)},
            ways=3,
        ),
        Case(
            make=with_client(inactive=True),
            fills={"HALO_CLIENT_ID": "216"},
            deeds={"allow invoices": client_is(inactive=False)},
            ways=3,
        ),
    ),
    Reason.CLIENT_PAYS_THROUGH_OTHER: (
        Case(make=with_client(client_to_invoice=216), ways=2),
        Case(make=with_client(client_to_invoice=216, own_file=True), ways=2),
    ),
    Reason.CLIENT_GUESSED: (
        Case(
            make=with_client({"name": "Contosso Ltd"}, rules=OPEN.replace('guessed = "post"', 'guessed = "hold"')),
            ways=2,
        ),
    ),
    Reason.OTHER_WRITER: (
        Case(
            make=with_client(pax8monthlyinvoice=-900),
            deeds={"turn off": client_is(pax8monthlyinvoice=0)},
            ways=2,
        ),
    ),
    Reason.CURRENCY_MISMATCH: (
        Case(
            make=with_charge(currencyCode="EUR"),
            deeds={
                "correct the client's currency": client_is(
                    default_currency_code=2, default_currency_code_name="EUR", currencyisocode="EUR"
                )
            },
            ways=2,
        ),
    ),
    Reason.UNKNOWN_CHARGE_TYPE: (
        Case(make=with_charge(type="usage"), ways=2),
        Case(make=with_charge(type=""), ways=2),
        Case(make=with_charge(type="usage", description="Azure plan"), ways=2),
    ),
    Reason.PRICE_COST_SIGN: (
        Case(
            make=with_charge(
                OPEN + '[modifiers]\nfavorable_prorata = "drop"\n',
                type="prorate",
                total=Decimal("-21.00"),
                subTotal=Decimal("-21.00"),
                quantity=Decimal(-1),
                costTotal=Decimal("10.00"),
            ),
            ways=2,
        ),
    ),
    Reason.ZERO_PRICE_WITH_COST: (
        Case(
            make=with_charge(
                OPEN + '[modifiers]\nzero_lines = "drop"\n',
                total=Decimal(0),
                subTotal=Decimal(0),
                price=Decimal(0),
            ),
            ways=2,
        ),
    ),
    Reason.PRODUCT_UNMATCHED: (
        Case(
            make=with_charge(OPEN.replace('"off"', '"manual"'), sku="NEW-1", productName="Suite X", description="X"),
            fills={"ITEM_ID": "401"},
            ways=2,
        ),
    ),
    Reason.PRODUCT_AMBIGUOUS: (Case(make=ambiguous_item, fills={"ITEM_ID": "9900"}, ways=2),),
    Reason.FULL_PRICE_UNKNOWN: (Case(make=parts, deeds={"give the parts": in_shares}, ways=2),),
    Reason.LATEST_CLOSED: tuple(
        Case(make=latest(closed=True, own_file=own), deeds={"create an invoice": new_invoice}, ways=3)
        for own in (True, False)
    ),
    Reason.LATEST_MISSING: tuple(
        Case(make=latest(closed=False, own_file=own), deeds={"create an invoice": new_invoice}, ways=3)
        for own in (True, False)
    ),
    Reason.RECURRING_UNMAPPED: (
        Case(
            make=with_charge(client=CONTOSO + '[invoice]\nbehavior = "recurring"\n'),
            fills={"RECURRING_INVOICE_ID": "201"},
            ways=2,
        ),
    ),
    Reason.RECURRING_MISSING: (
        Case(
            make=with_charge(client=RECURRING.replace("201", "909")),
            fills={"RECURRING_INVOICE_ID": "201"},
            ways=2,
        ),
    ),
    Reason.LIMIT_CHANGE: (Case(make=limited("change_percent_max", "10")),),
    Reason.LIMIT_MARGIN: (Case(make=limited("margin_percent_min", "5")),),
    Reason.LIMIT_AMOUNT: (Case(make=limited("client_amount_max", "100")),),
    Reason.LIMIT_NEGATIVE: (Case(make=limited("negative_invoice", '"hold"')),),
    Reason.LIMIT_NEW_CLIENT: (Case(make=limited("new_client", '"hold"')),),
    Reason.LIMIT_NEW_PRODUCT: (Case(make=limited("new_product", '"hold"')),),
    Reason.LIMIT_MISSING_COMPANIES: (Case(make=limited("missing_company_percent_max", "10")),),
    Reason.RECURRING_NOT_INVOICED: (
        Case(make=december(invoiced=False), deeds=MAKE, period=DEC),
        Case(make=has_left, deeds={**MAKE, **REMOVE}, period=DEC, ways=2),
    ),
    Reason.RECURRING_LEFT_BEHIND: (
        Case(make=december(invoiced=False, client=NEW), deeds={**MAKE, **REMOVE}, period=DEC, ways=2),
        Case(make=december(edited={"qty_order": Decimal(11)}, client=NEW), deeds=REMOVE, period=DEC),
        Case(make=not_charged_any_more, deeds={"remove line": our_seats_go}, period=DEC),
        Case(make=another_template, deeds=REMOVE, period=DEC),
    ),
    Reason.RECURRING_LATER_PERIOD: (Case(make=late_in_november, ways=2),),
    Reason.LINE_EDITED: (
        Case(make=december(removed=True), period=DEC, ways=2),
        Case(
            make=december(edited={"qty_order": Decimal(11)}),
            deeds={"change the line in HaloPSA to": our_line_is(qty_order=Decimal(10)), **EXCLUDE},
            period=DEC,
            ways=2,
        ),
    ),
    Reason.LINE_AUTOMATIC_QUANTITY: (
        Case(
            make=december(edited={"recurring_invoice_quantity_type": 1}),
            deeds={
                "give the line a fixed quantity": our_line_is(recurring_invoice_quantity_type=0, qty_order=Decimal(10)),
                **EXCLUDE,
            },
            period=DEC,
            ways=2,
        ),
    ),
    Reason.WRITE_UNKNOWN: (Case(make=without_an_answer),),
    Reason.WRITE_DIFFERS: (
        Case(make=stored_otherwise, deeds={"make it right in HaloPSA": put_right}, ways=2),
        Case(make=taken_away("deleted")),
        Case(make=taken_away("voided")),
    ),
}


ON_TEMPLATES = {  # what waits on a recurring invoice
    Reason.RECURRING_LEFT_BEHIND,
    Reason.RECURRING_LATER_PERIOD,
    Reason.RECURRING_NOT_INVOICED,
    Reason.LINE_EDITED,
    Reason.LINE_AUTOMATIC_QUANTITY,
}


# --- following a step ----------------------------------------------------------------------------------------------


def holds(made: Scene, period: str = NOV) -> list[dict[str, Any]]:
    plan = made.office.plan(period)
    return [hold for one in [*plan["clients"], plan["unassigned"]] for hold in one["holds"]]


def type_in(made: Scene, command: str, fills: Mapping[str, str]) -> None:
    """A command as it is printed, with the words filled in that are left to people."""
    for word, value in {"TEXT": '"as agreed"', **fills}.items():
        command = re.sub(rf"(?<![A-Z_]){word}(?![A-Z_])", value, command)
    words = shlex.split(command)
    assert words[0] == "billingsync", command
    more = ["--yes"] if words[1] in ("run", "undo") else []  # nobody is asked in a test
    made.office.run(*words[1:], *more).must()


def carry_out(made: Scene, text: str, case: Case) -> None:
    """An instruction: what it says to set or to add in the rules, or what a person does in HaloPSA."""
    deeds = [deed for part, deed in case.deeds.items() if part in text]
    for deed in deeds:
        deed(made)
    if typed := re.search(r"then (billingsync map .+)$", text):
        type_in(made, typed[1], case.fills)
    if found := re.search(r"set ([a-z_.]+) = (\[.*\]|\S+) in (\S+\.toml|a file in rules/clients/)", text):
        key, value, where = found.groups()
        put_into_rules(made, where, key, tomlkit.parse(f"x = {case.fills.get(value, value)}")["x"])
    elif not deeds:
        raise AssertionError(f"nobody can follow this: {text}")


def put_into_rules(made: Scene, where: str, key: str, value: Any) -> None:
    """`where` as printed; a client without a file gets one."""
    path = made.office.folder / (where if where.endswith(".toml") else "rules/clients/new.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text() if path.exists() else '[client]\nname = "Contoso Ltd"\n'
    rules, (section, name) = tomlkit.parse(text), key.split(".")
    rules.setdefault(section, tomlkit.table())
    rules[section][name] = value
    path.write_text(tomlkit.dumps(rules))


def steps(
    case: Case, reason: Reason, stage: Stage, folder: Path
) -> Iterator[tuple[Scene, dict[str, Any], dict[str, Any]]]:
    """The scene made anew for each step that its hold prints."""
    number, count = 0, 1
    while number < count:
        shutil.rmtree(folder / "rules", ignore_errors=True)
        made = case.make(stage)
        found = holds(made, case.period)
        mine = [hold for hold in found if hold["reason"] == reason]
        assert mine, (reason, found)
        count = len(mine[0]["ways"])
        assert count >= max(case.ways, 1), mine[0]["ways"]
        yield made, mine[0], mine[0]["ways"][number]
        number += 1


PARAMS = [
    pytest.param(reason, case, id=reason if not number else f"{reason}-{number + 1}")
    for reason, cases in CASES.items()
    for number, case in enumerate(cases)
]


@pytest.mark.parametrize(("reason", "case"), PARAMS)
def test_R6_each_printed_step_ends_the_hold_and_nothing_takes_its_place(
    stage: Stage, reason: Reason, case: Case, tmp_path: Path
) -> None:
    for made, hold, way in steps(case, reason, stage, tmp_path):
        before = all_marks(made.sandbox)
        if way["command"]:
            type_in(made, way["text"], case.fills)
        else:
            carry_out(made, way["text"], case)
        run(made, case.period, 0, 3)
        left = {one["reason"] for one in holds(made, case.period)}
        if way["offer"] == "wait" and case.stays:
            assert left == {case.stays}, way
            continue
        assert not left, (way, left)
        run(made, case.period)
        if way["offer"] == "leave it out" and reason not in ON_TEMPLATES:
            assert all_marks(made.sandbox) == before, way
        elif way["offer"] == "leave it out" and reason in (Reason.LINE_EDITED, Reason.LINE_AUTOMATIC_QUANTITY):
            assert set(all_marks(made.sandbox)) <= set(before), way  # lines come off, and none is new
        elif way["offer"] == "bill it" and reason not in (Reason.WRITE_DIFFERS, Reason.WRITE_UNKNOWN):
            assert all_marks(made.sandbox) != before, (way, hold)


def test_R6_every_reason_is_in_the_table() -> None:
    assert set(Reason) == set(CASES)


def test_R6_lines_that_were_taken_off_by_hand_can_be_added_again(stage: Stage, tmp_path: Path) -> None:
    """Whoever did what a hold said, and goes back to the recurring invoice later, is not held for ever."""
    made = december(edited={"qty_order": Decimal(11)}, client=NEW)(stage)
    remove_our_lines(made)
    run(made, DEC)
    made.office.rules(RECURRING, "clients/contoso.toml")
    made.month("2027-01", made.charge(M365, 9, "21.00", sub="s1"))
    (hold,) = holds(made, "2027-01")
    assert hold["reason"] == Reason.LINE_EDITED
    type_in(made, hold["ways"][0]["text"], {})
    (posting,) = run(made, "2027-01")["postings"]
    assert posting["amount"] == "189.00"
    assert [line["qty_order"] for line in ours(made.invoice(TEMPLATE))] == [9]
