"""The contract, scene by scene: on the sandbox over real HTTP, and on each cassette by vcrpy."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from billingsync.psa.halo.client import Halo
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.sources.pax8.client import Pax8

from . import scenes_halo, scenes_pax8
from .stage import ON_TAPE, Scene, known_of, settings_of, staged
from .tape import CASSETTES, played

SCENES = [*scenes_pax8.SCENES, *scenes_halo.SCENES]
TAPES = sorted(CASSETTES.glob("*/*.yaml"))


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(SandboxOptions(clients=1)) as sandbox:
        yield sandbox


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_on_the_sandbox(server: Sandbox, scene: Scene) -> None:
    server.reset(SandboxOptions(**scene.sandbox))
    for fault in scene.faults:
        server.faults.add(fault)
    settings = settings_of({**server.environment(), **scene.settings})
    facts = scene.facts(known_of(server))
    assert facts is not None
    with staged(scene.service, settings, facts) as stage:
        scene.play(stage)
    assert server.ignored == []
    assert server.alarms == []


@pytest.mark.parametrize("tape", TAPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_on_a_cassette(tape: Path) -> None:
    scene = scene_of(tape)
    with played(tape) as cassette:
        of_login = cassette._metadata.get("settings", {})
        settings = settings_of({**ON_TAPE, **of_login, **scene.settings})
        with staged(scene.service, settings, cassette.get_metadata("facts", {})) as stage:
            scene.play(stage)


def scene_of(tape: Path) -> Scene:
    """`cassettes/halo/create.composed.yaml` is of the scene `create`."""
    name = tape.name.split(".")[0]
    return next(scene for scene in SCENES if (scene.service, scene.name) == (tape.parent.name, name))


@pytest.mark.parametrize(("client", "scenes"), [(Pax8, scenes_pax8), (Halo, scenes_halo)], ids=["pax8", "halo"])
def test_whatever_our_clients_can_do_is_in_a_scene(client: type, scenes: ModuleType) -> None:
    text = inspect.getsource(scenes)
    can = [name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")]
    assert [name for name in can if f".{client.__name__.lower()}.{name}(" not in text] == []
