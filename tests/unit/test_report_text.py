"""The plan for people: nothing cut that counts, nothing hostile alive, an equation that adds up as it stands there."""

from __future__ import annotations

import re
from decimal import Decimal as D
from io import StringIO

import pytest
import sample_plan as sample
from rich.cells import cell_len
from rich.console import Console

from billingsync.core.bill.plan import Account, CurrencyAccount, Plan
from billingsync.report.equation import sentence
from billingsync.report.layout import table, table_lines
from billingsync.report.numbers import Figures
from billingsync.report.text import plan_text, print_plan

PLANS = [sample.full_plan, sample.small_plan, sample.held_plan, sample.empty_plan]


def equations(text: str) -> list[str]:
    """The equations of a report, price sentences only, wrapped lines joined again."""
    joined = re.sub(r"\n {4}(?=[+=-] )", " ", text)
    return [line for line in joined.splitlines() if " charged = " in line]


def added_up(equation: str) -> tuple[D, D]:
    """Both sides of `a charged = b to post - c dropped + ... held USD`, read as a person reads them."""
    left, _, right = equation.replace(",", "").partition(" = ")
    terms = re.findall(r"(^|[+-] )(-?[0-9.]+) [a-z]", right)
    return D(left.split()[0]), sum((-D(number) if sign == "- " else D(number) for sign, number in terms), D(0))


def test_the_equation_reads_as_in_the_interface() -> None:
    account = Account(
        charges=D("18231.07"),
        posted=D("17950.07"),
        dropped=D("-4.10"),
        excluded=D("200.00"),
        held=D("85.10"),
        already_posted=D("0.00"),
    )
    said = sentence(account, "USD", Figures())
    assert said == "18,231.07 charged = 17,950.07 to post - 4.10 dropped + 200.00 excluded + 85.10 held USD"


def test_the_example_of_the_interface_line_by_line() -> None:
    lines = [" ".join(line.split()) for line in plan_text(sample.small_plan(), 100).splitlines()]
    assert "Contoso Ltd -> recurring invoice 237 261.37 USD +12.4 % since 2026-10" in lines
    assert "~ Microsoft 365 Business Premium [1 +1] 9 -> 10 198.00 -> 220.00" in lines
    assert "+ Defender for Business (2026-11-03 to 2026-11-30) [3] 41.37" in lines
    assert "- dropped: M365 E3 prorata [4] -4.10 favorable prorata" in lines
    assert lines[-2] == "257.27 charged = 261.37 to post - 4.10 dropped + 0.00 excluded + 0.00 held USD"
    assert lines[-1] == "Nothing written. Post it: billingsync post 4f9c21"


@pytest.mark.parametrize("make", PLANS)
@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
def test_the_equation_adds_up_as_it_is_printed(make: object, width: int) -> None:
    plan: Plan = make()  # type: ignore[operator]
    found = equations(plan_text(plan, width))
    assert len(found) == len(plan.accounts)
    for equation, account in zip(found, plan.accounts, strict=True):
        left, right = added_up(equation)
        assert left == right == account.price.charges
        assert equation.endswith(f" held {account.currency}")


def test_the_equation_is_the_last_sentence_before_the_command() -> None:
    lines = plan_text(sample.full_plan(), 200, next_command="billingsync post 4f9c21d7").splitlines()
    assert [" charged = " in line for line in lines[-6:]] == [False, True, True, True, True, False]
    assert lines[-1] == "Nothing written. Post it:  billingsync post 4f9c21d7"


@pytest.mark.parametrize("width", [20, 60, 80, 120])
def test_no_amount_is_ever_cut(width: int) -> None:
    huge = sample.line(
        "add", "A" * 300, "1234567", "100000.000001", "1", "123456700001.23", "1.00", "c1", text="B" * 300
    )
    client = sample.client("C" * 300, 1, lines=(huge,), last=("2026-10", "1.00"))
    text = plan_text(sample.plan([client]), width)
    assert text.count("123,456,700,001.23") == 4  # client, line, both sides of the equation
    assert "1,234,567 x 100,000.000001" in text
    assert "+12,345,670,000,023.0 % since 2026-10" in text


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_page(width: int) -> None:
    for line in plan_text(sample.full_plan(), width).splitlines():
        assert cell_len(line) <= width or "do: billingsync " in line, line  # commands stay whole, to be copied
        assert line == line.rstrip()


def test_amounts_end_in_one_column() -> None:
    text = plan_text(sample.small_plan(), 100)
    rows = [line for line in text.splitlines() if line.startswith(("  ~", "  +", "  -", "Contoso"))]
    ends = {re.search(r"(261\.37|220\.00|41\.37|-4\.10)(?!.*\d\.\d\d)", line).end() for line in rows}  # type: ignore[union-attr]
    assert len(rows) == 4 and len(ends) == 1


def test_fault_37_hostile_text_is_inert_on_a_terminal() -> None:
    text = plan_text(sample.full_plan(), 120)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert "\\x1b[31mred" in text and "\\u202e" in text and "\\ud800" in text
    assert "two lines | of `code`" in text  # a newline cannot fake a line of ours
    text.encode("utf-8")


def test_names_are_no_markup() -> None:
    client = sample.client("[red]Contoso[/red] :smile: [link=file:///etc/passwd]x[/link]", 1, lines=())
    client = sample.client(client.company_name, 1, lines=(sample.line("add", "[b]", "1", "1", "1", "1.00", "1.00"),))
    text = plan_text(sample.plan([client]), 120)
    assert "[red]Contoso[/red] :smile: [link=file:///etc/passwd]x[/link]" in text and "+ [b]" in text


def test_colours_only_where_asked_for() -> None:
    assert "\x1b" not in plan_text(sample.full_plan(), 100)
    assert "\x1b[" in plan_text(sample.full_plan(), 100, color=True)


def test_colours_say_nothing_that_the_text_does_not() -> None:
    coloured = plan_text(sample.full_plan(), 100, color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plan_text(sample.full_plan(), 100)


def test_what_earlier_runs_posted_is_a_part_of_its_own() -> None:
    text = plan_text(sample.empty_plan(), 120)
    assert "18,231.07 charged = 18,231.07 already posted + 0.00 to post + 0.00 dropped" in text
    assert text.endswith("Nothing written. Nothing to post.\n")


def test_a_plan_that_only_holds_says_what_to_do() -> None:
    text = plan_text(sample.held_plan(), 100)
    assert "held: client unmapped" in text
    assert "do: billingsync map companies --set company-1=<client id>" in text
    assert text.splitlines()[-1].endswith("billingsync holds 2026-11")


def test_numbers_follow_the_locale() -> None:
    text = plan_text(sample.small_plan(), 100, locale="de_DE")
    assert "257,27 charged = 261,37 to post - 4,10 dropped" in text and "+12,4 % since 2026-10" in text


def test_what_is_asked_for_only_is_said() -> None:
    plan = sample.plan(sample.full_plan().clients[:1], asked=("company-Contoso Ltd",))
    assert "Only for: Contoso Ltd" in plan_text(plan, 100)


def test_long_lists_are_summed_not_lost() -> None:
    gone = tuple(sample.dropped(f"c{n}", "azure", "1.00", "1.00", f"Product {n}") for n in range(40))
    text = plan_text(sample.plan([sample.client("Contoso", 1, dropped=gone)]), 100)
    amounts = [D(found) for found in re.findall(r"- dropped: .* (\d+\.\d\d)", text)]
    assert sum(amounts) == D(40) and len(amounts) == 12 and "... and 29 more (use --format html)" in text


def test_a_currency_that_is_none_is_foreign_text_too() -> None:
    account = Account(charges=D(0), posted=D(0), dropped=D(0), excluded=D(0), held=D(0), already_posted=D(0))
    plan = sample.plan()
    plan = type(plan)(
        **{name: getattr(plan, name) for name in plan.__dataclass_fields__}
        | {"accounts": (CurrencyAccount(currency="\x1b[2J|<b>\n", price=account, cost=account),)}
    )
    text = plan_text(plan, 100)
    assert "\x1b" not in text and "\\x1b[2J|<b>" in text


def test_the_console_given_is_used() -> None:
    file = StringIO()
    print_plan(sample.small_plan(), Console(file=file, width=90))
    assert file.getvalue() == plan_text(sample.small_plan(), 90)


def test_a_table_cuts_names_and_never_amounts() -> None:
    rows = [["x" * 60, "1,234,567.89", "0f3c2a9e-6d0b-4c1e"], ["株式会社" * 9, "1.00", "id"]]
    for width in (30, 60, 200):
        lines = table_lines(("Client", "Amount", "Id"), rows, width, numbers={1}, names={0})
        assert "1,234,567.89" in lines[1] and "0f3c2a9e-6d0b-4c1e" in lines[1]
        assert lines[2].rstrip().endswith("id") and ("…" in lines[1]) == (width < 200)
        if width == 60:
            assert max(cell_len(line) for line in lines) <= 60


def test_a_table_reaches_the_console_whole() -> None:
    file = StringIO()
    table(Console(file=file, width=20), ("Client", "Amount"), [["[b]" + "n" * 50, "9" * 40]], numbers={1}, names={0})
    assert "9" * 40 in file.getvalue() and "[b]" in file.getvalue()


def test_a_sentence_in_the_last_column_goes_on_below_itself_between_words() -> None:
    says = "recurring invoice 228 of Consolidated Messenger: HaloPSA counts the licences itself"
    rows = [["look", "株式会社", says], ["ok", "Pax8", "x" * 90]]
    lines = table_lines(("", "Check", "Found"), rows, 60)
    begins = cell_len(lines[1].split("recurring")[0])
    sentence = [line for line in lines[1:] if "x" not in line]
    assert len(sentence) == 3 and all(cell_len(line) <= 60 for line in sentence)
    assert sentence[1].startswith(" " * begins) and not sentence[1][begins].isspace()
    assert " ".join(" ".join(sentence).split()[2:]) == says
    assert "x" * 90 in lines[-1]  # what has no space is shown whole
    assert len(table_lines(("", "Check", "Found"), rows, 30)) == 3  # too narrow for sentences: the terminal wraps


def test_a_table_of_many_columns_that_does_not_fit_is_shown_as_blocks() -> None:
    headers = ("Pax8 id", "Pax8 name", "HaloPSA id", "HaloPSA name", "How")
    rows = [("98ba2886-f5f2-7d85-22fb-346e72d49a5a", "Fourth Coffee", "", "", "client_unmapped")]
    narrow, wide = Console(file=StringIO(), width=60), Console(file=StringIO(), width=120)
    table(narrow, headers, rows)
    table(wide, headers, rows)
    assert narrow.file.getvalue().splitlines() == [  # type: ignore[attr-defined]  # StringIO
        "98ba2886-f5f2-7d85-22fb-346e72d49a5a",
        "  Pax8 name     Fourth Coffee",
        "  How           client_unmapped",
    ]
    assert len(wide.file.getvalue().splitlines()) == 2  # type: ignore[attr-defined]  # StringIO
