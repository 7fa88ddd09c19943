"""What people decide about charges: approve what is held, set aside, put back, free."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.session import ledger_only
from billingsync.cli.terminal import document, out
from billingsync.core.reasons import ApproveAs
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.run.set_aside import Moved

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with your name.", metavar="TEXT")]
ChargesArgument = Annotated[list[str] | None, typer.Argument(metavar="CHARGE ...", help="As the plan names them.")]


def register(app: typer.Typer) -> None:
    app.command(
        epilog='Example: billingsync approve 4f9c21 --client "Contoso Ltd" --reason "new office". Exit codes: 0, 1, 2.'
    )(approve)
    app.command(
        "set-aside",
        epilog='Example: billingsync set-aside INVOICE:ITEM --reason "asked the customer". Exit codes: 0, 1, 2.',
    )(set_aside)
    app.command("put-back", epilog="Example: billingsync put-back INVOICE:ITEM. Exit codes: 0, 1, 2.")(put_back)
    app.command(epilog='Example: billingsync free INVOICE:ITEM --reason "a mistake". Exit codes: 0, 1, 2.')(free)


def approve(
    digest: Annotated[str, typer.Argument(help="The plan's digest, or its first 6 or more digits.")],
    client: Annotated[str, typer.Option("--client", help="The held client, by id or whole name.", metavar="NAME")],
    reason: ReasonOption,
    charge: Annotated[
        list[str] | None, typer.Option("--charge", help="Only this held charge; repeatable.", metavar="CHARGE")
    ] = None,
    kind: Annotated[ApproveAs, typer.Option("--as", help="What is decided.")] = ApproveAs.LIMITS,
    json: JsonOption = False,
) -> int:
    """Decide about what that plan holds for one client: exactly that, as long as its numbers stay the same."""
    from billingsync.core.money import plain
    from billingsync.run.approve import Asked
    from billingsync.run.approve import approve as approve_hold
    from billingsync.store.lock import who

    said = _said(reason)
    with ledger_only() as (_, ledger):
        asked = Asked(client=client, kind=kind, reason=said, charges=tuple(charge or ()))
        done = approve_hold(ledger, digest, asked, who=who(), at=_now())
    step = ["billingsync", "plan", done.period]
    if json:
        decided = [
            {
                "currency": one.currency,
                "amount": plain(one.amount, one.currency),
                "limits": {limit: list(numbers) for limit, numbers in one.limits.items()},
                "charges": sorted(one.charges),
            }
            for one in done.approvals
        ]
        body = {"digest": done.digest, "client": done.name, "as": kind.value, "reason": said, "approvals": decided}
        document(body, [step])
        return 0
    for one in done.approvals:
        what = ", ".join(sorted(one.limits)) or kind.value
        out(f"{done.name}: {plain(one.amount, one.currency)} {one.currency} approved ({what}).")
    out(f"Plan again to see it:  {' '.join(step)}")
    return 0


def set_aside(
    charges: ChargesArgument = None,
    client: Annotated[
        str, typer.Option("--client", help="All charges of this client, by id or whole name.", metavar="NAME")
    ] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with your name.", metavar="TEXT")] = "",
    json: JsonOption = False,
) -> int:
    """Keep charges from the next posting, until they are put back."""
    from billingsync.run import set_aside as aside
    from billingsync.store.lock import who

    with ledger_only() as (_, ledger):
        moved = aside.set_aside(ledger, charges or (), client=client, reason=reason.strip(), who=who(), now=_now())
    return _tell(moved, "set aside", json=json)


def put_back(charges: ChargesArgument = None, json: JsonOption = False) -> int:
    """Let charges that were set aside go out again with the next posting."""
    from billingsync.run import set_aside as aside
    from billingsync.store.lock import who

    if not charges:
        raise UsageError("Name the charges to put back.", next_steps=[["billingsync", "holds"]])
    with ledger_only() as (_, ledger):
        moved = aside.put_back(ledger, charges, who=who(), now=_now())
    return _tell(moved, "put back", json=json)


def free(
    charge: Annotated[str, typer.Argument(metavar="CHARGE", help="INVOICE:ITEM, as the plan names it.")],
    reason: ReasonOption,
    json: JsonOption = False,
) -> int:
    """Let one charge that a run dropped or excluded by mistake be planned again."""
    from billingsync.run import set_aside as aside
    from billingsync.store.lock import who

    said = _said(reason)
    with ledger_only() as (_, ledger):
        moved = aside.free(ledger, charge, reason=said, who=who(), now=_now())
    return _tell(moved, "free to be planned again", json=json)


def _said(reason: str) -> str:
    if not reason.strip():
        raise UsageError("--reason must say why: it is what somebody will read in a year.")
    return reason.strip()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _tell(moved: Moved, what: str, *, json: bool) -> int:
    step = ["billingsync", "plan", moved.period]
    if json:
        document({"charges": list(moved.charges), "period": moved.period}, [step])
    else:
        count = f"{len(moved.charges)} charge{'' if len(moved.charges) == 1 else 's'}"
        out(f"{count} {what}. Plan again to see it:  {' '.join(step)}")
    return 0
