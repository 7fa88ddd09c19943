"""The error tree. A class's docstring is its default message; operators see it, and the next command to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class BillingSyncError(Exception):
    """billingsync could not go on."""

    code = "BS-FAILED"
    exit_code = 1

    def __init__(self, message: str | None = None, *, next_steps: Sequence[Sequence[str]] = ()) -> None:
        """`next_steps` are argument lists, e.g. `[["billingsync", "doctor"]]`."""
        self.message = message or (type(self).__doc__ or "").strip()
        self.next_steps: tuple[tuple[str, ...], ...] = tuple(tuple(step) for step in next_steps)
        super().__init__(self.message)


class UsageError(BillingSyncError):
    """The command was typed in a way that cannot be understood."""

    code = "BS-USAGE"
    exit_code = 2


class ConfigurationError(BillingSyncError):
    """Settings or rules are wrong."""

    exit_code = 2

    def __init__(self, problems: Sequence[str], *, next_steps: Sequence[Sequence[str]] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems), next_steps=next_steps)


class SettingsError(ConfigurationError):
    """The settings are wrong."""

    code = "BS-SETTINGS"


class SecretsError(ConfigurationError):
    """A partner's secrets cannot be read."""

    code = "BS-SECRETS"


class FleetError(ConfigurationError):
    """The fleet's files are wrong."""

    code = "BS-FLEET"


class RulesError(ConfigurationError):
    """The rules are wrong."""

    code = "BS-RULES"


class ImportRefused(BillingSyncError):
    """The file cannot be imported; nothing of it was taken.

    `problems` are its mistakes, `{line, column, cell, message}` each; there may be more of them than `problems` lists.
    """

    code = "BS-IMPORT"
    exit_code = 2

    def __init__(
        self,
        message: str,
        problems: Sequence[Mapping[str, object]] = (),
        *,
        next_steps: Sequence[Sequence[str]] = (),
    ) -> None:
        self.problems = tuple(problems)
        super().__init__(message, next_steps=next_steps)


class ImportAmbiguous(ImportRefused):
    """The file can be read in more than one way; nothing of it was taken."""

    code = "BS-IMPORT-AMBIGUOUS"


class NotReleased(BillingSyncError):
    """Pax8 has not released this month's invoice yet."""

    code = "BS-NOT-RELEASED"
    exit_code = 4


class NotReady(BillingSyncError):
    """Pax8's invoice cannot be read completely yet."""

    code = "BS-NOT-READY"
    exit_code = 4


class NoSnapshot(BillingSyncError):
    """There is no snapshot to compare with."""

    code = "BS-NO-SNAPSHOT"
    exit_code = 4


class Refused(BillingSyncError):
    """Refused, to protect the bill."""

    code = "BS-REFUSED"
    exit_code = 5


class StalePlan(Refused):
    """The plan is not what it was when it was shown."""

    code = "BS-STALE-PLAN"


class StaleCard(Refused):
    """What the card showed is not so any more."""

    code = "BS-STALE-CARD"


class Locked(Refused):
    """Another run is under way."""

    code = "BS-LOCKED"


class Paused(Locked):
    """The fleet has paused this partner."""

    code = "BS-PAUSED"


class Moved(Refused):
    """This ledger goes on in another database."""

    code = "BS-MOVED"


class OtherInstallation(Refused):
    """HaloPSA holds invoice lines that another billingsync installation wrote."""

    code = "BS-OTHER-INSTALLATION"


class OtherTenant(Refused):
    """The settings point at another HaloPSA tenant than the one this database belongs to."""

    code = "BS-OTHER-TENANT"


class MarkerLost(Refused):
    """HaloPSA did not keep the marker by which billingsync recognises its own lines."""

    code = "BS-MARKER-LOST"
    exit_code = 1


class LedgerError(BillingSyncError):
    """The database could not be used."""

    code = "BS-LEDGER"


class UpstreamError(BillingSyncError):
    """Pax8 or HaloPSA gave an answer that cannot be used.

    `status` is the HTTP status, or None where no answer came.
    """

    code = "BS-UPSTREAM"

    def __init__(
        self,
        service: str,
        endpoint: str,
        status: int | None,
        message: str,
        *,
        body: str = "",
        next_steps: Sequence[Sequence[str]] = (),
    ) -> None:
        self.service = service
        self.endpoint = endpoint
        self.status = status
        self.body = body
        super().__init__(message, next_steps=next_steps)


class Retryable(UpstreamError):
    """A passing fault: the same reading call may succeed when it is made again."""

    code = "BS-UPSTREAM-BUSY"

    retry_after: float | None = None


class AnswerTooLarge(UpstreamError):
    """An answer is larger than it may be."""


class LoginFailed(UpstreamError):
    """The credentials were not accepted."""

    code = "BS-LOGIN"


class NotReachable(Retryable):
    """The connection was never made, so nothing was sent."""

    code = "BS-NOT-REACHABLE"
