"""The stage of tests/sandbox for months as they really come: re-issues, renames, other currencies."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sandbox"))

from months_rules import BASE, OPEN, RECURRING
from scene import STAGE, Scene, scene

from billingsync.sandbox.server import Sandbox


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(STAGE) as sandbox:
        yield sandbox


@pytest.fixture
def stage(server: Sandbox, tmp_path: Path, sqlite_template: Path) -> Callable[..., Scene]:
    """A scene on an empty ledger; `rules` are the shared ones, settings are given in capitals, the sandbox's switches
    in small letters."""

    def make(rules: str = OPEN, **switches: Any) -> Scene:
        settings = {name: switches.pop(name) for name in list(switches) if name.isupper()}
        server.reset(dataclasses.replace(STAGE, **switches))
        shutil.copy(sqlite_template, tmp_path / "ledger.db")
        made = scene(server, tmp_path, **settings)
        made.office.rules(rules)
        return made

    return make


@pytest.fixture
def contoso(server: Sandbox, tmp_path: Path, sqlite_template: Path) -> Callable[..., Scene]:
    """A scene with rules of its own for Contoso (214), `client`; lower-case names are the sandbox's switches, upper-case
    ones settings."""

    def make(client: str = RECURRING, rules: str = BASE, **switches: Any) -> Scene:
        settings = {name: switches.pop(name) for name in list(switches) if name.isupper()}
        server.reset(dataclasses.replace(STAGE, **switches))
        shutil.copy(sqlite_template, tmp_path / "ledger.db")
        made = scene(server, tmp_path, **settings)
        made.office.invoices_templates = False  # these tests say when
        made.office.rules(rules)
        if client:
            made.office.rules(client, "clients/contoso.toml")
        return made

    return make
