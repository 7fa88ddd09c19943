"""What a person approves or takes back, and what became of each card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from billingsync.core.reconcile.card import LACKS, NOTHING_CHOSEN, Card, CardKind, Choice
from billingsync.core.reconcile.card_states import CardState, Decision, Filter, Shown
from billingsync.core.reconcile.card_write import WriteState
from billingsync.core.reconcile.values import Values
from billingsync.errors import StaleCard, UsageError
from billingsync.reconcile.cards import SHORTEST, Ground
from billingsync.store.card_writes import CardWrite

STEP = ("billingsync", "cards")


class Became(StrEnum):
    """What became of one card that somebody approved or took back."""

    DONE = "done"
    ALARM = "alarm"  # written, and a person should look
    UNDONE = "undone"
    ALREADY = "done_already"
    SCHEDULED = "scheduled"
    STALE = "stale"
    BLOCKED = "blocked"
    OVER_LIMIT = "over_limit"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"  # a bulk stopped before it
    SHOWN = "shown"  # a dry run


@dataclass(frozen=True, slots=True, kw_only=True)
class CardResult:
    """`was` and `now` are the line's numbers; `now` is None where nothing was written. `new_digest` names the card that
    stands there now, "" where none does. `body` is what would be sent, in a dry run."""

    digest: str
    became: Became
    card: Card | None = None
    client_id: int | None = None
    client_name: str = ""
    invoice_id: int | None = None
    line_id: int | None = None
    was: Values | None = None
    now: Values | None = None
    new_digest: str = ""
    message: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What a person approves. `wanted` with `expect`, a set's digest, approves all that a filter takes [CD8]."""

    who: str
    digests: tuple[str, ...] = ()
    choice: Choice = NOTHING_CHOSEN
    over_limit: bool = False
    reason: str = ""
    wanted: Filter | None = None
    expect: str = ""
    dry_run: bool = False
    today: date | None = None  # None: the clock's day


def exit_code(results: Sequence[CardResult]) -> int:
    """1 failed or not known, 5 stale, 3 blocked or to be looked at, else 0."""
    found = {one.became for one in results}
    if found & {Became.FAILED, Became.UNKNOWN}:
        return 1
    if Became.STALE in found:
        return 5
    return 3 if found & {Became.ALARM, Became.BLOCKED, Became.OVER_LIMIT, Became.NOT_SENT} else 0


def choose(ground: Ground, digest: str, choice: Choice) -> Shown:
    """The card of this digest with what was chosen; the digest may be the plain card's, or that of the chosen one.
    StaleCard where no card has it now."""
    plain = ground.deck()
    if choice == NOTHING_CHOSEN:
        return plain.find(digest)
    try:
        found = plain.find(digest)
    except StaleCard:
        return ground.deck(choice).find(digest)
    chosen = ground.chosen(found.card, choice)
    if chosen is None:
        raise UsageError(
            f"Card {found.card.digest[:8]} has no line {choice.line_id}.",
            next_steps=[(*STEP, "show", found.card.digest[:12])],
        )
    return chosen


def held_back(one: Shown, asked: Approval) -> CardResult | None:
    """Why a card may not be written, whatever HaloPSA shows; None where it may."""
    card = one.card
    if card.kind is CardKind.UNCHANGED:
        return result_of(card, Became.BLOCKED, "It changes nothing.")
    if card.lacks:
        return result_of(card, Became.BLOCKED, " ".join(LACKS[lack] for lack in card.lacks))
    if card.limits and not (asked.over_limit and asked.reason.strip()):
        names = ", ".join(card.limits)
        return result_of(card, Became.OVER_LIMIT, f"It goes beyond a limit ({names}): add --over-limit --reason TEXT.")
    return None


def result_of(
    card: Card, became: Became, message: str = "", *, now: Values | None = None, new_digest: str = ""
) -> CardResult:
    return CardResult(
        digest=card.digest,
        became=became,
        card=card,
        client_id=card.client_id,
        client_name=card.client_name,
        invoice_id=card.invoice_id,
        line_id=card.line_id,
        was=card.before,
        now=now,
        new_digest=new_digest,
        message=message,
    )


_BECAME = {
    WriteState.DONE: Became.DONE,
    WriteState.ALARM: Became.ALARM,
    WriteState.UNKNOWN: Became.UNKNOWN,
    WriteState.SENDING: Became.UNKNOWN,
}


def became(card: Card, written: CardWrite, note: str = "") -> CardResult:
    """What a write made of one of its cards; `note` is told beside it where it was written."""
    state = _BECAME.get(written.state, Became.FAILED)
    if state not in (Became.DONE, Became.ALARM):
        return result_of(card, state, written.message)
    return result_of(card, state, " ".join(text for text in (written.message, note) if text), now=card.after)


def decided(card: Card, ground: Ground, state: CardState, asked: Approval) -> Decision:
    """A card's transition by this approval."""
    return Decision(
        card=card.id,
        digest=card.digest,
        cycle=ground.cycle,
        state=state,
        before=card.before,
        after=card.after,
        who=asked.who,
        reason=asked.reason.strip(),
        choice=asked.choice,
    )


def done_already(decisions: Sequence[Decision], digest: str, ground_cycle: object) -> CardResult | None:
    """The card of this digest, where it was written in this cycle and is not undone: then nothing is to be sent."""
    found = [one for one in decisions if len(digest) >= SHORTEST and one.digest.startswith(digest)]
    if not found or found[-1].cycle != ground_cycle or found[-1].state is not CardState.DONE:
        return None
    last = found[-1]
    return CardResult(
        digest=last.digest, became=Became.ALREADY, was=last.before, now=last.after, message="It is done already."
    )
