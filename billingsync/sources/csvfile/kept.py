"""A vendor's file, taken once as it is: its bytes compressed, its SHA-256, and what it turned out to be.

Everything after this reads the copy, so that a file which changes meanwhile changes nothing. It is never in memory as a
whole: 200 MB of rows come to some 20 MB here.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from billingsync.core.tables.profile import TextEncoding
from billingsync.core.tables.rows import Problem, ProblemKind

MAX_BYTES = 200_000_000  # [IM9]
MAX_LINE = 2_000_000  # characters of one physical line
_CHUNK = 1 << 18

_EXPORT = "a CSV file: open it in Excel and choose Save As, CSV UTF-8"
_OTHER_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", f"{_EXPORT}; this is an Excel workbook (or another ZIP file)"),
    (b"\xd0\xcf\x11\xe0", f"{_EXPORT}; this is an old Excel workbook"),
    (b"%PDF", "a CSV file; this is a PDF"),
    (b"\x1f\x8b", "a CSV file; unpack this one first (gzip)"),
    (b"{", "a CSV file; this is JSON"),
    (b"[{", "a CSV file; this is JSON"),
)
_MARKUP = re.compile(rb"\s*<(!doctype|html|head|body|table|\?xml|meta|!--)", re.IGNORECASE)
_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Unreadable(Exception):
    """The file is no text that can be read at all; `problem` says why."""

    def __init__(self, expected: str, *, line: int = 0) -> None:
        self.problem = Problem(line=line, column="", cell="", expected=expected, kind=ProblemKind.FILE)
        super().__init__(expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """`packed` is zlib-compressed, as the ledger keeps it; `name` is the file's name without its folder."""

    name: str
    size: int
    sha256: str
    packed: bytes
    start: bytes  # the first bytes

    def text(self, wanted: TextEncoding) -> io.TextIOWrapper:
        """The file as text, every end of line as one newline. Raises Unreadable."""
        encoding, skip = self.encoding(wanted)
        raw = _Unpacked(self.packed, skip)
        return io.TextIOWrapper(io.BufferedReader(raw, _CHUNK), encoding=encoding, newline=None)

    def encoding(self, wanted: TextEncoding) -> tuple[str, int]:
        """Python's name of the encoding and the length of the byte order mark [IM3]: the mark decides, else UTF-8, else
        what the profile says. Raises Unreadable where none of them fits."""
        if wrong := _other_kind(self.start):
            raise Unreadable(wrong)
        for mark, encoding in _MARKS:
            if self.start.startswith(mark):
                self._check(encoding, len(mark))
                return encoding, len(mark)
        if wanted is TextEncoding.UTF_16:
            encoding = "utf-16-be" if self.start[:1] == b"\0" else "utf-16-le"
            self._check(encoding, 0)
            return encoding, 0
        try:
            self._check("utf-8", 0)
        except Unreadable:
            if wanted is not TextEncoding.WINDOWS_1252:
                raise
            self._check("cp1252", 0)
            return "cp1252", 0
        return "utf-8", 0

    def _check(self, encoding: str, skip: int) -> None:
        """Reads it all once. Raises Unreadable for the first byte that is none of this encoding, and for NUL."""
        decoder = codecs.getincrementaldecoder(encoding)()
        line, raw = 1, _Unpacked(self.packed, skip)
        while True:
            chunk = raw.read(_CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as wrong:
                line += str(wrong.object[: wrong.start].decode(encoding, "ignore")).count("\n")
                byte = wrong.object[wrong.start]
                hint = 'save the file as "CSV UTF-8", or set encoding = "windows-1252" in the profile'
                raise Unreadable(f"text in {encoding.upper()}; a byte {byte:#04x} is none: {hint}", line=line) from None
            if "\0" in text:
                line += text[: text.index("\0")].count("\n")
                hint = 'is it UTF-16? Save it as "CSV UTF-8", or set encoding = "utf-16" in the profile'
                raise Unreadable(f"text without NUL characters; {hint}", line=line)
            line += text.count("\n")
            if not chunk:
                return


def keep_file(path: Path) -> KeptFile:
    """The file at `path`. Raises Unreadable for none, a folder, or more than 200 MB."""
    try:
        if not path.is_file():  # opening a named pipe would wait for ever
            raise Unreadable("a file; there is none of this name" if not path.exists() else "a regular file")
        with path.open("rb") as stream:
            return keep_stream(stream, path.name)
    except OSError as wrong:
        raise Unreadable(f"a file that can be read: {wrong.strerror or wrong}") from None


def keep_stream(stream: BinaryIO, name: str) -> KeptFile:
    """What a stream of bytes gives, up to the largest size. Raises Unreadable beyond it, and for nothing at all."""
    digest, packer = hashlib.sha256(), zlib.compressobj(level=1)
    packed, size, start = bytearray(), 0, b""
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        if size > MAX_BYTES:
            raise Unreadable(f"at most {MAX_BYTES // 1_000_000} MB; export fewer columns, or one account at a time")
        start = start or chunk[:1024]
        digest.update(chunk)
        packed += packer.compress(chunk)
    if not size:
        raise Unreadable("a table; the file is empty. Was it saved completely?")
    packed += packer.flush()
    return KeptFile(name=name, size=size, sha256=digest.hexdigest(), packed=bytes(packed), start=start)


def lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Physical lines with their newline. Raises Unreadable for one that is longer than any real one."""
    number = 0
    while line := text.readline(MAX_LINE):
        number += 1
        if len(line) >= MAX_LINE and not line.endswith("\n"):
            raise Unreadable(f"at most {MAX_LINE:,} characters in a line; is this one table?", line=number)
        yield line


def _other_kind(start: bytes) -> str | None:
    """What the file is instead of a CSV file, as what was expected."""
    if _MARKUP.match(start.removeprefix(codecs.BOM_UTF8)):
        return f"{_EXPORT}; this is a web page (HTML) or XML under a name of CSV"
    return next((wrong for sign, wrong in _OTHER_KINDS if start.startswith(sign)), None)


class _Unpacked(io.RawIOBase):
    """The copy's bytes, unpacked as they are asked for."""

    def __init__(self, packed: bytes, skip: int) -> None:
        super().__init__()
        self._unpacker = zlib.decompressobj()
        self._packed, self._at, self._tail = packed, 0, b""
        self._ready, self._skip = b"", skip

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        wanted = size if size >= 0 else _CHUNK
        while not self._ready and (self._tail or self._at < len(self._packed)):
            if not self._tail:
                self._tail = self._packed[self._at : self._at + _CHUNK]
                self._at += _CHUNK
            piece = self._unpacker.decompress(self._tail, _CHUNK)
            self._tail = self._unpacker.unconsumed_tail
            self._ready, self._skip = piece[self._skip :], max(0, self._skip - len(piece))
        data, self._ready = self._ready[:wanted], self._ready[wanted:]
        return data
