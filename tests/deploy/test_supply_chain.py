"""Fault 15: a compromised dependency or release. What this project can do about it is in files; here they are held to it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def locked() -> list[dict[str, Any]]:
    return tomllib.loads((ROOT / "uv.lock").read_text())["package"]  # type: ignore[no-any-return]


def test_fault_15_every_package_is_locked_with_the_hash_of_each_of_its_files() -> None:
    foreign = [one for one in locked() if "registry" in one["source"]]
    assert len(foreign) > 50
    for one in foreign:
        files = [*one.get("wheels", ()), *([one["sdist"]] if "sdist" in one else [])]
        assert files and all(re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]) for file in files), one["name"]


def test_fault_15_what_pip_installs_is_what_is_locked() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    pinned = dict(re.fullmatch(r"([\w.-]+)==([^ ;]+).*", line).groups() for line in lines)  # type: ignore[union-attr]
    versions: dict[str, set[str]] = {}
    for one in locked():
        versions.setdefault(one["name"], set()).add(one.get("version", ""))
    assert {name for name, version in pinned.items() if version not in versions.get(name, set())} == set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    wanted = {re.split(r"[\[<>=~! ;]", one)[0].lower().replace("_", "-") for one in named}
    assert wanted - pinned.keys() <= {"billingsync"}


def test_fault_15_the_image_installs_from_the_lock_and_the_unit_has_an_allow_list() -> None:
    image = (ROOT / "deploy/Dockerfile").read_text()
    assert "uv.lock" in image or "constraints.txt" in image
    allow = "\n".join(path.read_text() for path in (ROOT / "deploy").rglob("*.conf"))
    assert "IPAddressDeny=any" in allow and "IPAddressAllow=" in allow


def test_the_bill_of_materials_has_what_is_installed_and_nothing_of_the_developers() -> None:
    made = subprocess.run([sys.executable, ROOT / ".ci/sbom.py"], check=True, capture_output=True, text=True)
    names = {one["name"]: one for one in json.loads(made.stdout)["components"]}
    assert {"sqlalchemy", "httpx2", "psycopg", "pydantic-core"} <= names.keys()
    assert not {"pytest", "ruff", "mypy", "billingsync"} & names.keys()
    for one in names.values():
        assert one["version"] and one["externalReferences"][0]["hashes"], one["name"]


def test_workflows_only_call_scripts_that_everybody_can_run() -> None:
    run = (ROOT / ".ci/run").read_text()
    assert ".ci/build" in run
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        jobs = yaml.safe_load(path.read_text())["jobs"]
        for step in (step for job in jobs.values() for step in job["steps"]):
            command = step.get("run", "")
            assert not command or re.search(r"\.ci/(run|build)\b", command) or command.startswith("gh release "), (
                command
            )


def test_nobody_is_told_to_install_a_name_from_an_index_that_is_not_ours() -> None:
    """Whoever registers the name first would own the machine."""
    named = re.compile(r"pip[\"', ]+install[^\n`]*[\"' ]billingsync(?![\w-]*\.whl)\b")
    texts = [*(ROOT / "billingsync").rglob("*.py"), *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.*")]
    texts += [ROOT / "README.md"]
    texts = [path for path in texts if path.is_file()]
    assert [str(path) for path in texts if named.search(path.read_text(errors="replace"))] == []


def test_the_base_image_is_bumped_by_a_script_that_takes_whole_tags_only(tmp_path: Path) -> None:
    for name in (".ci/bump-image", "deploy/Dockerfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def bump(tag: str) -> int:
        return subprocess.run([tmp_path / ".ci/bump-image", tag], capture_output=True, check=False).returncode

    before = (tmp_path / "deploy/Dockerfile").read_text()
    assert bump("3.13") == 2 and bump("latest") == 2 and (tmp_path / "deploy/Dockerfile").read_text() == before
    assert bump("3.13.99-slim-bookworm") == 0
    after = (tmp_path / "deploy/Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.13\.99-slim-bookworm(@sha256:[0-9a-f]{64})?$", after, re.M)
    assert len(after.splitlines()) == len(before.splitlines())
