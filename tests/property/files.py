"""Files that nobody would write: from a grammar of delimiters, quotes, marks, decimals and line ends, and from bytes.

A grammar's file comes with what it must count, computed from its parts and not from its text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal

from hypothesis import strategies as st

HEADER = ("Customer", "Product", "Usage")
NAMES = (
    "Contoso",
    "Fabrikam Ltd",
    "Zürich AG",
    'say "hi"',
    "a;b",
    "c,d",
    "tab\there",
    "=1+1",
    "-5 GB",
    "@x",
    "Ünï😀",
    "o|p",
)


@dataclass(frozen=True)
class Written:
    """A file's bytes, and the sum of each (account, service) that it must come to."""

    content: bytes
    decimal: str
    sums: dict[tuple[str, str], Decimal]
    rows: int


def number_text(number: Decimal, decimal: str, grouped: bool, style: str) -> str:
    text = f"{abs(number):,f}" if grouped else f"{abs(number):f}"
    if decimal == ",":
        text = text.translate(str.maketrans(",.", ".,"))
    if number >= 0:
        return f"€ {text}" if style == "currency" else text
    return {"brackets": f"({text})", "behind": f"{text}-"}.get(style, f"-{text}")


def cell_text(text: str, delimiter: str, always: bool) -> str:
    if always or any(letter in text for letter in (delimiter, '"', "\n")) or text.startswith('"'):
        return '"' + text.replace('"', '""') + '"'
    return text


@st.composite
def written_files(draw: st.DrawFn) -> Written:
    delimiter = draw(st.sampled_from(",;\t|"))
    decimal = draw(st.sampled_from(".,"))
    end = draw(st.sampled_from(("\n", "\r\n", "\r")))
    quoted = draw(st.booleans())
    columns = draw(st.permutations((*HEADER, "Note")))
    style = draw(st.sampled_from(("plain", "brackets", "behind", "currency")))
    lines = draw(st.sampled_from(([], ["Usage report"], ["", "Usage report", ""])))
    if draw(st.booleans()):
        lines = [f"sep={delimiter}", *lines]
    lines = [*lines, delimiter.join(cell_text(name, delimiter, quoted) for name in columns)]
    sums: dict[tuple[str, str], Decimal] = {}
    count = draw(st.integers(1, 12))
    # The first number says which decimal mark the column has.
    for place in range(count):
        account, service = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES))
        number = Decimal(draw(st.integers(-(10**9), 10**9))).scaleb(-draw(st.sampled_from((0, 1, 2, 4))))
        number = Decimal("0.5") if place == 0 else number
        text = number_text(number, decimal, draw(st.booleans()), style)
        values = {
            "Customer": account,
            "Product": service,
            "Usage": text,
            "Note": draw(st.sampled_from(("", "x", "é\n"))),
        }
        cells = [values[name] for name in columns]
        lines.append(delimiter.join(cell_text(cell, delimiter, quoted) for cell in cells))
        key = (" ".join(account.split()), " ".join(service.split()))
        sums[key] = sums.get(key, Decimal(0)) + number
        if draw(st.integers(0, 5)) == 0:
            lines.append("")
    text = end.join(line.replace("\n", end) for line in lines) + draw(st.sampled_from((end, "")))
    encoding = draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16")))
    return Written(content=text.encode(encoding), decimal=decimal, sums=sums, rows=count)


PIECES = (
    b"Customer", b"Product", b"Usage", b",", b";", b"\t", b"|", b'"', b'""', b"\n", b"\r\n", b"\r", b"Contoso", b"Backup",
    b"1,234", b"1.234,5", b"12", b"(3)", b"3-", b"%", b"=cmd|' /C calc'!A0", b'="00123"', b"'7", b"1.2E+11", b"45962",
    b"#REF!", b"Total", b"sep=;", b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\xfc", b"\xc3", b"\xe2\x80\xae", b"9" * 41,
    b"Customer,Product,Usage\n", b"Customer;Product;Usage\n", b"A,B,7\n", b"A;B;7,5\n", b"2026-10", b"x" * 300,
)  # fmt: skip
HEADERS = (
    b"",
    b"Customer,Product,Usage\n",
    b"Customer;Product;Usage\n",
    b"\xef\xbb\xbfsep=;\nCustomer;Product;Usage\n",
)


def random_bytes(chance: random.Random) -> bytes:
    """Some bytes that look a little like a file, often beginning like one."""
    kind = chance.random()
    body = b"".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 14)))
    if kind < 0.4:  # a table, with perhaps one odd cell
        rows = [[b"A", b"B", b"7"] for _ in range(chance.randrange(1, 6))]
        if chance.random() < 0.7:
            chance.choice(rows)[chance.randrange(3)] = chance.choice(PIECES)
        body = HEADERS[1] + b"".join(b",".join(row) + b"\n" for row in rows)
    elif kind < 0.55:
        body = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 60)))
    whole = bytearray((b"" if kind < 0.4 else chance.choice(HEADERS)) + body)
    for _ in range(chance.randrange(3)):  # a bit flips, a byte goes
        if whole:
            place = chance.randrange(len(whole))
            if chance.random() < 0.5:
                whole[place] ^= 1 << chance.randrange(8)
            else:
                del whole[place]
    return bytes(whole) or b"\n"
