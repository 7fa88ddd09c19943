"""Paths of pages that other pages lead to."""

from __future__ import annotations

from urllib.parse import quote


def charge_path(charge: str) -> str:
    """The page of one charge [DK6]. A charge of another source than Pax8 has a slash in its id, which stays one."""
    return f"/charges/{quote(charge, safe='/:~')}"
