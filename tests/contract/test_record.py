"""The command that records cassettes: what it writes plays, names nobody, and nothing was changed at the tenant."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

from . import record, scenes_halo, scenes_pax8, scrub
from .composed import COMPOSITIONS
from .record import Forbidden, Place, only_reads, take
from .stage import ON_TAPE, known_of, settings_of, staged
from .tape import CASSETTES, NotOnTape, played
from .test_contract import scene_of

CANARIES = {
    "BILLINGSYNC_PAX8__CLIENT_ID": "sandbox-pax8",
    "BILLINGSYNC_HALO__CLIENT_ID": "sandbox-halo",
    "BILLINGSYNC_HALO__TENANT": "canary-tenant",
    "BILLINGSYNC_HALO__EXTRA_HEADERS": '{"X-Bypass": "canary-bypass-header"}',
    "BILLINGSYNC_HALO__SCOPE": "all",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(SandboxOptions(clients=1)) as sandbox:
        yield sandbox


@pytest.fixture
def tenant(server: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    """A sandbox that passes for somebody's tenant: with its settings in the environment."""
    options = SandboxOptions(clients=4, charges=30, trouble=False, secret="canary-secret", tenant="canary-tenant")
    server.reset(options)
    for name in [name for name in os.environ if name.startswith("BILLINGSYNC_")]:
        monkeypatch.delenv(name)
    for name, value in {**server.environment(), **CANARIES}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return server


def plays(tape: Path) -> None:
    scene = scene_of(tape)
    with played(tape) as cassette:
        settings = settings_of({**ON_TAPE, **cassette._metadata.get("settings", {}), **scene.settings})
        with staged(scene.service, settings, cassette.get_metadata("facts", {})) as stage:
            scene.play(stage)


def writes(sandbox: Sandbox) -> list[tuple[str, str]]:
    return [(call.method, call.path) for call in sandbox.calls if call.method != "GET" and "token" not in call.path]


def test_a_tenant_is_recorded_without_being_changed_or_named(tenant: Sandbox, tmp_path: Path) -> None:
    before = tenant.state()
    assert record.main(["tenant", "--out", str(tmp_path / "tapes")]) == 0
    assert tenant.state() == before
    assert writes(tenant) == []
    tapes = sorted((tmp_path / "tapes").glob("*/*.yaml"))
    assert len(tapes) > 15
    names = [row["name"] for row in [*tenant.pax8.companies, *tenant.halo.clients.values()]]
    names += [row["id"] for row in tenant.pax8.invoices]
    names += [row["partnerName"] for row in tenant.pax8.invoices]
    today = datetime.datetime.now(datetime.UTC).date()
    for tape in tapes:
        text = tape.read_text(encoding="utf-8")
        assert text.startswith(f"# recorded from a tenant on {today}; secrets, names and ids replaced\n")
        assert [one for one in [*names, "canary", "sandbox-", "127.0.0.1", "-token-"] if one in text] == []
        plays(tape)


def test_where_a_tenant_may_be_written_to_that_is_recorded_too(tenant: Sandbox, tmp_path: Path) -> None:
    client = sorted(tenant.halo.clients)[0]
    words = [
        "tenant",
        "--out",
        str(tmp_path / "tapes"),
        "--writes-to-client",
        str(client),
        "--this-tenant-is-for-tests",
    ]
    assert record.main([*words, "--only", "create", "--only", "create_item", "--only", "delete"]) == 0
    assert {path for _, path in writes(tenant)} >= {"/Invoice", "/Item", "/AssetGroup"}
    assert {row["client_id"] for row in tenant.halo.invoices.values() if row["internal_note"]} == {client}
    for name in ("create", "create_item", "delete"):
        plays(tmp_path / "tapes" / "halo" / f"{name}.yaml")


@pytest.mark.parametrize("scene", [one for one in scenes_halo.SCENES if one.reach == "trial"], ids=str)
def test_a_live_tenant_gets_no_write_whatever_a_scene_does(tenant: Sandbox, scene: record.Scene) -> None:
    facts = scene.facts(known_of(tenant))
    assert facts is not None
    with pytest.raises(Forbidden, match="nothing was sent"):
        take(scene, Place(environment=dict(os.environ)), facts, only_reads)
    assert writes(tenant) == []


@pytest.mark.parametrize(("service", "path", "client"), [("halo", "/Invoice", None), ("pax8", "/orders", 214)])
def test_a_scene_that_writes_unasked_is_stopped(tenant: Sandbox, service: str, path: str, client: int | None) -> None:
    """Pax8 is never written to, even where the HaloPSA tenant may be."""
    reads = next(one for one in record.SCENES if one.service == service and one.reach == "any" and not one.needs)
    rogue = replace(reads, play=lambda stage: stage.service.send("POST", path, [{}]))
    with pytest.raises(Forbidden, match=f"POST .*{path} would write"):
        list(record.from_tenant([rogue], Place(environment=dict(os.environ)), None, client))
    assert writes(tenant) == []


@pytest.mark.parametrize(
    "words",
    [
        ["tenant", "--writes-to-client", "214"],
        ["tenant", "--this-tenant-is-for-tests"],
        ["tenant", "--only", "mnoth"],
        ["live"],
        [],
    ],
)
def test_what_is_not_clear_is_not_done(tenant: Sandbox, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        record.main(words)
    assert stopped.value.code == 2
    assert tenant.calls == []


def test_a_tenant_that_does_otherwise_is_recorded_and_named(
    tenant: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant.faults.add("pax8:GET:/invoices/*/items:*:no_rows")
    assert record.main(["tenant", "--out", str(tmp_path / "tapes"), "--only", "month"]) == 1
    assert "pax8-month goes otherwise than we rely on: NotReady" in capsys.readouterr().err
    assert (tmp_path / "tapes" / "pax8" / "month.yaml").is_file()


def test_a_tenant_that_cannot_be_reached_leaves_nothing(
    tenant: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLINGSYNC_PAX8__CLIENT_SECRET", "canary-wrong")
    assert record.main(["tenant", "--out", str(tmp_path / "tapes"), "--only", "month"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Nothing was written: ")
    assert "canary" not in said
    assert not (tmp_path / "tapes").exists()


def test_nothing_is_written_where_something_would_leak(
    tenant: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.object(scrub, "_WORDS", frozenset({"name"})):
        assert record.main(["tenant", "--out", str(tmp_path / "tapes"), "--only", "companies"]) == 1
    assert "Nothing was written: a name or a secret is still there" in capsys.readouterr().err
    assert not (tmp_path / "tapes").exists()


def test_compositions_are_what_composed_py_says(tmp_path: Path) -> None:
    """If this fails, a request of ours has changed: python -m tests.contract.record composed"""
    assert record.main(["composed", "--out", str(tmp_path)]) == 0
    kept = {
        tape.relative_to(CASSETTES): tape.read_text(encoding="utf-8") for tape in CASSETTES.glob("*/*.composed.yaml")
    }
    made = {tape.relative_to(tmp_path): tape.read_text(encoding="utf-8") for tape in tmp_path.glob("*/*.yaml")}
    assert made == kept


@pytest.mark.parametrize(("change", "trouble"), [(slice(0, -1), "ends before GET"), (slice(None), "nobody asked for")])
def test_a_composition_answers_just_what_is_asked(change: slice, trouble: str) -> None:
    whole = next(one for one in COMPOSITIONS if (one.service, one.scene) == ("pax8", "month"))
    more = (*whole.answers, whole.answers[-1]) if trouble.startswith("nobody") else whole.answers
    spoilt = replace(whole, answers=more[change])
    with mock.patch.object(record, "COMPOSITIONS", [spoilt]), pytest.raises(Forbidden, match=trouble):
        list(record.from_compositions(record.SCENES))


SPOILS: dict[str, Callable[[Any], Any]] = {
    "missing": lambda said: said.pop(1),
    "another query": lambda said: said[1]["request"].update(uri="https://pax8.example/v1/invoices?size=1"),
    "another token": lambda said: said[1]["request"]["headers"].update(authorization=["Bearer other"]),
    "another body": lambda said: said[0]["request"].update(body='{"client_id": "client-id"}'),
    "another method": lambda said: said[1]["request"].update(method="POST"),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_cassette_answers_nothing_but_what_was_asked(tmp_path: Path, spoil: str) -> None:
    held = yaml.safe_load((CASSETTES / "pax8" / "login.composed.yaml").read_text(encoding="utf-8"))
    SPOILS[spoil](held["interactions"])
    tape = tmp_path / "pax8" / "login.yaml"
    tape.parent.mkdir()
    tape.write_text(yaml.safe_dump(held), encoding="utf-8")
    with pytest.raises(NotOnTape):
        plays(tape)


def test_a_cassette_must_be_played_to_its_end(tmp_path: Path) -> None:
    held = yaml.safe_load((CASSETTES / "pax8" / "login.composed.yaml").read_text(encoding="utf-8"))
    held["interactions"].append(held["interactions"][1])
    tape = tmp_path / "pax8" / "login.yaml"
    tape.parent.mkdir()
    tape.write_text(yaml.safe_dump(held), encoding="utf-8")
    with pytest.raises(AssertionError, match="nobody asked for"):
        plays(tape)


def test_every_scene_has_a_name_of_its_own() -> None:
    names = [str(scene) for scene in [*scenes_pax8.SCENES, *scenes_halo.SCENES]]
    assert len(set(names)) == len(names)
