"""What a partner of a fleet may be called. A name is no secret, stays for ever and is a folder's name."""

from __future__ import annotations

import re

from billingsync.core.partner import SINGLE
from billingsync.settings.values import printable

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,39}")


def wrong_name(name: str) -> str:
    """Why the name cannot be a partner's, and what to write instead; "" where it can."""
    if name == SINGLE:
        return f'"{SINGLE}" is the name of every installation that serves one partner; choose another'
    if _NAME.fullmatch(name):
        return ""
    rule = "a name has 2 to 40 small letters, digits and dashes, and does not begin with a dash"
    better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-")
    hint = f"; write {better}" if better != SINGLE and _NAME.fullmatch(better) else ""
    return f'"{printable(name[:60])}" is no name for a partner: {rule}{hint}'
