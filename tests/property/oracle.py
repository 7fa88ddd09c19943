"""What a month must come to, worked out from the specification alone: small, slow and obvious.

For every charge the state and the names that the specification allows for it, and per client and currency what must
be billed. It takes billingsync's input values (dataclasses) and calls none of its deciding functions. Where the
specification leaves room, a READING says which way it is taken; `by` holds every name that would be right.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

from billingsync.core.charge import Charge
from billingsync.core.inputs import Client, Company, RunInputs
from billingsync.core.rules import ClientFile, ProductBlock, Rules

ZERO = Decimal(0)
KNOWN = "subscription prorate one-time rebate payment-credit service-charge service-credit invoice-credit".split()
SUFFIXES = {"ltd", "limited", "inc", "gmbh", "llc", "bv"}
DIGITS = {"JPY": 0, "KWD": 3}  # every other currency of the tests has two


@dataclass(frozen=True)
class Fate:
    state: str  # posted | dropped | excluded | held
    by: frozenset[str] = frozenset()  # the rule, modifier or reason: any one of these is right
    line: str = ""  # charges with the same mark are summed on one line

    def __str__(self) -> str:
        return f"{self.state} {'|'.join(sorted(self.by))}".strip()


POSTED = Fate("posted")


def held(*reasons: str) -> Fate:
    return Fate("held", frozenset(reasons))


def dropped(modifier: str) -> Fate:
    return Fate("dropped", frozenset({modifier}))


def excluded(rule: str) -> Fate:
    return Fate("excluded", frozenset({rule}))


def to_minor_unit(amount: Decimal, currency: str) -> Decimal:
    """[L3]: halves away from zero."""
    with localcontext() as context:
        context.prec = 200
        return amount.quantize(Decimal(1).scaleb(-DIGITS.get(currency, 2)), rounding=ROUND_HALF_UP)


def total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)


def same_name(name: str) -> str:
    """[C1] names are equal after normalising case, punctuation, spaces and legal suffixes. READING: how many spaces
    there are does not count, whether there is one does ("Data Point" is not "Datapoint")."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", name).casefold())
    while len(words) > 1 and words[-1] in SUFFIXES:
        words.pop()
    return " ".join(words)


def form(name: str) -> list[str]:
    """The legal form, in one spelling."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", name).casefold())
    end = words[len(same_name(name).split()) :]
    return ["ltd" if word == "limited" else word for word in end]


def equal_names(one: str, other: str) -> bool:
    """[C1a] a name without a legal form equals the same name with one; two legal forms are two customers."""
    return same_name(one) == same_name(other) and (form(one) == form(other) or not form(one) or not form(other))


# --- who is billed ----------------------------------------------------------------------------------------------


@dataclass
class Customer:
    """One company of the month, its rules, and the client it is billed to (or why not)."""

    company: Company
    charges: list[Charge]
    file: ClientFile | None
    client: Client | None = None
    how: str = ""
    trouble: frozenset[str] = frozenset()
    never: bool = False

    def rules(self, inputs: RunInputs) -> Rules:
        return self.file.rules if self.file else inputs.rulebook.base


def customers(inputs: RunInputs) -> list[Customer]:
    """[C1] [C2] for all companies of the month."""
    by_company: dict[str, list[Charge]] = defaultdict(list)
    for source in inputs.sources:
        for charge in source.charges:
            if charge.company_id is not None:
                by_company[charge.company_id].append(charge)
    listed = {company.id: company for company in inputs.companies}
    month = []
    for company_id, charges in by_company.items():
        said = charges[0]
        company = listed.get(company_id) or Company(id=company_id, name=said.company_name, external_id=said.external_id)
        month.append(Customer(company, charges, file_of(inputs, company)))
    for customer in month:
        match(customer, inputs)
    for customer in month:
        rivals = [other for other in month if other is not customer and customer.client in claimed_by(other, inputs)]
        # READING: a rival counts against a name as well as against a likeness; only a likeness is no rival of a name.
        stronger = [other for other in rivals if customer.how == "similarity" or other.how != "similarity"]
        if customer.how in ("name", "similarity") and stronger:
            customer.trouble = frozenset({"client_ambiguous"})
    for customer in month:
        if customer.client is not None:
            customer.file = customer.file or file_of_client(inputs, customer.client)
            customer.trouble = customer.trouble or may_not_be_billed(customer, inputs)
    return month


def file_of(inputs: RunInputs, company: Company) -> ClientFile | None:
    for file in inputs.rulebook.clients:
        if file.pax8_company == company.id:
            return file
    for file in inputs.rulebook.clients:
        if file.pax8_company is None and file.name is not None and file.name == company.name:
            return file
    return None


def file_of_client(inputs: RunInputs, client: Client) -> ClientFile | None:
    """A file that names only the HaloPSA client."""
    for file in inputs.rulebook.clients:
        if file.pax8_company is None and file.name is None and file.halo_client == client.id:
            return file
    return None


def candidates(company: Company, inputs: RunInputs) -> tuple[list[Client], str]:
    """The clients that a company's name leads to, and how."""
    equal = active([client for client in inputs.clients if equal_names(client.name, company.name)])
    letters = [client for client in equal if client.name.strip() == company.name.strip()]
    if equal:
        return letters or equal, "name"
    likely = {client_id for client_id, _ in inputs.similar.get(company.id, ())}
    return active([client for client in inputs.clients if client.id in likely]), "similarity"


def shared(company: Company, inputs: RunInputs) -> bool:
    """[C1b] whether a company of another name has the same externalId."""
    said = {charge.company_id: charge for source in inputs.sources for charge in source.charges}
    listed = {one.id: one for one in inputs.companies}
    every = {one.id: one for one in inputs.companies if one.status == "Active"}
    for id_, one in said.items():
        if id_ is not None and id_ not in every:
            every[id_] = listed.get(id_) or Company(id=id_, name=one.company_name, external_id=one.external_id)
    mine = company.external_id.strip()
    rivals = (one for one in every.values() if one.id != company.id and one.external_id.strip() == mine)
    return any(not equal_names(one.name, company.name) for one in rivals)


def active(clients: list[Client]) -> list[Client]:
    """[C1a] an inactive client does not make an active one ambiguous."""
    return [one for one in clients if not (one.inactive or one.merged_into is not None)] or clients


def claimed_by(customer: Customer, inputs: RunInputs) -> list[Client]:
    """READING: a company that could be several clients claims each of them; one that is never billed claims none."""
    listed = customer.rules(inputs).exclude.companies
    if (customer.file and customer.file.exclude) or {customer.company.id, customer.company.name} & set(listed):
        return []
    if customer.how in ("rules", "person", "external_id"):
        return [customer.client] if customer.client else []
    return candidates(customer.company, inputs)[0]


def match(customer: Customer, inputs: RunInputs) -> None:
    """[C1] in its order, one company by itself."""
    clients = {client.id: client for client in inputs.clients}
    company, file = customer.company, customer.file
    before = inputs.memory.matches.get(company.id)
    if before is not None and before.how == "person" and before.client_id is None:
        customer.never, customer.how = True, "person"  # READING: "never" by a person is heard before any file
    elif file is not None and file.halo_client is not None:
        customer.client, customer.how = clients.get(file.halo_client), "rules"
    elif before is not None and before.how == "person":
        customer.client, customer.how = clients.get(before.client_id or 0), "person"
    elif company.external_id.strip().isdecimal() and int(company.external_id) in clients:
        customer.client, customer.how = clients[int(company.external_id)], "external_id"
        named, how = candidates(company, inputs)
        contradicts = how == "name" and customer.client not in named  # [C1b]
        if contradicts or (not equal_names(company.name, customer.client.name) and shared(company, inputs)):
            customer.client, customer.trouble = None, frozenset({"client_ambiguous"})
    else:
        found, customer.how = candidates(company, inputs)
        if before is not None and not equal_names(before.company_name, company.name):
            customer.trouble = frozenset({"client_renamed"})
        elif len(found) > 1:
            customer.trouble = frozenset({"client_ambiguous"})
        elif found and before is not None and before.client_id != found[0].id:
            customer.trouble = frozenset({"client_ambiguous"})  # READING: a match does not move to another client
        elif found:
            customer.client = found[0]
    if customer.client is None and not customer.trouble and not customer.never:
        customer.trouble = frozenset({"client_unmapped"})


def may_not_be_billed(customer: Customer, inputs: RunInputs) -> frozenset[str]:
    """[C2], and what a match by similarity may do before a person confirms it (which makes it a person's)."""
    client, rules = customer.client, customer.rules(inputs)
    assert client is not None
    trouble = set()
    if client.inactive or client.dont_invoice or client.merged_into is not None:
        trouble.add("client_inactive")
    if client.pays_recurring_through if rules.invoice.behavior == "recurring" else client.pays_through:
        trouble.add("client_pays_through_other")
    if customer.how == "similarity" and rules.clients.guessed == "hold":
        trouble.add("client_guessed")
    return frozenset(trouble)


# --- one charge -------------------------------------------------------------------------------------------------


def exclusion(charge: Charge, customer: Customer | None, rules: Rules) -> Fate | None:
    """[A3] before anything else is judged. READING: where several rules apply, the first in the list of [A3]."""
    lists = rules.exclude
    if customer is not None:
        company = customer.company
        if customer.never or (customer.file and customer.file.exclude):
            return excluded("company")
        if company.id in lists.companies or company.name in lists.companies:
            return excluded("company")
    if charge.sku in lists.products or charge.product_name in lists.products:
        return excluded("product")
    if charge.type in lists.types:
        return excluded("charge_type")
    if lists.billed_by_pax8 and charge.billed_by_pax8:
        return excluded("billed_by_pax8")
    if customer is not None:
        return None
    credit = charge.type in ("rebate", "payment-credit", "service-charge", "service-credit", "invoice-credit")
    worth = charge.price != 0 or charge.cost != 0 or charge.problem is not None
    return held("no_company") if worth and not credit else excluded("no_company")


def is_azure(charge: Charge, rules: Rules) -> bool:
    texts = (charge.description, charge.product_name, charge.details)
    return any(charge.sku.startswith(prefix) for prefix in rules.modifiers.azure_sku_prefixes) or any(
        pattern.lower() in text.lower() for pattern in rules.modifiers.azure_patterns for text in texts
    )


def opposite(price: Decimal, cost: Decimal) -> bool:
    return (price > 0 > cost) or (price < 0 < cost)


def zero_rule(price: Decimal, cost: Decimal, rules: Rules) -> Fate | None:
    if rules.modifiers.zero_lines == "keep" or price != 0:
        return None
    if cost == 0:
        return dropped("zero_lines")
    policy = rules.modifiers.zero_price_with_cost
    return {"hold": held("zero_price_with_cost"), "drop": dropped("zero_lines"), "keep": None}[policy]


def judge(charge: Charge, currency: str, rules: Rules) -> Fate:
    """The fate of one charge before anything that holds its whole client. READING: [C3] before the modifiers, as an
    amount that is not the client's money is nothing to drop or collapse."""
    if charge.problem is not None:
        return held("bad_amount")
    if charge.currency != currency:
        return held("currency_mismatch")
    modifiers = rules.modifiers
    if is_azure(charge, rules) and modifiers.azure != "keep":
        return dropped("azure") if modifiers.azure == "drop" else Fate("posted", line="azure")
    if charge.type not in KNOWN:
        return held("unknown_charge_type")
    if modifiers.favorable_prorata == "drop" and charge.type == "prorate":
        if opposite(charge.price, charge.cost):
            return held("price_cost_sign")
        if charge.price < 0:
            return dropped("favorable_prorata")
    return zero_rule(charge.price, charge.cost, rules) or POSTED


def group(charge: Charge, rules: Rules) -> str:
    """[B1]. READING: "N/A" is Pax8's way of saying that there is no purchase order."""
    if rules.invoice.behavior != "new" or rules.invoice.group_by == "client":
        return ""
    if rules.invoice.group_by == "distributor_invoice":
        return charge.invoice_id
    return "" if charge.purchase_order == "N/A" else charge.purchase_order


@dataclass(frozen=True)
class Thing:
    """What one line sells."""

    sku: str
    product_id: str
    name: str


def thing(charges: list[Charge]) -> Thing:
    """READING: a collapsed line sells what its charges have in common, else "Microsoft Azure" without a SKU."""
    if len(charges) == 1 and not charges[0].product_name:
        return Thing(charges[0].sku, charges[0].product_id, charges[0].description or charges[0].sku)
    skus = {charge.sku for charge in charges if charge.sku}
    ids = {charge.product_id for charge in charges if charge.product_id}
    names = {charge.product_name for charge in charges if charge.product_name}
    return Thing(
        skus.pop() if len(skus) == 1 else "",
        ids.pop() if len(ids) == 1 else "",
        names.pop() if len(names) == 1 else "Microsoft Azure",
    )


def product_trouble(sold: Thing, rules: Rules, inputs: RunInputs) -> str:
    """[P1][P2]: "" where there is an item, none is needed, or one will be made."""
    lifecycle = rules.products.lifecycle
    active = {item.id: item for item in inputs.items if not item.inactive}
    if lifecycle == "off":
        return ""
    if lifecycle == "default_item":
        return "" if rules.products.default_item in active else "product_unmatched"
    for block in rules.product_blocks:
        if says(block, sold):
            wanted = {part.halo_item for part in block.parts} or {block.halo_item}
            return "" if wanted <= set(active) else "product_unmatched"
    if sold.sku and sold.sku in inputs.memory.items_by_sku:
        return "" if inputs.memory.items_by_sku[sold.sku] in active else "product_unmatched"
    found = [i for i in active.values() if sold.sku and sold.sku in (i.external_reference, *i.supplier_part_codes)]
    found = found or [i for i in active.values() if sold.name and i.name.casefold() == sold.name.casefold()]
    if len(found) > 1:
        return "product_ambiguous"
    if not found and (lifecycle == "manual" or not (sold.sku or sold.name)):
        return "product_unmatched"
    return ""


def says(block: ProductBlock, sold: Thing) -> bool:
    if block.pax8_sku is not None:
        return block.pax8_sku == sold.sku
    return block.pax8_product == sold.product_id


# --- one customer -----------------------------------------------------------------------------------------------


def one_customer(customer: Customer, inputs: RunInputs) -> dict[str, Fate]:
    rules = customer.rules(inputs)
    fates: dict[str, Fate] = {}
    waiting: list[Charge] = []
    for charge in customer.charges:
        settled = inputs.memory.settled.get(charge.id)
        if settled is not None:  # [R1] [R3]: what was decided stays decided
            fates[charge.id] = {
                "posted": POSTED,
                "unresolved": held("write_unknown"),
            }.get(settled.state, Fate(settled.state, frozenset({settled.by})))
        elif (out := exclusion(charge, customer, rules)) is not None:
            fates[charge.id] = out
        else:
            waiting.append(charge)
    if customer.trouble:
        return fates | {charge.id: held(*customer.trouble) for charge in waiting}
    again = {charge.id for charge in waiting if billed_elsewhere(charge, customer, inputs)}
    fates |= {id_: held("source_duplicate") for id_ in again}
    waiting = [charge for charge in waiting if charge.id not in again]
    currency = currency_of(customer, waiting)
    fates |= {charge.id: judge(charge, currency, rules) for charge in waiting}

    # READING: a collapsed line stands on one invoice, so there is one per company and group of [B1].
    collapsed: dict[str, list[Charge]] = defaultdict(list)
    for charge in waiting:
        if fates[charge.id].line:
            collapsed[group(charge, rules)].append(charge)
    for name, charges in collapsed.items():
        price, cost = total(charge.price for charge in charges), total(charge.cost for charge in charges)
        mark = f"azure of {customer.company.id} {name}"
        fates |= dict.fromkeys((c.id for c in charges), zero_rule(price, cost, rules) or Fate("posted", line=mark))

    whole: set[str] = set()
    for charges in lines_of(customer.charges, fates, inputs):
        trouble = product_trouble(thing(charges), rules, inputs)
        if trouble:
            fates |= {charge.id: held(trouble) for charge in charges}
        if trouble == "product_unmatched" and rules.products.lifecycle == "manual":
            whole.add(trouble)
    if whole or lines_of(customer.charges, fates, inputs):
        whole |= target_trouble(customer, rules, inputs)
    if whole:
        hold_whole(waiting, fates, whole)
    return fates


def billed_elsewhere(charge: Charge, customer: Customer, inputs: RunInputs) -> bool:
    """[S10]. READING: where no dates of service are given, the month of both invoices is one and the same; usage is a
    twin only to the cent, as one period has many charges of it."""

    def thing_of(one: Charge) -> list[object]:
        what: list[object] = [one.subscription_id or (one.product_id or one.product, one.sku), one.type, one.currency]
        what.append(one.billed_by_pax8)
        once = one.type in ("prorate", "one-time") or one.term.casefold() == "arrears"
        same = [one.quantity, one.price] if once or not (one.subscription_id or one.start or one.end) else []
        return [*what, one.start[:10], one.end[:10], *same]

    for other in customer.charges:
        before = inputs.memory.settled.get(other.id)
        if other.invoice_id == charge.invoice_id or thing_of(other) != thing_of(charge):
            continue
        if before is None and other.invoice_id < charge.invoice_id:  # all are of one date
            return True
        if before is not None and before.state not in ("dropped", "excluded"):
            return True
    return False


def lines_of(charges: list[Charge], fates: dict[str, Fate], inputs: RunInputs) -> list[list[Charge]]:
    """The charges that this run would bill, those of one line together."""
    lines: dict[str, list[Charge]] = defaultdict(list)
    for charge in charges:
        if fates[charge.id].state == "posted" and charge.id not in inputs.memory.settled:
            lines[fates[charge.id].line or charge.id].append(charge)
    return list(lines.values())


def hold_whole(charges: list[Charge], fates: dict[str, Fate], reasons: set[str]) -> None:
    """READING: a client that is held as a whole has its dropped charges wait too, as nothing of it is decided yet.
    A charge with a reason of its own may keep it or take the client's."""
    for charge in charges:
        fate = fates[charge.id]
        if fate.state in ("posted", "dropped"):
            fates[charge.id] = held(*reasons)
        elif fate.state == "held":
            fates[charge.id] = held(*reasons, *fate.by)


def currency_of(customer: Customer, waiting: list[Charge]) -> str:
    """[C3]. READING: where HaloPSA does not say its client's currency, one currency among the charges will do."""
    assert customer.client is not None or not waiting
    if customer.client is not None and customer.client.currency:
        return customer.client.currency
    currencies = {charge.currency for charge in waiting if charge.problem is None}
    return currencies.pop() if len(currencies) == 1 else "none"


def target_trouble(customer: Customer, rules: Rules, inputs: RunInputs) -> set[str]:
    """[B2][B3] why the invoice that charges should go on cannot take them."""
    assert customer.client is not None
    if rules.invoice.behavior == "recurring":
        wanted = rules.invoice.recurring_invoice
        if wanted is None:
            return {"recurring_unmapped"}
        mine = [e for e in inputs.existing if e.template and e.client_id == customer.client.id]
        return set() if any(e.id == -abs(wanted) for e in mine) else {"recurring_missing"}
    if rules.invoice.behavior == "latest" and rules.invoice.when_latest_closed == "hold":
        trouble = latest_trouble(customer.client, inputs)
        return {trouble} if trouble else set()
    return set()


CLOSED_BY = ("voided", "posted", "xeroid", "datesent", "amountpaid", "paymentstatus", "creditlinkedtoinvoiceid")


def latest_trouble(client: Client, inputs: RunInputs) -> str:
    mine = [e for e in inputs.existing if not e.template and e.client_id == client.id]
    if not mine:
        return "latest_missing"
    newest = max(mine, key=lambda e: (str(e.origin["invoice_date"]), e.id))
    return "latest_closed" if any(newest.origin.get(key) for key in CLOSED_BY) else ""


# --- limits -----------------------------------------------------------------------------------------------------


def limit(month: list[Customer], fates: dict[str, Fate], inputs: RunInputs) -> None:
    """The table "when a plan must wait": beyond a limit the whole client is held; the others go on."""
    memory = inputs.memory
    missing = memory.last_companies - {customer.company.id for customer in month}
    percent = inputs.rulebook.base.limits.missing_company_percent_max
    whole_run = len(missing) * 100 > percent * len(memory.last_companies)
    for client_id in {customer.client.id for customer in month if customer.client is not None}:
        members = [c for c in month if c.client is not None and c.client.id == client_id]
        active = [c for c in members if any(fates[one.id].state in ("posted", "dropped") for one in c.charges)]
        if client_id in memory.approved or any(c.company.id in memory.approved for c in active):
            continue
        reasons = beyond(client_id, members, fates, inputs)
        reasons |= {"limit_missing_companies"} if whole_run else set()
        for customer in members if reasons else ():
            if not customer.trouble:
                hold_whole([c for c in customer.charges if c.id not in memory.settled], fates, reasons)


def beyond(client_id: int, members: list[Customer], fates: dict[str, Fate], inputs: RunInputs) -> set[str]:
    """READING: where several companies are billed to one client, the client's bill is theirs together, and the rules
    of each that has something to bill count."""
    memory, reasons = inputs.memory, set()
    lines = [(customer, line) for customer in members for line in lines_of(customer.charges, fates, inputs)]
    for limits in [customer.rules(inputs).limits for customer, _ in lines]:
        if limits.new_client == "hold" and client_id not in memory.known_clients:
            reasons.add("limit_new_client")
        if limits.new_product == "hold":
            sold = {charge.sku or charge.product for _, line in lines for charge in line}
            if not sold <= memory.known_products:
                reasons.add("limit_new_product")
        for currency in {line[0].currency for _, line in lines}:
            mine = [line for _, line in lines if line[0].currency == currency]
            # READING: the client's amount of the period is what was posted before and what is added to it.
            of_period = total(charge.price for line in mine for charge in line) + total(
                settled.price
                for customer in members
                for charge in customer.charges
                if (settled := memory.settled.get(charge.id)) and settled.state == "posted"
                if settled.currency == currency
            )
            last = memory.last_amounts.get((client_id, currency))
            if last is not None:
                moved = abs(of_period - last[1])
                if moved > limits.change_amount_min and moved * 100 > limits.change_percent_max * abs(last[1]):
                    reasons.add("limit_change")
            if limits.client_amount_max is not None and of_period > limits.client_amount_max:
                reasons.add("limit_amount")
            least = limits.margin_percent_min
            if least is not None and any(
                low_margin(line, least) for line in [*mine, [one for line in mine for one in line]]
            ):
                reasons.add("limit_margin")
        invoices: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for customer, line in lines:
            if makes_invoice(customer, inputs):
                invoices[group(line[0], customer.rules(inputs)), line[0].currency] += total(c.price for c in line)
        if limits.negative_invoice == "hold" and any(amount < 0 for amount in invoices.values()):
            reasons.add("limit_negative")
    return reasons


def makes_invoice(customer: Customer, inputs: RunInputs) -> bool:
    """Whether its lines become a new invoice (those of "latest" too, where the latest cannot take them)."""
    behavior = customer.rules(inputs).invoice.behavior
    assert customer.client is not None
    return behavior == "new" or (behavior == "latest" and latest_trouble(customer.client, inputs) != "")


def low_margin(charges: list[Charge], least: Decimal) -> bool:
    """Margin in percent of the price. READING: nothing charged for what costs something is below any limit; a credit
    has the margin of the sale that it takes back, and a credit that costs us on top is below any limit."""
    price, cost = total(charge.price for charge in charges), total(charge.cost for charge in charges)
    if price == 0 or opposite(price, cost):
        return cost > 0
    return (price - cost) / price * 100 < least


# --- the month --------------------------------------------------------------------------------------------------


def expected(inputs: RunInputs) -> dict[str, Fate]:
    """The fate of every charge of the month."""
    fates: dict[str, Fate] = {}
    for source in inputs.sources:
        for charge in source.charges:
            if charge.company_id is None:
                out = exclusion(charge, None, inputs.rulebook.base)
                assert out is not None
                fates[charge.id] = out
    month = customers(inputs)
    for customer in month:
        fates |= one_customer(customer, inputs)
    limit(month, fates, inputs)
    return fates


def bills(inputs: RunInputs, fates: dict[str, Fate]) -> dict[tuple[int, str, str], tuple[Decimal, Decimal]]:
    """(client id, group, currency) -> price and cost that this run must write."""
    sums: dict[tuple[int, str, str], tuple[Decimal, Decimal]] = {}
    for customer in customers(inputs):
        for line in lines_of(customer.charges, fates, inputs):
            assert customer.client is not None
            key = customer.client.id, group(line[0], customer.rules(inputs)), line[0].currency
            price, cost = sums.get(key, (ZERO, ZERO))
            sums[key] = price + total(c.price for c in line), cost + total(c.cost for c in line)
    return sums
