"""What a credit of ours takes back, and whether the credit itself may be taken back [R5]."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from billingsync.core.bill.plan import ItemRef, PlanLine, Posting
from billingsync.core.bill.postings import key_of
from billingsync.core.bill.trueup import invoice_of
from billingsync.core.money import ZERO
from billingsync.core.remembered import Said
from billingsync.core.states import LineAction, PostingAction, WriteKind
from billingsync.store.ledger import Ledger
from billingsync.store.lookback import Question
from billingsync.store.postings import PostedLine, RecordedPosting
from billingsync.store.receipts import Restored

CREDIT_FOR = "Credit for invoice "  # every line of a credit begins so


def credit_key(key: str, ordinals: Sequence[int]) -> str:
    """The base key of the credit of these lines of a posting."""
    return hashlib.sha256(json.dumps(["credit", key, sorted(ordinals)]).encode()).hexdigest()[:20]


def credit_of(row: RecordedPosting, lines: Sequence[PostedLine], generation: int) -> Posting:
    """The credit of these lines of a posting. Each that was taken back makes one of another generation possible."""
    base = credit_key(row.key, [line.ordinal for line in lines])
    credits = tuple(
        PlanLine(
            action=LineAction.ADD,
            line_id=None,
            title=line.title,
            description=f"{CREDIT_FOR}{row.invoice_id}: {line.description}",
            item=ItemRef(id=line.item_id, name="") if line.item_id is not None else None,
            quantity=line.quantity,
            unit_price=-line.unit_price,
            unit_cost=-line.unit_cost,
            amount=-line.amount,
            cost=-line.cost,
            charges=(),
        )
        for line in lines
    )
    return Posting(
        key=key_of(base, generation),
        base_key=base,
        generation=generation,
        action=PostingAction.CREATE,
        client_id=row.client_id,
        client_name=row.client_name,
        invoice_id=None,
        group="",
        currency=row.currency,
        amount=sum((line.amount for line in credits), ZERO),
        cost=sum((line.cost for line in credits), ZERO),
        lines=credits,
        kind=WriteKind.CREDIT,
    )


def is_credit(row: RecordedPosting) -> bool:
    """Whether a posting is a credit: it carries no charges, and says what it credits."""
    lines = row.lines
    says = all(not line.shares and line.description.startswith(CREDIT_FOR) for line in lines)
    return row.action == PostingAction.CREATE and bool(lines) and says


def credited_by(ledger: Ledger, row: RecordedPosting) -> Restored | None:
    """The posting, and its lines, that a credit takes back; None where the ledger does not know it."""
    others = [one.key for one in ledger.heads(period=row.period) if one.client_id == row.client_id]
    for one in ledger.postings(keys=others, texts=False):
        if one.key != row.key and (ordinals := _credited_lines(one, row)):
            return Restored(key=one.key, lines=ordinals)
    return None


def _credited_lines(one: RecordedPosting, credit: RecordedPosting) -> tuple[int, ...]:
    """The lines of a posting that the credit takes back; empty where it is the credit of another."""
    mine = [line for line in one.lines if line.action != LineAction.REMOVE]
    tries = [mine, _in_order(mine, [line.description.partition(": ")[2] for line in credit.lines])]
    for lines in tries:
        ordinals = [line.ordinal for line in lines]
        if ordinals and credit_key(one.key, ordinals) == credit.base_key:
            return tuple(ordinals)
    return ()


def _in_order(lines: Sequence[PostedLine], texts: Sequence[str]) -> list[PostedLine]:
    """The lines of these texts, in their order."""
    left = list(texts)
    return [line for line in lines if left and line.description == left[0] and left.pop(0) is not None]


def stays_because(ledger: Ledger, credited: Restored | None) -> str:
    """Why a credit must not be taken back: what it credited would be billed twice then; "" where it may."""
    if credited is None:
        return "what it credits is not known any more: void it in HaloPSA, and bill what is due by hand"
    row = ledger.posting(credited.key)
    charges = sorted({share.charge for line in row.lines if line.ordinal in credited.lines for share in line.shares})
    for charge in charges:
        for claim in ledger.claims_of(charge):
            if claim.live and claim.key != row.key:
                return _billed_again(ledger, claim.key)
    said = {one.charge: one for one in _said(ledger, charges)}
    twins = [one.twin for one in said.values() if one.twin]
    reissues = [one.reissue for one in said.values() if one.reissue]
    for twin in ledger.look_back(Question(twins=twins, reissues=reissues)).twins:
        if twin.charge not in said and twin.live:
            claims = [claim for claim in ledger.claims_of(twin.charge) if claim.live]
            return _billed_again(ledger, claims[0].key) if claims else ""
    return ""


def _said(ledger: Ledger, charges: Sequence[str]) -> list[Said]:
    found = ledger.look_back(Question(invoices=sorted({invoice_of(charge) for charge in charges}))).said
    return [one for one in found if one.charge in charges]


def _billed_again(ledger: Ledger, key: str) -> str:
    other = ledger.posting(key)
    return (
        f"what it credits is billed again, on invoice {abs(other.invoice_id or other.target_invoice_id or 0)}: "
        f"billingsync undo {other.run} first, then undo this run again"
    )
