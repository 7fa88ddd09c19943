"""The bill of materials of a release: what `uv.lock` installs, without the developers' extra, as CycloneDX 1.5 JSON."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("postgres", "fleet")  # what a user may install; `dev` is for who changes the code


def needed(packages: dict[str, dict[str, Any]], extras: dict[str, list[str]]) -> list[str]:
    """The names of everything that billingsync and its extras need, directly or not."""
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*own["dependencies"], *(one for extra in extras.values() for one in extra)]
    waiting = [re.split(r"[\[<>=~! ;]", one)[0].lower().replace("_", "-") for one in named]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found or name == "billingsync" or name not in packages:
            continue
        found.add(name)
        package = packages[name]
        lists = [package.get("dependencies", []), *package.get("optional-dependencies", {}).values()]
        waiting += [one["name"] for each in lists for one in each]
    return sorted(found)


def component(package: dict[str, Any]) -> dict[str, Any]:
    """One package with the hash of each of its files."""
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    hashes = [{"alg": "SHA-256", "content": file["hash"].removeprefix("sha256:")} for file in files]
    name, version = package["name"], package["version"]
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "externalReferences": [{"type": "distribution", "url": f"pkg:pypi/{name}@{version}", "hashes": hashes}],
    }


def main() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    packages = {one["name"]: one for one in lock}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: project["optional-dependencies"][name] for name in EXTRAS}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "billingsync"}},
        "components": [component(packages[name]) for name in needed(packages, extras)],
    }
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
