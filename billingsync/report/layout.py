"""Lines of text on a page of a given width: amounts right-aligned and never cut, names cut where they must be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from billingsync.report.escape import inert, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_NARROWEST, _WIDEST = 60, 132  # beyond it the eye loses the line between a name and its amount
_SHORTEST_NAME = 12
_SHORTEST_SENTENCE = 24  # room for the last column of a table: with less, its lines would be a word each
_STACKED = 5  # columns from which a table that is too wide is shown as blocks
UNLIMITED = 100_000  # columns of a page that is no terminal's: nothing on it is ever cut


class Page:
    """Collects lines and prints them. Text is never read as markup."""

    def __init__(self, width: int) -> None:
        self.cuts = width < UNLIMITED
        self.width = min(max(width, _NARROWEST), _WIDEST) if self.cuts else 100
        self.reach = self.width if self.cuts else UNLIMITED  # how wide a table may become
        # Room right of the amounts: a currency, and how a client changed or why a charge is left out. Narrow pages
        # say those elsewhere, so that names keep room.
        self.wide = self.width >= 100
        self.tail = 28 if self.wide else 5
        self.edge = self.width - self.tail
        self.lines: list[Text] = []
        self._begun = False

    def blank(self) -> None:
        if self.lines or self._begun:
            self.say("")

    def say(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self.lines.append(Text(inert(text), style=style))

    def row(
        self,
        left: str,
        amount: str,
        right: str = "",
        *,
        after: str = "",
        style: str = "",
        head: str = "",
        mid: str = "",
    ) -> None:
        """`head` + `left` + `after`, `mid` and then `amount` ending at the edge, `right` behind it. Only `left` is
        ever cut. `style` is the head's and, for rows without a head, the name's."""
        from rich.cells import cell_len
        from rich.text import Text

        after, right, mid, amount = inert(after), inert(right), inert(mid), inert(amount)
        middle = mid.rjust(8) + "  " if mid else ""
        number = amount.rjust(max(10, cell_len(amount)))
        room = self.edge - cell_len(head) - cell_len(after) - cell_len(middle) - len(number) - 2
        name = fit(left, max(room, _SHORTEST_NAME)) if self.cuts else one_line(left)
        line = Text(head, style=style)
        line.append(name, style="" if head else style).append(after)
        gap = self.edge - line.cell_len - cell_len(middle) - len(number)
        line.append(" " * max(gap, 2) + middle, style="dim").append(number, style="bold" if not head else "")
        if right:
            line.append(right, style="dim")
        line.rstrip()
        self.lines.append(line)

    def paragraph(self, chunks: Sequence[str], *, indent: str = "", first: str = "", style: str = "") -> None:
        """Chunks with spaces between, broken between them where the width is used up; `first` starts the first line,
        `indent` the others."""
        for line in folded(chunks, self.width, indent=indent, first=first):
            self.say(line, style)

    def prose(self, text: str, *, indent: str = "", first: str | None = None, style: str = "") -> None:
        """A sentence, folded to the width at its spaces; words longer than a line are broken."""
        room = self.width - len(indent)
        words = [word[at : at + room] for word in one_line(text).split(" ") for at in range(0, len(word), room)]
        self.paragraph(words, indent=indent, first=indent if first is None else first, style=style)

    def show(self, console: Console) -> None:
        """Prints what was collected since the last time. `soft_wrap`: what is too long for the terminal wraps there
        rather than being cropped."""
        from rich.text import Text

        if self.lines:
            console.print(Text("\n").join(self.lines), soft_wrap=True, highlight=False, markup=False, emoji=False)
            self.lines, self._begun = [], True


def fit(text: str, room: int) -> str:
    """The text in at most `room` terminal cells, an ellipsis where it was cut."""
    from rich.cells import cell_len, set_cell_size

    # A cell is at least a quarter of a character here: what is much longer need not be measured whole.
    text = one_line(text[: 8 * room + 64])
    if cell_len(text) <= room:
        return text
    return set_cell_size(text, max(room - 1, 0)).rstrip() + "…"


def table(
    console: Console,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Collection[int] = (),
    names: Collection[int] = (),
) -> None:
    """A plain table: the columns in `numbers` are right-aligned, only those in `names` are cut (the widest first)
    where the console is too narrow. Everything else, amounts and ids, is shown whole even if the terminal must wrap;
    a sentence in the last column goes on below itself. Of a table of many columns that does not fit each row is a
    block, a line a column."""
    from rich.cells import cell_len
    from rich.text import Text

    shown = table_lines(headers, rows, console.width, numbers=numbers, names=names)
    bold = {0}  # the headers
    if len(headers) >= _STACKED and any(cell_len(line) > console.width for line in shown):
        shown, bold = stacked(headers, rows), set()
    lines = [Text(line, style="bold" if number in bold else "") for number, line in enumerate(shown)]
    console.print(Text("\n").join(lines), soft_wrap=True, highlight=False, markup=False, emoji=False)


def stacked(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Each row as a block: its first cell, and below it a line for each other cell that is not empty."""
    size = max(map(len, headers))
    lines = []
    for first, *others in ([one_line(cell) for cell in row] for row in rows):
        lines.append(first)
        lines += [f"  {header:<{size}}  {cell}" for header, cell in zip(headers[1:], others, strict=True) if cell]
    return lines


def table_lines(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    numbers: Collection[int] = (),
    names: Collection[int] = (),
) -> list[str]:
    """What `table` prints, headers first."""
    from rich.cells import cell_len

    cells = [[one_line(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*cells, strict=True)]
    surplus = sum(widths) + 2 * (len(widths) - 1) - width
    while surplus > 0 and names:
        widest = max(names, key=lambda column: widths[column])
        if widths[widest] <= _SHORTEST_NAME:
            break
        others = [widths[column] for column in names if column != widest and widths[column] < widths[widest]]
        step = min(surplus, widths[widest] - max([_SHORTEST_NAME, *others]))
        widths[widest] -= max(step, 1)
        surplus -= max(step, 1)
    last = len(widths) - 1
    before = sum(widths[:-1]) + 2 * last  # cells in front of the last column
    folds = surplus > 0 and last not in names and last not in numbers and width - before >= _SHORTEST_SENTENCE
    lines = []
    for row in cells:
        padded = []
        for column, (cell, size) in enumerate(zip(row, widths, strict=True)):
            shown = cell if folds and column == last else fit(cell, size)
            space = " " * (size - cell_len(shown))
            padded.append(space + shown if column in numbers else shown + space)
        if folds:
            first = "  ".join([*padded[:-1], ""])
            lines += [line.rstrip() for line in folded(row[last].split(), width, indent=" " * before, first=first)]
        else:
            lines.append("  ".join(padded).rstrip())
    return lines


def folded(chunks: Sequence[str], width: int, *, indent: str = "", first: str = "") -> list[str]:
    """Chunks with spaces between, broken between them where the width is used up; `first` starts the first line,
    `indent` the others. A chunk that is longer than the room stays whole."""
    from rich.cells import cell_len

    lines, line, start = [], first, True
    for chunk in chunks:
        if not start and cell_len(line) + 1 + cell_len(chunk) > width:
            lines.append(line)
            line, start = indent, True
        line += chunk if start else f" {chunk}"
        start = False
    return [*lines, line]
