"""Logs: always on stderr, one line an event, as text on a terminal and as JSON elsewhere; no secret, no forged line.

Names and texts come from Pax8 and HaloPSA, and anybody may have typed them: a line end or an escape sequence in one
must not look like a log line of ours, nor move the cursor (faults 37).
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger


class Stream(Protocol):
    """As much of a text stream as a log needs."""

    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...


Redact = Callable[[str], str]

_MAX_DEPTH = 6  # of values inside values; deeper ones are shown as one text


def set_up_logging(
    *,
    format: str | None = None,
    level: str = "info",
    redact: Redact | None = None,
    stream: Stream | None = None,
    debug: bool = False,
    color: bool = True,
) -> None:
    """Logging for the whole process, of ours and of the libraries; may be called again.

    `format`: "console" or "json", None for what suits the stream. `redact` gets every text before it is written.
    `stream` is stderr, also where stderr is replaced later. Tracebacks are written only with `debug`. `color` is the
    wish of the command line: NO_COLOR, or a stream that is no terminal, overrules it.
    """
    import structlog

    shown_as = format or ("console" if _is_terminal(stream or sys.stderr) else "json")
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Exceptions(debug),
        _Inert(redact or _as_it_is, escape=shown_as == "console"),
    ]
    if shown_as == "console":
        before.append(_traceback_below)
    renderer = _renderer(shown_as, color and _has_color(stream or sys.stderr))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*before, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Writer(stream),
        cache_logger_on_first_use=False,  # stderr may be another one in a moment
    )
    _set_up_libraries(
        stream, [*before, structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], threshold
    )


def set_up_logging_later(**options: Any) -> None:
    """The same, with its options, for a command that logs nothing itself: done when a library logs, which is next to
    never, as structlog takes as long to import as such a command works."""
    if "structlog" in sys.modules:
        set_up_logging(**options)
    else:
        _only_handler(_Later(options))
        logging.getLogger().setLevel(logging.WARNING)


def inert(text: str) -> str:
    """The text with line ends, control characters, ANSI sequences and bidi marks written as escapes."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _as_it_is(text: str) -> str:
    return text


def _is_terminal(stream: Stream) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _has_color(stream: Stream) -> bool:
    # NO_COLOR counts when it is set to anything but nothing: https://no-color.org
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and _is_terminal(stream) and sys.platform != "win32"  # where structlog needs colorama for it


def _renderer(shown_as: str, colors: bool) -> Processor:
    import structlog

    if shown_as == "json":
        # ASCII only: JSON's own escapes make every character inert.
        return structlog.processors.JSONRenderer(ensure_ascii=True, sort_keys=True)
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


class _Writer:
    """Writes lines. What happens to a log must never change what happens to money, so that a closed pipe or a full
    disk behind stderr is passed over in silence."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        stream = self._stream or sys.stderr
        try:
            stream.write(message + "\n")
            stream.flush()
        except UnicodeEncodeError:
            self.msg(message.encode("ascii", "backslashreplace").decode("ascii"))
        except (OSError, ValueError):
            pass

    log = debug = info = warn = warning = error = err = critical = exception = fatal = failure = msg


class _Exceptions:
    """An exception becomes its one sentence, and a traceback only where somebody asked to debug."""

    def __init__(self, debug: bool) -> None:
        self._debug = debug

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        found = event.pop("exc_info", None)
        error = _error(found)
        if error is not None:
            event.setdefault("error", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
            if self._debug:
                event["traceback"] = "".join(traceback.format_exception(error)).splitlines()
        event.pop("stack_info", None)
        return event


def _error(found: ExcInfo | BaseException | bool | None) -> BaseException | None:
    if isinstance(found, BaseException):
        return found
    if isinstance(found, tuple):
        return found[1]
    return sys.exc_info()[1] if found else None


def _traceback_below(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The traceback under its line for people, each line marked, so that none of it can pass for a line of its own."""
    if isinstance(lines := event.get("traceback"), list):
        del event["traceback"]
        event["exception"] = "\n".join(f"    | {line}" for line in lines)
    return event


class _Inert:
    """Every name and value redacted, and for people escaped; what is no plain value becomes its text."""

    def __init__(self, redact: Redact, *, escape: bool) -> None:
        self._redact = redact
        self._escape = escape

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {self._text(str(key)): self._value(value, 0) for key, value in event.items()}

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if depth < _MAX_DEPTH and isinstance(value, Mapping):
            return {self._text(str(key)): self._value(entry, depth + 1) for key, entry in value.items()}
        if depth < _MAX_DEPTH and isinstance(value, (list, tuple, set, frozenset)):
            entries: Iterable[object] = value
            return [self._value(entry, depth + 1) for entry in entries]
        return self._text(_str(value))

    def _text(self, text: str) -> str:
        try:
            text = self._redact(text)
        except Exception:  # noqa: BLE001  a broken redaction must neither leak nor stop a run
            return "<not shown: redaction failed>"
        return inert(text) if self._escape else text


def _str(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  a value that cannot be shown is no reason to stop
        return f"<{type(value).__name__}>"


def _set_up_libraries(stream: Stream | None, processors: list[Processor], threshold: int) -> None:
    """Warnings of httpx2, SQLAlchemy, uvicorn and others in the same form, on the same stream."""
    import structlog

    handler = _Handler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=processors))
    _only_handler(handler)
    logging.getLogger().setLevel(max(threshold, logging.WARNING))


def _only_handler(handler: logging.Handler) -> None:
    """This handler in the place of any earlier one of ours."""
    root = logging.getLogger()
    for old in [known for known in root.handlers if isinstance(known, _Handler | _Later)]:
        root.removeHandler(old)
    root.addHandler(handler)


class _Later(logging.Handler):
    """Sets logging up when there is something to log."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self._options = options

    def emit(self, record: logging.LogRecord) -> None:
        set_up_logging(**self._options)
        logging.getLogger().handle(record)


class _Handler(logging.Handler):
    def __init__(self, stream: Stream | None) -> None:
        super().__init__()
        self._writer = _Writer(stream)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.msg(self.format(record))
        except Exception:  # noqa: BLE001  logging's own rule: a record that cannot be written is dropped
            self._writer.msg(f"{record.levelname.lower()}: a log record of {inert(record.name)} could not be shown")
