"""A sandbox of each module's own, and an installation that points at it. Tests put the sandbox into the state they
need with `reset`, so that what one left behind reaches no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import CALM, TEXT_ONLY, Office
from scene import STAGE

from billingsync.sandbox.server import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A calm month of four clients in two currencies."""
    with Sandbox(CALM) as running:
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    """The few charges of a scene (`scene.py`)."""
    with Sandbox(STAGE) as running:
        yield running


@pytest.fixture
def office(sandbox: Sandbox, sqlite_ledger_url: str, tmp_path: Path) -> Office:
    """An installation in a fresh folder, whose lines need no items."""
    sandbox.reset(CALM)
    made = Office(tmp_path, sandbox, sqlite_ledger_url)
    made.rules(TEXT_ONLY)
    return made
