"""Killing the run at every effect.

What a killed process leaves behind is its database file, HaloPSA's tables and the time; nothing else can make a
difference to the process that comes after it. So the month is run once, an image is taken at every effect, and another
process goes on from every image that differs from the others. Every kill point is counted, equal images are tried once.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from sim_month import Start, check, nothing_more, until_done
from simulation import Image, PowerCut, Sim


@dataclass
class Killed:
    points: int = 0
    images: int = 0
    pairs: int = 0
    wrong: list[str] = field(default_factory=list)


def images_of(sim: Sim, run_it: object = None) -> tuple[int, list[tuple[str, Image]]]:
    """Runs to the end; gives the number of effects and, for each that left something new behind, its name and image."""
    seen: dict[str, tuple[str, Image]] = {}

    def watch(number: int, what: str) -> None:
        image = sim.image()
        seen.setdefault(image.digest, (f"{number} {what}", image))

    sim.watch = watch
    until_done(sim) if run_it is None else run_it()  # type: ignore[operator]
    sim.watch = None
    return sim.number, list(seen.values())


def kill_everywhere(begun: Start, folder: Path, *, twice: bool = False, again: bool = True) -> Killed:
    """Kill at every effect of an undisturbed month and go on; with `twice` kill that process at every effect too."""
    first = begun.sim(folder)
    found = Killed()
    found.points, images = images_of(first)
    for what, image in images:
        found.images += 1
        second = begun.sim(folder)
        second.restore(image)
        second.world.clock.advance(1)
        later: list[tuple[str, Image]] = []
        if twice:
            number, later = images_of(second)
            found.pairs += number
        else:
            _end(begun, second, f"killed at {what}", found, again)
        for then, left in later:
            third = begun.sim(folder)
            third.restore(left)
            third.world.clock.advance(1)
            _end(begun, third, f"killed at {what}, then at {then}", found, again=False)
    return found


def _end(begun: Start, sim: Sim, what: str, found: Killed, again: bool) -> None:
    end = until_done(sim, most=2)
    wrong = check(begun, sim, end)
    if again and not wrong:
        wrong = nothing_more(begun, sim)
    found.wrong += [f"{what}: {each}" for each in wrong]


def cut_at(begun: Start, folder: Path, number: int, error: type[BaseException] = PowerCut) -> list[str]:
    """The same as an exception that nothing catches: at the effect of this number; then the run is started again."""
    sim = begun.sim(folder)
    if error is PowerCut:
        sim.cut_at = number
    else:

        def watch(now: int, what: str) -> None:
            if now == number:
                sim.watch = None
                raise error(what)

        sim.watch = watch
    with contextlib.suppress(error):
        sim.run()
    sim.cut_at, sim.watch, sim.dead = None, None, False
    sim.world.clock.advance(1)
    end = until_done(sim, most=2)
    return check(begun, sim, end)
