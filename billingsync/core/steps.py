"""What a person may do next, as a typed value: the words of a command, or an instruction, with places for what is known
later. It becomes text last of all, so that no name in it can be taken for anything else."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Slot(StrEnum):
    """A place in a step. Its text is what people see where nothing fills it: then they fill it themselves."""

    DIGEST = "DIGEST"  # of the plan that shows the step
    CLIENT = "CLIENT"  # a client's whole name where only one has it, else its id
    COMPANY = "COMPANY"  # a Pax8 company, likewise
    HALO_CLIENT = "HALO_CLIENT_ID"
    CHARGES = "CHARGE"  # one word for each charge
    CHARGE_OPTIONS = "--charge CHARGE"  # --charge and its id, for each charge
    SKU = "SKU"
    PRODUCTS = '[..., "PRODUCT"]'  # exclude.products with this product too: a list replaces the one below it
    ITEM = "ITEM_ID"
    INVOICE = "INVOICE"
    RUN = "RUN"
    PERIOD = "PERIOD"
    FILE = "FILE"  # of the rules
    VALUE = "VALUE"
    REASON = "TEXT"  # always left to people


class Offer(StrEnum):
    """What a step does with the money."""

    BILL = "bill it"
    LEAVE_OUT = "leave it out"
    WAIT = "wait"


Word = str | Slot | tuple[str | Slot, ...]  # a tuple is one word of several pieces, e.g. COMPANY=HALO_CLIENT_ID
Fill = Mapping[Slot, str | tuple[str, ...]]  # several values only for the charges
NOTHING: Fill = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One way to end a hold: `words` is a command to type; where no command does it, `says` tells what to do."""

    offer: Offer
    words: tuple[Word, ...] = ()
    says: tuple[str | Slot, ...] = ()

    def filled(self, values: Fill) -> Step:
        """The step with these places filled; what stays open is filled later, or by people."""
        words = tuple(new for word in self.words for new in _filled(word, values))
        says = tuple(_piece(piece, values) for piece in self.says)
        return Step(offer=self.offer, words=words, says=says)

    @property
    def command(self) -> tuple[str, ...]:
        """The words to type, unquoted; empty for an instruction."""
        return tuple(word if isinstance(word, str) else "".join(word) for word in self.words)

    @property
    def text(self) -> str:
        """The command as a shell takes it, or the instruction."""
        return " ".join(map(_shown, self.words)) if self.words else "".join(self.says)


def command(offer: Offer, *words: Word) -> Step:
    """A command of billingsync, without its own name: `command(Offer.WAIT, "run", Slot.PERIOD)`."""
    return Step(offer=offer, words=("billingsync", *words))


def instruction(offer: Offer, *says: str | Slot) -> Step:
    return Step(offer=offer, says=says)


def _filled(word: Word, values: Fill) -> Iterator[Word]:
    if isinstance(word, tuple):
        pieces = tuple(_piece(piece, values) for piece in word)
        yield pieces if any(isinstance(piece, Slot) for piece in pieces) else "".join(pieces)
    elif not isinstance(word, Slot) or word not in values:
        yield word
    else:
        value = values[word]
        for one in (value,) if isinstance(value, str) else value:
            if word is Slot.CHARGE_OPTIONS:
                yield "--charge"
            yield one


def _piece(piece: str | Slot, values: Fill) -> str:
    if not isinstance(piece, Slot) or piece not in values:
        return piece
    value = values[piece]
    return value if isinstance(value, str) else ", ".join(value)


def _shown(word: Word) -> str:
    if isinstance(word, Slot):
        return word.value
    if isinstance(word, tuple):
        return "".join(piece.value if isinstance(piece, Slot) else quoted(piece) for piece in word)
    return quoted(word)


_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_HARMLESS = re.compile(r"[^\"$`\\!\x00-\x1f\x7f]*")


def quoted(word: str) -> str:
    """A word as a shell takes it for one word and for nothing else: what a hold says to type is pasted."""
    if _PLAIN.fullmatch(word):
        return word
    return f'"{word}"' if _HARMLESS.fullmatch(word) else shlex.quote(word)
