"""The documentation defines what the code points at: rules by tag, error codes, files by name."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from billingsync.core import reasons

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
CODE = sorted((ROOT / "billingsync").rglob("*.py"))
TAG = re.compile(r"\[([A-Z]{1,2}\d{1,2}[a-z]?)\]")


def test_every_tag_in_the_code_is_defined() -> None:
    beginning = re.compile(r"^(?:\| |#+ .*)\[([A-Z]{1,2}\d+[a-z]?)\]", re.MULTILINE)
    defined = {tag for path in DOCS for tag in beginning.findall(path.read_text())}
    used = {tag: path for path in CODE for tag in TAG.findall(path.read_text())}
    assert {tag: str(path) for tag, path in used.items() if tag not in defined} == {}


def test_every_error_code_has_its_heading() -> None:
    headings = set(re.findall(r"^### (BS-[A-Z-]+)$", (ROOT / "docs/errors.md").read_text(), re.M))
    used = {code for path in CODE for code in re.findall(r'"(BS-[A-Z-]+)"', path.read_text())}
    assert used - headings == set()


@pytest.mark.parametrize("path", [*DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def table_of_reasons() -> str:
    """Every reason as docs/domain.md lists it, written by GOLDEN=write."""
    rows = ["| Code | Kind | Means | Where it stops | Rules key |", "| --- | --- | --- | --- | --- |"]
    for kind, members in (("held", reasons.HOLDS), ("dropped", reasons.DROPS), ("excluded", reasons.EXCLUSIONS)):
        for code, why in members.items():
            key = f"`{why.key}`" if why.key else ""
            rows.append(f"| `{code.value}` | {kind} | {why.title} | {why.hop.value} | {key} |")
    return "\n".join(rows) + "\n"


def test_the_rules_list_every_reason() -> None:
    path = ROOT / "docs/domain.md"
    before, _, table = path.read_text().partition("\n## Reasons\n\n")
    if os.environ.get("GOLDEN") == "write":
        path.write_text(f"{before.rstrip()}\n\n## Reasons\n\n{table_of_reasons()}")
        table = table_of_reasons()
    assert table == table_of_reasons()
