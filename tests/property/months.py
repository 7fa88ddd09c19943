"""Hypothesis strategies for odd months: every kind of charge, company, client, item and rule that the rules mention,
in combinations that nobody would think of. A month is a `RunInputs`.

A month has up to three kinds of `Trouble`; the rest of it is calm. Were everything odd at once, everything would be
held, and nothing would be learnt.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from halo_rows import invoice_of
from hypothesis import strategies as st
from oracle import to_minor_unit

from billingsync.core.charge import Charge, Source
from billingsync.core.inputs import Client, Company, Item, Memory, RunInputs
from billingsync.core.invoice import Invoice
from billingsync.core.period import Period
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import (
    ClientFile,
    ClientMatchRules,
    ExcludeRules,
    InvoiceRules,
    LimitRules,
    ModifierRules,
    Part,
    ProductBlock,
    ProductRules,
    Rulebook,
    Rules,
)

ZERO = Decimal(0)


class Kind(NamedTuple):
    """What is sold. Azure comes in every shape: by SKU, by description, by name, by details; with a look-alike."""

    type: str
    sku: str
    product: str
    description: str = ""
    details: str = ""
    term: str = "Monthly"
    billed_by_pax8: bool = False


AZURE = "Microsoft Azure Plan"
KINDS = (
    Kind("subscription", "M365-BP", "Microsoft 365 Business Premium"),
    Kind("subscription", "M365-E3", "Microsoft 365 E3", term="Annual"),
    Kind("subscription", "BUNDLE-1", "Security Bundle"),
    Kind("prorate", "M365-BP", "Microsoft 365 Business Premium", "Mar Partial: Microsoft 365 Business Premium"),
    Kind("prorate", "M365-E3", "Microsoft 365 E3"),
    Kind("one-time", "", "Migration"),
    Kind("one-time", "ODD-1", ""),
    Kind("one-time", "", "", "set-up by hand"),
    Kind("subscription", "", ""),
    Kind("rebate", "M365-E3", "Microsoft 365 E3"),
    Kind("service-credit", "", "Goodwill"),
    Kind("payment-credit", "", "Payment"),
    Kind("usage", "ACR-1", "Acronis", term="Arrears"),  # an unknown type
    Kind("", "ODD-2", "No type at all"),
    Kind("subscription", "ACR-1", "Acronis", "Acronis - Arrears Charge", term="Arrears"),  # arrears, not Azure
    Kind("subscription", "AZR-AD-P1", "Azure AD Premium P1"),  # Azure in name only
    Kind("subscription", "MST-AZR-PLN-C100", AZURE, term="Arrears"),
    Kind("subscription", "MST-AZR-PLN-C100", AZURE, term="Arrears"),
    Kind("one-time", "AZR-ARR-7", "Reserved Instance"),
    Kind("prorate", "MST-ARI-1", "Reservation"),
    Kind("usage", "X-1", "Virtual Machines", "MICROSOFT AZURE consumption"),  # an unknown type, yet Azure
    Kind("one-time", "", "Consumption", details="azure plan / storage"),
    Kind("prorate", "X-2", AZURE, "Credit for Azure Plan"),
    Kind("rebate", "MST-AZR-PLN-C100", AZURE),
    Kind("subscription", "M365-BP", "Microsoft 365 Business Premium", billed_by_pax8=True),
)


TROUBLES = ("names", "clients", "currencies", "amounts", "rules", "files", "memory", "limits", "products", "targets")


class Numbers(NamedTuple):
    """quantity, unit price, total ("" where it is the product), unit cost, cost total (likewise); "-" is absent."""

    quantity: str
    unit_price: str
    total: str
    unit_cost: str
    cost_total: str


NUMBERS = (
    Numbers("10", "22.00", "", "18.00", ""),
    Numbers("1", "103.4412", "103.44", "86.2010", "86.20"),
    Numbers("11", "2.4999", "", "2.10", ""),
    Numbers("11", "2.4999", "27.00", "2.10", "23.00"),  # neither the given nor any short unit price gives the total
    Numbers("3", "3.33", "10.00", "2", "6.00"),  # 10 / 3 with 6 decimals gives it
    Numbers("7000000", "0.01", "69999.99", "0.01", "69999.99"),
    Numbers("0.3333", "9.99", "", "7.7", ""),
    Numbers("1", "0.005", "", "0.004", ""),  # a half
    Numbers("1", "-0.005", "", "-0.004", ""),
    Numbers("5", "0", "0.00", "0", "0.00"),
    Numbers("0", "5.00", "0.00", "4", "0.00"),
    Numbers("0", "5.00", "12.00", "4", "8.00"),  # a flat fee
    Numbers("5", "0", "0.00", "1.50", "7.50"),  # a cost that nobody pays
    Numbers("-2", "7.04", "-14.08", "5.68", "-11.36"),
    Numbers("2", "-7.04", "-14.08", "-5.68", "-11.36"),
    Numbers("2", "-7.04", "-14.08", "5.68", "11.36"),  # signs that disagree
    Numbers("1", "5.00", "5.00", "-4.00", "-4.00"),
    Numbers("-1", "0", "0.00", "2.00", "-2.00"),
    Numbers("1", "-150.00", "-150.00", "-120.00", "-120.00"),
    Numbers("-", "-", "49.99", "-", "40.00"),
    Numbers("4", "-", "10.01", "-", "8.03"),
    Numbers("-", "12.5", "12.50", "-", "10.00"),
    Numbers("40", "31.25", "1250.00", "30.00", "1200.00"),
    Numbers("1", "9.00", "9.00", "12.00", "12.00"),  # sold below cost
    Numbers("1", "999999999.99", "999999999.99", "1", "1"),
)

KNOWN_PRODUCTS = frozenset({"M365-BP", "M365-E3", "MST-AZR-PLN-C100", "AZR-ARR-7", "MST-ARI-1", "Consumption"})
NAMES = (
    "Contoso Ltd",
    "CONTOSO, Inc.",
    "Contoso",
    "Contoso Europe",
    "Fabrikam GmbH",
    "Fabrikam  Limited",
    "Litware LLC",
    "Litware & Sons",
)
CURRENCIES = ("USD", "USD", "USD", "EUR", "JPY", "KWD")
CLIENT_IDS = (1, 2, 3, 4)
COMPANY_IDS = ("c-a", "c-b", "c-c", "c-d")
INVOICES = ("inv-1", "inv-2", "inv-3")
RECURRING = -8841


def number(text: str) -> Decimal | None:
    return None if text == "-" else Decimal(text)


def amount(given: str, quantity: str, unit: str, currency: str) -> Decimal:
    exact = Decimal(given) if given else Decimal(quantity) * Decimal(unit)
    return to_minor_unit(exact, currency) + ZERO


def charge(
    charge_id: str,
    invoice: str,
    company: str | None,
    kind: Kind,
    numbers: Numbers,
    currency: str = "USD",
    **other: Any,
) -> Charge:
    quantity, unit_price, whole, unit_cost, whole_cost = numbers
    fields: dict[str, Any] = {
        "id": f"{invoice}:{charge_id}",
        "invoice_id": invoice,
        "company_id": company,
        "company_name": "",
        "external_id": "",
        "type": kind.type,
        "term": kind.term,
        "sku": kind.sku,
        "product_id": f"p-{kind.sku}" if kind.sku else "",
        "product_name": kind.product,
        "description": kind.description,
        "details": kind.details,
        "subscription_id": "",
        "purchase_order": "N/A",
        "start": "2026-11-01",
        "end": "2026-11-30",
        "quantity": number(quantity),
        "unit_price": number(unit_price),
        "unit_cost": number(unit_cost),
        "price": amount(whole, quantity, unit_price, currency),
        "cost": amount(whole_cost, quantity, unit_cost, currency),
        "price_rounding": ZERO,
        "cost_rounding": ZERO,
        "sales_tax": Decimal("1.23"),
        "currency": currency,
        "billed_by_pax8": kind.billed_by_pax8,
        "problem": None,
    }
    return Charge(**(fields | other))


@st.composite
def charges(
    draw: st.DrawFn, charge_id: str, companies: tuple[Company, ...], home: str, troubles: frozenset[str] = frozenset()
) -> Charge:
    company = draw(st.sampled_from([*companies * (12 // len(companies)), None]))
    made = charge(
        charge_id,
        draw(st.sampled_from(INVOICES)),
        company.id if company else None,
        draw(st.sampled_from(KINDS)),
        draw(st.sampled_from(NUMBERS)),
        draw(st.sampled_from([home, home, home, "EUR", "JPY", "ZZZ"])) if "currencies" in troubles else home,
        company_name=company.name if company else "",
        external_id=company.external_id if company else "",
        subscription_id=draw(st.sampled_from(["", "", "s-1", "s-2"])),
        purchase_order=draw(st.sampled_from(["N/A", "", "PO-1", "PO-2"])),
    )
    if made.currency == "ZZZ":
        return replace(made, problem="unknown currency 'ZZZ'")
    if "amounts" in troubles:
        # amounts that have nothing to do with quantity and unit price, and amounts that cannot be read
        odd = draw(st.sampled_from(["", "price", "cost", "bad"]))
        if odd == "bad":
            return replace(made, problem="total: not a number: 'x'", price=ZERO, quantity=None)
        if odd:
            cents = Decimal(draw(st.integers(-(10**7), 10**7))) / 100
            return replace(made, **{odd: to_minor_unit(cents, made.currency) + ZERO})
    return made


def modifiers() -> st.SearchStrategy[ModifierRules]:
    return st.builds(
        ModifierRules,
        azure=st.sampled_from(["keep", "drop", "collapse"]),
        favorable_prorata=st.sampled_from(["keep", "drop"]),
        zero_lines=st.sampled_from(["keep", "drop"]),
        zero_price_with_cost=st.sampled_from(["hold", "drop", "keep"]),
    )


PARTS = (
    (Part(halo_item=11, share=Decimal(60)), Part(halo_item=12, share=Decimal(40))),
    (
        Part(halo_item=11, share=Decimal("33.33")),
        Part(halo_item=12, share=Decimal("33.33")),
        Part(halo_item=13, share=Decimal("33.34")),
    ),
    (Part(halo_item=12, unit_price=Decimal("1.25")), Part(halo_item=13, rest=True)),
)
BLOCKS = (
    ProductBlock(pax8_sku="M365-BP", halo_item=11),
    ProductBlock(pax8_product="p-M365-E3", halo_item=12),
    ProductBlock(pax8_sku="M365-E3", halo_item=404),  # an item that does not exist
)
ITEMS = (
    Item(id=11, name="Premium licence", external_reference="M365-E3"),
    Item(id=12, name="microsoft 365 e3"),
    Item(id=13, name="Migration", supplier_part_codes=("AZR-AD-P1", "ODD-1")),
    Item(id=14, name="MIGRATION"),
    Item(id=15, name="Azure", external_reference="MST-AZR-PLN-C100"),
    Item(id=16, name="Acronis", external_reference="ACR-1", inactive=True),
    Item(id=17, name="Software"),
)


@st.composite
def product_blocks(draw: st.DrawFn) -> tuple[ProductBlock, ...]:
    blocks = draw(st.sampled_from([(), (), BLOCKS[:1], BLOCKS[:2], BLOCKS[2:]]))
    if draw(st.booleans()):
        blocks += (ProductBlock(pax8_sku="BUNDLE-1", parts=draw(st.sampled_from(PARTS))),)
    return blocks


def limits() -> st.SearchStrategy[LimitRules]:
    off = LimitRules(negative_invoice="post", change_percent_max=Decimal(10**9))
    return st.one_of(
        st.just(off),
        st.builds(
            LimitRules,
            change_percent_max=st.sampled_from([Decimal(50), Decimal(0), Decimal(1000)]),
            change_amount_min=st.sampled_from([Decimal("100.00"), ZERO]),
            margin_percent_min=st.sampled_from([None, None, Decimal(5), Decimal(-50)]),
            client_amount_max=st.sampled_from([None, None, Decimal(1000)]),
            negative_invoice=st.sampled_from(["hold", "post"]),
            new_client=st.sampled_from(["post", "post", "hold"]),
            new_product=st.sampled_from(["post", "post", "hold"]),
            missing_company_percent_max=st.sampled_from([Decimal(20), Decimal(60), Decimal(100)]),
        ),
    )


def invoice_rules() -> st.SearchStrategy[InvoiceRules]:
    return st.builds(
        InvoiceRules,
        behavior=st.sampled_from(["new", "latest", "recurring"]),
        group_by=st.sampled_from(["client", "distributor_invoice", "purchase_order"]),
        when_latest_closed=st.sampled_from(["hold", "new"]),
        recurring_invoice=st.sampled_from([RECURRING, RECURRING, RECURRING, None, -1]),
    )


def product_rules() -> st.SearchStrategy[ProductRules]:
    return st.builds(
        ProductRules,
        lifecycle=st.sampled_from(["off", "manual", "default_item", "automatic", "automatic"]),
        default_item=st.sampled_from([17, 17, 17, 404, None]),
    )


def exclude_rules() -> st.SearchStrategy[ExcludeRules]:
    return st.builds(
        ExcludeRules,
        companies=st.sampled_from([(), (), (), ("c-b",), ("Contoso Ltd",)]),
        products=st.sampled_from([(), (), ("M365-E3",), ("Migration",)]),
        types=st.sampled_from([ExcludeRules().types, (), ("one-time",)]),
        billed_by_pax8=st.booleans(),
    )


@st.composite
def rules(draw: st.DrawFn, troubles: frozenset[str]) -> Rules:
    calm = Rules(limits=LimitRules(negative_invoice="post"))
    return replace(
        calm,
        invoice=draw(invoice_rules()) if "targets" in troubles else calm.invoice,
        modifiers=draw(modifiers()),
        clients=ClientMatchRules(guessed=draw(st.sampled_from(["post", "hold"]))),
        products=draw(product_rules()) if "products" in troubles else calm.products,
        product_blocks=draw(product_blocks()) if "products" in troubles else (),
        exclude=draw(exclude_rules()) if "rules" in troubles else calm.exclude,
        limits=draw(limits()) if "limits" in troubles else calm.limits,
    )


@st.composite
def rulebooks(draw: st.DrawFn, companies: tuple[Company, ...], troubles: frozenset[str]) -> Rulebook:
    base = draw(rules(troubles))
    files: dict[str, ClientFile] = {}  # one a name: two files for one client are a mistake in the rules
    for n, company in enumerate(companies if "files" in troubles else ()):
        how = draw(st.sampled_from(["none", "id", "name", "client"]))
        if how == "none":
            continue
        client = draw(st.sampled_from(CLIENT_IDS if how == "client" else (None, *CLIENT_IDS, 99)))
        name = {"id": company.id, "name": company.name, "client": str(client)}[how]
        files[name] = ClientFile(
            path=f"rules/clients/{n}.toml",
            pax8_company=company.id if how == "id" else None,
            name=company.name if how == "name" else None,
            halo_client=client,
            exclude=draw(st.integers(0, 9)) == 9,
            rules=draw(rules(troubles)) if draw(st.booleans()) else base,
        )
    return Rulebook(base=base, clients=tuple(files.values()), digest="rules")


@st.composite
def clients(draw: st.DrawFn, home: str, troubles: frozenset[str]) -> tuple[Client, ...]:
    made = []
    for client_id in CLIENT_IDS:
        client = Client(id=client_id, name=f"Client {client_id}", currency=home)
        if "names" in troubles:
            client = replace(client, name=draw(st.sampled_from(NAMES)))
        if "currencies" in troubles:
            client = replace(client, currency=draw(st.sampled_from([home, "", "EUR"])))
        if "clients" in troubles:
            odd = draw(st.sampled_from(["", "", "inactive", "dont", "merged", "pays", "recurring"]))
            client = replace(
                client,
                inactive=odd == "inactive",
                dont_invoice=odd == "dont",
                merged_into=7 if odd == "merged" else None,
                pays_through=7 if odd == "pays" else None,
                pays_recurring_through=7 if odd == "recurring" else None,
            )
        made.append(client)
    return tuple(made)


@st.composite
def likenesses(
    draw: st.DrawFn, companies: tuple[Company, ...], troubles: frozenset[str]
) -> dict[str, tuple[tuple[int, Decimal], ...]]:
    """What the shell's similarity search might say."""
    similar = {}
    for company in companies if "names" in troubles else ():
        near = draw(st.sampled_from([(), (), (1,), (2,), (3,), (1, 3)]))
        if near:
            similar[company.id] = tuple((client_id, Decimal("93.3")) for client_id in near)
    return similar


@st.composite
def memories(draw: st.DrawFn, companies: tuple[Company, ...], home: str, troubles: frozenset[str]) -> Memory:
    memory = Memory()
    if "memory" in troubles:
        matches = {}
        for company in companies:
            how = draw(st.sampled_from(["", "", "person", "name", "similarity", "renamed"]))
            if how:
                client_id = draw(st.sampled_from([*CLIENT_IDS, 99, None] if how == "person" else CLIENT_IDS))
                matches[company.id] = RememberedMatch(
                    client_id=client_id,
                    how="name" if how == "renamed" else how,
                    company_name="Adventure Works" if how == "renamed" else company.name,
                )
        memory = replace(memory, matches=matches)
    if "products" in troubles:
        memory = replace(memory, items_by_sku=draw(st.sampled_from([{}, {"M365-BP": 13}, {"ODD-2": 404}])))
    if "limits" in troubles:
        memory = replace(
            memory,
            known_clients=draw(st.sampled_from([frozenset(), frozenset({1, 2}), frozenset(CLIENT_IDS)])),
            known_products=draw(st.sampled_from([frozenset(), KNOWN_PRODUCTS])),
            last_amounts={
                (client_id, home): ("2026-10", Decimal(last))
                for client_id in CLIENT_IDS
                if (last := draw(st.sampled_from(["", "220.00", "0.00", "-50.00", "5000"])))
            },
            last_companies=draw(st.sampled_from([frozenset(), frozenset(COMPANY_IDS), frozenset({"c-a", "c-gone"})])),
            approved=draw(st.sampled_from([frozenset(), frozenset(), frozenset({1, "c-b"})])),
        )
    return memory


@st.composite
def invoices(draw: st.DrawFn) -> tuple[Invoice, ...]:
    found = []
    for client_id in CLIENT_IDS:
        for n in range(draw(st.sampled_from([0, 1, 1, 2]))):
            raw: dict[str, object] = {
                "id": client_id * 100 + n,
                "client_id": client_id,
                "invoice_date": draw(st.sampled_from(["2026-10-05T00:00:00", "2026-11-02T00:00:00"])),
                "lines": [],
            }
            trouble = draw(st.sampled_from(["", "", "posted", "voided", "xeroid", "datesent", "amountpaid"]))
            if trouble:
                shut = {"xeroid": "x-1", "datesent": "2026-11-03T00:00:00", "amountpaid": Decimal("1.5")}
                raw[trouble] = shut.get(trouble, True)
            found.append(invoice_of(raw, id_=client_id * 100 + n, client_id=client_id, template=False))
    owner = draw(st.sampled_from(CLIENT_IDS))
    found.append(invoice_of({"id": RECURRING, "lines": []}, id_=RECURRING, client_id=owner, template=True))
    return tuple(found)


def sources_of(all_charges: list[Charge]) -> tuple[Source, ...]:
    return tuple(
        Source(
            invoice_id=invoice,
            invoice_date=date(2026, 11, 1),
            status="Unpaid",
            currency="USD",
            total=None,
            carried_balance=None,
            partner_name="Northwind IT",
            charges=tuple(one for one in all_charges if one.invoice_id == invoice),
        )
        for invoice in INVOICES
    )


@st.composite
def months(draw: st.DrawFn, most: int = 12) -> RunInputs:
    """One odd month. Nothing of it is settled yet."""
    troubles = draw(st.frozensets(st.sampled_from(TROUBLES), max_size=3))
    home = draw(st.sampled_from(CURRENCIES))
    companies = tuple(
        Company(
            id=company_id,
            name=draw(st.sampled_from(NAMES)) if "names" in troubles else f"Company {company_id}",
            external_id=draw(st.sampled_from(["", "", "", "1", " 3 ", "99", "x7"]))
            if "names" in troubles
            else str(draw(st.sampled_from([n, n, n, 1]))),
        )
        for n, company_id in enumerate(COMPANY_IDS[: draw(st.integers(1, 4))], start=1)
    )
    count = draw(st.integers(1, most))
    all_charges = [draw(charges(f"i{n}", companies, home, troubles)) for n in range(count)]
    listed = tuple(company for company in companies if "names" not in troubles or draw(st.integers(0, 5)))
    return RunInputs(
        partner="northwind",
        period=Period(2026, 11),
        sources=sources_of(all_charges),
        companies=listed,
        clients=draw(clients(home, troubles)),
        items=ITEMS,
        existing=draw(invoices()) if "targets" in troubles else (),
        rulebook=draw(rulebooks(companies, troubles)),
        memory=draw(memories(companies, home, troubles)),
        similar=draw(likenesses(companies, troubles)),
    )
