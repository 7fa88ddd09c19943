"""A distributor invoice's file as a source of charges, beside Pax8's API [IM11]; never posted."""

from __future__ import annotations

from dataclasses import dataclass

from billingsync.core.charge import Charge, Source
from billingsync.core.inputs import Company
from billingsync.core.money import NO_CURRENCY
from billingsync.core.period import Period
from billingsync.core.tables.cells import inert_cell
from billingsync.core.tables.profile import Profile, TableKind
from billingsync.errors import NotReleased, UsageError
from billingsync.sources.csvfile.checking import month_of, read_charges
from billingsync.sources.csvfile.kept import KeptFile
from billingsync.sources.source import Fetched, Released


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """One file of one month. A row's charge is called `profile/period:~content:ordinal`, so that neither the order of
    the rows nor a second reading changes an identity [S5]."""

    file: KeptFile
    profile: Profile
    period: Period

    @property
    def name(self) -> str:
        return self.profile.name

    def released(self) -> tuple[Released, ...]:
        return (Released(period=self.period, invoices=1, skipped=0),)

    def fetch(self, period: Period) -> Fetched:
        """All charges, or ImportRefused with every mistake. A file is kept nowhere by reading it."""
        if period != self.period:
            raise NotReleased(f"{inert_cell(self.file.name)} is the file of {self.period}, not of {period}.")
        charges = self._charges()
        currencies = {charge.currency for charge in charges}
        source = Source(
            invoice_id=f"{self.profile.name}/{period}",
            invoice_date=period.first_day,
            status="file",
            currency=currencies.pop() if len(currencies) == 1 else NO_CURRENCY,
            total=None,
            carried_balance=None,
            partner_name="",
            charges=charges,
        )
        return Fetched(sources=(source,), skipped=(), documents=())

    def companies(self) -> tuple[Company, ...]:
        """The companies that the file's charges name."""
        found: dict[str, Company] = {}
        for charge in self._charges():
            if charge.company_id:
                found.setdefault(charge.company_id, Company(id=charge.company_id, name=charge.company_name))
        return tuple(found.values())

    def _charges(self) -> tuple[Charge, ...]:
        return read_charges(self.file, self.profile, self.period)[1]


def file_source(file: KeptFile, profile: Profile, period: Period | None) -> FileSource:
    """The source that a file is, of the month that the command names or else the file itself. Raises UsageError for a
    profile of another kind or a file without a month, ImportRefused for a file that cannot be read."""
    if profile.kind is not TableKind.CHARGES:
        raise UsageError(
            f"The profile {profile.name} reads counts, not charges; import such a file.",
            next_steps=[["billingsync", "import", file.name, "--profile", profile.name]],
        )
    month = period or month_of(file, profile)
    if month is None:
        raise UsageError("The file does not say of which month it is; name the period, e.g. 2026-11.")
    return FileSource(file=file, profile=profile, period=month)
