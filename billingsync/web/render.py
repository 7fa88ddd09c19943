"""Templates and static files. A template places words and figures that a view made; it decides nothing."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from billingsync import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Static:
    content: bytes
    zipped: bytes
    kind: str


@cache
def static_files() -> dict[str, Static]:
    """Name with the hash of its content -> file. A name never means two contents, so browsers may keep it for ever."""
    found = {}
    for file in files("billingsync.web").joinpath("static").iterdir():
        stem, dot, ending = file.name.rpartition(".")
        kind = _KINDS.get(dot + ending)
        if kind is not None:
            content = file.read_bytes()
            name = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
            found[name] = Static(content, gzip.compress(content, mtime=0), kind)
    return found


@cache
def static_path(name: str) -> str:
    """The path of a file of `static/`, e.g. `/static/desk.3f2a9c1b4d5e.css`."""
    stem, _, ending = name.rpartition(".")
    return next(
        f"/static/{known}"
        for known in static_files()
        if known.startswith(f"{stem}.") and known.endswith(f".{ending}") and known.count(".") == name.count(".") + 1
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("billingsync.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(static=static_path, version=__version__)
    return environment


def render(template: str, view: Mapping[str, Any]) -> str:
    """The whole page."""
    return _environment().get_template(f"{template}.html.j2").render(view)


def render_part(template: str, part: str, view: Mapping[str, Any]) -> str:
    """One block of a page, as htmx swaps it in."""
    found = _environment().get_template(f"{template}.html.j2")
    return "".join(found.blocks[part](found.new_context(dict(view))))


@cache
def macro(template: str, name: str) -> Any:
    """A macro of a template, to be called for one row."""
    return getattr(_environment().get_template(f"{template}.html.j2").module, name)
