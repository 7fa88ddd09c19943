"""The notation of the core's tests: charges, clients and rules in a line each, and a month that follows a month.

Other test files import from here. The tests at the end see to it that the notation means what it says.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from halo_rows import again, invoice_of, rows_of

from billingsync.core.bill.plan import ClientPlan, Plan, PlanLine
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.bill.templates import is_once
from billingsync.core.charge import Charge, Source
from billingsync.core.inputs import Client, Company, Item, RunInputs
from billingsync.core.invoice import Invoice
from billingsync.core.money import minor_unit
from billingsync.core.period import Period
from billingsync.core.remembered import Settled, WrittenLine
from billingsync.core.rules import (
    ApprovalRules,
    ClientFile,
    ClientMatchRules,
    ExcludeRules,
    InvoiceRules,
    LimitRules,
    LineRules,
    ModifierRules,
    Part,
    ProductBlock,
    ProductRules,
    Rulebook,
    Rules,
)

ZERO = Decimal(0)
COMPANIES = {"Contoso Ltd": "c-1", "Fabrikam GmbH": "c-2", "Litware Inc": "c-3"}
CLIENTS = tuple(Client(id=n, name=name, currency="USD") for n, name in enumerate(COMPANIES, start=1))
SECTIONS = {
    "invoice": InvoiceRules,
    "modifiers": ModifierRules,
    "clients": ClientMatchRules,
    "products": ProductRules,
    "lines": LineRules,
    "exclude": ExcludeRules,
    "limits": LimitRules,
    "approval": ApprovalRules,
}
KINDS = {"product": "product_name", "po": "purchase_order", "subscription": "subscription_id", "invoice": "invoice_id"}


NO_LIMITS = {
    "change_percent_max": 10**9,
    "change_amount_min": 10**9,
    "negative_invoice": "post",
    "missing_company_percent_max": 100,
}


def decimal(value: object) -> Any:
    """What `tomllib` gives with parse_float=Decimal, and lists as the tuples that rules are made of."""
    if isinstance(value, list):
        return tuple(value)
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


def rules(*blocks: ProductBlock, **sections: dict[str, Any]) -> Rules:
    """`rules(modifiers={"azure": "drop"})`: the defaults but for what is said; no limits unless they are said."""
    said = {"limits": NO_LIMITS} | sections
    whole = {"recurring_invoice", "default_item", "halo_item"}  # ids are no money
    made = {
        name: SECTIONS[name](**{key: value if key in whole else decimal(value) for key, value in values.items()})
        for name, values in said.items()
    }
    return Rules(product_blocks=blocks, **made)


def split(sku: str, *parts: dict[str, Any]) -> ProductBlock:
    return ProductBlock(
        pax8_sku=sku,
        parts=tuple(
            Part(**{key: value if key in ("halo_item", "rest") else Decimal(value) for key, value in part.items()})
            for part in parts
        ),
    )


def charge(name: str = "1", price: str = "10.00", cost: str = "8.00", **said: Any) -> Charge:
    """One charge. Quantity 1 at its price unless said; amounts as text."""
    said = {KINDS.get(key, key): value for key, value in said.items()}
    company = said.pop("company", "Contoso Ltd")
    for key in ("quantity", "unit_price", "unit_cost", "sales_tax"):
        if isinstance(said.get(key), str):
            said[key] = Decimal(said[key])
    fields: dict[str, Any] = {
        "invoice_id": "inv",
        "company_id": COMPANIES.get(company, company),
        "company_name": company or "",
        "external_id": "",
        "type": "subscription",
        "term": "Monthly",
        "sku": "",
        "product_id": "",
        "product_name": "Widget",
        "description": "",
        "details": "",
        "subscription_id": "",
        "purchase_order": "",
        "start": "",
        "end": "",
        "quantity": Decimal(1),
        "unit_price": Decimal(price),
        "unit_cost": Decimal(cost),
        "price": Decimal(price),
        "cost": Decimal(cost),
        "price_rounding": ZERO,
        "cost_rounding": ZERO,
        "sales_tax": ZERO,
        "currency": "USD",
        "billed_by_pax8": False,
        "problem": None,
    }
    fields |= said
    return Charge(id=f"{fields['invoice_id']}:{name}", **fields)


def azure(name: str = "1", price: str = "10.00", cost: str = "8.00", **said: Any) -> Charge:
    return charge(name, price, cost, **({"sku": "MST-AZR-PLN-C100", "product": "Microsoft Azure Plan"} | said))


def sources(charges: tuple[Charge, ...] | list[Charge], period: Period) -> tuple[Source, ...]:
    invoices = dict.fromkeys(one.invoice_id for one in charges)
    return tuple(
        Source(
            invoice_id=invoice,
            invoice_date=period.first_day,
            status="Unpaid",
            currency="USD",
            total=None,
            carried_balance=None,
            partner_name="Northwind IT",
            charges=tuple(one for one in charges if one.invoice_id == invoice),
        )
        for invoice in invoices
    )


def month(*charges: Charge, base: Rules | None = None, files: tuple[ClientFile, ...] = (), **said: Any) -> RunInputs:
    """A month with these charges. Companies and clients of the same name unless said."""
    period = said.pop("period", Period(2026, 11))
    found = {one.company_id: one.company_name for one in charges if one.company_id}
    said.setdefault("companies", tuple(Company(id=id_, name=name) for id_, name in found.items()))
    said.setdefault("clients", CLIENTS)
    said.setdefault("items", (Item(id=17, name="Software"),))
    return RunInputs(
        partner="northwind",
        period=period,
        sources=sources(charges, period),
        rulebook=Rulebook(base=base or rules(), clients=files, digest="rules"),
        **said,
    )


# --- what became of it -------------------------------------------------------------------------------------------


def fates(plan: Plan) -> dict[str, str]:
    """{"1": "posted", "2": "dropped azure", "3": "held bad_amount"}: by the part of the id after the invoice."""
    found = {out.charge: f"excluded {out.rule}" for out in plan.unassigned_excluded}
    found |= {hold.charge: f"held {hold.reason}" for hold in plan.unassigned_holds}
    for client in plan.clients:
        found |= {one: "posted" for line in client.lines for one in line.charges}
        found |= {gone.charge: f"dropped {gone.modifier}" for gone in client.dropped}
        found |= {out.charge: f"excluded {out.rule}" for out in client.excluded}
        found |= {hold.charge: f"held {hold.reason}" for hold in client.holds}
    return {name.partition(":")[2]: fate for name, fate in sorted(found.items())}


def fates_of(*charges: Charge, **said: Any) -> dict[str, str]:
    return fates(plan_run(month(*charges, **said)))


def fate_of(one: Charge, **said: Any) -> str:
    return fates_of(one, **said)[one.id.partition(":")[2]]


def lines(plan: Plan) -> list[PlanLine]:
    return [line for posting in plan.postings for line in posting.lines]


def line_of(one: Charge, **said: Any) -> PlanLine:
    (line,) = lines(plan_run(month(one, **said)))
    return line


def client_of(plan: Plan, name: str = "Contoso Ltd") -> ClientPlan:
    return next(client for client in plan.clients if client.company_name == name)


# --- a month after a month ---------------------------------------------------------------------------------------


def recurring(client_id: int = 1, invoice_id: int = -8841, *raw_lines: dict[str, Any]) -> Invoice:
    raw = {"id": invoice_id, "client_id": client_id, "disabled": False, "lines": list(raw_lines)}
    return invoice_of(raw, id_=invoice_id, client_id=client_id, template=True)


def raw_line(line_id: int, line: PlanLine, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """A line as HaloPSA gives it back; what we do not know of it stays."""
    return {
        **(before or {"_unknown": f"u{line_id}"}),
        "id": line_id,
        "item_shortdescription": line.description,
        "qty_order": line.quantity,
        "unit_price": line.unit_price,
        "baseprice": line.unit_price,
        "unit_cost": line.unit_cost,
    }


def carried_out(inputs: RunInputs, plan: Plan | None = None) -> RunInputs:
    """The same month after this plan was posted: HaloPSA's recurring invoices and the ledger's memory of them."""
    plan = plan or plan_run(inputs)
    known = {one.id: one for source in inputs.sources for one in source.charges}
    memory, existing = inputs.memory, {invoice.id: invoice for invoice in inputs.existing}
    settled, written = dict(memory.settled), list(memory.written_lines)
    company_of = {one: client.company_id for client in plan.clients for line in client.lines for one in line.charges}
    for client in plan.clients:
        fate = [(gone.charge, "dropped", gone.modifier) for gone in client.dropped]
        fate += [(out.charge, "excluded", out.rule) for out in client.excluded]
        fate += [(one, "posted", "key") for line in client.lines for one in line.charges]
        for charge_id, state, by in fate:
            one = known[charge_id]
            settled[charge_id] = Settled(state=state, by=by, price=one.price, cost=one.cost, currency=one.currency)
    for posting in plan.postings:
        if posting.action != "update":
            continue
        invoice = existing[posting.invoice_id or 0]
        rows = {row["id"]: row for row in rows_of(invoice)}
        for line in posting.lines:
            line_id = line.line_id or 1 + max([9000, *rows, *(one.line_id for one in memory.written_lines)])
            written = [one for one in written if (one.invoice_id, one.line_id) != (invoice.id, line_id)]
            if line.action == "remove":
                del rows[line_id]
                continue
            rows[line_id] = raw_line(line_id, line, rows.get(line_id))
            written.append(
                WrittenLine(
                    invoice_id=invoice.id,
                    client_id=posting.client_id,
                    company_id=company_of[line.charges[0]] or "",
                    period=plan.period,
                    line_id=line_id,
                    recurring_key=line.recurring_key,
                    title=line.title,
                    description=line.description,
                    quantity=line.quantity,
                    unit_price=line.unit_price,
                    unit_cost=line.unit_cost,
                    item_id=line.item.id if line.item else None,
                    last_created=invoice.last_created,
                    once=is_once(line.recurring_key),
                )
            )
        existing[invoice.id] = again(invoice, lines=list(rows.values()))
    return replace(
        inputs,
        existing=tuple(existing.values()),
        memory=replace(memory, settled=settled, written_lines=tuple(written)),
    )


def late(inputs: RunInputs, *charges: Charge) -> RunInputs:
    """The same month with more charges than it had."""
    everything = [one for source in inputs.sources for one in source.charges] + list(charges)
    return replace(inputs, sources=sources(everything, inputs.period))


def next_month(inputs: RunInputs, *charges: Charge) -> RunInputs:
    """The month after: other charges, and what the ledger remembers of the month before."""
    plan = plan_run(replace(inputs, memory=replace(inputs.memory, settled={})))
    owner = {client.company_id: client.client_id for client in plan.clients}
    amounts = dict(inputs.memory.last_amounts)
    for source in inputs.sources:
        for one in source.charges:
            if one.id in inputs.memory.settled and inputs.memory.settled[one.id].state == "posted":
                key = (owner.get(one.company_id) or 0, one.currency)
                period, before = amounts.get(key, ("", ZERO))
                now = str(inputs.period)
                amounts[key] = now, one.price + (before if period == now else ZERO)
    memory = replace(
        inputs.memory,
        settled={},
        last_amounts=amounts,
        last_companies=frozenset(one.company_id for s in inputs.sources for one in s.charges if one.company_id),
        known_clients=inputs.memory.known_clients | {client for client in owner.values() if client},
    )
    period = inputs.period.next
    templates = tuple(invoiced(one, str(inputs.period)) if one.template else one for one in inputs.existing)
    return replace(inputs, period=period, sources=sources(charges, period), memory=memory, existing=templates)


def invoiced(template: Invoice, month: str) -> Invoice:
    """The recurring invoice once HaloPSA has made an invoice from it in the middle of that month."""
    return again(template, lastcreated=f"{month}-15T06:00:00")


def on_invoice(inputs: RunInputs, invoice_id: int = -8841) -> dict[str, str]:
    """What a recurring invoice carries: {text: "10 x 22.00"} in the order of its lines, twins with a prime."""
    (invoice,) = (one for one in inputs.existing if one.id == invoice_id)
    found: dict[str, str] = {}
    for row in rows_of(invoice):
        title = str(row["item_shortdescription"])
        while title in found:
            title += "'"
        found[title] = f"{row['qty_order']} x {row['unit_price']}"
    return found


def invoice_total(inputs: RunInputs, invoice_id: int = -8841, currency: str = "USD") -> Decimal:
    (invoice,) = (one for one in inputs.existing if one.id == invoice_id)
    digits = minor_unit(currency) or 0
    return sum((round(row["qty_order"] * row["unit_price"], digits) for row in rows_of(invoice)), ZERO)


# --- charges as a table ------------------------------------------------------------------------------------------


def table(text: str) -> list[dict[str, str]]:
    """Rows of `a | b` under a heading line; empty cells are left out."""
    head, *rows = [line for line in text.splitlines() if line.strip()]
    names = [name.strip() for name in head.split("|")]
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    assert all(len(row) == len(names) for row in cells), f"each row has the {len(names)} columns of its heading"
    return [{name: cell for name, cell in zip(names, row, strict=True) if cell} for row in cells]


def charges_of(text: str) -> list[Charge]:
    """`quantity | price | total | cost`: price is per unit, total the amount; cost is what all of it costs."""
    made = []
    for number, row in enumerate(table(text), start=1):
        quantity, unit = Decimal(row.pop("quantity", "1")), row.pop("price", None)
        total = row.pop("total", None) or str(quantity * Decimal(unit or "0"))
        cost = row.pop("cost", "0.00")
        row["company"] = row.get("company", "Contoso Ltd")
        made.append(
            charge(
                row.pop("id", str(number)),
                str(Decimal(total).quantize(Decimal("0.01"))),
                cost,
                quantity=quantity,
                unit_price=Decimal(unit) if unit else None,
                unit_cost=None,
                **{key: None if value == "-" else value for key, value in row.items()},
            )
        )
    return made


# --- the notation itself -----------------------------------------------------------------------------------------


def test_a_table_of_charges_reads_as_it_looks() -> None:
    first, second = charges_of(
        """
        company     | product | type    | quantity | price | total  | cost
        Contoso Ltd | Office  |         | 10       | 22.00 |        | 180.00
        -           | Backup  | prorate |          |       | -4.10  | -3.00
        """
    )
    assert (first.product_name, first.quantity, first.unit_price) == ("Office", Decimal(10), Decimal("22.00"))
    assert (first.price, first.cost, first.company_id) == (Decimal("220.00"), Decimal("180.00"), "c-1")
    assert (second.type, second.price, second.company_id) == ("prorate", Decimal("-4.10"), None)


def test_a_month_that_was_carried_out_is_remembered() -> None:
    base = rules(invoice={"behavior": "recurring", "recurring_invoice": -8841})
    done = carried_out(month(charge("1", "10.00"), base=base, existing=(recurring(),)))
    assert done.memory.settled["inv:1"].state == "posted"
    assert on_invoice(done) == {"Widget": "1 x 10.00"}
    following = next_month(done, charge("2", "12.00"))
    assert following.memory.last_amounts == {(1, "USD"): ("2026-11", Decimal("10.00"))}
    assert following.memory.settled == {}


def test_date_is_a_date() -> None:
    assert month(charge()).sources[0].invoice_date == date(2026, 11, 1)
