"""Paths of pages that other pages lead to."""

from __future__ import annotations

from urllib.parse import quote


def charge_path(charge: str) -> str:
    """The page of one charge [DK6]. A charge of another source than Pax8 has a slash in its id, which stays one."""
    return f"/charges/{quote(charge, safe='/:~')}"


def rules_path(company: str) -> str:
    """The rules of one client; of all for ""."""
    return f"/rules/{quote(company, safe='/')}" if company else "/rules"


def product_path(key: str) -> str:
    """The page of one product."""
    return f"/products/{quote(key, safe='/')}"
