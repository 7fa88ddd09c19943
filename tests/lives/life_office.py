"""The product at work in a life: its own command line, in this process, on the life's time and against its world."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import structlog
import typer
from simulation import ROOM, SETTINGS, PowerCut, Sim, _let_go, at_work, current, new_world, read_database, simulated

from billingsync.cli import main
from billingsync.run import context
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.world import World
from billingsync.settings import load_settings
from billingsync.store.ledger import open_ledger

FIRST = (2026, 1)  # year and month in which every life begins


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code; 137: the power went."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out) if self.out.strip().startswith("{") else {}

    def __str__(self) -> str:
        return f"$ billingsync {' '.join(self.words)}\nexit {self.code}\n{self.out[-3000:]}\n{self.err[-1500:]}"


@dataclass
class LifeSim(Sim):
    """HaloPSA's time and ours are the same: lives begin on the fifth of FIRST, at nine."""

    check_order: bool = False

    def wall(self) -> datetime:
        return datetime(*FIRST, 5, 9, tzinfo=UTC) + timedelta(seconds=self.world.clock.moved)


@dataclass
class Office:
    """One installation: `run(...)` is one command from start to end."""

    folder: Path
    world: World
    settings: dict[str, str] = field(default_factory=dict)
    history: list[Said] = field(default_factory=list)
    cut_at: int | None = None  # of the next command: the power goes at this effect

    def __post_init__(self) -> None:
        (self.folder / "rules" / "clients").mkdir(parents=True, exist_ok=True)
        shutil.copy(_empty[-1], self.folder / "ledger.db")
        environment = {**self.world.environment(), **SETTINGS, **self.settings}
        environment["BILLINGSYNC_DATABASE_URL"] = f"sqlite:///{self.folder / 'ledger.db'}"
        environment["BILLINGSYNC_RULES_DIR"] = str(self.folder / "rules")
        self.environment = environment
        loaded = load_settings(environment, self.folder, run_secrets=self.folder / "none")
        self.loaded = loaded
        self.sim = LifeSim(self.folder, self.world, loaded.settings)

    def rules(self, text: str, name: str = "defaults.toml") -> None:
        (self.folder / "rules" / name).write_text(text, encoding="utf-8")

    def run(self, *words: str) -> Said:
        """Never raises for what the command does; a bug of the product is exit 1 with BS-BUG."""
        out, err = io.StringIO(), io.StringIO()
        sim = self.sim
        sim.dead, sim.number, sim.cut_at, self.cut_at = False, 0, self.cut_at, None
        sim.began.clear()
        code = 137
        try:
            with (
                at_work(sim),
                mock.patch("billingsync.settings.load_settings", return_value=self.loaded),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                mock.patch("sys.stdin", io.StringIO()),
            ):
                code = main([*words, "--no-input"])
        except PowerCut as cut:
            _let_go(cut)
        sim.cut_at, sim.dead = None, False
        sim.trace.clear()
        self.world.notes.calls.clear()
        said = Said(words, code, out.getvalue(), err.getvalue())
        self.history.append(said)
        return said

    # backups

    def backup(self) -> dict[str, bytes]:
        return read_database(self.folder)

    def restore(self, image: Mapping[str, bytes]) -> None:
        for old in self.folder.glob("ledger.db*"):
            old.unlink()
        for name, content in image.items():
            (self.folder / name).write_bytes(content)


_empty: list[Path] = []


def _empty_ledger(folder: Path) -> Path:
    """Set up once; the copies that lives begin with are one installation in different worlds."""
    path = folder / "empty.db"
    open_ledger(f"sqlite:///{path}", partner="default").close()
    return path


def fresh_world(**switches: Any) -> World:
    year, month = FIRST
    options = SandboxOptions(
        month=f"{year}-{month:02}", clients=1, charges=1, trouble=False, history=0, halo_token_life_s=10**12,
        pax8_token_life_s=10**12, **switches,
    )  # fmt: skip
    return new_world(options)


def _now() -> datetime:
    return current().wall()


@contextlib.contextmanager
def lifelong() -> Iterator[Path]:
    """While this holds, commands are simulated ones. Entered once for many lives; gives a folder for them."""
    with contextlib.ExitStack() as stack:
        room = stack.enter_context(tempfile.TemporaryDirectory(prefix="bs-lives-", dir=ROOM))
        _empty.append(_empty_ledger(Path(room)))
        stack.callback(_empty.pop)
        stack.callback(gc.enable if gc.isenabled() else gc.disable)
        gc.disable()  # looking for garbage is a tenth of a life; `play` does it once
        stack.enter_context(simulated())
        true_now = context.now
        for name, module in list(sys.modules.items()):
            ours = name.startswith("billingsync.") and name != "billingsync.run.context"
            if ours and getattr(module, "now", None) is true_now:
                stack.enter_context(mock.patch.object(module, "now", _now))
        stack.enter_context(mock.patch.object(typer.main, "get_command", functools.cache(typer.main.get_command)))
        stack.enter_context(mock.patch("billingsync.log.set_up_logging", return_value=None))
        stack.callback(structlog.configure, **structlog.get_config())
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # else it logs to stdout
        yield Path(room)


__all__ = ["FIRST", "LifeSim", "Office", "Said", "fresh_world", "lifelong"]
