"""The first minute: a screen of billing, one of reconciliation, the pictures' paths and what to type next."""

from __future__ import annotations

from pathlib import Path

import pytest

from billingsync.cli import main
from billingsync.cli.formats import format_of


def test_the_demo_is_two_screens_that_end_with_the_pictures_and_the_next_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 66
    assert lines[-3] == f"The picture of the month: {tmp_path / 'plan.html'}"
    assert lines[-2] == f"The picture of both sides: {tmp_path / 'licences.html'}"
    assert lines[-1].startswith("Next:  billingsync init")
    shown = "\n".join(lines)
    assert "Proseware -> recurring invoice" in shown and "USD a month missing" in shown
    assert "Differences: " in shown and "Yearly commitments that are billed monthly" in shown
    moves = [line.split("->") for line in lines if "open" in line and "->" in line]
    assert any(before.split()[-1] == "0" for before, _ in moves), "a new line"
    assert any(after.split()[0] == "-" for _, after in moves), "a line that ends"
    assert any(before.split()[-1] != "0" and after.split()[0] != "-" for before, after in moves), "another number"
    assert "<svg" in (tmp_path / "licences.html").read_text(encoding="utf-8")
    assert (tmp_path / "plan.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_demo_shows_every_line_where_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--dir", str(tmp_path), "--verbose"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 80


@pytest.mark.parametrize(("words", "said"), [([], "Usage: billingsync"), (["help", "plan"], "Usage: billingsync plan")])
def test_help_needs_no_dashes(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(said)


def test_a_misspelt_command_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pla"]) == 2
    assert "Did you mean 'plan'?" in capsys.readouterr().err


def test_the_ending_of_the_file_says_the_format() -> None:
    names = ("a.xlsx", "b.HTML", "c.md", "-", None)
    found = [format_of(None, name, json=False, command=["plan", "2026-11"]) for name in names]
    assert found == ["xlsx", "html", "markdown", "text", "text"]
