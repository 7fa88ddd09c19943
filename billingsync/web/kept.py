"""What a kept plan was made from, for pages: whom a company may be billed as. Read once for a plan, as a plan never
changes; no vendor is asked [DK3]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz, process

from billingsync.core.bill.names import normalise
from billingsync.run.plan import kept_inputs
from billingsync.store.ledger import Ledger

MOST = 20  # candidates that a search shows


@dataclass(frozen=True, slots=True)
class Choice:
    """Something of HaloPSA's that may be chosen. `note` says why it might not be right."""

    id: int
    name: str
    note: str = ""


@lru_cache(maxsize=4)
def clients_of(ledger: Ledger, digest: str) -> tuple[Choice, ...]:
    """HaloPSA's clients as they were when a plan was made. UsageError where an older version made the plan."""
    inputs = kept_inputs(ledger, digest)
    return tuple(Choice(client.id, client.name, "inactive" if client.inactive else "") for client in inputs.clients)


def search(choices: Sequence[Choice], text: str) -> list[Choice]:
    """At most `MOST`, the likeliest first: by id, by a part of the name, by likeness."""
    wanted = text.strip()
    if not wanted:
        return []
    folded = wanted.casefold()
    found = [one for one in choices if wanted == str(one.id)]
    found += [one for one in choices if folded in one.name.casefold()]
    names = {nth: normalise(one.name) for nth, one in enumerate(choices)}
    near = process.extract(normalise(wanted), names, scorer=fuzz.WRatio, limit=MOST, score_cutoff=60)
    found += [choices[nth] for _, _, nth in near]
    return list(dict.fromkeys(found))[:MOST]
