"""One sandbox for many partners: each has its own credentials, tenant, limits and tables, and a fleet works with them."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from billingsync.sandbox.caller import Caller
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandboxes
from tests.fleet.fleet_house import House
from tests.sandbox.cli import process_environment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fleet.md"
CALM = SandboxOptions(trouble=False, clients=2, charges=6, history=0)


def test_each_partner_has_its_own_credentials_tokens_and_tenant() -> None:
    with Sandboxes({"acme": CALM, "birch": CALM}) as partners:
        acme, birch = (Caller(partners[name].environment()) for name in ("acme", "birch"))
        own = acme.halo_token(tenant="acme")
        assert own.status_code == 200
        bearer = {"Authorization": f"Bearer {own.json()['access_token']}"}
        at = {name: f"{partners[name].url}/halo/api/Client" for name in ("acme", "birch")}
        assert httpx2.get(at["acme"], headers=bearer).status_code == 200
        assert httpx2.get(at["birch"], headers=bearer).status_code == 401
        secret = partners["acme"].environment()["BILLINGSYNC_HALO__CLIENT_SECRET"]
        assert birch.halo_token(tenant="birch", client_secret=secret).status_code == 401
        assert birch.halo_token(tenant="acme").status_code == 500
        pax8 = acme.pax8_token().json()["access_token"]
        invoices = f"{partners['birch'].url}/pax8/v1/invoices"
        assert httpx2.get(invoices, headers={"Authorization": f"Bearer {pax8}"}).status_code == 401
        assert httpx2.get(f"{partners['acme'].url}x/halo/api/Client", headers=bearer).status_code == 404
        assert len(partners["birch"].calls) == 4 and len({call.number for call in partners["birch"].calls}) == 4


def test_one_partners_limits_faults_and_switches_are_not_the_others() -> None:
    with Sandboxes({"acme": CALM, "birch": CALM}) as partners:
        partners["acme"].change(tenant="other")
        partners["acme"].faults.add("pax8:POST:/token:1:500")
        assert Caller(partners["acme"].environment()).pax8_token().status_code == 500
        assert Caller(partners["birch"].environment()).pax8_token().status_code == 200
        partners["acme"].reset(CALM)
        assert partners["acme"].options.account == "acme"
        assert Caller(partners["acme"].environment()).halo_token(tenant="acme").status_code == 200


def commands() -> list[list[str]]:
    """What the page tells people to type against the sandbox, in its order."""
    part = PAGE.read_text(encoding="utf-8").partition("## Try it")[2].partition("\n## ")[0]
    lines = re.findall(r"^(billingsync .*)$", part, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines if "# not run" not in line]


@pytest.fixture
def trial(tmp_path: Path, postgres_url: str) -> House:
    return House(tmp_path, postgres_url)


def test_a_fleet_is_tried_as_the_page_says(trial: House) -> None:
    serving, *rest = commands()
    assert serving[0] == "sandbox" and len(rest) >= 6
    served = subprocess.Popen(
        [sys.executable, "-m", "billingsync", *serving, "--port", "0", "--json"],
        cwd=trial.folder,
        env=process_environment({}),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert served.stdout is not None
        said = json.loads(_document(served.stdout))
        assert len(said["partners"]) == 5
        for words in rest:
            ran = trial.run(*words).must(0)
            if words[:2] == ["fleet", "status"] and "--json" in words:
                states = {one["name"]: one["state"] for one in ran.json["partners"]}
                assert states["partner-01"] == "well" and states["partner-02"] != "well"
        at = said["partners"]["partner-01"]["BILLINGSYNC_HALO__BASE_URL"].removesuffix("/halo")
        state = httpx2.get(f"{at}/_sandbox/state").json()
        assert [row for row in state["halo"]["invoices"] if "billingsync key=" in row["internal_note"]]
        worker = trial.worker()
        trial.wait(lambda: all(trial.cycles(name) == ["well"] for name in said["partners"]))
        worker.send_signal(signal.SIGINT)
        assert worker.wait(60) == 0
    finally:
        served.kill()
        served.communicate(timeout=10)


def _document(stream: object) -> str:
    """The JSON document that a program printed which goes on."""
    text = ""
    for line in stream:  # type: ignore[attr-defined]  # a text stream
        text += line
        if line.rstrip() == "}":
            break
    return text
