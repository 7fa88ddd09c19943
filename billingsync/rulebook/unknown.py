"""What to write instead of a key that no section has."""

from __future__ import annotations

from billingsync.rulebook.keys import (
    BUNDLE_KEYS,
    CLIENT_KEYS,
    COVER_KEYS,
    KEYS,
    MATCH_KEYS,
    PART_KEYS,
    PRODUCT_KEYS,
)
from billingsync.rulebook.wording import nearest

_EVERY_KEY = (*KEYS, *CLIENT_KEYS, *PRODUCT_KEYS, *PART_KEYS, *MATCH_KEYS, *BUNDLE_KEYS, *COVER_KEYS)
_LISTS = {"product": ["parts"], "reconcile": ["match", "bundle"], "reconcile.bundle": ["covers"]}
_OLD_AZURE = 'BillingBot\'s two booleans are one key, azure = "keep", "drop" or "collapse", in [modifiers]; write '


def _billingbot(name: str, value: object) -> str | None:
    """What to write for one of BillingBot's booleans, which said in two keys what one key says here [M1]-[M3]."""
    words = name.lower().replace("-", "_").split("_")
    verb = words[0]
    if verb not in ("drop", "collapse") or len(words) < 2:
        return None
    if "azure" in words:
        return _OLD_AZURE + _instead("azure", verb, value)
    if verb == "drop" and any(word.startswith("prorat") for word in words):
        key = "favorable_prorata"
    elif verb == "drop" and "zero" in words:
        key = "zero_lines"
    else:
        return None
    return f"BillingBot's boolean is the key {key} in [modifiers]; write {_instead(key, verb, value)}"


def _instead(key: str, verb: str, value: object) -> str:
    return f'{key} = "keep", or leave it out' if value is False else f'{key} = "{verb}"'


def unknown_key(name: str, section: str, value: object) -> str:
    """What to do about a key that `section` does not have ("" for one that stands above all sections)."""
    if old := _billingbot(name, value):
        return old
    here = [key.name for key in _EVERY_KEY if key.section == section] + _LISTS.get(section, [])
    elsewhere = {key.name: key.section for key in (*CLIENT_KEYS, *KEYS)}
    if name in elsewhere:
        return f"does not belong here; move it to [{elsewhere[name]}]"
    if guess := nearest(name, here):
        return f"unknown key; did you mean {guess}?"
    if guess := nearest(name, elsewhere, at_least=80):
        return f"unknown key; did you mean {guess} in [{elsewhere[guess]}]?"
    return f"unknown key; known here: {', '.join(here) or 'sections such as [invoice]'}"
