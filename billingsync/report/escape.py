"""Text that others wrote (Pax8, customers, vendors), made inert before people or programs see it.

It may hold any Unicode: terminal escapes, bidirectional overrides that swap what is read, newlines that fake a second
log line, halves of surrogate pairs that no UTF-8 can carry (faults 36 and 37).
"""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1), invisible format characters and everything that changes the reading direction,
# halves of surrogate pairs, tags and what Unicode calls no character. U+200C and U+200D stay: Persian, Hindi and
# emoji are wrong without them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_SPACE = re.compile(r"[^\S\xa0\u202f]+")  # spaces that keep an amount together stay what they are
_SURROGATE = re.compile("[\ud800-\udfff]")


def whole(text: str) -> str:
    """The text as UTF-8 can carry it: two halves of a surrogate pair become their character, a lone half U+FFFD."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def inert(text: str, keep: str = "") -> str:
    r"""Unsafe characters as visible escapes, e.g. `\x1b` and `\u202e`; those in `keep` stay."""
    if not _UNSAFE.search(text):
        return text
    paired = _SURROGATE.search(text) and text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), paired or text)


def one_line(text: str) -> str:
    """The text on one line: every run of white space, newlines included, is one space; the rest is inert."""
    return inert(_SPACE.sub(" ", text).strip())


def shortened(text: str, length: int) -> str:
    """At most `length` characters, an ellipsis where something was left out."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _escape(character: str) -> str:
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
