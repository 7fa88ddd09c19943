"""One rules file: its bytes read strictly, its keys with the lines on which they stand."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

from billingsync.rulebook.wording import printable

# The largest believable rules file (thousands of [[product]] blocks) has some 100 kB.
MAX_BYTES = 2_000_000

Where = tuple[str | int, ...]  # ("modifiers", "azure"), ("product", 1, "pax8_sku")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake. `order` sorts the mistakes by file and line for people who correct them top down."""

    path: str
    line: int | None
    key: str
    says: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.key}: {self.says}" if self.key else f"{place}: {self.says}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesFile:
    """`data` is what tomllib gives; None where the file cannot be read as TOML (`problems` says why)."""

    path: str  # as shown to people
    data: Mapping[str, object] | None
    lines: Mapping[Where, int]
    problems: tuple[Problem, ...] = ()
    empty: bool = False  # of 0 bytes
    text: str = field(default="", repr=False)

    def problem(self, where: Where, key: str, says: str) -> Problem:
        """A mistake at the line of `where`, or of the nearest thing around it whose line is known."""
        while where and where not in self.lines:
            where = where[:-1]
        return Problem(path=self.path, line=self.lines.get(where), key=printable(key), says=says)


def read_rules_file(path: Path) -> RulesFile:
    """Reads one TOML file with numbers as int and Decimal. Never raises: what is wrong comes as `problems`."""
    name = printable(path.as_posix())
    try:
        raw = _read_bytes(path)
        text, byte_order_mark = _decode(raw)
    except _Unreadable as wrong:
        problem = Problem(path=name, line=wrong.line, key="", says=str(wrong))
        return RulesFile(path=name, data=None, lines={}, problems=(problem,))
    problems = [Problem(path=name, line=1, key="", says=byte_order_mark)] if byte_order_mark else []
    return read_rules_text(name, text, problems)


def read_rules_text(name: str, text: str, problems: Sequence[Problem] = ()) -> RulesFile:
    """A rules file's text; `name` is what people know it by."""
    found, problems = _KeyLines(text), list(problems)
    data = None
    try:
        data = tomllib.loads(text, parse_float=_number)
    except RecursionError:
        problems.append(Problem(path=name, line=None, key="", says="nested too deeply to be a rules file"))
    except ValueError as wrong:  # TOMLDecodeError, and Python's own refusal of integers of 4300 digits
        problems.extend(_syntax_problems(name, text, found, str(wrong)))
    return RulesFile(path=name, data=data, lines=found.lines, problems=tuple(problems), empty=not text, text=text)


class _Unreadable(Exception):
    def __init__(self, says: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(says)


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():  # opening a named pipe would wait for ever
            raise _Unreadable("is not a regular file; put a text file there or take it away")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _Unreadable(f"is too large for a rules file: {size} bytes, at most {MAX_BYTES}")
        return path.read_bytes()
    except OSError as wrong:
        raise _Unreadable(f"cannot be read: {wrong.strerror or wrong}") from None


def _decode(raw: bytes) -> tuple[str, str]:
    """The text, and what is wrong with a byte order mark if there is one."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable("is saved as UTF-16; save it as UTF-8", line=1)
    mark = ""
    if raw.startswith(b"\xef\xbb\xbf"):
        raw, mark = raw[3:], "begins with a byte order mark (BOM); save it as UTF-8 without one"
    try:
        return raw.decode("utf-8"), mark
    except UnicodeDecodeError as wrong:
        line = raw.count(b"\n", 0, wrong.start) + 1
        says = f"byte {raw[wrong.start]:#04x} is not UTF-8 (Latin-1?); save the file as UTF-8"
        raise _Unreadable(says, line) from None


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # 1e99999999999999999999: refused later, with its key
        return Decimal("NaN")


_BARE_OR_QUOTED = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_BARE_OR_QUOTED}(?:[ \t]*\.[ \t]*{_BARE_OR_QUOTED})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")


class _KeyLines:
    """A light scan for the lines of keys: good enough for messages, never in the way of reading."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Where, int] = {}
        self.twice: list[tuple[Where, int]] = []
        self._blocks: dict[Where, int] = {}
        section: Where = ()
        quotes = ""  # the quotes of the multi-line text that we are in
        for number, line in enumerate(text.split("\n"), start=1):
            if quotes:
                quotes = "" if quotes in line else quotes
                continue
            if header := _HEADER.match(line):
                section = self._section(_parts(header[2]), header[1] == "[[", number)
            elif key := _KEY.match(line):
                self._remember(section + _parts(key[1]), number)
            quotes = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")

    def _section(self, name: Where, is_block: bool, number: int) -> Where:
        if is_block:
            self._blocks[name] = self._blocks.get(name, -1) + 1
            self.lines.setdefault(name, number)
            name = (*name, self._blocks[name])
        elif name[:1] in self._blocks:
            name = (*name[:1], self._blocks[name[:1]], *name[1:])
        self._remember(name, number)
        return name

    def _remember(self, where: Where, number: int) -> None:
        if where in self.lines:
            self.twice.append((where, number))
        else:
            self.lines[where] = number


def _parts(dotted: str) -> Where:
    return tuple(part.strip("\"'") for part in re.findall(_BARE_OR_QUOTED, dotted))


# What people write that TOML does not know, and what to write instead.
_HINTS = (
    (re.compile(r"[“”„‘’]"), "use straight quotes"),
    (re.compile(r"=\s*-?\d+,\d"), "write a decimal point, e.g. 12.50"),
    (re.compile(r"=\s*-?[\d.]+\s*%"), "write the number without the percent sign"),
    (re.compile(r"=\s*(True|False|TRUE|FALSE)\b"), "write true or false in small letters"),
    (re.compile(r"=\s*[A-Za-z]"), 'put texts in quotes, e.g. azure = "drop"'),
    (re.compile(r"^\s*[A-Za-z_]+\s*:"), 'write "key = value" with an equals sign'),
    (re.compile(r"=\s*$"), "write the value after the equals sign, or take the line out"),
)


def _syntax_problems(name: str, text: str, found: _KeyLines, message: str) -> list[Problem]:
    """tomllib's one message in the words of who edits the file; repeated keys are all named."""
    if message.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")) and found.twice:
        return [
            Problem(
                path=name,
                line=number,
                key=printable(".".join(str(part + 1 if isinstance(part, int) else part) for part in where)),
                says=f"stands here twice, first on line {found.lines[where]}; keep one of the two",
            )
            for where, number in found.twice
        ]
    line = None
    if at := re.search(r"\(at line (\d+), column \d+\)", message):
        line = int(at[1])
    elif "at end of document" in message:
        line = text.rstrip().count("\n") + 1
    what = re.sub(r" \(at [^()]*\)$", "", message)
    if "Exceeds the limit" in message:
        what = "a number of thousands of digits"
    says = f"not readable as TOML: {printable(what)}"
    there = text.split("\n")[line - 1] if line else ""
    hint = next((hint for pattern, hint in _HINTS if pattern.search(there)), "")
    if hint:
        says += f"; {hint}"
    elif "end of document" in message or "Unterminated" in message:
        says += "; was the file saved completely?"
    return [Problem(path=name, line=line, key="", says=says)]
