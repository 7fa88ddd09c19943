"""Records the cassettes anew:

    python -m tests.contract.record composed
    python -m tests.contract.record tenant --only month --only clients
    python -m tests.contract.record tenant --writes-to-client 214 --this-tenant-is-for-tests

`composed` plays the scenes that `composed.py` has
answers for. `tenant` plays the scenes that only read at the Pax8 partner and the HaloPSA tenant of your settings (the
environment or `.env`, as for `billingsync doctor`); whatever is neither a GET nor a login is refused there before it
is sent. Only where you say that the HaloPSA tenant is one for tests, and name the client to bill, are the scenes that
write played too; Pax8 is never written to.

What is recorded is scrubbed in memory before it is written: credentials, tokens, names, ids, addresses and texts are
replaced, amounts stay (`scrub.py` says what does). Read what it wrote before you share it. Each file says in its first
line where it is from. A scene that goes otherwise than we rely on is recorded all the same, and named; exit code 1.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from vcr.serialize import serialize

from billingsync.errors import BillingSyncError
from billingsync.http import Budget
from billingsync.psa.halo.client import Halo
from billingsync.psa.halo.wire import id_of, lines_of
from billingsync.settings import Settings
from billingsync.sources.pax8.client import Pax8

from . import scenes_halo, scenes_pax8
from .composed import COMPOSITIONS, Answer, Composition
from .scrub import Exchange, Leak, Scrubber, quiet
from .stage import ON_TAPE, Facts, Scene, settings_of, staged
from .tape import CASSETTES, recorded

SCENES = [*scenes_pax8.SCENES, *scenes_halo.SCENES]
# What scenes send or ask for by themselves: nothing of a tenant's.
OURS = scenes_halo.OURS | {str(scenes_halo.NOBODY), scenes_pax8.NOBODY, scenes_pax8.WRONG_SECRET}

Send = Callable[[], httpx2.Response]
Answering = Callable[[httpx2.Request, Send], httpx2.Response]


class Forbidden(BaseException):
    """A request that a live tenant must not get. No Exception: nothing may take it for an outcome."""


@dataclass(frozen=True, kw_only=True)
class Take:
    """One scene as it was recorded: raw, in memory only. `differs`: why it is not what we rely on."""

    scene: Scene
    facts: Facts
    settings: Settings
    exchanges: list[Exchange]
    differs: str = ""


# Who answers ----------------------------------------------------------------------------------------------------------


def only_reads(request: httpx2.Request, send: Send) -> httpx2.Response:
    if request.method != "GET" and not (request.method == "POST" and request.url.path.endswith("/token")):
        raise Forbidden(f"{request.method} {request.url.path} would write to a live tenant; nothing was sent")
    return send()


def anything(request: httpx2.Request, send: Send) -> httpx2.Response:
    """A sandbox may be written to."""
    return send()


def script_of(composition: Composition, answers: Iterator[Answer]) -> Answering:
    def answer(request: httpx2.Request, send: Send) -> httpx2.Response:
        found = next(answers, None)
        if found is None:
            raise Forbidden(f"the composition of {composition.scene} ends before {request.method} {request.url}")
        return httpx2.Response(found.status, headers=found.all_headers(), content=found.content())

    return answer


# Takes ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a service is reached and logged in to: variables, and perhaps a folder with `.env` and one of secrets."""

    environment: Mapping[str, str]
    folder: Path = Path("/nonexistent")
    secrets: Path = Path("/nonexistent")

    def settings(self, over: Mapping[str, str]) -> Settings:
        return settings_of({**self.environment, **over}, self.folder, self.secrets)


def take(scene: Scene, place: Place, facts: Facts, answer: Answering, budget: Budget | None = None) -> Take:
    differs = ""
    with (
        recorded(answer) as cassette,
        staged(scene.service, place.settings(scene.settings), facts, budget=budget) as stage,
    ):
        try:
            scene.play(stage)
        except (AssertionError, BillingSyncError, LookupError, ValueError, pytest.fail.Exception) as other:
            differs = f"{type(other).__name__}: {str(other).partition(chr(10))[0]}"
    exchanges = list(cassette.data)
    return Take(scene=scene, facts=facts, settings=place.settings({}), exchanges=exchanges, differs=differs)


def from_compositions(scenes: Sequence[Scene]) -> Iterator[Take]:
    by_name = {(scene.service, scene.name): scene for scene in scenes}
    for composition in COMPOSITIONS:
        scene = by_name.get((composition.service, composition.scene))
        if scene is not None:
            left = iter(composition.answers)
            yield take(scene, Place(environment=ON_TAPE), composition.facts, script_of(composition, left))
            if next(left, None) is not None:
                raise Forbidden(f"the composition of {composition.scene} has answers that nobody asked for")


def from_tenant(scenes: Sequence[Scene], place: Place, period: str | None, client: int | None) -> Iterator[Take]:
    """The scenes for which the tenant has something to show. With a `client`, also those that write."""
    settings = place.settings({})
    budgets = {"pax8": Budget(settings.pax8.calls_per_minute), "halo": Budget(settings.halo.calls_per_minute)}
    guards = {"pax8": only_reads, "halo": only_reads if client is None else anything}
    known: dict[str, Facts] = {}
    for scene in scenes:
        if scene.reach == "emulated" or (scene.reach == "trial" and client is None):
            continue
        budget = budgets[scene.service]
        if scene.service not in known:
            with recorded(only_reads), staged(scene.service, settings, {}, budget=budget) as stage:
                around = _of_pax8(stage.pax8, period) if scene.service == "pax8" else _of_halo(stage.halo, client)
                known[scene.service] = around
        facts = scene.facts(known[scene.service])
        if facts is None:
            say(f"{scene} is left out: there is nothing to show it by")
            continue
        yield take(scene, place, facts, guards[scene.service], budget)


def _of_pax8(pax8: Pax8, period: str | None) -> Facts:
    newest = period or next((one.period for one in pax8.released() if one.invoices), None)
    return {"period": str(newest)} if newest else {}


def _of_halo(halo: Halo, client: int | None) -> Facts:
    """What scenes can be shown by; where they may write, what they may write to."""
    found: dict[str, Any] = {"rows_at_least": 1}
    control = halo.control(())
    if control is not None:
        found |= {"control_ids": list(control), "client_ids": [control[1]], "open_id": control[0]}
    of_client = [row for row in halo.recurring_invoices() if client in (None, row.get("client_id"))]
    found["recurring_id"] = next(map(id_of, of_client), None)
    if client is not None:
        rows = [row for row in halo.search_rows([client], None).rows if lines_of(row) and not row.get("posted")]
        found |= {"client_id": client, "open_id": next(map(id_of, rows), None)}
    return found


# Writing --------------------------------------------------------------------------------------------------------------


def write(takes: Sequence[Take], out: Path, whence: str, suffix: str = "") -> list[Path]:
    """Scrubs all takes with the same pseudonyms, checks that nothing is left, and only then writes."""
    scrubber = Scrubber(_addresses([one.settings for one in takes]), OURS)
    scrubber.learn([exchange for one in takes for exchange in one.exchanges], [one.facts for one in takes])
    texts: dict[Path, str] = {}
    for one in takes:
        pairs = [scrubber.exchange(request, response) for request, response in one.exchanges]
        text = as_yaml(pairs, scrubber.facts(one.facts), _of_login(one, scrubber))
        scrubber.check(text)
        texts[out / one.scene.service / f"{one.scene.name}{suffix}.yaml"] = f"# {whence}\n{text}"
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)


def write_compositions(takes: Sequence[Take], out: Path) -> list[Path]:
    """Nothing in them is anybody's: they are written as they are."""
    paths = []
    for one in takes:
        pairs = [quiet(request, response) for request, response in one.exchanges]
        path = out / one.scene.service / f"{one.scene.name}.composed.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# composed from documented shapes\n{as_yaml(pairs, one.facts, {})}", encoding="utf-8")
        paths.append(path)
    return paths


def as_yaml(pairs: Sequence[Exchange], facts: Facts, settings: Mapping[str, str]) -> str:
    metadata = {"facts": dict(facts)} | ({"settings": dict(settings)} if settings else {})
    requests, responses = [request for request, _ in pairs], [response for _, response in pairs]
    return str(serialize({"requests": requests, "responses": responses, "metadata": metadata}, _Yaml))


def _addresses(all_settings: Sequence[Settings]) -> dict[str, str]:
    found: dict[str, str] = {}
    for settings in all_settings:
        found[settings.pax8.token_url] = "https://pax8.example/v1/token"
        found[settings.pax8.base_url] = "https://pax8.example/v1"
        found[settings.halo.base_url] = "https://halo.example"
        if settings.halo.token_url:
            found[settings.halo.token_url] = "https://halo.example/auth/token"
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _of_login(one: Take, scrubber: Scrubber) -> dict[str, str]:
    """The settings that a login shows, where they are not the defaults: it is played back with the same."""
    plain, true = Settings(), one.settings
    pairs = {
        "BILLINGSYNC_PAX8__AUDIENCE": (true.pax8.audience, plain.pax8.audience),
        "BILLINGSYNC_HALO__SCOPE": (true.halo.scope, plain.halo.scope),
        "BILLINGSYNC_HALO__TENANT": (scrubber.name_tenant(true.halo.tenant), ""),
    }
    mine = f"BILLINGSYNC_{one.scene.service.upper()}__"
    return {name: value for name, (value, default) in pairs.items() if value != default and name.startswith(mine)}


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else "'" if text.startswith(("{", "[")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


class _Yaml:
    """vcrpy's format, with bodies as people can read them."""

    @staticmethod
    def serialize(cassette: Mapping[str, Any]) -> str:
        return str(yaml.dump(cassette, Dumper=_Dumper, sort_keys=False, width=2**31, allow_unicode=True))


def say(text: str) -> None:
    print(text, file=sys.stderr)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.contract.record",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("where", choices=("composed", "tenant"))
    parser.add_argument("--only", action="append", metavar="SCENE", help="a scene by name, e.g. month; repeatable")
    parser.add_argument("--period", metavar="2026-11", help="tenant: the month; by default the newest released")
    parser.add_argument("--writes-to-client", type=int, metavar="ID", help="tenant: the HaloPSA client to write to")
    parser.add_argument("--this-tenant-is-for-tests", action="store_true", help="tenant: it may be written to")
    parser.add_argument("--out", type=Path, default=CASSETTES, metavar="DIR", help="where to write")
    given = parser.parse_args(words)
    names = sorted({scene.name for scene in SCENES})
    if unknown := sorted(set(given.only or ()) - set(names)):
        parser.error(f"no such scene: {', '.join(unknown)}. There are {', '.join(names)}")
    if (given.writes_to_client is None) == given.this_tenant_is_for_tests:
        parser.error("--writes-to-client and --this-tenant-is-for-tests go together")
    scenes = [scene for scene in SCENES if not given.only or scene.name in given.only]
    try:
        takes, written = _record(given, scenes)
    except (BillingSyncError, Forbidden, Leak) as stopped:
        say(f"Nothing was written: {stopped}")
        return 1
    for path in written:
        say(f"wrote {path}")
    for one in takes:
        if one.differs:
            say(f"{one.scene} goes otherwise than we rely on: {one.differs}")
    return 1 if any(one.differs for one in takes) else 0


def _record(given: argparse.Namespace, scenes: Sequence[Scene]) -> tuple[list[Take], list[Path]]:
    today = datetime.datetime.now(datetime.UTC).date()
    if given.where == "composed":
        takes = list(from_compositions(scenes))
        return takes, write_compositions(takes, given.out)
    place = Place(environment=os.environ, folder=Path.cwd(), secrets=Path("/run/secrets"))
    takes = list(from_tenant(scenes, place, given.period, given.writes_to_client))
    return takes, write(takes, given.out, f"recorded from a tenant on {today}; secrets, names and ids replaced")


if __name__ == "__main__":
    sys.exit(main())
