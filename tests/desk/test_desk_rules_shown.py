"""Every rule of the desk's page names a test that shows it, and that test exists."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "desk-rules.md"


def test_every_rule_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\| \[(\w+)\] .*\| `(test_\w+)`: ([^|]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == PAGE.read_text(encoding="utf-8").count("\n| [") > 30
    for tag, file, name in rows:
        source = (HERE / f"{file}.py").read_text(encoding="utf-8")
        assert f"def test_{name.strip().replace(' ', '_')}(" in source, tag
