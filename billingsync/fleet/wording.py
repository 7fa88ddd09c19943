"""Names in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, the first five of them."""
    if len(names) == 1:
        return names[0]
    shown = [*names[:5], *([f"{len(names) - 5} more"] if len(names) > 5 else [])]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
