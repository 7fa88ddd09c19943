"""Comparisons of what the ledger keeps, for pages: no vendor is asked, and what was compared once is compared once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date

from billingsync.core.period import Period
from billingsync.core.reconcile.compare import Reconciliation
from billingsync.core.rules import Rulebook
from billingsync.errors import NoSnapshot
from billingsync.reconcile.cards import Ground
from billingsync.reconcile.choose import newest_kept, shown_for_period
from billingsync.reconcile.inputs import Books, inputs_for
from billingsync.reconcile.reconcile import posted_only
from billingsync.rulebook import kept_rulebook
from billingsync.settings import Settings
from billingsync.store.ledger import Ledger

MOST = 6  # comparisons that are kept in memory
Key = tuple[object, ...]


@dataclass(slots=True)
class Comparisons:
    """One desk's memory of comparisons: each is made anew once the snapshot, the rules, or anything that people or
    runs did has changed."""

    ledger: Ledger
    settings: Settings
    _kept: OrderedDict[Key, Ground] = field(default_factory=OrderedDict)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def ground(self, today: date) -> Ground:
        """What the cards of today stand on, by the newest whole snapshot. NoSnapshot where there is none."""
        return self._of(None).since(self.ledger.card_decisions(), today)

    def of(self, period: Period | None) -> Reconciliation:
        """Of now, or of a period by its own snapshot. NoSnapshot where there is none."""
        return self._of(period).compared

    def posted(self, period: Period, refusal: NoSnapshot) -> Reconciliation:
        """What the ledger itself posted for a period without a snapshot [SN6]."""
        return posted_only(self.books(), period, refusal)

    def books(self) -> Books:
        return Books(ledger=self.ledger, rulebook=self._rulebook(), zone=self.settings.zone)

    def _of(self, period: Period | None) -> Ground:
        zone = self.settings.zone
        entry = newest_kept(self.ledger, zone) if period is None else shown_for_period(self.ledger, zone, period)
        with self._one_at_a_time:
            books = self.books()
            key = (entry.id, entry.confirmed_by, period, books.rulebook.digest, self.ledger.newest_change())
            found = self._kept.get(key)
            if found is None:
                found = self._kept[key] = Ground(inputs=inputs_for(books, entry, period), decisions=(), today=date.min)
                assert found.compared  # here, where one does it at a time
            self._kept.move_to_end(key)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
            return found

    def _rulebook(self) -> Rulebook:
        return kept_rulebook(self.settings.rules_dir, self.ledger.desk_rules())[0]
