"""One line that updates on a terminal, with an estimate from the call budget; a log line a stage elsewhere."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len

from billingsync.cli import progress_line, terminal
from billingsync.cli.progress_line import ProgressLine, Stderr
from billingsync.core.progress import Progress, Stage
from billingsync.log import set_up_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        """What stands on the last line, as a terminal shows it."""
        cells: list[str] = []
        at = 0
        for letter in self.getvalue().rpartition("\n")[2]:
            if letter == "\r":
                at = 0
                continue
            cells[at : at + 1] = [letter]
            at += 1
        return "".join(cells).rstrip()


@dataclass
class Upstream:
    """As much of a service as the line asks."""

    name: str = "HaloPSA"
    calls_made: int = 0
    left: int = 50
    wait: float = 0.0
    config: Any = field(default_factory=lambda: SimpleNamespace(calls_per_minute=50))

    def budget_left(self) -> int:
        return self.left

    def budget_wait(self) -> float:
        return self.wait


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    found = Terminal()
    monkeypatch.setattr(progress_line, "sys", SimpleNamespace(stderr=found))  # capturing puts back the real one
    return found


def line(halo: Upstream, width: int = 80, now: float = 100.0) -> ProgressLine:
    made = ProgressLine(width=lambda: width, clock=lambda: now, services=(halo,))  # type: ignore[arg-type]
    made._ticker = SimpleNamespace()  # type: ignore[assignment]  # nothing moves by itself here
    return made


def posting(nth: int, of: int = 104, client: str = "Contoso Ltd") -> Progress:
    return Progress(stage=Stage.POST, nth=nth, of=of, client=client)


def test_the_next_step_takes_the_place_of_the_one_before(screen: Terminal) -> None:
    shown = line(Upstream())
    shown.show(Progress(stage=Stage.READ_MONTH, about="2026-11"))
    shown.show(Progress(stage=Stage.PLAN))
    assert screen.shown() == "… planning"
    assert "\n" not in screen.getvalue() and "\x1b" not in screen.getvalue()


def test_what_is_printed_meanwhile_stands_on_a_line_of_its_own(screen: Terminal) -> None:
    shown = line(Upstream())
    shown.show(Progress(stage=Stage.PLAN))
    shown.clear()
    print("Written: plan.html", file=screen, flush=True)
    assert screen.getvalue().endswith("\rWritten: plan.html\n")
    shown.draw()
    assert screen.shown() == "", "what was cleared does not come back"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_it_never_wraps_and_the_name_is_cut_not_the_estimate(screen: Terminal, width: int) -> None:
    shown = line(Upstream(left=0), width)
    shown.show(posting(1, client="Réunion des Théâtres du Grand Nord 東京支店 " * 3))
    assert cell_len(screen.shown()) < width
    assert "(about 3 min left)" in screen.shown() and "…" in screen.shown()[1:]


def test_the_estimate_is_what_the_budget_lets_through(screen: Terminal) -> None:
    halo = Upstream(left=10)
    shown = line(halo)
    shown.show(posting(1, of=110))
    assert shown.seconds_left() == 120  # 110 calls, 10 at once, the others at 50 a minute
    halo.left, halo.calls_made = 0, 30
    shown.show(posting(11, of=110))
    assert shown.seconds_left() == 360  # three calls each, as it turned out


def test_nobody_is_told_seconds_that_nobody_knows(screen: Terminal) -> None:
    shown = line(Upstream(calls_made=12))
    shown.show(Progress(stage=Stage.READ_MONTH, about="2026-11"))
    assert shown.seconds_left() is None
    assert screen.shown() == "… reading 2026-11 from Pax8 and HaloPSA  (12 calls)"


def test_a_wait_for_the_budget_is_told_as_one(screen: Terminal) -> None:
    shown = line(Upstream(calls_made=50, left=0, wait=34.4), width=120)
    shown.show(Progress(stage=Stage.READ_MONTH, about="2026-11"))
    assert "HaloPSA's calls of this minute are used up: next in 34 s" in screen.shown()


def test_a_log_line_does_not_stick_to_it(screen: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = line(Upstream())
    monkeypatch.setattr(progress_line, "LINE", shown)
    shown.show(Progress(stage=Stage.PLAN))
    Stderr().write("a warning\n")
    assert screen.getvalue().endswith("\ra warning\n")
    shown.draw()
    assert screen.shown() == "… planning"


def test_without_a_terminal_each_stage_is_one_log_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(format="json", level="info")
    monkeypatch.setattr(progress_line.STAGES, "last", None)
    terminal.say(Progress(stage=Stage.READ_MONTH, about="2026-11"))
    for nth in (1, 2, 3):
        terminal.say(posting(nth, of=3))
    terminal.say(Progress(stage=Stage.READ_BACK, of=3))
    written = capsys.readouterr()
    lines = [json.loads(each) for each in written.err.splitlines()]
    assert [each["event"] for each in lines] == [
        "reading 2026-11 from Pax8 and HaloPSA",
        "posting 3 invoices",
        "reading back 3 invoices",
    ]
    assert {each["stage"] for each in lines} == {"read_month", "post", "read_back"} and written.out == ""


def test_quiet_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(terminal.FLAGS, "quiet", True)
    terminal.say(posting(1))
    assert capsys.readouterr() == ("", "")
