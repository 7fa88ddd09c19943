"""Logs: one line an event, redacted, inert, and never in the way of the work."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from billingsync.log import inert, set_up_logging, set_up_logging_later

HOSTILE = "paid\n2026-01-01 [error] forged\r\x1b[31m\u202e\x9b2J\u2028\x00"
SECRET = "hunter2"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def hide(text: str) -> str:
    return text.replace(SECRET, "***")


def log_to(stream: io.StringIO, **options: Any) -> Any:
    set_up_logging(stream=stream, redact=hide, **options)
    return structlog.get_logger()


def documents(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_where_there_is_no_terminal_and_text_where_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    pipe, terminal = io.StringIO(), Terminal()
    log_to(pipe).info("fetched", pages=3)
    (document,) = documents(pipe)
    assert document.pop("timestamp").endswith("Z")
    assert document == {"event": "fetched", "level": "info", "pages": 3}
    log_to(terminal).info("fetched", pages=3)
    assert "fetched" in terminal.getvalue() and "pages" in terminal.getvalue()
    with pytest.raises(ValueError):
        json.loads(terminal.getvalue())


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_the_format_may_be_chosen(stream: Callable[[], io.StringIO]) -> None:
    one, other = stream(), stream()
    log_to(one, format="json").info("x")
    assert documents(one)
    log_to(other, format="console").info("x")
    assert not other.getvalue().startswith("{")


@pytest.mark.parametrize(
    ("stream", "env", "color", "colored"),
    [
        (Terminal, {}, True, True),
        (Terminal, {"NO_COLOR": "1"}, True, False),
        (Terminal, {"NO_COLOR": ""}, True, True),
        (Terminal, {"TERM": "dumb"}, True, False),
        (Terminal, {}, False, False),
        (io.StringIO, {}, True, False),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="no colors there")
def test_escapes_only_on_a_terminal_that_wants_them(
    monkeypatch: pytest.MonkeyPatch, stream: Any, env: dict[str, str], color: bool, colored: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    out = stream()
    log_to(out, format="console", color=color).warning("x", client="Contoso")
    assert ("\x1b" in out.getvalue()) is colored


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_levels(level: str) -> None:
    out = io.StringIO()
    log = log_to(out, level=level)
    names = ["debug", "info", "warning", "error", "critical"]
    for name in names:
        getattr(log, name)(name)
    assert [document["event"] for document in documents(out)] == names[names.index(level) :]


@pytest.mark.parametrize("form", ["json", "console"])
def test_hostile_text_stays_on_its_line(form: str) -> None:
    out = io.StringIO()
    log_to(out, format=form).info(
        HOSTILE,
        client=HOSTILE,
        **{HOSTILE: 1},
        nested={"a": [HOSTILE, (HOSTILE,)], HOSTILE: {HOSTILE}},
        path=Path("a\nb"),
    )
    text = out.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n") and text[:-1].isprintable()


@given(text=st.text(alphabet=HOSTILE + "aé中 ", max_size=20))
@settings(max_examples=50)
def test_inert_text_is_printable_and_plain_text_is_untouched(text: str) -> None:
    assert inert(text).isprintable()
    assert inert(text) == text or not text.isprintable()


def test_ordinary_names_are_left_alone() -> None:
    assert inert("Bäckerei Nguyễn & Söhne – 株式会社 €") == "Bäckerei Nguyễn & Söhne – 株式会社 €"
    assert inert("a\nb\x1b[0m") == "a\\nb\\x1b[0m"


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("debug", [True, False])
def test_no_secret_anywhere(form: str, debug: bool) -> None:
    class Client:
        def __str__(self) -> str:
            return f"<Client {SECRET}>"

    out = io.StringIO()
    log = log_to(out, format=form, debug=debug)
    log.info(f"with {SECRET}", token=SECRET, **{SECRET: 1}, deep={"a": [{"b": (SECRET, {SECRET})}]}, thing=Client())
    log.info("deeper", very={"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": SECRET}}}}}}}})
    try:
        raise RuntimeError(f"login with {SECRET} failed")
    except RuntimeError:
        log.exception("failed")
    logging.getLogger("httpx").warning("GET https://x/?token=%s", SECRET)
    assert SECRET not in out.getvalue() and out.getvalue().count("***") >= 8


def test_a_broken_redaction_shows_nothing() -> None:
    def broken(text: str) -> str:
        raise RuntimeError

    out = io.StringIO()
    set_up_logging(stream=out, redact=broken)
    structlog.get_logger().info(SECRET, a=SECRET)
    assert SECRET not in out.getvalue() and "redaction failed" in out.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_only_for_who_debugs(form: str) -> None:
    quiet, loud = io.StringIO(), io.StringIO()
    for out, debug in ((quiet, False), (loud, True)):
        log = log_to(out, format=form, debug=debug)
        try:
            raise ValueError("bad\n2026-01-01 [info] forged")
        except ValueError as error:
            log.error("one", exc_info=True)
            log.error("two", exc_info=error)
            log.error("three", exc_info=(type(error), error, error.__traceback__))
    assert "Traceback" not in quiet.getvalue() and quiet.getvalue().count("ValueError: bad") == 3
    assert loud.getvalue().count("Traceback") == 3
    assert not any(line.startswith("2026-01-01") for line in loud.getvalue().splitlines())


def test_an_error_without_words_and_no_error_at_all() -> None:
    out = io.StringIO()
    log = log_to(out)
    log.error("a", exc_info=KeyError())
    log.error("b", exc_info=True)
    first, second = documents(out)
    assert first["error"] == "KeyError" and "error" not in second


def test_values_of_all_kinds() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    out = io.StringIO()
    log_to(out).info("x", amount=Decimal("1.20"), none=None, flag=True, ratio=0.5, thing=Broken(), raw=b"\x00")
    (document,) = documents(out)
    assert (document["amount"], document["none"], document["flag"], document["ratio"]) == ("1.20", None, True, 0.5)
    assert document["thing"] == "<Broken>" and document["raw"] == "b'\\x00'"


def test_libraries_speak_the_same_way_and_only_when_it_matters() -> None:
    out = io.StringIO()
    log_to(out, level="debug")
    log_to(out, level="debug")  # a second time does not double the lines
    library = logging.getLogger("sqlalchemy.engine")
    library.info("SELECT 1")
    library.warning("slow %s", "x\ny")
    try:
        raise ValueError("bad")
    except ValueError:
        library.exception("failed")
    first, second = documents(out)
    assert (first["event"], first["level"]) == ("slow x\ny", "warning")
    assert second["error"] == "ValueError: bad" and "traceback" not in second


def test_logging_that_is_set_up_later_says_the_same_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.delitem(sys.modules, "structlog")
    set_up_logging_later(stream=out, redact=hide)
    assert "structlog" not in sys.modules
    library = logging.getLogger("sqlalchemy.pool")
    library.info("not shown")
    library.warning("slow with %s", SECRET)
    library.warning("again")
    first, second = documents(out)
    assert (first["event"], first["level"], second["event"]) == ("slow with ***", "warning", "again")


def test_a_record_that_cannot_be_shown(caplog: pytest.LogCaptureFixture) -> None:
    out = io.StringIO()
    log_to(out)
    handler = logging.getLogger().handlers[-1]
    handler.emit(logging.LogRecord("lib\n", logging.WARNING, "", 0, "%d", ("x",), None))
    assert "could not be shown" in out.getvalue() and out.getvalue().count("\n") == 1


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_broken_stderr_does_not_stop_the_work() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (Broken(), closed):
        log_to(stream).info("x")
        logging.getLogger("x").warning("x")


def test_a_stream_that_cannot_write_every_letter() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    set_up_logging(stream=stream, format="console")
    structlog.get_logger().info("Bäckerei")
    assert b"B\\xe4ckerei" in raw.getvalue()


def test_stderr_is_looked_up_when_a_line_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(format="json")
    log = structlog.get_logger()
    log.info("here")
    shown = capsys.readouterr()
    assert json.loads(shown.err)["event"] == "here" and shown.out == ""


def test_context_is_logged_too() -> None:
    out = io.StringIO()
    log = log_to(out)
    with structlog.contextvars.bound_contextvars(run="r-1"):
        log.bind(client="Contoso").info("posted")
    (document,) = documents(out)
    assert (document["run"], document["client"]) == ("r-1", "Contoso")
