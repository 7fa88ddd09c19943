"""Passwords: what may be one, and Argon2id, one at a time, as each takes 64 MiB [SE5]."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from billingsync.errors import UsageError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST, LONGEST = 12, 1024
PATIENCE_S = 2.0  # how long one sign-in waits for another's hash


class Busy(Exception):
    """Others are being signed in; try again in a moment."""


def check_password(password: str, email: str) -> None:
    """UsageError with what to do instead, where this must not be a password. No rule says what it is made of."""
    if len(password) < SHORTEST:
        raise UsageError(f"A password has at least {SHORTEST} characters. Several words are easy to remember.")
    if len(password) > LONGEST:
        raise UsageError(f"A password has at most {LONGEST} characters.")
    folded = password.casefold().strip()
    if folded in _commonest() or len(set(folded)) < 4 or folded in (email, email.partition("@")[0]):
        raise UsageError("That is one of the first passwords that anybody would try. Choose another.")


class Passwords:
    """Argon2id. One hash at a time; whoever waits longer than `PATIENCE_S` gets Busy. The costs are the library's
    defaults; tests that make many hashes take less."""

    def __init__(self, *, passes: int = 3, memory_kib: int = 65_536) -> None:
        self._costs = (passes, memory_kib)
        self._one_at_a_time = threading.Lock()

    def hash(self, password: str) -> str:
        with self._turn():
            return _hasher(*self._costs).hash(password)

    def fits(self, kept: str | None, password: str) -> bool:
        """Whether this is the password. Takes as long where there is none, so that time tells nobody who is here."""
        from argon2.exceptions import InvalidHashError, VerificationError

        with self._turn():
            try:
                hasher, nobodys = _hasher(*self._costs), _nobodys(*self._costs)
                return hasher.verify(kept or nobodys, password[:LONGEST]) and kept is not None
            except (VerificationError, InvalidHashError):
                return False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._one_at_a_time.acquire(timeout=PATIENCE_S):
            raise Busy
        try:
            yield
        finally:
            self._one_at_a_time.release()


@cache
def _hasher(passes: int, memory_kib: int) -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=passes, memory_cost=memory_kib)


@cache
def _nobodys(passes: int, memory_kib: int) -> str:
    return _hasher(passes, memory_kib).hash("nobody has this password")


@cache
def _commonest() -> frozenset[str]:
    text = files("billingsync.web").joinpath("commonest.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.split("\n") if line)
