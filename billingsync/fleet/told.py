"""What `fleet apply` tells, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from billingsync.fleet.layout import Layout
from billingsync.fleet.publish import Change


def change_lines(change: Change, layout: Layout) -> Iterator[str]:
    """What publishing changes, a line each: the shared files, then the partners, the wrong ones last."""
    for path in change.shared:
        yield f"~ {path}  (all partners)"
    for name in change.added:
        yield f"+ {name}  new"
    for name in change.returned:
        yield f"+ {name}  works again, with the ledger that it had"
    for name, paths in change.changed.items():
        own = [path.removeprefix(f"partners/{name}/") for path in paths if path.startswith("partners/")]
        if own:
            yield f"~ {name}  {_some(own)}"
    for name in change.removed:
        yield f"- {name}  removed: no work is done for it any more; its ledger stays"
    for name, problems in change.wrong.items():
        keeps = "keeps what was published last" if name in change.new.problems else "is not made"
        yield f"! {name}  wrong, {keeps}:"
        yield from (f"    {problem}" for problem in problems)
    for problem in layout.strays:
        yield f"! {problem}"
    if change.unchanged:
        yield f"= {change.unchanged} unchanged"


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:4]) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")


def change_document(change: Change, layout: Layout) -> dict[str, object]:
    """The same, for programs."""
    return {
        "shared": list(change.shared),
        "added": list(change.added),
        "returned": list(change.returned),
        "changed": {name: list(paths) for name, paths in change.changed.items()},
        "removed": list(change.removed),
        "wrong": {name: list(problems) for name, problems in change.wrong.items()},
        "strays": list(layout.strays),
        "unchanged": change.unchanged,
    }
