"""What `.ci/audit.py` makes of pip-audit's answers: only a real look without a finding is a quiet pass."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest


def judge(*given: Any) -> int:
    path = Path(__file__).resolve().parents[2] / ".ci/audit.py"
    spec = importlib.util.spec_from_file_location("audit", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return int(module.judge(*given))


WELL = {"name": "one", "version": "1", "vulns": []}
SKIPPED = {"name": "two", "skip_reason": "Dependency not found"}
BAD = {"name": "three", "version": "3", "vulns": [{"id": "CVE-1", "fix_versions": ["4"]}]}


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [
        ([WELL], 0, "1 packages audited"),
        ([WELL, SKIPPED], 0, "*** NOT AUDITED: 1 of 2"),
        ([SKIPPED], 0, "*** NOT AUDITED: 1 of 1"),
        ([WELL, BAD, SKIPPED], 1, "VULNERABLE: three 3: CVE-1, fixed in 4"),
        ([], 0, "*** NOT AUDITED"),
    ],
)
def test_a_finding_fails_and_what_was_not_looked_at_is_said(
    found: Any, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(json.dumps({"dependencies": found, "fixes": []}), "") == code
    assert says in capsys.readouterr().out


def test_no_answer_is_said_and_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge("", "trace\nConnectionError: no route") == 0
    assert capsys.readouterr().out == "*** NOT AUDITED: ConnectionError: no route ***\n"
