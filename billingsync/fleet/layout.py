"""The fleet's files -> its settings and partners; every mistake of all partners at once, each with file and place.
Pure: the texts come from a folder (`fleet.folder`) or from a published version."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from billingsync.core.rules import Rulebook
from billingsync.errors import RulesError
from billingsync.fleet.fleet_file import FleetSettings, read_fleet_file
from billingsync.fleet.names import wrong_name
from billingsync.fleet.partner_file import FleetPartner, read_partner_file
from billingsync.fleet.wording import listed
from billingsync.rulebook.file import Problem, RulesFile
from billingsync.rulebook.layer import Layer, layer_of
from billingsync.rulebook.load import combined
from billingsync.rulebook.wording import nearest, printable

FLEET, PARTNER = "fleet.toml", "partner.toml"
SHARED = ("rules/defaults.toml", "rules/integrations/pax8.toml")
PROFILES = "rules/imports/"  # of vendors' files: read when one is imported


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What was found: `files` by path below the fleet's folder, with slashes. `problems` are of the way to them, by the
    partner they belong to, "" where they are the whole fleet's."""

    files: Mapping[str, RulesFile]
    place: str = ""  # what people must put before such a path, e.g. "fleet/"
    problems: Mapping[str, Sequence[Problem]] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerEntry:
    """One partner. `settings` and `rulebook` are None where there are `problems`. `paths` are the files that decide
    about it, the shared ones among them."""

    name: str
    settings: FleetPartner | None
    rulebook: Rulebook | None
    paths: tuple[str, ...]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`own_problems` are the whole fleet's: of `fleet.toml` and of places; `strays` are those of folders that can be no
    partner's by their name."""

    settings: FleetSettings | None
    partners: Mapping[str, PartnerEntry]
    own_problems: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    own_warnings: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Every mistake once: one in a shared file is each partner's."""
        each = (problem for partner in self.partners.values() for problem in partner.problems)
        return tuple(dict.fromkeys((*self.own_problems, *self.strays, *each)))

    @property
    def warnings(self) -> tuple[str, ...]:
        each = (warning for partner in self.partners.values() for warning in partner.warnings)
        return tuple(dict.fromkeys((*self.own_warnings, *each)))


def read_layout(found: Files) -> Layout:
    """All of it. Never raises for what people wrote: what is wrong comes as problems."""
    files = found.files
    own = list(found.problems.get("", ()))
    strays: list[str] = []
    settings, warnings = None, list(found.warnings)
    if FLEET in files:
        settings, problems, worries = read_fleet_file(files[FLEET])
        own += problems
        warnings += worries
    shared = {path: layer_of(files[path], is_client=False) for path in SHARED if path in files}
    by_partner: dict[str, dict[str, RulesFile]] = defaultdict(dict)
    for path, file in files.items():
        parts = PurePosixPath(path).parts
        if parts[0] == "partners" and len(parts) > 2:
            by_partner[parts[1]]["/".join(parts[2:])] = file
        elif parts[0] == "rules" and path not in SHARED:
            own.append(Problem(path=file.path, line=None, key="", says=_misplaced_shared(path)))
    partners: dict[str, PartnerEntry] = {}
    for name in sorted({*by_partner, *(name for name in found.problems if name)}):
        partner = _partner(name, by_partner[name], shared, found)
        if says := wrong_name(name):
            place = f"{found.place}partners/{printable(name)}"
            strays += [f"{place}: {says}", *partner.problems]
        else:
            partners[name] = partner
    own_rules: tuple[str, ...] = ()
    if not partners:  # else each of them tells the mistakes of the bureau's rules
        _, wrong_rules, said = _rulebook(list(shared.values()), (), ())
        own_rules = wrong_rules
        warnings += said
    return Layout(
        settings=settings,
        partners=_checked_together(partners),
        own_problems=(*map(str, own), *own_rules),
        strays=tuple(strays),
        own_warnings=tuple(warnings),
    )


def _partner(name: str, files: Mapping[str, RulesFile], shared: Mapping[str, Layer], found: Files) -> PartnerEntry:
    on_the_way = found.problems.get(name, ())
    problems = [str(problem) for problem in on_the_way]
    settings: FleetPartner | None = None
    warnings: list[str] = []
    if PARTNER in files:
        settings, wrong, warnings = read_partner_file(name, files[PARTNER])
        problems += map(str, wrong)
    elif not on_the_way:
        place = f"{found.place}partners/{printable(name)}"
        problems.append(f"{place}: has no {PARTNER}; write one, or take the folder away")
    layers = [*shared.values(), *(layer_of(files[path], is_client=False) for path in SHARED if path in files)]
    clients, misplaced = _clients(files)
    rulebook, wrong_rules, said = _rulebook(layers, clients, misplaced)
    problems += wrong_rules
    warnings += said
    return PartnerEntry(
        name=name,
        settings=None if problems else settings,
        rulebook=None if problems else rulebook,
        paths=(*shared, *(f"partners/{name}/{path}" for path in sorted(files))),
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _rulebook(
    layers: Sequence[Layer], clients: Iterable[RulesFile], misplaced: Sequence[Problem]
) -> tuple[Rulebook | None, tuple[str, ...], tuple[str, ...]]:
    """The rules, their mistakes, their warnings."""
    own = [layer_of(file, is_client=True) for file in clients]
    try:
        rulebook, said = combined(layers, own, problems=misplaced)
    except RulesError as wrong:
        return None, wrong.problems, ()
    return rulebook, (), said


def _clients(files: Mapping[str, RulesFile]) -> tuple[list[RulesFile], list[Problem]]:
    """The clients' files by name, and the files that nothing reads."""
    clients, misplaced = [], []
    for path, file in sorted(files.items()):
        folder, _, name = path.rpartition("/")
        if folder == "rules/clients":
            clients.append(file)
        elif path not in (PARTNER, *SHARED) and not path.startswith(PROFILES):
            misplaced.append(Problem(path=file.path, line=None, key="", says=_misplaced(path, name)))
    return clients, misplaced


def _misplaced(path: str, name: str) -> str:
    known = {PurePosixPath(one).name: one for one in (PARTNER, *SHARED)}
    guess = nearest(name, known, at_least=75)
    advice = f"rename it to {known[guess]}" if guess else "a client's rules stand in rules/clients/"
    return f"nothing reads this file; {advice}"


def _misplaced_shared(path: str) -> str:
    if path.startswith("rules/clients/"):
        return "a client belongs to one partner; move the file to partners/NAME/rules/clients/"
    if path.startswith(PROFILES):
        return "a profile belongs to one partner; move the file to partners/NAME/rules/imports/"
    name = PurePosixPath(path).name
    known = {PurePosixPath(one).name: one for one in SHARED}
    guess = nearest(name, known, at_least=75)
    advice = f"rename it to {known[guess]}" if guess else f"the bureau's rules are {' and '.join(SHARED)}"
    return f"nothing reads this file; {advice}"


# Partners together


def tenant_of(settings: FleetPartner) -> str:
    """The HaloPSA tenant as far as the files name it: its address, and its name where the address needs one."""
    address = settings.halo.base_url.rstrip("/").lower()
    return f"{address} {settings.halo.tenant.lower()}".strip()


def _checked_together(partners: Mapping[str, PartnerEntry]) -> dict[str, PartnerEntry]:
    """The partners, with the mistakes that only two of them make."""
    told: dict[str, list[str]] = defaultdict(list)
    ready = [(name, one.settings) for name, one in partners.items() if one.settings is not None]
    for names in _same((tenant_of(settings), name) for name, settings in ready):
        settings = {name: one for name, one in ready if name in names}
        unsaid = [name for name in names if not settings[name].shared_tenant]
        if unsaid:
            what = f"{listed(names)} bill the same HaloPSA tenant, {settings[names[0]].halo.base_url}"
            says = f"partners: {what}; give each its own, or write shared_tenant = true in [halo] of both"
            for name in names:
                told[name].append(says)
    for names in _same((settings.pax8.client_id, name) for name, settings in ready if settings.pax8.client_id):
        says = f"partners: {listed(names)} have one Pax8 client_id, and each invoice would be billed at each of them"
        for name in names:
            told[name].append(f"{says}; give each the credentials of its own Pax8 account")
    return {
        name: replace(one, settings=None, rulebook=None, problems=(*one.problems, *told[name])) if told[name] else one
        for name, one in partners.items()
    }


def _same(pairs: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for value, name in pairs:
        groups[value].append(name)
    return (names for names in groups.values() if len(names) > 1)
