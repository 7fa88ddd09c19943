"""Names in rules beside what they mean: the ids that they are bound to, and the lists that were read last [C4]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from billingsync.core.bill.bound import names_in, product_names_in
from billingsync.core.charge import Source
from billingsync.core.inputs import Client, Company, RunInputs
from billingsync.core.rules import ClientFile, Rulebook
from billingsync.store.ledger import Ledger
from billingsync.store.packing import unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A name in the rules and the id that it means since a day; `kind` is company or product."""

    kind: str
    name: str
    id: str
    since: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def bindings(ledger: Ledger, rulebook: Rulebook, file: ClientFile | None) -> list[Binding]:
    """What the names mean that the shared rules, or this client's, have."""
    mine = Rulebook(base=file.rules if file else rulebook.base, clients=(file,) if file else ())
    return [*_of(ledger, "company", names_in(mine)), *_of(ledger, "product", product_names_in(mine))]


def _of(ledger: Ledger, kind: str, names: set[str]) -> Iterator[Binding]:
    for name, one in sorted(ledger.rule_names(kind).items()):
        if name in names:
            yield Binding(kind=kind, name=name, id=one.target, since=one.at.date().isoformat())


def companies_meant(ledger: Ledger) -> dict[str, str]:
    """What names of companies in the rules are bound to, by their text: Pax8 ids [C4]."""
    return {text: one.target for text, one in ledger.rule_names().items()}


def products_meant(ledger: Ledger) -> set[str]:
    """The texts in exclude.products that are bound to a product: they fitted one [C4]."""
    return set(ledger.rule_names("product"))


def lists_last_read(
    ledger: Ledger,
) -> tuple[Sequence[Company], Sequence[Client], Sequence[Source]] | None:
    """Pax8's companies, HaloPSA's clients and Pax8's invoices of the month as the newest plan read them; None where no
    plan has kept them."""
    for entry in reversed(ledger.plans()):
        if (body := ledger.kept_inputs(entry.digest)) is not None:
            inputs: RunInputs = unpack(RunInputs, body)
            return inputs.companies, inputs.clients, inputs.sources
    return None
