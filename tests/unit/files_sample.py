"""Vendors' files and profiles for tests: a file from its text, a profile from what differs."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from billingsync.core.period import Period
from billingsync.core.tables.profile import Profile, TableKind
from billingsync.sources.csvfile.checking import Check, check_usage
from billingsync.sources.csvfile.kept import KeptFile, keep_stream
from billingsync.sources.csvfile.profiles import digested

NOVEMBER = Period(2026, 11)
ACRONIS = Profile(
    name="acronis",
    path="rules/imports/acronis.toml",
    kind=TableKind.USAGE,
    vendor="Acronis",
    total_rows=("Total", "Summe"),
    columns={"account": "Customer", "service": "Product", "quantity": "Usage"},
)
WORKED_EXAMPLE = (
    "\ufeffsep=;\r\nUsage report\r\n\r\nCustomer;Id;Product;Usage\r\n"
    'Contoso;="00123";Backup GB;1.250,5\r\nContoso;="00123";Backup GB;249,5\r\n'
    "Fabrikam;2;Backup GB;(3)\r\nTotal;;;1.497,0\r\n"
)


def profile(**more: Any) -> Profile:
    columns = {**ACRONIS.columns, **more.pop("columns", {})}
    return digested(replace(ACRONIS, columns=columns, **more))


def file_of(content: str | bytes, name: str = "usage.csv") -> KeptFile:
    return keep_stream(io.BytesIO(content.encode() if isinstance(content, str) else content), name)


def checked(content: str | bytes, *, name: str = "usage.csv", **more: Any) -> Check:
    return check_usage(file_of(content, name), profile(**more), NOVEMBER)


def said(check: Check) -> list[str]:
    return [str(problem) for problem in check.problems]
