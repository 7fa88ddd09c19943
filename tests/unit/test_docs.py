"""The documentation defines what the code points at: rules by tag, error codes, files by name."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

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


BLOCKS = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4,}(billingsync .*)$", re.MULTILINE)
PROGRAM = re.compile(r"(\S*/)?billingsync")
INLINE = re.compile(r"`(billingsync [a-z][^`\n]*)`")
PAGES = [*DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy/install.md"]


def typed_commands(text: str) -> list[list[str]]:
    """What a page tells people to type, from blocks and indented lines, without what only a shell reads."""
    lines = [line for block in BLOCKS.findall(text) for line in block.splitlines()] + INDENTED.findall(text)
    found = []
    for part in (part for line in lines if "billingsync" in line for part in re.split(r"\s(?:[|&>]+|2>\S*)\s", line)):
        try:
            words = shlex.split(re.sub(r"\$\([^)]*\)", "X", part), comments=True)
        except ValueError:  # of a text over several lines
            continue
        start = next((nth for nth, word in enumerate(words) if PROGRAM.fullmatch(word)), None)
        if start is not None and all("=" in word or word in ("sudo", "$") for word in words[:start]):
            found += [words[start + 1 :]] if words[start + 1 :] else []
    return found


def wrong_in(words: list[str], *, whole: bool) -> str:
    """Why the command line refuses these words before it does anything; "" where it takes them. `whole`: nothing that
    is required may be missing."""
    import typer

    from billingsync.cli.app import app

    if words == ["help"] or words == ["version"]:
        return ""
    command: Any = typer.main.get_command(app)
    rest = [word.partition("|")[0] for word in words if not (not whole and word in ("…", "..."))]
    flags = {"--quiet", "-q", "--verbose", "--no-color", "--no-input", "--debug", "--version", "--help"}
    rest = [word for n, word in enumerate(rest) if word not in flags and "--partner" not in (word, *rest[n - 1 : n])]
    while rest and not rest[0].startswith("-") and getattr(command, "commands", None):
        if rest[0] not in command.commands:
            return f"no such command: {' '.join(words)}"
        command = command.commands[rest.pop(0)]
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in options]
    if unknown:
        return f"no such option: {' '.join(words)}: {unknown[0]}"
    if whole and not getattr(command, "commands", None):
        try:
            command.make_context(command.name, list(rest))
        except typer.TyperException as refused:
            return f"{' '.join(words)}: {refused}"
    return ""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_command_line_takes_every_command_of_every_page(path: Path) -> None:
    text = path.read_text()
    told = [wrong_in(words, whole=True) for words in typed_commands(text)]
    told += [wrong_in(shlex.split(each)[1:], whole=False) for each in INLINE.findall(text)]
    assert [each for each in told if each] == []


def test_a_command_that_is_none_is_found() -> None:
    assert typed_commands("```\nbillingsync plan --nosuch\n```\n") == [["plan", "--nosuch"]]
    assert wrong_in(["plan", "--nosuch"], whole=True) and wrong_in(["plans"], whole=False)
    assert wrong_in(["post"], whole=True) and not wrong_in(["post"], whole=False)
