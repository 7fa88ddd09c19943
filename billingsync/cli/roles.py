"""BILLINGSYNC_ROLE: a guard rail for who works at the command line, no security [RA1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billingsync.errors import Refused

if TYPE_CHECKING:
    from billingsync.settings import PartnerSettings

_ORDER = ("user", "financial", "admin")


def may(settings: PartnerSettings, least: str) -> bool:
    """Whether the role reaches that far; without one everybody is an admin."""
    return _ORDER.index(settings.role or "admin") >= _ORDER.index(least)


def require(settings: PartnerSettings, least: str, what: str) -> None:
    """Refused where the role may not do that."""
    if not may(settings, least):
        raise Refused(f"The role {settings.role} may not {what}; {least} may (BILLINGSYNC_ROLE).")
