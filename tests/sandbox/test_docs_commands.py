"""What the pages for users tell them to type works when it is typed, in the page's order, against the sandbox."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cli import TEXT_ONLY, Office

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = "first-month.md month-close.md only-a-csv.md client-rules.md backup.md network.md monitoring.md comparing.md".split()
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"# not run: \w+")
ENDS = {0, 3}  # done, or done but something is held


def commands(page: str) -> list[str]:
    lines = [line for block in BLOCK.findall((DOCS / page).read_text()) for line in block.splitlines()]
    return [line for line in lines if re.search(r"(^|\s)billingsync\s", line.partition("#")[0])]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as running:
        yield running


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_works(sandbox, sqlite_ledger_url, tmp_path, page):
    sandbox.reset(SandboxOptions(clients=6, charges=40, history=2, trouble=False))
    office = Office(tmp_path, sandbox, sqlite_ledger_url)
    office.rules(TEXT_ONLY)
    found = commands(page)
    assert found, "a page that tells nothing to type needs no place here"
    for line in found:
        if NOT_RUN.search(line):
            continue
        words = shlex.split(line, comments=True)[1:]
        if "4f9c21" in words:
            words[words.index("4f9c21")] = office.run("plan", "2026-11", "--json").json["digest"]
        if "RUN" in words:
            words[words.index("RUN")] = office.run("runs", "--json").json["runs"][0]["run"]
        ran = office.run(*words)
        assert ran.code in ENDS, f"{page}: {line}\n{ran.text}"


def test_commands_that_are_not_run_say_why():
    every = [line for path in DOCS.glob("*.md") for line in commands(path.name)]
    assert len(every) > 20
    assert [line for line in every if "not run" in line and not NOT_RUN.search(line)] == []
