"""Is everything as it must be before money moves? One line a check, with the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from billingsync.core.bill.bound import fits_nothing, names_in
from billingsync.core.bill.targets import licence_lines
from billingsync.core.inputs import Client, Company
from billingsync.core.invoice import Invoice
from billingsync.core.rules import DeskRules
from billingsync.errors import BillingSyncError, LedgerError
from billingsync.psa.halo.psa import HaloPsa
from billingsync.redaction import Redactor
from billingsync.rulebook import load_rulebook
from billingsync.settings import Settings, load_settings

_MOST_NAMED = 8  # of recurring invoices in one sentence
MOST_SKEW_S = 300  # beyond it the day, and with it the period, may be wrong (fault 13)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`state`: ok | warn | fail. `next_step` are the words to type, `remedy` says what to do where no command does it;
    one of them is there with every fail."""

    name: str
    state: str
    says: str
    next_step: tuple[str, ...] = ()
    remedy: str = ""


def examine() -> list[Check]:
    """Every check, in the order in which they depend on one another; a failed one does not stop the others."""
    try:
        loaded = load_settings()
    except BillingSyncError as wrong:
        return [_failed("settings", wrong)]
    checks = [Check(name="settings", state="ok", says="readable, and every value is one that works")]
    checks += [Check(name="settings", state="warn", says=warning) for warning in loaded.warnings]
    return checks + examine_with(loaded.settings)


def examine_with(settings: Settings) -> list[Check]:
    """Every check but those of the settings themselves."""
    checks: list[Check] = []
    redactor = Redactor(settings.secrets())
    for name, look in (("rules", _rules), ("database", _database)):
        checks += _guarded(name, look, settings, redactor)
    try:
        settings.require_upstreams()
    except BillingSyncError as wrong:
        return [*checks, _failed("credentials", wrong)]
    for name, look in (("Pax8", _pax8), ("HaloPSA", _halo), ("rules", _names)):
        checks += _guarded(name, look, settings, redactor)
    return checks


def examine_side(settings: Settings, redactor: Redactor, side: str) -> list[Check]:
    """The checks of one service, `pax8` or `halo`, by these settings."""
    name, look = {"pax8": ("Pax8", _pax8), "halo": ("HaloPSA", _halo)}[side]
    found = _guarded(name, look, settings, redactor)
    return [replace(one, says=redactor.text(one.says), remedy=redactor.text(one.remedy)) for one in found]


def _guarded(
    name: str, look: Callable[[Settings, Redactor], Iterator[Check]], settings: Settings, redactor: Redactor
) -> list[Check]:
    found: list[Check] = []
    try:
        found.extend(look(settings, redactor))
    except BillingSyncError as wrong:
        found.append(_failed(name, wrong))
    return found


def _failed(name: str, wrong: BillingSyncError) -> Check:
    step = wrong.next_steps[0] if wrong.next_steps else ()
    says = wrong.message.replace("\n", "; ")
    # A step that only leads back here is none.
    step = () if tuple(step) == ("billingsync", "doctor") else tuple(step)
    remedy = (
        ""
        if step
        else _REMEDIES.get(wrong.code, "The sentence above says what is wrong. Mend it and run doctor again.")
    )
    return Check(name=name, state="fail", says=says, next_step=step, remedy=remedy)


_REMEDIES = {
    "BS-LOGIN": "Compare client id and secret with what the vendor shows, or make a new secret there.",
    "BS-NOT-REACHABLE": "Check the address, the name server, the firewall and the proxy (docs/network.md).",
    "BS-UPSTREAM": "Check the rights of the API application: deploy/install.md lists them.",
    "BS-UPSTREAM-BUSY": "Wait some minutes and run doctor again; look at the vendor's status page.",
}


def verdict(checks: Sequence[Check]) -> str:
    """One sentence: may this installation bill?"""
    wrong = sum(check.state == "fail" for check in checks)
    look = sum(check.state == "warn" for check in checks)
    worth = f" {look} {'point is' if look == 1 else 'points are'} worth a look." if look else ""
    if wrong:
        return (
            f"Not ready: {wrong} {'check is' if wrong == 1 else 'checks are'} WRONG.{worth} Mend that before you post."
        )
    return f"Ready.{worth} Next:  billingsync plan"


def _rules(settings: Settings, redactor: Redactor) -> Iterator[Check]:
    from billingsync.rulebook import load_rulebook_with_warnings

    rulebook, warnings = load_rulebook_with_warnings(settings.rules_dir, written_on_the_desk(settings))
    yield Check(name="rules", state="ok", says=f"{len(rulebook.clients)} client files, digest {rulebook.digest[:12]}")
    for warning in warnings:
        yield Check(name="rules", state="warn", says=warning)
    if rulebook.base.approval.auto_post == "never":
        yield Check(name="rules", state="ok", says='auto_post is "never": a person posts each plan')


def _database(settings: Settings, redactor: Redactor) -> Iterator[Check]:
    from billingsync.settings.show import masked
    from billingsync.store.ledger import open_ledger

    with open_ledger(settings.database_url, partner=settings.partner) as ledger:
        ledger.assert_durable()
        partner = ledger.partner()
        says = f"{masked(settings.database_url)}, durable, installation {partner.installation}"
        yield Check(name="database", state="ok", says=says)
        left = ledger.unresolved()
        if left:
            yield Check(
                name="database",
                state="warn",
                says=f"{len(left)} postings of an interrupted run wait to be looked for",
                next_step=("billingsync", "run", left[0].period),
            )


def _names(settings: Settings, redactor: Redactor) -> Iterator[Check]:
    """Names in the rules that nothing at Pax8 or HaloPSA has [C4]."""
    rulebook = load_rulebook(settings.rules_dir, written_on_the_desk(settings))
    if rulebook.clients or names_in(rulebook):
        for says in fits_nothing(rulebook, *listed(settings, redactor), _meant(settings)):
            yield Check(name="rules", state="warn", says=says)


def _meant(settings: Settings) -> dict[str, str]:
    """What names in the rules are bound to; nothing where the database cannot be read: its own check tells that."""
    from billingsync.run.rule_names import companies_meant
    from billingsync.store.ledger import open_ledger

    try:
        with open_ledger(settings.database_url, partner=settings.partner) as ledger:
            return companies_meant(ledger)
    except BillingSyncError:
        return {}


def written_on_the_desk(settings: Settings) -> tuple[DeskRules, ...]:
    """The rules of the desk's layer; none where the database cannot be read: that is told of by its own check."""
    from billingsync.store.ledger import desk_rules_at

    try:
        return desk_rules_at(settings.database_url, settings.partner)
    except LedgerError:
        return ()


def listed(settings: Settings, redactor: Redactor) -> tuple[tuple[Company, ...], tuple[Client, ...]]:
    """All of Pax8's companies and HaloPSA's clients. Raises what asking them raises."""
    from billingsync.connect import halo_service, pax8_service
    from billingsync.sources.pax8.client import Pax8

    with pax8_service(settings, redactor) as service:
        companies = Pax8(service).companies()
    service, _ = halo_service(settings, redactor)
    with service:
        return companies, HaloPsa(service).clients().rows


def _pax8(settings: Settings, redactor: Redactor) -> Iterator[Check]:
    from billingsync.connect import pax8_service
    from billingsync.sources.pax8.client import Pax8

    with pax8_service(settings, redactor) as service:
        months = Pax8(service).released()
        newest = f"newest month {months[0].period}" if months else "no invoice yet"
        yield Check(name="Pax8", state="ok", says=f"login and invoices work; {newest}")
        yield from _clock("Pax8", service.clock_skew_s)


def _halo(settings: Settings, redactor: Redactor) -> Iterator[Check]:
    from billingsync.connect import halo_service

    service, tenant = halo_service(settings, redactor)
    with service:
        halo = HaloPsa(service)
        clients = halo.clients().rows
        yield Check(
            name="HaloPSA", state="ok", says=f"login works; tenant {tenant.id or '(not named)'}, {len(clients)} clients"
        )
        yield from _clock("HaloPSA", service.clock_skew_s)
        synced = [client.name for client in clients if client.pax8_monthly_invoice or client.pax8_annual_invoice]
        if synced:
            more = f" and {len(synced) - 3} more" if len(synced) > 3 else ""
            yield Check(
                name="HaloPSA",
                state="fail",
                says=f"HaloPSA's own Pax8 sync is set up for {', '.join(synced[:3])}{more}: they may be billed twice",
                remedy="Turn the Pax8 invoice sync off at these clients in HaloPSA, or exclude them in the rules.",
            )
        yield from _counted(halo)
        for name, read in (("items", halo.item_groups), ("invoices", lambda: halo.control(()))):
            read()
            yield Check(name="HaloPSA", state="ok", says=f"may read {name}")


def _counted(halo: HaloPsa) -> Iterator[Check]:
    """Recurring invoices whose quantities HaloPSA takes from licences: its own Pax8 sync bills in this way."""
    counted: list[tuple[Invoice, list[str]]] = []
    for one in halo.templates():
        if not one.counts_licences:
            continue
        whole = one if one.lines_shown else halo.read(one.id, template=True)
        if whole is not None and (lines := licence_lines(whole)):
            counted.append((one, lines))
    if counted:
        yield Check(name="HaloPSA", state="warn", says=counted_sentence(counted))


def counted_sentence(counted: Sequence[tuple[Invoice, Sequence[str]]]) -> str:
    """One warning for all recurring invoices, each with its lines that HaloPSA counts."""
    if len(counted) == 1:
        ((one, lines),) = counted
        return (
            f"recurring invoice {_whose(one)}: HaloPSA counts the licences of "
            f"{', '.join(line[:40] for line in lines[:3])} itself; "
            "if that is its own Pax8 sync, the client is billed twice"
        )
    named = ", ".join(_whose(one) for one, _ in counted[:_MOST_NAMED])
    more = f" and {len(counted) - _MOST_NAMED} more" if len(counted) > _MOST_NAMED else ""
    return (
        f"HaloPSA counts the licences of {len(counted)} recurring invoices itself: {named}{more}; "
        "if that is its own Pax8 sync, these clients are billed twice"
    )


def _whose(one: Invoice) -> str:
    return f"{abs(one.id)} of {one.client_name or one.client_id}"


def _clock(name: str, skew: float | None) -> Iterator[Check]:
    if skew is not None and abs(skew) > MOST_SKEW_S:
        says = f"its clock and ours differ by {abs(skew):.0f} s: the day, and with it the period, may be wrong"
        remedy = "Set this machine's clock: turn on time synchronisation (timedatectl set-ntp true)."
        yield Check(name=name, state="fail", says=says, remedy=remedy)
