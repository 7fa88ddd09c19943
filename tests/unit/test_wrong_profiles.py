"""Mistakes in the profiles of vendors' files: each is said with what to write instead, none ends the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from billingsync.errors import RulesError
from billingsync.sources.csvfile.profiles import load_profiles

GOOD = {"account": '"Customer"', "service": '"Service"', "quantity": '"Qty"'}


def said(rules: Path, more: str = "", **columns: str) -> str:
    folder = rules / "imports"
    folder.mkdir(exist_ok=True)
    lines = [f"{ours} = {theirs}" for ours, theirs in (GOOD | columns).items()]
    text = "\n".join(['kind = "usage"', 'vendor = "Acronis"', more, "[columns]", *lines])
    (folder / "acronis.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RulesError) as wrong:
        load_profiles(rules)
    return str(wrong.value)


@pytest.mark.parametrize("theirs", ['""', '" "', "1", "true", '["Qty"]', "{ a = 1 }", "2026-01-01"])
def test_a_column_that_is_no_text_is_named(tmp_path: Path, theirs: str) -> None:
    assert "columns.quantity" in said(tmp_path, quantity=theirs)


@pytest.mark.parametrize("entry", ['""', "1", "[]"])
def test_an_entry_of_total_rows_that_is_no_text_is_named(tmp_path: Path, entry: str) -> None:
    assert "total_rows: entry 2" in said(tmp_path, f'total_rows = ["Total", {entry}]')
