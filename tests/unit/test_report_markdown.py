"""Markdown for tickets: cells that cannot leave their table, nobody notified, the equation as in the text."""

from __future__ import annotations

import re

import pytest
import sample_plan as sample

from billingsync.report.markdown import escaped, plan_markdown


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a|b", "a\\|b"),
        ("`code`", "\\`code\\`"),
        ("two\r\nlines", "two lines"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("**bold** _it_", "\\*\\*bold\\*\\* \\_it\\_"),
        ("[x](http://evil)", "\\[x\\](http:&#8203;//evil)"),
        ("@channel", "@&#8203;channel"),
        ("#12 www.x", "\\#&#8203;12 www&#8203;.x"),
        ("a\\|b", "a\\\\\\|b"),
        ("\x1b[0m", "\\\\x1b\\[0m"),
        ("M365 E3 - 10 x 2.50", "M365 E3 - 10 x 2.50"),
    ],
)
def test_a_cell_is_escaped(text: str, cell: str) -> None:
    assert escaped(text) == cell


def test_every_table_row_has_the_columns_of_its_table() -> None:
    columns = 0
    for line in plan_markdown(sample.full_plan(), sample.CREATED_AT).splitlines():
        if not line.startswith("|"):
            columns = 0
            continue
        bars = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
        columns = columns or bars
        assert bars == columns, line


def test_fault_37_hostile_text_is_inert_in_a_ticket() -> None:
    text = plan_markdown(sample.full_plan(), sample.CREATED_AT)
    text.encode("utf-8")
    assert "<script" not in text and "\x1b" not in text and "\u202e" not in text
    assert not re.search(r"@\w", text)


def test_it_says_the_equation_and_the_command() -> None:
    text = plan_markdown(sample.small_plan(), sample.CREATED_AT, next_command="billingsync post 4f9c21d7")
    assert "\n257.27 charged = 261.37 to post - 4.10 dropped + 0.00 excluded + 0.00 held USD\n" in text
    assert "billingsync post 4f9c21d7" in text
    assert "| to post | 261.37 | 210.00 | 51.37 |" in text
