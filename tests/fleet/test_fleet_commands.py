"""`billingsync fleet`: the folder made and checked."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from billingsync.fleet.fleet_file import FleetSettings
from billingsync.fleet.folder import read_folder
from billingsync.fleet.layout import read_layout
from billingsync.fleet.partner_file import FleetPartner
from billingsync.fleet.scaffold import EXAMPLE
from tests.fleet.fleet_folder import small, write
from tests.sandbox.cli import Ran

# Of values, not of sentences: "# slots = 16" and "# engine = ..."
COMMENTED = re.compile(r"^# ([a-z_]+ = )", re.MULTILINE)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Ran:
    from billingsync.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["fleet", *words])
    return Ran(code, out.getvalue(), err.getvalue())


def test_init_writes_a_folder_that_is_right_and_overwrites_nothing(here: Path) -> None:
    first = run("init", "fleet", "--json").must().json
    assert {one["state"] for one in first["files"]} == {"written"}
    run("check", "fleet").must()
    shutil.copytree(here / "fleet" / EXAMPLE, here / "fleet/partners/acme")
    (here / "fleet/fleet.toml").write_text("[secrets]\ndir = '/x'\n")
    assert "kept     fleet/fleet.toml" in run("init", "fleet").must().stdout
    assert (here / "fleet/fleet.toml").read_text() == "[secrets]\ndir = '/x'\n"
    assert "1 partner, 0 client files" in run("check", "fleet").must().stdout


def test_what_init_comments_out_are_the_defaults(here: Path) -> None:
    run("init", "fleet").must()
    before = [here / "fleet/fleet.toml", here / "fleet" / EXAMPLE / "partner.toml"]
    (here / "fleet/partners/acme").mkdir()
    for path, to in zip(before, (before[0], here / "fleet/partners/acme/partner.toml"), strict=True):
        text = COMMENTED.sub(r"\1", path.read_text())
        assert text != path.read_text()
        to.write_text(text)
    found = read_layout(read_folder(here / "fleet"))
    assert found.problems == () and found.settings is not None
    assert found.settings.model_copy(update={"secrets": FleetSettings().secrets}) == FleetSettings()
    acme = found.partners["acme"].settings
    assert acme is not None
    halo = acme.halo.model_copy(update={"base_url": ""})
    assert acme.model_copy(update={"halo": halo, "partner": "default"}) == FleetPartner()


def test_no_comment_of_what_init_writes_breaks_off(here: Path) -> None:
    run("init", "fleet").must()
    for path in (here / "fleet/fleet.toml", here / "fleet" / EXAMPLE / "partner.toml"):
        for line, following in pairwise(path.read_text().splitlines()):
            if line.startswith("# ") and " = " not in line and re.match(r"(# )?\w+ = ", following):
                assert line[-1] in ".:", line


def test_every_key_of_the_fleet_is_in_what_init_writes(here: Path) -> None:
    run("init", "fleet").must()
    text = (here / "fleet/fleet.toml").read_text()
    for name, info in FleetSettings.model_fields.items():
        for key in getattr(info.annotation, "model_fields", {name: None}):
            assert re.search(rf"^(# )?{key} = ", text, re.MULTILINE), key


def test_check_tells_every_mistake_and_ends_with_2(here: Path) -> None:
    files = {f"partners/{name}/partner.toml": "=" for name in ("acme", "beta", "gamma")}
    write(here / "fleet", {**small(), **files})
    told = run("check", "fleet").must(2)
    assert told.stdout == "" and told.stderr.startswith("BS-FLEET  fleet/partners/acme/partner.toml:1: ")
    assert all(f"fleet/partners/{name}/partner.toml:1: " in told.stderr for name in ("acme", "beta", "gamma"))
    assert "3 mistakes; 3 of 3 partners cannot be worked for" in told.stderr
    assert run("check", "fleet", "--json").must(2).json["error"]["code"] == "BS-FLEET"


def test_check_where_there_is_no_fleet_says_what_to_type(here: Path) -> None:
    told = run("check").must(2)
    assert "has no fleet.toml" in told.stderr and "next:  billingsync fleet init ." in told.stderr


def test_check_shows_warnings_and_is_well(here: Path) -> None:
    write(here, {**small(), "partners/acme/rules/clients/x.csv": ""})
    told = run("check", "--json").must()
    assert told.json["partners"] == ["acme", "beta"] and len(told.json["warnings"]) == 1
    assert "warning: partners/acme/rules/clients/x.csv: not read" in told.stderr


def test_the_help_cuts_no_summary(here: Path) -> None:
    told = run("--help").must().stdout.partition("Commands:")[2]
    assert "..." not in told and "the bureau's rules, and an example of" in " ".join(told.split())
