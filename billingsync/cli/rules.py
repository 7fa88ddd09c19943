"""The commands about the rules: check, show, set without a file, and pull what was set into the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.session import is_published, ledger_only, load_for_partner
from billingsync.cli.terminal import console, document, note, out, write_file
from billingsync.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from billingsync.core.rules import ClientFile, DeskRules, Rulebook
    from billingsync.redaction import Redactor
    from billingsync.run.rule_names import Binding
    from billingsync.settings import Settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]


def register(app: typer.Typer) -> None:
    rules = typer.Typer(help="Check, show and set the rules.", no_args_is_help=True)
    rules.command("check", epilog="Example: billingsync rules check. Exit codes: 0, 2.")(rules_check)
    rules.command("show", epilog="Example: billingsync rules show contoso. Exit codes: 0, 2.")(rules_show)
    rules.command(
        "set",
        epilog='Example: billingsync rules set "Contoso Ltd" modifiers.azure=collapse --reason "ticket 48213". '
        "Exit codes: 0, 1, 2, 5.",
    )(rules_set)
    rules.command("pull", epilog="Example: billingsync rules pull. Exit codes: 0, 1, 2, 5.")(rules_pull)
    rules.command("schema", epilog="Example: billingsync rules schema --out rules.schema.json. Exit codes: 0, 1.")(
        rules_schema
    )
    app.add_typer(rules, name="rules")


def _desk(settings: Settings) -> tuple[DeskRules, ...]:
    """The rules that were written on the desk; where the database cannot be read, those of the files alone."""
    from billingsync.store.ledger import desk_rules_at

    try:
        return desk_rules_at(settings.database_url, settings.partner)
    except LedgerError as wrong:
        note(f"warning: the rules written on the desk were not read: {wrong.message}")
        return ()


def rules_set(
    client: Annotated[str, typer.Argument(metavar="CLIENT", help='By id or whole name; "pax8" means all clients.')],
    keys: Annotated[list[str], typer.Argument(metavar="KEY=VALUE ...", help="KEY= takes the key out again.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with your name.", metavar="TEXT")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would change this month.")] = False,
    json: JsonOption = False,
) -> int:
    """Set rules without a file: kept in the database, over the shared files and under the client's own."""
    from datetime import UTC, datetime

    from billingsync.run.desk_rules import RulesAsked, set_rules
    from billingsync.run.rules_effect import effect_of
    from billingsync.store.lock import who

    values = {}
    for text in keys:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r:.80} is not KEY=VALUE; write e.g. modifiers.azure=collapse.")
        values[key.strip()] = value.strip()
    asked = RulesAsked(client=client, values=values, reason=reason)
    with ledger_only() as (settings, ledger):
        effect = effect_of(ledger, settings.rules_dir, asked, who=who(), now=datetime.now(UTC))
        if not dry_run:
            set_rules(ledger, settings.rules_dir, asked, who=who(), now=datetime.now(UTC))
    if json:
        document({"saved": not dry_run, **effect.as_dict()}, [["billingsync", "plan"]])
        return 0
    for says in effect.sentences:
        out(says)
    out("Nothing was saved." if dry_run else f"Saved for {effect.name}. Plan again to see it:  billingsync plan")
    return 0


def rules_pull(json: JsonOption = False) -> int:
    """Write what was set on the desk into the rules files, and empty it there."""
    from datetime import UTC, datetime

    from billingsync.run.desk_rules import pull_rules
    from billingsync.store.lock import who

    with ledger_only() as (settings, ledger):
        if is_published(settings):
            raise UsageError(
                f"The rules files of {ledger.name} are the fleet's, which nobody can write from here. Write what "
                f"`rules show` tells into partners/{ledger.name}/rules/, and publish that.",
                next_steps=[["billingsync", "rules", "show"], ["billingsync", "fleet", "apply", "--dry-run"]],
            )
        files = pull_rules(ledger, settings.rules_dir, who=who(), now=datetime.now(UTC))
    if json:
        document({"files": list(files)}, [["billingsync", "rules", "check"]])
        return 0
    for file in files:
        out(f"Wrote {file}")
    out("The desk has no rules of its own any more." if files else "Nothing was written on the desk.")
    return 0


def rules_check(json: JsonOption = False) -> int:
    """Validate every rules file; every mistake at once, with file, line and key."""
    from billingsync.rulebook import load_rulebook_with_warnings
    from billingsync.sources.csvfile.profiles import load_profiles

    settings, redactor = load_for_partner()
    rulebook, warnings = load_rulebook_with_warnings(settings.rules_dir, _desk(settings))
    warnings = (*warnings, *_misfits(rulebook, settings, redactor))
    profiles = sorted(load_profiles(settings.rules_dir))
    if json:
        document(
            {
                "digest": rulebook.digest,
                "clients": len(rulebook.clients),
                "import_profiles": profiles,
                "warnings": list(warnings),
            },
            [["billingsync", "plan"]],
        )
        return 0
    for warning in warnings:
        note(f"warning: {warning}")
    count = sum(1 for file in rulebook.clients if not file.path.startswith("desk, "))
    files = "1 client file" if count == 1 else f"{count} client files"
    out(f"Rules OK in {settings.rules_dir}: {files}, digest {rulebook.digest[:12]}.")
    return 0


def _misfits(rulebook: Rulebook, settings: Settings, redactor: Redactor) -> tuple[str, ...]:
    """Names in the rules that nothing at Pax8 or HaloPSA has, by the lists that were read last [C4]; the two are asked
    where none were, and none are named where they cannot be."""
    from billingsync.core.bill.bound import fits_no_product, fits_nothing, names_in, product_names_in
    from billingsync.errors import BillingSyncError
    from billingsync.run.rule_names import companies_meant, lists_last_read, products_meant
    from billingsync.setup.doctor import listed
    from billingsync.store.ledger import open_ledger

    if not (rulebook.clients or names_in(rulebook) or product_names_in(rulebook)):
        return ()
    try:
        with open_ledger(settings.database_url, partner=settings.partner) as ledger:
            known = lists_last_read(ledger)
            meant, products = companies_meant(ledger), products_meant(ledger)
        if known is not None:
            companies, clients, sources = known
            no_product = fits_no_product(rulebook, sources, products)
            return (*fits_nothing(rulebook, companies, clients, meant), *no_product)
    except BillingSyncError:
        pass  # no ledger yet
    try:
        settings.require_upstreams()
        return tuple(fits_nothing(rulebook, *listed(settings, redactor)))
    except BillingSyncError as wrong:
        note(f"names in the rules were not compared with Pax8 and HaloPSA: {wrong.message}")
        return ()


def _has_no_file(text: str, settings: Settings, redactor: Redactor) -> bool:
    """Whether Pax8 or HaloPSA has a client of just this name or id, which then has the shared rules."""
    from billingsync.errors import BillingSyncError
    from billingsync.setup.doctor import listed

    wanted = text.strip().casefold()
    try:
        settings.require_upstreams()
        companies, clients = listed(settings, redactor)
    except BillingSyncError:
        return False
    known = [name for company in companies for name in (company.id, company.name)]
    known += [name for client in clients for name in (str(client.id), client.name)]
    return wanted in map(str.casefold, known)


def rules_show(
    client: Annotated[
        str | None, typer.Argument(help="A client's file, name or id; without it the shared rules.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Every effective key of a client with the file it came from."""
    from billingsync.report.layout import table
    from billingsync.rulebook import as_toml, effective, find_client_file, load_rulebook

    settings, redactor = load_for_partner()
    rulebook = load_rulebook(settings.rules_dir, _desk(settings))
    file = None
    if client is not None:
        found = find_client_file(rulebook, client)
        if found.file is None and not found.candidates and _has_no_file(client, settings, redactor):
            note(f"{client} has no file of its own: these are the shared rules.")
        elif found.file is None:
            names = ", ".join(one.path for one in found.candidates) or ", ".join(found.suggestions)
            hint = f" Nearest: {names}." if names else " It has the shared rules: billingsync rules show"
            raise UsageError(
                f"No one client file is meant by {client!r:.80}.{hint}", next_steps=[["billingsync", "rules", "show"]]
            )
        file = found.file
    rows = effective(rulebook, file)
    bound = _bindings(settings, rulebook, file)
    if json:
        document(
            {
                "rules": [{"key": key, "value": as_toml(value), "origin": origin} for key, value, origin in rows],
                "names": [one.as_dict() for one in bound],
            }
        )
        return 0
    table(
        console(),
        ("Key", "Value", "From"),
        [(key, as_toml(value) or "(not set)", origin) for key, value, origin in rows],
    )
    for one in bound:
        out(f"{one.name!r:.80} means the {one.kind} {one.id} since {one.since}, whatever it is called now.")
    return 0


def _bindings(settings: Settings, rulebook: Rulebook, file: ClientFile | None) -> list[Binding]:
    """What names in these rules are bound to [C4]; none before the first plan."""
    from billingsync.errors import BillingSyncError
    from billingsync.run.rule_names import bindings
    from billingsync.store.ledger import open_ledger

    try:
        with open_ledger(settings.database_url, partner=settings.partner) as ledger:
            return bindings(ledger, rulebook, file)
    except BillingSyncError:
        return []


def rules_schema(
    out_file: Annotated[str, typer.Option("--out", metavar="FILE", help="Write to this file; - is stdout.")] = "-",
    json: JsonOption = False,
) -> int:
    """The rules' JSON Schema, for editors."""
    import json as json_

    from billingsync.rulebook.schema import rules_schema as schema

    write_file(out_file, (json_.dumps(schema(), indent=2, ensure_ascii=False) + "\n").encode())
    return 0
