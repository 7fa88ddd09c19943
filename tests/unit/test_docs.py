"""The documentation defines what the code points at: rules by tag, error codes, files by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from billingsync.core import reasons

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
CODE = sorted((ROOT / "billingsync").rglob("*.py"))
TAG = re.compile(r"\[([A-Z]{1,2}\d{1,2}[a-z]?)\]")


def test_every_tag_in_the_code_is_defined() -> None:
    defined = {tag for path in DOCS for tag in re.findall(r"^(?:\| |#+ .*)\[([A-Z]{1,2}\d+[a-z]?)\]", path.read_text(), re.M)}
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


def test_every_reason_is_in_the_table_of_the_rules() -> None:
    text = (ROOT / "docs/domain.md").read_text()
    assert [code for code in reasons.CODES if f"`{code}`" not in text] == []
