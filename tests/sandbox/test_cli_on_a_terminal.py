"""What a person sees on a real terminal: questions, long sentences, Ctrl-C at a question."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from io import StringIO
from pathlib import Path

import pytest

from billingsync.cli.questions import ask_for_settings, settings_of
from billingsync.cli.terminal import wrapped
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

WIDTH = 60


def test_a_question_left_by_ctrl_c_ends_in_whole_words(tmp_path: Path) -> None:
    own, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    given = ("BILLINGSYNC_", "COLUMNS", "LINES")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(given)}
    environment["NO_COLOR"] = "1"
    started = subprocess.Popen(
        [sys.executable, "-m", "billingsync", "init"],
        cwd=tmp_path,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    seen = read(own, until="Pax8 client id: ")
    limit = time.monotonic() + 60
    while started.poll() is None and time.monotonic() < limit:
        os.write(own, b"\x03")  # again where it came between the question's text and the wait for its answer
        seen += read(own, until=None, seconds=3)
    assert started.wait(10) == 130
    lines = seen.replace("\r\n", "\n").split("\n")
    assert all(len(line) <= WIDTH for line in lines), lines
    question = next(n for n, line in enumerate(lines) if line.startswith("Pax8 client id: "))
    assert any(line.startswith("BS-STOPPED  Stopped. Running the same command") for line in lines[question + 1 :]), (
        lines
    )
    assert "HaloPSA" not in "".join(lines[question + 1 :])  # nothing was written there: nothing is said of it
    assert not list(tmp_path.iterdir())


def test_what_is_asked_is_tried_at_once_and_asked_again_only_where_it_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(SandboxOptions(seed=7, clients=2)) as sandbox:
        theirs = sandbox.environment()
        for name, value in theirs.items():
            if name.startswith("BILLINGSYNC_PAX8"):
                monkeypatch.setenv(name, value)
        halo = "BILLINGSYNC_HALO__"
        typed = iter(
            [
                *("http://127.0.0.1:9", "x", "y"),  # nobody there: the address is asked for again
                theirs[f"{halo}BASE_URL"],  # refused: the keys are asked for again
                *(theirs[f"{halo}CLIENT_ID"], theirs[f"{halo}CLIENT_SECRET"], "Europe/Berln", "Europe/Berlin"),
            ]
        )
        monkeypatch.setattr("typer._click.termui.visible_prompt_func", lambda _prompt="": next(typed))
        monkeypatch.setattr("typer._click.termui.hidden_prompt_func", lambda _prompt="": next(typed))
        found = ask_for_settings([name for name in theirs if "PAX8" in name], {})
    assert found == {
        **{name: theirs[name] for name in (f"{halo}BASE_URL", f"{halo}CLIENT_ID", f"{halo}CLIENT_SECRET")},
        "BILLINGSYNC_TIMEZONE": "Europe/Berlin",
    }
    said = capsys.readouterr().err
    assert said.count("Trying the login at HaloPSA ...") == 3 and "HaloPSA: the login works." in said
    assert "did you mean Europe/Berlin?\n" in said
    assert settings_of(theirs).retry.first_wait_s == 0.1  # nobody waits for long to learn that nobody is there


def test_a_command_stands_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "62")
    text = "By plan 72dba37594b2 of 2026-11-29 06:43. To look again:  billingsync plan 2026-11"
    assert wrapped(text, Terminal()).split("\n") == [text[:56], " billingsync plan 2026-11"]
    assert wrapped(text, StringIO()) == text
    long = '  next:  billingsync map companies --set "Fourth Coffee"=1017 --reason "as the office said"'
    assert max(wrapped(long, Terminal()).split("\n"), key=len).strip() == long[9:]


def read(end: int, until: str | None, seconds: float = 60) -> str:
    """What comes until this text, until the other end is closed, or in this time."""
    seen = b""
    limit = time.monotonic() + seconds
    while (left := limit - time.monotonic()) > 0 and (until is None or until.encode() not in seen):
        if not select.select([end], [], [], left)[0]:
            break
        try:
            piece = os.read(end, 4096)
        except OSError:  # Linux says so where the last process behind a terminal has ended
            break
        if not piece:
            break
        seen += piece
    return seen.decode()
