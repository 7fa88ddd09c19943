"""From the fleet's folder to a published version: what is new, what stays, what is refused. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from billingsync.fleet.layout import FLEET, Files, Layout, PartnerEntry, tenant_of
from billingsync.fleet.wording import listed
from billingsync.store.fleet import NewPartner, NewVersion, Published, sha256
from billingsync.store.fleet_tenants import Claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What publishing would do. `changed`: partner -> the paths that differ. `wrong`: partner -> its mistakes; one that
    was published keeps its last good version. `shared`: paths that are not one partner's and differ."""

    new: NewVersion
    added: tuple[str, ...]
    returned: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    wrong: Mapping[str, tuple[str, ...]]
    unchanged: int
    shared: tuple[str, ...]

    @property
    def removed(self) -> tuple[str, ...]:
        return tuple(sorted(self.new.removed))

    @property
    def is_empty(self) -> bool:
        return not (self.new.partners or self.new.removed or self.shared)


def changes(layout: Layout, files: Files, published: Published, posted: Collection[str]) -> Change:
    """What differs between the files and what is published. `posted`: published partners that ever posted. The layout
    must have no problems of its own."""
    assert layout.settings is not None, layout.own_problems
    good = {name: one for name, one in layout.partners.items() if one.settings is not None}
    wrong = {name: one.problems for name, one in layout.partners.items() if one.settings is None}
    known = published.partners
    removed = frozenset(name for name, one in known.items() if not one.removed and name not in layout.partners)
    told, claims = _claims(good, published, [*removed, *(name for name in known if known[name].removed)], posted)
    for name, at in published.forgotten.items():
        if name in good:
            gone = f"partners/{name}: was forgotten on {at:%Y-%m-%d}, and a name is never used again; call it otherwise"
            told[name] = (gone,)
    for name, says in told.items():
        del good[name]
        wrong[name] = says
    texts = {name: {path: files.files[path].text for path in one.paths} for name, one in good.items()}
    hashes = {path: sha256(file.text) for path, file in files.files.items() if file.data is not None}
    new = {name for name in good if name not in known}
    returned = {name for name in good if name in known and known[name].removed}
    changed: dict[str, tuple[str, ...]] = {}
    shared: set[str] = set()
    for name, one in good.items():
        if name in known:
            now = {path: hashes[path] for path in one.paths}
            if paths := tuple(sorted(path for path, _ in now.items() ^ known[name].files.items())):
                changed[name] = tuple(dict.fromkeys(paths))
                shared |= {path for path in changed[name] if not path.startswith("partners/")}
    settings = files.files[FLEET].text
    if sha256(settings) != published.settings:
        shared.add(FLEET)
    writes = {*new, *returned, *changed}
    return Change(
        new=NewVersion(
            base=published.version,
            settings=settings,
            partners={name: _new(good[name], texts[name]) for name in sorted(writes)},
            removed=removed,
            problems={name: problems for name, problems in wrong.items() if name in known},
            claims=claims,
            claims_before=published.claims,
            standby=layout.settings.standby,
        ),
        added=tuple(sorted(new)),
        returned=tuple(sorted(returned)),
        changed={name: paths for name, paths in sorted(changed.items()) if name not in returned},
        wrong=dict(sorted(wrong.items())),
        unchanged=len(good) - len(writes),
        shared=tuple(sorted(shared)) if published.version else (),
    )


def _new(one: PartnerEntry, texts: Mapping[str, str]) -> NewPartner:
    assert one.settings is not None
    settings = one.settings
    return NewPartner(files=texts, weight=settings.weight, paused=settings.paused, shared_tenant=settings.shared_tenant)


def _claims(
    good: Mapping[str, PartnerEntry], published: Published, gone: Collection[str], posted: Collection[str]
) -> tuple[dict[str, tuple[str, ...]], Claims]:
    """Whose tenants are whose, and the partners that are refused for it. What a partner that is gone has posted stays
    its own: whoever comes under another name would bill it again."""
    told: dict[str, tuple[str, ...]] = {}
    while True:
        claims = _claims_of({name: one for name, one in good.items() if name not in told}, published, gone, posted)
        by_tenant: dict[str, list[str]] = defaultdict(list)
        for name, tenant in claims:
            by_tenant[tenant].append(name)
        before = len(told)
        for tenant, names in by_tenant.items():
            if len(names) > 1 and not all(claims[(name, tenant)] for name in names):
                told |= {name: (_same_tenant(name, names, tenant, gone),) for name in names if name in good}
        if len(told) == before:
            return told, claims


def _claims_of(
    good: Mapping[str, PartnerEntry], published: Published, gone: Collection[str], posted: Collection[str]
) -> dict[tuple[str, str], bool]:
    claims: dict[tuple[str, str], bool] = {}
    for (name, tenant), shared in published.claims.items():
        one = good[name].settings if name in good else None
        if one is None:
            if name not in gone or name in posted:
                claims[(name, tenant)] = shared
        elif not tenant.startswith("at "):
            claims[(name, tenant)] = one.shared_tenant
    for name, entry in good.items():
        assert entry.settings is not None
        claims[(name, f"at {tenant_of(entry.settings)}")] = entry.settings.shared_tenant
    return claims


def _same_tenant(name: str, names: Collection[str], tenant: str, gone: Collection[str]) -> str:
    others = sorted(set(names) - {name})
    what = f"partners/{name}: bills the HaloPSA tenant of {listed(others)} ({tenant.partition(' ')[2]})"
    if all(other in gone for other in others):
        return f"{what}, who is no more in the folder but has posted there; call the folder {others[0]} again"
    return f"{what}; give each its own, or write shared_tenant = true in [halo] of both"
