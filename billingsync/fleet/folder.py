"""Reads the fleet's folder: the one place of the layout that touches files. No link leads out of it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from billingsync.errors import SettingsError
from billingsync.fleet.layout import FLEET, PARTNER, Files
from billingsync.rulebook.file import Problem, RulesFile, read_rules_file
from billingsync.rulebook.wording import printable
from billingsync.settings import PREFIX

_NOT_OURS = (".example", "~", ".swp", ".swo", ".bak", ".orig", ".tmp")  # examples and what editors leave behind


def read_folder(directory: Path) -> Files:
    """All files of the fleet below `directory`. SettingsError where that is no fleet's folder; every other mistake is
    among the problems."""
    if not os.path.lexists(directory / FLEET):
        what = "is not a directory" if directory.exists() and not directory.is_dir() else f"has no {FLEET}"
        what = what if os.path.lexists(directory) else "does not exist"
        raise SettingsError(
            [f"{printable(str(directory))}: {what}; `billingsync fleet init` writes a fleet's folder"],
            next_steps=[["billingsync", "fleet", "init", str(directory)]],
        )
    walk = _Walk(directory=directory, root=directory.resolve())
    walk.read("", directory / FLEET, FLEET)
    for path in walk.entries("", directory):
        if path.name in ("rules", "partners"):
            continue
        walk.look_for_secrets("", path)
        if path.suffix == ".toml" and path.name != FLEET:
            walk.wrong("", path, f"nothing reads this file; the fleet's settings are {FLEET}")
    walk.rules("", directory / "rules", "rules")
    partners = directory / "partners"
    if not os.path.lexists(partners):
        walk.wrong("", partners, "is missing; make a folder in it for each partner")
    seen: dict[Path, Path] = {}
    for path in walk.entries("", partners) if os.path.lexists(partners) else ():
        if path.is_symlink() and not walk.inside(path.name, path):
            continue  # of a partner that was published once: it keeps what it has
        if path.is_dir():
            first = seen.setdefault(path.resolve(), path)
            if first is path:
                walk.partner(path)
            else:
                says = f"is the same folder as {printable(first.as_posix())}; a partner has one name"
                walk.wrong(path.name, path, says)
        elif path.suffix == ".toml":
            says = f"a partner is a folder; move this to {printable((partners / path.stem / PARTNER).as_posix())}"
            walk.wrong("", path, says)
        else:
            walk.look_for_secrets("", path)
    place = "" if directory == Path() else f"{printable(directory.as_posix())}/"
    return Files(files=walk.files, place=place, problems=walk.problems, warnings=walk.warnings)


@dataclass(slots=True, kw_only=True)
class _Walk:
    directory: Path
    root: Path  # the directory, without links
    files: dict[str, RulesFile] = field(default_factory=dict)
    problems: dict[str, list[Problem]] = field(default_factory=lambda: defaultdict(list))
    warnings: list[str] = field(default_factory=list)

    def wrong(self, partner: str, path: Path, says: str) -> None:
        self.problems[partner].append(Problem(path=printable(path.as_posix()), line=None, key="", says=says))

    def entries(self, partner: str, folder: Path) -> list[Path]:
        """What is in the folder, by name; without what is hidden or an editor's."""
        try:
            found = sorted(folder.iterdir())
        except OSError as problem:
            self.wrong(partner, folder, f"cannot be read: {problem.strerror or problem}")
            return []
        for path in found:
            if path.name.startswith("."):
                self.look_for_secrets(partner, path)
        return [path for path in found if not _ignored(path.name)]

    def inside(self, partner: str, path: Path) -> bool:
        """Whether the path leads to something in the fleet's folder; notes where it does not."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a circle of links, before Python 3.13
            self.wrong(partner, path, "is a link to nothing; take it away")
            return False
        if not real.is_relative_to(self.root):
            self.wrong(partner, path, "is a link out of the fleet's folder; put the file itself here")
            return False
        return True

    def look_for_secrets(self, partner: str, path: Path) -> None:
        """A file that holds secrets by its name is refused: the fleet's files are kept and copied as no secret is."""
        if path.name.upper().startswith(PREFIX) or path.name == ".env":
            says = "seems to hold secrets, which do not belong into the fleet's folder; move it to where [secrets] says"
            self.wrong(partner, path, says)

    def read(self, partner: str, path: Path, name: str) -> None:
        if self.inside(partner, path):
            self.files[name] = read_rules_file(path)

    def partner(self, folder: Path) -> None:
        name = folder.name
        for path in self.entries(name, folder):
            if path.name == "rules":
                self.rules(name, path, f"partners/{name}/rules")
            elif path.suffix.lower() == ".toml":
                self.read(name, path, f"partners/{name}/{path.name}")
            else:
                self._unread(name, path)
        if not any(path.startswith(f"partners/{name}/") for path in self.files) and not self.problems.get(name):
            self.wrong(name, folder, f"has no {PARTNER}; write one, or take the folder away")

    def rules(self, partner: str, folder: Path, name: str) -> None:
        """The rules below `folder`; what is in a folder of another name is read too, so that it can be refused."""
        if not os.path.lexists(folder) or not self.inside(partner, folder):
            return
        if not folder.is_dir():
            self.wrong(partner, folder, "is not a directory; rules are files in it")
            return
        for path, below in self._below(partner, folder):
            if path.suffix.lower() == ".toml":
                self.read(partner, path, f"{name}/{below}")
            else:
                self._unread(partner, path)

    def _below(self, partner: str, folder: Path) -> Iterator[tuple[Path, str]]:
        for path in self.entries(partner, folder):
            if not path.is_dir():
                yield path, path.name
            elif self.inside(partner, path):
                for inner in self.entries(partner, path):
                    if inner.is_dir():
                        self.wrong(partner, inner, "nothing reads this folder; move its files one up")
                    else:
                        yield inner, f"{path.name}/{inner.name}"

    def _unread(self, partner: str, path: Path) -> None:
        self.look_for_secrets(partner, path)
        if path.suffix.lower() in (".md", ".txt", ".rst", ".json") or path.name.upper().startswith(PREFIX):
            return
        self.warnings.append(f"{printable(path.as_posix())}: not read, because the fleet's files end in .toml")


def _ignored(name: str) -> bool:
    return name.startswith((".", "_", "#")) or name.lower().endswith(_NOT_OURS)
