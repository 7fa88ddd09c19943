"""A hand-made plan with every feature that a report must show, hostile text included, and smaller ones.

The accounts are added up from the parts here, so the equation of each sample holds by construction.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal as D

from billingsync.core.bill.plan import (
    Account,
    ClientPlan,
    CurrencyAccount,
    Dropped,
    Excluded,
    Hold,
    ItemRef,
    Kept,
    Plan,
    PlanLine,
    Posting,
    SourceSummary,
)
from billingsync.core.steps import Offer, instruction

FORMULA = "=cmd|' /C calc'!A0"
SCRIPT = "<script>alert('x')</script>"
ANSI = "\x1b[31mred\x1b[0m \x9b2J"
BIDI = "invoice \u202egpj.exe\u202c"
LONG = "long " * 2000
LONE = "half \ud800 a pair"
DIGEST = "4f9c21d7" * 8
CREATED_AT = "2026-12-05T07:30:00+00:00"


def line(
    action: str,
    title: str,
    quantity: str,
    unit_price: str,
    unit_cost: str,
    amount: str,
    cost: str,
    *charges: str,
    line_id: int | None = None,
    text: str = "",
    item: ItemRef | None = None,
    before: str = "",
    before_amount: str | None = None,
    group: str = "",
) -> PlanLine:
    return PlanLine(
        action=action,
        line_id=line_id,
        title=title,
        description=text or title,
        item=item,
        quantity=D(quantity),
        unit_price=D(unit_price),
        unit_cost=D(unit_cost),
        amount=D(amount),
        cost=D(cost),
        charges=charges,
        group=group,
        before=before,
        before_amount=None if before_amount is None else D(before_amount),
    )


def dropped(charge: str, modifier: str, amount: str, cost: str, product: str, currency: str = "USD") -> Dropped:
    return Dropped(charge=charge, modifier=modifier, amount=D(amount), cost=D(cost), product=product, currency=currency)


def excluded(charge: str, rule: str, amount: str, cost: str, product: str, currency: str = "USD") -> Excluded:
    return Excluded(charge=charge, rule=rule, amount=D(amount), cost=D(cost), product=product, currency=currency)


def hold(
    charge: str, reason: str, amount: str, cost: str, product: str, detail: str, step: str, currency: str = "USD"
) -> Hold:
    return Hold(
        charge=charge,
        reason=reason,
        amount=D(amount),
        cost=D(cost),
        product=product,
        currency=currency,
        detail=detail,
        steps=(instruction(Offer.BILL, step),),
    )


def client(
    name: str,
    client_id: int | None,
    currency: str = "USD",
    *,
    behavior: str = "new",
    target: int | None = None,
    held: str | None = None,
    lines: tuple[PlanLine, ...] = (),
    dropped: tuple[Dropped, ...] = (),
    excluded: tuple[Excluded, ...] = (),
    holds: tuple[Hold, ...] = (),
    client_name: str | None = None,
    matched_by: str | None = "name",
    guessed: str = "",
    last: tuple[str, str] | None = None,
    stays: tuple[str, str] = ("0", "0"),
) -> ClientPlan:
    """`stays` is price and cost of lines that stay as they are and are therefore not listed."""
    return ClientPlan(
        company_id=f"company-{name[:12].strip()}",
        company_name=name,
        client_id=client_id,
        client_name=(name if client_name is None else client_name) if client_id else "",
        matched_by=matched_by if client_id else None,
        behavior=behavior,
        target_invoice_id=target,
        amount=D(stays[0]) + sum((entry.amount for entry in lines), D(0)),
        cost=D(stays[1]) + sum((entry.cost for entry in lines), D(0)),
        currency=currency,
        held=held,
        lines=lines,
        dropped=dropped,
        excluded=excluded,
        holds=holds,
        guessed=guessed,
        last_period=last[0] if last else "",
        last_amount=D(last[1]) if last else None,
    )


def plan(
    clients: Iterable[ClientPlan] = (),
    *,
    unassigned_excluded: tuple[Excluded, ...] = (),
    unassigned_holds: tuple[Hold, ...] = (),
    already: dict[str, tuple[str, str]] | None = None,
    kept: tuple[Kept, ...] = (),
    warnings: tuple[str, ...] = (),
    sources: tuple[SourceSummary, ...] | None = None,
    asked: tuple[str, ...] = (),
) -> Plan:
    """A plan whose accounts, postings and (unless given) source are added up from its parts."""
    clients = tuple(clients)
    already = already or {}
    drops = [entry for one in clients for entry in one.dropped]
    excludes = [entry for one in clients for entry in one.excluded] + list(unassigned_excluded)
    holds = [entry for one in clients for entry in one.holds] + list(unassigned_holds)
    named = (*[c.currency for c in clients], *[e.currency for e in (*excludes, *holds)], *already)
    accounts = []
    for currency in dict.fromkeys(named):
        sides = []
        for place, field in enumerate(("amount", "cost")):
            new = sum((getattr(c, field) for c in clients if c.currency == currency), D(0))
            earlier = D(already.get(currency, ("0", "0"))[place])
            parts = [
                sum((getattr(entry, field) for entry in entries if entry.currency == currency), D(0))
                for entries in (drops, excludes, holds)
            ]
            sides.append(
                Account(
                    charges=new + earlier + sum(parts),
                    posted=new + earlier,
                    dropped=parts[0],
                    excluded=parts[1],
                    held=parts[2],
                    already_posted=earlier,
                )
            )
        accounts.append(CurrencyAccount(currency=currency, price=sides[0], cost=sides[1]))
    if sources is None:
        sources = tuple(
            SourceSummary(
                invoice_id=f"inv-{account.currency}",
                status="Unpaid",
                charges=40,
                price=account.price.charges,
                cost=account.cost.charges,
                sales_tax=D("12.50") if account.currency == "USD" else D(0),
                currency=account.currency,
                header_total=None if account.currency == "JPY" else account.cost.charges + 10,
                price_rounding=D("0.004") if account.currency == "USD" else D(0),
                cost_rounding=D(0),
            )
            for account in accounts
        )
    return Plan(
        digest=DIGEST,
        partner="Northwind IT Services",
        period="2026-11",
        rules_digest="a0b1c2d3" * 8,
        sources=sources,
        accounts=tuple(accounts),
        clients=clients,
        unassigned_excluded=unassigned_excluded,
        unassigned_holds=unassigned_holds,
        postings=tuple(_postings(clients)),
        kept=kept,
        warnings=warnings,
        clients_asked=asked,
    )


def _postings(clients: tuple[ClientPlan, ...]) -> Iterable[Posting]:
    actions = {"new": "create", "latest": "append", "recurring": "update"}
    for one in clients:
        for group in dict.fromkeys(entry.group for entry in one.lines):
            lines = tuple(entry for entry in one.lines if entry.group == group)
            assert one.client_id is not None
            yield Posting(
                key=f"key-{one.client_id}-{group}",
                base_key=f"key-{one.client_id}-{group}",
                generation=0,
                action=actions[one.behavior],
                client_id=one.client_id,
                client_name=one.client_name,
                invoice_id=one.target_invoice_id,
                group=group,
                currency=one.currency,
                amount=sum((entry.amount for entry in lines), D(0)),
                cost=sum((entry.cost for entry in lines), D(0)),
                lines=lines,
            )


def _clients() -> list[ClientPlan]:
    contoso = client(
        "Contoso Ltd",
        214,
        behavior="recurring",
        target=-237,
        matched_by="external_id",
        last=("2026-10", "232.53"),
        lines=(
            line(
                "update",
                "Microsoft 365 Business Premium",
                "10",
                "22.00",
                "18",
                "220.00",
                "180.00",
                "inv-USD:1",
                "inv-USD:2",
                line_id=9001,
                text="Microsoft 365 Business Premium (2026-11-01 to 2026-11-30)",
                item=ItemRef(id=17, name="M365 BP"),
                before="9 x 22.00",
                before_amount="198.00",
            ),
            line(
                "add",
                "Defender for Business",
                "1",
                "41.37",
                "30.00",
                "41.37",
                "30.00",
                "inv-USD:3",
                text="Defender for Business (2026-11-03 to 2026-11-30)",
            ),
        ),
        dropped=(dropped("inv-USD:4", "favorable_prorata", "-4.10", "-3.00", "M365 E3 prorata"),),
    )
    fabrikam = client(
        "Fabrikam, Incorporated of Western Washington and Northern Oregon",
        31,
        client_name="Fabrikam Incorporated",
        matched_by="similarity",
        guessed="93.3 % similar",
        lines=(
            line("add", "Acronis Cyber Protect", "11", "2.4999", "2.1", "27.50", "23.10", "inv-USD:5", group="PO-1"),
            line(
                "add",
                "Dropbox Business",
                "1.5",
                "1000.00",
                "900.00",
                "1500.00",
                "1350.00",
                "inv-USD:6",
                item=ItemRef(id=None, name="Dropbox Business", create=True, sku="DBX-1"),
                group="PO-2",
            ),
            line("add", "Credit for October", "1", "-12.00", "-10.00", "-12.00", "-10.00", "inv-USD:7", group="PO-2"),
        ),
        excluded=(
            excluded("inv-USD:8", "billed_by_pax8", "200.00", "200.00", "Dropbox Business, billed directly"),
            excluded("inv-USD:9", "charge_type", "-25.00", "-25.00", "Partner rebate"),
        ),
        holds=(
            hold(
                "inv-USD:10",
                "product_unmatched",
                "18.00",
                "15.00",
                "Exotic Backup Agent",
                "no HaloPSA item for 'Exotic Backup Agent'",
                "billingsync map products --set EXO-1=<item id>",
            ),
            hold(
                "inv-EUR:1",
                "currency_mismatch",
                "67.10",
                "55.00",
                "Backup Storage Frankfurt",
                "charged in EUR, the client is billed in USD",
                "change the currency in Pax8 or HaloPSA",
                "EUR",
            ),
        ),
    )
    return [contoso, fabrikam, *_hostile(), *_odd()]


def _hostile() -> list[ClientPlan]:
    texts = (FORMULA, SCRIPT, ANSI, BIDI, LONE, f"two\r\nlines\t{'|'} of `code` @channel", "{0.__class__} {{ 7*7 }}")
    lines = tuple(
        line("add", text, "1", "1.00", "0.50", "1.00", "0.50", f"inv-USD:h{number}")
        for number, text in enumerate(texts)
    )
    long = line("add", LONG, "12", "3.333333", "3", "40.00", "36.00", "inv-USD:long")
    return [
        client(f"{SCRIPT}\n{ANSI}", 666, lines=(*lines, long), matched_by="person"),
        client(
            f"{FORMULA} {BIDI}",
            None,
            held="client_unmapped",
            holds=tuple(
                hold(
                    f"inv-USD:u{number}",
                    "client_unmapped",
                    "2.50",
                    "2.00",
                    f"Product number {number} {LONE if number == 3 else ''}",
                    f"no HaloPSA client is named {FORMULA}",
                    "billingsync map companies --set company-x=<client id>",
                )
                for number in range(1, 15)
            ),
        ),
    ]


def _odd() -> list[ClientPlan]:
    return [
        client(
            "株式会社サンプル・テクノロジーズ東京本社",
            7,
            "JPY",
            behavior="latest",
            target=90211,
            last=("2026-10", "12000"),
            lines=(line("add", "Microsoft 365 E3", "3", "4000", "3500", "12000", "10500", "inv-JPY:1"),),
        ),
        client(
            "Kuwait Oasis Trading W.L.L.",
            8,
            "KWD",
            last=("2026-10", "-0.500"),
            lines=(line("add", "Exchange Online", "1", "1.250", "1.000", "1.250", "1.000", "inv-KWD:1"),),
        ),
        client(
            "Adventure Works",
            9,
            behavior="recurring",
            target=-240,
            last=("2026-10", "66.00"),
            stays=("50.00", "40.00"),
            lines=(
                line(
                    "remove",
                    "Visio Plan 2",
                    "0",
                    "0",
                    "0",
                    "0.00",
                    "0.00",
                    line_id=77,
                    before="1 x 16.00",
                    before_amount="16.00",
                ),
                line(
                    "update",
                    "Project Plan 3",
                    "2",
                    "31.50",
                    "25",
                    "63.00",
                    "50.00",
                    "inv-USD:20",
                    line_id=78,
                    before="2 x 30.00",
                    before_amount="60.00",
                ),
            ),
        ),
        client(
            "Wide World Importers",
            10,
            dropped=tuple(
                dropped(f"inv-USD:a{number}", "azure", f"{number}.25", f"{number}.00", f"Azure service {number}")
                for number in range(1, 19)
            )
            + (dropped("inv-USD:z1", "zero_lines", "0.00", "0.00", "Free trial"),) * 2,
        ),
        client(
            "Alpine Ski House GmbH",
            11,
            "EUR",
            held="limit_negative",
            holds=(
                hold(
                    "inv-EUR:2",
                    "limit_negative",
                    "-35.00",
                    "-30.00",
                    "Microsoft 365 E5 credit",
                    "the new invoice would come to -35.00 EUR",
                    "billingsync approve 4f9c21 --client 'Alpine Ski House GmbH' --reason '...'",
                    "EUR",
                ),
            ),
        ),
        client("Nothing New Ltd", 12),
    ]


def full_plan() -> Plan:
    """Every feature at once: four currencies, every behavior and state, negatives, hostile text."""
    return plan(
        _clients(),
        unassigned_excluded=(excluded("inv-USD:30", "no_company", "12.00", "12.00", "Partner support fee"),),
        unassigned_holds=(
            hold(
                "inv-USD:31",
                "unknown_charge_type",
                "5.00",
                "4.00",
                "Mystery",
                "Pax8 calls this charge 'surcharge', which billingsync does not know",
                'look at the charge in Pax8; to leave such charges out, add "surcharge" to exclude.types',
            ),
        ),
        already={"USD": ("120.00", "100.00")},
        kept=(
            Kept(
                company_name="Contoso Ltd",
                currency="USD",
                credits_withheld=D("4.10"),
                price_dropped=D("-4.10"),
                cost_absorbed=D("-3.00"),
            ),
            Kept(
                company_name="Wide World Importers",
                currency="USD",
                credits_withheld=D("0.00"),
                price_dropped=D("175.50"),
                cost_absorbed=D("171.00"),
            ),
        ),
        warnings=(
            "invoice inv-USD: the header says 10.00 USD more than its charges; Pax8 does not define it precisely",
            f"hostile warning {ANSI}\nsecond line {SCRIPT}",
        ),
    )


def empty_plan() -> Plan:
    """A month in which everything was posted before."""
    return plan(already={"USD": ("18231.07", "15310.44")})


def held_plan() -> Plan:
    """Nothing to post, one client that waits."""
    return plan(
        [
            client(
                "Tailspin Toys",
                None,
                held="client_unmapped",
                holds=(
                    hold(
                        "inv-USD:1",
                        "client_unmapped",
                        "85.10",
                        "70.00",
                        "Microsoft 365 Business Basic",
                        "no HaloPSA client has this name or one like it",
                        "billingsync map companies --set company-1=<client id>",
                    ),
                ),
            )
        ]
    )


def small_plan() -> Plan:
    """One client of one currency: the example of the interface."""
    return plan(_clients()[:1])


def bare_plan() -> Plan:
    """Not even a charge."""
    return plan()
