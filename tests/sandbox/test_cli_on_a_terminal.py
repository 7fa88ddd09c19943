"""What a person sees on a real terminal: questions, long sentences, Ctrl-C at a question."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

WIDTH = 60


def test_a_question_left_by_ctrl_c_ends_in_whole_words(tmp_path: Path) -> None:
    own, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BILLINGSYNC_")}
    environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
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
    os.write(own, b"\x03")
    seen += read(own, until=None)
    assert started.wait(10) == 130
    lines = seen.replace("\r\n", "\n").split("\n")
    assert all(len(line) <= WIDTH for line in lines), lines
    question = next(n for n, line in enumerate(lines) if line.startswith("Pax8 client id: "))
    assert any(line.startswith("BS-STOPPED  Stopped. Running the same command") for line in lines[question + 1 :]), (
        lines
    )
    assert "HaloPSA" not in "".join(lines[question + 1 :])  # nothing was written there: nothing is said of it
    assert not list(tmp_path.iterdir())


def read(end: int, until: str | None) -> str:
    """What comes until this text, or until the other end is closed."""
    seen = b""
    limit = time.monotonic() + 20
    while time.monotonic() < limit and (until is None or until.encode() not in seen):
        try:
            piece = os.read(end, 4096)
        except OSError:  # Linux says so where the last process behind a terminal has ended
            break
        if not piece:
            break
        seen += piece
    return seen.decode()
