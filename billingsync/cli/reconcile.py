"""The commands that compare what Pax8 sells with what HaloPSA bills. They write to neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from billingsync.cli.billing import JsonOption
from billingsync.cli.formats import FORMATS, format_of
from billingsync.cli.roles import may, require
from billingsync.cli.session import connected
from billingsync.cli.terminal import console, note, out, say, write_file
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.connect import Connections
    from billingsync.core.period import Period
    from billingsync.core.reconcile.compare import Reconciliation
    from billingsync.errors import NoSnapshot
    from billingsync.report.comparison.view import Filters, View

PeriodArgument = Annotated[
    str | None,
    typer.Argument(metavar="[PERIOD]", help="Month as 2026-11, or several as 2026-09..2026-11; by default now."),
]
ByOption = Annotated[str, typer.Option("--by", help="company or product.")]
VariancesOption = Annotated[bool, typer.Option("--variances", help="Only what differs.")]
AllOption = Annotated[bool, typer.Option("--all", help="Also what agrees, and what is not compared.")]
ClientOption = Annotated[list[str] | None, typer.Option("--client", help="Only this client; repeatable.")]
ProductOption = Annotated[list[str] | None, typer.Option("--product", help="Only this product or SKU; repeatable.")]
VendorOption = Annotated[list[str] | None, typer.Option("--vendor", help="Only this vendor; repeatable.")]
TagOption = Annotated[list[str] | None, typer.Option("--tag", help="Only products with this tag; repeatable.")]
InvoiceOption = Annotated[list[int] | None, typer.Option("--invoice", help="Only this recurring invoice; repeatable.")]
KindOption = Annotated[list[str] | None, typer.Option("--kind", help="Only this kind of finding; repeatable.")]
FormatOption = Annotated[
    str | None, typer.Option("--format", help=f"One of {', '.join(FORMATS)}; else by the ending of --out.")
]
OutOption = Annotated[str | None, typer.Option("--out", help="Write to this file; - is stdout.", metavar="FILE")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Compare what Pax8 sells with what HaloPSA bills. Writes to neither.", no_args_is_help=True
    )
    codes = "Exit codes: 0 clean, 3 differences or incomplete, 4 no snapshot or nothing compared, 1, 2, 5."
    group.command("licences", epilog=f"Example: billingsync reconcile licences --variances. {codes}")(licences)
    group.command("licenses", hidden=True, epilog=f"Example: billingsync reconcile licenses. {codes}")(licences)
    group.command("billing", epilog=f"Example: billingsync reconcile billing 2026-11. {codes}")(billing)
    group.command("findings", epilog=f"Example: billingsync reconcile findings --kind under_billed. {codes}")(findings)
    app.add_typer(group, name="reconcile")
    app.command(
        epilog="Example: billingsync renewals --within 30. Exit codes: 0, 3 something is past its end and still live, "
        "4 no snapshot, 1, 2."
    )(renewals)


def licences(
    period: PeriodArgument = None,
    by: ByOption = "company",
    variances: VariancesOption = False,
    everything: AllOption = False,
    client: ClientOption = None,
    product: ProductOption = None,
    vendor: VendorOption = None,
    tag: TagOption = None,
    invoice: InvoiceOption = None,
    kind: KindOption = None,
    format: FormatOption = None,
    out_file: OutOption = None,
    json: JsonOption = False,
) -> int:
    """Seats subscribed at Pax8 beside seats that HaloPSA bills, and what the difference costs."""
    if by not in ("company", "product"):
        raise UsageError(f"--by is company or product, not {by!r:.40}.")
    options = {"by": by, "variances": variances, "everything": everything}
    filters = _filters(client, product, vendor, tag, invoice, kind)
    return _each("licences", period, filters, options, _format(format, out_file, json, "licences"), out_file)


def billing(
    period: PeriodArgument = None,
    everything: AllOption = False,
    client: ClientOption = None,
    product: ProductOption = None,
    vendor: VendorOption = None,
    tag: TagOption = None,
    invoice: InvoiceOption = None,
    format: FormatOption = None,
    out_file: OutOption = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Pax8's invoice as a CSV file, in the place of Pax8.", metavar="FILE")
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", help="With --source: how to read the file.", metavar="NAME")
    ] = "pax8-portal",
    currency: Annotated[
        str | None, typer.Option("--currency", help="With --source: of its amounts, e.g. USD.", metavar="CODE")
    ] = None,
    json: JsonOption = False,
) -> int:
    """The month's cost and price at Pax8 beside those in HaloPSA, with margins."""
    filters = _filters(client, product, vendor, tag, invoice, None)
    options = {"everything": everything}
    if source is not None:
        chosen = _format(format, out_file, json, "billing")
        return _from_file((source, profile, currency), period, filters, options, (chosen, out_file))
    return _each("billing", period, filters, options, _format(format, out_file, json, "billing"), out_file)


def findings(
    period: PeriodArgument = None,
    everything: AllOption = False,
    client: ClientOption = None,
    product: ProductOption = None,
    vendor: VendorOption = None,
    tag: TagOption = None,
    invoice: InvoiceOption = None,
    kind: KindOption = None,
    format: FormatOption = None,
    out_file: OutOption = None,
    json: JsonOption = False,
) -> int:
    """What is wrong, with money, how sure it is, and what to do; mapping first."""
    filters = _filters(client, product, vendor, tag, invoice, kind)
    options = {"everything": everything}
    return _each("findings", period, filters, options, _format(format, out_file, json, "findings"), out_file)


def _format(format: str | None, out_file: str | None, json: bool, command: str) -> str:
    words = ["renewals"] if command == "renewals" else ["reconcile", command]
    more = ("ics",) if command == "renewals" else ()
    return format_of(format, out_file, json=json, command=words, more=more)


def _filters(
    client: list[str] | None,
    product: list[str] | None,
    vendor: list[str] | None,
    tag: list[str] | None,
    invoice: list[int] | None,
    kind: list[str] | None,
) -> Filters:
    from billingsync.report.comparison.view import Filters, kinds_of

    return Filters(
        clients=tuple(client or ()),
        products=tuple(product or ()),
        vendors=tuple(vendor or ()),
        tags=tuple(tag or ()),
        invoices=tuple(invoice or ()),
        kinds=kinds_of(kind or ()),
    )


def _each(
    what: str, period: str | None, filters: Filters, options: dict[str, Any], format: str, out_file: str | None
) -> int:
    """One period, or each of several by its own snapshot; months without one are named, not filled [BC12]."""
    from billingsync.reconcile.reconcile import books_of, months, posted_only, reconcile
    from billingsync.report.comparison.view import require_known, view

    with connected() as connections:
        settings = connections.settings
        if what != "licences":
            require(settings, "financial", f"see {what}")

        def posted(one: Period, refusal: NoSnapshot) -> Reconciliation:
            return posted_only(books_of(connections.ledger, settings), one, refusal)

        compared = months(
            period,
            lambda one: reconcile(connections, one, say=say),
            posted if what == "billing" else None,
        )
        if compared.posted:
            note(f"{compared.posted} Shown is what billingsync itself posted for {period}.")
        for month, why in compared.missing:
            note(f"{month}: {why}")
        money = may(settings, "financial")
        shown = [view(found, filters, money=money, **options) for found in compared.found]
        require_known(shown, filters)
        _show(what, shown, format, out_file, connections)
    return compared.code


def _from_file(
    file: tuple[str, str, str | None],
    period: str | None,
    filters: Filters,
    options: dict[str, Any],
    output: tuple[str, str | None],
) -> int:
    """The billing of the month that a file is of; nothing is asked of Pax8 [IM11]."""
    from billingsync.cli.source_file import compared_with_file
    from billingsync.reconcile.reconcile import Months
    from billingsync.report.comparison.view import require_known, view

    path, profile, currency = file
    with compared_with_file(path, (profile, currency), period) as (connections, found):
        require(connections.settings, "financial", "see billing")
        shown = view(found, filters, money=True, **options)
        require_known([shown], filters)
        _show("billing", [shown], *output, connections)
    return Months(found=(found,)).code


def _show(what: str, shown: list[View], format: str, out_file: str | None, connections: Connections) -> None:
    from billingsync.report.comparison import output

    locale = connections.settings.locale
    if format == "text" and out_file is None:
        for one in shown:
            output.print_view(what, one, console(), locale)
        return
    content = output.rendered(what, shown, format, locale, connections.ledger.name)
    if out_file is None:
        out(content.decode())
    else:
        write_file(out_file, content)


def renewals(
    within: Annotated[int, typer.Option("--within", help="Days to look ahead.", min=1, max=3660)] = 90,
    format: FormatOption = None,
    out_file: OutOption = None,
    json: JsonOption = False,
) -> int:
    """What ends within 15, 30 and 90 days; yearly commitments that are billed monthly have a row of their own."""
    from billingsync.reconcile.reconcile import renewals as find
    from billingsync.report.comparison.output import render_renewals
    from billingsync.report.comparison.renewals import Renewals, print_renewals

    chosen = _format(format, out_file, json, "renewals")
    with connected() as connections:
        settings = connections.settings
        whole, expiry = find(connections, within=within, say=say)
        found = Renewals(whole=whole, expiry=expiry, within=within, money=may(settings, "financial"))
        if chosen == "text" and out_file is None:
            print_renewals(found, console(), settings.locale)
        else:
            content = render_renewals(found, chosen, settings.locale, connections.ledger.name)
            out(content.decode()) if out_file is None else write_file(out_file, content)
    return 3 if found.past else 0
